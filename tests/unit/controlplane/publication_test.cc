// From changed cells to published images, with a data plane that only keeps what it is sent.
#include "pharos/controlplane/engine/publication.hh"

#include "pharos/shared/answer_text.hh"

#include <gtest/gtest.h>

#include <random>

#include "small_world.hh"

namespace pharos::controlplane {
namespace {

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
  bool take(table_channel::Outcome outcome = table_channel::Outcome::adopted, Instant now = start) {
    auto outgoing = publication.next(now);
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

// A data plane that has just connected to an engine whose first round waits to be published.
class RankedPublicationTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(dataplane.publication.apply(round_of(engine, start)));
    dataplane.connect();
  }

  void drain_fra() {
    engine.set_override(*engine.world().find_endpoint("www", "fra"), config::Override::drain,
                        start);
    ASSERT_TRUE(dataplane.publication.apply(round_of(engine, start)));
  }

  FakeDataplane dataplane{small_config()};
  Engine engine{dataplane.publication.tables().world, {}, {}, start};
};

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

TEST_F(RankedPublicationTest, AReconnectWithTheSameTablesSendsNothing) {
  ASSERT_TRUE(dataplane.take());
  dataplane.publication.disconnected();
  dataplane.connect();
  EXPECT_FALSE(dataplane.take());
  dataplane.hello.boot_id = 78;  // it started anew: from disk, or from nothing
  dataplane.connect();
  ASSERT_TRUE(dataplane.take());
  EXPECT_EQ(dataplane.sent.kinds.size(), 3U);
}

TEST_F(RankedPublicationTest, AnAcknowledgementThatWasLostIsSettledByTheNextHello) {
  auto outgoing = dataplane.publication.next(start);
  ASSERT_TRUE(outgoing && *outgoing);
  dataplane.sent = **outgoing;
  dataplane.adopt();
  dataplane.publication.disconnected();
  dataplane.connect();
  static_cast<void>(dataplane.take());
  drain_fra();
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

TEST_F(RankedPublicationTest, ARefusalIsAnAlarmAndIsNotRepeatedUntilSomethingChanges) {
  ASSERT_TRUE(dataplane.take(table_channel::Outcome::refused));
  EXPECT_NE(dataplane.publication.alarm().find("why not"), std::string::npos);
  EXPECT_EQ(dataplane.publication.generations().front().outcome, PublishOutcome::refused);
  EXPECT_FALSE(dataplane.take());
  drain_fra();
  ASSERT_TRUE(dataplane.take());
  EXPECT_TRUE(dataplane.publication.alarm().empty());
  EXPECT_EQ(dataplane.answer(www, eu).size(), 2U);
}

TEST_F(RankedPublicationTest, ARefusedDeltaIsFollowedByABaseThenByTheWholeSetThenByNothing) {
  ASSERT_TRUE(dataplane.take());
  drain_fra();
  ASSERT_TRUE(dataplane.take(table_channel::Outcome::refused));
  EXPECT_EQ(dataplane.sent.kinds, std::vector{ImageKind::ranking_delta});
  ASSERT_TRUE(dataplane.take(table_channel::Outcome::refused));
  EXPECT_EQ(dataplane.sent.kinds, std::vector{ImageKind::ranking_base});
  ASSERT_TRUE(dataplane.take(table_channel::Outcome::refused));
  EXPECT_EQ(dataplane.sent.kinds.size(), 3U);
  EXPECT_FALSE(dataplane.take()) << "there are no other bytes to try";
  EXPECT_FALSE(dataplane.publication.alarm().empty());
}

TEST_F(RankedPublicationTest, OutOfStepIsAnsweredWithABase) {
  ASSERT_TRUE(dataplane.take());
  drain_fra();
  ASSERT_TRUE(dataplane.take(table_channel::Outcome::out_of_step));
  ASSERT_TRUE(dataplane.take());
  EXPECT_EQ(dataplane.sent.kinds, std::vector{ImageKind::ranking_base});
  EXPECT_EQ(dataplane.answer(www, eu).size(), 2U);
}

TEST_F(RankedPublicationTest, AStaleVersionIsFollowedByEverythingBehindWhatIsInUse) {
  ASSERT_TRUE(dataplane.take());
  // Another control plane, thought dead, was heard in between.
  dataplane.hello.in_use = {dataplane.hello.in_use.epoch + 1, 7};
  drain_fra();
  ASSERT_TRUE(dataplane.take(table_channel::Outcome::stale));
  ASSERT_TRUE(dataplane.take()) << "without waiting for another change";
  EXPECT_EQ(dataplane.sent.kinds.size(), 3U);
  EXPECT_EQ(dataplane.answer(www, eu).size(), 2U);
}

TEST(PublicationTest, HundredsOfRoundsMergeAndStayRight) {
  FakeDataplane dataplane(small_config());
  Engine engine(dataplane.publication.tables().world, {}, {}, start);
  dataplane.connect();
  const auto endpoint = *engine.world().find_endpoint("www", "fra");
  unsigned bases = 0;
  for (int i = 0; i < 200; ++i) {
    engine.set_override(endpoint, i % 2 == 0 ? config::Override::drain : config::Override::up,
                        start);
    ASSERT_TRUE(dataplane.publication.apply(engine.step(start + milliseconds(i))));
    ASSERT_TRUE(dataplane.take());
    bases += dataplane.sent.kinds.back() == ImageKind::ranking_base;
    ASSERT_EQ(dataplane.answer(www, eu).size(), i % 2 == 0 ? 2U : 3U);
    ASSERT_LE(dataplane.publication.segment_count(), 3U) << "one pool changes all the time";
    ASSERT_EQ(dataplane.view.segment_count(), dataplane.publication.segment_count());
  }
  EXPECT_EQ(bases, 1U);
  EXPECT_EQ(dataplane.sent.version.generation, 200U);
}

// Each change is a small delta; those before it are taken in where nothing has changed for a moment.
TEST(PublicationTest, ManyDeltasAreMergedWhereNoChangeWaitsForIt) {
  auto config = small_config();
  config.services.clear();
  constexpr std::uint32_t services = 210;
  for (std::uint32_t s = 0; s < services; ++s)
    config.services.push_back(
        service_config(("s" + std::to_string(1000 + s)).c_str(), config::Policy::ranked, 3));
  FakeDataplane dataplane(config);
  Engine engine(dataplane.publication.tables().world, {}, {}, start);
  ASSERT_TRUE(dataplane.publication.apply(round_of(engine, start)));
  dataplane.connect();
  ASSERT_TRUE(dataplane.take());
  std::uint64_t one_row_bytes = 0;
  for (std::uint32_t s = 0; s < services; ++s) {
    const auto endpoint = *engine.world().find_endpoint("s" + std::to_string(1000 + s), "fra");
    engine.set_override(endpoint, config::Override::drain, start);
    ASSERT_TRUE(dataplane.publication.apply(round_of(engine, start)));
    ASSERT_TRUE(dataplane.take());
    const auto bytes = dataplane.publication.generations().front().bytes;
    if (s == 0) one_row_bytes = bytes;
    EXPECT_LE(bytes, 17 * one_row_bytes) << s;
    EXPECT_FALSE(dataplane.take()) << "at once";
  }
  const auto before = dataplane.publication.segment_count();
  ASSERT_GT(before, 12U);
  EXPECT_TRUE(dataplane.publication.settled());
  EXPECT_FALSE(dataplane.take(table_channel::Outcome::adopted, start + milliseconds(19)));
  ASSERT_TRUE(dataplane.take(table_channel::Outcome::adopted, start + milliseconds(20)));
  EXPECT_EQ(dataplane.sent.kinds, std::vector{ImageKind::ranking_delta});
  EXPECT_LT(dataplane.publication.segment_count(), 6U);
  EXPECT_EQ(dataplane.view.segment_count(), dataplane.publication.segment_count());
  for (std::uint32_t pool = 0; pool < services; ++pool)
    EXPECT_EQ(dataplane.answer(pool, eu).size(), 2U) << pool;
  EXPECT_FALSE(dataplane.take(table_channel::Outcome::adopted, start + seconds(1)));
}

TEST_F(RankedPublicationTest, NewTablesWhileAPublishIsInFlightAreSentWhole) {
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
  EXPECT_TRUE(check_shrink(*former, *next, 0.5));
  const auto refused = check_shrink(*former, *next, 0.1);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().what.find("removes 1 of 5 names"), std::string::npos)
      << refused.error().what;
  EXPECT_FALSE(check_shrink(100, *next, 0.5));
  EXPECT_TRUE(check_shrink(0, *next, 0.5));
  EXPECT_EQ(differences(*former, *former).size(), 0U);
  EXPECT_EQ(differences(*former, *next), (std::vector<std::string>{"service www removed"}));
}

}  // namespace
}  // namespace pharos::controlplane
