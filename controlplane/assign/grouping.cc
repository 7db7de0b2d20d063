#include "pharos/controlplane/assign/grouping.hh"

#include "pharos/controlplane/assign/demand_board.hh"

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>
#include <utility>

namespace pharos::controlplane {
namespace {

using Sites = std::vector<std::uint32_t>;

// What a pool's demand follows beside limits: scores, weights that are the same for all locales, or policies in groups.
enum class Rule { scores, weights, homes };

// rule, importance, probe share, service + 1 where endpoints have limits of their own, come back, or are in groups; sites,
// wanted shares
using GroupKey = std::tuple<Rule, int, double, std::uint32_t, Sites, std::vector<double>>;

struct Draft {
  std::vector<std::uint32_t> pools;
  std::vector<double> by_locale;  // rps
  double rps = 0;
  double largest_rps = -1;
  const AssignPool* largest = nullptr;  // the pool with the most demand speaks for all
};

double total_of(std::span<const double> values) {
  double total = 0;
  for (const double value : values) total += value;
  return total;
}

Sites sites_of(const AssignPool& pool) {
  Sites sites;
  for (const auto& member : pool.members) sites.push_back(member.site);
  std::ranges::sort(sites);
  const auto repeated = std::ranges::unique(sites);
  sites.erase(repeated.begin(), repeated.end());
  return sites;
}

// What the weights of a dealt pool ask for, by site.
std::vector<double> wanted_of(const AssignPool& pool, const Sites& sites) {
  std::vector<double> wanted(sites.size(), 0.0);
  double total = 0;
  for (const auto& member : pool.members) total += std::max(member.weight, 0.0);
  for (const auto& member : pool.members) {
    wanted[place_of(sites, member.site)] += total > 0
                                                ? std::max(member.weight, 0.0) / total
                                                : 1.0 / static_cast<double>(pool.members.size());
  }
  return wanted;
}

Rule rule_of(const AssignPool& pool) {
  if (pool.dealt) return Rule::weights;
  return pool.homes.empty() ? Rule::scores : Rule::homes;
}

GroupKey key_of(const AssignPool& pool) {
  const bool limited =
      !pool.homes.empty() || std::ranges::any_of(pool.members, [](const auto& member) {
        return member.capacity_rps.has_value() || member.admitted < 1;
      });
  auto sites = sites_of(pool);
  auto wanted = pool.dealt ? wanted_of(pool, sites) : std::vector<double>{};
  return {rule_of(pool),
          pool.importance,
          pool.dealt ? 0 : pool.probe_share,
          limited ? pool.service + 1 : 0,
          std::move(sites),
          std::move(wanted)};
}

// The limit of a group at a site: that of its endpoints there, where all have one.
std::optional<double> limit_at(const AssignPool& pool, std::uint32_t site) {
  double limit = 0;
  for (const auto& member : pool.members) {
    if (member.site != site) continue;
    if (!member.capacity_rps) return std::nullopt;
    limit += *member.capacity_rps;
  }
  return limit;
}

// What part of its share a site may take now: that of its endpoints together.
double admitted_at(const AssignPool& pool, std::uint32_t site) {
  double part = 0, all = 0;
  for (const auto& member : pool.members) {
    if (member.site != site) continue;
    part += member.admitted;
    all += 1;
  }
  return all > 0 ? part / all : 1;
}

// The best of a pool's members at each site.
std::vector<double> scores_of(const AssignPool& pool, const Sites& sites,
                              std::span<const double> proximity) {
  std::vector<double> scores(sites.size(), 0.0);
  for (const auto& member : pool.members) {
    auto& score = scores[place_of(sites, member.site)];
    score = std::max(score, member.base * proximity[member.site]);
  }
  return scores;
}

// What the policies of a pool with groups ask for in a locale, by site; adds up to 1.
std::vector<double> homes_of(const AssignPool& pool, const Sites& sites, std::size_t locale) {
  std::vector<double> homes(sites.size(), 0.0);
  const auto& shares = pool.homes[locale];
  const double total = total_of(shares);
  for (std::size_t m = 0; m < pool.members.size(); ++m) {
    const double even = 1.0 / static_cast<double>(pool.members.size());
    homes[place_of(sites, pool.members[m].site)] += total > 0 ? shares[m] / total : even;
  }
  return homes;
}

// Shares in force, by site of `sites`; none where there are none for the row.
std::vector<double> former_of(const AssignPool& pool, const Sites& sites, std::size_t row) {
  std::vector<double> former;
  if (pool.former == nullptr) return former;
  for (const auto site : sites) former.push_back(pool.former->share(row, site));
  return former;
}

// The same of demand that is at home at one site: shares are known by site only, so that what others took over counts as
// taken from all homes alike. `homes` by site, as the shares in force knew them.
std::vector<double> former_of_home(std::span<const double> led, std::span<const double> homes,
                                   std::size_t home) {
  if (led.empty() || homes[home] <= 0) return {};
  double over = 0;
  for (std::size_t s = 0; s < led.size(); ++s) over += std::max(led[s] - homes[s], 0.0);
  const double stays = std::min(led[home] / homes[home], 1.0);
  std::vector<double> former(led.size(), 0.0);
  for (std::size_t s = 0; s < led.size(); ++s) {
    if (over > 0) former[s] = (1 - stays) * std::max(led[s] - homes[s], 0.0) / over;
  }
  former[home] = stays;
  return former;
}

// What it costs to move a locale's demand: the more, the more often it turned round lately.
double habit_of(const AssignPool& pool, std::size_t locale, Instant now) {
  if (pool.former == nullptr) return habit_price;
  return std::min(habit_price * std::exp2(pool.former->unrest.turns(locale, now)), habit_price_max);
}

class Builder {
 public:
  Builder(AssignTask& task, std::span<const double> proximity)
      : task_(task), proximity_(proximity), site_count_(task.problem.sites.size()) {}

