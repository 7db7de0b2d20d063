// Site health in simulated time: death, jitter, flapping, mass silence, our own absence.
#include "pharos/controlplane/health/health_board.hh"

#include <gtest/gtest.h>

#include <algorithm>

#include "health_world.hh"

namespace pharos::controlplane {
namespace {

using namespace health_world;

TEST(HealthBoardTest, ADeadSiteIsDownWithinThreeIntervalsAndFiftyMilliseconds) {
  for (const std::int64_t jitter_ms : {0, 5, 20, 60}) {
    World world(2);
    world.jitter = milliseconds(jitter_ms);
    world.run_for(seconds(20));
    ASSERT_EQ(world.state(0), SiteState::up);
    const Instant killed = world.now;
    world.kill(0);
    world.run_until(killed + interval * 3 + milliseconds(50) + interval / 10);
    EXPECT_EQ(world.state(0), SiteState::down) << "jitter " << jitter_ms;
    EXPECT_EQ(world.state(1), SiteState::up);
    EXPECT_GE(world.board.site(0).since - world.board.site(0).rhythm.last(), interval * 2)
        << "not too early";
  }
}

TEST(HealthBoardTest, SilenceMakesSuspectFirstAndABeaconMakesGood) {
  World world(2);
  world.report.copies = 2;
  world.run_for(seconds(10));
  world.kill(0);
  const Instant last = world.board.site(0).rhythm.last();
  world.run_until(last + milliseconds(490));
  EXPECT_EQ(world.state(0), SiteState::up) << "the copies of the second are on their way";
  world.run_until(last + milliseconds(510));
  EXPECT_EQ(world.state(0), SiteState::suspect);
  EXPECT_TRUE(world.board.site(0).usable());
  world.revive(0);
  world.run_for(milliseconds(2));
  EXPECT_EQ(world.state(0), SiteState::up);
  EXPECT_EQ(world.falls, 0U);
}

TEST(HealthBoardTest, TwoLostBeaconsInARowAreNoDeath) {
  World world(2);
  world.run_for(seconds(10));
  world.next_beacon[0] = world.next_beacon[0] + interval * 2;
  world.run_for(seconds(2));
  EXPECT_EQ(world.state(0), SiteState::up);
  EXPECT_EQ(world.falls, 0U);
}

TEST(HealthBoardTest, LossDoesNotSlowTheMeasuredRhythm) {
  World world(2);
  world.loss = 0.1;
  world.run_for(seconds(60));
  const auto measured = world.board.site(0).rhythm.interval();
  EXPECT_NEAR(measured.seconds(), interval.seconds(), 0.01);
}

// What people are told is what happens, however many beacons get lost.
TEST(HealthBoardTest, TellsHowLongASiteMayBeSilent) {
  for (const double loss : {0.0, 0.2}) {
    World world(2);
    world.loss = loss;
    world.run_for(seconds(120));
    if (world.state(0) != SiteState::up) world.loss = 0, world.run_for(seconds(30));
    ASSERT_EQ(world.state(0), SiteState::up);
    const Duration told = world.board.down_silence(0);
    EXPECT_GT(told, interval * (loss > 0 ? 4 : 3)) << "more are lost: it takes more silence";
    world.kill(0);
    const Instant last = world.board.site(0).rhythm.last();
    world.run_until(last + told + seconds(1));
    ASSERT_EQ(world.state(0), SiteState::down);
    EXPECT_EQ(world.board.site(0).since, last + told);
  }
}

TEST(HealthBoardTest, JitterOfATenthOfTheIntervalCausesNoFallInAnHour) {
  World world(3);
  world.jitter = interval / 10;
  world.loss = 0.001;
  world.run_for(seconds(3600));
  EXPECT_LE(world.falls, 1U);  // three in a row of one in a thousand: once in 15 years
  for (unsigned s = 0; s < 3; ++s) EXPECT_EQ(world.state(s), SiteState::up);
}

TEST(HealthBoardTest, LeavingIsDownAtOnceAndNoFlap) {
  World world(2);
  world.run_for(seconds(5));
  std::vector<std::uint32_t> changed;
  auto goodbye = world.report;
  goodbye.leaving = true;
  world.board.heard(0, goodbye, world.now, changed);
  EXPECT_EQ(world.state(0), SiteState::down);
  EXPECT_TRUE(world.board.site(0).leaving);
  EXPECT_EQ(flaps_at(world.board.site(0), world.now), 0);
  EXPECT_EQ(changed, std::vector<std::uint32_t>{0});
}

TEST(HealthBoardTest, ASiteRisesOnlyAfterItsTimeAndItsBeacons) {
  config::HealthConfig config;
  config.rise = seconds(1);
  config.rise_beacons = 3;
  World world(2, config);
  world.run_for(seconds(5));
  world.kill(0);
  world.run_for(seconds(2));
  ASSERT_EQ(world.state(0), SiteState::down);
  const Instant back = world.now;
  world.revive(0);
  world.run_until(back + milliseconds(990));
  EXPECT_EQ(world.state(0), SiteState::down);
  world.run_until(back + milliseconds(1250));
  EXPECT_EQ(world.state(0), SiteState::up);
}

TEST(HealthBoardTest, AGapWhileRisingStartsTheRiseAnew) {
  config::HealthConfig config;
  config.rise = seconds(1);
  World world(2, config);
  world.run_for(seconds(5));
  world.kill(0);
  world.run_for(seconds(2));
  world.revive(0);
  world.run_for(milliseconds(900));
  world.kill(0);
  world.run_for(seconds(1));
  const Instant again = world.now;
  world.revive(0);
  world.run_until(again + milliseconds(990));
  EXPECT_EQ(world.state(0), SiteState::down);
  world.run_until(again + milliseconds(1250));
  EXPECT_EQ(world.state(0), SiteState::up);
}

TEST(HealthBoardTest, FlapsAddUpAndAreForgottenByHalves) {
  World world(3);
  for (int fall = 0; fall < 3; ++fall) {
    world.run_for(seconds(5));
    world.kill(0);
    world.run_for(seconds(2));
    world.revive(0);
  }
  world.run_for(seconds(8));
  ASSERT_EQ(world.state(0), SiteState::up);
  const double flaps = flaps_at(world.board.site(0), world.now);
  EXPECT_GT(flaps, 2.5);
  EXPECT_NEAR(flaps_at(world.board.site(0), world.now + flap_half_life), flaps / 2, 1e-9);
  EXPECT_EQ(flaps_at(world.board.site(0), world.now + flap_half_life * 20), 0);
}

TEST(HealthBoardTest, MassSilenceTakesNoSiteDownAndEndsWithTheSilence) {
  for (const unsigned dead : {3U, 4U, 5U}) {
    World world(5);
    world.run_for(seconds(10));
    for (unsigned s = 0; s < dead; ++s) world.kill(s);
    world.run_for(seconds(30));
    EXPECT_TRUE(world.board.suspects_itself()) << dead;
    EXPECT_EQ(world.falls, 0U) << dead;
    // All but one come back: the one that stays away is judged alone, and then is down.
    for (unsigned s = 1; s < dead; ++s) world.revive(s);
    world.run_for(seconds(2));
    EXPECT_FALSE(world.board.suspects_itself());
    EXPECT_EQ(world.state(0), SiteState::down);
    for (unsigned s = 1; s < 5; ++s) EXPECT_EQ(world.state(s), SiteState::up) << s;
  }
}

TEST(HealthBoardTest, FewerThanTheShareOrThanThreeSitesAreJudgedOneByOne) {
  World five(5);
  five.run_for(seconds(10));
  five.kill(0);
  five.kill(1);
  five.run_for(seconds(2));
  EXPECT_FALSE(five.board.suspects_itself());
  EXPECT_EQ(five.falls, 2U);
  World two(2);
  two.run_for(seconds(10));
  two.kill(0);
  two.kill(1);
  two.run_for(seconds(2));
  EXPECT_EQ(two.falls, 2U);
}

TEST(HealthBoardTest, SitesThatDieOneAfterAnotherAreNoMassSilence) {
  World world(3);
  for (unsigned s = 0; s < 3; ++s) {
    world.run_for(seconds(10));
    world.kill(s);
  }
  world.run_for(seconds(10));
  EXPECT_EQ(world.falls, 3U);
}

TEST(HealthBoardTest, UnknownSitesCountAsUpUntilTheirGraceIsOver) {
  World world(3);
  world.kill(2);
  EXPECT_TRUE(world.board.site(2).usable());
  world.run_for(milliseconds(900));
  EXPECT_TRUE(world.board.site(2).usable());
  world.run_for(seconds(1));
  EXPECT_EQ(world.state(2), SiteState::down);
  EXPECT_EQ(world.state(0), SiteState::up);
}

// A datagram may have waited in the kernel while nobody read it: when it came is earlier than when we began.
TEST(HealthBoardTest, ABeaconOlderThanTheBoardTakesNobodysGrace) {
  World world(3);
  std::vector<std::uint32_t> changed;
  const Instant before = start - seconds(2);
  for (const std::uint32_t site : {0U, 1U}) world.board.heard(site, world.report, before, changed);
  changed.clear();
  world.board.tick(start + interval, changed);
  EXPECT_TRUE(changed.empty());
  for (std::uint32_t site = 0; site < 3; ++site) {
    EXPECT_NE(world.state(site), SiteState::down) << site;
  }
}

TEST(HealthBoardTest, AReceiverThatHearsNobodyTakesNobodyDown) {
  World world(3);
  for (unsigned s = 0; s < 3; ++s) world.kill(s);
  world.run_for(seconds(60));
  EXPECT_TRUE(world.board.deaf());
  for (unsigned s = 0; s < 3; ++s) EXPECT_TRUE(world.board.site(s).usable());
  EXPECT_EQ(world.board.next_deadline(), never) << "nothing to wake up for";
  world.revive(0);
  world.run_for(seconds(3));
  EXPECT_FALSE(world.board.deaf());
  EXPECT_EQ(world.state(0), SiteState::up);
  EXPECT_TRUE(world.board.suspects_itself()) << "two of three are not heard";
  EXPECT_TRUE(world.board.site(1).usable());
  world.revive(1);
  world.run_for(seconds(3));
  EXPECT_FALSE(world.board.suspects_itself());
  EXPECT_EQ(world.state(2), SiteState::down) << "most were heard, this one was not";
}

TEST(HealthBoardTest, AFlappingSiteHasToBehaveForLongerEachTime) {
  World world(3);
  unsigned rises = 0;
  for (int cycle = 0; cycle < 360; ++cycle) {  // an hour
    world.kill(0);
    world.run_for(seconds(2));
    world.revive(0);
    world.run_for(seconds(8));
    rises += world.state(0) == SiteState::up;
  }
  EXPECT_GE(rises, 2U) << "the first falls cost nothing";
  EXPECT_LE(rises, 40U);
  world.run_for(rise_max + seconds(1));
  EXPECT_EQ(world.state(0), SiteState::up) << "but it comes back in the end";
}

TEST(HealthBoardTest, ConfidenceIsLostBeforeTheSiteIs) {
  config::HealthConfig config;
  config.down_intervals = 10;
  World world(3, config);
  world.run_for(seconds(10));
  EXPECT_EQ(confidence_of(world.board.site(0)), 1);
  const Instant last = world.board.site(0).rhythm.last();
  world.kill(0);
  double before = 1;
  for (int missed = 3; missed < 10; ++missed) {
    world.run_until(last + interval * missed + interval / 4);
    EXPECT_EQ(world.state(0), SiteState::suspect) << missed;
    EXPECT_LT(confidence_of(world.board.site(0)), before) << missed;
    EXPECT_NEAR(confidence_of(world.board.site(0)), std::pow(doubt_step, missed - 2), 1e-9);
    before = confidence_of(world.board.site(0));
  }
  EXPECT_EQ(confidence_of(world.board.site(1)), 1);
  world.revive(0);
  world.run_for(milliseconds(2));
  EXPECT_EQ(confidence_of(world.board.site(0)), 1) << "one beacon brings it back";
  world.kill(0);
  world.run_for(seconds(5));
  EXPECT_EQ(world.state(0), SiteState::down);
  EXPECT_LT(confidence_of(world.board.site(0)), 0.75);
}

TEST(HealthBoardTest, DoubtEndsSomewhereAndThenNothingWakesUs) {
  config::HealthConfig config;
  config.down_intervals = 1000;
  World world(2, config);
  world.run_for(seconds(5));
  world.kill(0);
  world.kill(1);
  world.run_for(seconds(60));
  EXPECT_EQ(world.board.site(0).doubt, doubt_max);
  EXPECT_GT(confidence_of(world.board.site(0)), 0.3);
  EXPECT_GT(world.board.next_deadline(), world.now + seconds(60)) << "only the fall is left";
}

TEST(HealthBoardTest, MassSilenceCostsNoMoreConfidenceThanItTookToSeeIt) {
  World world(5);
  world.run_for(seconds(10));
  for (unsigned s = 0; s < 5; ++s) world.kill(s);
  world.run_for(seconds(60));
  ASSERT_TRUE(world.board.suspects_itself());
  for (unsigned s = 0; s < 5; ++s) EXPECT_GE(confidence_of(world.board.site(s)), doubt_step) << s;
}

TEST(HealthBoardTest, AReceiverThatLagsAllowsForItsLag) {
  World world(2);
  world.run_for(seconds(5));
  const Instant before = world.board.next_deadline();
  world.board.lagged(milliseconds(120), world.now);
  EXPECT_EQ(world.board.lag(), milliseconds(120));
  EXPECT_EQ(world.board.next_deadline(), before + milliseconds(120));
  world.run_for(seconds(60));
  EXPECT_EQ(world.falls, 0U);
  std::vector<std::uint32_t> changed;
  world.board.tick(world.now, changed);
  EXPECT_LT(world.board.lag(), milliseconds(2)) << "and forgets it";
}

TEST(HealthBoardTest, ASiteRestoredAsDownHasToRise) {
  HealthBoard board({});
  board.add_site(true, interval, true, start);
  EXPECT_FALSE(board.site(0).usable());
  std::vector<std::uint32_t> changed;
  board.heard(0, {}, start + milliseconds(100), changed);
  EXPECT_EQ(board.site(0).state, SiteState::down);
}

TEST(HealthBoardTest, ASiteWithoutKeysIsUpForEver) {
  HealthBoard board({});
  board.add_site(false, interval, false, start);
  std::vector<std::uint32_t> changed;
  board.tick(start + seconds(1000), changed);
  EXPECT_EQ(board.site(0).state, SiteState::up);
  EXPECT_EQ(board.next_deadline(), never);
}

TEST(HealthBoardTest, OurOwnAbsenceBlamesNobody) {
  World world(2);
  world.run_for(seconds(5));
  const Instant woken = world.now + seconds(60);  // stopped: no tick, no beacon
  world.board.excuse(woken);
  std::vector<std::uint32_t> changed;
  world.board.tick(woken, changed);
  EXPECT_NE(world.state(0), SiteState::down);
  EXPECT_GE(world.board.next_deadline(), woken + interval / 2) << "time to be heard";
  world.board.tick(woken + interval * 2, changed);
  EXPECT_EQ(world.state(0), SiteState::down) << "but not for ever";
}

TEST(HealthBoardTest, LoadDegradesAfterItsTimeAndRecoversBelowTheLowerMark) {
  config::HealthConfig config;
  config.fall = seconds(2);
  config.rise = seconds(3);
  World world(2, config);
  world.report.metrics.cpu_ratio = 0.97F;
  world.run_for(milliseconds(1900));
  EXPECT_FALSE(world.board.site(0).degraded);
  world.run_for(milliseconds(600));
  EXPECT_TRUE(world.board.site(0).degraded);
  world.report.metrics.cpu_ratio = 0.90F;  // between the marks
  world.run_for(seconds(10));
  EXPECT_TRUE(world.board.site(0).degraded);
  world.report.metrics.cpu_ratio = 0.50F;
  world.run_for(milliseconds(2800));
  EXPECT_TRUE(world.board.site(0).degraded);
  world.run_for(milliseconds(700));
  EXPECT_FALSE(world.board.site(0).degraded);
}

TEST(HealthBoardTest, WhatIsTooHighAgainAndAgainHasToStayLowForLonger) {
  Overload cpu;
  Instant now = start;
  const auto stays_high_for = [&](float ratio, bool until) {
    const auto began = now;
    while (cpu.active() != until) {
      cpu.observe(ratio, 0.9, 0.7, seconds(3), seconds(5), now);
      now = now + milliseconds(200);
    }
    return (now - began).seconds();
  };
  std::vector<double> lows;
  for (int i = 0; i < 9; ++i) {
    EXPECT_NEAR(stays_high_for(0.95F, true), 3, 0.5);
    lows.push_back(stays_high_for(0.1F, false));
  }
  EXPECT_NEAR(lows[0], 5, 0.5);
  EXPECT_NEAR(lows[1], 5, 0.5);
  EXPECT_GT(lows[3], 15);
  EXPECT_LE(lows[8], rise_max.seconds() + 1);
  now = now + unrest_half_life * 4;
  EXPECT_NEAR(stays_high_for(0.95F, true), 3, 0.5);
  EXPECT_LE(stays_high_for(0.1F, false), 6) << "forgotten";
}

TEST(HealthBoardTest, AnEndpointFallsAtOnceAndRisesSlowly) {
  config::HealthConfig config;
  config.rise = seconds(1);
  const HealthBoard board(config);
  EndpointHealth endpoint;
  EndpointReport report{.endpoint = 1, .up = false, .requests_rps = {}};
  EXPECT_TRUE(board.heard(endpoint, report, start));
  EXPECT_FALSE(endpoint.up);
  report.up = true;
  for (int beacon = 1; beacon <= 5; ++beacon) {
    EXPECT_FALSE(board.heard(endpoint, report, start + interval * beacon)) << beacon;
  }
  EXPECT_TRUE(board.heard(endpoint, report, start + interval * 6));
  EXPECT_TRUE(endpoint.up);
}

TEST(HealthBoardTest, TheSameEventsGiveTheSameStates) {
  const auto run = [] {
    World world(7);
    world.jitter = milliseconds(30);
    world.loss = 0.3;
    world.run_for(seconds(300));
    std::vector<std::int64_t> trace;
    for (unsigned s = 0; s < 7; ++s) {
      trace.push_back(world.board.site(s).since.ns);
      trace.push_back(world.board.site(s).rhythm.interval().ns);
    }
    trace.push_back(world.falls);
    return trace;
  };
  EXPECT_EQ(run(), run());
}

}  // namespace
}  // namespace pharos::controlplane
