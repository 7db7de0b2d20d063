// From signed datagrams through the gate to the states of sites: what loss, copies and stepping clocks do on the whole way.
#include "pharos/controlplane/health/health_board.hh"
#include "pharos/controlplane/ingest/beacon_gate.hh"

#include <gtest/gtest.h>

#include <random>

#include "beacon_builder.hh"

namespace pharos::controlplane {
namespace {

using testing::BeaconSpec;
using testing::datagram_of;
using testing::key_of;
using testing::site_of;

constexpr Duration interval = milliseconds(200);
constexpr Duration day = seconds(86'400);
constexpr unsigned sites = 3;

// Sites that send, a network that loses, a gate and a board.
class Way {
 public:
  Way() {
    for (unsigned s = 0; s < sites; ++s) board.add_site(true, interval, false, now);
  }

  void run_for(Duration time) {
    for (const Instant end = now + time; now < end;) {
      now = now + interval;
      ++sequence_;
      for (unsigned s = 0; s < sites; ++s) send(s);
      while (board.next_deadline() <= now) tick();
    }
  }
  [[nodiscard]] unsigned down() const {
    unsigned count = 0;
    for (unsigned s = 0; s < sites; ++s) count += board.site(s).state == SiteState::down;
    return count;
  }

  HealthBoard board{config::HealthConfig{}};
  Instant now{1'000'000'000'000};
  Duration our_step{};                       // of our wall clock
  std::array<Duration, sites> their_step{};  // of theirs
  double loss = 0;
  unsigned copies = 1;
  unsigned falls = 0, refused = 0;

 private:
  void tick() {
    std::vector<std::uint32_t> changed;
    board.tick(std::min(board.next_deadline(), now), changed);
    for (const auto s : changed) falls += board.site(s).state == SiteState::down;
  }
  void send(unsigned s) {
    BeaconSpec spec;
    spec.site = "s" + std::to_string(s);
    spec.key = key_of(1, static_cast<std::uint8_t>(s + 1));
    spec.sequence = sequence_;
    spec.sent = WallTime{wall_.ns + now.ns + their_step[s].ns};
    spec.report.interval_ms = 200;
    const auto datagram = datagram_of(spec);
    for (unsigned copy = 0; copy < copies; ++copy) {
      if (chance_(generator_) < loss) continue;
      const Instant received = now + milliseconds(1) + interval * copy / (2 * copies);
      const auto verdict =
          gate_.admit(datagram, received, WallTime{wall_.ns + received.ns + our_step.ns}, beacon_);
      if (verdict == BeaconVerdict::accepted) {
        std::vector<std::uint32_t> changed;
        board.heard(s, beacon_.report, received, changed, sequence_ - heard_[s]);
        heard_[s] = sequence_;
      } else {
        refused += verdict != BeaconVerdict::duplicate;
      }
    }
  }

  static std::vector<config::SiteConfig> configs() {
    std::vector<config::SiteConfig> all;
    for (unsigned s = 0; s < sites; ++s)
      all.push_back(
          site_of("s" + std::to_string(s), {key_of(1, static_cast<std::uint8_t>(s + 1))}));
    return all;
  }
  BeaconGate gate_{*BeaconSites::make(configs(), 1), seconds(30)};
  AcceptedBeacon beacon_;
  WallTime wall_{1'700'000'000'000'000'000};
  std::uint64_t sequence_ = 0;
  std::array<std::uint64_t, sites> heard_{};
  std::mt19937_64 generator_{23};
  std::uniform_real_distribution<double> chance_{0, 1};
};

TEST(BeaconLifeTest, AClockStepOfADayOnEitherSideMarksNobodyDead) {
  for (const Duration step : {day, Duration{} - day}) {
    Way way;
    way.run_for(seconds(20));
    way.our_step = step;
    way.run_for(seconds(60));
    for (auto& theirs : way.their_step) {  // and theirs, one after the other, with ours still wrong
      theirs = step;
      way.run_for(seconds(60));
    }
    way.our_step = {};
    way.run_for(seconds(60));
    way.their_step = {};
    way.run_for(seconds(60));
    EXPECT_EQ(way.falls, 0U) << step.ns;
    EXPECT_EQ(way.refused, 0U) << step.ns;
    EXPECT_FALSE(way.board.suspects_itself());
  }
}

TEST(BeaconLifeTest, StepsOfADayUnderLossMarkNobodyDead) {
  Way way;
  way.loss = 0.01;
  way.copies = 2;
  way.run_for(seconds(20));
  for (int i = 0; i < 20; ++i) {
    way.our_step = i % 2 == 0 ? day : Duration{} - day;
    way.their_step[static_cast<std::size_t>(i) % sites] = way.our_step * (i % 3);
    way.run_for(seconds(30));
  }
  EXPECT_EQ(way.falls, 0U);
  EXPECT_EQ(way.down(), 0U);
}

TEST(BeaconLifeTest, CopiesAreTakenOnceAndFillTheGapsOfTheFirst) {
  Way way;
  way.loss = 0.2;
  way.copies = 2;
  way.run_for(seconds(600));
  EXPECT_EQ(way.refused, 0U);
  for (unsigned s = 0; s < sites; ++s)
    EXPECT_NEAR(way.board.site(s).rhythm.loss(), 0.04, 0.035) << "a fifth of a fifth";
  EXPECT_EQ(way.falls, 0U);
}

}  // namespace
}  // namespace pharos::controlplane