  void add_group(const GroupKey& key, const Draft& draft) {
    const auto& [rule, importance, probe_share, service, sites, wanted] = key;
    const auto& speaker = *draft.largest;
    AssignGroup group{.importance = importance, .members = {}};
    GroupShares shares{.sites = sites, .shares = {}, .wanted = wanted, .rps = draft.rps};
    for (const auto site : sites) {
      const double admitted = admitted_at(speaker, site);
      group.members.push_back(
          {.site = site,
           .capacity_rps = service == 0 ? std::nullopt : limit_at(speaker, site),
           .share_min = probe_share,
           .admitted = admitted});
      shares.admitted.push_back(admitted);
    }
    if (std::ranges::all_of(shares.admitted, [](double part) { return part >= 1; }))
      shares.admitted.clear();
    const auto index = static_cast<std::uint32_t>(task_.groups.size());
    task_.problem.groups.push_back(std::move(group));
    task_.groups.push_back(std::move(shares));
    task_.pools.push_back(draft.pools);
    task_.by_home.push_back(rule != Rule::scores);
    switch (rule) {
      case Rule::scores:
        return add_ranked(index, draft, sites);
      case Rule::weights:
        return add_dealt(index, draft, sites, wanted);
      case Rule::homes:
        return add_nested(index, draft, sites);
    }
  }

  // Demand that is not assigned: it goes where scores or weights send it.
  void add_fixed(const GroupKey& key, const Draft& draft) {
    const auto& sites = std::get<4>(key);
    const auto& wanted = std::get<5>(key);
    auto& limits = task_.problem.sites;
    for (std::size_t i = 0; i < wanted.size(); ++i)
      limits[sites[i]].fixed_rps += wanted[i] * draft.rps;
    if (!wanted.empty()) return;
    for (std::size_t l = 0; l < draft.by_locale.size(); ++l) {
      if (std::get<0>(key) == Rule::homes) {
        const auto homes = homes_of(*draft.largest, sites, l);
        for (std::size_t i = 0; i < homes.size(); ++i)
          limits[sites[i]].fixed_rps += homes[i] * draft.by_locale[l];
        continue;
      }
      const auto scores = scores_of(*draft.largest, sites, proximity_of(l));
      const auto best = std::ranges::max_element(scores) - scores.begin();
      limits[sites[static_cast<std::size_t>(best)]].fixed_rps += draft.by_locale[l];
    }
  }

 private:
  [[nodiscard]] std::span<const double> proximity_of(std::size_t locale) const {
    return proximity_.subspan(locale * site_count_, site_count_);
  }

