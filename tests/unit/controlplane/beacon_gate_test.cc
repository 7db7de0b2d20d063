// The gate: what passes, what does not and why, and that a refused datagram changes nothing.
#include "pharos/controlplane/ingest/beacon_gate.hh"

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "beacon_builder.hh"

namespace pharos::controlplane {
namespace {

using testing::BeaconSpec;
using testing::datagram_of;
using testing::key_of;
using testing::site_of;

class BeaconGateTest : public ::testing::Test {
 protected:
  static constexpr WallTime start_wall{1'700'000'000'000'000'000};
  static constexpr Instant start{5'000'000'000};

  static BeaconSites sites(std::vector<config::KeyConfig> fra1_keys = {key_of(1, 0x11)},
                           std::uint64_t set = 7) {
    const std::vector<config::SiteConfig> all = {site_of("silent", {}),
                                                 site_of("fra1", std::move(fra1_keys)),
                                                 site_of("ams1", {key_of(1, 0x33)})};
    auto made = BeaconSites::make(all, set);
    EXPECT_TRUE(made);
    return std::move(*made);
  }

  // Judges a beacon that arrives `after` the start, by clocks that both run right.
  BeaconVerdict admit(const BeaconSpec& spec, Duration after = {}) {
    return admit(datagram_of(spec), after);
  }
  BeaconVerdict admit(ConstBytes datagram, Duration after = {}) {
    return gate.admit(datagram, start + after, {start_wall.ns + after.ns + wall_step.ns}, out);
  }
  // A beacon sent `after` the start.
  static BeaconSpec sent(std::uint64_t sequence, Duration after) {
    return {.sequence = sequence, .sent = {start_wall.ns + after.ns}};
  }

  BeaconGate gate{sites(), seconds(30)};
  Duration wall_step{};  // of the receiver's wall clock
  AcceptedBeacon out;
};

TEST_F(BeaconGateTest, AcceptsABeaconAndSaysWhoseItIs) {
  BeaconSpec spec;
  spec.report.endpoints = {{endpoint_hash("www", "a"), false, {}}};
  ASSERT_EQ(admit(spec), BeaconVerdict::accepted);
  EXPECT_EQ(out.site, 1U);
  EXPECT_EQ(out.site_set, 7U);
  EXPECT_EQ(out.received, start);
  EXPECT_EQ(out.boot_epoch, 1000U);
  EXPECT_EQ(out.sequence, 1U);
  EXPECT_EQ(out.report.metrics.cpu_ratio, 0.5F);
  ASSERT_EQ(out.report.endpoints.size(), 1U);
  EXPECT_FALSE(out.report.endpoints[0].up);
}

TEST_F(BeaconGateTest, RefusesForgedAndMisaddressedBeacons) {
  EXPECT_EQ(admit(BeaconSpec{.site = "nowhere"}), BeaconVerdict::unknown_site);
  EXPECT_EQ(admit(BeaconSpec{.site = "silent"}), BeaconVerdict::unknown_site);
  EXPECT_EQ(admit(BeaconSpec{.key = key_of(2, 0x11)}), BeaconVerdict::unknown_key);
  EXPECT_EQ(admit(BeaconSpec{.key = key_of(1, 0x12)}), BeaconVerdict::bad_mac);
  EXPECT_EQ(admit(BeaconSpec{.site = "ams1"}), BeaconVerdict::bad_mac)
      << "one site's key must not speak for another";
  EXPECT_EQ(admit(ConstBytes{}), BeaconVerdict::malformed);
  EXPECT_TRUE(gate.freshness().empty());
}

TEST_F(BeaconGateTest, RefusesReplaysAndTellsThemFromCopies) {
  ASSERT_EQ(admit(BeaconSpec{.sequence = 5}), BeaconVerdict::accepted);
  EXPECT_EQ(admit(BeaconSpec{.sequence = 5}), BeaconVerdict::duplicate);
  EXPECT_EQ(admit(BeaconSpec{.sequence = 4}), BeaconVerdict::replayed);
  EXPECT_EQ(admit(BeaconSpec{.sequence = 6}), BeaconVerdict::accepted);
  EXPECT_EQ(admit(BeaconSpec{.sequence = 5}), BeaconVerdict::replayed);
}

TEST_F(BeaconGateTest, StartsTheSequenceAgainWithANewEpochOnly) {
  ASSERT_EQ(admit(BeaconSpec{.boot_epoch = 1000, .sequence = 900}), BeaconVerdict::accepted);
  EXPECT_EQ(admit(BeaconSpec{.boot_epoch = 1001, .sequence = 1}), BeaconVerdict::accepted);
  EXPECT_EQ(admit(BeaconSpec{.boot_epoch = 1000, .sequence = 901}), BeaconVerdict::stale_epoch);
  EXPECT_EQ(admit(BeaconSpec{.boot_epoch = 1001, .sequence = 2}), BeaconVerdict::accepted);
}

TEST_F(BeaconGateTest, RefusesEveryTruncationAndEveryFlippedBitWithoutATrace) {
  auto bytes = datagram_of(BeaconSpec{.boot_epoch = 2000, .sequence = 50});
  for (std::size_t n = 0; n < bytes.size(); ++n) {
    EXPECT_NE(admit(ConstBytes(bytes).first(n)), BeaconVerdict::accepted);
  }
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    bytes[bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
    EXPECT_NE(admit(bytes), BeaconVerdict::accepted) << "bit " << bit;
    bytes[bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
  }
  // Had one of them moved epoch or sequence, this earlier beacon would be stale.
  EXPECT_EQ(admit(BeaconSpec{.boot_epoch = 1000, .sequence = 1}), BeaconVerdict::accepted);
}

TEST_F(BeaconGateTest, KeepsItsStateThroughAFloodOfGarbage) {
  ASSERT_EQ(admit(BeaconSpec{.sequence = 1}), BeaconVerdict::accepted);
  const auto before = gate.freshness();
  const auto seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  const auto real = datagram_of(BeaconSpec{.sequence = 1'000'000});
  std::map<BeaconVerdict, unsigned> verdicts;
  for (int i = 0; i < 50'000; ++i) {
    auto bytes = real;
    const auto changes = 1 + random() % 8;
    for (std::size_t c = 0; c < changes; ++c) {
      bytes[random() % bytes.size()] ^= static_cast<std::byte>(1 + random() % 255);
    }
    if (bytes == real) continue;
    ++verdicts[admit(bytes)];
  }
  EXPECT_EQ(verdicts.count(BeaconVerdict::accepted), 0U);
  EXPECT_GT(verdicts[BeaconVerdict::bad_mac], 0U);
  EXPECT_GT(verdicts[BeaconVerdict::malformed], 0U);
  EXPECT_GT(verdicts[BeaconVerdict::unknown_site], 0U);
  const auto after = gate.freshness();
  ASSERT_EQ(after.size(), before.size());
  EXPECT_EQ(after[0].boot_epoch, before[0].boot_epoch);
  EXPECT_EQ(after[0].sequence, before[0].sequence);
  EXPECT_EQ(admit(BeaconSpec{.sequence = 2}), BeaconVerdict::accepted);
}

TEST_F(BeaconGateTest, RefusesASignedBeaconWithImpossibleValuesWithoutATrace) {
  auto bytes = datagram_of(BeaconSpec{.sequence = 9});
  store(bytes.data() + sizeof(beacon::WireHeader), Be32(0xbf800000));  // cpu_ratio -1
  const beacon::MacKey key(key_of(1, 0x11).secret);
  const auto covered = bytes.size() - beacon::mac_bytes;
  store(bytes.data() + covered, key.mac_of(ConstBytes(bytes).first(covered)));
  EXPECT_EQ(admit(bytes), BeaconVerdict::invalid);
  EXPECT_EQ(admit(BeaconSpec{.sequence = 9}), BeaconVerdict::accepted);
}

// ---- the time window ----

TEST_F(BeaconGateTest, RefusesTheFirstBeaconOfASiteOutsideTheWindowOnEitherSide) {
  EXPECT_EQ(admit(sent(1, milliseconds(-30'001))), BeaconVerdict::outside_window);
  EXPECT_EQ(admit(sent(1, milliseconds(30'001))), BeaconVerdict::outside_window);
  EXPECT_EQ(admit(sent(1, milliseconds(-30'000))), BeaconVerdict::accepted);
}

TEST_F(BeaconGateTest, RefusesABeaconThatWasHeldBackTooLong) {
  ASSERT_EQ(admit(sent(1, seconds(0)), seconds(0)), BeaconVerdict::accepted);
  EXPECT_EQ(admit(sent(2, seconds(1)), seconds(32)), BeaconVerdict::outside_window);
  EXPECT_EQ(admit(sent(3, seconds(33)), seconds(33)), BeaconVerdict::accepted);
}

TEST_F(BeaconGateTest, KeepsAcceptingAfterAStepOfOurOwnClock) {
  ASSERT_EQ(admit(sent(1, seconds(0)), seconds(0)), BeaconVerdict::accepted);
  for (const auto step : {seconds(86'400), seconds(-86'400)}) {
    wall_step = step;
    const auto after = step > Duration{} ? seconds(1) : seconds(2);
    EXPECT_EQ(admit(sent(static_cast<std::uint64_t>(after.ns), after), after),
              BeaconVerdict::accepted);
  }
  // The window still holds, by the site's own rhythm.
  EXPECT_EQ(admit(sent(static_cast<std::uint64_t>(seconds(3).ns), seconds(3)), seconds(40)),
            BeaconVerdict::outside_window);
}

TEST_F(BeaconGateTest, FollowsAStepOfTheSitesClockTowardsTheTruth) {
  wall_step = seconds(3600);  // our clock was wrong as well, and so the first beacon passed
  ASSERT_EQ(admit(sent(1, seconds(3600)), seconds(0)), BeaconVerdict::accepted);
  wall_step = {};
  EXPECT_EQ(admit(sent(2, seconds(1)), seconds(1)), BeaconVerdict::accepted);
  EXPECT_EQ(admit(sent(3, seconds(2)), seconds(2)), BeaconVerdict::accepted);
}

TEST_F(BeaconGateTest, KeepsAcceptingAfterAStepOfTheSitesClockToEitherSide) {
  Duration step{};
  std::uint64_t sequence = 0;
  for (const auto by : {seconds(0), seconds(86'400), seconds(-86'400), seconds(31), seconds(0)}) {
    step = by;
    for (int i = 0; i < 5; ++i) {
      ++sequence;
      const auto at = seconds(static_cast<std::int64_t>(sequence));
      ASSERT_EQ(admit(sent(sequence, at + step), at), BeaconVerdict::accepted)
          << "step " << by.seconds() << " s, beacon " << sequence;
    }
  }
}

TEST_F(BeaconGateTest, AStepOfTheSitesClockDoesNotOpenTheWindowForWhatWasHeldBack) {
  for (std::uint64_t i = 1; i <= 5; ++i) {
    const auto at = seconds(static_cast<std::int64_t>(i));
    ASSERT_EQ(admit(sent(i, at), at), BeaconVerdict::accepted);
  }
  // Sent at 6 s by a clock that has stepped by a day; delivered 31 s later than it should, and then in time.
  EXPECT_EQ(admit(sent(6, seconds(6 + 86'400)), seconds(37)), BeaconVerdict::outside_window);
  EXPECT_EQ(admit(sent(7, seconds(7 + 86'400)), seconds(36)), BeaconVerdict::accepted) << "29 s";
  // What the step let pass late does not count as in time: the sequence remembers.
  EXPECT_EQ(admit(sent(8, seconds(8 + 86'400)), seconds(39)), BeaconVerdict::outside_window)
      << "31 s";
}

TEST_F(BeaconGateTest, AnAgentThatWasHeldUpIsBelievedByItsWallClockAndThenByItsSequenceAgain) {
  ASSERT_EQ(admit(sent(1, seconds(0)), seconds(0)), BeaconVerdict::accepted);
  // Stopped for ten minutes: its sequence stood still.
  ASSERT_EQ(admit(sent(2, seconds(600)), seconds(600)), BeaconVerdict::accepted);
  EXPECT_EQ(admit(sent(3, seconds(601 - 86'400)), seconds(601)), BeaconVerdict::accepted);
}

TEST_F(BeaconGateTest, IsNotDraggedAlongByAStreamThatIsDelayedMoreAndMore) {
  ASSERT_EQ(admit(sent(1, seconds(0)), seconds(0)), BeaconVerdict::accepted);
  // Sent each second, delivered with 1 s more delay each time: accepted up to the window, then no
  // more.
  std::uint64_t last_accepted = 0;
  for (std::uint64_t i = 1; i <= 120; ++i) {
    const auto at = seconds(static_cast<std::int64_t>(i));
    if (admit(sent(1 + i, at), at * 2) == BeaconVerdict::accepted) last_accepted = i;
  }
  EXPECT_EQ(last_accepted, 30U);
}

TEST_F(BeaconGateTest, FollowsClocksThatDriftApart) {
  // Ours is wrong by a day from the second beacon on, and the site's falls back by 100 ppm: 60 s in
  // a week.
  ASSERT_EQ(admit(sent(1, seconds(0)), seconds(0)), BeaconVerdict::accepted);
  wall_step = seconds(86'400);
  for (std::int64_t hour = 1; hour <= 7 * 24; ++hour) {
    const auto at = seconds(hour * 3600);
    const auto lag = milliseconds(hour * 360);
    ASSERT_EQ(admit(sent(1 + static_cast<std::uint64_t>(hour), at - lag), at),
              BeaconVerdict::accepted)
        << hour;
  }
}

TEST_F(BeaconGateTest, RefusesTimesThatNoClockShows) {
  for (const std::uint64_t ms : {~0ULL, 1ULL << 63, 9'000'000'000'001ULL}) {
    auto bytes = datagram_of(BeaconSpec{});
    store(bytes.data() + offsetof(beacon::WireHeader, sent_wall_ms), Be64(ms));
    const beacon::MacKey key(key_of(1, 0x11).secret);
    const auto covered = bytes.size() - beacon::mac_bytes;
    store(bytes.data() + covered, key.mac_of(ConstBytes(bytes).first(covered)));
    EXPECT_EQ(admit(bytes), BeaconVerdict::outside_window) << ms;
  }
}

// ---- keys, sites and restarts ----

TEST_F(BeaconGateTest, RotatesKeysWithoutAGapAndWithoutForgettingTheSequence) {
  ASSERT_EQ(admit(BeaconSpec{.sequence = 10}), BeaconVerdict::accepted);
  const auto old_key = key_of(1, 0x11);
  const auto new_key = key_of(2, 0x22);
  gate.replace(sites({old_key, new_key}), seconds(30));
  EXPECT_EQ(admit(BeaconSpec{.sequence = 10}), BeaconVerdict::duplicate);
  EXPECT_EQ(admit(BeaconSpec{.key = old_key, .sequence = 11}), BeaconVerdict::accepted);
  EXPECT_EQ(admit(BeaconSpec{.key = new_key, .sequence = 12}), BeaconVerdict::accepted);
  EXPECT_EQ(admit(BeaconSpec{.key = old_key, .sequence = 11}), BeaconVerdict::replayed);
  gate.replace(sites({new_key}), seconds(30));
  EXPECT_EQ(admit(BeaconSpec{.key = old_key, .sequence = 13}), BeaconVerdict::unknown_key);
  EXPECT_EQ(admit(BeaconSpec{.key = new_key, .sequence = 12}), BeaconVerdict::duplicate);
  EXPECT_EQ(admit(BeaconSpec{.key = new_key, .sequence = 13}), BeaconVerdict::accepted);
}

TEST_F(BeaconGateTest, StartsAnewWhenAllKeysOfASiteAreReplaced) {
  ASSERT_EQ(admit(BeaconSpec{.boot_epoch = 5000, .sequence = 10}), BeaconVerdict::accepted);
  gate.replace(sites({key_of(1, 0x55)}), seconds(30));
  EXPECT_EQ(admit(BeaconSpec{.boot_epoch = 5000, .sequence = 10}), BeaconVerdict::bad_mac);
  EXPECT_EQ(admit(BeaconSpec{.key = key_of(1, 0x55), .boot_epoch = 1, .sequence = 1}),
            BeaconVerdict::accepted);
}

TEST_F(BeaconGateTest, FollowsSitesToTheirNewPlaces) {
  ASSERT_EQ(admit(BeaconSpec{.sequence = 3}), BeaconVerdict::accepted);
  const std::vector<config::SiteConfig> moved = {site_of("fra1", {key_of(1, 0x11)}),
                                                 site_of("new1", {key_of(1, 9)})};
  gate.replace(*BeaconSites::make(moved, 8), seconds(30));
  EXPECT_EQ(admit(BeaconSpec{.sequence = 3}), BeaconVerdict::duplicate);
  ASSERT_EQ(admit(BeaconSpec{.sequence = 4}), BeaconVerdict::accepted);
  EXPECT_EQ(out.site, 0U);
  EXPECT_EQ(out.site_set, 8U);
  EXPECT_EQ(admit(BeaconSpec{.site = "ams1", .key = key_of(1, 0x33)}), BeaconVerdict::unknown_site);
}

TEST_F(BeaconGateTest, RefusesReplaysAcrossARestart) {
  ASSERT_EQ(admit(BeaconSpec{.boot_epoch = 1000, .sequence = 10}), BeaconVerdict::accepted);
  const auto stored = gate.freshness();
  ASSERT_EQ(stored.size(), 1U);
  EXPECT_EQ(stored[0].site_id, "fra1");
  gate = BeaconGate(sites(), seconds(30));
  gate.import_freshness(stored);
  EXPECT_EQ(admit(BeaconSpec{.boot_epoch = 1000, .sequence = 10}), BeaconVerdict::duplicate);
  EXPECT_EQ(admit(BeaconSpec{.boot_epoch = 999, .sequence = 11}), BeaconVerdict::stale_epoch);
  EXPECT_EQ(admit(BeaconSpec{.boot_epoch = 1000, .sequence = 11}), BeaconVerdict::accepted);
  gate.import_freshness(stored);  // older than what is there: never backwards
  EXPECT_EQ(admit(BeaconSpec{.boot_epoch = 1000, .sequence = 11}), BeaconVerdict::duplicate);
}

TEST_F(BeaconGateTest, RefusesSitesAndKeysThatCannotBeToldApart) {
  const std::vector<config::SiteConfig> twins = {site_of("a", {key_of(1, 1)}),
                                                 site_of("a", {key_of(1, 2)})};
  const auto same_site = BeaconSites::make(twins, 1);
  ASSERT_FALSE(same_site);
  EXPECT_EQ(same_site.error().code, ErrorCode::conflict);
  const std::vector<config::SiteConfig> keys = {site_of("a", {key_of(1, 1), key_of(1, 2)})};
  const auto same_key = BeaconSites::make(keys, 1);
  ASSERT_FALSE(same_key);
  EXPECT_EQ(same_key.error().code, ErrorCode::conflict);
}

TEST_F(BeaconGateTest, FindsEachOfManySites) {
  std::vector<config::SiteConfig> many;
  for (int i = 0; i < 3000; ++i)
    many.push_back(site_of("site" + std::to_string(i), {key_of(1, 0x11)}));
  gate = BeaconGate(*BeaconSites::make(many, 1), seconds(30));
  for (std::uint32_t i = 0; i < 3000; ++i) {
    ASSERT_EQ(admit(BeaconSpec{.site = "site" + std::to_string(i)}), BeaconVerdict::accepted);
    ASSERT_EQ(out.site, i);
  }
}

}  // namespace
}  // namespace pharos::controlplane
