// The control loop from beacon to cell, in simulated time.
#include "pharos/controlplane/engine/engine.hh"

#include "pharos/wire/beacon.hh"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>

#include "small_world.hh"

namespace pharos::controlplane {
namespace {

// The addresses of a change by value, slot by slot.
CellContent content_of(const CellAnswers& answers) {
  CellContent content{.type = answers.type, .ttl_s = answers.ttl_s};
  for (const auto slot : answers.slots) {
    auto& addresses = content.slots.emplace_back();
    for (const auto member : answers.answers[slot].of(answers.members)) {
      for (const auto& address : answers.addresses[member]) {
        if (addresses.size() < answers.addresses_max) addresses.push_back(address);
      }
    }
  }
  return content;
}

// Drives an engine with beacons and its own deadlines, and keeps the cells that came out.
class Loop {
 public:
  explicit Loop(const config::Config& config = small_config(), Decisions decisions = {},
                const std::set<std::string>& down = {})
      : world_(
            *make_world(std::make_shared<const config::Config>(config), {"default", "eu", "us"})),
        engine(world_, std::move(decisions), down, start) {
    for (std::uint32_t s = 0; s < 3; ++s) next_beacon[s] = start + milliseconds(20 + 60 * s);
    report.fill({.metrics = {}, .interval_ms = 200, .leaving = false, .endpoints = {}});
    step();
  }

  void step() {
    const auto round = engine.step(now);
    for (const auto& change : round.changes) {
      for (const auto locale : round.locales_of(change)) {
        cells[{change.pool, locale}] = content_of(round.answers_of(change));
        ++changes;
      }
    }
  }
  void run_for(Duration time) {
    const Instant end = now + time;
    for (;;) {
      const auto due = std::ranges::min_element(next_beacon);
      const Instant next = std::max(now, std::min(*due, engine.next_deadline()));
      if (next > end) break;
      now = next;
      if (*due <= now) {
        const auto site = static_cast<std::uint32_t>(due - next_beacon.begin());
        engine.heard(site, report[site], 1, ++sequence, now);
        *due = *due + milliseconds(200);
      }
      step();
    }
    now = end;
  }
  [[nodiscard]] std::vector<IpAddress> answer(std::uint32_t pool, std::uint16_t locale,
                                              unsigned slot = 0) const {
    const auto& slots = cells.at({pool, locale}).slots;
    return slots.empty() ? std::vector<IpAddress>() : slots[slot % slots.size()];
  }
  [[nodiscard]] std::uint32_t ttl(std::uint32_t pool) const {
    return cells.at({pool, everyone}).ttl_s;
  }
  void kill(std::uint32_t site) { next_beacon[site] = never; }
  void revive(std::uint32_t site) { next_beacon[site] = now + milliseconds(1); }

 private:
  std::shared_ptr<const World> world_;

