#include "capacity.hh"

#include <algorithm>
#include <deque>
#include <set>

namespace pharos::sim {
namespace {

constexpr double nothing_rps = 0.5;  // less is not worth a word
// Ways on which load could move in whole requests only are no ways: a group's own limit has to be this far off.
constexpr double group_room = 0.9;

using Index = std::uint32_t;

std::string number(double value) {
  return std::to_string(static_cast<long long>(value + 0.5));
}

// One look at the loads, with their sums.
class Look {
 public:
  Look(const Loads& loads, Loads::Limits at) : loads_(loads), at_(at), sites_(loads.limits.size()) {
    for (std::size_t s = 0; s < loads.fixed.size(); ++s) sites_[s] = loads.fixed[s];
    for (const auto& stream : loads.streams) {
      for (const auto& [site, rps] : stream.rps) {
        sites_[site] += rps;
        groups_[{stream.group, site}] += rps;
        demands_[stream.group] += rps;
      }
    }
  }

  [[nodiscard]] std::string unfair() {
    for (Index s = 0; s < sites_.size(); ++s) {
      const auto& limit = loads_.limits[s];
      if (!limit || sites_[s] <= at_.over * *limit + loads_.slack[s] + nothing_rps) continue;
      if (auto way = way_from(s, std::nullopt); !way.empty()) {
        return "site " + std::to_string(s) + " carries " + number(sites_[s]) + " of " +
               number(*limit) + " a second, and could hand on: " + way;
      }
    }
    for (const auto& [where, limit] : loads_.group_limits) {
      const auto [group, site] = where;
      const double load = of(where);
      if (load <= at_.over * limit + loads_.slack[site] + nothing_rps) continue;
      if (auto way = way_from(site, group); !way.empty()) {
        return "group " + std::to_string(group) + " has " + number(load) + " of " + number(limit) +
               " a second at site " + std::to_string(site) + ", and could hand on: " + way;
      }
    }
    return {};
  }

 private:
  [[nodiscard]] double of(std::pair<Index, Index> where) const {
    const auto at = groups_.find(where);
    return at == groups_.end() ? 0 : at->second;
  }
  // Whether the group's own limit there leaves room; that of the site is looked at by itself.
  [[nodiscard]] bool takes_more(const Stream& stream, Index site) const {
    const auto limit = loads_.group_limits.find({stream.group, site});
    return limit == loads_.group_limits.end() ||
           of({stream.group, site}) + loads_.slack[site] + nothing_rps < group_room * limit->second;
  }
  [[nodiscard]] bool lets_go(const Stream& stream, Index site) const {
    const auto at = stream.rps.find(site);
    if (at == stream.rps.end() || at->second <= nothing_rps + stream.rounding) return false;
    if (stream.fixed_share <= 0) return true;
    const double fixed = stream.fixed_share * demands_.at(stream.group);
    return of({stream.group, site}) > fixed * 1.05 + loads_.slack[site];
  }
  [[nodiscard]] bool has_room(Index site) const {
    const auto& limit = loads_.limits[site];
    return !limit || sites_[site] + loads_.slack[site] + nothing_rps < at_.room * *limit;
  }

  // Breadth first, over sites: each may hand on what it has to any other that may serve it. `group`: at first only what is
  // of this group. Empty: there is no way.
  [[nodiscard]] std::string way_from(Index from, std::optional<Index> group) {
    if (dead_ends_.contains(from)) return {};
    std::map<Index, Index> came_from{{from, from}};
    std::deque<Index> next{from};
    for (; !next.empty(); next.pop_front()) {
      const auto site = next.front();
      for (const auto& stream : loads_.streams) {
        if (site == from && group && stream.group != *group) continue;
        if (!lets_go(stream, site)) continue;
        for (const auto& [other, rps] : stream.rps) {
          if (came_from.contains(other) || !takes_more(stream, other)) continue;
          came_from[other] = site;
          if (has_room(other)) return describe(came_from, from, other);
          next.push_back(other);
        }
      }
    }
    for (const auto& [site, before] : came_from) {
      if (site != from || !group) dead_ends_.insert(site);
    }
    return {};
  }

  [[nodiscard]] std::string describe(const std::map<Index, Index>& came_from, Index from,
                                     Index to) const {
    std::string way = std::to_string(to);
    for (auto s = came_from.at(to);; s = came_from.at(s)) {
      way = std::to_string(s) + " > " + way;
      if (s == from) break;
    }
    const auto& limit = loads_.limits[to];
    return way + ", which carries " + number(sites_[to]) + " of " +
           (limit ? number(*limit) : "any number");
  }

  const Loads& loads_;
  const Loads::Limits at_;
  std::vector<double> sites_;
  std::map<std::pair<Index, Index>, double> groups_;
  std::map<Index, double> demands_;  // by group
  std::set<Index> dead_ends_;        // from which no way leads to room
};

}  // namespace

std::string Loads::unfair(Limits at) const {
  return Look(*this, at).unfair();
}

Loads Loads::of_importance(int importance) const {
  Loads seen = *this;
  seen.fixed.resize(limits.size());
  std::erase_if(seen.streams, [&](const Stream& stream) {
    if (stream.importance > importance) {
      for (const auto& [site, rps] : stream.rps) seen.fixed[site] += rps;
    }
    return stream.importance != importance;
  });
  return seen;
}

}  // namespace pharos::sim
