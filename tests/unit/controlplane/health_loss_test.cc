// Site health under loss: false alarms, and how soon a death is seen, counted over many histories.
#include "pharos/controlplane/agent/agent_config.hh"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "health_world.hh"

namespace pharos::controlplane {
namespace {

using namespace health_world;

// One site, played at 1 % of loss with delays that are exponential, by what its board says behind each beacon: no run is long
// enough to count what happens once in a million times, so its chance is added up.
struct Path {
  unsigned copies = 1;
  double delay_ms = 0.2;  // in the mean
  unsigned intervals = 200'000;
};
struct Odds {
  // That all are lost that should have arrived before silence first changes anything at all (state, TTL, confidence), per interval.
  double false_alarm = 0;
  double late = 0;     // that a death at any time is not seen within three intervals
  unsigned falls = 0;  // that came about on the way
};
Odds odds_of(const Path& path) {
  constexpr double loss = 0.01;
  HealthBoard board({});
  board.add_site(true, interval, false, start);
  std::mt19937_64 generator(7);
  std::uniform_real_distribution<double> chance(0, 1);
  std::exponential_distribution<double> delay_ms(1 / path.delay_ms);
  const SiteReport report{
      .metrics = {}, .interval_ms = 200, .copies = path.copies, .endpoints = {}};
  const auto sent_at = [](std::uint64_t n) {
    return start + interval * static_cast<std::int64_t>(n);
  };
  const auto arrival_of = [&](std::uint64_t n, unsigned copy) {
    return sent_at(n) + interval * copy / (2 * path.copies) +
           Duration{static_cast<std::int64_t>(delay_ms(generator) * 1e6)};
  };
  Odds odds;
  std::uint64_t heard = 0;
  for (std::uint64_t n = 1; n <= path.intervals; ++n) {
    std::vector<std::uint32_t> changed;
    std::optional<Instant> arrives;
    for (unsigned copy = 0; copy < path.copies; ++copy) {
      if (chance(generator) >= loss)
        arrives = std::min(arrives.value_or(never), arrival_of(n, copy));
    }
    const Instant until = arrives.value_or(sent_at(n));
    while (board.next_deadline() < until) {
      board.tick(board.next_deadline(), changed);
      odds.falls += board.site(0).state == SiteState::down;
    }
    if (arrives) {
      board.heard(0, report, *arrives, changed, n - heard);
      heard = n;
    }
    if (board.site(0).state != SiteState::up) continue;
    const Instant seen = board.site(0).silence_base + board.down_silence(0);
    const Duration too_late = seen - (sent_at(n) + interval * 3);
    odds.late += std::clamp(too_late.seconds() / interval.seconds(), 0.0, 1.0);
    if (!arrives) continue;
    unsigned due = 0;
    for (unsigned copy = 0; copy < path.copies; ++copy) {
      for (unsigned later = 1; later <= 4; ++later)
        due += arrival_of(n + later, copy) <= board.next_deadline();
    }
    odds.false_alarm += std::pow(loss, due);
  }
  odds.false_alarm /= path.intervals;
  odds.late /= path.intervals;
  return odds;
}

// As agents send unless they are told otherwise: at jitter of up to a twentieth of the interval.
TEST(HealthBoardTest, ByDefaultLossChangesNothingInAMillionIntervalsAndDeathsAreSeenInThree) {
  for (const double delay_ms : {0.05, 0.2, 1.0, 10.0}) {
    const auto odds = odds_of({.copies = agent::AgentConfig{}.send_copies, .delay_ms = delay_ms});
    EXPECT_LE(odds.false_alarm, 2e-8) << delay_ms;
    EXPECT_LE(odds.late, 0.01) << delay_ms;
    EXPECT_EQ(odds.falls, 0U) << delay_ms;
  }
}

// Three in a row are lost once in a million times, and the third is due when 99 of 100 deaths are to be seen: there is room for
// no more than a thousandth of the interval of jitter.
TEST(HealthBoardTest, WithoutCopiesLossChangesNothingMoreThanOnceInAMillionIntervals) {
  for (const double delay_ms : {0.05, 0.1, 0.15}) {
    const auto odds = odds_of({.delay_ms = delay_ms});
    EXPECT_LE(odds.false_alarm, 1e-6) << delay_ms;
    EXPECT_GE(odds.false_alarm, 0.9e-6) << delay_ms << ": that is what three in a row are";
    EXPECT_LE(odds.late, 0.01) << delay_ms;
  }
}

// Where there is more jitter than that, it is time that is given, and not the site.
TEST(HealthBoardTest, JitterWithoutCopiesCostsTimeBeforeItCostsASite) {
  const auto odds = odds_of({.delay_ms = 1});
  EXPECT_LE(odds.false_alarm, 1.2e-6);
  EXPECT_GE(odds.late, 0.01);
  EXPECT_LE(odds.late, 0.06);
}

TEST(HealthBoardTest, CopiesLeaveTimeToShortenTtlsBeforeASiteIsDown) {
  for (const unsigned copies : {1U, 2U, 3U}) {
    World world(2);
    world.report.copies = copies;
    world.run_for(seconds(10));
    const Instant last = world.board.site(0).rhythm.last();
    world.kill(0);
    world.run_until(last + interval * 11 / 4);
    EXPECT_EQ(world.state(0), copies > 1 ? SiteState::suspect : SiteState::up) << copies;
    EXPECT_EQ(confidence_of(world.board.site(0)) < 1, copies > 1) << copies;
    EXPECT_EQ(world.falls, 0U);
    world.run_until(last + interval * 3 + milliseconds(2));
    EXPECT_EQ(world.state(0), SiteState::down) << copies;
  }
}

TEST(HealthBoardTest, MoreLossMeansMorePatience) {
  World world(1);
  world.loss = 0.1;
  world.run_for(interval * 200'000);
  EXPECT_LE(world.falls, 1U) << "five in a row, where three would have fallen 200 times";
}

TEST(HealthBoardTest, NinetyNineOfAHundredDeathsAreSeenWithinThreeIntervals) {
  std::mt19937_64 generator(11);
  unsigned late = 0;
  constexpr unsigned deaths = 2000;
  for (unsigned death = 0; death < deaths; ++death) {
    World world(2);
    world.jitter = Duration{};
    world.run_for(seconds(20));
    // It dies at any time between two beacons.
    world.run_for(
        Duration{static_cast<std::int64_t>(generator() % static_cast<std::uint64_t>(interval.ns))});
    const Instant killed = world.now;
    world.kill(0);
    world.run_until(killed + interval * 3);
    late += world.state(0) != SiteState::down;
  }
  EXPECT_LE(late, deaths / 100);
}

// The same with one beacon in a hundred lost on the way, before the death as well as at it: the promise is p99 all the same.
TEST(HealthBoardTest, NinetyNineOfAHundredDeathsAreSeenWithinThreeIntervalsUnderLoss) {
  unsigned late = 0, counted = 0;
  constexpr unsigned deaths = 2000;
  for (unsigned death = 0; death < deaths; ++death) {
    World world(2);
    world.generator.seed(death + 1);
    world.loss = 0.01;
    world.run_for(seconds(8));
    world.run_for(Duration{
        static_cast<std::int64_t>(world.generator() % static_cast<std::uint64_t>(interval.ns))});
    if (world.state(0) != SiteState::up) continue;  // three were lost in a row
    ++counted;
    const Instant killed = world.now;
    world.kill(0);
    world.run_until(killed + interval * 3);
    late += world.state(0) != SiteState::down;
  }
  EXPECT_GE(counted, deaths - 2);
  EXPECT_LE(late, counted / 100);
}

}  // namespace
}  // namespace pharos::controlplane
