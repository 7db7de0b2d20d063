// Promise 8: a round in which everything flaps is the same work as one in which half does, and a change costs what it
// touches. And that what a round says of thousands of cells is what the engine has.
#include "pharos/controlplane/engine/engine.hh"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <functional>
#include <map>
#include <random>
#include <string>

#include "large_world.hh"

namespace pharos::controlplane {
namespace {

constexpr Instant start{1'000'000'000'000};

double thread_seconds() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

EngineWork operator-(EngineWork a, const EngineWork& b) {
  a.endpoints_judged -= b.endpoints_judged;
  a.pools_ranked -= b.pools_ranked;
  a.cells_ranked -= b.cells_ranked;
  a.cells_changed -= b.cells_changed;
  a.answers_made -= b.answers_made;
  return a;
}

// The cells of a round by value.
using Cells = std::map<std::pair<std::uint32_t, std::uint16_t>, std::vector<std::string>>;

std::vector<std::string> text_of(std::uint32_t ttl_s,
                                 const std::vector<std::vector<IpAddress>>& slots) {
  std::vector<std::string> lines{std::to_string(ttl_s)};
  for (const auto& slot : slots) {
    std::string line;
    for (const auto& address : slot) line += address.text() + " ";
    lines.push_back(line);
  }
  return lines;
}

void take(const Round& round, Cells& cells) {
  for (const auto& change : round.changes) {
    const auto answers = round.answers_of(change);
    std::vector<std::vector<IpAddress>> slots;
    for (const auto slot : answers.slots) {
      auto& addresses = slots.emplace_back();
      for (const auto member : answers.answers[slot].of(answers.members)) {
        for (const auto& address : answers.addresses[member]) {
          if (addresses.size() < answers.addresses_max) addresses.push_back(address);
        }
      }
    }
    for (const auto locale : round.locales_of(change))
      cells[{change.pool, locale}] = text_of(answers.ttl_s, slots);
  }
}

class Bench {
 public:
  explicit Bench(const LargeWorld& large)
      : world(*make_world(std::make_shared<const config::Config>(large.config()),
                          large.locale_names())),
        engine(world, {}, {}, start) {
    round = engine.step(now);
  }

  // All sites report; `percent` of them turn from calm to hot or back. Returns the work of the step.
  EngineWork turn(unsigned percent) {
    now = now + milliseconds(200);
    ++sequence;
    const auto before = engine.work();
    const auto sites = world->config->sites.size();
    for (std::uint32_t s = 0; s < sites; ++s) {
      SiteReport report{.metrics = {}, .interval_ms = 200, .leaving = false, .endpoints = {}};
      const bool flaps = s * 100 < percent * sites;
      report.metrics.cpu_ratio = flaps && (sequence + s) % 2 == 0 ? 0.7F : 0.1F;
      engine.heard(s, report, 1, sequence, now);
    }
    const double began = thread_seconds();
    round = engine.step(now);
    seconds_taken = thread_seconds() - began;
    return engine.work() - before;
  }

  // Fastest of some turns: the machine may be busy.
  double least_seconds(unsigned percent) {
    double least = 1e9;
    for (int i = 0; i < 6; ++i) {
      static_cast<void>(turn(percent));
      least = std::min(least, seconds_taken);
    }
    return least;
  }

