// What a configuration would change: clients, loads, TTLs; in a world whose sites report what they serve.
#include "pharos/controlplane/engine/plan.hh"

#include "pharos/controlplane/engine/engine_copy.hh"
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
  return planned(engine, world_of(config), start + milliseconds(30));
}

// The same, asked by locales `eu` and `us` for `www` so and so many times a second.
Engine asked_engine(const config::Config& config, std::uint32_t eu_rate, std::uint32_t us_rate) {
  Engine engine(world_of(config), {}, {}, start);
  for (int turn = 0; turn <= 300; ++turn) {
    const auto now = start + milliseconds(200) * turn;
    for (std::uint32_t site = 0; site < 3; ++site) {
      engine.heard(site, {.metrics = {}, .interval_ms = 200, .leaving = false, .endpoints = {}}, 1,
                   static_cast<std::uint64_t>(turn) + 1, now);
    }
    if (turn % 5 == 4) {
      engine.heard_demand(www, eu, eu_rate);
      engine.heard_demand(www, us, us_rate);
    }
    if (now >= engine.assign_deadline()) engine.assign_in_place(now);
    static_cast<void>(engine.step(now));
  }
  return engine;
}

Engine later_asked(const Engine& engine, const config::Config& config) {
  return planned(engine, world_of(config), start + seconds(60));
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
  EXPECT_EQ(plan.load_source, LoadSource::sites);
  for (const auto& site : plan.sites)
    EXPECT_NEAR(site.load_after_rps, *site.load_before_rps, 1e-6) << site.id;
  EXPECT_TRUE(overloads_of(plan).empty());
}

