#include "pharos/controlplane/assign/assign.hh"

#include "pharos/base/assert.hh"

#include <lemon/network_simplex.h>
#include <lemon/smart_graph.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <set>
#include <utility>

namespace pharos::controlplane {
namespace {

using Graph = lemon::SmartDigraph;
using Amount = std::int64_t;

constexpr double demand_units =
    1 << 20;                         // all demand together: shares are right to a millionth of it
constexpr double score_units = 1e4;  // a score of 1
constexpr unsigned spill_steps = 4;  // between the watermarks
// Beyond what it may take now: cheaper than load of others above their high watermarks.
constexpr double held_penalty = 0.75;
// Overload of a site that carries demand of more importance is dearer by this many steps than of one that carries none.
constexpr double importance_steps = 30;

// A stretch of load on a limit, and what each unit of it costs.
struct Band {
  double up_to;  // of the limit
  double price;  // in scores
  double penalties;
};

// The bands of a limit, dearer and dearer: convex, so that a cheapest flow fills them in order.
std::vector<Band> bands_of(const AssignLimits& limits) {
  std::vector<Band> bands{{limits.low_watermark, 0, 0}};
  for (unsigned i = 1; i <= spill_steps; ++i) {
    const double part = static_cast<double>(i) / spill_steps;
    bands.push_back({limits.low_watermark + part * (limits.high_watermark - limits.low_watermark),
                     part * spill_price, 0});
  }
  bands.push_back({1, spill_price, 1});
  for (unsigned i = 1; i <= overload_steps; ++i)
    bands.push_back({1 + i * overload_step, spill_price, 1.0 + i});
  return bands;
}

// One run of the flow: all demands, or those of one importance on what the more important ones left.
class Network {
 public:
  Network(const AssignProblem& problem, double unit_rps, const std::vector<double>& taken_rps)
      : problem_(problem),
        unit_rps_(unit_rps),
        taken_rps_(taken_rps),
        bands_(bands_of(problem.limits)),
        // Dearer than every way of moving load from site to site for the sake of scores.
        penalty_(2 * score_units * static_cast<double>(problem.sites.size() + 1)) {}

  // Solves for the demands that `wanted` names; their shares go into `result`.
  void solve(const std::function<bool(const AssignGroup&)>& wanted, Assignment& result) {
    sink_ = graph_.addNode();
    for (std::size_t s = 0; s < problem_.sites.size(); ++s) add_site(s);
    std::vector<Amount> group_units(problem_.groups.size(), 0);
    for (std::size_t d = 0; d < problem_.demands.size(); ++d) {
      const auto& demand = problem_.demands[d];
      if (!wanted(problem_.groups[demand.group])) continue;
      const auto units = static_cast<Amount>(std::llround(demand.rps / unit_rps_));
      if (units <= 0 || problem_.groups[demand.group].members.empty()) continue;
      supplies_.push_back({d, graph_.addNode(), units, {}});
      group_units[demand.group] += units;
    }
    if (supplies_.empty()) return;
    member_nodes_.resize(problem_.groups.size());
    for (std::size_t g = 0; g < problem_.groups.size(); ++g) {
      if (group_units[g] > 0) add_members(g, group_units[g]);
    }
    for (auto& supply : supplies_) add_demand(supply);
    run(result);
  }

 private:
  struct Arc {
    Graph::Arc arc;
    Amount lower, upper, cost;
  };
  struct Supply {
    std::size_t demand;
    Graph::Node node;
    Amount units;
    std::vector<std::vector<Graph::Arc>> arcs;  // by member
  };

  static constexpr Amount unbounded = Amount{1} << 40;

  Graph::Arc add(Graph::Node from, Graph::Node to, Amount upper, double cost, Amount lower = 0) {
    const auto arc = graph_.addArc(from, to);
    arcs_.push_back({arc, lower, upper, std::llround(cost)});
    return arc;
  }

  // Parallel arcs for the bands of a limit that are not taken yet.
  void add_limit(Graph::Node from, Graph::Node to, std::optional<double> capacity_rps,
                 double taken_rps) {
    if (!capacity_rps) {
      add(from, to, unbounded, 0);
      return;
    }
    const double limit = std::max(*capacity_rps, 0.0);
    const double important = limit > 0 ? std::ceil(10 * std::min(taken_rps / limit, 1.0)) / 10 : 1;
    Amount at = std::llround(taken_rps / unit_rps_);
    double last_cost = 0;
    for (const auto& band : bands_) {
      const auto end = static_cast<Amount>(std::floor(band.up_to * limit / unit_rps_));
      const double steps =
          band.penalties > 1 ? band.penalties + important * importance_steps : band.penalties;
      last_cost = band.price * score_units + steps * penalty_;
      if (end <= at) continue;
      add(from, to, end - at, last_cost);
      at = end;
    }
    add(from, to, unbounded, last_cost + penalty_);
  }

