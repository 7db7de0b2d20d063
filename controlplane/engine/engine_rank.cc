#include "pharos/controlplane/engine/engine.hh"
#include "pharos/controlplane/rank/deal.hh"
#include "pharos/controlplane/rank/order.hh"

#include <algorithm>
#include <cmath>

// From dirty pools to changed cells.

namespace pharos::controlplane {
namespace {

class Digest {
 public:
  void add(const IpAddress& address) noexcept {
    for (const auto byte : address.bytes) add(byte);
  }
  void add(const RankedRecord& record) noexcept {
    for (const auto number : {record.target, record.priority, record.weight}) {
      add(static_cast<std::uint8_t>(number >> 8));
      add(static_cast<std::uint8_t>(number));
    }
  }
  void add(std::uint8_t byte) noexcept { value_ = (value_ ^ byte) * 0x100000001b3; }
  [[nodiscard]] std::uint64_t value() const noexcept { return value_; }

 private:
  std::uint64_t value_ = 0xcbf29ce484222325;
};

// Of what is answered, the TTL aside. Targets are told apart by whose they are.
std::uint64_t digest_of(const CellContent& content, std::uint32_t answered_by) noexcept {
  Digest digest;
  const auto add_slots = [&](const auto& slots) {
    for (const auto& slot : slots) {
      for (const auto& part : slot) digest.add(part);
      digest.add(std::uint8_t{0xff});
    }
  };
  add_slots(content.slots);
  add_slots(content.records);
  for (unsigned shift = 0; !content.records.empty() && shift < 32; shift += 8) {
    digest.add(static_cast<std::uint8_t>(answered_by >> shift));
  }
  return digest.value();
}

}  // namespace

void Engine::collect_dirty(Instant now, std::vector<std::uint32_t>& pools) {
  const bool rank_scores = any_score_dirty_ && (any_dirty_ || now >= next_score_round_);
  if (!any_dirty_ && !rank_scores) return;
  for (std::uint32_t p = 0; p < pools_.size(); ++p) {
    if (pools_[p].dirty || (rank_scores && pools_[p].score_dirty)) pools.push_back(p);
  }
  // Pools that may be answered by a dirty one are dirty as well; a pool is marked before it is
  // appended, so this ends.
  for (const auto p : pools) pools_[p].dirty = true;
  for (std::size_t i = 0; i < pools.size(); ++i) {
    for (const auto asking : world_->pools[pools[i]].asked_by) {
      if (pools_[asking].dirty) continue;
      pools_[asking].dirty = true;
      pools.push_back(asking);
    }
  }
  std::ranges::sort(pools);
  for (const auto p : pools) pools_[p].dirty = pools_[p].score_dirty = false;
  any_dirty_ = false;
  if (rank_scores) {
    any_score_dirty_ = false;
    next_score_round_ = now + score_round_interval;
  }
}

void Engine::refresh_membership(std::uint32_t pool) {
  const auto& fixed = world_->pools[pool];
  const auto& service = world_->service(fixed.service);
  std::vector<Candidate> candidates;
  candidates.reserve(fixed.members.size());
  for (const auto e : fixed.members) {
    auto& endpoint = endpoints_[e];
    candidates.push_back({endpoint.standing, endpoint.weight, world_->endpoint(e).priority});
    endpoint.ranked_base = endpoint.base;
  }
  auto& state = pools_[pool];
  state.membership =
      membership_of(candidates, service.policy, service.panic_threshold, service.fail);
  state.in_doubt = std::ranges::any_of(state.membership.members, [&](auto member) {
    return health_.site(world_->endpoints[fixed.members[member]].site).state == SiteState::suspect;
  });
}

bool Engine::dealt_by_slot(std::uint32_t pool) const {
  return world_->service(world_->pools[pool].service).policy == config::Policy::weighted;
}

// Weights are exact while all is well: only condition, risk and version preference bend them, not
// load or distance. Condition and risk bend in quarters, so that a fall that is slowly forgotten
// does not move a few clients with every beacon.
double Engine::dealt_weight(std::uint32_t endpoint, bool panic) const {
  const auto& state = endpoints_[endpoint];
  const double weight = state.weight * raised(state.factors.version, exponents_.version);
  if (panic) return weight;
  const double bend = raised(state.factors.condition, exponents_.condition) *
                      raised(state.factors.risk, exponents_.risk);
  return weight * std::max(std::round(bend * 4) / 4, 0.25);
}

void Engine::refresh_slots(std::uint32_t pool) {
  auto& state = pools_[pool];
  if (!dealt_by_slot(pool)) return;
  const auto& fixed = world_->pools[pool];
  std::vector<Hand> hands;
  std::vector<double> weights(fixed.members.size(), -1);  // -1: no member
  for (const auto member : state.membership.members) {
    const auto e = fixed.members[member];
    const double weight = dealt_weight(e, state.membership.panic);
    hands.push_back({world_->endpoints[e].dealing_key, weight});
    weights[member] = weight;
  }
  if (weights == state.dealt_weights) return;
  state.dealt_weights = std::move(weights);
  state.slots = deal(world_->service(fixed.service).slots, hands);
  for (auto& slot : state.slots) {
    for (auto& hand : slot) hand = state.membership.members[hand];
  }
}

std::uint32_t Engine::follow_redirects(std::uint32_t pool) const {
  std::uint32_t at = pool;
  for (unsigned hop = 0; hop < redirects_max; ++hop) {
    const auto next = world_->pools[at].fail_to;
    if (!pools_[at].membership.redirected || !next) {
      return pools_[at].membership.members.empty() ? pool : at;
    }
    at = *next;
  }
  return pool;  // a circle of failing pools: each answers as if it were healthy
}

double Engine::score_in(std::uint32_t pool, std::uint16_t member, std::uint16_t locale) const {
  const auto e = world_->pools[pool].members[member];
  const auto& endpoint = endpoints_[e];
  const double base = pools_[pool].membership.panic ? endpoint.base_as_if_healthy : endpoint.base;
  return base * proximity_score(world_->rtt(locale, world_->endpoints[e].site), exponents_);
}

// True when the answers of the cell are others now.
bool Engine::rank_cell(std::uint32_t pool, std::uint16_t locale, bool from_another) {
  auto& cell = pools_[pool].cells[locale];
  const auto source = pools_[pool].answered_by;
  const auto& members = pools_[source].membership.members;
  std::vector<double> scores(world_->pools[source].members.size(), 0.0);
  for (const auto member : members) scores[member] = score_in(source, member, locale);
  if (from_another) cell.order.clear();
  cell.order = steady_order(members, scores, cell.order);
  const auto digest = digest_of(content(pool, locale), source);
  return std::exchange(cell.digest, digest) != digest;
}

std::uint32_t Engine::ttl_of(std::uint32_t pool, std::uint16_t locale) const {
  const auto& state = pools_[pool];
  const auto& source = world_->pools[state.answered_by];
  auto ttl_s = state.volatility.ttl_s(state.in_doubt || pools_[state.answered_by].in_doubt);
  const auto limit = [&](std::uint16_t member) {
    const auto& endpoint = world_->endpoint(source.members[member]);
    if (!endpoint.ttl_max) return;
    ttl_s = std::min(ttl_s, static_cast<std::uint32_t>(
                                std::max<std::int64_t>(endpoint.ttl_max->ns / 1'000'000'000, 0)));
  };
  if (dealt_by_slot(state.answered_by)) {
    std::ranges::for_each(pools_[state.answered_by].membership.members, limit);
    return ttl_s;
  }
  std::ranges::for_each(answered_of(pool, state.cells[locale].order), limit);
  return ttl_s;
}

void Engine::rank_pool(std::uint32_t pool, Instant now, Round& round) {
  auto& state = pools_[pool];
  const auto source = follow_redirects(pool);
  const bool from_another = std::exchange(state.answered_by, source) != source;
  const auto locale_count = static_cast<std::uint16_t>(world_->locales.size());
  const bool by_slot = dealt_by_slot(source);

  std::vector<bool> changed(locale_count, false);
  if (by_slot) {
    const auto digest = digest_of(content(pool, 0), source);
    for (std::uint16_t l = 0; l < locale_count; ++l) {
      state.cells[l].order.clear();
      changed[l] = std::exchange(state.cells[l].digest, digest) != digest;
    }
  } else {
    for (std::uint16_t l = 0; l < locale_count; ++l) changed[l] = rank_cell(pool, l, from_another);
  }

  const bool first = !state.cells.front().ranked;
  if (!first && std::ranges::find(changed, true) != changed.end()) {
    state.volatility.changed(now);
    volatility_due_ = std::min(volatility_due_, state.volatility.next_deadline());
  }
  std::shared_ptr<const CellContent> shared;  // dealt by slot: all locales are answered alike
  for (std::uint16_t l = 0; l < locale_count; ++l) {
    auto& cell = state.cells[l];
    const auto ttl_s = ttl_of(pool, l);
    if (cell.ranked && !changed[l] && cell.ttl_s == ttl_s) continue;
    cell.ttl_s = ttl_s;
    cell.ranked = true;
    if (!by_slot || shared == nullptr) shared = std::make_shared<CellContent>(content(pool, l));
    round.cells.push_back({pool, l, shared});
  }
}

}  // namespace pharos::controlplane
