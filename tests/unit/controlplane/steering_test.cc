// Steering by the engine in simulated time: demand against capacity, and the policies.
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "steering_driver.hh"

namespace pharos::controlplane {
namespace {

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

TEST(SteeringTest, TheFirstAnswerAfterALossAlreadyAsksForRoom) {
  Driver driver(limited_config(1000, 1000, 1000));
  driver.queries = {{{www, eu}, 800}, {{www, us}, 800}};
  driver.run_for(seconds(30));
  ASSERT_EQ(driver.leads(www, eu)[fra], 1);
  driver.kill(fra);
  while (driver.engine.health().site(fra).state != SiteState::down) driver.run_for(milliseconds(1));
  const auto loads = driver.loads(www);  // in the very round
  EXPECT_EQ(loads[fra], 0);
  EXPECT_LE(loads[nyc], 910);
  EXPECT_LE(loads[sin], 910);
}

TEST(SteeringTest, WhatWasTakenBeforeALossDoesNotReplaceWhatWasAssignedAtIt) {
  Driver driver(limited_config(1000, 1000, 1000));
  driver.queries = {{{www, eu}, 1500}};
  driver.run_for(seconds(60));
  const auto early = driver.engine.take_assign_task(driver.engine.assign_deadline());
  ASSERT_TRUE(early);
  driver.now = driver.now + seconds(6);
  const auto late = driver.engine.take_assign_task(driver.engine.assign_deadline());
  ASSERT_TRUE(late);
  auto solution = assign(late->problem);
  driver.engine.assigned(*late, solution);
  const auto assigned_rps = driver.engine.view_load(fra).assigned_rps;
  solution.site_rps.assign(3, 7.0);
  driver.engine.assigned(*early, solution);
  EXPECT_EQ(driver.engine.view_load(fra).assigned_rps, assigned_rps);
}

TEST(SteeringTest, AWeightThatMovesUnderALimitIsAssignedInTheRoundItself) {
  auto config = limited_config(300, 1000, 1000);
  config.services[api].answers_max = 1;
  config.services[api].slots = 256;
  Driver driver(config);
  driver.queries = {{{api, eu}, 1000}};
  driver.run_for(seconds(60));
  EXPECT_NEAR(driver.loads(api)[fra], 270, 10);
  const auto endpoint = *driver.engine.world().find_endpoint("api", "fra");
  driver.engine.set_weight(endpoint, 3, driver.now);
  driver.step();
  EXPECT_NEAR(driver.loads(api)[fra], 270, 10)
      << "not three times as much, until the next assignment";
  driver.engine.set_weight(endpoint, 0.1, driver.now + milliseconds(50));
  driver.now = driver.now + milliseconds(50);
  driver.step();
  EXPECT_NEAR(driver.loads(api)[fra], 1000 * 0.1 / 2.1, 10);
}

// Load comes back as CPU, and bends the score of who took it.
TEST(SteeringTest, WhatFollowsItsOwnLoadComesToRest) {
  Driver driver(limited_config(1000, 1000, 1000));
  driver.queries = {{{www, eu}, 600}};
  unsigned turns = 0;
  std::array<double, 3> before{};
  for (int s = 0; s < 3600; s += 2) {
    driver.run_for(seconds(2));
    const auto loads = driver.loads(www);
    for (const auto site : {fra, nyc, sin})
      driver.report[site].metrics.cpu_ratio = static_cast<float>(loads[site] / 650);
    if (std::abs(loads[fra] - before[fra]) > 100) ++turns;
    before = loads;
  }
  EXPECT_LE(turns, 60U);
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

// The same answers, but four times as much behind each of Europe's: its share of the load, and of what moves, is four times
// as large.
TEST(SteeringTest, DemandIsWeighedWithWhatStandsBehindAResolver) {
  auto config = limited_config(1000, 1000, 1000);
  config.locales[0].demand_weight = 4;
  Driver driver(config);
  driver.queries = {{{www, eu}, 100}, {{www, us}, 100}};
  driver.run_for(seconds(20));
  EXPECT_NEAR(*driver.engine.view_load(fra).assigned_rps, 400, 20);
  EXPECT_NEAR(*driver.engine.view_load(nyc).assigned_rps, 100, 5);
  driver.queries = {{{www, eu}, 400}, {{www, us}, 100}};
  driver.run_for(seconds(40));
  EXPECT_LE(*driver.engine.view_load(fra).assigned_rps, 1000) << "1600 is too much for it";
  EXPECT_LT(driver.leads(www, eu)[fra], 0.7);
  EXPECT_EQ(driver.leads(www, us)[nyc], 1);
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

// Two are taken down and the reserve fails: all that is left is to answer with all of them. But slots are dealt by weight: what an
// endpoint of weight 0 is given in a plan, others get.
TEST(SteeringTest, EndpointsOfWeightZeroGetNoSharesInPanic) {
  auto config = limited_config(20, 20, 1000);
  config.services[0].endpoints[2].weight = 0;
  Driver driver(config);
  driver.queries = {{{api, eu}, 60}};
  driver.report[sin].endpoints = {
      {.endpoint = endpoint_hash("api", "sin"), .up = false, .requests_rps = {}}};
  driver.run_for(seconds(5));
  for (const char* id : {"fra", "nyc"}) {
    driver.engine.set_override(*driver.engine.world().find_endpoint("api", id),
                               config::Override::down, driver.now);
  }
  driver.run_for(seconds(60));
  ASSERT_TRUE(driver.engine.view_pool(api).panic);
  ASSERT_GT(driver.engine.assign_overload(), 0) << "it was assigned, and 40 is all there is";
  EXPECT_EQ(driver.engine.view_load(sin).assigned_rps.value_or(0), 0);
  const auto leads = driver.leads(api, eu);
  EXPECT_NEAR(leads[fra], 0.5, 0.02);
  EXPECT_NEAR(leads[nyc], 0.5, 0.02);
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
  config.services.insert(config.services.begin(), service_config("aaa", config::Policy::ranked, 7));
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
