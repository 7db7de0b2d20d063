// Capacity-conserving assignment: which share of each demand goes to which site, so that no site passes its limit while
// another that may serve the same demand has room, and clients are as near as that allows.
//
//   demand (group, locale) --score--> member (group, site) --own limit--> site --limit--> sink
//
// A minimum-cost flow, solved exactly by network simplex (LEMON; Ahuja, Magnanti and Orlin 1993, 11). A *group* is all
// services that may run at the same sites. Load beyond a limit is possible but dearer than any distance, and dearer the
// more of it there is, so that a shortage is shared in proportion to the limits. Rules and figures:
// controlplane/assign/README.md. Pure: the same problem gives the same assignment, bit for bit; any thread.
#pragma once

#include "pharos/config/model.hh"

#include <cstdint>
#include <optional>
#include <vector>

namespace pharos::controlplane {

// What a flow of demand, a limit and an overload cost; in scores, which are in [0, 1].
inline constexpr double spill_price = 0.25;  // of load just below the high watermark
inline constexpr double habit_price = 0.03;  // of demand that a site takes over from another
// ... where shares turned round lately (unrest.hh): twice as much for each turn, but no more than this.
inline constexpr double habit_price_max = 0.3;
// Load beyond a limit is priced in steps of this share of the limit: shortages are shared to within one.
inline constexpr double overload_step = 0.05;
inline constexpr unsigned overload_steps = 20;  // beyond them, all alike

struct AssignLimits {
  double low_watermark = 0.7;   // of a limit: load below it costs nothing
  double high_watermark = 0.9;  // load above it goes elsewhere wherever there is room below
  config::Degrade degrade = config::Degrade::proportional;
};

struct AssignMember {
  std::uint32_t site = 0;
  std::optional<double> capacity_rps =
      {};                // of the group's endpoints there; empty: only the site's
  double share_min = 0;  // of the group's demand, whatever the scores
  double admitted = 1;   // the part of what it would get that it may take now: it is coming back
  // What that is; more goes there only where others would pass their high watermarks. assign() fills it in.
  std::optional<double> held_rps = {};
};

struct AssignGroup {
  int importance = 0;                 // Degrade::importance: higher ones are served first
  std::vector<AssignMember> members;  // at most one a site
};

struct AssignSite {
  std::optional<double> capacity_rps = {};  // empty: unlimited
  double fixed_rps = 0;                     // load that is there whatever is assigned
};

struct AssignDemand {
  std::uint32_t group = 0;
  double rps = 0;
  std::vector<double> scores = {};  // by member, in [0, 1], without the headroom factor
  std::vector<double> former = {};  // shares of the last assignment, by member; empty: none
  double habit = habit_price;       // of what a member takes beyond its former share
};

struct AssignProblem {
  AssignLimits limits;
  std::vector<AssignSite> sites;
  std::vector<AssignGroup> groups;
  std::vector<AssignDemand> demands;
};

struct Assignment {
  // By demand, then member: each adds up to 1. Demands that are too small to count (below a millionth
  // of the whole), or whose group has no members, have none.
  std::vector<std::vector<double>> shares;
  std::vector<double> site_rps;  // load that results, the fixed one included
  // The worst load over its limit, of a site or of a group's endpoints there, as a share of the limit; 0: none.
  double overload = 0;

  friend bool operator==(const Assignment&, const Assignment&) = default;
};

[[nodiscard]] Assignment assign(const AssignProblem& problem);

}  // namespace pharos::controlplane
