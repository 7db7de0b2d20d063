// Dealing that stays: leaders by share, and how many clients a change of weights moves.
#include "pharos/controlplane/rank/spread.hh"

#include "pharos/controlplane/rank/deal.hh"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <random>
#include <string>

namespace pharos::controlplane {
namespace {

std::vector<Hand> hands_of(std::vector<double> weights, std::uint64_t seed = 0) {
  std::vector<Hand> hands;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    hands.push_back({dealing_key("s" + std::to_string(seed), "e" + std::to_string(i)), weights[i]});
  }
  return hands;
}

std::vector<double> shares_of(const std::vector<Hand>& hands) {
  double total = 0;
  for (const auto& hand : hands) total += hand.weight;
  std::vector<double> shares;
  for (const auto& hand : hands) shares.push_back(hand.weight / total);
  return shares;
}

double must_move(const std::vector<Hand>& before, const std::vector<Hand>& after) {
  const auto a = shares_of(before), b = shares_of(after);
  double moves = 0;
  for (std::size_t i = 0; i < a.size(); ++i) moves += std::max(b[i] - a[i], 0.0);
  return moves;
}

double moved(const std::vector<std::uint16_t>& a, const std::vector<std::uint16_t>& b) {
  double count = 0;
  for (std::size_t slot = 0; slot < a.size(); ++slot) count += a[slot] != b[slot];
  return count / static_cast<double>(a.size());
}

TEST(OwnersNearTest, TheSameWeightsMoveNobody) {
  const auto hands = hands_of({3, 1, 2, 2});
  const auto base = owners_of(64, hands);
  EXPECT_EQ(owners_near(base, hands), base);
  EXPECT_EQ(owners_near(base, hands_of({0, 0, 0, 0})), base) << "no weight at all: as configured";
}

// What a change of weights moves beyond what it must, over many pools.
struct Beyond {
  std::vector<double> all;