 public:
  Engine engine;
  std::map<std::pair<std::uint32_t, std::uint16_t>, CellContent> cells;
  std::array<Instant, 3> next_beacon{};
  std::array<SiteReport, 3> report;
  Instant now = start;
  std::uint64_t sequence = 0;
  std::size_t changes = 0;
};

std::vector<IpAddress> of(unsigned service, std::initializer_list<unsigned> endpoints) {
  std::vector<IpAddress> addresses;
  for (const auto e : endpoints) addresses.push_back(address(service, e));
  return addresses;
}

TEST(EngineTest, StartsWithEveryCellAnsweredAndThenIsQuiet) {
  Loop loop;
  EXPECT_EQ(loop.cells.size(), 9U);
  EXPECT_EQ(loop.answer(www, eu).front(), address(3, fra));
  EXPECT_EQ(loop.answer(www, us).front(), address(3, nyc));
  EXPECT_EQ(loop.answer(pay, us), of(2, {0}));
  const auto before = loop.changes;
  loop.run_for(seconds(60));
  EXPECT_EQ(loop.changes, before) << "beacons that say nothing new publish nothing";
}

TEST(EngineTest, ADeadSiteLeavesEveryAnswerInTimeAndComesBack) {
  Loop loop;
  loop.run_for(seconds(5));
  loop.kill(fra);
  loop.run_for(milliseconds(3 * 200 + 60));
  EXPECT_EQ(loop.answer(www, eu), of(3, {nyc, sin}));
  EXPECT_EQ(loop.answer(pay, eu), of(2, {nyc}));
  for (unsigned slot = 0; slot < 64; ++slot) EXPECT_NE(loop.answer(api, eu, slot), of(1, {fra}));
  EXPECT_EQ(loop.ttl(www), 30U) << "volatility";
  loop.revive(fra);
  loop.run_for(milliseconds(900));
  EXPECT_EQ(loop.answer(www, eu).size(), 2U);
  loop.run_for(milliseconds(500));
  EXPECT_EQ(loop.answer(www, eu).front(), address(3, fra));
  EXPECT_EQ(loop.ttl(www), 15U);
  loop.run_for(seconds(600));
  EXPECT_EQ(loop.ttl(www), 60U);
}

TEST(EngineTest, AWeightedPoolMovesOnlyTheClientsOfTheDeadSiteAndBringsThemBack) {
  Loop loop;
  loop.run_for(seconds(5));
  const auto before = loop.cells.at({api, everyone}).slots;
  loop.kill(sin);
  loop.run_for(seconds(1));
  const auto without = loop.cells.at({api, everyone}).slots;
  unsigned moved = 0;
  for (std::size_t slot = 0; slot < before.size(); ++slot) {
    moved += before[slot] != without[slot] && before[slot] != of(1, {sin});
  }
  EXPECT_LE(moved, 16U) << "of 43 clients of others";
  loop.revive(sin);
  loop.run_for(seconds(1200));  // until its fall is forgotten: then the weights are exact again
  EXPECT_EQ(loop.cells.at({api, everyone}).slots, before);
}

TEST(EngineTest, SuspicionShortensTheTtlAndMovesNothing) {
  Loop loop;
  loop.report[fra].copies = 2;
  loop.run_for(seconds(5));
  loop.kill(fra);
  loop.run_for(milliseconds(350));  // its last beacon was 180 ms ago
  EXPECT_EQ(loop.engine.health().site(fra).state, SiteState::suspect);
  EXPECT_EQ(loop.answer(www, eu).front(), address(3, fra));
  EXPECT_EQ(loop.ttl(www), 5U);
  loop.revive(fra);
  loop.run_for(milliseconds(300));
  EXPECT_EQ(loop.ttl(www), 60U);
}

TEST(EngineTest, LoadMovesASiteDownInRankAndCalmBringsItBack) {
  Loop loop;
  loop.run_for(seconds(5));
  loop.report[fra].metrics.cpu_ratio = 0.97F;
  loop.run_for(seconds(4));
  EXPECT_EQ(loop.answer(www, eu).back(), address(3, fra)) << "hot, not dead";
  const auto view = loop.engine.view(loop.engine.world().pools[www].members[fra], eu, loop.now);
  EXPECT_EQ(view.state, "degraded");
  EXPECT_LT(view.factors.health, 0.1);
  EXPECT_NE(view.reason.find("cpu"), std::string::npos);
  loop.report[fra].metrics.cpu_ratio = 0.1F;
  loop.run_for(seconds(6));
  EXPECT_EQ(loop.answer(www, eu).front(), address(3, fra));
}

TEST(EngineTest, SmallChangesOfLoadReorderNothing) {
  Loop loop;
  loop.run_for(seconds(5));
  const auto before = loop.changes;
  std::mt19937 generator(3);
  std::uniform_real_distribution<float> cpu(0.05F, 0.2F);
  for (int i = 0; i < 300; ++i) {
    for (auto& report : loop.report) report.metrics.cpu_ratio = cpu(generator);
    loop.run_for(milliseconds(200));
  }
  EXPECT_EQ(loop.changes, before);
}

TEST(EngineTest, AnOperatorsWordBeatsHealthAndIsRemembered) {
  Loop loop;
  loop.run_for(seconds(5));
  const auto endpoint = *loop.engine.world().find_endpoint("www", "fra");
  loop.engine.set_override(endpoint, config::Override::drain, loop.now);
  loop.step();
  EXPECT_EQ(loop.answer(www, eu), of(3, {nyc, sin}));
  EXPECT_EQ(loop.engine.view(endpoint, eu, loop.now).state, "draining");
  loop.engine.set_override(endpoint, config::Override::up, loop.now);
  loop.kill(fra);
  loop.run_for(seconds(5));
  EXPECT_EQ(loop.answer(www, eu).front(), address(3, fra)) << "held up although its site is down";

  Loop again(small_config(), loop.engine.decisions(), {"fra"});
  EXPECT_EQ(again.answer(www, eu).front(), address(3, fra));
  EXPECT_EQ(again.answer(pay, eu), of(2, {nyc}))
      << "a site that was down before the restart stays down";
}

TEST(EngineTest, DrainingEverythingAnswersTheDrained) {
  Loop loop;
  loop.run_for(seconds(5));
  for (const char* id : {"fra", "nyc", "sin"}) {
    loop.engine.set_override(*loop.engine.world().find_endpoint("www", id), config::Override::drain,
                             loop.now);
  }
  loop.step();
  EXPECT_EQ(loop.answer(www, eu).size(), 3U);
}

TEST(EngineTest, WeightsAreTunedLive) {
  Loop loop;
  const auto share = [&] {
    const auto& slots = loop.cells.at({api, everyone}).slots;
    return std::ranges::count(slots, of(1, {fra}));
  };
  EXPECT_NEAR(static_cast<double>(share()), 64.0 / 3, 1);
  const auto endpoint = *loop.engine.world().find_endpoint("api", "fra");
  loop.engine.set_weight(endpoint, 6.0, loop.now);
  loop.step();
  EXPECT_EQ(share(), 48);
  loop.engine.set_weight(endpoint, 0.0, loop.now);
  loop.step();
  EXPECT_EQ(share(), 0);
  loop.engine.set_weight(endpoint, std::nullopt, loop.now);
  loop.step();
  EXPECT_NEAR(static_cast<double>(share()), 64.0 / 3, 1);
}

TEST(EngineTest, PanicAnswersAllAndRaisesAnAlarm) {
  auto config = small_config();
  config.controlplane.health.mass_silence_share = 1.0;  // judge every site by itself
  Loop loop(config);
  loop.run_for(seconds(5));
  EXPECT_TRUE(loop.engine.alarms().empty());
  loop.kill(fra);
  loop.kill(nyc);
  loop.run_for(seconds(2));
  EXPECT_EQ(loop.answer(www, eu).size(), 3U);
  EXPECT_EQ(loop.answer(pay, eu), of(2, {sin})) << "failover goes to the last tier";
  ASSERT_FALSE(loop.engine.alarms().empty());
  EXPECT_NE(loop.engine.alarms().back().find("www/A"), std::string::npos);
}

TEST(EngineTest, FailModesAreFollowed) {
  auto config = small_config();
  config.controlplane.health.mass_silence_share = 1.0;
  config.services[www].fail = config::FailMode::to;
  config.services[www].fail_to = "pay";
  config.services[api].fail = config::FailMode::closed;
  Loop loop(config);
  loop.run_for(seconds(5));
  for (const auto site : {fra, nyc}) loop.kill(site);
  loop.run_for(seconds(2));
  EXPECT_EQ(loop.answer(www, eu), of(2, {sin})) << "pay answers for www";
  EXPECT_EQ(loop.answer(api, eu), of(1, {sin}));
  EXPECT_NE(loop.engine.view_pool(www).answered_by, www);
  loop.kill(sin);
  loop.run_for(seconds(2));
  EXPECT_TRUE(loop.answer(api, eu).empty()) << "closed";
  EXPECT_FALSE(loop.answer(www, eu).empty()) << "never empty";
}

TEST(EngineTest, MassSilenceKeepsTheLastGoodAnswers) {
  Loop loop;
  loop.run_for(seconds(5));
  const auto before = loop.cells;
  for (const auto site : {fra, nyc, sin}) loop.kill(site);
  loop.run_for(seconds(60));
  for (const auto& [cell, content] : before) EXPECT_EQ(loop.cells.at(cell).slots, content.slots);
  ASSERT_EQ(loop.engine.alarms().size(), 1U);
  EXPECT_NE(loop.engine.alarms()[0].find("suspect ourselves"), std::string::npos);
}

TEST(EngineTest, WakingUpLateTakesNobodyDown) {
  Loop loop;
  loop.run_for(seconds(5));
  loop.now = loop.now + seconds(30);  // we were stopped
  loop.step();
  EXPECT_EQ(loop.answer(www, eu).size(), 3U);
  for (const auto site : {fra, nyc, sin})
    loop.next_beacon[site] = loop.now + milliseconds(10 + 50 * site);
  loop.run_for(seconds(5));
  EXPECT_EQ(loop.answer(www, eu).size(), 3U);
}

TEST(EngineTest, AnAgentsWordOnAnEndpointCounts) {
  Loop loop;
  loop.run_for(seconds(5));
  loop.report[fra].endpoints = {
      {.endpoint = endpoint_hash("www", "fra"), .up = false, .requests_rps = {}}};
  loop.run_for(milliseconds(250));
  EXPECT_EQ(loop.answer(www, eu), of(3, {nyc, sin}));
  EXPECT_EQ(loop.answer(pay, eu), of(2, {fra})) << "only that one";
  loop.report[fra].endpoints[0].up = true;
  loop.run_for(milliseconds(1500));
  EXPECT_EQ(loop.answer(www, eu).size(), 3U);
}

TEST(EngineTest, AReloadKeepsWhatIsKnownOfSites) {
  Loop loop;
  loop.run_for(seconds(5));
  loop.kill(fra);
  loop.run_for(seconds(2));
  auto config = small_config();
  config.services.erase(config.services.begin());
  loop.cells.clear();
  loop.engine.replace_world(
      *make_world(std::make_shared<const config::Config>(config), {"default", "eu", "us"}),
      loop.now);
  loop.step();
  EXPECT_EQ(loop.cells.size(), 6U);
  EXPECT_EQ(loop.answer(1, eu), of(3, {nyc, sin}));
}

TEST(EngineTest, AReloadForgetsNoRestlessness) {
  Loop loop;
  loop.run_for(seconds(5));
  loop.kill(fra);
  loop.run_for(seconds(2));
  const auto ttl_s = loop.engine.view_pool(www).ttl_s;
  ASSERT_LT(ttl_s, 60U);
  auto config = small_config();
  config.services[2].answers_max = 3;
  config.services[0].ttl_ceiling = seconds(300);
  const auto world =
      make_world(std::make_shared<const config::Config>(config), {"default", "eu", "us"});
  loop.engine.replace_world(*world, loop.now);
  loop.step();
  EXPECT_EQ(loop.engine.view_pool(www).ttl_s, ttl_s) << "the answers still change now and then";
  EXPECT_EQ(loop.engine.view_pool(api).ttl_s, 300U) << "another ceiling begins anew";
  loop.run_for(seconds(2000));
  EXPECT_EQ(loop.engine.view_pool(www).ttl_s, 60U) << "and calm still counts";
}

TEST(EngineTest, TheSameEventsGiveTheSameCellsBitForBit) {
  const auto run = [](std::uint64_t seed) {
    Loop loop;
    std::mt19937_64 generator(seed);
    std::uniform_real_distribution<float> ratio(0, 1);
    for (int event = 0; event < 400; ++event) {
      const auto site = static_cast<std::uint32_t>(generator() % 3);
      switch (generator() % 4) {
        case 0:
          loop.kill(site);
          break;
        case 1:
          loop.revive(site);
          break;
        default:
          loop.report[site].metrics.cpu_ratio = ratio(generator);
      }
      loop.run_for(milliseconds(static_cast<std::int64_t>(generator() % 900)));
    }
    std::vector<std::string> text;
    for (const auto& [cell, content] : loop.cells) {
      std::string line = std::to_string(cell.first) + "/" + std::to_string(cell.second) + " " +
                         std::to_string(content.ttl_s);
      for (const auto& slot : content.slots) {
        for (const auto& a : slot) line += " " + a.text();
        line += ";";
      }
      text.push_back(line);
    }
    text.push_back(std::to_string(loop.changes));
    return text;
  };
  EXPECT_EQ(run(11), run(11));
  EXPECT_NE(run(11), run(12));
}

}  // namespace
}  // namespace pharos::controlplane
