#include "pharos/config/wall_time.hh"
#include "pharos/controlplane/engine/engine.hh"

#include <spdlog/fmt/fmt.h>

#include <algorithm>

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
  const auto& site = health_.site(fixed.site);
  EndpointView view;
  view.factors = state.factors;
  view.factors.proximity = proximity_factor(world_->rtt(locale, fixed.site));
  view.score = score_of(view.factors, exponents_);
  view.standing = state.standing;
  view.override = state.override;
  view.override_by_operator = decisions_.overrides.contains(key_of(endpoint));
  view.weight = state.weight;
  view.weight_by_operator = decisions_.weights.contains(key_of(endpoint));
  view.since = state.since;
  view.admitted = state.admitted;
  view.held = state.held;
  view.reason = reason_of(endpoint, now);
  const bool well = is_well(endpoint);
  if (state.override == config::Override::down || !well) {
    view.state = "down";
  } else if (state.override == config::Override::drain || in_maintenance(fixed.site)) {
    view.state = "draining";
  } else if (site.degraded) {
    view.state = "degraded";
  } else {
    view.state = site.state == SiteState::unknown ? "unknown" : "up";
  }
  return view;
}

std::string Engine::reason_of(std::uint32_t endpoint, Instant now) const {
  const auto& state = endpoints_[endpoint];
  const auto& fixed = world_->endpoints[endpoint];
  const auto& site = health_.site(fixed.site);
  const auto& id = world_->site(fixed.site).id;
  const char* by =
      decisions_.overrides.contains(key_of(endpoint)) ? "the operator" : "configuration";
  if (state.override == config::Override::down) return fmt::format("taken down by {}", by);
  if (state.override == config::Override::up) return fmt::format("held up by {}", by);
  std::string reason;
  const auto add = [&](std::string_view text) {
    reason.append(reason.empty() ? "" : "; ").append(text);
  };
  if (state.override == config::Override::drain) add(fmt::format("draining by {}", by));
  if (state.weight <= 0) add("weight 0: a last resort");
  if (state.held) {
    add(state.held_until == never
            ? std::string("well again, and held until the operator sets it to auto")
            : fmt::format("well again, and held for {:.0f} s more",
                          std::max((state.held_until - now).seconds(), 0.0)));
  }
  if (state.rising)
    add(fmt::format("coming back: takes {:.0f} % of its clients so far", state.admitted * 100));
  if (const auto& work = planned_[fixed.site]; work.active) {
    add(fmt::format("planned work '{}' goes on until {}", work.id,
                    config::wall_time_text(work.to)));
  } else if (!work.id.empty()) {
    add(fmt::format("planned work '{}' begins {}", work.id, config::wall_time_text(work.from)));
  }
  if (tightness_[fixed.site] > 0) {
    add(fmt::format("site {} is above its {} watermark", id,
                    tightness_[fixed.site] > 1 ? "high" : "low"));
  }
  if (site.state == SiteState::down) {
    if (site.leaving)
      add(fmt::format("site {} said that it leaves", id));
    else if (site.rise_count > 0) {
      add(fmt::format("site {} is back and has to stay good: {} beacons so far", id,
                      site.rise_count));
    } else if (!site.rhythm.heard())
      add(fmt::format("site {} was never heard", id));
    else {
      add(fmt::format("site {} is silent for {:.1f} s", id, (now - site.rhythm.last()).seconds()));
    }
  }
  if (!state.health.up) add("its agent reports it down");
  if (const auto probes = reason_of_probes(endpoint); !probes.empty()) add(probes);
  if (site.state == SiteState::suspect)
    add(fmt::format("site {} is suspected: a beacon is late", id));
  if (site.state == SiteState::unknown) add(fmt::format("site {} was not heard yet", id));
  if (site.degraded) {
    add(fmt::format("site {} is overloaded: {}", id, site.cpu.active() ? "cpu" : "memory"));
  }
  const auto parts = health_parts(site.metrics, site.rtt_base_us, site.latency_base_us);
  if (parts.least() < 0.95) add(fmt::format("health is held down by {}", parts.tightest()));
  if (state.factors.headroom < 0.95) add("its capacity is partly used");
  if (flaps_at(site, now) > 0.05) add(fmt::format("site {} fell lately", id));
  if (const auto level = restless_levels_[fixed.site]; level > 0) {
    add(fmt::format("its load swings by {:.0f} %", restless_step * level * 100));
  }
  if (site.doubt > 0) {
    add(fmt::format("its metrics are {:.1f} s old", (now - site.rhythm.last()).seconds()));
  }
  return reason.empty() ? "all is well" : reason;
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
