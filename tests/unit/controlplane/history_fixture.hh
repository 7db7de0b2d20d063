// A history in a directory of its own, and an engine that decides whatever it is told to. Tests only.
#pragma once

#include "pharos/controlplane/history/history.hh"
#include "pharos/controlplane/store/database.hh"

#include <gtest/gtest.h>
#include <sodium.h>

#include <fstream>
#include <sstream>

#include "small_world.hh"
#include "temporary_files.hh"

namespace pharos::controlplane {

inline constexpr WallTime day{1'790'000'000'000'000'000};

inline WallTime after(WallTime time, Duration by) {
  return {time.ns + by.ns};
}

inline DecisionFilter only(std::string service, std::string locale = {}, std::size_t limit = 50) {
  DecisionFilter filter;
  filter.service = std::move(service);
  filter.locale = std::move(locale);
  filter.limit = limit;
  return filter;
}

// An engine whose answers change whenever it is told to.
class Decider {
 public:
  explicit Decider(config::Config config = small_config())
      : config_(std::make_shared<const config::Config>(std::move(config))),
        engine(*make_world(config_, {"default", "eu", "us"}), {}, {}, start) {}

  // The round of a weight or a state that is another now.
  DecisionRound decide(std::uint64_t generation, WallTime at) {
    down_ = !down_;
    const auto endpoint = *engine.world().find_endpoint("www", "fra");
    engine.set_override(endpoint, down_ ? config::Override::down : config::Override::automatic,
                        now_);
    return round(generation, at);
  }
  DecisionRound round(std::uint64_t generation, WallTime at, Duration later = seconds(1)) {
    now_ = now_ + later;
    auto changed = engine.step(now_);
    return capture_round(engine, std::move(changed), {1, generation}, now_, at);
  }

 private:
  std::shared_ptr<const config::Config> config_;
  bool down_ = false;
  Instant now_ = start;

 public:
  Engine engine;
};

class HistoryTest : public testing::Test {
 protected:
  HistoryTest() { EXPECT_GE(sodium_init(), 0); }

  std::unique_ptr<History> open(config::HistoryConfig config = {}) {
    auto history = History::open(files_.directory(), config, day);
    EXPECT_TRUE(history) << history.error().text();
    return history ? std::move(*history) : nullptr;
  }
  [[nodiscard]] std::string all_bytes() const {
    std::string all;
    for (const char* name : {"history.db", "history.db-wal"}) {
      const std::ifstream file(files_.directory() + "/" + name, std::ios::binary);
      std::ostringstream text;
      text << file.rdbuf();
      all += text.str();
    }
    return all;
  }

  // By another hand, while the history is open.
  void run_sql(const char* sql) const {
    auto database = Database::open(files_.directory() + "/history.db", history_kind);
    ASSERT_TRUE(database) << database.error().text();
    const auto done = database->execute(sql);
    EXPECT_TRUE(done) << done.error().text();
  }
  static std::shared_ptr<const Tables> tables() {
    std::string broken;
    auto built = build_tables(std::make_shared<const config::Config>(small_config()), {}, {1, 1},
                              {}, broken);
    EXPECT_TRUE(built) << built.error().text();
    return built ? *built : nullptr;
  }

  TemporaryFiles files_;
};

}  // namespace pharos::controlplane
