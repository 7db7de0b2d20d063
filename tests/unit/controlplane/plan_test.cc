// What a configuration would change: clients, loads, TTLs; in a world whose sites report what they serve.
#include "pharos/controlplane/engine/plan.hh"

#include "pharos/wire/beacon.hh"

#include <gtest/gtest.h>

#include <algorithm>

#include "small_world.hh"

namespace pharos::controlplane {
namespace {

std::shared_ptr<const World> world_of(const config::Config& config) {
  return *make_world(std::make_shared<const config::Config>(config), {"default", "eu", "us"});
}

// An engine that has heard of each site how many requests it serves.
Engine engine_of(const config::Config& config, const std::vector<float>& loads_rps) {
  Engine engine(world_of(config), {}, {}, start);
  for (std::uint32_t site = 0; site < loads_rps.size(); ++site) {
    SiteReport report{.metrics = {}, .interval_ms = 200, .leaving = false, .endpoints = {}};
    report.metrics.requests_rps = loads_rps[site];
    engine.heard(site, report, 1, 1, start + milliseconds(10));
  }
  static_cast<void>(engine.step(start + milliseconds(20)));
  return engine;
}

Engine later(const Engine& engine, const config::Config& config) {
  auto next = engine;
  next.replace_world(world_of(config), start + milliseconds(30));
  static_cast<void>(next.step(start + milliseconds(40)));
  return next;
}

const SitePlan& site_of(const Plan& plan, const std::string& id) {
  return *std::ranges::find(plan.sites, id, &SitePlan::id);
}

TEST(PlanTest, TheSameConfigurationMovesNobody) {
  const auto config = small_config();
  const auto before = engine_of(config, {300, 200, 100});
  const auto plan = plan_of(before, later(before, config));
  EXPECT_EQ(plan.moved_share, 0);
  EXPECT_EQ(plan.ttl_exposure_s, 0U);
  EXPECT_TRUE(plan.load_known);
  for (const auto& site : plan.sites)
    EXPECT_NEAR(site.load_after_rps, *site.load_before_rps, 1e-6) << site.id;
  EXPECT_TRUE(overloads_of(plan).empty());
}

TEST(PlanTest, ClientsOfWhatGoesMoveAndTheirLoadWithThem) {
  auto config = small_config();
  for (auto& site : config.sites) site.capacity_rps = 1000;
  const auto before = engine_of(config, {300, 200, 100});
  auto next = config;
  for (auto& service : next.services)
    std::erase_if(service.endpoints, [](const auto& e) { return e.site == "fra"; });
  const auto plan = plan_of(before, later(before, next));
  EXPECT_GT(plan.moved_share, 0.2);
  EXPECT_GT(plan.ttl_exposure_s, 0U);
  EXPECT_GT(plan.moved_by_service.at("pay"), 0.99) << "all of its clients were at fra";
  const auto& fra_plan = site_of(plan, "fra");
  EXPECT_NEAR(fra_plan.load_after_rps, 0, 1e-6);
  EXPECT_EQ(fra_plan.share_after, 0);
  double total = 0;
  for (const auto& site : plan.sites) total += site.load_after_rps;
  EXPECT_NEAR(total, 600, 1e-6) << "no request is lost, and none is made up";
  EXPECT_TRUE(overloads_of(plan).empty());
}

TEST(PlanTest, SaysWhereItIsMoreThanASiteBears) {
  auto config = small_config();
  config.sites[nyc].capacity_rps = 250;
  const auto before = engine_of(config, {300, 200, 100});
  auto next = config;
  for (auto& service : next.services)
    std::erase_if(service.endpoints, [](const auto& e) { return e.site == "fra"; });
  const auto plan = plan_of(before, later(before, next));
  ASSERT_EQ(overloads_of(plan).size(), 1U);
  EXPECT_TRUE(overloads_of(plan)[0].starts_with("site nyc would get ")) << overloads_of(plan)[0];
  // A site that is over its limit already, and gets less, is no reason to refuse.
  config.sites[nyc].capacity_rps = 100;
  const auto full = engine_of(config, {300, 200, 100});
  auto less = config;
  for (auto& service : less.services)
    std::erase_if(service.endpoints, [](const auto& e) { return e.site == "nyc"; });
  EXPECT_TRUE(overloads_of(plan_of(full, later(full, less))).empty());
}

TEST(PlanTest, SharesSumToOneAndFollowTheRanking) {
  const auto shares = answer_shares(engine_of(small_config(), {}));
  double total = 0;
  for (const auto& [site, share] : shares) total += share;
  EXPECT_NEAR(total, 1, 1e-9);
  EXPECT_GT(shares.at("fra"), shares.at("sin"));
}

}  // namespace
}  // namespace pharos::controlplane
