// The agent end to end on loopback: its beacons, what it measures, keys and epochs.
#include "pharos/controlplane/agent/boot_epoch.hh"

#include <sys/un.h>

#include <algorithm>
#include <set>

#include "agent_fixture.hh"

namespace pharos::agent {
namespace {

TEST_F(AgentTest, SendsBeaconsThatTheGateAccepts) {
  for (const char* address : {"127.0.0.1", "::1"}) {
    Responder responder(address);
    auto agent = open(config_for(responder));
    ASSERT_TRUE(until(agent, responder, [](const AcceptedBeacon& b) { return b.sequence >= 3; }));
    EXPECT_EQ(responder.last.boot_epoch, agent.boot_epoch());
    EXPECT_EQ(responder.last.report.interval_ms, 20U);
    EXPECT_TRUE(responder.last.report.metrics.memory_ratio);
    for (const auto verdict : responder.verdicts) EXPECT_EQ(verdict, BeaconVerdict::accepted);
  }
}

TEST_F(AgentTest, MeasuresCpuAndTheRoundTripToItsResponder) {
  Responder responder;
  auto agent = open(config_for(responder));
  ASSERT_TRUE(until(agent, responder, [](const AcceptedBeacon& b) {
    const auto& m = b.report.metrics;
    return m.responder_rtt_us && m.cpu_ratio;
  }));
  EXPECT_GT(*responder.last.report.metrics.responder_rtt_us, 0.0F);
  EXPECT_NE(agent.status().find("1 of 1 answer DNS"), std::string::npos) << agent.status();
}

TEST_F(AgentTest, SendsCopiesThatTheGateTellsFromNewBeacons) {
  Responder responder;
  auto config = config_for(responder);
  config.send_copies = 2;
  auto agent = open(std::move(config));
  // A loop that wakes up late leaves copies out, so the count of beacons says nothing.
  EXPECT_TRUE(until(agent, responder, [&](const AcceptedBeacon&) {
    return std::ranges::count(responder.verdicts, BeaconVerdict::duplicate) >= 3;
  }));
  EXPECT_EQ(std::ranges::count(responder.verdicts, BeaconVerdict::replayed), 0);
}

TEST_F(AgentTest, SaysGoodbyeWithCopies) {
  Responder responder;
  auto agent = open(config_for(responder));
  ASSERT_TRUE(until(agent, responder, [](const AcceptedBeacon&) { return true; }));
  responder.verdicts.clear();
  agent.leave();
  ASSERT_TRUE(responder.receive([](const AcceptedBeacon& b) { return b.report.leaving; }));
  EXPECT_EQ(responder.verdicts, (std::vector{BeaconVerdict::accepted, BeaconVerdict::duplicate,
                                             BeaconVerdict::duplicate}));
}

TEST_F(AgentTest, ReportsOverridesFromItsFileAtOnceAndKeepsTheLastGoodOnes) {
  Responder responder;
  auto config = config_for(responder);
  config.override = {{"memory", 0.25F}};
  config.override_file = directory_ + "/overrides";
  auto agent = open(std::move(config));
  const auto cpu_is = [](float value) {
    return [value](const AcceptedBeacon& b) { return b.report.metrics.cpu_ratio == value; };
  };
  write("overrides", "cpu: 0.95\n");
  ASSERT_TRUE(until(agent, responder, cpu_is(0.95F)));
  EXPECT_EQ(responder.last.report.metrics.memory_ratio, 0.25F);
  write("overrides", "cpu: 95\n");
  const auto sequence = agent.sequence();
  ASSERT_TRUE(
      until(agent, responder, [&](const AcceptedBeacon& b) { return b.sequence > sequence + 1; }));
  EXPECT_EQ(responder.last.report.metrics.cpu_ratio, 0.95F);
  write("overrides", "");
  ASSERT_TRUE(until(agent, responder,
                    [](const AcceptedBeacon& b) { return b.report.metrics.cpu_ratio != 0.95F; }));
}

TEST_F(AgentTest, CountsRequestsFromStatsdOverUdpAndUnixSockets) {
  Responder responder;
  auto config = config_for(responder);
  const auto path = directory_ + "/statsd.sock";
  // A port that was free a moment ago; the unix socket is the one that the test sends most to.
  const auto udp = UdpReceiver::open(loopback(), 1 << 16)->address();
  config.requests.statsd = StatsdConfig{.udp = udp, .unix_path = path, .prefix = ""};
  config.endpoints = {{"www", "a", {}}};
  auto agent = open(std::move(config));

  const UniqueFd local(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  std::ranges::copy(path, to.sun_path);
  ASSERT_EQ(::connect(local.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to), 0);
  const UniqueFd remote(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_storage udp_to{};
  const auto length = to_system(udp, udp_to);
  ASSERT_EQ(::connect(remote.get(), reinterpret_cast<const sockaddr*>(&udp_to), length), 0);

  ASSERT_TRUE(until(agent, responder, [&](const AcceptedBeacon& b) {
    const std::string_view load = "requests:10|c\nrequests.www.a:4|c\n",
                           state = "in_flight:3|g\nerrors:5|c\n";
    EXPECT_EQ(::send(local.get(), load.data(), load.size(), 0), static_cast<ssize_t>(load.size()));
    EXPECT_EQ(::send(remote.get(), state.data(), state.size(), 0),
              static_cast<ssize_t>(state.size()));
    const auto& m = b.report.metrics;
    return m.requests_rps > 0.0F && m.requests_in_flight == 3.0F && m.error_ratio > 0.0F &&
           !b.report.endpoints.empty() && b.report.endpoints[0].requests_rps > 0.0F;
  }));
}

TEST_F(AgentTest, CountsRequestsFromAFileAndFromACommand) {
  for (const bool command : {false, true}) {
    Responder responder;
    auto config = config_for(responder);
    write("count", "requests 100\nin_flight 7\n");
    if (command) {
      config.requests.command = "cat " + directory_ + "/count";
    } else {
      config.requests.counter_file = directory_ + "/count";
    }
    auto agent = open(std::move(config));
    EXPECT_TRUE(until(agent, responder, [](const AcceptedBeacon& b) {
      return b.report.metrics.requests_in_flight == 7.0F;
    }));
  }
}

TEST_F(AgentTest, RotatesItsKeyOnAReloadAndKeepsItsSequence) {
  Responder responder;
  auto config = config_for(responder);
  auto agent = open(config);
  ASSERT_TRUE(until(agent, responder, [](const AcceptedBeacon& b) { return b.sequence >= 2; }));
  config.key = key_of(2, 0x22);
  ASSERT_TRUE(agent.reload(config));
  const auto sequence = agent.sequence();
  ASSERT_TRUE(
      until(agent, responder, [&](const AcceptedBeacon& b) { return b.sequence > sequence; }));
  EXPECT_EQ(responder.last.boot_epoch, agent.boot_epoch());
  config.state_directory = directory_ + "/other";
  EXPECT_FALSE(agent.reload(config));
  EXPECT_TRUE(until(agent, responder, [](const AcceptedBeacon&) { return true; }))
      << "a refused reload changes nothing";
}

// ---- the boot epoch ----

TEST_F(AgentTest, GrowsItsEpochOverRestartsWhateverTheClockDoes) {
  const WallTime later{1'800'000'000'000'000'000}, earlier{1'700'000'000'000'000'000},
      before_1970{-5};
  std::uint64_t last = 0;
  for (const auto wall : {earlier, earlier, later, earlier, before_1970, later}) {
    const auto epoch = BootEpoch::begin(directory_, wall);
    ASSERT_TRUE(epoch) << epoch.error().text();
    EXPECT_GT(epoch->value(), last);
    last = epoch->value();
  }
}

TEST_F(AgentTest, RefusesAStateDirectoryThatAnotherAgentUses) {
  const auto first = BootEpoch::begin(directory_, wall_now());
  ASSERT_TRUE(first);
  const auto second = BootEpoch::begin(directory_, wall_now());
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::conflict);
}

TEST_F(AgentTest, RefusesAnEpochFileThatHoldsSomethingElse) {
  for (const char* text : {"", "abc\n", "12x\n", "99999999999999999999999\n", "-1\n"}) {
    write("boot_epoch", text);
    const auto epoch = BootEpoch::begin(directory_, wall_now());
    ASSERT_FALSE(epoch) << text;
    EXPECT_EQ(epoch.error().code, ErrorCode::invalid);
    EXPECT_FALSE(epoch.error().hint.empty());
  }
}

}  // namespace
}  // namespace pharos::agent