  [[nodiscard]] double worst() const { return std::ranges::max(all); }
  [[nodiscard]] double mean() const {
    return std::accumulate(all.begin(), all.end(), 0.0) / static_cast<double>(all.size());
  }
  [[nodiscard]] double p99() {
    std::ranges::sort(all);
    return all[all.size() * 99 / 100];
  }
};

// Pools of 2 to 10 endpoints with weights from 1 to 5, one of which changes by up to four times; and then another one does.
TEST(OwnersNearTest, AChangeOfWeightByXMovesXOfTheClientsAndTwoPercentAtMost) {
  constexpr double factors[] = {0.25, 0.5, 0.8, 0.95, 1.05, 1.25, 2, 4};
  for (const unsigned slots : {64U, 256U, 1024U}) {
    Beyond live, next, configured;
    double off = 0;
    for (unsigned seed = 1; seed <= 400; ++seed) {
      std::mt19937_64 random(seed);
      const auto count = 2 + seed % 9;
      std::vector<double> weights;
      for (unsigned i = 0; i < count; ++i) weights.push_back(static_cast<double>(1 + random() % 5));
      const auto before = hands_of(weights, seed);
      const auto base = owners_of(slots, before);
      auto tuned = before;
      tuned[random() % count].weight *= factors[random() % 8];
      const auto owners = owners_near(base, tuned);
      live.all.push_back(moved(base, owners) - must_move(before, tuned));
      auto later = tuned;
      later[random() % count].weight *= factors[random() % 8];
      const auto latest = owners_near(base, later);
      next.all.push_back(moved(owners, latest) - must_move(tuned, later));
      configured.all.push_back(moved(base, owners_of(slots, tuned)) - must_move(before, tuned));
      const auto shares = shares_of(later);
      for (std::size_t i = 0; i < shares.size(); ++i)
        off = std::max(
            off, std::abs(static_cast<double>(std::ranges::count(latest, i)) - shares[i] * slots));
    }
    SCOPED_TRACE(std::to_string(slots) + " slots");
    EXPECT_LE(live.worst(), 0.02) << "what the operator changes of what is configured";
    // A dealing that knows no history cannot do as well for every pair of weights.
    EXPECT_LE(next.mean(), 0.01) << "a change on top of a change";
    EXPECT_LE(next.p99(), 0.06);
    EXPECT_LE(configured.mean(), 0.03) << "in the configuration, which deals anew";
    EXPECT_LE(configured.p99(), 0.11);
    EXPECT_LT(off, 2.0) << "and the shares are right, in slots";
  }
}

TEST(OwnersNearTest, AHandThatGoesMovesItsOwnSlotsAndFindsThemAgain) {
  for (unsigned seed = 1; seed <= 50; ++seed) {
    auto hands = hands_of({1, 2, 3, 1, 2}, seed);
    const auto base = owners_of(64, hands);
    auto without = hands;
    without[seed % 5].weight = 0;
    const auto owners = owners_near(base, without);
    unsigned others = 0;
    for (std::size_t slot = 0; slot < 64; ++slot) {
      EXPECT_NE(owners[slot], seed % 5);
      others += base[slot] != seed % 5 && owners[slot] != base[slot];
    }
    EXPECT_LE(others, 2U) << "rounding";
    EXPECT_EQ(owners_near(base, hands), base);
  }
}

TEST(DealStickyTest, OnlyTheClientsOfWhoGoesMove) {
  auto hands = hands_of({1, 1, 2, 4});
  const auto before = deal_sticky(256, hands);
  hands.erase(hands.begin() + 2);
  const auto after = deal_sticky(256, hands);
  for (std::size_t slot = 0; slot < 256; ++slot) {
    const auto was = before[slot].front();
    if (was == 2) continue;
    EXPECT_EQ(after[slot].front(), was > 2 ? was - 1 : was);
  }
}

TEST(DealStickyTest, SharesAreAboutRight) {
  const auto slots = deal_sticky(1024, hands_of({1, 3}));
  const auto first =
      std::ranges::count_if(slots, [](const auto& order) { return order.front() == 0; });
  EXPECT_NEAR(static_cast<double>(first), 256, 50);
  EXPECT_TRUE(deal_sticky(64, {}).empty());
}

// ---- leads ----

const std::vector<std::uint16_t> order = {2, 0, 1};
const std::vector<double> whole = {1, 1, 1};

TEST(LeadsTest, WithoutAnAssignmentTheFirstLeadsAll) {
  const auto leads = leads_of(order, {}, whole);
  EXPECT_EQ(leads, (std::vector<Lead>{{2, 1.0}}));
  EXPECT_TRUE(is_undivided(leads, order, 64));
  EXPECT_TRUE(leads_of({}, {}, whole).empty());
  EXPECT_TRUE(is_undivided({}, {}, 64));
}

TEST(LeadsTest, AnAssignmentIsFollowedAndFilledUpWhereSomebodyIsGone) {
  const std::vector<double> assigned = {0.25, 0.25, 0.25};  // a quarter was for who is gone
  const auto leads = leads_of(order, assigned, whole);
  ASSERT_EQ(leads.size(), 3U);
  for (const auto& lead : leads) EXPECT_NEAR(lead.share, 1.0 / 3, 1e-12);
  EXPECT_FALSE(is_undivided(leads, order, 64));
  const std::vector<double> nothing = {0, 0, 0};
  EXPECT_EQ(leads_of(order, nothing, whole), (std::vector<Lead>{{2, 1.0}}));
}

TEST(LeadsTest, WhatAnEndpointMayNotTakeYetGoesToTheNext) {
  const std::vector<double> admitted = {1, 1, 0.25};
  EXPECT_EQ(leads_of(order, {}, admitted), (std::vector<Lead>{{2, 0.25}, {0, 0.75}}));
  const std::vector<double> all_rise = {0.5, 0.5, 0.25};
  EXPECT_EQ(leads_of(order, {}, all_rise), (std::vector<Lead>{{2, 1.0}}))
      << "nobody else is there to take them";
}

TEST(LeadsTest, EverybodyGetsHisLeastAndNobodyLosesHisOwn) {
  const std::array<std::uint16_t, 4> members = {2, 0, 1, 3};
  const std::array<double, 4> admitted = {1, 1, 1, 1}, least = {0.02, 0.02, 0.02, 0};
  const auto leads = leads_of(members, {}, admitted, least);
  ASSERT_EQ(leads.size(), 3U);
  EXPECT_EQ(leads[0].member, 2);
  EXPECT_NEAR(leads[0].share, 0.96, 1e-12);
  EXPECT_NEAR(leads[1].share, 0.02, 1e-12);
  const std::array<double, 4> assigned = {0.5, 0.3, 0.2, 0}, much = {0.9, 0.9, 0.9, 0.9};
  double total = 0;
  for (const auto& lead : leads_of(members, assigned, admitted, much)) {
    EXPECT_GE(lead.share, 0.125 - 1e-12) << "at most half of an equal share";
    total += lead.share;
  }
  EXPECT_NEAR(total, 1, 1e-12);
}

TEST(LeadsTest, ALeaderWhoIsNotFirstIsDealtToo) {
  const std::vector<double> assigned = {1, 0, 0};
  const auto leads = leads_of(order, assigned, whole);
  EXPECT_EQ(leads, (std::vector<Lead>{{0, 1.0}}));
  EXPECT_FALSE(is_undivided(leads, order, 64));
  const std::vector<std::uint64_t> keys = {11, 22, 33};
  const auto slots = spread(1, leads, keys, order);
  ASSERT_EQ(slots.size(), 1U);
  EXPECT_EQ(slots[0], (std::vector<std::uint16_t>{0, 2, 1}));
}

TEST(SpreadTest, SlotsFollowTheSharesAndTheOthersStandInTheirOrder) {
  const std::vector<std::uint64_t> keys = {11, 22, 33};
  const std::vector<Lead> leads = {{2, 0.75}, {1, 0.25}};
  const auto slots = spread(64, leads, keys, order);
  ASSERT_EQ(slots.size(), 64U);
  unsigned first = 0;
  for (const auto& slot : slots) {
    first += slot.front() == 2;
    if (slot.front() == 2) {
      EXPECT_EQ(slot, order);
    } else {
      EXPECT_EQ(slot, (std::vector<std::uint16_t>{1, 2, 0}));
    }
  }
  EXPECT_EQ(first, 48U);
}

}  // namespace
}  // namespace pharos::controlplane