  void add_site(std::size_t site) {
    site_nodes_.push_back(graph_.addNode());
    add_limit(site_nodes_.back(), sink_, problem_.sites[site].capacity_rps, taken_rps_[site]);
  }

  void add_members(std::size_t group, Amount units) {
    const auto& members = problem_.groups[group].members;
    const double share_most = 0.5 / static_cast<double>(members.size());
    for (const auto& member : members) {
      const auto node = graph_.addNode();
      member_nodes_[group].push_back(node);
      const auto site = site_nodes_[member.site];
      auto inlet = node;
      if (member.share_min > 0) {
        inlet = graph_.addNode();
        const double share = std::min(member.share_min, share_most);
        add(node, inlet, unbounded, 0.0, static_cast<Amount>(share * static_cast<double>(units)));
      }
      if (member.held_rps) {
        const auto held = graph_.addNode();
        add(inlet, held, static_cast<Amount>(*member.held_rps / unit_rps_), 0.0);
        add(inlet, held, unbounded, held_penalty * penalty_);
        inlet = held;
      }
      add_limit(inlet, site, member.capacity_rps, 0);
    }
  }

  void add_demand(Supply& supply) {
    const auto& demand = problem_.demands[supply.demand];
    const auto& nodes = member_nodes_[demand.group];
    ASSERT(demand.scores.size() == nodes.size());
    for (std::size_t m = 0; m < nodes.size(); ++m) {
      const double price = (1 - std::clamp(demand.scores[m], 0.0, 1.0)) * score_units;
      auto& arcs = supply.arcs.emplace_back();
      const double former = m < demand.former.size() ? demand.former[m] : 0;
      const auto kept = std::llround(former * static_cast<double>(supply.units));
      if (kept > 0) arcs.push_back(add(supply.node, nodes[m], kept, price));
      arcs.push_back(add(supply.node, nodes[m], unbounded, price + demand.habit * score_units));
    }
  }

  void run(Assignment& result) {
    Graph::ArcMap<Amount> lower(graph_), upper(graph_), cost(graph_);
    for (const auto& arc : arcs_) {
      lower[arc.arc] = arc.lower;
      upper[arc.arc] = arc.upper;
      cost[arc.arc] = arc.cost;
    }
    Graph::NodeMap<Amount> balance(graph_, 0);
    for (const auto& supply : supplies_) {
      balance[supply.node] = supply.units;
      balance[sink_] -= supply.units;
    }
    lemon::NetworkSimplex<Graph, Amount, Amount> simplex(graph_);
    simplex.lowerMap(lower).upperMap(upper).costMap(cost).supplyMap(balance);
    // Always feasible and bounded: the last arc of every limit is open, and no cost is below 0.
    const auto outcome = simplex.run();
    REQUIRE(outcome == simplex.OPTIMAL);
    for (const auto& supply : supplies_) {
      auto& shares = result.shares[supply.demand];
      for (const auto& arcs : supply.arcs) {
        Amount units = 0;
        for (const auto arc : arcs) units += simplex.flow(arc);
        shares.push_back(static_cast<double>(units) / static_cast<double>(supply.units));
      }
    }
  }

