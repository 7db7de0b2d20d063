#include "pharos/dataplane/core/idle.hh"

#include <gtest/gtest.h>

namespace pharos::dataplane {
namespace {

constexpr IdleLimits fixed{.spin_min_cycles = 1000,
                           .spin_max_cycles = 1000,
                           .wake_cycles = 0,
                           .sleep_min_us = 5,
                           .sleep_max_us = 50};
constexpr IdleLimits learning{.spin_min_cycles = 200,
                              .spin_max_cycles = 1000,
                              .wake_cycles = 500,
                              .sleep_min_us = 5000,
                              .sleep_max_us = 5000};

// A turn of 100 cycles that ends at `now`.
std::uint32_t turn(IdleGovernor& governor, bool received, std::uint64_t now) {
  return governor.after_turn(received, now - 100, now);
}

// The queue runs empty at `now`, and the next frame is there `gap` cycles later.
void gap(IdleGovernor& governor, std::uint64_t& now, std::uint64_t cycles) {
  (void)turn(governor, false, now + 100);
  now += cycles;
  (void)turn(governor, true, now + 100);
  now += 100;
}

TEST(IdleGovernorTest, NeverSleepsWhileFramesCome) {
  for (const auto& limits : {fixed, learning}) {
    IdleGovernor governor(limits);
    for (std::uint64_t now = 100; now < 1'000'000; now += 700)
      EXPECT_EQ(turn(governor, true, now), 0U);
  }
}

TEST(IdleGovernorTest, SpinsFirstThenSleepsTwiceAsLongEachTimeUpToTheLimit) {
  IdleGovernor governor(fixed);
  EXPECT_EQ(turn(governor, true, 100), 0U);
  EXPECT_EQ(turn(governor, false, 300), 0U);  // the queue is empty from 200 on
  EXPECT_EQ(turn(governor, false, 1199), 0U);
  EXPECT_EQ(turn(governor, false, 1200), 5U);
  EXPECT_EQ(turn(governor, false, 2000), 10U);
  EXPECT_EQ(turn(governor, false, 3000), 20U);
  EXPECT_EQ(turn(governor, false, 4000), 40U);
  EXPECT_EQ(turn(governor, false, 5000), 50U);
  EXPECT_EQ(turn(governor, false, 6000), 50U);
}

TEST(IdleGovernorTest, OneFrameStartsItAllOver) {
  IdleGovernor governor(fixed);
  for (std::uint64_t now = 100; now < 10'000; now += 1000) (void)turn(governor, false, now);
  EXPECT_EQ(turn(governor, true, 10'000), 0U);
  EXPECT_EQ(turn(governor, false, 10'100), 0U);
  EXPECT_EQ(turn(governor, false, 10'999), 0U);
  EXPECT_EQ(turn(governor, false, 11'000), 5U);
}

TEST(IdleGovernorTest, SleepsAtOnceWhereGapsAreLong) {
  IdleGovernor governor(learning);
  EXPECT_EQ(governor.spin_cycles(), 1000U);
  std::uint64_t now = 1000;
  gap(governor, now, 5000);
  EXPECT_EQ(governor.spin_cycles(), 500U);
  gap(governor, now, 1501);
  EXPECT_EQ(governor.spin_cycles(), 250U);
  gap(governor, now, 5000);
  EXPECT_EQ(governor.spin_cycles(), 0U);
  EXPECT_EQ(turn(governor, false, now + 100), 5000U);
}

TEST(IdleGovernorTest, SpinsLongerWhereASpinWouldHaveCoveredTheGap) {
  IdleGovernor governor(learning);
  std::uint64_t now = 1000;
  for (int i = 0; i < 10; ++i) gap(governor, now, 5000);
  EXPECT_EQ(governor.spin_cycles(), 0U);
  for (const std::uint64_t spin : {200U, 400U, 800U, 1000U, 1000U}) {
    gap(governor, now, 1500);  // 1000, and the wake-up
    EXPECT_EQ(governor.spin_cycles(), spin);
  }
  EXPECT_EQ(turn(governor, false, now + 999), 0U);
}

TEST(IdleGovernorTest, LearnsNothingFromTheLengthOfATurnThatReceives) {
  IdleGovernor governor(learning);
  EXPECT_EQ(governor.after_turn(false, 1000, 1100), 0U);
  EXPECT_EQ(governor.after_turn(true, 1500, 90'000), 0U);  // it served for long
  EXPECT_EQ(governor.spin_cycles(), 1000U);
}

TEST(IdleGovernorTest, KeepsALengthThatIsFixed) {
  IdleGovernor governor(fixed);
  std::uint64_t now = 1000;
  for (const std::uint64_t cycles : {100'000U, 100'000U, 10U}) {
    gap(governor, now, cycles);
    EXPECT_EQ(governor.spin_cycles(), 1000U);
  }
}

}  // namespace
}  // namespace pharos::dataplane
