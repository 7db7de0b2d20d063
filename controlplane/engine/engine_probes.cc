// What the engine makes of looks from outside, and of restless metrics: two inputs of judgement beside silence and load.
#include "pharos/controlplane/engine/engine.hh"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <utility>

namespace pharos::controlplane {
namespace {

// old index -> new index
template <typename Key, typename Now>
std::vector<std::optional<std::uint32_t>> moves_of(const std::map<Key, std::uint32_t>& former,
                                                   const Now& index_now) {
  std::vector<std::optional<std::uint32_t>> moves(former.size());
  for (const auto& [key, index] : former) moves[index] = index_now(key);
  return moves;
}

}  // namespace

bool Engine::is_well(std::uint32_t endpoint) const {
  const auto& state = endpoints_[endpoint];
  if (state.override == config::Override::up) return true;
  return health_.site(world_->endpoints[endpoint].site).usable() && state.health.up &&
         !quorum_.down(endpoint);
}

bool Engine::note_restlessness(std::uint32_t site) {
  const auto& config = world_->site(site);
  const MetricLimits limits{.requests_rps = config.capacity_rps, .in_flight = config.in_flight_max};
  const auto& health = health_.site(site);
  const auto level =
      restless_level(restlessness(health.metrics, health.trends, limits), restless_levels_[site]);
  return std::exchange(restless_levels_[site], level) != level;
}

void Engine::start_probes() {
  endpoint_of_report_.clear();
  for (std::uint32_t e = 0; e < world_->endpoints.size(); ++e)
    endpoint_of_report_.emplace_back(world_->endpoints[e].report_id, e);
  std::ranges::sort(endpoint_of_report_);
  changed_verdicts_.clear();
  restless_levels_.assign(world_->config->sites.size(), 0);
}

void Engine::move_votes(const std::map<std::string, std::uint32_t>& former_sites,
                        const std::map<Decisions::Key, std::uint32_t>& former_endpoints,
                        Instant now) {
  std::map<std::string, std::uint32_t> sites;
  for (std::uint32_t s = 0; s < world_->config->sites.size(); ++s)
    sites.emplace(world_->site(s).id, s);
  const auto site_moves =
      moves_of(former_sites, [&](const std::string& id) -> std::optional<std::uint32_t> {
        const auto at = sites.find(id);
        return at == sites.end() ? std::nullopt : std::optional(at->second);
      });
  const auto endpoint_moves = moves_of(former_endpoints, [&](const Decisions::Key& key) {
    return world_->find_endpoint(key.first, key.second);
  });
  quorum_ = quorum_.moved(world_->config->controlplane.health, endpoint_moves, site_moves, now);
}

void Engine::hear_probes(std::uint32_t site, const SiteReport& report, Instant received) {
  for (const auto& look : report.endpoints) {
    if (!look.probe) continue;
    const auto at = std::ranges::lower_bound(endpoint_of_report_, look.endpoint, {},
                                             &std::pair<std::uint64_t, std::uint32_t>::first);
    if (at == endpoint_of_report_.end() || at->first != look.endpoint) continue;
    if (quorum_.vote(at->second, site, look.up, look.probe_us, received, look.notices_ds))
      changed_verdicts_.push_back(at->second);
  }
}

void Engine::tick_probes(Instant now) {
  quorum_.tick(now, changed_verdicts_);
  for (const auto e : changed_verdicts_) judge(e, now);
  changed_verdicts_.clear();
}

// "2 of 3 probes find it down (nyc, sin)"; nothing where all is well or nobody looks.
ProbesJudgement Engine::probes_judgement(std::uint32_t endpoint) const {
  const auto* verdict = quorum_.find(endpoint);
  if (verdict == nullptr || !verdict->up) return {};
  ProbesJudgement seen;
  seen.judged = true;
  seen.up = *verdict->up;
  for (const auto& vote : verdict->votes) {
    if (!vote.counts) continue;
    ++seen.counting;
    if (vote.up) continue;
    ++seen.bad;
    if (seen.named < ProbesJudgement::named_max) seen.bad_sites[seen.named++] = vote.from;
  }
  return seen;
}

}  // namespace pharos::controlplane
