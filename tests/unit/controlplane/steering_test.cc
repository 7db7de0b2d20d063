// Steering by the engine in simulated time: demand against capacity, coming back, planned work, the policies.
#include "pharos/config/wall_time.hh"
#include "pharos/controlplane/engine/engine.hh"
#include "pharos/controlplane/engine/shrink.hh"
#include "pharos/wire/beacon.hh"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <map>
#include <numeric>

#include "small_world.hh"

namespace pharos::controlplane {
namespace {

const WallTime wall_start = *config::parse_wall_time("2026-11-20T12:00:00Z");

// An engine with beacons of three sites, queries of three locales, and its own deadlines.
class Driver {
 public:
  explicit Driver(const config::Config& config, Decisions decisions = {})
      : world_(
            *make_world(std::make_shared<const config::Config>(config), {"default", "eu", "us"})),
        engine(world_, std::move(decisions), {}, start) {
    for (std::uint32_t s = 0; s < 3; ++s) next_beacon[s] = start + milliseconds(20 + 60 * s);
    report.fill({.metrics = {}, .interval_ms = 200, .leaving = false, .endpoints = {}});
    step();
  }

  void step() {
    engine.set_clock({now, {wall_start.ns + (now - start).ns}});
    if (now >= engine.assign_deadline()) engine.assign_in_place(now);
    const auto round = engine.step(now);
    for (const auto& change : round.changes) changes += round.locales_of(change).size();
  }

  void run_for(Duration time) {
    const Instant end = now + time;
    for (;;) {
      const auto due = std::ranges::min_element(next_beacon);
      const Instant next = std::max(
          now, std::min({*due, engine.next_deadline(), engine.assign_deadline(), next_query}));
      if (next > end) break;
      now = next;
      if (now >= next_query) {
        for (const auto& [cell, rate] : queries) engine.heard_demand(cell.first, cell.second, rate);
        next_query = next_query + seconds(1);
      }
      if (*due <= now) {
        const auto site = static_cast<std::uint32_t>(due - next_beacon.begin());
        engine.heard(site, report[site], 1, ++sequence, now);
        *due = *due + milliseconds(200);
      }
      step();
    }
    now = end;
  }

  // Of the clients of a locale, the share whose answers begin with each site's endpoint.
  [[nodiscard]] std::array<double, 3> leads(std::uint32_t pool, std::uint16_t locale) const {
    const auto shares = engine.lead_shares(pool, locale);
    std::array<double, 3> result{};
    std::ranges::copy(shares, result.begin());
    return result;
  }
  // Requests per second that the answers send to each site.
  [[nodiscard]] std::array<double, 3> loads(std::uint32_t pool) const {
    std::array<double, 3> result{};
    for (const auto& [cell, rate] : queries) {
      if (cell.first != pool) continue;
      const auto shares = leads(pool, cell.second);
      for (std::size_t s = 0; s < 3; ++s) result[s] += shares[s] * rate;
    }
    return result;
  }
  [[nodiscard]] std::uint32_t ttl(std::uint32_t pool) const { return engine.view_pool(pool).ttl_s; }
  void kill(std::uint32_t site) { next_beacon[site] = never; }
  void revive(std::uint32_t site) { next_beacon[site] = now + milliseconds(1); }

 private:
  std::shared_ptr<const World> world_;