  void add_ranked(std::uint32_t group, const Draft& draft, const Sites& sites) {
    for (std::uint32_t l = 0; l < draft.by_locale.size(); ++l) {
      if (draft.by_locale[l] <= 0) continue;
      task_.problem.demands.push_back({.group = group,
                                       .rps = draft.by_locale[l],
                                       .scores = scores_of(*draft.largest, sites, proximity_of(l)),
                                       .former = former_of(*draft.largest, sites, l),
                                       .habit = habit_of(*draft.largest, l, task_.taken)});
      task_.parts.push_back({.group = group, .row = l, .home = 0, .part = 1});
    }
  }

  // Each part of a locale is best off where the policies send it, then where the scores would.
  void add_nested(std::uint32_t group, const Draft& draft, const Sites& sites) {
    auto& shares = task_.groups[group];
    shares.homes.resize(draft.by_locale.size());
    for (std::uint32_t l = 0; l < draft.by_locale.size(); ++l) {
      if (draft.by_locale[l] <= 0) continue;
      const auto& homes = shares.homes[l] = homes_of(*draft.largest, sites, l);
      const auto led = former_of(*draft.largest, sites, l);
      std::vector<double> former_homes;
      for (const auto site : sites)
        former_homes.push_back(led.empty() ? 0 : draft.largest->former->home_share(l, site));
      auto away = scores_of(*draft.largest, sites, proximity_of(l));
      for (auto& score : away) score *= assign_away_score;
      for (std::uint32_t home = 0; home < sites.size(); ++home) {
        if (homes[home] <= 0) continue;
        auto scores = away;
        scores[home] = 1;
        task_.problem.demands.push_back({.group = group,
                                         .rps = draft.by_locale[l] * homes[home],
                                         .scores = std::move(scores),
                                         .former = former_of_home(led, former_homes, home),
                                         .habit = habit_of(*draft.largest, l, task_.taken)});
        task_.parts.push_back({.group = group, .row = l, .home = home, .part = homes[home]});
      }
    }
  }

  void add_dealt(std::uint32_t group, const Draft& draft, const Sites& sites,
                 const std::vector<double>& wanted) {
    const auto led = former_of(*draft.largest, sites, 0);
    std::vector<double> former_homes;
    for (const auto site : sites)
      former_homes.push_back(led.empty() ? 0 : draft.largest->former->wanted_share(site));
    for (std::uint32_t home = 0; home < sites.size(); ++home) {
      if (wanted[home] <= 0) continue;
      std::vector<double> scores(sites.size(), assign_away_score);
      scores[home] = 1;
      task_.problem.demands.push_back({.group = group,
                                       .rps = draft.rps * wanted[home],
                                       .scores = std::move(scores),
                                       .former = former_of_home(led, former_homes, home),
                                       .habit = habit_of(*draft.largest, 0, task_.taken)});
      task_.parts.push_back({.group = group, .row = 0, .home = home, .part = wanted[home]});
    }
  }

