// Steering by the engine in simulated time: coming back, planned work, drains, and plans that shrink.
#include "pharos/controlplane/engine/shrink.hh"

#include <gtest/gtest.h>

#include "steering_driver.hh"

namespace pharos::controlplane {
namespace {

// ---- coming back ----

TEST(SteeringReturnTest, AnEndpointThatComesBackTakesItsClientsStepByStep) {
  auto config = small_config();
  config.services[2].slow_start = seconds(80);
  config.services[0].slow_start = seconds(80);
  config.controlplane.score.risk = 0;  // so that only the return counts
  Driver driver(config);
  driver.run_for(seconds(5));
  EXPECT_EQ(driver.leads(www, eu)[fra], 1) << "the start is no return";
  driver.kill(fra);
  driver.run_for(seconds(2));
  EXPECT_EQ(driver.leads(www, eu)[fra], 0);
  driver.revive(fra);
  driver.run_for(seconds(3));
  EXPECT_NEAR(driver.leads(www, eu)[fra], 1.0 / 8, 1.0 / 64);
  EXPECT_NEAR(driver.leads(api, eu)[fra], 1.0 / 17, 1.0 / 64);
  double last = driver.leads(www, eu)[fra];
  for (int i = 0; i < 8; ++i) {
    driver.run_for(seconds(10));
    const double share = driver.leads(www, eu)[fra];
    EXPECT_GE(share, last);
    EXPECT_LE(share - last, 1.0 / 8 + 1.0 / 64);
    last = share;
  }
  EXPECT_EQ(last, 1);
  EXPECT_NEAR(driver.leads(api, eu)[fra], 1.0 / 3, 1.0 / 64);
}

TEST(SteeringReturnTest, AFallOnTheWayBackBeginsAnew) {
  auto config = small_config();
  config.services[2].slow_start = seconds(80);
  config.controlplane.score.risk = 0;
  Driver driver(config);
  driver.run_for(seconds(5));
  for (int fall = 0; fall < 2; ++fall) {
    driver.fall_and_return(fra, seconds(33));
    EXPECT_NEAR(driver.leads(www, eu)[fra], 0.5, 0.2);
  }
}

TEST(SteeringReturnTest, FailbackWaitsForTheOperatorWhereItIsManual) {
  auto config = small_config();
  config.services[1].failback = config::Failback::manual;
  Driver driver(config);
  driver.run_for(seconds(5));
  driver.fall_and_return(fra, seconds(3600));
  EXPECT_EQ(driver.leads(pay, eu)[fra], 0);
  EXPECT_EQ(driver.leads(www, eu)[fra], 1) << "another service, another rule";
  const auto endpoint = *driver.engine.world().find_endpoint("pay", "fra");
  EXPECT_TRUE(driver.engine.view(endpoint, eu, driver.now).held);
  EXPECT_TRUE(driver.engine.view(endpoint, eu, driver.now).reason.contains("held until"));
  driver.engine.set_override(endpoint, config::Override::automatic, driver.now);
  driver.step();
  EXPECT_EQ(driver.leads(pay, eu)[fra], 1);
}

TEST(SteeringReturnTest, WhoIsHeldStillServesWhereNobodyElseIsLeft) {
  auto config = small_config();
  config.services[1].failback = config::Failback::manual;
  Driver driver(config);
  driver.run_for(seconds(5));
  driver.fall_and_return(fra, seconds(5));
  for (const char* id : {"nyc", "sin"}) {
    driver.engine.set_override(*driver.engine.world().find_endpoint("pay", id),
                               config::Override::down, driver.now);
  }
  driver.step();
  EXPECT_EQ(driver.leads(pay, eu)[fra], 1);
}

TEST(SteeringReturnTest, FailbackHoldsUntilTheEndpointHasStayedWell) {
  auto config = small_config();
  config.services[1].failback = config::Failback::hold;
  config.services[1].failback_hold = seconds(60);
  Driver driver(config);
  driver.run_for(seconds(5));
  driver.fall_and_return(fra, seconds(40));
  driver.kill(fra);  // not well for long enough
  driver.run_for(seconds(2));
  driver.revive(fra);
  driver.run_for(seconds(58));
  EXPECT_EQ(driver.leads(pay, eu)[fra], 0);
  driver.run_for(seconds(5));
  EXPECT_EQ(driver.leads(pay, eu)[fra], 1);
}

TEST(SteeringReturnTest, AReloadAtTheVeryMomentOfAReturnHoldsIt) {
  auto config = small_config();
  config.services[1].failback = config::Failback::manual;
  config.controlplane.health.rise = {};
  config.controlplane.health.rise_beacons = 1;
  Driver driver(config);
  driver.run_for(seconds(5));
  driver.kill(fra);
  driver.run_for(seconds(2));
  ASSERT_EQ(driver.leads(pay, eu)[fra], 0);
  for (int i = 0; i < 3; ++i) {  // well again, and no step in between
    driver.now = driver.now + milliseconds(200);
    driver.engine.heard(fra, driver.report[fra], 1, ++driver.sequence, driver.now);
  }
  driver.engine.replace_world(
      *make_world(std::make_shared<const config::Config>(config), {"default", "eu", "us"}),
      driver.now);
  driver.revive(fra);
  driver.run_for(seconds(20));
  EXPECT_EQ(driver.engine.health().site(fra).state, SiteState::up);
  EXPECT_EQ(driver.leads(pay, eu)[fra], 0);
}

TEST(SteeringReturnTest, AReloadForgetsNoHold) {
  auto config = small_config();
  config.services[1].failback = config::Failback::manual;
  Driver driver(config);
  driver.run_for(seconds(5));
  driver.fall_and_return(fra, seconds(5));
  config.services[0].ttl_ceiling = seconds(100);
  driver.engine.replace_world(
      *make_world(std::make_shared<const config::Config>(config), {"default", "eu", "us"}),
      driver.now);
  driver.step();
  EXPECT_EQ(driver.leads(pay, eu)[fra], 0);
}

// ---- planned work ----

config::MaintenanceConfig work_at(const char* from, const char* to) {
  config::MaintenanceConfig work;
  work.id = "power";
  work.sites = {"fra"};
  work.from = *config::parse_wall_time(from);
  work.to = *config::parse_wall_time(to);
  return work;
}

TEST(SteeringReturnTest, ASiteDrainsForPlannedWorkAndNoAnswerOutlivesItsBeginning) {
  auto config = small_config();
  config.maintenance = {work_at("2026-11-20T12:05:00Z", "2026-11-20T12:10:00Z")};
  Driver driver(config);
  for (int s = 0; s < 299; ++s) {
    driver.run_for(seconds(1));
    ASSERT_LE(driver.ttl(www), 300 - static_cast<std::uint32_t>(s + 1)) << s;
    ASSERT_EQ(driver.leads(www, eu)[fra], 1);
  }
  EXPECT_LE(driver.changes, 9U + 9 * 8) << "steps of two, not of seconds";
  driver.run_for(seconds(2));
  EXPECT_EQ(driver.leads(www, eu)[fra], 0);
  EXPECT_EQ(driver.leads(pay, eu)[fra], 0);
  const auto endpoint = *driver.engine.world().find_endpoint("www", "fra");
  const auto view = driver.engine.view(endpoint, eu, driver.now);
  EXPECT_EQ(view.state, "draining");
  EXPECT_TRUE(view.reason.contains("'power' goes on until 2026-11-20T12:10:00Z"));
  EXPECT_GT(driver.ttl(www), 0U);
  driver.run_for(seconds(300));
  EXPECT_EQ(driver.leads(www, eu)[fra], 1);
}

TEST(SteeringReturnTest, AReloadInPlannedWorkBeginsNoDrain) {
  auto config = small_config();
  config.maintenance = {work_at("2026-11-20T12:01:00Z", "2026-11-20T13:00:00Z")};
  Driver driver(config);
  driver.run_for(seconds(90));
  const auto endpoint = *driver.engine.world().find_endpoint("www", "fra");
  EXPECT_TRUE(driver.engine.view_drain(endpoint, driver.now));
  driver.engine.replace_world(
      *make_world(std::make_shared<const config::Config>(config), {"default", "eu", "us"}),
      driver.now);
  driver.step();
  EXPECT_EQ(driver.leads(www, eu)[fra], 0);
  EXPECT_FALSE(driver.engine.view_drain(endpoint, driver.now));
}

TEST(SteeringReturnTest, AStepOfTheWallClockMovesPlannedWorkWithIt) {
  auto config = small_config();
  config.maintenance = {work_at("2026-11-20T13:00:00Z", "2026-11-20T14:00:00Z")};
  Driver driver(config);
  driver.run_for(seconds(5));
  EXPECT_FALSE(driver.engine.in_maintenance(fra));
  driver.engine.set_clock({driver.now, *config::parse_wall_time("2026-11-20T13:30:00Z")});
  static_cast<void>(driver.engine.step(driver.now));
  EXPECT_TRUE(driver.engine.in_maintenance(fra));
  EXPECT_EQ(driver.leads(www, eu)[fra], 0);
}

TEST(SteeringReturnTest, TheOperatorPlansWorkBesideTheConfiguration) {
  Driver driver(small_config());
  driver.run_for(seconds(5));
  auto work = work_at("2026-11-20T12:00:20Z", "2026-11-20T12:00:40Z");
  driver.engine.set_maintenance(work);
  driver.step();
  EXPECT_LE(driver.ttl(www), 15U);
  driver.run_for(seconds(20));
  EXPECT_EQ(driver.leads(www, eu)[fra], 0);
  EXPECT_EQ(driver.engine.decisions().maintenance.size(), 1U);
  work.sites.clear();
  driver.engine.set_maintenance(work);
  driver.step();
  EXPECT_EQ(driver.leads(www, eu)[fra], 1);
  EXPECT_TRUE(driver.engine.decisions().maintenance.empty());
}

// ---- drains ----

TEST(SteeringReturnTest, ADrainIsMeasuredByTheQueriesThatWereToldOtherwise) {
  Driver driver(small_config());
  driver.queries = {{{www, eu}, 100}, {{www, us}, 900}};
  driver.run_for(seconds(100));
  const auto endpoint = *driver.engine.world().find_endpoint("www", "fra");
  EXPECT_FALSE(driver.engine.view_drain(endpoint, driver.now));
  driver.engine.set_override(endpoint, config::Override::drain, driver.now);
  driver.step();
  auto drain = driver.engine.view_drain(endpoint, driver.now);
  ASSERT_TRUE(drain);
  EXPECT_NEAR(drain->moved, 0, 0.03);
  driver.run_for(seconds(30));
  drain = driver.engine.view_drain(endpoint, driver.now);
  EXPECT_NEAR(drain->moved, 0.5, 0.05) << "half of the TTL of 60 s";
  driver.run_for(seconds(40));
  EXPECT_EQ(driver.engine.view_drain(endpoint, driver.now)->moved, 1);
  driver.engine.set_override(endpoint, config::Override::automatic, driver.now);
  driver.step();
  EXPECT_FALSE(driver.engine.view_drain(endpoint, driver.now));
}

TEST(PlannedTest, LimitsComeInPowersOfTwo) {
  const std::vector<config::MaintenanceConfig> all = {
      work_at("2026-11-20T12:05:00Z", "2026-11-20T12:10:00Z")};
  const auto from = all[0].from;
  const auto before = [&](std::int64_t ns) {
    return planned_at(all, "fra", WallTime{from.ns - ns});
  };
  constexpr std::int64_t s = 1'000'000'000;
  EXPECT_EQ(before(8 * s).ttl_s, 8U);
  EXPECT_EQ(before(8 * s - 1).ttl_s, 4U);
  EXPECT_EQ(before(8 * s).due.ns, from.ns - 8 * s + 1);
  EXPECT_EQ(before(s).ttl_s, 1U);
  EXPECT_EQ(before(s - 1).ttl_s, 0U);
  EXPECT_EQ(before(s - 1).due, from);
  EXPECT_EQ(before(planned_horizon_s * s + 1).ttl_s, ttl_unlimited);
  EXPECT_TRUE(before(0).active);
  EXPECT_EQ(before(0).due, all[0].to);
  EXPECT_EQ(planned_at(all, "nyc", from), PlannedSite{});
  EXPECT_EQ(planned_at(all, "fra", all[0].to), PlannedSite{});
}

TEST(PlannedTest, OverlappingWorkEndsWithItsLast) {
  const std::vector<config::MaintenanceConfig> all = {
      work_at("2026-11-20T12:00:00Z", "2026-11-20T12:10:00Z"),
      work_at("2026-11-20T12:05:00Z", "2026-11-20T12:30:00Z")};
  const auto now = *config::parse_wall_time("2026-11-20T12:07:00Z");
  EXPECT_EQ(planned_at(all, "fra", now).to, all[1].to);
}

// ---- plans that shrink ----

TEST(EndpointShrinkTest, APlanThatTakesMostEndpointsAwayNeedsForce) {
  const auto world_of = [](const config::Config& config) {
    return *make_world(std::make_shared<const config::Config>(config), {"default"});
  };
  auto config = small_config();
  const auto service = config.services[0];
  for (unsigned i = 0; i < 3; ++i) {
    config.services[0].endpoints.push_back(service.endpoints[i]);
    config.services[0].endpoints.back().id += "-2";
    config.services[0].endpoints.back().addresses = {address(9, i)};
  }
  const auto former = world_of(config);
  EXPECT_TRUE(check_endpoint_shrink(*former, *former, 0.5));
  auto next = config;
  next.services[0].endpoints.resize(3);  // 3 of 6: not more than half
  EXPECT_TRUE(check_endpoint_shrink(*former, *world_of(next), 0.5));
  next.services[0].endpoints.resize(2);
  const auto refused = check_endpoint_shrink(*former, *world_of(next), 0.5);
  ASSERT_FALSE(refused);
  EXPECT_TRUE(refused.error().text().contains("4 of the 6 endpoints of service 'api'"));
  // A small service may lose most of its own, but not all services most of all.
  next = config;
  next.services[1].endpoints.resize(1);
  EXPECT_TRUE(check_endpoint_shrink(*former, *world_of(next), 0.5));
  next.services.resize(1);
  next.services[0].endpoints.resize(5);
  EXPECT_FALSE(check_endpoint_shrink(*former, *world_of(next), 0.5)) << "7 of 12";
  EXPECT_TRUE(check_endpoint_shrink(*former, *world_of(next), 0.6));
}

}  // namespace
}  // namespace pharos::controlplane