// An order stands until somebody is beaten by a margin: what a fresh ranking would do otherwise is no reason to move clients.
TEST(PlanTest, OrdersThatStandByTheirMarginStandInThePlanToo) {
  const auto config = small_config();
  auto before = engine_of(config, {});
  // The locale without a place is as far from each site: a little CPU decides, and by less than the margin never again.
  const auto with_cpu = [&](std::uint32_t site, float cpu, Instant now) {
    SiteReport report{.metrics = {}, .interval_ms = 200, .leaving = false, .endpoints = {}};
    report.metrics.cpu_ratio = cpu;
    before.heard(site, report, 1, static_cast<std::uint64_t>(now.ns), now);
  };
  const auto first_of = [](const Engine& engine) {
    return engine.answered(www, everyone, 0).front();
  };
  const auto former = first_of(before);
  for (int turn = 1; turn <= 20; ++turn) {
    const auto now = start + milliseconds(20 + 200 * turn);
    for (std::uint32_t site = 0; site < 3; ++site)
      with_cpu(site, before.world().endpoints[former].site == site ? 0.2F : 0.1F, now);
    static_cast<void>(before.step(now));
  }
  ASSERT_EQ(first_of(before), former) << "4 % worse is less than the margin";
  auto next = config;
  next.locales[0].id = "fr";
  next.services[2].endpoints.erase(next.services[2].endpoints.begin() +
                                   (before.world().endpoints[former].site == fra ? 2 : 0));
  const auto world =
      *make_world(std::make_shared<const config::Config>(next), {"default", "fr", "us"});
  const auto after = planned(before, world, start + seconds(5));
  EXPECT_EQ(after.world().endpoint(first_of(after)).id, before.world().endpoint(former).id);
  EXPECT_EQ(planned(before, world_of(config), start + seconds(5)).answered(www, everyone, 0),
            before.answered(www, everyone, 0));
  EXPECT_EQ(plan_of(before, later(before, config)).moved_share, 0);
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

// ---- by the data plane's counters ----

TEST(PlanTest, DemandSaysWhatEachAnswerCarries) {
  const auto config = small_config();
  const auto before = asked_engine(config, 300, 100);
  auto next = config;
  for (auto& service : next.services)
    std::erase_if(service.endpoints, [](const auto& e) { return e.site == "fra"; });
  const auto plan = plan_of(before, later_asked(before, next));
  EXPECT_EQ(plan.load_source, LoadSource::demand);
  EXPECT_NEAR(*site_of(plan, "fra").load_before_rps, 300, 3);
  EXPECT_NEAR(*site_of(plan, "nyc").load_before_rps, 100, 1);
  EXPECT_NEAR(site_of(plan, "fra").load_after_rps, 0, 1e-6);
  EXPECT_NEAR(site_of(plan, "nyc").load_after_rps, 400, 4);
  EXPECT_NEAR(plan.moved_share, 0.75, 0.01);
  EXPECT_NEAR(plan.moved_by_service.at("www"), 0.75, 0.01);
  EXPECT_EQ(plan.moved_by_service.at("api"), 0) << "nobody asks for it";
}

TEST(PlanTest, TheWayToTheLimitsIsPartOfThePlan) {
  auto config = small_config();
  for (auto& site : config.sites) site.capacity_rps = 1000;
  const auto before = asked_engine(config, 800, 400);
  auto next = config;
  for (auto& service : next.services)
    std::erase_if(service.endpoints, [](const auto& e) { return e.site == "fra"; });
  // 1200 for nyc alone, by the scores: but sin has room.
  const auto plan = plan_of(before, later_asked(before, next));
  EXPECT_TRUE(overloads_of(plan).empty());
  EXPECT_LE(site_of(plan, "nyc").load_after_rps, 1000);
  EXPECT_GT(site_of(plan, "sin").load_after_rps, 195);
  // Without sin there is none.
  for (auto& service : next.services)
    std::erase_if(service.endpoints, [](const auto& e) { return e.site == "sin"; });
  const auto overloads = overloads_of(plan_of(before, later_asked(before, next)));
  ASSERT_EQ(overloads.size(), 1U);
  EXPECT_TRUE(overloads[0].starts_with("site nyc would get 1")) << overloads[0];
  // Nor where the limit itself is what changes.
  next = config;
  for (auto& site : next.sites) site.capacity_rps = 300;
  const auto narrow = overloads_of(plan_of(before, later_asked(before, next)));
  EXPECT_TRUE(std::ranges::any_of(
      narrow, [](const auto& text) { return text.starts_with("site sin would get "); }));
}

TEST(PlanTest, TheWorstTtlIsThatOfACellThatChanges) {
  auto config = small_config();
  config.services[1].ttl_ceiling = seconds(300);
  const auto before = asked_engine(config, 300, 100);
  auto next = config;
  next.services[2].endpoints[0].addresses = {address(9, 9)};
  next.services[2].endpoints[0].id = "fra-2";
  const auto plan = plan_of(before, later_asked(before, next));
  EXPECT_EQ(plan.ttl_exposure_s, 60U) << "the 300 s of pay do not change";
  EXPECT_EQ(plan.exposed_pool, "www/A");
}

TEST(PlanTest, ACopyInPiecesIsTheEngine) {
  auto engine = asked_engine(small_config(), 300, 100);
  Engine::Copy copying;
  unsigned pieces = 1;  // one look at the time each
  for (bool over = false; !copying.go_on(engine, [&] { return std::exchange(over, !over); });)
    ++pieces;
  EXPECT_GT(pieces, 3U);
  auto copy = copying.take();
  const auto now = start + seconds(61);
  EXPECT_EQ(copy.requests_by_cell(), engine.requests_by_cell());
  for (auto* one : {&engine, &copy}) one->set_override(0, config::Override::drain, now);
  const auto round = engine.step(now);
  const auto copied = copy.step(now);
  EXPECT_EQ(copied.changes.size(), round.changes.size());
  ASSERT_GT(round.cell_count(), 0U);
  EXPECT_EQ(copied.cell_count(), round.cell_count());
  for (std::uint32_t p = 0; p < engine.world().pools.size(); ++p) {
    for (std::uint16_t l = 0; l < static_cast<std::uint16_t>(engine.world().locales.size()); ++l) {
      EXPECT_EQ(copy.content(p, l).slots, engine.content(p, l).slots);
      EXPECT_EQ(copy.content(p, l).ttl_s, engine.content(p, l).ttl_s);
      EXPECT_EQ(copy.lead_shares(p, l), engine.lead_shares(p, l));
      // The cell's share of what its service's sites report, or else what is counted.
      EXPECT_DOUBLE_EQ(engine.requests_of_cell(p, l),
                       engine.requests_by_cell()[p * engine.world().locales.size() + l]);
    }
  }
}

TEST(PlanTest, SharesSumToOneAndFollowTheRanking) {
  const auto engine = engine_of(small_config(), {});
  AnswerShares looked(engine.world());
  unsigned pieces = 1;  // one cell each
  for (bool over = false; !looked.go_on(engine, [&] { return std::exchange(over, !over); });)
    ++pieces;
  EXPECT_GT(pieces, 1U);
  const auto shares = looked.by_site(engine.world());
  double total = 0;
  for (const auto& [site, share] : shares) total += share;
  EXPECT_NEAR(total, 1, 1e-9);
  EXPECT_GT(shares.at("fra"), shares.at("sin"));
}

}  // namespace
}  // namespace pharos::controlplane
