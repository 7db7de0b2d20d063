#include "pharos/controlplane/assign/drain_meter.hh"

#include <gtest/gtest.h>

#include <map>

namespace pharos::controlplane {
namespace {

using Totals = std::map<std::uint16_t, double>;  // by locale

double total_of(const void* totals, std::uint32_t, std::uint16_t locale) {
  return static_cast<const Totals*>(totals)->at(locale);
}

constexpr Instant began{1'000'000'000'000};

Drain two_cells() {
  return {.began = began,
          .cells = {{.pool = 0, .locale = 0, .ttl_s = 60, .share = 1, .rate = 30, .total = 1000},
                    {.pool = 0, .locale = 1, .ttl_s = 60, .share = 0.5, .rate = 20, .total = 500}},
          .requests_rps = {}};
}

TEST(DrainMeterTest, CountsAnswersSinceTheBeginningByTheDemandThatWasLed) {
  const auto drain = two_cells();
  const auto moved = [&](double first, double second) {
    const Totals totals{{0, first}, {1, second}};
    return moved_share(drain, began + seconds(1), total_of, &totals);
  };
  EXPECT_EQ(moved(1000, 500), 0);
  EXPECT_NEAR(moved(1900, 500), 0.75 * 0.5, 1e-12) << "900 of 1800 resolvers of the first";
  EXPECT_NEAR(moved(1900, 1100), 0.5, 1e-12);
  EXPECT_NEAR(moved(2800, 1700), 1, 1e-12);
  EXPECT_NEAR(moved(1e9, 1e9), 1, 1e-12);
  EXPECT_EQ(moved(0, 0), 0) << "a board that began anew";
}

TEST(DrainMeterTest, WithoutDemandTimeDecides) {
  Drain drain{.began = began,
              .cells = {{.pool = 0, .locale = 0, .ttl_s = 60, .share = 1, .rate = 0, .total = 0}},
              .requests_rps = {}};
  const Totals totals{{0, 0}};
  EXPECT_EQ(moved_share(drain, began, total_of, &totals), 0);
  EXPECT_NEAR(moved_share(drain, began + seconds(15), total_of, &totals), 0.25, 1e-12);
  EXPECT_EQ(moved_share(drain, began + seconds(600), total_of, &totals), 1);
}

TEST(DrainMeterTest, WhoLedNobodyHasDrained) {
  const Totals totals{{0, 0}};
  EXPECT_EQ(
      moved_share({.began = began, .cells = {}, .requests_rps = {}}, began, total_of, &totals), 1);
  auto uncached = two_cells();
  for (auto& cell : uncached.cells) cell.ttl_s = 0;
  const Totals same{{0, 1000}, {1, 500}};
  EXPECT_EQ(moved_share(uncached, began, total_of, &same), 1);
}

}  // namespace
}  // namespace pharos::controlplane
