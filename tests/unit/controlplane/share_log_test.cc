#include "pharos/controlplane/engine/share_log.hh"

#include <gtest/gtest.h>

namespace pharos::controlplane {
namespace {

TEST(ShareLogTest, KeepsTheNewestSamplesInTheirOrder) {
  ShareLog log;
  Instant now{1'000'000'000'000};
  EXPECT_TRUE(log.due(now));
  for (std::size_t i = 0; i <= ShareLog::samples_max; ++i) {
    log.add(now, {{"fra", static_cast<double>(i)}});
    EXPECT_FALSE(log.due(now + ShareLog::interval - milliseconds(1)));
    now = now + ShareLog::interval;
    EXPECT_TRUE(log.due(now));
  }
  const auto samples = log.samples();
  ASSERT_EQ(samples.size(), ShareLog::samples_max);
  EXPECT_EQ(samples.front().shares.at("fra"), 1) << "the oldest is gone";
  EXPECT_EQ(samples.back().shares.at("fra"), static_cast<double>(ShareLog::samples_max));
}

TEST(ShareLogTest, SumsWhatTheSmallestSitesHave) {
  SiteShares many;
  for (unsigned i = 0; i < 2 * ShareLog::sites_max; ++i)
    many.emplace("s" + std::to_string(i), i == 7 ? 0.5 : 0.5 / (2 * ShareLog::sites_max - 1));
  ShareLog log;
  log.add({}, many);
  const auto kept = log.samples().front().shares;
  EXPECT_EQ(kept.size(), ShareLog::sites_max + 1);
  EXPECT_EQ(kept.at("s7"), 0.5);
  EXPECT_NEAR(kept.at("others"), 0.5 * ShareLog::sites_max / (2 * ShareLog::sites_max - 1), 1e-9);
  double sum = 0;
  for (const auto& [site, share] : kept) sum += share;
  EXPECT_NEAR(sum, 1, 1e-9);
  log.add({}, {{"fra", 0.25}, {"sin", 0.75}});
  EXPECT_EQ(log.samples().back().shares.size(), 2U) << "few are kept as they are";
}

}  // namespace
}  // namespace pharos::controlplane
