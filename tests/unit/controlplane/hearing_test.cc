// Silence counts only as long as somebody listened: how far sources are read, what ingest says of it, and what the
// engine makes of that.
#include "pharos/controlplane/engine/engine.hh"
#include "pharos/controlplane/ingest/ingest.hh"
#include "pharos/controlplane/ingest/read_horizon.hh"
#include "pharos/shared/spsc_ring.hh"

#include <poll.h>

#include <gtest/gtest.h>

#include <deque>
#include <random>

#include "beacon_builder.hh"

namespace pharos::controlplane {
namespace {

constexpr Instant start{1'000'000'000'000};

constexpr Instant at(std::int64_t ms) {
  return start + milliseconds(ms);
}

// ---- how far a source is read ----

TEST(ReadHorizonTest, IsTheBeginningOfTheLastLookThatLeftNothing) {
  ReadHorizon horizon(100, at(0));
  EXPECT_EQ(horizon.until(), at(0));
  horizon.looked(at(1), 0, true);
  EXPECT_EQ(horizon.until(), at(1));
  horizon.looked(at(2), 64, false);
  EXPECT_EQ(horizon.until(), at(1)) << "something may wait since then";
  horizon.looked(at(3), 5, true);
  EXPECT_EQ(horizon.until(), at(3));
}

TEST(ReadHorizonTest, MovesOnInAFloodByTheLengthOfTheQueue) {
  ReadHorizon horizon(100, at(0));
  horizon.looked(at(1), 50, false);
  horizon.looked(at(2), 49, false);
  EXPECT_EQ(horizon.until(), at(0)) << "one of those that waited at first may still be there";
  horizon.looked(at(3), 1, false);
  EXPECT_EQ(horizon.until(), at(0)) << "since the first mark was the beginning";
  horizon.looked(at(4), 100, false);
  EXPECT_EQ(horizon.until(), at(3)) << "a queue's length later";
}

// A queue that loses what it has no room for, quiet and flooded in turns, read in looks of up to 16: whatever waits still came
// after the time until which is read, and that time is never further behind than the queue is long.
TEST(ReadHorizonTest, NothingThatArrivedByThenWaitsWhateverComes) {
  constexpr std::size_t room = 100, look_max = 16;
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    std::mt19937_64 generator(seed);
    const auto below = [&](std::uint64_t bound) { return generator() % bound; };
    ReadHorizon horizon(room, at(0));
    std::deque<Instant> queue;
    Instant now = at(0);
    std::vector<Instant> looks;
    const auto arrive = [&](std::uint64_t most) {
      for (auto left = below(most + 1); left > 0; --left) {
        now = now + Duration{static_cast<std::int64_t>(1 + below(1000))};
        if (queue.size() < room) queue.push_back(now);
      }
    };
    for (unsigned look = 0; look < 2000; ++look) {
      const unsigned pressure = look / 200 % 2 == 0 ? 12 : 40;
      arrive(pressure);
      const Instant began = now;
      looks.push_back(began);
      arrive(4);  // while it looks
      const auto taken = std::min(queue.size(), look_max);
      queue.erase(queue.begin(), queue.begin() + static_cast<std::ptrdiff_t>(taken));
      const auto before = horizon.until();
      horizon.looked(began, taken, queue.empty());
      ASSERT_GE(horizon.until(), before) << seed;
      ASSERT_LE(horizon.until(), began) << seed;
      if (!queue.empty()) {
        ASSERT_GT(queue.front(), horizon.until()) << "seed " << seed;
      }
      // Two rounds of as many looks as empty the queue.
      constexpr std::size_t behind_max = 2 * ((room + look_max - 1) / look_max);
      if (looks.size() > behind_max) {
        ASSERT_GE(horizon.until(), looks[looks.size() - 1 - behind_max]) << "seed " << seed;
      }
    }
  }
}

// ---- what ingest says ----

Ingest open_ingest() {
  const std::vector<config::SiteConfig> all = {
      testing::site_of("fra1", {testing::key_of(1, 0x11)})};
  auto sites = BeaconSites::make(all, 1);
  EXPECT_TRUE(sites);
  auto ingest = Ingest::open({}, std::move(*sites));
  EXPECT_TRUE(ingest);
  return std::move(*ingest);
}

RingProducer attach_ring(Ingest& ingest) {
  auto ring = RingProducer::create(1U << 18, "hearing-test");
  EXPECT_TRUE(ring);
  std::vector<UniqueFd> fds;
  fds.emplace_back(::dup(ring->fd()));
  EXPECT_TRUE(ingest.replace_rings(std::move(fds)));
  return std::move(*ring);
}

bool readable(int fd, int timeout_ms) {
  pollfd wanted{.fd = fd, .events = POLLIN, .revents = 0};
  return ::poll(&wanted, 1, timeout_ms) == 1;
}

TEST(HearingTest, ATurnThatReadsEverythingHasHeardUntilItBegan) {
  auto ingest = open_ingest();
  auto ring = attach_ring(ingest);
  const auto first = now();
  ingest.turn(first);
  EXPECT_EQ(ingest.hearing().until, first.monotonic);
}

TEST(HearingTest, ATurnThatLeavesDatagramsHasNotHeardThem) {
  auto ingest = open_ingest();
  auto ring = attach_ring(ingest);
  const auto first = now();
  ingest.turn(first);
  const BeaconArrival arrival{};
  for (int i = 0; i < 100; ++i)
    ASSERT_TRUE(ring.push(RingRecordKind::beacon, object_bytes(arrival), {}));
  const Now second{first.monotonic + milliseconds(5), first.wall};
  EXPECT_EQ(ingest.turn(second), 64U) << "what a turn takes of a source";
  EXPECT_EQ(ingest.hearing().until, first.monotonic);
  const Now third{first.monotonic + milliseconds(6), first.wall};
  EXPECT_EQ(ingest.turn(third), 36U);
  EXPECT_EQ(ingest.hearing().until, third.monotonic);
}

TEST(HearingTest, WhoAsksIsWokenOnceThatTimeIsHeard) {
  auto ingest = open_ingest();
  const auto first = now();
  ingest.turn(first);
  const auto due = first.monotonic + milliseconds(3);
  ingest.listen_until(due);
  ingest.turn({first.monotonic + milliseconds(2), first.wall});
  EXPECT_FALSE(readable(ingest.wake_fd(), 0)) << "not yet";
  ingest.turn({due, first.wall});
  EXPECT_TRUE(readable(ingest.wake_fd(), 0));
  EXPECT_EQ(ingest.hearing().until, due);
  ingest.begin_drain();
  ingest.turn({due + milliseconds(1), first.wall});
  EXPECT_FALSE(readable(ingest.wake_fd(), 0)) << "once";
}

TEST(HearingTest, AnAnswerThatComesLateIsAStallThatIsToldOnce) {
  auto ingest = open_ingest();
  const auto first = now();
  ingest.turn(first);
  ingest.listen_until(first.monotonic + milliseconds(10));
  ingest.turn({first.monotonic + milliseconds(310), first.wall});
  EXPECT_EQ(ingest.hearing().stalled, milliseconds(300));
  EXPECT_EQ(ingest.hearing().stalled, Duration{});
}

TEST(HearingTest, AThreadThatSleepsAtItsSocketsLooksWhenItIsAsked) {
  auto ingest = open_ingest();
  ASSERT_TRUE(ingest.start());
  const auto due = monotonic_now();
  ingest.listen_until(due);
  ASSERT_TRUE(readable(ingest.wake_fd(), 10'000));
  EXPECT_GE(ingest.hearing().until, due);
}

// ---- what the engine makes of it ----

// Three sites, so that the silence of one is not shared; all are heard at the beginning.
class Listener {
 public:
  Listener() : engine(world(), {}, {}, start) {
    static_cast<void>(engine.step(start, {start}));
    for (std::int64_t ms = 0; ms <= 2000; ms += 200) {
      for (std::uint32_t s = 0; s < 3; ++s) hear(s, ms);
      static_cast<void>(engine.step(at(ms), {at(ms)}));
    }
  }
  static std::shared_ptr<const World> world() {
    config::Config config;
    for (const char* id : {"fra", "nyc", "sin"}) {
      config::SiteConfig site;
      site.id = id;
      site.beacon_interval = milliseconds(200);
      site.keys.resize(1);
      config.sites.push_back(site);
    }
    return *make_world(std::make_shared<const config::Config>(config), {"default"});
  }
  void hear(std::uint32_t site, std::int64_t ms) {
    SiteReport report;
    report.interval_ms = 200;
    report.copies = 2;
    engine.heard(site, report, 1, static_cast<std::uint64_t>(ms / 200 + 1), at(ms));
  }
  [[nodiscard]] SiteState state(std::uint32_t site) const {
    return engine.health().site(site).state;
  }

  Engine engine;
};

TEST(HearingTest, ALongRoundOfTheEngineDelaysNoDeath) {
  Listener listener;
  for (std::int64_t ms = 2200; ms <= 2600; ms += 200) {
    listener.hear(0, ms);
    listener.hear(1, ms);
  }
  // Beacons were drained and listened for all the while; the engine had no time for a step until now.
  static_cast<void>(listener.engine.step(at(2700), {at(2699)}));
  EXPECT_EQ(listener.state(2), SiteState::down);
  EXPECT_EQ(listener.engine.health().lag(), Duration{});
}

TEST(HearingTest, SilenceThatNobodyListenedToBlamesNobody) {
  Listener listener;
  static_cast<void>(listener.engine.step(at(2700), {at(2010)}));
  for (std::uint32_t s = 0; s < 3; ++s) EXPECT_EQ(listener.state(s), SiteState::up) << s;
  for (std::uint32_t s = 0; s < 3; ++s) listener.hear(s, 2600);  // they had arrived
  static_cast<void>(listener.engine.step(at(2701), {at(2700)}));
  for (std::uint32_t s = 0; s < 3; ++s) EXPECT_EQ(listener.state(s), SiteState::up) << s;
}

TEST(HearingTest, AReceiverThatStalledGivesEverybodyOneMoreInterval) {
  Listener listener;
  for (std::int64_t ms = 2200; ms <= 2600; ms += 200) {
    listener.hear(0, ms);
    listener.hear(1, ms);
  }
  static_cast<void>(listener.engine.step(at(2700), {at(2700), milliseconds(300)}));
  EXPECT_NE(listener.state(2), SiteState::down);
  EXPECT_EQ(listener.engine.health().lag(), stall_limit);
}

TEST(HearingTest, TheTimeUntilWhichWasListenedNeverTurnsBack) {
  Listener listener;
  static_cast<void>(listener.engine.step(at(2600), {at(2550)}));
  ASSERT_EQ(listener.state(2), SiteState::suspect);
  static_cast<void>(listener.engine.step(at(2601), {at(2000)}));
  EXPECT_EQ(listener.state(2), SiteState::suspect);
}

}  // namespace
}  // namespace pharos::controlplane
