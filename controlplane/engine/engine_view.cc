#include "pharos/controlplane/engine/engine.hh"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <limits>

// What people see of the engine: the same state that the answers come from.

namespace pharos::controlplane {

std::vector<std::uint32_t> Engine::answered(std::uint32_t pool, std::uint16_t locale,
                                            unsigned slot) const {
  const auto& source = world_->pools[pools_[pool].answered_by];
  const auto orders = order_count(pool, locale);
  std::vector<std::uint32_t> endpoints;
  if (orders == 0) return endpoints;
  for (const auto member : answered_of(pool, order_of(pool, locale, slot % orders))) {
    endpoints.push_back(source.members[member]);
  }
  return endpoints;
}

EndpointView Engine::view(std::uint32_t endpoint, std::uint16_t locale, Instant now) const {
  const auto& state = endpoints_[endpoint];
  const auto& fixed = world_->endpoints[endpoint];
  const auto seen = judgement(endpoint, now);
  const auto site = site_judgement(fixed.site, now);
  EndpointView view;
  view.factors = state.factors;
  view.factors.proximity = proximity_factor(world_->rtt(locale, fixed.site));
  view.score = score_of(view.factors, exponents_);
  view.standing = state.standing;
  view.override = state.override;
  view.override_by_operator = seen.override_by_operator;
  view.weight = state.weight;
  view.weight_by_operator = decisions_.weights.contains(key_of(endpoint));
  view.since = state.since;
  view.admitted = state.admitted;
  view.held = state.held;
  view.state = state_of(seen, site);
  view.reason = reason_of(seen, site, *world_);
  return view;
}

EndpointJudgement Engine::judgement(std::uint32_t endpoint, Instant now) const {
  const auto& state = endpoints_[endpoint];
  EndpointJudgement seen;
  seen.endpoint = endpoint;
  seen.override = state.override;
  seen.override_by_operator = state.override != config::Override::automatic &&
                              decisions_.overrides.contains(key_of(endpoint));
  seen.well = is_well(endpoint);
  seen.agent_up = state.health.up;
  seen.held = state.held;
  seen.rising = state.rising;
  if (state.held) {
    seen.held_for_s = state.held_until == never ? std::numeric_limits<double>::infinity()
                                                : std::max((state.held_until - now).seconds(), 0.0);
  }
  seen.weight = state.weight;
  seen.admitted = state.admitted;
  seen.factors = state.factors;
  seen.probes = probes_judgement(endpoint);
  return seen;
}

SiteJudgement Engine::site_judgement(std::uint32_t site, Instant now) const {
  const auto& health = health_.site(site);
  const auto& work = planned_[site];
  const auto parts = health_parts(health.metrics, health.rtt_base_us, health.latency_base_us);
  return {.state = health.state,
          .heard = health.rhythm.heard(),
          .leaving = health.leaving,
          .degraded = health.degraded,
          .hot = health.cpu.active(),
          .drains = work.active,
          .rise_count = health.rise_count,
          .tightness = tightness_[site],
          .restless_level = restless_levels_[site],
          .doubt = health.doubt,
          .silent_s = (now - health.rhythm.last()).seconds(),
          .flaps = flaps_at(health, now),
          .tightest = parts.least() < 0.95 ? parts.tightest() : "",
          .work_id = work.id,
          .work_from = work.from,
          .work_to = work.to};
}

std::vector<double> Engine::lead_shares(std::uint32_t pool, std::uint16_t locale) const {
  std::vector<double> shares(world_->pools[pools_[pool].answered_by].members.size(), 0.0);
  const auto slots = order_count(pool, locale);
  for (std::size_t slot = 0; slot < slots; ++slot) {
    const auto order = order_of(pool, locale, slot);
    if (!order.empty()) shares[order.front()] += 1.0 / static_cast<double>(slots);
  }
  return shares;
}

SiteLoadView Engine::view_load(std::uint32_t site) const {
  SiteLoadView view;
  view.capacity_rps = world_->site(site).capacity_rps;
  if (const auto& rps = health_.site(site).metrics.requests_rps) view.reported_rps = *rps;
  if (site < assigned_site_rps_.size()) view.assigned_rps = assigned_site_rps_[site];
  view.tightness = tightness_[site];
  return view;
}

PoolView Engine::view_pool(std::uint32_t pool) const {
  const auto& state = pools_[pool];
  PoolView view;
  view.panic = state.membership.panic;
  view.volatility_level = state.volatility.level();
  view.total = static_cast<unsigned>(world_->pools[pool].members.size());
  for (const auto e : world_->pools[pool].members) {
    view.healthy +=
        endpoints_[e].standing == Standing::healthy || endpoints_[e].standing == Standing::reserve;
  }
  view.answered_by = state.answered_by;
  view.ttl_s = state.cells.empty() ? 0 : state.cells.front().ttl_s;
  return view;
}

std::vector<std::string> Engine::alarms() const {
  std::vector<std::string> alarms;
  if (health_.suspects_itself()) {
    alarms.emplace_back(
        "most sites fell silent at once: we suspect ourselves and keep the last good ranking (look "
        "at the "
        "network between the sites and this responder)");
  }
  if (health_.deaf()) {
    alarms.emplace_back(
        "no site was heard since the start: all count as up (look at the agents, their keys and "
        "the way here)");
  }
  if (assign_overload_ > 0) {
    alarms.push_back(fmt::format(
        "demand is more than the sites can take: the worst is {:.0f} % above its limit (add "
        "capacity, or take less)",
        assign_overload_ * 100));
  }
  std::size_t shown = 0;
  for (const auto p : panicking_pools_) {
    if (shown++ == pool_alarms_max) {
      alarms.push_back(fmt::format("{} more pools are below their threshold",
                                   panicking_pools_.size() - pool_alarms_max));
      break;
    }
    const auto& membership = pools_[p].membership;
    const char* then = membership.closed            ? "only healthy ones are answered"
                       : pools_[p].answered_by != p ? "another service answers for it"
                                                    : "it answers as if all were healthy";
    alarms.push_back(fmt::format("service {}: {:.0f} % of its weight is healthy: {}",
                                 world_->pools[p].pool.name(), membership.healthy_share * 100,
                                 then));
  }
  return alarms;
}

}  // namespace pharos::controlplane
