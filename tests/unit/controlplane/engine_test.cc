// The control loop from beacon to published image, with a data plane that only keeps what it is
// sent.
#include "pharos/controlplane/engine/engine.hh"

#include "pharos/controlplane/engine/publication.hh"
#include "pharos/shared/answer_text.hh"
#include "pharos/wire/beacon.hh"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>

namespace pharos::controlplane {
namespace {

constexpr Instant start{1'000'000'000'000};
constexpr std::uint32_t fra = 0, nyc = 1, sin = 2;
constexpr std::uint16_t everyone = 0, eu = 1, us = 2;

IpAddress address(unsigned service, unsigned endpoint) {
  return IpAddress::from_ipv4(0xcb007100U + service * 16 + endpoint);
}

config::ServiceConfig service_config(const char* id, config::Policy policy, unsigned number) {
  config::ServiceConfig service;
  service.id = id;
  service.names = {std::string(id) + ".example.org."};
  service.policy = policy;
  unsigned e = 0;
  for (const char* site : {"fra", "nyc", "sin"}) {
    config::EndpointConfig endpoint;
    endpoint.id = site;
    endpoint.site = site;
    endpoint.addresses = {address(number, e)};
    endpoint.priority = static_cast<int>(e);
    service.endpoints.push_back(endpoint);
    ++e;
  }
  return service;
}

config::Config small_config() {
  config::Config config;
  const struct {
    const char* id;
    double latitude, longitude;
  } sites[] = {{"fra", 50.1, 8.7}, {"nyc", 40.7, -74.0}, {"sin", 1.35, 103.8}};
  for (const auto& s : sites) {
    config::SiteConfig site;
    site.id = s.id;
    site.latitude = s.latitude;
    site.longitude = s.longitude;
    site.beacon_interval = milliseconds(200);
    site.keys.resize(1);
    config.sites.push_back(site);
  }
  config::LocaleConfig locale;
  locale.id = "eu";
  locale.latitude = 48.9;
  locale.longitude = 2.4;
  locale.prefixes = {*IpPrefix::parse("198.18.1.0/24")};
  config.locales.push_back(locale);
  locale.id = "us";
  locale.latitude = 41.9;
  locale.longitude = -87.6;
  locale.prefixes = {*IpPrefix::parse("198.18.2.0/24")};
  config.locales.push_back(locale);
  config.zones.resize(1);
  config.zones[0].id = "example.org.";
  config.zones[0].hosts = {{"ns1", {*IpAddress::parse("192.0.2.53")}}};
  config.services.push_back(service_config("api", config::Policy::weighted, 1));
  config.services.push_back(service_config("pay", config::Policy::failover, 2));
  config.services.push_back(service_config("www", config::Policy::ranked, 3));
  config.services[0].answers_max = 1;
  config.controlplane.health.rise = seconds(1);
  return config;
}
constexpr std::uint32_t api = 0, pay = 1, www = 2;  // pools, in the order of their ids

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
    for (const auto& cell : engine.step(now).cells) {
      cells[{cell.pool, cell.locale}] = *cell.content;
      ++changes;
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
  loop.run_for(seconds(5));
  loop.kill(fra);
  loop.run_for(milliseconds(280));  // its last beacon was 180 ms ago
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

// ---- publishing ----

// A data plane that proves and keeps what it is sent, as the real one does.
class FakeDataplane {
 public:
  explicit FakeDataplane(const config::Config& config, Version last = {}, bool lost = true)
      : publication(*tables_of(config), last, lost) {}

  static std::shared_ptr<const Tables>* tables_of(const config::Config& config) {
    static std::shared_ptr<const Tables> made;
    std::string broken;
    auto built =
        build_tables(std::make_shared<const config::Config>(config), {}, {1, 1}, {}, broken);
    if (!built)
      ADD_FAILURE() << built.error().text();
    else
      made = *built;
    return &made;
  }
  void connect() {
    hello.header = table_channel::header_for(table_channel::MessageType::hello);
    publication.connected(hello);
  }
  // Takes what is to be published. False: nothing was.
  bool take(table_channel::Outcome outcome = table_channel::Outcome::adopted) {
    auto outgoing = publication.next(start);
    if (!outgoing) {
      ADD_FAILURE() << outgoing.error().text();
      return false;
    }
    if (!*outgoing) return false;
    sent = **outgoing;
    if (outcome == table_channel::Outcome::adopted) adopt();
    publication.acknowledged(
        table_channel::make_acknowledge(outcome, sent.version, hello.in_use, "why not"));
    return true;
  }
  void adopt() {
    EXPECT_GT(sent.version, hello.in_use);
    for (std::size_t i = 0; i < sent.kinds.size(); ++i) {
      auto mapping = map_sealed(sent.fds[i]);
      ASSERT_TRUE(mapping) << mapping.error().text();
      const auto bytes = mapping->bytes();
      if (sent.kinds[i] == ImageKind::catalog)
        hello.pools_id = catalog::View::prove(bytes)->header().content_id;
      if (sent.kinds[i] == ImageKind::locale_map)
        hello.locales_id = locale_map::View::prove(bytes)->header().content_id;
      if (sent.kinds[i] == ImageKind::ranking_base) view = *ranking::View::prove_base(bytes);
      if (sent.kinds[i] == ImageKind::ranking_delta) {
        auto next = view.prove_delta(bytes);
        ASSERT_TRUE(next) << next.error().text();
        view = *next;
      }
      kept.push_back(std::move(*mapping));
    }
    hello.in_use = sent.version;
    hello.ranking = view.version();
  }
  [[nodiscard]] std::vector<std::string> answer(std::uint32_t pool, std::uint16_t locale,
                                                std::uint32_t hash = 0) const {
    const auto* found = view.answer(view.row(pool)[locale], hash);
    static constexpr std::byte root{0};
    return found == nullptr ? std::vector<std::string>()
                            : answer_text(*found, ConstBytes(&root, 1));
  }

  Publication publication;
  table_channel::Hello hello{.header = {},
                             .worker_count = 1,
                             .reserved = 0,
                             .boot_id = 77,
                             .in_use = {},
                             .ranking = {},
                             .ranking_base = {},
                             .pools_id = 0,
                             .locales_id = 0,
                             .ranking_segments = 0,
                             .reserved1 = 0};
  Outgoing sent;
  ranking::View view;
  std::vector<Mapping> kept;
};

Round round_of(Engine& engine, Instant now) {
  return engine.step(now);
}

TEST(PublicationTest, SendsEverythingFirstAndDeltasAfterwards) {
  const auto config = small_config();
  FakeDataplane dataplane(config);
  Engine engine(dataplane.publication.tables().world, {}, {}, start);
  ASSERT_TRUE(dataplane.publication.apply(round_of(engine, start)));
  EXPECT_FALSE(dataplane.take()) << "nobody is connected";
  dataplane.connect();
  ASSERT_TRUE(dataplane.take());
  EXPECT_EQ(dataplane.sent.kinds,
            (std::vector{ImageKind::catalog, ImageKind::locale_map, ImageKind::ranking_base}));
  EXPECT_TRUE(dataplane.publication.settled());
  EXPECT_FALSE(dataplane.take());
  engine.set_override(*engine.world().find_endpoint("www", "fra"), config::Override::drain, start);
  ASSERT_TRUE(dataplane.publication.apply(round_of(engine, start)));
  ASSERT_TRUE(dataplane.take());
  EXPECT_EQ(dataplane.sent.kinds, std::vector{ImageKind::ranking_delta});
  const auto answer = dataplane.answer(www, eu);
  EXPECT_EQ(answer.size(), 2U);
  for (const auto& line : answer)
    EXPECT_EQ(line.find(address(3, fra).text()), std::string::npos) << line;
}

TEST(PublicationTest, WhatIsServedIsWhatTheEngineSaysItIs) {
  const auto config = small_config();
  FakeDataplane dataplane(config);
  Engine engine(dataplane.publication.tables().world, {}, {}, start);
  dataplane.connect();
  Instant now = start;
  std::mt19937_64 generator(5);
  for (int round = 0; round < 40; ++round) {
    now = now + milliseconds(150);
    for (std::uint32_t site = 0; site < 3; ++site) {
      SiteReport report{
          .metrics = {}, .interval_ms = 200, .leaving = generator() % 10 == 0, .endpoints = {}};
      report.metrics.cpu_ratio = static_cast<float>(generator() % 100) / 100;
      engine.heard(site, report, 1, static_cast<std::uint64_t>(round), now);
    }
    ASSERT_TRUE(dataplane.publication.apply(engine.step(now)));
    while (dataplane.take()) {
    }
    for (std::uint32_t pool = 0; pool < 3; ++pool) {
      for (const std::uint16_t locale : {everyone, eu, us}) {
        const auto content = engine.content(pool, locale);
        for (std::uint32_t slot = 0; slot < content.slots.size(); ++slot) {
          const auto lines = dataplane.answer(pool, locale, slot);
          ASSERT_EQ(lines.size(), content.slots[slot].size());
          for (std::size_t i = 0; i < lines.size(); ++i) {
            EXPECT_TRUE(lines[i].ends_with(content.slots[slot][i].text())) << lines[i];
            EXPECT_NE(lines[i].find(" " + std::to_string(content.ttl_s) + " "), std::string::npos)
                << lines[i];
          }
          const auto endpoints = engine.answered(pool, locale, slot);
          ASSERT_EQ(endpoints.size(), lines.size());
          for (std::size_t i = 0; i < lines.size(); ++i) {
            EXPECT_EQ(engine.world().endpoint(endpoints[i]).addresses[0], content.slots[slot][i]);
          }
        }
      }
    }
  }
}

TEST(PublicationTest, AReconnectWithTheSameTablesSendsNothing) {
  FakeDataplane dataplane(small_config());
  Engine engine(dataplane.publication.tables().world, {}, {}, start);
  ASSERT_TRUE(dataplane.publication.apply(round_of(engine, start)));
  dataplane.connect();
  ASSERT_TRUE(dataplane.take());
  dataplane.publication.disconnected();
  dataplane.connect();
  EXPECT_FALSE(dataplane.take());
  dataplane.hello.boot_id = 78;  // it started anew: from disk, or from nothing
  dataplane.connect();
  ASSERT_TRUE(dataplane.take());
  EXPECT_EQ(dataplane.sent.kinds.size(), 3U);
}

TEST(PublicationTest, AnAcknowledgementThatWasLostIsSettledByTheNextHello) {
  FakeDataplane dataplane(small_config());
  Engine engine(dataplane.publication.tables().world, {}, {}, start);
  ASSERT_TRUE(dataplane.publication.apply(round_of(engine, start)));
  dataplane.connect();
  auto outgoing = dataplane.publication.next(start);
  ASSERT_TRUE(outgoing && *outgoing);
  dataplane.sent = **outgoing;
  dataplane.adopt();
  dataplane.publication.disconnected();
  dataplane.connect();
  static_cast<void>(dataplane.take());
  engine.set_override(*engine.world().find_endpoint("www", "fra"), config::Override::drain, start);
  ASSERT_TRUE(dataplane.publication.apply(round_of(engine, start)));
  EXPECT_TRUE(dataplane.take());
  EXPECT_EQ(dataplane.answer(www, eu).size(), 2U);
}

TEST(PublicationTest, VersionsGrowOnFromWhatIsInUse) {
  FakeDataplane dataplane(small_config(), {2, 40}, false);
  dataplane.hello.in_use = {2, 45};  // the last five never reached our disk
  dataplane.connect();
  ASSERT_TRUE(dataplane.take());
  EXPECT_EQ(dataplane.sent.version, (Version{2, 46}));
}

TEST(PublicationTest, ALostDatabaseStartsANewEpoch) {
  FakeDataplane dataplane(small_config());
  dataplane.hello.in_use = {1, 45};
  dataplane.connect();
  ASSERT_TRUE(dataplane.take());
  EXPECT_EQ(dataplane.sent.version, (Version{2, 1}));
  FakeDataplane old(small_config(), {1, 400}, false);  // a database from a backup
  old.hello.in_use = {3, 7};
  old.connect();
  ASSERT_TRUE(old.take());
  EXPECT_EQ(old.sent.version, (Version{4, 1}));
}

TEST(PublicationTest, ARefusalIsAnAlarmAndIsNotRepeatedUntilSomethingChanges) {
  FakeDataplane dataplane(small_config());
  Engine engine(dataplane.publication.tables().world, {}, {}, start);
  ASSERT_TRUE(dataplane.publication.apply(round_of(engine, start)));
  dataplane.connect();
  ASSERT_TRUE(dataplane.take(table_channel::Outcome::refused));
  EXPECT_NE(dataplane.publication.alarm().find("why not"), std::string::npos);
  EXPECT_EQ(dataplane.publication.generations().front().outcome, PublishOutcome::refused);
  EXPECT_FALSE(dataplane.take());
  engine.set_override(*engine.world().find_endpoint("www", "fra"), config::Override::drain, start);
  ASSERT_TRUE(dataplane.publication.apply(round_of(engine, start)));
  ASSERT_TRUE(dataplane.take());
  EXPECT_TRUE(dataplane.publication.alarm().empty());
  EXPECT_EQ(dataplane.answer(www, eu).size(), 2U);
}

TEST(PublicationTest, OutOfStepIsAnsweredWithABase) {
  FakeDataplane dataplane(small_config());
  Engine engine(dataplane.publication.tables().world, {}, {}, start);
  ASSERT_TRUE(dataplane.publication.apply(round_of(engine, start)));
  dataplane.connect();
  ASSERT_TRUE(dataplane.take());
  engine.set_override(*engine.world().find_endpoint("www", "fra"), config::Override::drain, start);
  ASSERT_TRUE(dataplane.publication.apply(round_of(engine, start)));
  ASSERT_TRUE(dataplane.take(table_channel::Outcome::out_of_step));
  ASSERT_TRUE(dataplane.take());
  EXPECT_EQ(dataplane.sent.kinds, std::vector{ImageKind::ranking_base});
  EXPECT_EQ(dataplane.answer(www, eu).size(), 2U);
}

TEST(PublicationTest, AThousandRoundsCompactAndStayRight) {
  FakeDataplane dataplane(small_config());
  Engine engine(dataplane.publication.tables().world, {}, {}, start);
  dataplane.connect();
  const auto endpoint = *engine.world().find_endpoint("www", "fra");
  unsigned bases = 0;
  for (int i = 0; i < 1000; ++i) {
    engine.set_override(endpoint, i % 2 == 0 ? config::Override::drain : config::Override::up,
                        start);
    ASSERT_TRUE(dataplane.publication.apply(engine.step(start + milliseconds(i))));
    ASSERT_TRUE(dataplane.take());
    bases += dataplane.sent.kinds.back() == ImageKind::ranking_base;
    ASSERT_EQ(dataplane.answer(www, eu).size(), i % 2 == 0 ? 2U : 3U);
    if (bases > 0 && dataplane.sent.kinds.back() == ImageKind::ranking_base) {
      dataplane.kept.erase(dataplane.kept.begin(), dataplane.kept.end() - 1);
    }
  }
  EXPECT_GE(bases, 20U);
  EXPECT_EQ(dataplane.sent.version.generation, 1000U);
}

TEST(PublicationTest, NewTablesWhileAPublishIsInFlightAreSentWhole) {
  FakeDataplane dataplane(small_config());
  Engine engine(dataplane.publication.tables().world, {}, {}, start);
  ASSERT_TRUE(dataplane.publication.apply(round_of(engine, start)));
  dataplane.connect();
  auto outgoing = dataplane.publication.next(start);
  ASSERT_TRUE(outgoing && *outgoing);
  dataplane.sent = **outgoing;
  dataplane.adopt();
  auto config = small_config();
  config.services.pop_back();
  const auto tables = *FakeDataplane::tables_of(config);
  engine.replace_world(tables->world, start);
  dataplane.publication.replace_tables(tables);
  ASSERT_TRUE(dataplane.publication.apply(engine.step(start)));
  dataplane.publication.acknowledged(table_channel::make_acknowledge(
      table_channel::Outcome::adopted, dataplane.sent.version, dataplane.hello.in_use, ""));
  ASSERT_TRUE(dataplane.take());
  EXPECT_EQ(dataplane.sent.kinds.size(), 3U);
  EXPECT_EQ(dataplane.view.pool_count(), 2U);
}

TEST(PlanCheckTest, APlanThatLosesMostNamesNeedsForce) {
  const auto former = *FakeDataplane::tables_of(small_config());
  auto config = small_config();
  config.services.pop_back();
  const auto next = *FakeDataplane::tables_of(config);
  EXPECT_TRUE(check_shrink(former->catalog, next->catalog, 0.5));
  const auto refused = check_shrink(former->catalog, next->catalog, 0.1);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().what.find("removes 1 of 5 names"), std::string::npos)
      << refused.error().what;
  EXPECT_FALSE(check_shrink(100, next->catalog, 0.5));
  EXPECT_TRUE(check_shrink(0, next->catalog, 0.5));
  EXPECT_EQ(differences(*former, *former).size(), 0U);
  EXPECT_EQ(differences(*former, *next), (std::vector<std::string>{"service www removed"}));
}

}  // namespace
}  // namespace pharos::controlplane
