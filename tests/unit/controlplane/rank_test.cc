// Scores, orders, dealing, membership and TTL: the pure parts of ranking, as tables.
#include "pharos/controlplane/rank/deal.hh"
#include "pharos/controlplane/rank/membership.hh"
#include "pharos/controlplane/rank/order.hh"
#include "pharos/controlplane/rank/pool.hh"
#include "pharos/controlplane/rank/volatility.hh"
#include "pharos/controlplane/score/distance.hh"
#include "pharos/controlplane/score/score.hh"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>

namespace pharos::controlplane {
namespace {

// ---- score ----

TEST(ScoreTest, DistancesAreThoseOfAnAtlas) {
  const Position frankfurt{50.1109, 8.6821};
  const Position new_york{40.7128, -74.0060};
  const Position sydney{-33.8688, 151.2093};
  EXPECT_NEAR(great_circle_km(frankfurt, new_york), 6203, 15);
  EXPECT_NEAR(great_circle_km(new_york, sydney), 15988, 40);
  EXPECT_DOUBLE_EQ(great_circle_km(sydney, sydney), 0);
  EXPECT_NEAR(great_circle_km({0, 179.5}, {0, -179.5}), 111.2, 0.2);
  EXPECT_NEAR(estimated_rtt_ms(frankfurt, new_york), 4 + 0.0166 * 6203, 0.5);
}

TEST(ScoreTest, FactorsFollowTheirFormulas) {
  EXPECT_DOUBLE_EQ(proximity_factor(0), 1.0);
  EXPECT_DOUBLE_EQ(proximity_factor(50), 0.5);
  EXPECT_DOUBLE_EQ(proximity_factor(150), 0.25);
  EXPECT_DOUBLE_EQ(risk_factor(0), 1.0);
  EXPECT_DOUBLE_EQ(risk_factor(1), 0.5);
  EXPECT_DOUBLE_EQ(condition_factor(true, false, {}), 1.0);
  EXPECT_DOUBLE_EQ(condition_factor(true, true, {}), 0.5);
  EXPECT_DOUBLE_EQ(condition_factor(true, false, 0.25F), 0.75);
  EXPECT_DOUBLE_EQ(condition_factor(false, false, {}), 0.0);
  SiteMetrics metrics;
  metrics.cpu_ratio = 0.5F;
  EXPECT_DOUBLE_EQ(health_parts(metrics, 0).cpu, 0.75);
  metrics.memory_ratio = 0.85F;
  EXPECT_NEAR(health_parts(metrics, 0).memory, 0.5, 1e-6);
  EXPECT_STREQ(health_parts(metrics, 0).tightest(), "memory");
  EXPECT_NEAR(health_parts(metrics, 0).least(), 0.5, 1e-6);
  metrics.responder_rtt_us = 30'000;
  EXPECT_DOUBLE_EQ(health_parts(metrics, 10'000).responder_rtt, 0.5);
  EXPECT_DOUBLE_EQ(health_parts(metrics, 50'000).responder_rtt, 1.0);
}

TEST(ScoreTest, TimesOfRequestsAndRestlessLoadCount) {
  SiteMetrics metrics;
  metrics.request_latency_us = 90'000;
  EXPECT_DOUBLE_EQ(health_parts(metrics, 0, 0).request_latency, 1.0)
      << "no least time is known yet";
  EXPECT_DOUBLE_EQ(health_parts(metrics, 0, 40'000).request_latency, 0.5);
  EXPECT_STREQ(health_parts(metrics, 0, 40'000).tightest(), "request latency");
  EXPECT_DOUBLE_EQ(risk_factor(0, 0.3), 0.85);
  EXPECT_DOUBLE_EQ(risk_factor(1, 1), 0.25);
  EXPECT_DOUBLE_EQ(risk_factor(0, 7), 0.5) << "never less";
  Load load;
  load.in_flight_max = 200;
  EXPECT_DOUBLE_EQ(headroom_factor(load), 1.0);
  load.in_flight = 150;
  EXPECT_DOUBLE_EQ(headroom_factor(load), 0.25);
}

TEST(ScoreTest, ConfidenceCountsButNotInPanic) {
  const Factors factors{.health = 0.8, .confidence = 0.5};
  EXPECT_DOUBLE_EQ(score_of(factors, {}), 0.4);
  EXPECT_DOUBLE_EQ(score_as_if_healthy(factors, {}), 0.8);
  EXPECT_DOUBLE_EQ(score_of(factors, {.confidence = 0}), 0.8);
}

TEST(ScoreTest, NothingKnownCostsNothing) {
  EXPECT_DOUBLE_EQ(health_parts({}, 0).least(), 1.0);
  EXPECT_STREQ(health_parts({}, 0).tightest(), "");
  EXPECT_DOUBLE_EQ(headroom_factor({}), 1.0);
}

TEST(ScoreTest, HeadroomIsTheLeastShareLeft) {
  Load load;
  load.site_capacity_rps = 1000;
  load.site_rps = 250;
  EXPECT_DOUBLE_EQ(headroom_factor(load), 0.75);
  load.endpoint_capacity_rps = 100;
  load.endpoint_rps = 90;
  EXPECT_NEAR(headroom_factor(load), 0.1, 1e-12);
  load.endpoint_rps = 500;
  EXPECT_DOUBLE_EQ(headroom_factor(load), factor_floor);
  Load link;
  link.link_bps = 1e9;
  link.receive_bps = 1e8;
  link.transmit_bps = 6e8;
  EXPECT_DOUBLE_EQ(headroom_factor(link), 0.4);
}

TEST(ScoreTest, EveryFactorStaysInRangeForEveryInput) {
  std::mt19937_64 generator(7);
  std::uniform_real_distribution<float> any(-1, 3);
  for (int round = 0; round < 10'000; ++round) {
    SiteMetrics metrics;
    metrics.cpu_ratio = any(generator);
    metrics.memory_ratio = any(generator);
    metrics.cpu_pressure_ratio = any(generator);
    metrics.memory_pressure_ratio = any(generator);
    metrics.responder_rtt_us = any(generator) * 1e6F;
    Load load{any(generator), any(generator), any(generator), any(generator),
              any(generator), any(generator), any(generator)};
    for (const double value :
         {health_parts(metrics, any(generator)).least(), headroom_factor(load),
          condition_factor(true, true, any(generator)), risk_factor(any(generator)),
          proximity_factor(any(generator) * 1000)}) {
      ASSERT_GE(value, 0.0);
      ASSERT_LE(value, 1.0);
    }
  }
}

TEST(ScoreTest, ExponentsWeighAndZeroSwitchesOff) {
  const Factors factors{.proximity = 0.5,
                        .health = 0.8,
                        .headroom = 0.9,
                        .condition = 0.5,
                        .version = 0.7,
                        .risk = 0.6};
  config::ScoreConfig exponents;
  EXPECT_DOUBLE_EQ(score_of(factors, exponents), 0.5 * (0.8 * 0.9 * 0.7 * 0.5 * 0.6));
  exponents.condition = 0;
  exponents.proximity = 2;
  EXPECT_NEAR(score_of(factors, exponents), 0.25 * 0.8 * 0.9 * 0.7 * 0.6, 1e-12);
  EXPECT_DOUBLE_EQ(score_as_if_healthy(factors, {}), 0.8 * 0.9 * 0.7);
}

// ---- order ----

TEST(OrderTest, TheHighestScoreComesFirstAndTiesKeepTheirPlace) {
  const std::vector<std::uint16_t> members{0, 1, 2, 3};
  const std::vector<double> scores{0.5, 0.9, 0.5, 0.7};
  EXPECT_EQ(steady_order(members, scores, {}), (std::vector<std::uint16_t>{1, 3, 0, 2}));
}

TEST(OrderTest, SmallChangesKeepTheOrderAndLargeOnesDoNot) {
  const std::vector<std::uint16_t> members{0, 1};
  const std::vector<std::uint16_t> former{0, 1};
  EXPECT_EQ(steady_order(members, std::vector{0.50, 0.549}, former), former);
  EXPECT_EQ(steady_order(members, std::vector{0.50, 0.551}, former),
            (std::vector<std::uint16_t>{1, 0}));
}

TEST(OrderTest, ManySmallStepsCannotHideALargeOne) {
  const std::vector<std::uint16_t> members{0, 1, 2};
  const std::vector<std::uint16_t> former{0, 1, 2};
  EXPECT_EQ(steady_order(members, std::vector{1.0, 1.09, 1.18}, former),
            (std::vector<std::uint16_t>{2, 1, 0}));
}

TEST(OrderTest, MembersComeAndGoWithoutMovingTheOthers) {
  const std::vector<double> scores{1.0, 1.05, 0.4, 0.8};
  const std::vector<std::uint16_t> former{0, 1, 2};
  EXPECT_EQ(steady_order(std::vector<std::uint16_t>{0, 1, 2, 3}, scores, former),
            (std::vector<std::uint16_t>{0, 1, 3, 2}));
  EXPECT_EQ(steady_order(std::vector<std::uint16_t>{1, 2}, scores, former),
            (std::vector<std::uint16_t>{1, 2}));
}

// Pools of every size take one of three ways to sort; each must give what the plainest gives.
TEST(OrderTest, EverySizeIsSortedAlike) {
  std::mt19937_64 random(11);
  for (std::size_t size = 1; size <= 48; ++size) {
    for (int turn = 0; turn < 50; ++turn) {
      std::vector<std::uint16_t> members(size);
      std::iota(members.begin(), members.end(), std::uint16_t{3});
      std::vector<double> scores(size + 3);
      for (auto& score : scores) score = static_cast<double>(random() % 8) / 8;  // ties, and zero
      auto wanted = members;
      std::ranges::stable_sort(wanted, [&](auto a, auto b) { return scores[a] > scores[b]; });
      EXPECT_EQ(steady_order(members, scores, {}), wanted) << size << " members, turn " << turn;
    }
  }
}

// ---- dealing ----

std::vector<Hand> hands_of(std::initializer_list<double> weights) {
  std::vector<Hand> hands;
  for (const double weight : weights) {
    hands.push_back({dealing_key("api", "endpoint" + std::to_string(hands.size())), weight});
  }
  return hands;
}

std::vector<std::uint16_t> owners_of(unsigned slots, const std::vector<Hand>& hands) {
  std::vector<std::uint16_t> owners;
  for (const auto& order : deal(slots, hands)) owners.push_back(order.front());
  return owners;
}

unsigned moved(const std::vector<std::uint16_t>& a, const std::vector<std::uint16_t>& b) {
  unsigned count = 0;
  for (std::size_t i = 0; i < a.size(); ++i) count += a[i] != b[i];
  return count;
}

TEST(DealTest, SharesFollowTheWeightsToOneSlot) {
  for (const unsigned slots : {1U, 8U, 64U, 1024U}) {
    const auto hands = hands_of({5, 3, 2, 0});
    const auto owners = owners_of(slots, hands);
    const double weights[] = {0.5, 0.3, 0.2, 0.0};
    for (std::uint16_t hand = 0; hand < 4; ++hand) {
      const auto got = static_cast<double>(std::ranges::count(owners, hand));
      EXPECT_LE(std::abs(got - weights[hand] * slots), 1.0) << slots << " slots, hand " << hand;
    }
    EXPECT_EQ(std::ranges::count(owners, 3), 0) << "weight 0 owns nothing";
  }
}

TEST(DealTest, EverySlotOrdersAllHandsOnce) {
  const auto hands = hands_of({5, 3, 2, 1});
  for (auto order : deal(64, hands)) {
    std::ranges::sort(order);
    EXPECT_EQ(order, (std::vector<std::uint16_t>{0, 1, 2, 3}));
  }
  EXPECT_TRUE(deal(64, {}).empty());
}

TEST(DealTest, WeightsOfZeroAreEqualAmongThemselves) {
  const auto owners = owners_of(64, hands_of({0, 0}));
  EXPECT_EQ(std::ranges::count(owners, 0), 32);
}

// The least that any dealing must move: what the shares themselves lose.
unsigned must_move(unsigned slots, const std::vector<Hand>& before,
                   const std::vector<Hand>& after) {
  const auto a = quotas(slots, before);
  const auto b = quotas(slots, after);
  unsigned lost = 0;
  for (std::size_t i = 0; i < a.size(); ++i) lost += a[i] > b[i] ? a[i] - b[i] : 0;
  return lost;
}

TEST(DealTest, AWeightChangeMovesFewMoreClientsThanItMust) {
  constexpr unsigned slots = 1024;
  double worst = 0;
  for (const double weight : {0.0, 0.5, 2.0, 4.0}) {
    const auto before = hands_of({1, 1, 1, 1, 1});
    const auto after = hands_of({1, 1, weight, 1, 1});
    const auto least = must_move(slots, before, after);
    const auto did = moved(owners_of(slots, before), owners_of(slots, after));
    worst = std::max(worst, static_cast<double>(did) / least);
    EXPECT_GE(did, least);
    EXPECT_LE(did, least * 2) << "weight " << weight;
  }
  RecordProperty("worst_moved_over_must_move", std::to_string(worst));
}

TEST(DealTest, AnEndpointThatGoesMovesMostlyItsOwnClients) {
  const auto before = hands_of({1, 1, 1, 1});
  auto after = before;
  after.pop_back();
  const auto a = owners_of(256, before);
  const auto b = owners_of(256, after);
  unsigned of_others = 0;
  for (std::size_t slot = 0; slot < a.size(); ++slot)
    of_others += a[slot] != 3 && a[slot] != b[slot];
  EXPECT_LE(of_others, 64U) << "of 192 clients of others";
}

// ---- membership ----

using config::FailMode;
using config::Policy;

struct MembershipCase {
  const char* name;
  std::vector<Candidate> candidates;
  Policy policy;
  double threshold;
  FailMode fail;
  std::vector<std::uint16_t> members;
  bool panic;
};

constexpr Candidate healthy{Standing::healthy, 1, 0};
constexpr Candidate failing{Standing::failing, 1, 0};
constexpr Candidate reserve{Standing::reserve, 1, 0};
constexpr Candidate barred{Standing::barred, 1, 0};
Candidate in_tier(Candidate candidate, int tier) {
  candidate.priority = tier;
  return candidate;
}

TEST(MembershipTest, EveryRuleHolds) {
  const std::vector<MembershipCase> cases = {
      {"all healthy", {healthy, healthy}, Policy::ranked, 0.5, FailMode::open, {0, 1}, false},
      {"a failing one is out",
       {healthy, failing, healthy},
       Policy::ranked,
       0.5,
       FailMode::open,
       {0, 2},
       false},
      {"exactly half is no panic",
       {healthy, failing},
       Policy::ranked,
       0.5,
       FailMode::open,
       {0},
       false},
      {"below half: all",
       {healthy, failing, failing},
       Policy::ranked,
       0.5,
       FailMode::open,
       {0, 1, 2},
       true},
      {"threshold 0: healthy ones only",
       {healthy, failing, failing},
       Policy::ranked,
       0,
       FailMode::open,
       {0},
       false},
      {"threshold 0 and none healthy: never empty",
       {failing, failing},
       Policy::ranked,
       0,
       FailMode::open,
       {0, 1},
       true},
      {"closed: healthy ones only",
       {healthy, failing, failing},
       Policy::ranked,
       0.5,
       FailMode::closed,
       {0},
       true},
      {"closed and none: empty, as it says",
       {failing},
       Policy::ranked,
       0.5,
       FailMode::closed,
       {},
       true},
      {"draining is out while others are there",
       {healthy, reserve},
       Policy::ranked,
       0.5,
       FailMode::open,
       {0},
       false},
      {"draining is no failure",
       {healthy, reserve, reserve, reserve},
       Policy::ranked,
       0.5,
       FailMode::open,
       {0},
       false},
      {"draining alone is used",
       {reserve, barred},
       Policy::ranked,
       0.5,
       FailMode::open,
       {0},
       false},
      {"a healthy drain beats failing ones",
       {failing, reserve},
       Policy::ranked,
       0.5,
       FailMode::open,
       {1},
       true},
      {"barred only when there is nothing else",
       {barred, barred},
       Policy::ranked,
       0.5,
       FailMode::open,
       {0, 1},
       true},
      {"barred is not called in panic",
       {barred, failing},
       Policy::ranked,
       0.5,
       FailMode::open,
       {1},
       true},
      {"failover: first tier",
       {in_tier(healthy, 1), in_tier(healthy, 0)},
       Policy::failover,
       0.5,
       FailMode::open,
       {1},
       false},
      {"failover: second tier",
       {in_tier(healthy, 1), in_tier(failing, 0)},
       Policy::failover,
       0.5,
       FailMode::open,
       {0},
       false},
      {"failover: to the last",
       {in_tier(failing, 0), in_tier(failing, 1), in_tier(healthy, 2)},
       Policy::failover,
       0.5,
       FailMode::open,
       {2},
       false},
      {"failover: a tier below its threshold is passed over",
       {in_tier(healthy, 0), in_tier(failing, 0), in_tier(failing, 0), in_tier(healthy, 1)},
       Policy::failover,
       0.5,
       FailMode::open,
       {3},
       false},
      {"failover: none passes, the first with anyone",
       {in_tier(failing, 0), in_tier(healthy, 1), in_tier(failing, 1), in_tier(failing, 1)},
       Policy::failover,
       0.5,
       FailMode::open,
       {1, 2, 3},
       true},
      {"failover: all dead, the first tier",
       {in_tier(failing, 3), in_tier(failing, 1)},
       Policy::failover,
       0.5,
       FailMode::open,
       {1},
       true},
  };
  for (const auto& c : cases) {
    const auto got = membership_of(c.candidates, c.policy, c.threshold, c.fail);
    EXPECT_EQ(got.members, c.members) << c.name;
    EXPECT_EQ(got.panic, c.panic) << c.name;
  }
}

TEST(MembershipTest, WeightsCountForThePanicThreshold) {
  std::vector<Candidate> candidates{healthy, failing};
  candidates[0].weight = 9;
  EXPECT_FALSE(membership_of(candidates, Policy::weighted, 0.5, FailMode::open).panic);
  candidates[1].weight = 90;
  EXPECT_TRUE(membership_of(candidates, Policy::weighted, 0.5, FailMode::open).panic);
}

TEST(MembershipTest, RedirectionKeepsAnswersOfItsOwnForWhenThereIsNobodyToAsk) {
  const auto got = membership_of(std::vector{failing, failing}, Policy::ranked, 0.5, FailMode::to);
  EXPECT_TRUE(got.redirected);
  EXPECT_EQ(got.members.size(), 2U);
}

// ---- TTL ----

TEST(VolatilityTest, ChangesHalveTheTtlAndCalmGivesItBack) {
  Volatility volatility(seconds(5), seconds(60));
  Instant now{seconds(1000).ns};
  EXPECT_EQ(volatility.ttl_s(false), 60U);
  EXPECT_EQ(volatility.ttl_s(true), 5U) << "in doubt";
  volatility.changed(now);
  EXPECT_EQ(volatility.ttl_s(false), 30U);
  volatility.changed(now + milliseconds(500));
  EXPECT_EQ(volatility.ttl_s(false), 30U) << "one step a second";
  for (int i = 1; i < 10; ++i) volatility.changed(now = now + seconds(2));
  EXPECT_EQ(volatility.ttl_s(false), 5U);
  const auto levels = volatility.level();
  for (unsigned step = 0; step < levels; ++step) {
    ASSERT_EQ(volatility.next_deadline(), now + volatility.calm());
    now = volatility.next_deadline();
    EXPECT_TRUE(volatility.tick(now) || volatility.ttl_s(false) == 5);
  }
  EXPECT_EQ(volatility.ttl_s(false), 60U);
  EXPECT_EQ(volatility.next_deadline().ns, std::numeric_limits<std::int64_t>::max());
}

TEST(VolatilityTest, EqualBoundsAreAFixedTtl) {
  Volatility volatility(seconds(30), seconds(30));
  volatility.changed(Instant{seconds(10).ns});
  EXPECT_EQ(volatility.ttl_s(false), 30U);
  EXPECT_EQ(volatility.level(), 0U);
}

// ---- pools ----

TEST(PoolTest, TheListDependsOnWhatIsConfiguredNotOnItsOrder) {
  config::Config config;
  config::EndpointConfig both;
  both.addresses = {*IpAddress::parse("192.0.2.1"), *IpAddress::parse("2001:db8::1")};
  config::EndpointConfig v4;
  v4.addresses = {*IpAddress::parse("192.0.2.2")};
  for (const char* id : {"web", "api"}) {
    config::ServiceConfig service;
    service.id = id;
    service.endpoints = {id == std::string("web") ? both : v4};
    config.services.push_back(service);
  }
  const auto pools = pools_of(config);
  std::swap(config.services[0], config.services[1]);
  EXPECT_EQ(pools_of(config), pools);
  ASSERT_EQ(pools.size(), 3U);
  EXPECT_EQ(pools[0].name(), "api/A");
  EXPECT_EQ(pools[2].name(), "web/AAAA");
  EXPECT_EQ(find_pool(pools, "web", dns::Type::aaaa), 2U);
  EXPECT_EQ(find_pool(pools, "api", dns::Type::aaaa), std::nullopt);
  EXPECT_NE(pools_digest(pools), pools_digest(std::span(pools).first(2)));
}

}  // namespace
}  // namespace pharos::controlplane