  std::shared_ptr<const World> world;
  Engine engine;
  Round round;
  Instant now = start;
  std::uint64_t sequence = 0;
  double seconds_taken = 0;
};

TEST(EngineScaleTest, ARoundIsNoMoreWorkThanAllCellsOnceWhateverFlaps) {
  const LargeWorld large{.services = 300, .locales = 16, .sites = 20, .endpoints = 5};
  Bench bench(large);
  EXPECT_EQ(bench.engine.work().cells_ranked, 300U * 16);
  static_cast<void>(bench.turn(100));
  const auto quiet = bench.turn(0);
  for (int i = 0; i < 30; ++i) static_cast<void>(bench.turn(0));  // until overload is forgiven
  EXPECT_EQ(bench.turn(0).cells_ranked, 0U) << "nothing moved";
  for (const unsigned percent : {0U, 50U, 100U}) {
    for (int i = 0; i < 4; ++i) {
      const auto work = bench.turn(percent);
      EXPECT_EQ(work.endpoints_judged, quiet.endpoints_judged) << percent << " %";
      EXPECT_LE(work.pools_ranked, 300U) << percent << " %";
      EXPECT_EQ(work.cells_ranked, work.pools_ranked * 16) << percent << " %: each cell once";
      EXPECT_LE(work.answers_made, work.cells_changed) << percent << " %";
    }
  }
  EXPECT_EQ(bench.turn(100).pools_ranked, 300U);
}

// Half of all sites flapping touches nearly all pools already. That one in which all do takes longer by no more than a
// half is seen as time, since counts say nothing of what is done for each.
TEST(EngineScaleTest, ARoundInWhichEverythingFlapsFitsTheBudgetOfTheFirst) {
  const LargeWorld large{.services = 300, .locales = 32, .sites = 20, .endpoints = 5};
  double first = 1e9;
  for (int i = 0; i < 4; ++i) {
    const double began = thread_seconds();
    Bench fresh(large);
    static_cast<void>(fresh);
    first = std::min(first, thread_seconds() - began);
  }
  Bench bench(large);
  const double half = bench.least_seconds(50);
  const double all = bench.least_seconds(100);
  RecordProperty("half_us", static_cast<int>(half * 1e6));
  RecordProperty("all_us", static_cast<int>(all * 1e6));
  EXPECT_LT(all, 3 * half);
  EXPECT_LT(all, 3 * first);
}

TEST(EngineScaleTest, AChangeCostsWhatItTouches) {
  for (const unsigned services : {50U, 1000U}) {
    const LargeWorld large{.services = services, .locales = 8, .sites = 20, .endpoints = 4};
    Bench bench(large);
    const auto before = bench.engine.work();
    bench.engine.set_override(4, config::Override::drain, bench.now);
    const auto round = bench.engine.step(bench.now);
    const auto work = bench.engine.work() - before;
    EXPECT_EQ(work.endpoints_judged, 1U);
    EXPECT_EQ(work.pools_ranked, 1U);
    EXPECT_EQ(work.cells_ranked, 8U);
    for (const auto& change : round.changes) EXPECT_EQ(change.pool, round.changes.front().pool);
  }
}

TEST(EngineScaleTest, WhatRoundsSayIsWhatTheEngineHas) {
  for (const auto policy :
       {config::Policy::ranked, config::Policy::weighted, config::Policy::failover}) {
    const LargeWorld large{.services = 40,
                           .locales = 12,
                           .sites = 10,
                           .endpoints = 5,
                           .answers_max = 2,
                           .policy = policy};
    Bench bench(large);
    Cells cells;
    take(bench.round, cells);
    std::mt19937_64 random(7);
    for (int i = 0; i < 60; ++i) {
      const auto endpoint = static_cast<std::uint32_t>(random() % bench.world->endpoints.size());
      const std::array states{config::Override::automatic, config::Override::up,
                              config::Override::drain, config::Override::down};
      bench.engine.set_override(endpoint, states[random() % states.size()], bench.now);
      static_cast<void>(bench.turn(static_cast<unsigned>(random() % 3) * 50));
      take(bench.round, cells);
      for (const auto& change : bench.round.changes) {
        EXPECT_TRUE(std::ranges::is_sorted(bench.round.locales_of(change)));
      }
      for (std::uint32_t p = 0; p < bench.world->pools.size(); ++p) {
        for (std::uint16_t l = 0; l < large.locales; ++l) {
          const auto content = bench.engine.content(p, l);
          ASSERT_EQ((cells[{p, l}]), text_of(content.ttl_s, content.slots))
              << "pool " << p << ", locale " << l << ", turn " << i;
        }
      }
    }
  }
}

TEST(EngineScaleTest, AlarmsOfPoolsAreBoundedAndOver) {
  const LargeWorld large{.services = 40, .locales = 2, .sites = 6, .endpoints = 3};
  Bench bench(large);
  for (std::uint32_t e = 0; e < bench.world->endpoints.size(); ++e)
    bench.engine.set_weight(e, e % 3 == 0 ? 1.0 : 5.0, bench.now);
  const auto quiet = bench.engine.alarms().size();
  SiteReport report{.metrics = {}, .interval_ms = 200, .leaving = false, .endpoints = {}};
  report.endpoints.resize(1);
  for (std::uint32_t e = 0; e < bench.world->endpoints.size(); ++e) {
    report.endpoints[0] = {
        .endpoint = bench.world->endpoints[e].report_id, .up = false, .requests_rps = {}};
    bench.engine.heard(bench.world->endpoints[e].site, report, 1, ++bench.sequence, bench.now);
  }
  static_cast<void>(bench.engine.step(bench.now));
  EXPECT_EQ(bench.engine.alarms().size(), quiet + pool_alarms_max + 1);
  EXPECT_NE(bench.engine.alarms().back().find("24 more"), std::string::npos);
  for (std::uint32_t e = 0; e < bench.world->endpoints.size(); ++e)
    bench.engine.set_override(e, config::Override::up, bench.now);
  static_cast<void>(bench.engine.step(bench.now));
  EXPECT_EQ(bench.engine.alarms().size(), quiet);
}

}  // namespace
}  // namespace pharos::controlplane
