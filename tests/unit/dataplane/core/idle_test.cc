#include "pharos/dataplane/core/idle.hh"

#include <gtest/gtest.h>

namespace pharos::dataplane {
namespace {

constexpr IdleLimits limits{.spin_cycles = 1000, .sleep_min_us = 5, .sleep_max_us = 50};

TEST(IdleGovernorTest, NeverSleepsWhileFramesCome) {
  IdleGovernor governor(limits);
  for (std::uint64_t now = 0; now < 1'000'000; now += 700)
    EXPECT_EQ(governor.after_turn(true, now), 0U);
}

TEST(IdleGovernorTest, SpinsFirstThenSleepsTwiceAsLongEachTimeUpToTheLimit) {
  IdleGovernor governor(limits);
  EXPECT_EQ(governor.after_turn(true, 100), 0U);
  EXPECT_EQ(governor.after_turn(false, 200), 0U);  // the queue is empty from here on
  EXPECT_EQ(governor.after_turn(false, 1199), 0U);
  EXPECT_EQ(governor.after_turn(false, 1200), 5U);
  EXPECT_EQ(governor.after_turn(false, 2000), 10U);
  EXPECT_EQ(governor.after_turn(false, 3000), 20U);
  EXPECT_EQ(governor.after_turn(false, 4000), 40U);
  EXPECT_EQ(governor.after_turn(false, 5000), 50U);
  EXPECT_EQ(governor.after_turn(false, 6000), 50U);
}

TEST(IdleGovernorTest, OneFrameStartsItAllOver) {
  IdleGovernor governor(limits);
  for (std::uint64_t now = 0; now < 10'000; now += 1000) (void)governor.after_turn(false, now);
  EXPECT_EQ(governor.after_turn(true, 10'000), 0U);
  EXPECT_EQ(governor.after_turn(false, 10'100), 0U);
  EXPECT_EQ(governor.after_turn(false, 11'099), 0U);
  EXPECT_EQ(governor.after_turn(false, 11'100), 5U);
}

}  // namespace
}  // namespace pharos::dataplane
