// What clients are told, what load that makes, and how often it turns round.
#include <algorithm>
#include <cmath>

#include "simulation.hh"

namespace pharos::sim {
namespace {

constexpr Duration look_interval = milliseconds(500);
constexpr double step_of_direction = 0.05;  // of all traffic: less is no movement
constexpr Duration one_hour = seconds(3600);
// In an hour, of one site (README.md: what it taught).
constexpr std::size_t falls_max = 30;
constexpr std::size_t reversals_max = 200;
constexpr std::size_t demand_ring_max = 4096;
// Tables in use are this much younger than the time at most, where all is well.
constexpr Duration published_within = milliseconds(500);
constexpr Duration steady_enough = seconds(2);
// So near its edges work may or may not have begun.
constexpr Duration edge_slack = milliseconds(200);
// Loads that are measured at the sites are judged less finely than those that were meant.
constexpr Loads::Limits measured{.over = 1.1, .room = 0.8};

void forget_old(std::deque<Instant>& times, Instant now) {
  while (!times.empty() && now - times.front() > one_hour) times.pop_front();
}

}  // namespace

std::optional<std::uint32_t> Simulation::pool_of(unsigned service) const {
  if (!dataplane_ || !dataplane_->tables().root) return std::nullopt;
  const auto& world = *dataplane_->tables().expected->world;
  for (std::uint32_t p = 0; p < world.pools.size(); ++p) {
    const auto& pool = world.pools[p].pool;
    if (pool.service == service_id(service) && pool.type == dns::Type::a) return p;
  }
  return std::nullopt;
}

std::optional<Reply> Simulation::ask(unsigned service, std::uint16_t locale,
                                     std::uint32_t client_hash) {
  const auto pool = pool_of(service);
  if (!pool) return std::nullopt;
  check_planned(dataplane_->tables().expected->at(*pool, locale));
  return reply_of(*dataplane_->tables().root, *pool, locale, client_hash);
}

std::shared_ptr<const Cell> Simulation::ask_for_all(unsigned service, std::uint16_t locale) {
  const auto pool = pool_of(service);
  if (!pool) return nullptr;
  const auto& expected = *dataplane_->tables().expected;
  const auto& cell = expected.cells[std::size_t{*pool} * expected.world->locales.size() + locale];
  if (cell->told.empty()) return nullptr;
  check_planned(*cell);
  return cell;
}

void Simulation::answered(unsigned service, std::uint16_t locale, std::uint32_t count) {
  const auto pool = pool_of(service);
  if (!pool || demand_.size() == demand_ring_max) return;
  const auto& expected = *dataplane_->tables().expected;
  demand_.push_back({expected.pools_id, expected.locales_id, *pool, locale, count});
}

std::vector<Simulation::Work> Simulation::works() const {
  std::vector<Work> works;
  for (const auto& work : config_->maintenance) works.push_back({work.sites, work.from, work.to});
  for (const auto& [id, said] : planned_) {
    const auto* work = said.newest();
    if (work != nullptr && !work->sites.empty()) works.push_back(*work);
  }
  return works;
}

namespace {

bool is_at(const auto& work, const std::string& site) {
  return std::ranges::find(work.sites, site) != work.sites.end();
}

}  // namespace

// No answer outlives the beginning of planned work at a site that it names.
void Simulation::check_planned(const Cell& cell) {
  if (!control_ || !connected_ || !control_->publication().alarm().empty() ||
      control_wall_offset_ != Duration{} || events_.now() < steady_since_ + steady_enough)
    return;
  const auto all = works();
  if (all.empty()) return;
  const auto wall = true_wall();
  for (const auto& told : cell.told) {
    for (const auto place : told.places) {
      const auto site = site_id(site_of(place));
      const auto at_work = [&](const Work& work) {
        return is_at(work, site) && work.from <= wall && wall < work.to;
      };
      if (std::ranges::any_of(all, at_work)) continue;
      for (const auto& work : all) {
        const Duration left = work.from - wall;
        if (!is_at(work, site) || left < Duration{} ||
            seconds(cell.content.ttl_s) <= left + published_within)
          continue;
        witness_.violated(events_.now(), "planned work",
                          "an answer of " + std::to_string(cell.content.ttl_s) + " s names " +
                              site + ", where work begins in " + std::to_string(left.seconds()) +
                              " s");
        return;
      }
    }
  }
}

// Sites drain for planned work while it lasts, and no longer: as it is planned now.
void Simulation::check_work_is_heeded() {
  if (control_wall_offset_ != Duration{} || events_.now() < steady_since_ + steady_enough) return;
  const auto all = works();
  const auto wall = true_wall();
  const auto near = [&](WallTime edge) {
    return wall - edge < edge_slack && edge - wall < edge_slack;
  };
  if (std::ranges::any_of(all, [&](const auto& w) { return near(w.from) || near(w.to); })) return;
  for (std::uint32_t s = 0; s < sites_.size(); ++s) {
    const bool wanted = std::ranges::any_of(all, [&](const auto& work) {
      return is_at(work, config_->sites[s].id) && work.from <= wall && wall < work.to;
    });
    if (control_->engine().in_maintenance(s) != wanted) {
      witness_.violated(events_.now(), "planned work",
                        config_->sites[s].id +
                            (wanted ? " is at work, and does not drain"
                                    : " drains for work that is not planned"));
      return;
    }
  }
}

// Load as it is, and who could take it by the last assignment.
Loads Simulation::loads_now() {
  Loads loads;
  for (const auto& site : config_->sites) loads.limits.push_back(site.capacity_rps);
  loads.slack.assign(sites_.size(), 0);
  loads.streams = clients_.streams();
  for (auto& stream : loads.streams) {
    const auto& service = config_->services[stream.group];
    if (const auto* takers = control_->takers(stream.group)) {
      for (const auto site : *takers) {
        if (sites_[site].alive) stream.rps.try_emplace(site, 0);
      }
    }
    stream.fixed_share = service.probe_share;
    double all = 0;
    for (const auto& [site, rps] : stream.rps) all += rps;
    // Dealt clients come in slots, and sticky ones stay where they are.
    const bool sticky = service.policy == config::Policy::sticky ||
                        std::ranges::any_of(service.groups, [](const auto& group) {
                          return group.policy == config::Policy::sticky;
                        });
    const double rounded = sticky ? 1 : 1.5 / service.slots;
    stream.rounding = all * rounded;
    stream.importance = service.importance;
    for (const auto& [site, rps] : stream.rps) loads.slack[site] += stream.rounding;
  }
  return loads;
}

// Figures of overload; where a history is meant to settle, also that nobody is left with too much while others have room.
void Simulation::watch_loads() {
  events_.in(look_interval, [this] { watch_loads(); });
  for (std::uint32_t s = 0; s < sites_.size(); ++s) {
    const auto& limit = config_->sites[s].capacity_rps;
    if (limit && clients_.load_of(s) > *limit)
      witness_.figures.overloaded_s += look_interval.seconds();
  }
  if (scenario_.kind != Kind::settling || !control_ || !dataplane_) return;
  // Below its threshold a service answers as if all its endpoints were well, and clients go on from the dead ones.
  if (control_->panics()) {
    unfair_since_.reset();
    return;
  }
  std::string wrong;
  for (const auto& look : control_->looks_at(loads_now())) {
    if (wrong.empty()) wrong = look.unfair(measured);
  }
  if (wrong.empty()) {
    unfair_since_.reset();
    return;
  }
  if (!unfair_since_) unfair_since_ = events_.now();
  const auto since = std::max(*unfair_since_, provoked_);
  if (events_.now() - since > settling_time(*config_)) {
    witness_.violated(
        events_.now(), "capacity",
        wrong + ", and has for " + std::to_string((events_.now() - since).seconds()) + " s");
  }
}

// Reversals of direction: the traffic of a site grew, and now it falls, or the other way round.
void Simulation::measure_directions() {
  const auto& expected = *dataplane_->tables().expected;
  std::vector<double> shares(sites_.size(), 0.0);
  for (const auto& cell : expected.cells) {
    for (const auto& told : cell->told) {
      if (!told.places.empty())
        shares[site_of(told.places.front())] +=
            told.share / static_cast<double>(expected.cells.size());
    }
  }
  for (std::size_t s = 0; s < shares.size(); ++s) {
    auto& direction = directions_[s];
    const double moved = shares[s] - direction.pivot;
    const int sign = moved > 0 ? 1 : -1;
    if (std::abs(moved) < step_of_direction) continue;
    if (direction.sign != 0 && sign != direction.sign) {
      ++witness_.figures.reversals;
      // What is ours to choose: nothing has happened since it moved the other way.
      if (provoked_ < direction.turned) ++witness_.figures.own_reversals;
      direction.reversals.push_back(events_.now());
    }
    direction.turned = events_.now();
    direction.sign = sign;
    direction.pivot = shares[s];
  }
  check_turns();
}

void Simulation::note_fall(std::uint32_t site) {
  directions_[site].falls.push_back(events_.now());
  check_turns();
}

// Whatever flaps and lies, traffic turns round only so often.
void Simulation::check_turns() {
  auto& figures = witness_.figures;
  for (std::size_t s = 0; s < directions_.size(); ++s) {
    auto& direction = directions_[s];
    forget_old(direction.reversals, events_.now());
    forget_old(direction.falls, events_.now());
    figures.reversals_in_worst_hour =
        std::max<std::uint64_t>(figures.reversals_in_worst_hour, direction.reversals.size());
    figures.falls_in_worst_hour =
        std::max<std::uint64_t>(figures.falls_in_worst_hour, direction.falls.size());
    if (direction.falls.size() > falls_max) {
      witness_.violated(events_.now(), "flapping",
                        "site " + std::to_string(s) + " fell " +
                            std::to_string(direction.falls.size()) + " times within an hour");
    }
    if (direction.reversals.size() > reversals_max) {
      witness_.violated(events_.now(), "flapping",
                        "the traffic of site " + std::to_string(s) + " turned round " +
                            std::to_string(direction.reversals.size()) + " times within an hour");
    }
  }
}

}  // namespace pharos::sim
