#include "pharos/controlplane/assign/assign.hh"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <numeric>
#include <random>

namespace pharos::controlplane {
namespace {

constexpr double eps = 1e-4;

// Two sites of 100 each; locale 0 is near the first, locale 1 near the second.
AssignProblem two_sites(double first_rps, double second_rps) {
  AssignProblem problem;
  problem.sites = {{100.0}, {100.0}};
  problem.groups = {{.members = {{.site = 0}, {.site = 1}}}};
  problem.demands = {{.rps = first_rps, .scores = {0.9, 0.3}},
                     {.rps = second_rps, .scores = {0.3, 0.9}}};
  return problem;
}

double sum(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0);
}

TEST(AssignTest, DemandStaysNearWhereThereIsRoom) {
  const auto made = assign(two_sites(50, 60));
  EXPECT_NEAR(made.shares[0][0], 1, eps);
  EXPECT_NEAR(made.shares[1][1], 1, eps);
  EXPECT_NEAR(made.site_rps[0], 50, eps * 110);
  EXPECT_EQ(made.overload, 0);
}

TEST(AssignTest, WhatIsAboveTheHighWatermarkGoesWhereThereIsRoom) {
  const auto made = assign(two_sites(140, 20));
  EXPECT_NEAR(made.site_rps[0], 90, 0.1);
  EXPECT_NEAR(made.site_rps[1], 70, 0.1);
  EXPECT_NEAR(made.shares[0][0], 90.0 / 140, 0.001);
  EXPECT_NEAR(made.shares[1][1], 1, eps) << "who is near the second site stays there";
}

TEST(AssignTest, LoadBeginsToMoveBelowTheLimitWhereTheWayIsShort) {
  auto problem = two_sites(90, 0);
  problem.demands[0].scores = {0.5, 0.45};  // nearly as good
  const auto made = assign(problem);
  EXPECT_NEAR(made.site_rps[0], 70, 0.1) << "the low watermark";
  problem.demands[0].scores = {0.5, 0.1};
  EXPECT_NEAR(assign(problem).site_rps[0], 90, 0.1) << "too far to be worth it";
}

TEST(AssignTest, WhoComesBackTakesItsPartAndTheRestAsksForRoom) {
  // A third site, nearest to locale 0 after the first, that has no room for what the first leaves.
  auto problem = two_sites(60, 85);
  problem.sites.push_back({100.0});
  problem.groups[0].members = {{.site = 0, .admitted = 0.25}, {.site = 1}, {.site = 2}};
  problem.demands[0].scores = {0.9, 0.8, 0.3};
  problem.demands[1].scores = {0.1, 0.9, 0.2};
  const auto made = assign(problem);
  EXPECT_NEAR(made.site_rps[0], 15, 0.1) << "a quarter of the 60 that it would have";
  EXPECT_LE(made.site_rps[1], 90.1) << "the next best is nearly full";
  EXPECT_GE(made.site_rps[2], 39.9);
  problem.groups[0].members[0].admitted = 1;
  EXPECT_NEAR(assign(problem).site_rps[0], 60, 0.1);
}

TEST(AssignTest, WhoComesBackTakesMoreWhereTheOthersCannot) {
  auto problem = two_sites(150, 0);
  problem.groups[0].members[0].admitted = 0.125;
  const auto made = assign(problem);
  EXPECT_NEAR(made.site_rps[1], 90, 0.1) << "to its high watermark, and no further";
  EXPECT_NEAR(made.site_rps[0], 60, 0.1);
  EXPECT_EQ(made.overload, 0);
}

TEST(AssignTest, BothSitesAreFilledToTheirLimitsBeforeAnyPassesIt) {
  const auto made = assign(two_sites(195, 0));
  EXPECT_EQ(made.overload, 0);
  EXPECT_LE(made.site_rps[0], 100.01);
  EXPECT_LE(made.site_rps[1], 100.01);
}

TEST(AssignTest, AShortageIsSharedInProportionToTheLimits) {
  auto problem = two_sites(200, 250);
  problem.sites = {{100.0}, {200.0}};
  const auto made = assign(problem);
  EXPECT_NEAR(made.site_rps[0] / 100, 1.5, overload_step + 0.01);
  EXPECT_NEAR(made.site_rps[1] / 200, 1.5, overload_step + 0.01);
  EXPECT_NEAR(made.overload, 0.5, overload_step + 0.01);
}

TEST(AssignTest, ASiteThatHasNoCapacityAtAllTakesNothingWhileOthersHaveRoom) {
  auto problem = two_sites(50, 0);
  problem.sites[0].capacity_rps = 0.0;
  EXPECT_NEAR(assign(problem).site_rps[0], 0, eps);
}

TEST(AssignTest, AnUnlimitedSiteTakesWhatTheOthersCannot) {
  auto problem = two_sites(1000, 0);
  problem.sites[1].capacity_rps = std::nullopt;
  const auto made = assign(problem);
  EXPECT_EQ(made.overload, 0);
  EXPECT_NEAR(made.site_rps[0], 90, 0.1);
}

TEST(AssignTest, LoadThatIsThereAnywayTakesItsRoomFirst) {
  auto problem = two_sites(50, 0);
  problem.sites[0].fixed_rps = 80;
  const auto made = assign(problem);
  EXPECT_NEAR(made.site_rps[0], 90, 0.1);
  EXPECT_NEAR(made.shares[0][0], 0.2, 0.001);
  EXPECT_EQ(assign(two_sites(0, 0)).site_rps, (std::vector<double>{0, 0}));
}

TEST(AssignTest, CapacityOfEndpointsLimitsTheirGroupAlone) {
  auto problem = two_sites(80, 0);
  problem.groups.push_back({.members = {{.site = 0}, {.site = 1}}});
  problem.groups[0].members[0].capacity_rps = 40;
  problem.demands.push_back({.group = 1, .rps = 30, .scores = {0.9, 0.3}});
  const auto made = assign(problem);
  EXPECT_NEAR(made.shares[0][0], 36.0 / 80, 0.001) << "90 % of 40";
  EXPECT_NEAR(made.shares[2][0], 1, eps);
}

TEST(AssignTest, EachSiteGetsItsShareForProbes) {
  auto problem = two_sites(50, 10);
  problem.demands[1].scores = {0.9, 0.3};  // nobody wants the second site
  problem.groups[0].members[1].share_min = 0.02;
  const auto made = assign(problem);
  EXPECT_NEAR(made.site_rps[1], 0.02 * 60, 0.01);
}

TEST(AssignTest, InAShortageTheImportantIsServedWithinLimitsFirst) {
  AssignProblem problem;
  problem.limits.degrade = config::Degrade::importance;
  problem.sites = {{100.0}, {100.0}};
  problem.groups = {{.importance = 0, .members = {{.site = 0}, {.site = 1}}},
                    {.importance = 9, .members = {{.site = 0}, {.site = 1}}}};
  problem.demands = {{.group = 0, .rps = 200, .scores = {0.9, 0.8}},
                     {.group = 1, .rps = 60, .scores = {0.9, 0.8}}};
  const auto made = assign(problem);
  // The important stays at its best site; what is too much goes to the other.
  EXPECT_NEAR(made.shares[1][0], 1, eps);
  EXPECT_GT(made.site_rps[1], 150);
  EXPECT_LT(made.site_rps[0], 110);
  problem.limits.degrade = config::Degrade::proportional;
  const auto shared = assign(problem);
  EXPECT_NEAR(shared.site_rps[0], shared.site_rps[1], 100 * overload_step + 1);
}

TEST(AssignTest, DemandOfNobodyIsAssignedToNobody) {
  auto problem = two_sites(10, 0);
  problem.groups.push_back({});
  problem.demands.push_back({.group = 1, .rps = 5, .scores = {}});
  const auto made = assign(problem);
  EXPECT_TRUE(made.shares[1].empty());
  EXPECT_TRUE(made.shares[2].empty());
  EXPECT_TRUE(assign(AssignProblem{}).shares.empty());
  EXPECT_TRUE(assign(two_sites(0, 0)).shares[0].empty());
}

TEST(AssignTest, HabitKeepsClientsWhereTheyAreForSmallDifferences) {
  auto problem = two_sites(50, 0);
  problem.demands[0].scores = {0.51, 0.50};
  problem.demands[0].former = {0, 1};
  EXPECT_NEAR(assign(problem).shares[0][1], 1, eps);
  problem.demands[0].scores = {0.60, 0.50};
  EXPECT_NEAR(assign(problem).shares[0][0], 1, eps);
}

TEST(AssignTest, HabitIsPaidByWhatMovesAlsoBetweenSitesThatShareALocale) {
  auto problem = two_sites(50, 0);
  problem.demands[0].scores = {0.51, 0.50};
  problem.demands[0].former = {0.3, 0.7};
  EXPECT_NEAR(assign(problem).shares[0][0], 0.3, eps);
  problem.demands[0].scores = {0.60, 0.50};
  EXPECT_NEAR(assign(problem).shares[0][0], 1, eps);
  problem.demands[0].habit = 0.2;
  EXPECT_NEAR(assign(problem).shares[0][0], 0.3, eps) << "dearer where shares turned round";
}

TEST(AssignTest, HabitNeverStandsAgainstALimit) {
  auto problem = two_sites(150, 0);
  problem.demands[0].former = {1, 0};
  problem.demands[0].habit = habit_price_max;
  const auto made = assign(problem);
  EXPECT_NEAR(made.site_rps[0], 90, 0.1);
  EXPECT_EQ(made.overload, 0);
}

TEST(AssignTest, OverloadOfAGroupsEndpointsIsOverload) {
  auto problem = two_sites(80, 0);
  for (auto& member : problem.groups[0].members) member.capacity_rps = 20;
  EXPECT_NEAR(assign(problem).overload, 1, 0.06) << "80 on endpoints for 40";
  problem.groups[0].members[1].capacity_rps = 100;
  EXPECT_EQ(assign(problem).overload, 0);
}

// ---- random problems ----

AssignProblem random_problem(std::mt19937_64& random, unsigned site_count, unsigned demand_count,
                             double load) {
  std::uniform_real_distribution<double> part(0, 1);
  AssignProblem problem;
  double capacity = 0;
  for (unsigned s = 0; s < site_count; ++s) {
    problem.sites.push_back({.capacity_rps = 50 + 100 * part(random)});
    capacity += *problem.sites.back().capacity_rps;
  }
  AssignGroup group;
  for (unsigned s = 0; s < site_count; ++s) group.members.push_back({.site = s});
  problem.groups = {group};
  double demand = 0;
  for (unsigned d = 0; d < demand_count; ++d) {
    AssignDemand one{.rps = 0.05 + part(random)};
    for (unsigned s = 0; s < site_count; ++s) one.scores.push_back(0.05 + 0.95 * part(random));
    demand += one.rps;
    problem.demands.push_back(one);
  }
  for (auto& one : problem.demands) one.rps *= load * capacity / demand;
  return problem;
}

// What an assignment costs, worked out from its loads alone: overload first, then spill and scores.
double cost_of(const AssignProblem& problem, const std::vector<std::vector<double>>& shares) {
  const auto& limits = problem.limits;
  std::vector<double> loads(problem.sites.size(), 0.0);
  double cost = 0;
  for (std::size_t d = 0; d < problem.demands.size(); ++d) {
    const auto& demand = problem.demands[d];
    for (std::size_t m = 0; m < shares[d].size(); ++m) {
      loads[problem.groups[0].members[m].site] += shares[d][m] * demand.rps;
      cost += shares[d][m] * demand.rps * (1 - demand.scores[m]);
    }
  }
  const double penalty = 2.0 * static_cast<double>(problem.sites.size() + 1);
  for (std::size_t s = 0; s < loads.size(); ++s) {
    const double limit = *problem.sites[s].capacity_rps;
    const auto between = [&](double from, double to) {
      return std::clamp(loads[s] - from * limit, 0.0, (to - from) * limit);
    };
    const double width = (limits.high_watermark - limits.low_watermark) / 4;
    for (int i = 0; i < 4; ++i) {
      cost += between(limits.low_watermark + i * width, limits.low_watermark + (i + 1) * width) *
              spill_price * (i + 1) / 4;
    }
    cost += between(limits.high_watermark, 1) * (spill_price + penalty);
    for (unsigned i = 1; i <= overload_steps; ++i) {
      cost += between(1 + (i - 1) * overload_step, 1 + i * overload_step) *
              (spill_price + penalty * (1 + i));
    }
    cost += between(1 + overload_steps * overload_step, 1e6) *
            (spill_price + penalty * (2 + overload_steps));
  }
  return cost;
}

// Every way of dealing each demand in quarters.
void for_each_plan(const AssignProblem& problem,
                   const std::function<void(const std::vector<std::vector<double>>&)>& visit) {
  const auto sites = problem.sites.size();
  std::vector<std::vector<double>> plan(problem.demands.size(), std::vector<double>(sites, 0.0));
  std::function<void(std::size_t, std::size_t, int)> go = [&](std::size_t d, std::size_t s,
                                                              int left) {
    if (d == problem.demands.size()) return visit(plan);
    if (s + 1 == sites) {
      plan[d][s] = left / 4.0;
      return go(d + 1, 0, 4);
    }
    for (int quarters = 0; quarters <= left; ++quarters) {
      plan[d][s] = quarters / 4.0;
      go(d, s + 1, left - quarters);
    }
  };
  go(0, 0, 4);
}

TEST(AssignTest, NoPlanThatTriesAllWaysIsCheaper) {
  for (unsigned seed = 1; seed <= 60; ++seed) {
    std::mt19937_64 random(seed);
    const double load = 0.3 + 0.02 * seed;
    const auto problem = random_problem(random, 3, 3, load);
    const double ours = cost_of(problem, assign(problem).shares);
    double best = 1e300;
    for_each_plan(problem,
                  [&](const auto& plan) { best = std::min(best, cost_of(problem, plan)); });
    EXPECT_LE(ours, best * 1.0005 + 0.01) << "seed " << seed << " at load " << load;
  }
}

TEST(AssignTest, NobodyPassesALimitWhileOthersHaveRoomAndNothingIsLost) {
  for (unsigned seed = 1; seed <= 200; ++seed) {
    std::mt19937_64 random(seed);
    const double load = 0.2 + 0.006 * seed;  // up to 1.4 times what there is
    const auto problem = random_problem(random, 2 + seed % 12, 1 + seed % 17, load);
    const auto made = assign(problem);
    double demand = 0;
    bool any_above = false, room_below = false;
    for (std::size_t d = 0; d < problem.demands.size(); ++d) {
      demand += problem.demands[d].rps;
      ASSERT_NEAR(sum(made.shares[d]), 1, 1e-9) << "seed " << seed;
      for (const double share : made.shares[d]) ASSERT_GE(share, 0);
    }
    EXPECT_NEAR(sum(made.site_rps), demand, demand * 1e-6) << "seed " << seed;
    for (std::size_t s = 0; s < problem.sites.size(); ++s) {
      const double use = made.site_rps[s] / *problem.sites[s].capacity_rps;
      any_above = any_above || use > 1.001;
      room_below = room_below || use < 0.999;
    }
    EXPECT_FALSE(any_above && room_below) << "seed " << seed << " at load " << load;
  }
}

TEST(AssignTest, AfterALossNoSurvivorPassesItsLimit) {
  for (unsigned seed = 1; seed <= 50; ++seed) {
    std::mt19937_64 random(seed);
    auto problem = random_problem(random, 8, 12, 0.7);
    const auto before = assign(problem);
    EXPECT_EQ(before.overload, 0);
    auto& members = problem.groups[0].members;
    members.erase(members.begin());
    for (auto& demand : problem.demands) demand.scores.erase(demand.scores.begin());
    double demand = 0, left = 0;
    for (const auto& one : problem.demands) demand += one.rps;
    for (const auto& member : members) left += *problem.sites[member.site].capacity_rps;
    const auto after = assign(problem);
    EXPECT_NEAR(after.site_rps[0], 0, eps);
    if (demand < left * 0.999) {
      EXPECT_LT(after.overload, 0.001) << "seed " << seed;
    }
  }
}

TEST(AssignTest, ASmallChangeOfDemandMovesFewClients) {
  double moved_most = 0;
  for (unsigned seed = 1; seed <= 50; ++seed) {
    std::mt19937_64 random(seed);
    auto problem = random_problem(random, 10, 20, 0.85);
    const auto before = assign(problem);
    double total = 0, moved = 0;
    std::uniform_real_distribution<double> part(0.98, 1.02);
    for (std::size_t d = 0; d < problem.demands.size(); ++d) {
      problem.demands[d].former = before.shares[d];
      problem.demands[d].rps *= part(random);
      total += problem.demands[d].rps;
    }
    const auto after = assign(problem);
    for (std::size_t d = 0; d < problem.demands.size(); ++d) {
      for (std::size_t m = 0; m < after.shares[d].size(); ++m) {
        moved += problem.demands[d].rps * std::max(after.shares[d][m] - before.shares[d][m], 0.0);
      }
    }
    moved_most = std::max(moved_most, moved / total);
  }
  RecordProperty("moved_most_percent", static_cast<int>(moved_most * 100));
  EXPECT_LT(moved_most, 0.05) << "demand moved by 2 % at the most";
}

TEST(AssignTest, TheSameProblemGivesTheSameAssignment) {
  std::mt19937_64 random(7);
  const auto problem = random_problem(random, 20, 30, 0.95);
  EXPECT_EQ(assign(problem), assign(problem));
}

}  // namespace
}  // namespace pharos::controlplane
