#include "pharos/controlplane/engine/engine.hh"

#include <algorithm>
#include <functional>

// Inputs, time and judgement. Ranking is in engine_rank.cc, views are in engine_view.cc.

namespace pharos::controlplane {
namespace {

// Endpoints of one site lie far apart in memory: those that come next are asked for while one is judged.
constexpr std::size_t endpoints_ahead = 8;

template <typename Object>
void prefetch(const Object& object) noexcept {
  constexpr std::size_t line_bytes = 64;
  const auto* at = reinterpret_cast<const std::byte*>(&object);
  for (std::size_t offset = 0; offset < sizeof object; offset += line_bytes)
    __builtin_prefetch(at + offset);
}

}  // namespace

Engine::Engine(std::shared_ptr<const World> world, Decisions decisions,
               const std::set<std::string>& down_sites, Instant now)
    : world_(std::move(world)),
      decisions_(std::move(decisions)),
      health_(world_->config->controlplane.health),
      quorum_(world_->config->controlplane.health) {
  for (const auto& site : world_->config->sites) {
    health_.add_site(!site.keys.empty(), site.beacon_interval, down_sites.contains(site.id), now);
  }
  endpoints_.resize(world_->endpoints.size());
  positions_.resize(world_->config->sites.size());
  build_state(now);
}

void Engine::replace_world(std::shared_ptr<const World> world, Instant now) {
  const auto former = std::exchange(world_, std::move(world));
  std::map<std::string, std::uint32_t> former_sites;
  for (std::uint32_t s = 0; s < former->config->sites.size(); ++s) {
    former_sites.emplace(former->site(s).id, s);
  }
  std::map<Decisions::Key, std::uint32_t> former_endpoints;
  for (std::uint32_t e = 0; e < former->endpoints.size(); ++e) {
    former_endpoints.emplace(
        Decisions::Key{former->service(former->endpoints[e].service).id, former->endpoint(e).id},
        e);
  }

  const auto health = std::exchange(health_, HealthBoard(world_->config->controlplane.health));
  const auto positions = std::exchange(positions_, {});
  for (const auto& site : world_->config->sites) {
    const auto at = former_sites.find(site.id);
    if (at == former_sites.end()) {
      health_.add_site(!site.keys.empty(), site.beacon_interval, false, now);
      positions_.emplace_back();
    } else {
      health_.add_site(health.site(at->second), !site.keys.empty(), site.beacon_interval, now);
      positions_.push_back(positions[at->second]);
    }
  }
  const auto endpoints = std::exchange(endpoints_, {});
  endpoints_.resize(world_->endpoints.size());
  for (std::uint32_t e = 0; e < endpoints_.size(); ++e) {
    const auto at = former_endpoints.find(key_of(e));
    if (at != former_endpoints.end()) take_over(endpoints_[e], endpoints[at->second]);
  }
  move_votes(former_sites, former_endpoints, now);
  const auto pools = std::exchange(pools_, {});
  const auto demand = std::exchange(demand_, {});
  const auto requests = std::exchange(requests_, {});
  build_state(now);
  carry_over(*former, pools, demand, requests, now);
}

void Engine::build_state(Instant now) {
  exponents_ = decisions_.exponents.value_or(world_->config->controlplane.score);
  refresh_proximity();
  for (auto* list : {&dirty_pools_, &score_dirty_pools_, &returning_}) list->clear();
  returns_due_ = never;
  drains_.clear();
  tightness_.assign(world_->config->sites.size(), 0);
  start_planning(now);
  panicking_pools_.clear();
  volatile_pools_.clear();
  pools_.clear();
  pools_.resize(world_->pools.size());
  for (std::uint32_t p = 0; p < pools_.size(); ++p) {
    const auto& service = world_->service(world_->pools[p].service);
    pools_[p].volatility = Volatility(service.ttl_floor, service.ttl_ceiling);
    pools_[p].answered_by = p;
    pools_[p].cells.resize(world_->locales.size());
    mark_pool_dirty(p);
  }
  known_states_.clear();
  changed_sites_.clear();
  start_probes();
  for (std::uint32_t e = 0; e < endpoints_.size(); ++e) refresh_override(e);
  for (std::uint32_t s = 0; s < health_.site_count(); ++s) {
    known_states_.push_back(health_.site(s).state);
    judge_site(s, now);
  }
  for (std::uint32_t e = 0; e < endpoints_.size(); ++e) {
    if (!endpoints_[e].held && !endpoints_[e].rising) continue;
    returning_.push_back(e);
    returns_due_ = std::min(returns_due_, return_deadline(e));
  }
  start_assigning(now);
  expected_step_ = never;
}

Decisions::Key Engine::key_of(std::uint32_t endpoint) const {
  return {world_->service(world_->endpoints[endpoint].service).id, world_->endpoint(endpoint).id};
}

void Engine::refresh_override(std::uint32_t endpoint) {
  const auto key = key_of(endpoint);
  auto& state = endpoints_[endpoint];
  const auto& configured = world_->endpoint(endpoint);
  const auto override = decisions_.overrides.find(key);
  state.override = override == decisions_.overrides.end() ? configured.state : override->second;
  state.capacity_rps = configured.capacity_rps;
  const auto weight = decisions_.weights.find(key);
  state.weight = weight == decisions_.weights.end() ? configured.weight : weight->second;
}

void Engine::heard(std::uint32_t site, const SiteReport& report, std::uint64_t boot_epoch,
                   std::uint64_t sequence, Instant received) {
  auto& position = positions_[site];
  if (position.boot_epoch != boot_epoch) {
    // A new agent: what its predecessor said of endpoints is void.
    for (const auto e : world_->endpoints_of_site[site]) endpoints_[e].health = {};
    quorum_.silence(site, received, changed_verdicts_);
  }
  const auto steps = position.boot_epoch == boot_epoch ? sequence - position.sequence : 0;
  position = {boot_epoch, sequence};
  health_.heard(site, report, received, changed_sites_, steps);
  if (report.endpoints.empty()) return;
  hear_probes(site, report, received);
  std::map<std::uint64_t, const EndpointReport*> reports;
  for (const auto& endpoint : report.endpoints) {
    if (!endpoint.probe) reports.emplace(endpoint.endpoint, &endpoint);
  }
  for (const auto e : world_->endpoints_of_site[site]) {
    const auto at = reports.find(world_->endpoints[e].report_id);
    // Whatever this changes, judge_site() sees it in the next step: the site is in changed_sites_.
    if (at != reports.end())
      static_cast<void>(health_.heard(endpoints_[e].health, *at->second, received));
  }
}

void Engine::set_override(std::uint32_t endpoint, config::Override value, Instant now) {
  decisions_.overrides[key_of(endpoint)] = value;
  refresh_override(endpoint);
  endpoints_[endpoint].held = false;  // whatever he says, he has seen it
  judge(endpoint, now);
  mark_dirty(endpoint);
}

void Engine::set_weight(std::uint32_t endpoint, std::optional<double> weight, Instant now) {
  if (weight) {
    decisions_.weights[key_of(endpoint)] = *weight;
  } else {
    decisions_.weights.erase(key_of(endpoint));
  }
  refresh_override(endpoint);
  judge(endpoint, now);
  mark_dirty(endpoint);
}

void Engine::set_exponents(std::optional<config::ScoreConfig> exponents, Instant now) {
  decisions_.exponents = exponents;
  exponents_ = exponents.value_or(world_->config->controlplane.score);
  refresh_proximity();
  for (std::uint32_t e = 0; e < endpoints_.size(); ++e) {
    judge(e, now);
    mark_dirty(e);
  }
}

void Engine::mark_dirty(std::uint32_t endpoint) {
  for (const auto p : world_->endpoints[endpoint].pools) mark_pool_dirty(p);
}

void Engine::mark_pool_dirty(std::uint32_t pool) {
  if (!std::exchange(pools_[pool].dirty, true)) dirty_pools_.push_back(pool);
}

void Engine::judge_site(std::uint32_t site, Instant now) {
  const bool state_changed = health_.site(site).state != known_states_[site];
  known_states_[site] = health_.site(site).state;
  if (state_changed && !health_.site(site).usable()) quorum_.silence(site, now, changed_verdicts_);
  const bool restless_changed = note_restlessness(site);
  const auto shared = site_factors_of(site, now);
  const auto& all = world_->endpoints_of_site[site];
  for (std::size_t i = 0; i < all.size(); ++i) {
    const auto ahead = all[std::min(i + endpoints_ahead, all.size() - 1)];
    prefetch(endpoints_[ahead]);
    prefetch(world_->endpoints[ahead]);
    judge(all[i], shared, now);
    if (state_changed || restless_changed) mark_dirty(all[i]);
  }
  refresh_tightness(site);
}

Engine::SiteFactors Engine::site_factors_of(std::uint32_t site, Instant now) const {
  const auto& health = health_.site(site);
  const auto& metrics = health.metrics;
  const Load load{.site_capacity_rps = world_->site(site).capacity_rps,
                  .site_rps = metrics.requests_rps,
                  .endpoint_capacity_rps = {},
                  .endpoint_rps = {},
                  .link_bps = metrics.link_bps,
                  .receive_bps = metrics.receive_bps,
                  .transmit_bps = metrics.transmit_bps,
                  .in_flight_max = world_->site(site).in_flight_max,
                  .in_flight = metrics.requests_in_flight};
  return {.health = health_parts(metrics, health.rtt_base_us, health.latency_base_us).least(),
          .risk = risk_factor(flaps_at(health, now), restless_step * restless_levels_[site]),
          .confidence = confidence_of(health),
          .headroom = headroom_factor(load),
          .condition = condition_factor(true, health.degraded, metrics.error_ratio)};
}

Factors Engine::factors_of(std::uint32_t endpoint, bool well, const SiteFactors& site) const {
  const auto& state = endpoints_[endpoint];
  Factors factors;
  factors.health = site.health;
  factors.headroom = site.headroom;
  if (state.capacity_rps) {
    Load own;
    own.endpoint_capacity_rps = state.capacity_rps;
    own.endpoint_rps = state.health.requests_rps;
    factors.headroom = std::min(factors.headroom, headroom_factor(own));
  }
  factors.condition = well ? site.condition : condition_factor(false, false, {});
  factors.version = world_->endpoints[endpoint].version_preference;
  factors.risk = site.risk;
  factors.confidence = site.confidence;
  return factors;
}

void Engine::judge(std::uint32_t endpoint, Instant now) {
  judge(endpoint, site_factors_of(world_->endpoints[endpoint].site, now), now);
}

void Engine::judge(std::uint32_t endpoint, const SiteFactors& site, Instant now) {
  auto& state = endpoints_[endpoint];
  ++work_.endpoints_judged;
  const bool well = is_well(endpoint);
  note_wellness(endpoint, well, now);
  const bool reserve = state.override == config::Override::drain || state.weight <= 0 ||
                       state.held || in_maintenance(world_->endpoints[endpoint].site);
  const auto standing = state.override == config::Override::down ? Standing::barred
                        : well && reserve                        ? Standing::reserve
                        : well                                   ? Standing::healthy
                        : reserve                                ? Standing::barred
                                                                 : Standing::failing;
  if (standing != state.standing) note_drain(endpoint, standing, now);
  if (standing != state.standing || !state.judged) {
    state.since = now;
    mark_dirty(endpoint);
    if (state.judged && standing == Standing::healthy) begin_rise(endpoint, now);
  }
  state.judged = true;
  state.standing = standing;
  state.factors = factors_of(endpoint, well, site);
  state.base = locale_independent_score(state.factors, exponents_);
  state.base_as_if_healthy = score_as_if_healthy(state.factors, exponents_);
  const double moved = state.base - state.ranked_base;
  if (moved > score_step * state.ranked_base || -moved > score_step * state.ranked_base) {
    for (const auto p : world_->endpoints[endpoint].pools) {
      if (!std::exchange(pools_[p].score_dirty, true)) score_dirty_pools_.push_back(p);
    }
  }
}

void Engine::note_volatile(std::uint32_t pool) {
  const auto due = pools_[pool].volatility.next_deadline();
  if (due == never || std::exchange(pools_[pool].volatile_, true)) return;
  volatile_pools_.emplace_back(due, pool);
  std::ranges::push_heap(volatile_pools_, std::greater{});
}

void Engine::tick_volatility(Instant now) {
  while (!volatile_pools_.empty() && volatile_pools_.front().first <= now) {
    const auto pool = volatile_pools_.front().second;
    std::ranges::pop_heap(volatile_pools_, std::greater{});
    volatile_pools_.pop_back();
    pools_[pool].volatile_ = false;
    if (pools_[pool].volatility.tick(now)) mark_pool_dirty(pool);
    note_volatile(pool);
  }
}

Round Engine::step(Instant now) {
  const bool awaited = expected_step_ != never && expected_step_ != Instant{0};
  return step(now, {now, awaited ? std::max(now - expected_step_, Duration{}) : Duration{}});
}

Round Engine::step(Instant now, const Hearing& hearing) {
  if (hearing.stalled > stall_limit) health_.excuse(now);
  if (hearing.stalled > lag_noise) health_.lagged(std::min(hearing.stalled, stall_limit), now);
  Round round;
  round.world = world_;
  heard_until_ = std::max(heard_until_, std::min(hearing.until, now));
  health_.tick(heard_until_, changed_sites_);
  std::ranges::sort(changed_sites_);
  const auto repeated = std::ranges::unique(changed_sites_);
  changed_sites_.erase(repeated.begin(), repeated.end());
  for (const auto site : changed_sites_) {
    if (health_.site(site).state != known_states_[site]) round.site_changes.push_back(site);
    judge_site(site, now);
  }
  changed_sites_.clear();
  tick_probes(now);
  tick_planned(now);
  tick_returns(now);
  tick_volatility(now);

  std::vector<std::uint32_t> dirty;
  collect_dirty(now, dirty);
  for (const auto p : dirty) refresh_membership(p);
  assign_at_once(now, dirty, round);
  for (const auto p : dirty) refresh_slots(p);
  for (const auto p : dirty) rank_pool(p, now, round);
  expected_step_ = next_deadline();
  return round;
}

Instant Engine::next_deadline() const noexcept {
  if (!dirty_pools_.empty() || !changed_sites_.empty() || !changed_verdicts_.empty())
    return Instant{0};
  Instant next =
      std::min({health_.next_deadline(), quorum_.next_deadline(), planned_due_, returns_due_});
  if (!volatile_pools_.empty()) next = std::min(next, volatile_pools_.front().first);
  if (!score_dirty_pools_.empty()) next = std::min(next, next_score_round_);
  return next;
}

}  // namespace pharos::controlplane
