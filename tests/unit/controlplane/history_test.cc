// What is remembered of decisions: rebuilt, bounded, sealed, and whole after a kill at any moment.
#include <sys/wait.h>

#include <nlohmann/json.hpp>

#include <csignal>
#include <filesystem>
#include <random>
#include <thread>

#include "history_fixture.hh"
#include "large_world.hh"

namespace pharos::controlplane {
namespace {

TEST_F(HistoryTest, RebuildsThePastWithItsInputsAndWhatMovedThem) {
  const auto history = open();
  Decider decider;
  history->offer(decider.round(1, day));
  history->offer(decider.decide(2, after(day, seconds(10))));  // www/fra goes down
  history->offer(decider.decide(3, after(day, seconds(20))));  // and comes back
  ASSERT_TRUE(history->sync());

  const auto first_of = [&](WallTime at) {
    const auto past = history->decision("www/A", "eu", at);
    EXPECT_TRUE(past && *past);
    const auto& content = (*past)->content;
    const auto& members = (*past)->members;
    const auto slot = content["slots"][0].get<std::size_t>();
    const auto member = content["answers"][slot][0][0].get<std::size_t>();
    EXPECT_EQ((*past)->scores.size(), members.size());
    return members[member]["endpoint"].get<std::string>();
  };
  EXPECT_EQ(first_of(after(day, seconds(9))), "fra");
  EXPECT_EQ(first_of(after(day, seconds(10))), "nyc");
  EXPECT_EQ(first_of(after(day, seconds(19))), "nyc");
  EXPECT_EQ(first_of(after(day, seconds(999))), "fra");
  EXPECT_FALSE(*history->decision("www/A", "eu", {day.ns - 1'000'000})) << "nothing was known yet";

  const auto rows = history->decisions(only("www", "eu"));
  ASSERT_TRUE(rows);
  ASSERT_EQ(rows->size(), 3U);
  EXPECT_EQ((*rows)[2].cause, "first ranking");
  EXPECT_EQ((*rows)[1].cause,
            "fra: unknown -> down (taken down by the operator); nyc leads 0 % -> 100 %; "
            "fra leads 100 % -> 0 %");
  EXPECT_EQ((*rows)[1].version, (Version{1, 2}));
  EXPECT_TRUE((*rows)[0].cause.starts_with("fra: down -> ")) << (*rows)[0].cause;
  EXPECT_TRUE((*rows)[0].cause.ends_with("; fra leads 0 % -> 100 %; nyc leads 100 % -> 0 %"))
      << (*rows)[0].cause;
  auto lately = only({});
  lately.since = after(day, seconds(15));
  EXPECT_EQ(history->decisions(lately)->front().service, "www");
  EXPECT_EQ(history->counters().rounds, 3U);
}

// A round that touches everything is kept as whole as one that touches one thing: of each member, from what it was judged,
// and these facts make the very score by which it was ranked, for each locale.
TEST_F(HistoryTest, ARoundOfAllEndpointsKeepsTheFactsThatMakeItsScores) {
  LargeWorld large{.services = 1250, .locales = 3, .sites = 40, .endpoints = 8};
  const auto shared = std::make_shared<const config::Config>(large.config());
  const auto world = *make_world(shared, large.locale_names());
  ASSERT_EQ(world->endpoints.size(), 10'000U);
  Engine engine(world, {}, {}, start);
  auto exponents = engine.exponents();
  exponents.health = 1.5;
  engine.set_exponents(exponents, start);
  const auto history = open();
  Instant now = start;
  const auto publish = [&](std::uint64_t number) {
    now = now + seconds(1);
    for (std::uint32_t s = 0; s < large.sites; ++s) {
      SiteReport report{.metrics = {}, .interval_ms = 200, .leaving = false, .endpoints = {}};
      report.metrics.cpu_ratio =
          (number + s) % 3 == 0 ? 0.8F : 0.05F + 0.01F * static_cast<float>(s);
      engine.heard(s, report, 1, number, now);
    }
    auto round = engine.step(now);
    auto captured = capture_round(engine, std::move(round), {1, number}, now,
                                  after(day, seconds(static_cast<int>(number))));
    EXPECT_GT(captured.endpoints.size(), 8'000U) << "nearly all are touched, at first all";
    history->offer(std::move(captured));
  };
  publish(1);
  ASSERT_TRUE(history->sync());
  // Scores as they were kept, beside those that the engine has still.
  unsigned well = 0;
  for (const std::uint32_t pool : {0U, 617U, 1249U}) {
    for (std::uint16_t locale = 0; locale < large.locales; ++locale) {
      const auto past = history->decision(world->pools[pool].pool.name(), world->locales[locale],
                                          after(day, seconds(3)));
      ASSERT_TRUE(past && *past);
      const auto& members = (*past)->members;
      const auto& scores = (*past)->scores;
      ASSERT_EQ(members.size(), 8U);
      ASSERT_EQ(scores.size(), 8U);
      for (std::size_t m = 0; m < members.size(); ++m) {
        const auto seen = engine.view(world->pools[pool].members[m], locale, now);
        const auto site = world->endpoints[world->pools[pool].members[m]].site;
        EXPECT_NEAR(scores[m][0].get<double>(), world->rtt(locale, site), 1e-3);
        EXPECT_NEAR(scores[m][2].get<double>(), seen.score, 2e-6);
        EXPECT_EQ(members[m]["state"], seen.state);
        EXPECT_EQ(members[m]["reason"], seen.reason);
        EXPECT_NEAR(members[m]["health"].get<double>(), seen.factors.health, 1e-6);
        well += seen.factors.health > 0.9;
      }
    }
  }
  EXPECT_GT(well, 0U);
  EXPECT_LT(well, 72U) << "some are hot";
  publish(2);
  ASSERT_TRUE(history->sync());
  const auto causes = history->decisions(only({}, {}, 1));
  ASSERT_TRUE(causes && !causes->empty());
  EXPECT_EQ(causes->front().version.generation, 2U);
  EXPECT_NE(causes->front().cause.find(": health "), std::string::npos) << causes->front().cause;
}

// What a former version kept is shown as ever.
TEST_F(HistoryTest, ReadsWhatFormerVersionsWrote) {
  const auto history = open();
  Decider decider;
  history->offer(decider.round(1, day));
  ASSERT_TRUE(history->sync());
  run_sql("DELETE FROM scoring");
  run_sql(R"(UPDATE inputs SET members = '[{"endpoint":"fra","site":"fra","health":0.5}]')");
  run_sql("UPDATE decisions SET scores = '[[7.0,0.8,0.4]]', cause = 'first ranking'");
  const auto past = history->decision("www/A", "eu", after(day, seconds(1)));
  ASSERT_TRUE(past && *past);
  EXPECT_EQ((*past)->members[0]["health"], 0.5);
  EXPECT_EQ((*past)->scores[0][2], 0.4);
  EXPECT_EQ((*past)->cause, "first ranking");
}

// Nobody waits for it to be written: another reader of the file finds it there all the same, within the second that a crash
// may cost.
TEST_F(HistoryTest, WhatWasDecidedIsInTheFileWithinASecond) {
  const auto history = open();
  Decider decider;
  history->offer(decider.round(1, day));
  ASSERT_TRUE(history->sync());
  auto reader = Database::open(files_.directory() + "/history.db", history_kind);
  ASSERT_TRUE(reader) << reader.error().text();
  const auto newest = [&] {
    auto row = reader->prepare("SELECT max(generation) FROM rounds");
    return row.row() ? row.unsigned_integer(0) : 0;
  };
  Duration least = seconds(20);  // of some: a busy machine may take its time for one
  for (std::uint64_t generation = 2; generation < 6; ++generation) {
    const auto offered = monotonic_now();
    history->offer(decider.decide(generation, after(day, seconds(60))));
    while (newest() < generation && monotonic_now() - offered < seconds(20))
      std::this_thread::yield();
    ASSERT_EQ(newest(), generation);
    least = std::min(least, monotonic_now() - offered);
  }
  EXPECT_LT(least, seconds(1));
}

// A change that no fact of a member explains is told by what it does: whose clients go where, or the TTL.
TEST_F(HistoryTest, ADecisionWithoutANewFactSaysWhatItMoved) {
  auto config = small_config();
  config.sites[fra].capacity_rps = 100;
  const auto history = open();
  Decider decider(config);
  for (unsigned i = 1; i <= 60; ++i) {
    decider.engine.heard_demand(www, eu, i < 10 ? 0 : 150);
    decider.engine.assign_in_place(start + seconds(i));
    history->offer(decider.round(i, after(day, seconds(i))));
  }
  for (unsigned i = 61; i <= 64; ++i)  // the calm between them halves the level
    history->offer(decider.round(i, after(day, seconds(i)), seconds(200)));
  ASSERT_TRUE(history->sync());
  const auto rows = history->decisions(only("www", "eu", 100));
  ASSERT_TRUE(rows);
  unsigned shared = 0, calm = 0;
  for (const auto& row : *rows) {
    shared += row.cause.contains("fra leads ") && row.cause.contains("; nyc leads ");
    calm += row.cause.starts_with("TTL ");
  }
  std::string all;
  for (const auto& row : *rows) all += row.cause + "\n";
  EXPECT_GE(shared, 1U) << all;
  EXPECT_GE(calm, 1U) << all;
}

// The child says what it has seen written; whatever the moment of its death, that much is there and the file is sound.
TEST_F(HistoryTest, AKillAtAnyMomentLosesNothingThatWasSyncedAndNeverTheFile) {
  constexpr unsigned seed = 20'261'120;
  std::mt19937 random(seed);
  std::uint64_t last = 0;
  for (int round = 0; round < 12; ++round) {
    SCOPED_TRACE("seed " + std::to_string(seed) + ", round " + std::to_string(round));
    std::array<int, 2> ends{};
    ASSERT_EQ(::pipe(ends.data()), 0);
    const UniqueFd from(ends[0]);
    UniqueFd to(ends[1]);
    const auto child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      auto history = History::open(files_.directory(), {}, day);
      if (!history) ::_exit(3);
      Decider decider;
      static_cast<void>(decider.round(0, day));
      for (std::uint64_t generation = last + 1;; ++generation) {
        (*history)->offer(
            decider.decide(generation, after(day, seconds(static_cast<int>(generation)))));
        if (!(*history)->sync()) ::_exit(4);
        if (::write(to.get(), &generation, sizeof generation) != sizeof generation) ::_exit(5);
      }
    }
    to.reset();
    std::uint64_t synced = 0;
    const auto read_one = [&] {
      return ::read(from.get(), &synced, sizeof synced) == sizeof synced;
    };
    ASSERT_TRUE(read_one());  // it writes: now it may die, at a moment that the seed chooses
    ::usleep(static_cast<useconds_t>(random() % 300'000));
    ::kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "it ended by itself: " << WEXITSTATUS(status);
    while (read_one()) {
    }
    const auto history = open();
    ASSERT_NE(history, nullptr);
    EXPECT_EQ(history->alarm(), "");
    const auto rows = history->decisions(only("www", "eu", 1));
    ASSERT_TRUE(rows && !rows->empty());
    EXPECT_GE(rows->front().version.generation, synced);
    last = rows->front().version.generation;
  }
}

TEST_F(HistoryTest, ForgetsWhatIsTooOldButNotWhatWasInForceThen) {
  const auto history = open({.max_age = seconds(100)});
  Decider decider;
  history->offer(decider.round(1, day));
  for (unsigned i = 1; i <= 20; ++i)
    history->offer(decider.decide(i + 1, after(day, seconds(i * 10))));
  ASSERT_TRUE(history->sync());
  const auto before = history->decisions(only("www", "eu", 1000))->size();
  ASSERT_EQ(before, 21U);
  history->prune(after(day, seconds(205)));  // everything before the 105th second
  const auto rows = history->decisions(only("www", "eu", 1000));
  ASSERT_TRUE(rows);
  EXPECT_EQ(rows->size(), 11U)
      << "seconds 110 to 200, and that of second 100, which held until then";
  EXPECT_TRUE(*history->decision("www/A", "eu", after(day, seconds(106))));
  EXPECT_TRUE(*history->decision("pay/A", "us", after(day, seconds(106)))) << "it never changed";
}

TEST_F(HistoryTest, StaysWithinItsSize) {
  constexpr std::uint64_t max_bytes = 1U << 20;
  const auto history = open({.max_size_bytes = max_bytes});
  Decider decider;
  history->offer(decider.round(1, day));
  for (unsigned i = 1; i <= 3000; ++i)
    history->offer(decider.decide(i + 1, after(day, seconds(i))));
  ASSERT_TRUE(history->sync());
  history->prune(after(day, seconds(3001)));
  EXPECT_LE(std::filesystem::file_size(files_.directory() + "/history.db"), max_bytes);
  const auto rows = history->decisions(only("www", {}, 10'000));
  ASSERT_TRUE(rows);
  EXPECT_GT(rows->size(), 10U);
  EXPECT_EQ(rows->front().version.generation, 3001U) << "the newest stays";
}

TEST_F(HistoryTest, SealsWhatComesFromClients) {
  {
    const auto history = open();
    history->audit(
        {day, "token ops", "192.0.2.77", "explain", R"({"client":"198.51.100.99"})", "done"});
    ASSERT_TRUE(history->sync());
    const auto bytes = all_bytes();
    EXPECT_NE(bytes.find("token ops"), std::string::npos);
    EXPECT_EQ(bytes.find("192.0.2.77"), std::string::npos);
    EXPECT_EQ(bytes.find("198.51.100.99"), std::string::npos);
    const auto entries = history->audit_log(10);
    ASSERT_TRUE(entries) << entries.error().text();
    EXPECT_EQ(entries->at(0).peer, "192.0.2.77");
  }
  // Another key opens nothing, and says so.
  std::filesystem::remove(files_.directory() + "/history.key");
  const auto refused = open()->audit_log(10);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().text().find("history.key"), std::string::npos);
}

TEST_F(HistoryTest, MovesADamagedFileAsideAndBeginsAnew) {
  files_.write("history.db", "this is no database, whatever it may be called");
  const auto history = open();
  ASSERT_NE(history, nullptr);
  EXPECT_NE(history->alarm().find("damaged"), std::string::npos);
  Decider decider;
  history->offer(decider.round(1, day));
  EXPECT_TRUE(history->sync());
  EXPECT_FALSE(history->decisions({})->empty());
}

TEST_F(HistoryTest, ABackupIsWholeAndComesBack) {
  const auto copy = files_.directory() + "/copy.db";
  {
    const auto history = open();
    Decider decider;
    history->offer(decider.round(1, day));
    ASSERT_TRUE(history->backup(copy));
    EXPECT_FALSE(history->backup(copy)) << "nothing is written over";
    history->offer(decider.decide(2, after(day, seconds(1))));
  }
  const auto file = files_.directory() + "/history.db";
  ASSERT_TRUE(restore_database(copy, file, history_kind, day));
  EXPECT_EQ(open()->decisions(only("www"))->front().version.generation, 1U);
  // What is none, or another, is refused, and leaves all as it is.
  const auto nonsense = files_.write("nonsense.db", "no database");
  EXPECT_FALSE(restore_database(nonsense, file, history_kind, day));
  EXPECT_FALSE(restore_database(copy, file, store_kind, day));
  EXPECT_EQ(open()->decisions(only("www"))->front().version.generation, 1U);
}

TEST_F(HistoryTest, AServiceIsFoundByItsVeryName) {
  auto config = small_config();
  const char* ids[] = {"a_b", "a.b", "A_B"};
  for (std::size_t s = 0; s < config.services.size(); ++s) config.services[s].id = ids[s];
  Decider decider(std::move(config));
  const auto history = open();
  history->offer(decider.round(1, day));
  ASSERT_TRUE(history->sync());
  for (const char* id : ids) {
    const auto rows = history->decisions(only(id));
    ASSERT_TRUE(rows);
    EXPECT_EQ(rows->size(), 3U) << "one of each locale";
    for (const auto& row : *rows) EXPECT_EQ(row.service, id);
    EXPECT_EQ(history->decisions(only(std::string(id) + "/A"))->size(), 3U);
  }
  EXPECT_TRUE(history->decisions(only("a"))->empty());
}

// The disk is full for a moment, just when other tables come into use.
TEST_F(HistoryTest, TablesThatCouldNotBeWrittenAreTriedAgain) {
  const auto history = open();
  history->offer_tables(tables(), {1, 1}, "start");
  ASSERT_TRUE(history->sync());
  run_sql("CREATE TRIGGER full BEFORE INSERT ON files BEGIN SELECT RAISE(ABORT, 'disk full'); END");
  run_sql(
      "CREATE TRIGGER full2 BEFORE INSERT ON rounds BEGIN SELECT RAISE(ABORT, 'disk full'); END");
  history->offer_tables(tables(), {1, 7}, "other services");
  Decider decider;
  history->offer(decider.round(7, wall_now()));
  const auto failed = history->sync();
  ASSERT_FALSE(failed);
  EXPECT_NE(failed.error().text().find("disk full"), std::string::npos);
  EXPECT_NE(history->alarm(), "");
  EXPECT_GT(history->counters().dropped, 0U);
  run_sql("DROP TRIGGER full");
  run_sql("DROP TRIGGER full2");
  history->audit({day, "token ops", "192.0.2.77", "reload", "{}", "done"});
  ASSERT_TRUE(history->sync());
  EXPECT_EQ(history->alarm(), "");
  const auto now = history->tables_at(wall_now());
  ASSERT_TRUE(now) << now.error().text();
  EXPECT_EQ(now->version, (Version{1, 7}));
  EXPECT_EQ(history->configurations(10)->size(), 2U);
}

TEST_F(HistoryTest, WhatCannotBeForgottenIsAnAlarmUntilItCan) {
  const auto history = open();
  history->audit({day, "token ops", "192.0.2.77", "reload", "{}", "done"});
  ASSERT_TRUE(history->sync());
  run_sql("CREATE TRIGGER no BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'no room'); END");
  history->prune(after(day, seconds(1'000'000'000)));
  EXPECT_NE(history->alarm().find("cannot forget: history.db: no room"), std::string::npos)
      << history->alarm();
  history->audit({day, "token ops", "192.0.2.77", "reload", "{}", "done"});
  ASSERT_TRUE(history->sync()) << "writing goes on";
  EXPECT_NE(history->alarm(), "") << "and the alarm stays";
  run_sql("DROP TRIGGER no");
  history->prune(after(day, seconds(1'000'000'000)));
  EXPECT_EQ(history->alarm(), "");
}

TEST_F(HistoryTest, StrangersPushNobodyOutOfTheAuditLog) {
  constexpr std::size_t history_denials_max = 10'000;
  const auto history = open();
  history->audit({day, "token ops", "192.0.2.77", "reload", "{}", "done"});
  for (std::size_t i = 0; i < history_denials_max + 50; ++i)
    history->audit({day, "", "192.0.2.66", "GET /v1/status", "{}", "denied"});
  ASSERT_TRUE(history->sync());
  history->prune(day);
  const auto left = history->audit_log(2 * history_denials_max);
  ASSERT_TRUE(left) << left.error().text();
  EXPECT_EQ(left->size(), history_denials_max + 1);
  EXPECT_EQ(left->back().caller, "token ops");
}

TEST_F(HistoryTest, AFullQueueDropsAndCounts) {
  const auto history = open();
  Decider decider;
  auto round = decider.round(1, day);
  const auto cells = round.round.cell_count();
  // One round that claims more cells than the queue holds.
  round.round.locales.resize(history_queue_cells_max + 1);
  history->offer(std::move(round));
  EXPECT_GT(history->counters().dropped, history_queue_cells_max);
  history->offer(decider.decide(2, after(day, seconds(20))));
  ASSERT_TRUE(history->sync());
  const auto gap = history->gap_between({day.ns - 1'000'000'000}, after(day, seconds(10)));
  ASSERT_TRUE(gap && *gap) << "whoever asks for that time is told";
  EXPECT_EQ((*gap)->from, day);
  EXPECT_EQ((*gap)->until, day);
  EXPECT_FALSE(*history->gap_between(after(day, seconds(1)), after(day, seconds(30))));
  EXPECT_EQ(history->counters().rounds, 1U);
  EXPECT_LT(history->counters().cells, cells);
}

}  // namespace
}  // namespace pharos::controlplane
