#include "pharos/controlplane/assign/grouping.hh"

#include "pharos/controlplane/assign/demand_board.hh"

#include <gtest/gtest.h>

#include <numeric>

namespace pharos::controlplane {
namespace {

// Two sites and two locales, each near one.
const std::vector<double> proximity = {0.9, 0.3, 0.3, 0.9};
const std::vector<AssignSite> hundred_each = {{100.0}, {100.0}};

AssignPool pool_of(std::uint32_t index, std::vector<double> rps) {
  AssignPool pool;
  pool.pool = index;
  pool.service = index;
  pool.members = {{.site = 0}, {.site = 1}};
  pool.rps = std::move(rps);
  return pool;
}

std::shared_ptr<const GroupShares> only(const AssignTask& task) {
  EXPECT_EQ(task.groups.size(), 1U);
  return shares_of(task, assign(task.problem)).at(0);
}

TEST(GroupingTest, PoolsOfTheSameSitesAreAssignedAsOne) {
  std::vector<AssignPool> pools;
  for (std::uint32_t p = 0; p < 1000; ++p) pools.push_back(pool_of(p, {0.14, 0.02}));
  const auto task = make_assign_task({}, hundred_each, pools, proximity, Instant{});
  EXPECT_EQ(task.problem.demands.size(), 2U);
  EXPECT_EQ(task.pools.at(0).size(), 1000U);
  const auto shares = only(task);
  EXPECT_NEAR(shares->rps, 160, 1e-6);
  EXPECT_NEAR(shares->share(0, 0), 90.0 / 140, 0.001);
  EXPECT_NEAR(shares->share(0, 1), 50.0 / 140, 0.001);
  EXPECT_NEAR(shares->share(1, 1), 1, 0.001);
  EXPECT_EQ(shares->share(1, 7), 0);
  EXPECT_EQ(shares->share(9, 0), 0);
}

TEST(GroupingTest, RulesAndLimitsOfTheirOwnMakeGroupsOfTheirOwn) {
  std::vector<AssignPool> pools(5, pool_of(0, {1, 1}));
  for (std::uint32_t p = 0; p < pools.size(); ++p) pools[p].pool = pools[p].service = p;
  pools[1].importance = 3;
  pools[2].members.pop_back();
  pools[3].members[0].capacity_rps = 10;
  pools[4].probe_share = 0.01;
  const auto task = make_assign_task({}, hundred_each, pools, proximity, Instant{});
  EXPECT_EQ(task.groups.size(), 5U);
}

TEST(GroupingTest, WeightsAreKeptWhileThereIsRoomAndBentWhereThereIsNone) {
  auto pool = pool_of(0, {40, 40});
  pool.dealt = true;
  pool.members[0].weight = 3;
  const std::vector<AssignPool> calm = {pool};
  auto shares = only(make_assign_task({}, hundred_each, calm, proximity, Instant{}));
  EXPECT_NEAR(shares->weight_factor(0), 1, 0.001);
  EXPECT_NEAR(shares->weight_factor(1), 1, 0.001);
  pool.rps = {80, 60};  // 105 for the first
  const std::vector<AssignPool> busy = {pool};
  shares = only(make_assign_task({}, hundred_each, busy, proximity, Instant{}));
  EXPECT_NEAR(shares->share(0, 0) * 140, 90, 0.2);
  EXPECT_NEAR(shares->weight_factor(0), 90.0 / 105, 0.01);
  EXPECT_GT(shares->weight_factor(1), 1);
  EXPECT_NEAR(shares->share(0, 0) + shares->share(0, 1), 1, 1e-6);
}

TEST(GroupingTest, TheSpeakerOfAGroupIsThePoolWithTheMostDemand) {
  auto small = pool_of(0, {1, 0}), large = pool_of(1, {50, 0});
  small.members[1].base = 10;  // it would rather be at the second site
  const std::vector<AssignPool> pools = {small, large};
  const auto shares = only(make_assign_task({}, hundred_each, pools, proximity, Instant{}));
  EXPECT_NEAR(shares->share(0, 0), 1, 0.001);
}

TEST(GroupingTest, WhatIsTooMuchToSolveCountsAsLoadWhereItIs) {
  std::vector<AssignSite> sites(300);
  std::vector<double> near(300 * 300, 0.1);
  for (std::size_t l = 0; l < 300; ++l) near[l * 300 + l] = 1;
  AssignPool pool;
  for (std::uint32_t s = 0; s < 300; ++s) pool.members.push_back({.site = s});
  pool.rps.assign(300, 2.0);
  ASSERT_GT(std::size_t{300} * 300, assign_ways_max);
  const std::vector<AssignPool> pools = {pool};
  const auto task = make_assign_task({}, sites, pools, near, Instant{});
  EXPECT_TRUE(task.groups.empty());
  for (const auto& site : task.problem.sites) EXPECT_NEAR(site.fixed_rps, 2, 1e-9);
}

TEST(GroupingTest, SmallMovesAndLostDemandChangeNothing) {
  GroupShares former{.sites = {0, 1}, .shares = {{0.5, 0.5}, {}}, .wanted = {}, .rps = 1};
  auto next = former;
  EXPECT_FALSE(differs(&former, next, 0.02));
  next.shares[0] = {0.51, 0.49};
  EXPECT_FALSE(differs(&former, next, 0.02));
  next.shares[0] = {0.53, 0.47};
  EXPECT_TRUE(differs(&former, next, 0.02));
  next.shares[0] = {};
  EXPECT_FALSE(differs(&former, next, 0.02)) << "no demand: what was goes on";
  next = former;
  next.shares[1] = {1, 0};
  EXPECT_TRUE(differs(&former, next, 0.02));
  next = former;
  next.sites = {0, 2};
  EXPECT_TRUE(differs(&former, next, 0.02));
  EXPECT_TRUE(differs(nullptr, next, 0.02));
}

TEST(GroupingTest, LoadsInForceAreThoseOfTheSharesOrOfTheScores) {
  const std::vector<AssignPool> pools = {pool_of(0, {100, 60})};
  const auto task = make_assign_task({}, hundred_each, pools, proximity, Instant{});
  const GroupShares* none[] = {nullptr};
  EXPECT_EQ(loads_in_force(task, none), (std::vector<double>{100, 60}));
  const GroupShares half{.sites = {0, 1}, .shares = {{0.5, 0.5}, {}}, .wanted = {}, .rps = 1};
  const GroupShares* some[] = {&half};
  EXPECT_EQ(loads_in_force(task, some), (std::vector<double>{50, 110}));
}

TEST(GroupingTest, SharesThatFillASiteOrItsEndpointsTooFarAreSeen) {
  auto pool = pool_of(0, {60, 60});
  const std::vector<AssignPool> pools = {pool};
  const auto task = make_assign_task({}, hundred_each, pools, proximity, Instant{});
  const GroupShares calm{.sites = {0, 1}, .shares = {{1, 0}, {0, 1}}, .wanted = {}, .rps = 1};
  const GroupShares full{.sites = {0, 1}, .shares = {{1, 0}, {0.6, 0.4}}, .wanted = {}, .rps = 1};
  const GroupShares* in_force[] = {&calm};
  EXPECT_FALSE(fills_beyond(task, in_force, 0.9));
  in_force[0] = &full;
  EXPECT_TRUE(fills_beyond(task, in_force, 0.9));
  EXPECT_FALSE(fills_beyond(task, in_force, 1.0));

  pool.members[1].capacity_rps = 61;
  pool.members[0].capacity_rps = 1000;
  const std::vector<AssignPool> limited = {pool};
  const auto narrow = make_assign_task({}, hundred_each, limited, proximity, Instant{});
  in_force[0] = &calm;
  EXPECT_TRUE(fills_beyond(narrow, in_force, 0.9)) << "60 of the 61 that its endpoints take";
  EXPECT_FALSE(fills_beyond(narrow, in_force, 1.0));
}

TEST(GroupingTest, WhoComesBackMakesAGroupOfItsOwnThatKnowsItsPart) {
  std::vector<AssignPool> pools = {pool_of(0, {10, 10}), pool_of(1, {10, 10})};
  pools[1].members[0].admitted = 0.5;
  const auto task = make_assign_task({}, hundred_each, pools, proximity, Instant{});
  ASSERT_EQ(task.groups.size(), 2U);
  for (const auto& shares : shares_of(task, assign(task.problem))) {
    const bool held = shares->admitted_part(0) < 1;
    EXPECT_NEAR(shares->share(0, 0), held ? 0.5 : 1, 0.001);
    EXPECT_EQ(shares->admitted_part(0), held ? 0.5 : 1);
    EXPECT_EQ(shares->admitted_part(1), 1);
    EXPECT_EQ(shares->admitted_part(7), 1);
  }
}

TEST(GroupingTest, OtherPartsOfWhoComesBackAreTakenAlsoWhereSharesStay) {
  const GroupShares shares{.sites = {0, 1}, .shares = {{1, 0}}, .wanted = {}, .rps = 1};
  auto next = shares;
  EXPECT_FALSE(differs(&shares, next, 0.02));
  next.admitted = {0.125, 1};
  EXPECT_TRUE(differs(&shares, next, 0.02));
}

TEST(GroupingTest, WhatTurnedRoundIsDearerToMoveForAWhile) {
  GroupShares near{.sites = {0, 1}, .shares = {{1, 0}, {0, 1}}, .wanted = {}, .rps = 1};
  GroupShares far{.sites = {0, 1}, .shares = {{0, 1}, {0, 1}}, .wanted = {}, .rps = 1};
  Instant now{};
  note_unrest(near, nullptr, now);
  const auto habits_after = [&](const GroupShares& in_force, Instant at) {
    auto pool = pool_of(0, {10, 10});
    pool.former = &in_force;
    const std::vector<AssignPool> pools = {pool};
    const auto task = make_assign_task({}, hundred_each, pools, proximity, at);
    return std::pair(task.problem.demands.at(0).habit, task.problem.demands.at(1).habit);
  };
  EXPECT_EQ(habits_after(near, now), std::pair(habit_price, habit_price));
  note_unrest(far, &near, now);
  EXPECT_EQ(habits_after(far, now).first, habit_price) << "it moved, and did not turn round";
  note_unrest(near, &far, now);
  EXPECT_EQ(habits_after(near, now), std::pair(2 * habit_price, habit_price));
  for (int i = 0; i < 4; ++i) {
    note_unrest(far, &near, now);
    note_unrest(near, &far, now);
  }
  EXPECT_EQ(habits_after(near, now).first, habit_price_max);
  EXPECT_NEAR(habits_after(near, now + turn_half_life * 20).first, habit_price, 1e-4);
}

// Weights ask for a third at each of three sites; the first has room for half of that, and the others are equally good.
TEST(GroupingTest, WhatADealtPoolHandedOnStaysWhereItIs) {
  const std::vector<AssignSite> sites = {{10.0}, {1000.0}, {1000.0}};
  const std::vector<double> anywhere(3, 0.5);
  for (const std::uint32_t taker : {1U, 2U}) {
    auto pool = pool_of(0, {60});
    pool.dealt = true;
    pool.members.push_back({.site = 2});
    const double third = 1.0 / 3;
    GroupShares former{.sites = {0, 1, 2},
                       .shares = {{0.15, third, third}},
                       .wanted = std::vector(3, third),
                       .rps = 60};
    former.shares[0][taker] += third - 0.15;
    pool.former = &former;
    const std::vector<AssignPool> pools = {pool};
    const auto shares = only(make_assign_task({}, sites, pools, anywhere, Instant{}));
    EXPECT_NEAR(shares->share(0, 0), 0.15, 0.001);
    EXPECT_NEAR(shares->share(0, taker), third + third - 0.15, 0.001);
  }
}

TEST(GroupingTest, UnrestFollowsLocalesToOtherNumbersAndForgetsSitesThatAreOthers) {
  GroupShares near{.sites = {0, 1}, .shares = {{1, 0}}, .wanted = {}, .rps = 1};
  GroupShares far{.sites = {0, 1}, .shares = {{0, 1}}, .wanted = {}, .rps = 1};
  note_unrest(near, nullptr, Instant{});
  note_unrest(far, &near, Instant{});
  note_unrest(near, &far, Instant{});
  constexpr auto nothing = DemandBoard::nothing;
  const auto moved =
      renumbered(near, std::vector<std::uint32_t>{0, 1}, std::vector<std::uint32_t>{nothing, 0});
  EXPECT_EQ(moved.unrest.turns(0, Instant{}), 0);
  EXPECT_EQ(moved.unrest.turns(1, Instant{}), 1);
  GroupShares others{.sites = {0, 2}, .shares = {{0, 1}}, .wanted = {}, .rps = 1};
  note_unrest(others, &near, Instant{});
  EXPECT_EQ(others.unrest.turns(0, Instant{}), 1) << "a loss is no turn";
}

TEST(GroupingTest, SharesFollowTheirSitesAndLocalesToOtherNumbers) {
  constexpr auto nothing = DemandBoard::nothing;
  const GroupShares ranked{
      .sites = {0, 2, 5}, .shares = {{0.5, 0.3, 0.2}, {}, {0, 1, 0}}, .wanted = {}, .rps = 7};
  // Site 0 becomes 9, 2 becomes 1, 5 goes; locales in another order, one of them new.
  const std::vector<std::uint32_t> sites = {9, nothing, 1, nothing, nothing, nothing};
  const std::vector<std::uint32_t> locales = {2, nothing, 0, 1};
  const auto made = renumbered(ranked, sites, locales);
  EXPECT_EQ(made.sites, (std::vector<std::uint32_t>{1, 9}));
  EXPECT_EQ(made.shares, (std::vector<std::vector<double>>{{1, 0}, {}, {0.3, 0.5}, {}}));
  EXPECT_EQ(made.rps, 7);
  const GroupShares dealt{
      .sites = {0, 2}, .shares = {{0.6, 0.4}}, .wanted = {0.75, 0.25}, .rps = 7};
  const auto bent = renumbered(dealt, sites, locales);
  EXPECT_EQ(bent.shares, (std::vector<std::vector<double>>{{0.4, 0.6}}));
  EXPECT_EQ(bent.weight_factor(9), 0.6 / 0.75);
}

TEST(GroupingTest, PoolsWithoutDemandOrMembersAreLeftAlone) {
  auto idle = pool_of(0, {0, 0}), empty = pool_of(1, {5, 5});
  empty.members.clear();
  const std::vector<AssignPool> pools = {idle, empty};
  EXPECT_TRUE(make_assign_task({}, hundred_each, pools, proximity, Instant{}).groups.empty());
}

}  // namespace
}  // namespace pharos::controlplane
