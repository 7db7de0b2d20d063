// From pools with demand to the problem that is solved, and from its solution back to pools. Pure; any thread.
//
// Pools that may run at the same sites under the same rules are one group of the problem, so that its size depends on
// sites and locales and not on pools. Rules: controlplane/assign/README.md.
#pragma once

#include "pharos/controlplane/assign/assign.hh"
#include "pharos/controlplane/assign/unrest.hh"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace pharos::controlplane {

// Ways (demand to member) that one assignment solves at the most: about 0.2 s of a core.
inline constexpr std::size_t assign_ways_max = 1U << 16;
// Score of a dealt pool's demand at a site that its weights did not send it to; at home it is 1.
inline constexpr double assign_away_score = 0.5;

// Where a site stands, or would, among sites in ascending order.
[[nodiscard]] inline std::size_t place_of(std::span<const std::uint32_t> sites,
                                          std::uint32_t site) {
  return static_cast<std::size_t>(std::ranges::lower_bound(sites, site) - sites.begin());
}

// Who gets which share of the demand of a group, as it is in force.
struct GroupShares {
  std::vector<std::uint32_t> sites;  // ascending
  // By locale, then site; none for a locale without demand. Dealt pools have one row, for all locales.
  std::vector<std::vector<double>> shares;
  std::vector<double> wanted;  // dealt pools: by site, what their weights ask for
  // Pools with groups: by locale, then site, what their policies ask for; none as above.
  std::vector<std::vector<double>> homes = {};
  double rps = 0;  // demand of the group
  // By site: which part of it the shares take for coming back (AssignMember::admitted); empty: nobody is.
  std::vector<double> admitted = {};
  Unrest unrest = {};  // of these and the shares before them

  // The share of a site; 0 where it is not among them or the locale has none.
  [[nodiscard]] double share(std::size_t locale, std::uint32_t site) const noexcept;
  // Whether the locale has shares at all.
  [[nodiscard]] bool knows(std::size_t locale) const noexcept {
    return locale < shares.size() && !shares[locale].empty();
  }
  // Of a pool with groups: what its policies ask for.
  [[nodiscard]] double home_share(std::size_t locale, std::uint32_t site) const noexcept;
  // What part of its share a site is held to; 1 where it is not.
  [[nodiscard]] double admitted_part(std::uint32_t site) const noexcept;
  // Of a dealt pool: what weights ask for; whether limits make it something else.
  [[nodiscard]] double wanted_share(std::uint32_t site) const noexcept;
  [[nodiscard]] bool bends_weights() const noexcept;
  // ... how much of its weight a site may use, 1 being all.
  [[nodiscard]] double weight_factor(std::uint32_t site) const noexcept;
};

// Shares for a world in which sites and locales have other indices. `sites`: the new index by the former one, `locales`: the
// former one by the new one; `nothing`: gone, or new. What a site that is gone had is nobody's: shares add up to less than
// 1 then, and leads_of() fills them up.
[[nodiscard]] GroupShares renumbered(const GroupShares& shares,
                                     std::span<const std::uint32_t> sites,
                                     std::span<const std::uint32_t> locales);

// A pool whose demand is to be assigned.
struct AssignPool {
  struct Member {
    std::uint32_t site = 0;
    double weight = 1;
    double base = 1;  // score without proximity and headroom
    std::optional<double> capacity_rps = {};
    double admitted = 1;  // the part of its share that it may take now
  };
  std::uint32_t pool = 0;
  std::uint32_t service = 0;
  bool dealt = false;  // by weight, to all locales alike
  int importance = 0;
  double probe_share = 0;
  std::vector<Member> members;  // at least one
  std::vector<double> rps;      // by locale
  // Pools with groups: by locale, then place in `members`, the share that it leads there by its policies.
  std::vector<std::vector<double>> homes = {};
  const GroupShares* former = nullptr;  // in force; null: none
};

// What the weights of a dealt pool ask for, by site, ascending; adds up to 1.
[[nodiscard]] std::vector<double> wanted_of(const AssignPool& pool);

struct AssignTask {
  struct Part {  // of a demand of the problem
    std::uint32_t group = 0;
    std::uint32_t row = 0;  // of the shares: the locale; dealt pools: 0
    std::uint32_t home =
        0;  // dealt pools and those with groups: the site where it is at home, among the group's
    double part = 1;  // of the row's demand
  };
  AssignProblem problem;
  std::vector<Part> parts;                        // by demand
  std::vector<GroupShares> groups;                // shares still to be filled in
  std::vector<std::vector<std::uint32_t>> pools;  // by group
  std::vector<bool> by_home;                      // by group: dealt, or with groups of their own
  Instant taken;
  std::uint64_t world_serial = 0;  // the engine's own marks
  std::uint64_t number = 0;
};

// `proximity` is [locale * sites + site], a factor of the score.
[[nodiscard]] AssignTask make_assign_task(const AssignLimits& limits, std::vector<AssignSite> sites,
                                          std::span<const AssignPool> pools,
                                          std::span<const double> proximity, Instant now);

// The shares of each group of the task.
[[nodiscard]] std::vector<std::shared_ptr<GroupShares>> shares_of(const AssignTask& task,
                                                                  const Assignment& assignment);

// Remembers how often shares turned round, now that these follow `former` (null: none).
void note_unrest(GroupShares& shares, const GroupShares* former, Instant now);

// What the sites would carry of the task's demand with the shares that are in force (by group; null: none, and demand goes
// where it is best off), fixed load included.
[[nodiscard]] std::vector<double> loads_in_force(const AssignTask& task,
                                                 std::span<const GroupShares* const> in_force);

// Whether these shares put more on a site, or on a group's endpoints there, than `part` of the limit.
[[nodiscard]] bool fills_beyond(const AssignTask& task,
                                std::span<const GroupShares* const> in_force, double part);

// Whether a pool that has `former` should take `next`: other sites, other parts of who comes back, or a share that moves by
// more than `step`.
[[nodiscard]] bool differs(const GroupShares* former, const GroupShares& next, double step);

}  // namespace pharos::controlplane