 public:
  Engine engine;
  std::array<Instant, 3> next_beacon{};
  std::array<SiteReport, 3> report;
  std::map<std::pair<std::uint32_t, std::uint16_t>, std::uint32_t> queries;  // per second
  Instant next_query = start + milliseconds(500);
  Instant now = start;
  std::uint64_t sequence = 0;
  std::size_t changes = 0;
};

config::Config limited_config(double fra_rps, double nyc_rps, double sin_rps) {
  auto config = small_config();
  config.sites[fra].capacity_rps = fra_rps;
  config.sites[nyc].capacity_rps = nyc_rps;
  config.sites[sin].capacity_rps = sin_rps;
  return config;
}

// ---- demand against capacity ----

TEST(SteeringTest, WhatASiteCannotTakeGoesToTheNext) {
  Driver driver(limited_config(1000, 1000, 1000));
  driver.queries = {{{www, eu}, 1500}, {{www, us}, 100}};
  driver.run_for(seconds(60));
  const auto loads = driver.loads(www);
  EXPECT_LE(loads[fra], 910);
  EXPECT_GT(loads[fra], 850);
  EXPECT_LE(loads[nyc], 910);
  EXPECT_NEAR(driver.leads(www, us)[nyc], 1, 1e-9) << "who is near stays";
  EXPECT_EQ(driver.engine.assign_overload(), 0);
}

TEST(SteeringTest, NothingIsDividedWhileThereIsRoom) {
  Driver driver(limited_config(1000, 1000, 1000));
  driver.queries = {{{www, eu}, 300}, {{www, us}, 300}};
  driver.run_for(seconds(20));
  EXPECT_EQ(driver.leads(www, eu), (std::array<double, 3>{1, 0, 0}));
  EXPECT_EQ(driver.leads(www, us), (std::array<double, 3>{0, 1, 0}));
  const auto before = driver.changes;
  driver.run_for(seconds(120));
  EXPECT_EQ(driver.changes, before) << "steady demand changes nothing";
}

TEST(SteeringTest, AfterALossNoSurvivorPassesItsLimitWithinASecond) {
  Driver driver(limited_config(1000, 1000, 1000));
  driver.queries = {{{www, eu}, 900}, {{www, us}, 600}, {{www, everyone}, 200}};
  driver.run_for(seconds(30));
  driver.kill(fra);
  driver.run_for(milliseconds(3 * 200 + 60) + assign_urgent_interval);
  const auto loads = driver.loads(www);
  EXPECT_EQ(loads[fra], 0);
  EXPECT_LE(loads[nyc], 1000);
  EXPECT_LE(loads[sin], 1000);
  EXPECT_NEAR(loads[nyc] + loads[sin], 1700, 1e-6);
  EXPECT_EQ(driver.engine.assign_overload(), 0);
}

TEST(SteeringTest, WhenAllAreShortItSaysSoAndSharesTheShortage) {
  Driver driver(limited_config(500, 1000, 500));
  driver.queries = {{{www, eu}, 2000}, {{www, us}, 1000}};
  driver.run_for(seconds(30));
  const auto loads = driver.loads(www);
  EXPECT_NEAR(loads[fra] / 500, 1.5, 0.1);
  EXPECT_NEAR(loads[nyc] / 1000, 1.5, 0.1);
  EXPECT_NEAR(loads[sin] / 500, 1.5, 0.1);
  const auto alarms = driver.engine.alarms();
  EXPECT_TRUE(std::ranges::any_of(
      alarms, [](const auto& text) { return text.contains("more than the sites can take"); }));
}

TEST(SteeringTest, WeightsAreBentOnlyAsFarAsALimitAsks) {
  auto config = limited_config(1000, 1000, 1000);
  config.services[0].endpoints[0].weight = 2;  // one half for fra
  Driver driver(config);
  driver.queries = {{{api, eu}, 1000}};
  driver.run_for(seconds(20));
  EXPECT_EQ(driver.leads(api, eu), (std::array<double, 3>{0.5, 0.25, 0.25}));
  driver.queries = {{{api, eu}, 2400}};
  driver.run_for(seconds(200));
  const auto loads = driver.loads(api);
  EXPECT_LE(loads[fra], 1000) << "slots are 37 requests, and steps of less than 2 % are not made";
  EXPECT_GT(loads[fra], 850);
  EXPECT_GT(loads[nyc], 650);
}

TEST(SteeringTest, RequestsOfEndpointsSayHowMuchStandsBehindAnAnswer) {
  Driver driver(limited_config(100'000, 100'000, 100'000));
  driver.queries = {{{www, eu}, 100}};
  driver.run_for(seconds(20));
  EXPECT_NEAR(*driver.engine.view_load(fra).assigned_rps, 100, 5);
  EndpointReport endpoint{};
  endpoint.endpoint = endpoint_hash("www", "fra");
  endpoint.up = true;
  endpoint.requests_rps = 120'000.0F;
  driver.report[fra].endpoints = {endpoint};
  driver.run_for(seconds(20));
  EXPECT_LE(*driver.engine.view_load(fra).assigned_rps, 90'100);
  EXPECT_LT(driver.leads(www, eu)[fra], 0.8);
}

TEST(SteeringTest, TtlsFallNearALimitAndRecover) {
  Driver driver(limited_config(1000, 1000, 1000));
  driver.run_for(seconds(1));
  EXPECT_EQ(driver.ttl(www), 60U);
  driver.report[sin].metrics.requests_rps = 750.0F;
  driver.run_for(seconds(3));
  EXPECT_EQ(driver.ttl(www), 30U) << "above the low watermark";
  driver.report[sin].metrics.requests_rps = 950.0F;
  driver.run_for(seconds(3));
  EXPECT_EQ(driver.ttl(www), 5U) << "above the high one: the floor";
  driver.report[sin].metrics.requests_rps = 680.0F;
  driver.run_for(seconds(3));
  EXPECT_EQ(driver.ttl(www), 30U) << "just below: not yet";
  driver.report[sin].metrics.requests_rps = 100.0F;
  driver.run_for(seconds(400));
  EXPECT_EQ(driver.ttl(www), 60U);
}

TEST(SteeringTest, SwitchedOffItFollowsTheScoresAlone) {
  auto config = limited_config(100, 1000, 1000);
  config.controlplane.assign.enabled = false;
  Driver driver(config);
  driver.queries = {{{www, eu}, 5000}};
  driver.run_for(seconds(30));
  EXPECT_EQ(driver.leads(www, eu), (std::array<double, 3>{1, 0, 0}));
  EXPECT_FALSE(driver.engine.view_load(fra).assigned_rps);
}

TEST(SteeringTest, AnAssignmentOfAFormerWorldIsForgotten) {
  Driver driver(limited_config(1000, 1000, 1000));
  driver.queries = {{{www, eu}, 3000}};
  driver.run_for(seconds(4));
  auto task = driver.engine.take_assign_task(driver.now + seconds(5));
  ASSERT_TRUE(task);
  const auto solution = assign(task->problem);
  auto config = limited_config(1e6, 1e6, 1e6);
  driver.engine.replace_world(
      *make_world(std::make_shared<const config::Config>(config), {"default", "eu", "us"}),
      driver.now);
  driver.engine.assigned(*task, solution);
  driver.step();
  EXPECT_EQ(driver.leads(www, eu), (std::array<double, 3>{1, 0, 0}));
}

TEST(SteeringTest, AReloadForgetsNeitherDemandNorShares) {
  auto config = limited_config(1000, 1000, 1000);
  Driver driver(config);
  driver.queries = {{{www, eu}, 1500}, {{www, us}, 100}, {{api, eu}, 60}};
  driver.run_for(seconds(60));
  const auto before = driver.leads(www, eu);
  ASSERT_LT(before[fra], 0.65);
  // Another site in front, and another service: every index moves.
  auto site = config.sites[0];
  site.id = "ams";
  config.sites.insert(config.sites.begin(), site);
  config.services.insert(config.services.begin(),
                         service_config("aaa", config::Policy::ranked, 7));
  driver.engine.replace_world(
      *make_world(std::make_shared<const config::Config>(config), {"default", "asia", "eu", "us"}),
      driver.now);
  static_cast<void>(driver.engine.step(driver.now));
  constexpr std::uint32_t www_now = www + 1;
  constexpr std::uint16_t eu_now = eu + 1;
  EXPECT_EQ(driver.engine.world().pools[www_now].pool.service, "www");
  EXPECT_NEAR(driver.engine.demand().rate(www_now, eu_now), 1500, 30);
  const auto after = driver.engine.lead_shares(www_now, eu_now);
  for (std::size_t s = 0; s < 3; ++s) EXPECT_NEAR(after[s], before[s], 1e-9) << s;
  EXPECT_LE(driver.engine.assign_deadline(), driver.now) << "and the next assignment is due";
}

TEST(SteeringTest, SharesOfASiteThatIsGoneGoToTheOthers) {
  auto config = limited_config(1000, 1000, 1000);
  Driver driver(config);
  driver.queries = {{{www, eu}, 1500}};
  driver.run_for(seconds(60));
  config.sites.erase(config.sites.begin());
  for (auto& service : config.services)
    std::erase_if(service.endpoints, [](const auto& e) { return e.site == "fra"; });
  driver.engine.replace_world(
      *make_world(std::make_shared<const config::Config>(config), {"default", "eu", "us"}),
      driver.now);
  static_cast<void>(driver.engine.step(driver.now));
  const auto shares = driver.engine.lead_shares(www, eu);
  EXPECT_NEAR(std::accumulate(shares.begin(), shares.end(), 0.0), 1, 1e-9);
  driver.engine.assign_in_place(driver.now);
  static_cast<void>(driver.engine.step(driver.now));
  for (const double share : driver.engine.lead_shares(www, eu)) EXPECT_LE(share * 1500, 1000);
}

TEST(SteeringTest, EachHealthySiteGetsItsShareForProbesWithoutAnyLimit) {
  auto config = small_config();
  config.services[2].probe_share = 0.02;
  Driver driver(config);
  driver.run_for(seconds(5));
  for (const auto locale : {everyone, eu, us}) {
    for (const double share : driver.leads(www, locale)) EXPECT_GE(share, 0.02 - 1.0 / 256);
  }
  EXPECT_NEAR(driver.leads(www, eu)[fra], 0.96, 0.01);
  driver.kill(sin);
  driver.run_for(seconds(2));
  EXPECT_EQ(driver.leads(www, eu)[sin], 0) << "not who is down";
  EXPECT_NEAR(driver.leads(www, eu)[fra], 0.98, 0.01);
}

// ---- coming back ----

TEST(SteeringTest, AnEndpointThatComesBackTakesItsClientsStepByStep) {
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

TEST(SteeringTest, AFallOnTheWayBackBeginsAnew) {
  auto config = small_config();
  config.services[2].slow_start = seconds(80);
  config.controlplane.score.risk = 0;
  Driver driver(config);
  driver.run_for(seconds(5));
  for (int fall = 0; fall < 2; ++fall) {
    driver.kill(fra);
    driver.run_for(seconds(2));
    driver.revive(fra);
    driver.run_for(seconds(33));
    EXPECT_NEAR(driver.leads(www, eu)[fra], 0.5, 0.2);
  }
}

TEST(SteeringTest, FailbackWaitsForTheOperatorWhereItIsManual) {
  auto config = small_config();
  config.services[1].failback = config::Failback::manual;
  Driver driver(config);
  driver.run_for(seconds(5));
  driver.kill(fra);
  driver.run_for(seconds(2));
  driver.revive(fra);
  driver.run_for(seconds(3600));
  EXPECT_EQ(driver.leads(pay, eu)[fra], 0);
  EXPECT_EQ(driver.leads(www, eu)[fra], 1) << "another service, another rule";
  const auto endpoint = *driver.engine.world().find_endpoint("pay", "fra");
  EXPECT_TRUE(driver.engine.view(endpoint, eu, driver.now).held);
  EXPECT_TRUE(driver.engine.view(endpoint, eu, driver.now).reason.contains("held until"));
  driver.engine.set_override(endpoint, config::Override::automatic, driver.now);
  driver.step();
  EXPECT_EQ(driver.leads(pay, eu)[fra], 1);
}

TEST(SteeringTest, WhoIsHeldStillServesWhereNobodyElseIsLeft) {
  auto config = small_config();
  config.services[1].failback = config::Failback::manual;
  Driver driver(config);
  driver.run_for(seconds(5));
  driver.kill(fra);
  driver.run_for(seconds(2));
  driver.revive(fra);
  driver.run_for(seconds(5));
  for (const char* id : {"nyc", "sin"}) {
    driver.engine.set_override(*driver.engine.world().find_endpoint("pay", id),
                               config::Override::down, driver.now);
  }
  driver.step();
  EXPECT_EQ(driver.leads(pay, eu)[fra], 1);
}

TEST(SteeringTest, FailbackHoldsUntilTheEndpointHasStayedWell) {
  auto config = small_config();
  config.services[1].failback = config::Failback::hold;
  config.services[1].failback_hold = seconds(60);
  Driver driver(config);
  driver.run_for(seconds(5));
  driver.kill(fra);
  driver.run_for(seconds(2));
  driver.revive(fra);
  driver.run_for(seconds(40));
  driver.kill(fra);  // not well for long enough
  driver.run_for(seconds(2));
  driver.revive(fra);
  driver.run_for(seconds(58));
  EXPECT_EQ(driver.leads(pay, eu)[fra], 0);
  driver.run_for(seconds(5));
  EXPECT_EQ(driver.leads(pay, eu)[fra], 1);
}

TEST(SteeringTest, AReloadAtTheVeryMomentOfAReturnHoldsIt) {
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

TEST(SteeringTest, AReloadForgetsNoHold) {
  auto config = small_config();
  config.services[1].failback = config::Failback::manual;
  Driver driver(config);
  driver.run_for(seconds(5));
  driver.kill(fra);
  driver.run_for(seconds(2));
  driver.revive(fra);
  driver.run_for(seconds(5));
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

TEST(SteeringTest, ASiteDrainsForPlannedWorkAndNoAnswerOutlivesItsBeginning) {
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

TEST(SteeringTest, AReloadInPlannedWorkBeginsNoDrain) {
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

TEST(SteeringTest, AStepOfTheWallClockMovesPlannedWorkWithIt) {
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

TEST(SteeringTest, TheOperatorPlansWorkBesideTheConfiguration) {
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

TEST(SteeringTest, ADrainIsMeasuredByTheQueriesThatWereToldOtherwise) {
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

// ---- policies ----

TEST(SteeringTest, GeoIsTheNearestWhateverItsLoad) {
  auto config = small_config();
  config.services[2].policy = config::Policy::geo;
  Driver driver(config);
  driver.report[fra].metrics.cpu_ratio = 0.9F;
  driver.run_for(seconds(10));
  EXPECT_EQ(driver.leads(www, eu)[fra], 1);
  EXPECT_EQ(driver.leads(www, us)[nyc], 1);
  driver.kill(fra);
  driver.run_for(seconds(2));
  EXPECT_EQ(driver.leads(www, eu)[nyc], 1);
}

TEST(SteeringTest, StickyClientsMoveOnlyWhenTheirEndpointGoes) {
  auto config = small_config();
  config.services[0].policy = config::Policy::sticky;
  config.services[0].slots = 256;
  Driver driver(config);
  driver.run_for(seconds(5));
  const auto leaders = [&] {
    std::vector<std::uint32_t> all;
    for (unsigned slot = 0; slot < 256; ++slot)
      all.push_back(driver.engine.answered(api, eu, slot).front());
    return all;
  };
  const auto before = leaders();
  driver.report[fra].metrics.error_ratio = 0.9F;  // would bend a weighted pool
  driver.run_for(seconds(20));
  EXPECT_EQ(leaders(), before);
  driver.report[fra].metrics.error_ratio = 0.0F;
  driver.kill(sin);
  driver.run_for(seconds(2));
  const auto without = leaders();
  const auto lost = *driver.engine.world().find_endpoint("api", "sin");
  for (std::size_t slot = 0; slot < before.size(); ++slot) {
    if (before[slot] != lost) {
      EXPECT_EQ(without[slot], before[slot]);
    } else {
      EXPECT_NE(without[slot], lost);
    }
  }
  driver.revive(sin);
  driver.run_for(seconds(5));
  EXPECT_EQ(leaders(), before);
}

TEST(SteeringTest, MultivalueBeginsWithEachAlikeWhateverTheWeights) {
  auto config = small_config();
  config.services[0].policy = config::Policy::multivalue;
  config.services[0].endpoints[0].weight = 9;
  Driver driver(config);
  driver.run_for(seconds(5));
  for (const double share : driver.leads(api, us)) EXPECT_NEAR(share, 1.0 / 3, 1.0 / 64);
}

TEST(SteeringTest, AWeightedPoolGivesALostEndpointItsOwnSlotsBack) {
  Driver driver(small_config());
  driver.run_for(seconds(5));
  const auto leaders = [&] {
    std::vector<std::uint32_t> all;
    for (unsigned slot = 0; slot < 64; ++slot)
      all.push_back(driver.engine.answered(api, eu, slot).front());
    return all;
  };
  const auto before = leaders();
  driver.kill(sin);
  driver.run_for(seconds(2));
  const auto without = leaders();
  const auto lost = *driver.engine.world().find_endpoint("api", "sin");
  unsigned moved = 0;
  for (std::size_t slot = 0; slot < 64; ++slot)
    moved += before[slot] != lost && without[slot] != before[slot];
  EXPECT_LE(moved, 1U) << "but for rounding only its own";
  driver.revive(sin);
  driver.run_for(seconds(600));
  EXPECT_EQ(leaders(), before);
}

}  // namespace
}  // namespace pharos::controlplane