  AssignTask& task_;
  std::span<const double> proximity_;
  std::size_t site_count_;
};

}  // namespace

std::vector<double> wanted_of(const AssignPool& pool) {
  return wanted_of(pool, sites_of(pool));
}

AssignTask make_assign_task(const AssignLimits& limits, std::vector<AssignSite> sites,
                            std::span<const AssignPool> pools, std::span<const double> proximity,
                            Instant now) {
  AssignTask task;
  task.taken = now;
  task.problem.limits = limits;
  task.problem.sites = std::move(sites);
  std::map<GroupKey, Draft> drafts;
  for (const auto& pool : pools) {
    const double rps = total_of(pool.rps);
    if (rps <= 0 || pool.members.empty()) continue;
    auto& draft = drafts[key_of(pool)];
    draft.pools.push_back(pool.pool);
    draft.by_locale.resize(pool.rps.size(), 0.0);
    for (std::size_t l = 0; l < pool.rps.size(); ++l) draft.by_locale[l] += pool.rps[l];
    draft.rps += rps;
    if (rps <= draft.largest_rps) continue;
    draft.largest_rps = rps;
    draft.largest = &pool;
  }
  // The largest first, as long as there is room.
  std::vector<std::pair<const GroupKey*, const Draft*>> groups;
  for (const auto& [key, draft] : drafts) groups.emplace_back(&key, &draft);
  std::ranges::stable_sort(
      groups, [](const auto& a, const auto& b) { return a.second->rps > b.second->rps; });
  Builder builder(task, proximity);
  std::size_t ways = 0;
  for (const auto& [key, draft] : groups) {
    const auto site_count = std::get<4>(*key).size();
    switch (std::get<0>(*key)) {
      case Rule::scores:
        ways += site_count * draft->by_locale.size();
        break;
      case Rule::weights:
        ways += site_count * site_count;
        break;
      case Rule::homes:
        ways += site_count * site_count * draft->by_locale.size();
        break;
    }
    if (ways <= assign_ways_max) {
      builder.add_group(*key, *draft);
    } else {
      builder.add_fixed(*key, *draft);
    }
  }
  return task;
}

std::vector<std::shared_ptr<GroupShares>> shares_of(const AssignTask& task,
                                                    const Assignment& assignment) {
  std::vector<GroupShares> groups = task.groups;
  for (std::size_t d = 0; d < task.parts.size(); ++d) {
    const auto& part = task.parts[d];
    auto& group = groups[part.group];
    const auto& shares = assignment.shares[d];
    if (group.shares.size() <= part.row) group.shares.resize(part.row + 1);
    auto& row = group.shares[part.row];
    if (!task.by_home[part.group]) {
      row = shares;
      continue;
    }
    row.resize(group.sites.size(), 0.0);
    if (shares.empty()) {  // too little to count: it stays at home
      row[part.home] += part.part;
      continue;
    }
    for (std::size_t m = 0; m < shares.size(); ++m) row[m] += part.part * shares[m];
  }
  std::vector<std::shared_ptr<GroupShares>> made;
  for (auto& group : groups) made.push_back(std::make_shared<GroupShares>(std::move(group)));
  return made;
}

namespace {

// Where the task's demand goes with the shares in force: take(group, place among its sites, rps).
template <typename Take>
void each_flow(const AssignTask& task, std::span<const GroupShares* const> in_force, Take take) {
  for (std::size_t d = 0; d < task.parts.size(); ++d) {
    const auto& part = task.parts[d];
    const auto& demand = task.problem.demands[d];
    const auto& sites = task.groups[part.group].sites;
    const auto* shares = in_force[part.group];
    double known = 0;
    if (shares != nullptr) {
      for (const auto site : sites) known += shares->share(part.row, site);
    }
    if (known <= 0) {
      const auto best = std::ranges::max_element(demand.scores) - demand.scores.begin();
      take(part.group, static_cast<std::size_t>(best), demand.rps);
      continue;
    }
    for (std::size_t i = 0; i < sites.size(); ++i)
      take(part.group, i, demand.rps * shares->share(part.row, sites[i]) / known);
  }
}

constexpr double rounding = 1.001;

}  // namespace

std::vector<double> loads_in_force(const AssignTask& task,
                                   std::span<const GroupShares* const> in_force) {
  std::vector<double> loads;
  for (const auto& site : task.problem.sites) loads.push_back(std::max(site.fixed_rps, 0.0));
  each_flow(task, in_force, [&](std::uint32_t group, std::size_t place, double rps) {
    loads[task.groups[group].sites[place]] += rps;
  });
  return loads;
}

bool fills_beyond(const AssignTask& task, std::span<const GroupShares* const> in_force,
                  double part) {
  const auto beyond = [&](double rps, const std::optional<double>& limit) {
    return limit && rps > part * *limit * rounding;
  };
  const auto loads = loads_in_force(task, in_force);
  for (std::size_t s = 0; s < loads.size(); ++s) {
    if (beyond(loads[s], task.problem.sites[s].capacity_rps)) return true;
  }
  std::vector<std::vector<double>> at;  // by group, place
  for (const auto& group : task.groups) at.emplace_back(group.sites.size(), 0.0);
  each_flow(task, in_force,
            [&](std::uint32_t group, std::size_t place, double rps) { at[group][place] += rps; });
  for (std::size_t g = 0; g < at.size(); ++g) {
    for (std::size_t i = 0; i < at[g].size(); ++i) {
      if (beyond(at[g][i], task.problem.groups[g].members[i].capacity_rps)) return true;
    }
  }
  return false;
}

}  // namespace pharos::controlplane