  const AssignProblem& problem_;
  const double unit_rps_;
  const std::vector<double>& taken_rps_;
  const std::vector<Band> bands_;
  const double penalty_;
  Graph graph_;
  Graph::Node sink_;
  std::vector<Graph::Node> site_nodes_;
  std::vector<std::vector<Graph::Node>> member_nodes_;  // by group
  std::vector<Supply> supplies_;
  std::vector<Arc> arcs_;
};

// What is on each site: the fixed load, and what the shares put there of the groups that `wanted` names.
std::vector<double> loads_of(const AssignProblem& problem, const Assignment& assignment,
                             const std::function<bool(const AssignGroup&)>& wanted) {
  std::vector<double> loads;
  for (const auto& site : problem.sites) loads.push_back(std::max(site.fixed_rps, 0.0));
  for (std::size_t d = 0; d < problem.demands.size(); ++d) {
    const auto& demand = problem.demands[d];
    const auto& group = problem.groups[demand.group];
    const auto& shares = assignment.shares[d];
    if (!wanted(group)) continue;
    for (std::size_t m = 0; m < shares.size(); ++m)
      loads[group.members[m].site] += shares[m] * demand.rps;
  }
  return loads;
}

// Beyond the limit, as a share of it; what rounding to units makes is nothing.
double overload_of(double rps, const std::optional<double>& limit) {
  if (!limit || rps <= 0) return 0;
  const double over = *limit > 0 ? rps / *limit - 1 : 1.0;
  return over > 1e-5 ? over : 0;
}

void sum_up(const AssignProblem& problem, Assignment& assignment) {
  assignment.site_rps = loads_of(problem, assignment, [](const auto&) { return true; });
  double worst = 0;
  for (std::size_t s = 0; s < problem.sites.size(); ++s)
    worst = std::max(worst, overload_of(assignment.site_rps[s], problem.sites[s].capacity_rps));
  std::vector<std::vector<double>> at;  // by group, member
  for (const auto& group : problem.groups) at.emplace_back(group.members.size(), 0.0);
  for (std::size_t d = 0; d < problem.demands.size(); ++d) {
    const auto& demand = problem.demands[d];
    for (std::size_t m = 0; m < assignment.shares[d].size(); ++m)
      at[demand.group][m] += assignment.shares[d][m] * demand.rps;
  }
  for (std::size_t g = 0; g < at.size(); ++g) {
    for (std::size_t m = 0; m < at[g].size(); ++m)
      worst = std::max(worst, overload_of(at[g][m], problem.groups[g].members[m].capacity_rps));
  }
  assignment.overload = worst;
}

Assignment empty_for(const AssignProblem& problem) {
  Assignment assignment;
  assignment.shares.resize(problem.demands.size());
  return assignment;
}

// As if all members could take at once what they get.
Assignment assign_whole(const AssignProblem& problem) {
  double total_rps = 0;
  for (const auto& demand : problem.demands) total_rps += std::max(demand.rps, 0.0);
  Assignment result = empty_for(problem);
  const auto fixed = loads_of(problem, result, [](const auto&) { return false; });
  result.site_rps = fixed;
  if (total_rps <= 0) return result;
  const double unit_rps = total_rps / demand_units;
  Network(problem, unit_rps, fixed).solve([](const auto&) { return true; }, result);
  sum_up(problem, result);
  if (result.overload <= 0 || problem.limits.degrade == config::Degrade::proportional)
    return result;

  // Short of capacity: from the most important groups down, each takes what those before it left.
  std::set<int, std::greater<>> importances;
  for (const auto& group : problem.groups) importances.insert(group.importance);
  if (importances.size() < 2) return result;
  result = empty_for(problem);
  for (const int importance : importances) {
    const auto taken = loads_of(
        problem, result, [&](const AssignGroup& group) { return group.importance > importance; });
    Network(problem, unit_rps, taken)
        .solve([&](const AssignGroup& group) { return group.importance == importance; }, result);
  }
  sum_up(problem, result);
  return result;
}

// The problem in which members that come back are held to the part that they may take now of what they would get.
AssignProblem held_back(const AssignProblem& problem, const Assignment& whole) {
  AssignProblem held = problem;
  for (std::size_t g = 0; g < held.groups.size(); ++g) {
    auto& members = held.groups[g].members;
    for (std::size_t m = 0; m < members.size(); ++m) {
      if (members[m].admitted >= 1) continue;
      double rps = 0;
      for (std::size_t d = 0; d < held.demands.size(); ++d) {
        const auto& shares = whole.shares[d];
        if (held.demands[d].group == g && m < shares.size()) rps += shares[m] * held.demands[d].rps;
      }
      members[m].held_rps = members[m].admitted * rps;
    }
  }
  return held;
}

}  // namespace

Assignment assign(const AssignProblem& problem) {
  auto whole = assign_whole(problem);
  const bool all_whole = std::ranges::all_of(problem.groups, [](const AssignGroup& group) {
    return std::ranges::all_of(group.members,
                               [](const AssignMember& member) { return member.admitted >= 1; });
  });
  return all_whole ? whole : assign_whole(held_back(problem, whole));
}

}  // namespace pharos::controlplane
