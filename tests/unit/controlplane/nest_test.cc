// Policies within policies: who takes part, and in which order.
#include "pharos/controlplane/rank/nest.hh"

#include "pharos/controlplane/rank/deal.hh"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <random>
#include <set>

namespace pharos::controlplane {
namespace {

using config::FailMode;
using config::Policy;
using Indices = std::vector<std::uint16_t>;

NestChild member(unsigned index) {
  return {false, static_cast<std::uint16_t>(index)};
}
NestChild group(unsigned index) {
  return {true, static_cast<std::uint16_t>(index)};
}

NestNode node(Policy policy, std::vector<NestChild> children, int priority = 0, double weight = 1) {
  return {.policy = policy,
          .weight = weight,
          .priority = priority,
          .panic_threshold = 0.5,
          .key = dealing_key("service", "/" + std::to_string(priority) + std::to_string(weight)),
          .group = 0,
          .children = std::move(children)};
}

std::vector<Candidate> all_in(unsigned count, Standing standing) {
  return std::vector<Candidate>(count, Candidate{standing, 1, 0});
}

std::vector<std::uint64_t> keys_of(unsigned count) {
  std::vector<std::uint64_t> keys;
  for (unsigned i = 0; i < count; ++i) keys.push_back(dealing_key("service", std::to_string(i)));
  return keys;
}

// Failover of two groups of three.
Nest two_tiers() {
  return {node(Policy::failover, {group(1), group(2)}),
          node(Policy::weighted, {member(0), member(1), member(2)}, 0),
          node(Policy::ranked, {member(3), member(4), member(5)}, 1)};
}

// ---- who takes part ----

TEST(NestMembershipTest, TheFirstGroupThatIsWellAnswers) {
  auto candidates = all_in(6, Standing::healthy);
  auto result = nest_membership(two_tiers(), candidates, FailMode::open);
  EXPECT_EQ(result.all.members, (Indices{0, 1, 2}));
  EXPECT_FALSE(result.all.panic);
  EXPECT_TRUE(result.parts[2].empty());
  candidates[0].standing = Standing::failing;
  result = nest_membership(two_tiers(), candidates, FailMode::open);
  EXPECT_EQ(result.all.members, (Indices{1, 2})) << "two of three are enough";
  candidates[1].standing = Standing::failing;
  result = nest_membership(two_tiers(), candidates, FailMode::open);
  EXPECT_EQ(result.all.members, (Indices{3, 4, 5}));
  EXPECT_FALSE(result.all.panic) << "that is the plan at work";
}

TEST(NestMembershipTest, WhereNoGroupIsWellTheFirstThatHasAnybodyWellAnswersWithAllOfIt) {
  auto candidates = all_in(6, Standing::failing);
  candidates[4].standing = Standing::healthy;
  auto result = nest_membership(two_tiers(), candidates, FailMode::open);
  EXPECT_EQ(result.all.members, (Indices{3, 4, 5}));
  EXPECT_TRUE(result.all.panic);
  EXPECT_TRUE(result.panic[2]);
  EXPECT_FALSE(result.panic[1]);
  candidates[4].standing = Standing::failing;
  result = nest_membership(two_tiers(), candidates, FailMode::open);
  EXPECT_EQ(result.all.members, (Indices{0, 1, 2}));
  candidates[5].standing = Standing::reserve;
  result = nest_membership(two_tiers(), candidates, FailMode::open);
  EXPECT_EQ(result.all.members, (Indices{5})) << "a reserve before anybody who fails";
}

TEST(NestMembershipTest, AGroupOfWeightZeroIsALastResort) {
  const Nest nest = {node(Policy::weighted, {group(1), group(2)}),
                     node(Policy::weighted, {member(0), member(1)}, 0, 2),
                     node(Policy::weighted, {member(2), member(3)}, 0, 0)};
  auto candidates = all_in(4, Standing::healthy);
  EXPECT_EQ(nest_membership(nest, candidates, FailMode::open).all.members, (Indices{0, 1}));
  candidates[0].standing = candidates[1].standing = Standing::failing;
  EXPECT_EQ(nest_membership(nest, candidates, FailMode::open).all.members, (Indices{2, 3}));
}

TEST(NestMembershipTest, AClosedServiceAnswersWithWhoIsWellOrWithNobody) {
  auto candidates = all_in(6, Standing::failing);
  EXPECT_TRUE(nest_membership(two_tiers(), candidates, FailMode::closed).all.members.empty());
  candidates[1].standing = Standing::healthy;
  const auto result = nest_membership(two_tiers(), candidates, FailMode::closed);
  EXPECT_EQ(result.all.members, (Indices{1}));
}

TEST(NestMembershipTest, OnlyTheServiceItselfIsRedirected) {
  auto candidates = all_in(6, Standing::failing);
  candidates[3].standing = candidates[4].standing = Standing::healthy;
  EXPECT_FALSE(nest_membership(two_tiers(), candidates, FailMode::to).all.redirected);
  candidates[3].standing = candidates[4].standing = Standing::failing;
  EXPECT_TRUE(nest_membership(two_tiers(), candidates, FailMode::to).all.redirected);
}

// Trees of up to 12 members in up to 5 groups.
struct RandomNest {
  Nest nest;
  std::vector<Candidate> candidates;
};

RandomNest random_nest(std::mt19937_64& random) {
  const auto pick = [&](std::uint64_t below) { return static_cast<unsigned>(random() % below); };
  constexpr Policy policies[] = {Policy::ranked, Policy::weighted, Policy::failover,
                                 Policy::geo,    Policy::sticky,   Policy::multivalue};
  RandomNest made;
  const unsigned groups = pick(6), members = 1 + pick(12);
  for (unsigned n = 0; n <= groups; ++n) {
    made.nest.push_back(node(policies[pick(6)], {}, static_cast<int>(pick(3)), pick(4)));
    made.nest.back().key = random();
  }
  for (unsigned m = 0; m < members; ++m) {
    made.nest[pick(groups + 1)].children.push_back(member(m));
    constexpr Standing standings[] = {Standing::healthy, Standing::healthy, Standing::reserve,
                                      Standing::failing, Standing::barred};
    made.candidates.push_back({standings[pick(5)], 0.5 + pick(4), static_cast<int>(pick(3))});
  }
  // Parents stand before their children; who has nobody gets the first member's place, so that none is empty.
  for (unsigned n = groups; n > 0; --n) {
    if (made.nest[n].children.empty()) {
      made.candidates.push_back({Standing::failing, 1, 0});
      made.nest[n].children.push_back(member(static_cast<unsigned>(made.candidates.size() - 1)));
    }
    made.nest[pick(n)].children.push_back(group(n));
  }
  return made;
}

TEST(NestMembershipTest, NobodyWellIsLeftOutForWhoIsNotAndNothingIsEmpty) {
  std::mt19937_64 random(7);
  for (unsigned round = 0; round < 20'000; ++round) {
    const auto [nest, candidates] = random_nest(random);
    const auto result = nest_membership(nest, candidates, FailMode::open);
    ASSERT_FALSE(result.all.members.empty()) << round;
    ASSERT_TRUE(std::ranges::is_sorted(result.all.members));
    const auto has = [&](const auto& list, Standing standing) {
      return std::ranges::any_of(list, [&](auto m) { return candidates[m].standing == standing; });
    };
    Indices everybody(candidates.size());
    std::iota(everybody.begin(), everybody.end(), std::uint16_t{0});
    ASSERT_EQ(has(result.all.members, Standing::healthy), has(everybody, Standing::healthy))
        << round;
    // Members are the leaves of the parts.
    std::set<std::uint16_t> leaves;
    for (std::size_t n = 0; n < nest.size(); ++n) {
      for (const auto place : result.parts[n]) {
        const auto& child = nest[n].children[place];
        if (!child.is_node) leaves.insert(child.index);
        if (child.is_node) {
          ASSERT_FALSE(result.parts[child.index].empty()) << round;
        }
      }
    }
    ASSERT_EQ(Indices(leaves.begin(), leaves.end()), result.all.members) << round;
    const auto closed = nest_membership(nest, candidates, FailMode::closed);
    ASSERT_FALSE(has(closed.all.members, Standing::failing) ||
                 has(closed.all.members, Standing::barred))
        << round;
  }
}

TEST(NestMembershipTest, WithoutGroupsItIsThatOfTheService) {
  std::mt19937_64 random(11);
  for (unsigned round = 0; round < 5'000; ++round) {
    auto [nest, candidates] = random_nest(random);
    Nest flat = {nest[0]};
    flat[0].children.clear();
    for (unsigned m = 0; m < candidates.size(); ++m) flat[0].children.push_back(member(m));
    for (const auto fail : {FailMode::open, FailMode::closed, FailMode::to}) {
      const auto expected = membership_of(candidates, flat[0].policy, 0.5, fail);
      const auto result = nest_membership(flat, candidates, fail);
      if (std::ranges::none_of(expected.members, [&](auto m) {
            return candidates[m].standing == Standing::healthy;
          })) {
        continue;  // who is well elsewhere is looked for, and tested above
      }
      ASSERT_EQ(result.all.members, expected.members) << round;
      ASSERT_EQ(result.all.panic, expected.panic) << round;
      ASSERT_EQ(result.all.redirected, expected.redirected) << round;
    }
  }
}

// ---- in which order ----

struct Arranged {
  NestMembership membership;
  NestRanks ranks;
  std::vector<Indices> slots;
};

Arranged arranged(const Nest& nest, const std::vector<double>& scores,
                  const std::vector<double>& weights, unsigned slots = 64) {
  const auto count = static_cast<unsigned>(scores.size());
  Arranged made;
  made.membership = nest_membership(nest, all_in(count, Standing::healthy), FailMode::open);
  made.ranks = rank_nest(nest, made.membership, scores, scores, weights, {});
  const auto keys = keys_of(count);
  made.slots = arrange_nest(nest, made.membership, made.ranks,
                            nest_owners(nest, keys, weights, slots), keys, weights, slots);
  return made;
}

std::map<std::uint16_t, unsigned> leaders(const std::vector<Indices>& slots) {
  std::map<std::uint16_t, unsigned> count;
  for (const auto& order : slots) ++count[order.front()];
  return count;
}

TEST(NestOrderTest, WhereNothingIsDealtAllHaveOneOrder) {
  const Nest nest = {node(Policy::ranked, {group(1), group(2)}),
                     node(Policy::ranked, {member(0), member(1)}),
                     node(Policy::ranked, {member(2), member(3)})};
  const auto made = arranged(nest, {0.2, 0.6, 0.9, 0.1}, {1, 1, 1, 1});
  ASSERT_EQ(made.slots.size(), 1U);
  EXPECT_EQ(made.slots[0], (Indices{2, 3, 1, 0})) << "a group as good as its best, and together";
}

TEST(NestOrderTest, ADealtGroupIsAsGoodAsItsMean) {
  const Nest nest = {node(Policy::ranked, {group(1), member(2)}),
                     node(Policy::weighted, {member(0), member(1)})};
  EXPECT_EQ(arranged(nest, {1, 0.1, 0.6}, {1, 1, 1}).slots[0].front(), 2);
  const auto better = arranged(nest, {1, 0.4, 0.6}, {1, 1, 1});
  EXPECT_NE(better.slots[0].front(), 2) << "0.7 against 0.6";
  EXPECT_EQ(better.slots[0].back(), 2);
}

TEST(NestOrderTest, AGroupDealsTheSlotsThatItsParentGaveIt) {
  const Nest nest = {node(Policy::weighted, {group(1), member(2), member(3)}),
                     node(Policy::weighted, {member(0), member(1)}, 0, 2)};
  const auto made = arranged(nest, {1, 1, 1, 1}, {3, 1, 1, 1});
  const auto count = leaders(made.slots);
  EXPECT_EQ(count.at(0), 24U) << "3 of 4 of a half";
  EXPECT_EQ(count.at(1), 8U);
  EXPECT_EQ(count.at(2), 16U);
  EXPECT_EQ(count.at(3), 16U);
  for (const auto& order : made.slots) {
    EXPECT_EQ(std::set<std::uint16_t>(order.begin(), order.end()).size(), 4U);
    const auto place = [&](unsigned m) { return std::ranges::find(order, m) - order.begin(); };
    EXPECT_EQ(std::abs(place(0) - place(1)), 1) << "a group stays together";
  }
}

TEST(NestOrderTest, AChangeInsideAGroupMovesClientsOfTheGroupAlone) {
  const Nest nest = {node(Policy::weighted, {group(1), member(2)}),
                     node(Policy::weighted, {member(0), member(1)})};
  const auto keys = keys_of(3);
  const std::vector<double> configured = {1, 1, 1}, scores = {1, 1, 1};
  const auto membership = nest_membership(nest, all_in(3, Standing::healthy), FailMode::open);
  const auto owners = nest_owners(nest, keys, configured, 256);
  const auto ranks = rank_nest(nest, membership, scores, scores, configured, {});
  const auto before = arrange_nest(nest, membership, ranks, owners, keys, configured, 256);
  const std::vector<double> changed = {3, 1, 1};
  const auto after = arrange_nest(nest, membership, ranks, owners, keys, changed, 256);
  unsigned moved = 0;
  for (std::size_t slot = 0; slot < 256; ++slot) {
    EXPECT_EQ(before[slot].front() == 2, after[slot].front() == 2);
    moved += before[slot].front() != after[slot].front();
  }
  EXPECT_EQ(leaders(after).at(0), 96U);
  EXPECT_LE(moved, 32U + 1);
}

TEST(NestOrderTest, GroupsKeepTheirOrderWithinTheMargin) {
  const Nest nest = {node(Policy::ranked, {group(1), group(2)}), node(Policy::ranked, {member(0)}),
                     node(Policy::ranked, {member(1)})};
  const auto membership = nest_membership(nest, all_in(2, Standing::healthy), FailMode::open);
  const std::vector<double> weights = {1, 1};
  auto ranks = rank_nest(nest, membership, std::vector<double>{0.50, 0.49},
                         std::vector<double>{1, 1}, weights, {});
  EXPECT_EQ(ranks[0], (Indices{0, 1}));
  ranks = rank_nest(nest, membership, std::vector<double>{0.50, 0.53}, std::vector<double>{1, 1},
                    weights, ranks);
  EXPECT_EQ(ranks[0], (Indices{0, 1}));
  ranks = rank_nest(nest, membership, std::vector<double>{0.50, 0.60}, std::vector<double>{1, 1},
                    weights, ranks);
  EXPECT_EQ(ranks[0], (Indices{1, 0}));
}

TEST(NestOrderTest, GeoGoesByNearnessAlone) {
  const Nest nest = {node(Policy::geo, {group(1), group(2)}), node(Policy::ranked, {member(0)}),
                     node(Policy::ranked, {member(1)})};
  const auto membership = nest_membership(nest, all_in(2, Standing::healthy), FailMode::open);
  const auto ranks = rank_nest(nest, membership, std::vector<double>{0.1, 0.9},
                               std::vector<double>{0.8, 0.2}, std::vector<double>{1, 1}, {});
  EXPECT_EQ(ranks[0], (Indices{0, 1}));
}

TEST(NestOrderTest, EverySlotHasEveryMemberOnceWhateverTheTree) {
  std::mt19937_64 random(3);
  for (unsigned round = 0; round < 500; ++round) {
    const auto [nest, candidates] = random_nest(random);
    const auto membership = nest_membership(nest, candidates, FailMode::open);
    const auto count = static_cast<unsigned>(candidates.size());
    const auto keys = keys_of(count);
    std::vector<double> scores, weights;
    for (const auto& candidate : candidates) {
      scores.push_back(static_cast<double>(random() % 100) / 100);
      weights.push_back(candidate.weight);
    }
    const auto ranks = rank_nest(nest, membership, scores, scores, weights, {});
    const auto slots = arrange_nest(nest, membership, ranks, nest_owners(nest, keys, weights, 32),
                                    keys, weights, 32);
    for (auto order : slots) {
      std::ranges::sort(order);
      ASSERT_EQ(order, membership.all.members) << round;
    }
    ASSERT_EQ(slots, arrange_nest(nest, membership, ranks, nest_owners(nest, keys, weights, 32),
                                  keys, weights, 32))
        << "the same again";
  }
}

}  // namespace
}  // namespace pharos::controlplane
