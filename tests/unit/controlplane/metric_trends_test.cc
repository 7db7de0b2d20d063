// Metrics over beacons: means, variance, what beacons leave out, and the steps of restlessness.
#include "pharos/controlplane/health/metric_trends.hh"

#include <gtest/gtest.h>

#include <cmath>
#include <initializer_list>
#include <random>
#include <utility>

namespace pharos::controlplane {
namespace {

constexpr Instant start{1'000'000'000'000};
constexpr Duration interval = milliseconds(200);
constexpr Duration life = seconds(10);

class Metrics {
 public:
  using Value = std::pair<std::optional<float> SiteMetrics::*, float>;
  void hear(std::initializer_list<Value> values) {
    SiteMetrics sample;
    for (const auto& [metric, value] : values) sample.*metric = value;
    trends.hear(sample, smoothing, life, now, means);
    now = now + interval;
  }
  void hear_cpu(float ratio) { hear({{&SiteMetrics::cpu_ratio, ratio}}); }
  [[nodiscard]] double restless(const MetricLimits& limits = {}) const {
    return restlessness(means, trends, limits);
  }
  MetricTrends trends;
  SiteMetrics means;
  Instant now = start;
  double smoothing = 0.5;
};

TEST(MetricTrendsTest, MeansFollowSamplesByTheShareThatIsConfigured) {
  for (const double smoothing : {0.1, 0.5, 1.0}) {
    Metrics metrics;
    metrics.smoothing = smoothing;
    metrics.hear_cpu(0.2F);
    EXPECT_FLOAT_EQ(*metrics.means.cpu_ratio, 0.2F) << "the first is believed at once";
    metrics.hear_cpu(0.6F);
    EXPECT_NEAR(*metrics.means.cpu_ratio, 0.2 + smoothing * 0.4, 1e-6);
    for (int i = 0; i < 200; ++i) metrics.hear_cpu(0.6F);
    EXPECT_NEAR(*metrics.means.cpu_ratio, 0.6, 1e-4);
  }
}

TEST(MetricTrendsTest, TheDeviationIsThatOfTheSamples) {
  std::mt19937_64 generator(3);
  std::normal_distribution<double> noise(0.5, 0.08);
  Metrics metrics;
  metrics.smoothing = 0.05;  // a mean that hardly moves: the surprise is the noise itself
  double sum = 0;
  for (int i = 0; i < 4000; ++i) {
    metrics.hear_cpu(static_cast<float>(noise(generator)));
    if (i >= 1000) sum += metrics.trends.deviation(&SiteMetrics::cpu_ratio);
  }
  EXPECT_NEAR(sum / 3000, 0.08, 0.01);
  EXPECT_EQ(metrics.trends.deviation(&SiteMetrics::memory_ratio), 0);
}

TEST(MetricTrendsTest, AStepIsForgottenByHalvesOverTwentyTwoBeacons) {
  Metrics metrics;
  for (int i = 0; i < 50; ++i) metrics.hear_cpu(0.1F);
  EXPECT_LT(metrics.restless(), 1e-3);
  metrics.hear_cpu(0.7F);
  EXPECT_NEAR(metrics.restless(), 0.15, 0.001) << "a quarter of the step";
  for (int i = 0; i < 5; ++i) metrics.hear_cpu(0.7F);  // until the mean has settled
  const double before = metrics.restless();
  for (int i = 0; i < 22; ++i) metrics.hear_cpu(0.7F);
  EXPECT_NEAR(metrics.restless(), before / 2, 0.01);
}

TEST(MetricTrendsTest, AMetricThatBeaconsLeaveOutIsBelievedForItsLife) {
  Metrics metrics;
  metrics.hear({{&SiteMetrics::cpu_ratio, 0.9F}, {&SiteMetrics::responder_rtt_us, 800.0F}});
  const Instant last = metrics.now - interval;
  while (metrics.now - last <= life) {
    metrics.hear({{&SiteMetrics::responder_rtt_us, 900.0F}});
    ASSERT_EQ(metrics.means.cpu_ratio, 0.9F);
  }
  metrics.hear({{&SiteMetrics::responder_rtt_us, 900.0F}});
  EXPECT_FALSE(metrics.means.cpu_ratio);
  EXPECT_TRUE(metrics.means.responder_rtt_us);
  metrics.hear_cpu(0.1F);
  EXPECT_EQ(metrics.means.cpu_ratio, 0.1F) << "and begins anew";
}

TEST(MetricTrendsTest, TheLinkIsNoMeasurementAndTakesItsValueAtOnce) {
  Metrics metrics;
  metrics.hear({{&SiteMetrics::link_bps, 1e9F}});
  metrics.hear({{&SiteMetrics::link_bps, 1e10F}});
  EXPECT_EQ(metrics.means.link_bps, 1e10F);
}

TEST(MetricTrendsTest, SwingsCountAgainstTheirLimitAndWithoutOneNotAtAll) {
  Metrics metrics;
  for (int i = 0; i < 100; ++i) {
    metrics.hear({{&SiteMetrics::transmit_bps, i % 2 == 0 ? 2e8F : 8e8F},
                  {&SiteMetrics::requests_rps, i % 2 == 0 ? 200.0F : 600.0F},
                  {&SiteMetrics::requests_in_flight, i % 2 == 0 ? 1.0F : 9.0F}});
  }
  EXPECT_EQ(metrics.restless(), 0);
  const double requests = metrics.trends.deviation(&SiteMetrics::requests_rps);
  EXPECT_GT(requests, 200);
  EXPECT_NEAR(metrics.restless({.requests_rps = 10'000, .in_flight = {}}), requests / 10'000, 1e-9);
  EXPECT_NEAR(metrics.restless({.requests_rps = {}, .in_flight = 100}),
              metrics.trends.deviation(&SiteMetrics::requests_in_flight) / 100, 1e-9);
  EXPECT_EQ(metrics.restless({.requests_rps = 1, .in_flight = {}}), 1) << "never more than 1";
  metrics.hear({{&SiteMetrics::link_bps, 1e9F}});
  EXPECT_GT(metrics.restless(), 0.2);
}

TEST(MetricTrendsTest, JitterOfAShortPathIsNoUnrest) {
  std::mt19937_64 generator(5);
  std::uniform_real_distribution<float> rtt_us(300, 3'000);
  Metrics metrics;
  for (int i = 0; i < 500; ++i) metrics.hear({{&SiteMetrics::responder_rtt_us, rtt_us(generator)}});
  EXPECT_LT(metrics.restless(), 0.05);
  for (int i = 0; i < 100; ++i)
    metrics.hear({{&SiteMetrics::responder_rtt_us, i % 2 == 0 ? 1'000.0F : 200'000.0F}});
  EXPECT_GT(metrics.restless(), 0.5);
}

TEST(MetricTrendsTest, LevelsAreEnteredAtTheirFootAndLeftAThirdOfAStepBelow) {
  EXPECT_EQ(restless_level(0.149, 0), 0U);
  EXPECT_EQ(restless_level(0.15, 0), 1U);
  EXPECT_EQ(restless_level(0.101, 1), 1U);
  EXPECT_EQ(restless_level(0.099, 1), 0U);
  EXPECT_EQ(restless_level(1.0, 0), 6U);
  EXPECT_EQ(restless_level(0.0, 6), 0U);
  EXPECT_EQ(restless_level(0.28, 1), 1U);
  EXPECT_EQ(restless_level(0.28, 2), 2U) << "between two marks it stays what it was";
}

}  // namespace
}  // namespace pharos::controlplane
