#include "pharos/controlplane/engine/engine.hh"
#include "pharos/controlplane/rank/spread.hh"

#include <algorithm>
#include <cmath>
#include <map>

// Demand and capacity: what is asked for, the problem that it makes, and what its solution changes
// (controlplane/assign/README.md).

namespace pharos::controlplane {

bool Engine::limits_known() const {
  const auto& config = *world_->config;
  const auto limited = [](const auto& thing) { return thing.capacity_rps.has_value(); };
  return std::ranges::any_of(config.sites, limited) ||
         std::ranges::any_of(config.services, [&](const auto& service) {
           return std::ranges::any_of(service.endpoints, limited);
         });
}

void Engine::start_assigning(Instant now) {
  const auto& config = *world_->config;
  ++world_serial_;
  assigning_ = config.controlplane.assign.enabled && limits_known();
  demand_ = DemandBoard(pools_.size(), world_->locales.size(), config.controlplane.assign.window);
  demand_.tick(now);
  requests_.assign(config.services.size(), 0.0);
  requests_at_ = now;
  assigned_site_rps_.clear();
  assign_overload_ = 0;
  assign_last_ = now;
  assign_due_ = now + config.controlplane.assign.interval;
  demand_waits_ = false;
}

void Engine::heard_demand(std::uint32_t pool, std::uint16_t locale, std::uint32_t weight) {
  demand_.heard(pool, locale, weight);
  demand_waits_ = true;
}

void Engine::restart_demand() {
  demand_.restart();
}

// After a change of members or scores the next assignment does not wait for its turn.
void Engine::hasten_assignment(Duration after_the_last) {
  if (assigning_) assign_due_ = std::min(assign_due_, assign_last_ + after_the_last);
}

Instant Engine::assign_deadline() const noexcept {
  return assigning_ || demand_waits_ ? assign_due_ : never;
}

void Engine::postpone_assignment(Instant until) {
  assign_due_ = std::max(assign_due_, until);
}

// What endpoints reported last counts on while they are away, and fades: their clients are still coming.
void Engine::refresh_requests(Instant now) {
  const double passed_s = std::max((now - requests_at_).seconds(), 0.0);
  const double window_s = world_->config->controlplane.assign.window.seconds();
  requests_at_ = now;
  const double fade = std::exp(-passed_s / std::max(window_s, 1e-3));
  std::vector<double> current(requests_.size(), 0.0);
  for (std::uint32_t e = 0; e < endpoints_.size(); ++e) {
    const auto& fixed = world_->endpoints[e];
    if (health_.site(fixed.site).usable() && endpoints_[e].health.requests_rps)
      current[fixed.service] += *endpoints_[e].health.requests_rps;
  }
  for (std::size_t s = 0; s < requests_.size(); ++s)
    requests_[s] = std::max(current[s], requests_[s] * fade);
}

// Requests per second that stand behind one answer per second of a service, all else being equal.
double Engine::requests_per_answer(std::uint32_t service) const {
  double answers = 0;
  const auto [first, end] = world_->pools_of_service[service];
  for (auto p = first; p < end; ++p) {
    for (std::uint16_t l = 0; l < static_cast<std::uint16_t>(world_->locales.size()); ++l)
      answers += demand_.rate(p, l) * world_->demand_weights[l];
  }
  return requests_[service] > 0 && answers > 0 ? requests_[service] / answers : 1.0;
}

double Engine::base_without_headroom(std::uint32_t pool, std::uint32_t endpoint) const {
  const auto& state = endpoints_[endpoint];
  if (!is_nested(pool) && policy_of(pool) == config::Policy::geo) return 1;
  Factors factors = state.factors;
  factors.headroom = 1;
  return pools_[pool].membership.panic ? score_as_if_healthy(factors, exponents_)
                                       : locale_independent_score(factors, exponents_);
}

// A pool that answers, as the assignment sees it; demand is still to be added.
AssignPool Engine::assign_pool_of(std::uint32_t pool) const {
  const auto& state = pools_[pool];
  const auto& fixed = world_->pools[pool];
  const auto& service = world_->service(fixed.service);
  AssignPool made;
  made.pool = pool;
  made.service = fixed.service;
  made.dealt = dealt_by_slot(pool);
  made.importance = service.importance;
  made.probe_share = service.probe_share;
  made.rps.assign(world_->locales.size(), 0.0);
  made.former = state.assigned.get();
  const auto weight_of = [&](std::uint32_t e) {
    return made.dealt ? dealt_weight(e, service.policy, state.membership.panic) : 1;
  };
  // Who is dealt nothing takes nothing over, unless that is all there is.
  const bool any = std::ranges::any_of(
      state.membership.members, [&](auto member) { return weight_of(fixed.members[member]) > 0; });
  for (const auto member : state.membership.members) {
    const auto e = fixed.members[member];
    if (any && weight_of(e) <= 0) continue;
    made.members.push_back(
        {.site = world_->endpoints[e].site,
         .weight = weight_of(e),
         .base = base_without_headroom(pool, e),
         .capacity_rps = world_->endpoint(e).capacity_rps,
         // Weights hold it back.
         .admitted = made.dealt ? 1 : endpoints_[e].admitted});
    // Of groups: what each leads there unless limits bend it.
    if (state.homes.empty()) continue;
    made.homes.resize(world_->locales.size());
    for (std::size_t l = 0; l < state.homes.size(); ++l)
      made.homes[l].push_back(state.homes[l][member]);
  }
  return made;
}

std::vector<double> Engine::requests_by_cell() const {
  std::vector<double> requests(pools_.size() * world_->locales.size());
  for (std::uint32_t s = 0; s < requests_.size(); ++s) {
    const double ratio = requests_per_answer(s);
    const auto [first, end] = world_->pools_of_service[s];
    for (auto p = first; p < end; ++p) {
      for (std::uint16_t l = 0; l < static_cast<std::uint16_t>(world_->locales.size()); ++l)
        requests[p * world_->locales.size() + l] =
            demand_.rate(p, l) * world_->demand_weights[l] * ratio;
    }
  }
  return requests;
}

double Engine::requests_of_cell(std::uint32_t pool, std::uint16_t locale) const {
  return demand_.rate(pool, locale) * world_->demand_weights[locale] *
         requests_per_answer(world_->pools[pool].service);
}

std::optional<AssignTask> Engine::take_assign_task(Instant now) {
  if (now < assign_deadline()) return std::nullopt;
  const auto& config = *world_->config;
  assign_last_ = now;
  assign_due_ = now + config.controlplane.assign.interval;
  demand_waits_ = false;
  demand_.tick(now);
  refresh_requests(now);
  if (!assigning_ || !demand_.known()) return std::nullopt;

  const auto requests = requests_by_cell();
  std::vector<AssignPool> wanted;
  std::vector<std::uint32_t> place(pools_.size(), ~0U);  // of a pool that answers, in `wanted`
  for (std::uint32_t p = 0; p < pools_.size(); ++p) {
    const auto source = follow_redirects(p);  // as it will be ranked, where that is still to come
    for (std::uint16_t l = 0; l < static_cast<std::uint16_t>(world_->locales.size()); ++l) {
      const double rps = requests[p * world_->locales.size() + l];
      if (rps <= 0) continue;
      if (place[source] == ~0U) {
        place[source] = static_cast<std::uint32_t>(wanted.size());
        wanted.push_back(assign_pool_of(source));
      }
      wanted[place[source]].rps[l] += rps;
    }
  }
  std::vector<AssignSite> sites;
  for (const auto& site : config.sites) sites.push_back({site.capacity_rps, 0});
  const auto& assign = config.controlplane.assign;
  auto task = make_assign_task({assign.low_watermark, assign.high_watermark, assign.degrade},
                               std::move(sites), wanted, proximity_, now);
  task.world_serial = world_serial_;
  task.number = ++task_number_;
  return task;
}

// Shares that moved by little stay, unless what is in force then would fill somebody too far. All pools of a group have
// the same shares afterwards.
std::vector<bool> Engine::groups_to_take(
    const AssignTask& task, std::span<const std::shared_ptr<GroupShares>> shares) const {
  const auto& config = world_->config->controlplane.assign;
  std::vector<bool> taken(shares.size());
  std::vector<const GroupShares*> in_force(shares.size());
  for (std::size_t g = 0; g < shares.size(); ++g) {
    const auto* front = pools_[task.pools[g].front()].assigned.get();
    const bool alike = std::ranges::all_of(
        task.pools[g], [&](auto pool) { return pools_[pool].assigned.get() == front; });
    taken[g] = !alike || differs(front, *shares[g], config.step);
    in_force[g] = taken[g] ? shares[g].get() : front;
  }
  if (fills_beyond(task, in_force, config.high_watermark)) taken.assign(shares.size(), true);
  return taken;
}

void Engine::assigned(const AssignTask& task, const Assignment& assignment) {
  // What was taken before a loss may be solved after what was taken at it.
  if (task.world_serial != world_serial_ || task.number < assigned_number_) return;
  assigned_number_ = task.number;
  const auto shares = controlplane::shares_of(task, assignment);
  const auto taken = groups_to_take(task, shares);
  for (std::size_t g = 0; g < shares.size(); ++g) {
    if (!taken[g]) continue;
    note_unrest(*shares[g], pools_[task.pools[g].front()].assigned.get(), task.taken);
    for (const auto pool : task.pools[g]) {
      const bool moves = differs(pools_[pool].assigned.get(), *shares[g], 0);
      pools_[pool].assigned = shares[g];
      if (moves) mark_pool_dirty(pool);
    }
  }
  assigned_site_rps_ = assignment.site_rps;
  assign_overload_ = assignment.overload;
  refresh_tightness();
}

void Engine::assign_in_place(Instant now) {
  if (const auto task = take_assign_task(now)) assigned(*task, assign(task->problem));
}

// Ways of the problem if no two pools were in one group.
std::size_t Engine::ways_at_most() const {
  std::size_t ways = 0;
  for (std::uint32_t p = 0; p < pools_.size(); ++p) {
    const auto members = pools_[p].membership.members.size();
    const auto rows = dealt_by_slot(p) ? members : world_->locales.size();
    ways += members * rows * (is_nested(p) ? members : 1);
  }
  return ways;
}

// Whether a pool's weights are others since they were looked at last, and others than those that its shares bend: what was
// made for some says nothing of others.
bool Engine::note_weights(std::uint32_t pool) {
  auto& state = pools_[pool];
  if (state.assigned == nullptr || !state.assigned->bends_weights() || !dealt_by_slot(pool))
    return false;
  auto wanted = wanted_of(assign_pool_of(pool));
  const bool moved = wanted != state.assigned->wanted && wanted != state.weights_noted;
  state.weights_noted = std::move(wanted);
  return moved;
}

// What a lost site served would all go to the next nearest until the next assignment, and who gets another weight would be
// moved there and back. Where that takes a moment only, the assignment is made within the round, so that no answer is ever
// given without one.
void Engine::assign_at_once(Instant now, std::vector<std::uint32_t>& dirty, Round& round) {
  if (!std::exchange(shares_outdated_, false) || now < assign_last_ + assign_at_once_interval ||
      ways_at_most() > assign_ways_at_once) {
    return;
  }
  // What policies in groups ask for is known when they are ranked.
  if (std::ranges::any_of(dirty, [&](auto pool) { return is_nested(pool); })) return;
  assign_due_ = now;
  auto task = take_assign_task(now);
  if (!task) return;
  assigned(*task, assign(task->problem));
  round.assigned = std::make_shared<const AssignTask>(std::move(*task));
  std::vector<std::uint32_t> more;
  collect_dirty(now, more);
  std::erase_if(more, [&](auto pool) { return std::ranges::binary_search(dirty, pool); });
  for (const auto p : more) refresh_membership(p);
  dirty.insert(dirty.end(), more.begin(), more.end());
  std::ranges::sort(dirty);
}

// A site's share of a locale is split among its endpoints by their limits, or evenly.
std::vector<double> Engine::assigned_shares(std::uint32_t pool, std::uint16_t locale) const {
  const auto& state = pools_[pool];
  const auto& fixed = world_->pools[pool];
  std::vector<double> shares(fixed.members.size(), 0.0);
  if (state.assigned == nullptr) return {};
  for (const auto member : state.membership.members) {
    const auto site = fixed.sites[member];
    double part = 0, all = 0;
    const bool limited = std::ranges::all_of(state.membership.members, [&](auto other) {
      return fixed.sites[other] != site ||
             world_->endpoint(fixed.members[other]).capacity_rps.value_or(0) > 0;
    });
    for (const auto other : state.membership.members) {
      if (fixed.sites[other] != site) continue;
      const double size = limited ? *world_->endpoint(fixed.members[other]).capacity_rps : 1.0;
      all += size;
      if (other == member) part = size;
    }
    shares[member] = state.assigned->share(locale, site) * part / all;
  }
  return shares;
}

// What each member leads at the least, so that the health of its site stays known; empty: nothing is asked for. At least
// one slot, or it would be nothing.
std::vector<double> Engine::least_shares(std::uint32_t pool, unsigned slots) const {
  const auto& fixed = world_->pools[pool];
  const double share = world_->service(fixed.service).probe_share;
  if (share <= 0) return {};
  std::map<std::uint32_t, double> at_site;
  for (const auto member : pools_[pool].membership.members) at_site[fixed.sites[member]] += 1;
  std::vector<double> least(fixed.members.size(), 0.0);
  for (const auto member : pools_[pool].membership.members)
    least[member] = std::max(share / at_site[fixed.sites[member]], 1.0 / slots);
  return least;
}

// The cells of a ranked pool in which not all clients have the same leader.
void Engine::spread_cells(std::uint32_t pool) {
  auto& state = pools_[pool];
  state.spread_of.clear();
  state.spreads.clear();
  const auto source = state.answered_by;
  if (dealt_by_slot(source)) return;
  const auto& fixed = world_->pools[source];
  const auto& members = pools_[source].membership.members;
  std::vector<double> admitted(fixed.members.size(), 1.0);
  bool any_held = false;
  for (const auto member : members) {
    admitted[member] = endpoints_[fixed.members[member]].admitted;
    // The assignment has held it back already, and asked for room for the rest.
    if (pools_[source].assigned != nullptr)
      admitted[member] = std::min(
          admitted[member] / pools_[source].assigned->admitted_part(fixed.sites[member]), 1.0);
    any_held = any_held || admitted[member] < 1;
  }
  const auto slots = std::max(world_->service(fixed.service).slots, spread_slots_min);
  const auto least = least_shares(source, slots);
  if (members.empty() || (pools_[source].assigned == nullptr && !any_held && least.empty())) return;
  std::vector<std::uint64_t> keys;
  for (const auto e : fixed.members) keys.push_back(world_->endpoints[e].dealing_key);
  state.spread_of.assign(state.cells.size(), 0);
  for (std::uint16_t l = 0; l < static_cast<std::uint16_t>(state.cells.size()); ++l) {
    const auto order = std::span(state.orders).subspan(l * state.order_length, state.order_length);
    // An assignment gives probes their share of all demand; in each locale again, it would be more than was asked room for.
    const auto& assigned = pools_[source].assigned;
    const bool probed = assigned != nullptr && assigned->knows(l);
    const auto leads = leads_of(order, assigned_shares(source, l), admitted,
                                probed ? std::span<const double>() : std::span(least));
    if (is_undivided(leads, order, slots)) continue;
    state.spreads.push_back(spread(leads.size() == 1 ? 1 : slots, leads, keys, order));
    state.spread_of[l] = static_cast<std::uint32_t>(state.spreads.size());
  }
}

// ---- how near the limits are ----

// 0: room; 1: above the low watermark; 2: above the high one. A level is left 5 % below where it was entered.
unsigned Engine::tightness_of(std::uint32_t site, unsigned former) const {
  const auto& limit = world_->site(site).capacity_rps;
  if (!limit) return 0;
  const auto& assign = world_->config->controlplane.assign;
  double load = health_.site(site).metrics.requests_rps.value_or(0);
  if (site < assigned_site_rps_.size()) load = std::max(load, assigned_site_rps_[site]);
  const double use = *limit > 0 ? load / *limit : (load > 0 ? 1.0 : 0.0);
  constexpr double slack = 0.05;
  if (use >= assign.high_watermark - (former >= 2 ? slack : 0)) return 2;
  return use >= assign.low_watermark - (former >= 1 ? slack : 0) ? 1 : 0;
}

void Engine::refresh_tightness() {
  for (std::uint32_t s = 0; s < tightness_.size(); ++s) refresh_tightness(s);
}

void Engine::refresh_tightness(std::uint32_t site) {
  const auto level = static_cast<std::uint8_t>(tightness_of(site, tightness_[site]));
  if (std::exchange(tightness_[site], level) == level) return;
  for (const auto e : world_->endpoints_of_site[site]) mark_dirty(e);
}

}  // namespace pharos::controlplane
