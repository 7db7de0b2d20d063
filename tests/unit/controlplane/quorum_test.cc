// Votes of vantage points, and what their quorum makes of them; alone, and in the engine.
#include "pharos/controlplane/health/quorum.hh"

#include "pharos/controlplane/engine/engine.hh"
#include "pharos/wire/beacon.hh"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "small_world.hh"

namespace pharos::controlplane {
namespace {

using Changed = std::vector<std::uint32_t>;

config::HealthConfig rules(unsigned votes_min = 1, double quorum = 0.5) {
  config::HealthConfig config;
  config.probe_votes_min = votes_min;
  config.probe_quorum = quorum;
  config.rise = seconds(1);
  return config;
}

TEST(QuorumBoardTest, TheMajorityDecidesAndATieIsNone) {
  QuorumBoard board(rules());
  EXPECT_TRUE(board.vote(7, 0, true, 800.0F, start)) << "the first verdict";
  EXPECT_FALSE(board.vote(7, 1, false, {}, start)) << "one of two";
  EXPECT_FALSE(board.down(7));
  EXPECT_TRUE(board.vote(7, 2, false, {}, start)) << "two of three";
  EXPECT_TRUE(board.down(7));
  EXPECT_FALSE(board.down(8)) << "nobody looks there";
  const auto* verdict = board.find(7);
  ASSERT_NE(verdict, nullptr);
  EXPECT_EQ(verdict->counting(), 3U);
  EXPECT_EQ(verdict->bad(), 2U);
  EXPECT_EQ(verdict->votes[0].took_us, 800.0F);
}

TEST(QuorumBoardTest, AnotherQuorumIsAnotherVerdict) {
  for (const double quorum : {0.0, 0.34, 0.67, 1.0}) {
    QuorumBoard board(rules(1, quorum));
    for (std::uint32_t from = 0; from < 4; ++from)
      static_cast<void>(board.vote(1, from, from < 2, {}, start));
    EXPECT_EQ(board.down(1), quorum < 0.5) << quorum;
  }
}

TEST(QuorumBoardTest, TooFewVotesSayNothing) {
  QuorumBoard board(rules(3));
  EXPECT_FALSE(board.vote(1, 0, false, {}, start));
  EXPECT_FALSE(board.vote(1, 1, false, {}, start));
  EXPECT_FALSE(board.find(1)->up);
  EXPECT_TRUE(board.vote(1, 2, false, {}, start + seconds(1)));
  EXPECT_TRUE(board.down(1));
}

TEST(QuorumBoardTest, TheFirstToSpeakAfterAStartDoesNotDecideAlone) {
  QuorumBoard board(rules());
  EXPECT_FALSE(board.vote(1, 0, false, {}, start));
  EXPECT_FALSE(board.find(1)->up);
  EXPECT_TRUE(board.vote(1, 1, true, {}, start + milliseconds(200))) << "one of two: up";
  EXPECT_FALSE(board.down(1));
  EXPECT_FALSE(board.vote(2, 0, false, {}, start));
  EXPECT_EQ(board.next_deadline(), start + seconds(1));
  Changed changed;
  board.tick(start + seconds(1), changed);
  EXPECT_EQ(changed, Changed{2}) << "nobody else has spoken";
  EXPECT_TRUE(board.down(2));
}

TEST(QuorumBoardTest, ItIsUpAgainOnlyAfterItsRise) {
  QuorumBoard board(rules());
  static_cast<void>(board.vote(1, 0, true, {}, start));
  static_cast<void>(board.vote(1, 0, false, {}, start));
  ASSERT_TRUE(board.down(1));
  EXPECT_FALSE(board.vote(1, 0, true, {}, start + milliseconds(100)));
  EXPECT_EQ(board.next_deadline(), start + milliseconds(1100));
  Changed changed;
  board.tick(start + milliseconds(1099), changed);
  EXPECT_TRUE(board.down(1));
  // A bad look in between begins it anew.
  EXPECT_FALSE(board.vote(1, 0, false, {}, start + milliseconds(1099)));
  EXPECT_FALSE(board.vote(1, 0, true, {}, start + milliseconds(1100)));
  board.tick(start + milliseconds(2099), changed);
  EXPECT_TRUE(changed.empty());
  board.tick(start + milliseconds(2100), changed);
  EXPECT_EQ(changed, Changed{1});
  EXPECT_FALSE(board.down(1));
}

TEST(QuorumBoardTest, VotesOfASilentSiteAreVoidAndTheVerdictStaysForItsTime) {
  QuorumBoard board(rules(2));
  for (const bool up : {true, false}) {
    static_cast<void>(board.vote(1, 0, up, {}, start));
    static_cast<void>(board.vote(1, 1, up, {}, start));
  }
  ASSERT_TRUE(board.down(1));
  Changed changed;
  board.silence(1, start + seconds(1), changed);
  EXPECT_TRUE(changed.empty());
  EXPECT_TRUE(board.down(1)) << "one vote is too few to say otherwise";
  EXPECT_EQ(board.find(1)->counting(), 1U);
  while (board.next_deadline() != never) board.tick(board.next_deadline(), changed);
  EXPECT_EQ(changed, Changed{1});
  EXPECT_FALSE(board.down(1)) << "nobody has said so for two minutes";
}

TEST(QuorumBoardTest, VotesThatAreNotRepeatedGrowOldAndAreForgotten) {
  QuorumBoard board(rules());
  static_cast<void>(board.vote(1, 0, false, {}, start));
  static_cast<void>(board.vote(1, 1, true, {}, start + seconds(60)));
  static_cast<void>(board.vote(1, 2, true, {}, start + seconds(60)));
  Changed changed;
  board.tick(start + seconds(119), changed);
  EXPECT_EQ(board.find(1)->counting(), 3U);
  board.tick(start + seconds(120), changed);
  EXPECT_EQ(board.find(1)->counting(), 2U);
  while (board.next_deadline() != never) board.tick(board.next_deadline(), changed);
  EXPECT_EQ(board.find(1), nullptr);
}

// An oracle that looks at all votes anew each time: the verdict without memory, where nothing rises or grows old.
TEST(QuorumBoardTest, AgreesWithCountingByHand) {
  std::mt19937_64 generator(17);
  for (int round = 0; round < 200; ++round) {
    auto config =
        rules(1 + static_cast<unsigned>(generator() % 3), static_cast<double>(generator() % 4) / 4);
    config.rise = {};
    QuorumBoard board(config);
    std::map<std::uint32_t, bool> votes;
    for (int step = 0; step < 40; ++step) {
      const auto from = static_cast<std::uint32_t>(generator() % 5);
      votes[from] = generator() % 2 == 0;
      static_cast<void>(board.vote(3, from, votes[from], {}, start + milliseconds(step)));
      if (votes.size() < config.probe_votes_min) {
        EXPECT_FALSE(board.find(3)->up);
        continue;
      }
      const auto bad = std::ranges::count(votes, false, [](const auto& v) { return v.second; });
      EXPECT_EQ(board.down(3),
                static_cast<double>(bad) > config.probe_quorum * static_cast<double>(votes.size()));
    }
  }
}

TEST(QuorumBoardTest, MovesWithAReload) {
  QuorumBoard board(rules());
  for (std::uint32_t from = 0; from < 3; ++from)
    static_cast<void>(board.vote(5, from, from == 0, {}, start));
  static_cast<void>(board.vote(6, 0, true, {}, start));
  ASSERT_TRUE(board.down(5));
  // Site 1 is gone, 0 and 2 change places; endpoint 5 is 2 now, 6 is gone.
  std::vector<std::optional<std::uint32_t>> endpoints(7), sites{1, std::nullopt, 0};
  endpoints[5] = 2;
  const auto moved = board.moved(rules(), endpoints, sites, start);
  ASSERT_EQ(moved.verdicts().size(), 1U);
  const auto* verdict = moved.find(2);
  ASSERT_NE(verdict, nullptr);
  ASSERT_EQ(verdict->votes.size(), 2U);
  EXPECT_FALSE(verdict->votes[0].up);
  EXPECT_TRUE(verdict->votes[1].up);
  EXPECT_TRUE(moved.down(2)) << "one of two is no majority: it has to rise again";
  EXPECT_EQ(verdict->rise_at, start + seconds(1));
}

// ---- in the engine ----

class Loop {
 public:
  explicit Loop(const config::Config& config = small_config())
      : world_(
            *make_world(std::make_shared<const config::Config>(config), {"default", "eu", "us"})),
        engine(world_, {}, {}, start) {
    step();
    beacons();
  }
  void step() { static_cast<void>(engine.step(now)); }
  // All sites speak; `looks` say what site `from` sees of the endpoint of each site of service www.
  void beacons() {
    ++sequence_;
    for (std::uint32_t site = 0; site < 3; ++site) {
      if (silent[site]) continue;
      SiteReport report{.metrics = {}, .interval_ms = 200, .leaving = false, .endpoints = {}};
      for (const auto& [endpoint, up] : looks[site]) {
        report.endpoints.push_back({.endpoint = endpoint_hash("www", endpoint),
                                    .up = up,
                                    .requests_rps = {},
                                    .probe = true,
                                    .probe_us = 1'500.0F});
      }
      engine.heard(site, report, epoch, sequence_, now);
    }
    step();
  }
  void run_for(Duration time) {
    const Instant end = now + time;
    while (now < end) {
      const Instant beat = now + milliseconds(200);
      while (engine.next_deadline() < beat) {
        now = std::max(now, engine.next_deadline());
        step();
      }
      now = beat;
      beacons();
    }
  }
  [[nodiscard]] EndpointView view(std::uint32_t site) const {
    return engine.view(*world_->find_endpoint("www", world_->site(site).id), everyone, now);
  }
  [[nodiscard]] std::uint32_t leader() const { return engine.answered(www, eu, 0).front(); }
  [[nodiscard]] std::uint32_t endpoint(const char* site) const {
    return *world_->find_endpoint("www", site);
  }

 private:
  std::shared_ptr<const World> world_;
  std::uint64_t sequence_ = 0;

 public:
  Engine engine;
  Instant now = start;
  std::uint64_t epoch = 1;
  std::array<std::vector<std::pair<const char*, bool>>, 3> looks;
  std::array<bool, 3> silent{};
};

TEST(ProbesTest, AQuorumTakesAnEndpointOutAndBringsItBack) {
  Loop loop;
  ASSERT_EQ(loop.leader(), loop.endpoint("fra"));
  loop.looks[nyc] = {{"fra", true}};
  loop.looks[sin] = {{"fra", false}};
  loop.run_for(seconds(2));
  EXPECT_EQ(loop.leader(), loop.endpoint("fra")) << "one of two";
  EXPECT_EQ(loop.view(fra).reason, "1 of 2 probes find it down (sin)");
  loop.looks[nyc] = {{"fra", false}};
  loop.beacons();
  EXPECT_NE(loop.leader(), loop.endpoint("fra")) << "with the next beacon";
  EXPECT_EQ(loop.view(fra).state, "down");
  EXPECT_EQ(loop.view(fra).reason, "2 of 2 probes find it down (nyc, sin)");
  loop.looks[nyc] = loop.looks[sin] = {{"fra", true}};
  loop.beacons();
  EXPECT_EQ(loop.view(fra).reason, "its probes find it well again, and wait");
  EXPECT_EQ(loop.view(fra).state, "down");
  loop.run_for(seconds(2));
  EXPECT_EQ(loop.view(fra).state, "up");
  EXPECT_EQ(loop.view(fra).reason, "all is well");
}

TEST(ProbesTest, ATargetThatCannotSendIsJudgedByProbesAlone) {
  auto config = small_config();
  config.sites[fra].keys.clear();
  Loop loop(config);
  loop.silent[fra] = true;
  loop.looks[nyc] = {{"fra", true}};
  loop.run_for(seconds(5));
  EXPECT_EQ(loop.view(fra).state, "up");
  loop.looks[nyc] = {{"fra", false}};
  loop.beacons();
  EXPECT_EQ(loop.view(fra).state, "down");
}

TEST(ProbesTest, AProbeIsNoWordOfTheEndpointsOwnAgent) {
  Loop loop;
  loop.looks[fra] = {{"fra", false}};  // its own site looks at it as one of three
  loop.looks[nyc] = loop.looks[sin] = {{"fra", true}};
  loop.run_for(seconds(1));
  EXPECT_EQ(loop.view(fra).state, "up");
}

TEST(ProbesTest, VotesOfADeadVantagePointAreVoid) {
  Loop loop;
  loop.looks[nyc] = {{"fra", false}};
  loop.looks[sin] = {{"fra", true}};
  loop.run_for(seconds(1));
  ASSERT_EQ(loop.view(fra).state, "up");
  loop.silent[sin] = true;
  loop.run_for(seconds(2));
  ASSERT_EQ(loop.engine.health().site(sin).state, SiteState::down);
  EXPECT_EQ(loop.view(fra).state, "down") << "one of one";
  EXPECT_EQ(loop.view(fra).reason, "1 of 1 probes find it down (nyc)");
}

TEST(ProbesTest, AnOperatorsWordBeatsThemAndAReloadKeepsThem) {
  Loop loop;
  loop.looks[nyc] = loop.looks[sin] = {{"fra", false}};
  loop.run_for(seconds(3));
  ASSERT_EQ(loop.view(fra).state, "down");
  loop.engine.set_override(loop.endpoint("fra"), config::Override::up, loop.now);
  loop.step();
  EXPECT_EQ(loop.view(fra).state, "up");
  loop.engine.set_override(loop.endpoint("fra"), config::Override::automatic, loop.now);
  loop.engine.replace_world(
      *make_world(std::make_shared<const config::Config>(small_config()), {"default", "eu", "us"}),
      loop.now);
  loop.step();
  EXPECT_EQ(loop.view(fra).state, "down");
  loop.epoch = 2;  // agents that start anew
  loop.looks[nyc] = loop.looks[sin] = {};
  loop.beacons();
  EXPECT_EQ(loop.view(fra).reason, "its probes found it down, and are silent");
  loop.run_for(seconds(121));
  EXPECT_EQ(loop.view(fra).state, "up");
}

TEST(ProbesTest, ProbesOfWhatIsNotConfiguredChangeNothing) {
  Loop loop;
  loop.looks[nyc] = {{"nowhere", false}};
  loop.run_for(seconds(1));
  EXPECT_TRUE(loop.engine.quorum().verdicts().empty());
}

TEST(RestlessnessTest, ASiteThatSwingsIsARiskAndShortensItsTtls) {
  Loop loop;
  const auto ttl = loop.engine.view_pool(www).ttl_s;
  const auto swing = [&](float low, float high) {
    for (int i = 0; i < 100; ++i) {
      loop.now = loop.now + milliseconds(200);
      for (std::uint32_t site = 0; site < 3; ++site) {
        SiteReport report{.metrics = {}, .interval_ms = 200, .leaving = false, .endpoints = {}};
        report.metrics.cpu_ratio = site == fra && i % 2 == 0 ? high : low;
        loop.engine.heard(site, report, 1,
                          1000 + static_cast<std::uint64_t>(loop.now.ns / 1'000'000), loop.now);
      }
      loop.step();
    }
  };
  swing(0.20F, 0.25F);
  EXPECT_EQ(loop.engine.restless_level_of(fra), 0U);
  EXPECT_EQ(loop.view(fra).factors.risk, 1) << "noise is no risk";
  swing(0.20F, 0.70F);
  EXPECT_GE(loop.engine.restless_level_of(fra), 1U);
  EXPECT_EQ(loop.engine.restless_level_of(nyc), 0U);
  EXPECT_LT(loop.view(fra).factors.risk, 0.95);
  EXPECT_LT(loop.engine.view_pool(www).ttl_s, ttl);
  EXPECT_NE(loop.view(fra).reason.find("its load swings by"), std::string::npos);
  swing(0.20F, 0.20F);
  EXPECT_EQ(loop.view(fra).factors.risk, 1) << "and it is forgotten";
}

}  // namespace
}  // namespace pharos::controlplane
