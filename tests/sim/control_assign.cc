// Assignments of a simulated control plane: when they are made, and whether what is ranked after them is fair.
#include <algorithm>
#include <cmath>
#include <set>

#include "control.hh"

namespace pharos::sim {
namespace {

using controlplane::SiteState;

// A problem of simulated size is solved within this.
constexpr Duration solving_max = milliseconds(60);
// From a loss to the assignment that follows it: assign_urgent_interval, a problem that was being solved, its own.
constexpr Duration assigned_after_loss_max = milliseconds(500);

}  // namespace

// As the task that Assigner posts.
void ControlPlane::take_solution(Instant now) {
  applied_.reset();
  if (!solving_ || now < solving_->done) return;
  const auto solution = controlplane::assign(solving_->task.problem);
  engine_.assigned(solving_->task, solution);
  if (solving_->taken >= owed_since_) owes_ = false;
  ++parts_.witness.figures.assignments;
  if (std::exchange(solving_former_world_, false)) {
    solving_.reset();
    return;
  }
  note_takers(solving_->task);
  if (solving_->taken > last_unrest_) {
    applied_ = std::move(solving_->task);
    applied_ground_ = std::move(solving_->ground);
  }
  solving_.reset();
}

void ControlPlane::note_takers(const controlplane::AssignTask& task) {
  if (task.number < newest_task_) return;
  newest_task_ = task.number;
  takers_.clear();
  for (std::size_t g = 0; g < task.groups.size(); ++g) {
    for (const auto pool : task.pools[g])
      takers_[engine_.world().pools[pool].service] = task.groups[g].sites;
  }
}

// What was assigned in the round itself, at a loss.
void ControlPlane::take_assigned(const controlplane::Round& round, Instant now) {
  if (round.assigned == nullptr) return;
  ++parts_.witness.figures.assignments;
  owes_ = false;
  note_takers(*round.assigned);
  applied_ = *round.assigned;
  applied_ground_ = ground(now);
  check_assignment(now);
}

// As EngineLoop::assign_demand.
void ControlPlane::assign_demand(Instant now) {
  if (now < engine_.assign_deadline()) return;
  if (solving_) {
    engine_.postpone_assignment(now + milliseconds(20));
  } else if (auto task = engine_.take_assign_task(now)) {
    solving_.emplace(Solving{std::move(*task),
                             now + parts_.random.between(milliseconds(1), solving_max), now,
                             ground(now)});
  } else {
    owes_ = false;  // nothing is known of demand, or nothing is limited
  }
}

// Where the task's demand goes by the cells that were ranked.
Loads ControlPlane::loads_of(const controlplane::AssignTask& task) const {
  const auto& world = engine_.world();
  const auto& problem = task.problem;
  Loads loads;
  loads.slack.assign(problem.sites.size(), 0);
  for (const auto& site : problem.sites) {
    loads.limits.push_back(site.capacity_rps);
    loads.fixed.push_back(site.fixed_rps);
  }
  for (std::size_t g = 0; g < problem.groups.size(); ++g) {
    for (const auto& member : problem.groups[g].members) {
      if (member.capacity_rps)
        loads.group_limits[{static_cast<std::uint32_t>(g), member.site}] = *member.capacity_rps;
    }
  }
  for (std::size_t d = 0; d < task.parts.size(); ++d) {
    const auto& part = task.parts[d];
    const auto& pool = world.pools[task.pools[part.group].front()];
    const auto& service = world.service(pool.service);
    // Pools with groups keep the shares that their policies ask for as well, but their slots are bent as those of ranked ones.
    const bool dealt = task.by_home[part.group] && pool.nest.empty();
    auto& stream = loads.streams.emplace_back();
    stream.group = part.group;
    for (const auto site : task.groups[part.group].sites) stream.rps[site] = 0;
    if (!dealt) stream.fixed_share = service.probe_share;
    const double rps = problem.demands[d].rps;
    // Of dealt pools row 0, which says the same as all.
    const auto& cell =
        cells_->at(task.pools[part.group].front(), static_cast<std::uint16_t>(part.row));
    for (const auto& told : cell.told) stream.add(site_of(told.places.front()), rps * told.share);
    // What rounding to slots may add; sticky clients stay where they are.
    const double slots = dealt ? service.slots : std::max(service.slots, 256U);
    const bool sticky = pool.nest.empty() && service.policy == config::Policy::sticky;
    stream.rounding = rps * (sticky ? 1 : 1.5 / slots);
    stream.importance = problem.groups[part.group].importance;
    for (const auto& [site, unused] : stream.rps) loads.slack[site] += stream.rounding;
  }
  return loads;
}

// What an assignment goes by beside demand: when it changes, another one is due, and this one is not judged.
std::vector<ControlPlane::Ground> ControlPlane::ground(Instant now) const {
  std::vector<Ground> grounds;
  for (std::uint32_t e = 0; e < engine_.world().endpoints.size(); ++e) {
    const auto view = engine_.view(e, 0, now);
    const auto& factors = view.factors;
    const double bend = factors.condition * factors.risk * factors.confidence;
    grounds.push_back({view.standing, view.weight, view.admitted, std::round(bend * 4)});
  }
  return grounds;
}

std::vector<Loads> ControlPlane::looks_at(const Loads& loads) const {
  const auto degrade = engine_.world().config->controlplane.assign.degrade;
  if (engine_.assign_overload() <= 0 || degrade == config::Degrade::proportional) return {loads};
  std::set<int> importances;
  for (const auto& stream : loads.streams) importances.insert(stream.importance);
  std::vector<Loads> looks;
  for (const int importance : importances) looks.push_back(loads.of_importance(importance));
  return looks;
}

// An assignment, once ranked, leaves nobody beyond his limit, or his high watermark, while others have room.
void ControlPlane::check_assignment(Instant now) {
  if (!applied_ || applied_ground_ != ground(now)) return;
  const auto& world = engine_.world();
  const auto loads = loads_of(*applied_);
  const auto seen = looks_at(loads);
  for (const double share : {world.config->controlplane.assign.high_watermark, 1.0}) {
    std::string wrong;
    for (const auto& look : seen) {
      if (wrong.empty()) wrong = look.unfair({.over = share * 1.005, .room = share});
    }
    if (wrong.empty()) continue;
    for (std::size_t g = 0; g < applied_->groups.size(); ++g) {
      const auto& service = world.service(world.pools[applied_->pools[g].front()].service);
      wrong += "; group " + std::to_string(g) + ": " + service.id + ", " +
               std::string(config::name_of(service.policy));
    }
    parts_.witness.violated(now, "capacity",
                            wrong + " (at " + std::to_string(share) + " of the limits)");
  }
}

// Whoever went down and is answered no more leaves demand behind, which others have to take.
void ControlPlane::note_loss(std::uint32_t pool, std::uint16_t locale, const Cell& next,
                             const controlplane::Round& round, Instant now) {
  const auto& former = cells_->cells[std::size_t{pool} * engine_.world().locales.size() + locale];
  if (former == nullptr || owes_ || !takers_.contains(engine_.world().pools[pool].service)) return;
  if (engine_.view_pool(pool).panic) return;  // nobody is left out
  const auto names = [](const Cell& cell, std::uint32_t site) {
    return std::ranges::any_of(cell.told, [&](const auto& told) {
      return std::ranges::find(told.places, site, site_of) != told.places.end();
    });
  };
  // Whom the operator has up is not lost with his site.
  const auto& fixed = engine_.world().pools[pool];
  const auto is_held_up = [&](std::uint32_t site) {
    return std::ranges::any_of(fixed.members, [&](auto e) {
      return engine_.world().endpoints[e].site == site &&
             engine_.view(e, 0, now).standing == controlplane::Standing::healthy;
    });
  };
  for (const auto s : round.site_changes) {
    if (engine_.health().site(s).state != SiteState::down || !names(*former, s) || names(next, s))
      continue;
    if (is_held_up(s)) continue;
    owes_ = true;
    owed_since_ = now;
  }
}

void ControlPlane::note_unrest(const controlplane::Round& round, Instant now) {
  for (const auto s : round.site_changes) {
    const auto state = engine_.health().site(s).state;
    if (state == SiteState::suspect) continue;
    last_unrest_ = now;
  }
  if (!engine_.assigning()) owes_ = false;  // nothing is limited any more
  if (owes_ && now - std::max(owed_since_, excused_) > assigned_after_loss_max)
    parts_.witness.violated(now, "capacity", "no assignment has followed the loss of a site");
}

bool ControlPlane::panics() const {
  for (std::uint32_t p = 0; p < engine_.world().pools.size(); ++p) {
    if (engine_.view_pool(p).panic) return true;
  }
  return false;
}

const std::vector<std::uint32_t>* ControlPlane::takers(std::uint32_t service) const {
  const auto at = takers_.find(service);
  return at == takers_.end() ? nullptr : &at->second;
}

}  // namespace pharos::sim
