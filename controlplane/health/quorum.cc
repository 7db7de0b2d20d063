#include "pharos/controlplane/health/quorum.hh"

#include <algorithm>

namespace pharos::controlplane {

unsigned ProbeVerdict::counting() const noexcept {
  return static_cast<unsigned>(std::ranges::count(votes, true, &ProbeVote::counts));
}

unsigned ProbeVerdict::bad() const noexcept {
  return static_cast<unsigned>(
      std::ranges::count_if(votes, [](const ProbeVote& v) { return v.counts && !v.up; }));
}

// Brings the verdict up to its votes; true where it is another now.
bool QuorumBoard::judge(ProbeVerdict& verdict, Instant now) {
  const auto before = verdict.up;
  for (auto& vote : verdict.votes)
    vote.counts = vote.counts && now - vote.heard < config_.probe_life;
  const auto counting = verdict.counting();
  const auto bad = verdict.bad();
  if (counting < config_.probe_votes_min) {
    verdict.rise_at = never;
    if (verdict.up && now - verdict.proven >= config_.probe_life) verdict.up.reset();
  } else {
    verdict.proven = now;
    const bool good = static_cast<double>(bad) <= config_.probe_quorum * counting;
    if (!good) {
      const bool settled = verdict.up || now >= verdict.first + config_.rise;
      if (settled) verdict.up = false;
      verdict.rise_at = settled ? never : verdict.first + config_.rise;
    } else if (verdict.up != false) {
      verdict.up = true;
      verdict.rise_at = never;
    } else {
      if (verdict.rise_at == never) verdict.rise_at = now + config_.rise;
      if (now >= verdict.rise_at) {
        verdict.up = true;
        verdict.rise_at = never;
      }
    }
  }
  if (verdict.up != before) verdict.since = now;
  due_ = std::min(due_, deadline_of(verdict));
  return verdict.up != before;
}

Instant QuorumBoard::deadline_of(const ProbeVerdict& verdict) const noexcept {
  Instant next = verdict.rise_at;
  for (const auto& vote : verdict.votes) {
    if (vote.counts) next = std::min(next, vote.heard + config_.probe_life);
  }
  if (verdict.up && verdict.counting() < config_.probe_votes_min)
    next = std::min(next, verdict.proven + config_.probe_life);
  return next;
}

bool QuorumBoard::vote(std::uint32_t endpoint, std::uint32_t from, bool up,
                       std::optional<float> took_us, Instant now, std::uint16_t notices_ds) {
  const auto [entry, fresh] = verdicts_.try_emplace(endpoint);
  auto& verdict = entry->second;
  if (fresh) verdict.first = now;
  auto at = std::ranges::lower_bound(verdict.votes, from, {}, &ProbeVote::from);
  if (at == verdict.votes.end() || at->from != from)
    at = verdict.votes.insert(at,
                              {.from = from, .up = up, .took_us = {}, .heard = now, .since = now});
  if (at->up != up || !at->counts) at->since = now;
  at->up = up;
  at->took_us = took_us;
  at->notices_ds = notices_ds;
  at->heard = std::max(at->heard, now);
  at->counts = true;
  return judge(verdict, now);
}

void QuorumBoard::silence(std::uint32_t from, Instant now, std::vector<std::uint32_t>& changed) {
  for (auto& [endpoint, verdict] : verdicts_) {
    const auto at = std::ranges::lower_bound(verdict.votes, from, {}, &ProbeVote::from);
    if (at == verdict.votes.end() || at->from != from || !at->counts) continue;
    at->counts = false;
    if (judge(verdict, now)) changed.push_back(endpoint);
  }
}

void QuorumBoard::tick(Instant now, std::vector<std::uint32_t>& changed) {
  if (now < due_) return;
  due_ = never;
  for (auto at = verdicts_.begin(); at != verdicts_.end();) {
    auto& [endpoint, verdict] = *at;
    if (judge(verdict, now)) changed.push_back(endpoint);
    // Nobody looks any more, and what they said is forgotten.
    const bool over = !verdict.up && verdict.counting() == 0 &&
                      std::ranges::all_of(verdict.votes, [&](const ProbeVote& vote) {
                        return now - vote.heard >= config_.probe_life;
                      });
    at = over ? verdicts_.erase(at) : std::next(at);
  }
}

const ProbeVerdict* QuorumBoard::find(std::uint32_t endpoint) const noexcept {
  const auto at = verdicts_.find(endpoint);
  return at == verdicts_.end() ? nullptr : &at->second;
}

bool QuorumBoard::down(std::uint32_t endpoint) const noexcept {
  const auto* verdict = find(endpoint);
  return verdict != nullptr && verdict->up == false;
}

bool QuorumBoard::take_piece(const QuorumBoard& from, const Over& over) {
  config_ = from.config_;
  due_ = from.due_;
  auto at = verdicts_.empty() ? from.verdicts_.begin()
                              : from.verdicts_.upper_bound(verdicts_.rbegin()->first);
  for (; at != from.verdicts_.end(); ++at) {
    if (over()) return false;
    verdicts_.emplace_hint(verdicts_.end(), *at);
  }
  return true;
}

QuorumBoard QuorumBoard::moved(config::HealthConfig config,
                               const std::vector<std::optional<std::uint32_t>>& endpoints,
                               const std::vector<std::optional<std::uint32_t>>& sites,
                               Instant now) const {
  QuorumBoard board(config);
  for (const auto& [endpoint, verdict] : verdicts_) {
    if (!endpoints[endpoint]) continue;
    auto& kept = board.verdicts_[*endpoints[endpoint]];
    kept = verdict;
    std::erase_if(kept.votes, [&](const ProbeVote& vote) { return !sites[vote.from]; });
    for (auto& vote : kept.votes)
      vote.from = sites[vote.from].value_or(0);  // it is there: see above
    std::ranges::sort(kept.votes, {}, &ProbeVote::from);
    static_cast<void>(board.judge(kept, now));
  }
  return board;
}

}  // namespace pharos::controlplane
