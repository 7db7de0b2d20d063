// The agent end to end on loopback: its beacons through the real gate, its probes, checks, statsd, reload, and the
// program itself with its signals. Ports are the kernel's choice; waiting is for events, never for time.
#include "pharos/controlplane/agent/agent.hh"

#include "pharos/controlplane/agent/boot_epoch.hh"
#include "pharos/controlplane/ingest/beacon_gate.hh"
#include "pharos/controlplane/ingest/socket_address.hh"
#include "pharos/controlplane/ingest/udp_receiver.hh"

#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <set>

#include "beacon_builder.hh"

namespace pharos::agent {
namespace {

using controlplane::AcceptedBeacon;
using controlplane::BeaconGate;
using controlplane::BeaconSites;
using controlplane::BeaconVerdict;
using controlplane::from_system;
using controlplane::to_system;
using controlplane::UdpReceiver;
using controlplane::testing::key_of;
using controlplane::testing::site_of;

constexpr Duration patience = seconds(20);

config::SocketAddress loopback(const char* address = "127.0.0.1") {
  return {*IpAddress::parse(address), 0};
}

// A responder: takes beacons through the real gate, and answers every DNS query with REFUSED.
class Responder {
 public:
  explicit Responder(const char* address = "127.0.0.1")
      : beacons_(*UdpReceiver::open(loopback(address), 1 << 20)),
        dns_(*UdpReceiver::open(loopback(address), 1 << 16)) {}

  [[nodiscard]] HostPort beacon() const {
    return {beacons_.address().address.text(), beacons_.address().port};
  }
  [[nodiscard]] HostPort dns() const {
    return {dns_.address().address.text(), dns_.address().port};
  }

  using Wanted = std::function<bool(const AcceptedBeacon&)>;

  // Judges what has arrived by now; true where an accepted beacon satisfies `wanted`. `last` is the newest accepted.
  bool receive(const Wanted& wanted) {
    answer_queries();
    bool satisfied = false;
    for (const auto datagram : beacons_.receive().datagrams) {
      const auto at = now();
      verdicts.push_back(gate_.admit(datagram, at.monotonic, at.wall, scratch_));
      if (verdicts.back() != BeaconVerdict::accepted) continue;
      last = scratch_;
      satisfied = wanted(last) || satisfied;
    }
    return satisfied;
  }
  // For waits without an agent of ours to turn.
  void wait() const {
    pollfd wanted[] = {{beacons_.fd(), POLLIN, 0}, {dns_.fd(), POLLIN, 0}};
    ::poll(wanted, 2, 1000);
  }

  AcceptedBeacon last;
  std::vector<BeaconVerdict> verdicts;

 private:
  void answer_queries() {
    std::array<std::byte, 512> query;
    sockaddr_storage from{};
    for (;;) {
      socklen_t length = sizeof from;
      const auto size = ::recvfrom(dns_.fd(), query.data(), query.size(), MSG_DONTWAIT,
                                   reinterpret_cast<sockaddr*>(&from), &length);
      if (size < 12) return;
      query[2] |= std::byte{0x80};
      query[3] = std::byte{5};
      ::sendto(dns_.fd(), query.data(), static_cast<std::size_t>(size), 0,
               reinterpret_cast<const sockaddr*>(&from), length);
    }
  }

  UdpReceiver beacons_, dns_;
  BeaconGate gate_{
      *BeaconSites::make(std::vector{site_of("fra", {key_of(1, 0x11), key_of(2, 0x22)})}, 1),
      seconds(30)};
  AcceptedBeacon scratch_;
};

class AgentTest : public ::testing::Test {
 protected:
  AgentTest()
      : directory_(::testing::TempDir() + "pharos-agent-" + std::to_string(::getpid()) + "-" +
                   ::testing::UnitTest::GetInstance()->current_test_info()->name()) {
    std::filesystem::create_directories(directory_);
  }
  ~AgentTest() override { std::filesystem::remove_all(directory_); }

  AgentConfig config_for(const Responder& responder) const {
    AgentConfig config;
    config.site = "fra";
    config.key = key_of(1, 0x11);
    config.interval = milliseconds(20);
    config.responders = {{responder.beacon(), responder.dns()}};
    config.state_directory = directory_ + "/state";
    return config;
  }
  static Agent open(AgentConfig config) {
    auto agent = Agent::open(std::move(config));
    EXPECT_TRUE(agent) << agent.error().text();
    return std::move(*agent);
  }
  // Turns agent and responder until a beacon satisfies `wanted`.
  static bool until(Agent& agent, Responder& responder,
                    const std::function<bool(const AcceptedBeacon&)>& wanted) {
    const auto deadline = monotonic_now() + patience;
    while (monotonic_now() < deadline) {
      agent.turn(monotonic_now() + milliseconds(50));
      if (responder.receive(wanted)) return true;
    }
    return false;
  }
  void write(const std::string& name, const std::string& text) const {
    // Readers never see half of it.
    std::ofstream(directory_ + "/" + name + ".new") << text;
    std::filesystem::rename(directory_ + "/" + name + ".new", directory_ + "/" + name);
  }

  std::string directory_;
};

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

TEST_F(AgentTest, ReportsEndpointsByTcpAndByCommand) {
  const UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_storage system{};
  auto length = to_system(loopback(), system);
  ASSERT_EQ(::bind(listener.get(), reinterpret_cast<const sockaddr*>(&system), length), 0);
  ASSERT_EQ(::listen(listener.get(), 16), 0);
  ASSERT_EQ(::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&system), &length), 0);
  write("healthy", "");

  Responder responder;
  auto config = config_for(responder);
  CheckConfig tcp, command, hanging;
  tcp.tcp = from_system(system);
  command.command = "test -e " + directory_ + "/healthy";
  hanging.command = "sleep 1000";
  hanging.timeout = milliseconds(50);
  for (auto* check : {&tcp, &command, &hanging}) check->interval = milliseconds(100);
  config.endpoints = {{"www", "plain", {}},
                      {"www", "tcp", tcp},
                      {"www", "command", command},
                      {"www", "hanging", hanging}};
  auto agent = open(std::move(config));

  const auto is = [](const AcceptedBeacon& b, const char* id, bool up) {
    return std::ranges::any_of(b.report.endpoints, [&](const EndpointReport& e) {
      return e.endpoint == endpoint_hash("www", id) && e.up == up;
    });
  };
  ASSERT_TRUE(until(agent, responder, [&](const AcceptedBeacon& b) {
    return is(b, "plain", true) && is(b, "tcp", true) && is(b, "command", true) &&
           is(b, "hanging", false);
  }));
  ::shutdown(listener.get(), SHUT_RDWR);
  std::filesystem::remove(directory_ + "/healthy");
  EXPECT_TRUE(until(agent, responder, [&](const AcceptedBeacon& b) {
    return is(b, "plain", true) && is(b, "tcp", false) && is(b, "command", false);
  }));
}

TEST_F(AgentTest, ReportsMoreEndpointsThanFitOneBeaconInTurn) {
  Responder responder;
  auto config = config_for(responder);
  std::set<std::uint64_t> missing;
  for (unsigned i = 0; i < 3 * beacon::endpoint_count_max; ++i) {
    config.endpoints.push_back({"www", "e" + std::to_string(i), {}});
    missing.insert(endpoint_hash("www", "e" + std::to_string(i)));
  }
  auto agent = open(std::move(config));
  EXPECT_TRUE(until(agent, responder, [&](const AcceptedBeacon& b) {
    EXPECT_LE(b.report.endpoints.size(), beacon::endpoint_count_max);
    for (const auto& e : b.report.endpoints) missing.erase(e.endpoint);
    return missing.empty();
  }));
  EXPECT_LE(responder.last.sequence, 4U) << "three beacons hold them all";
}

// A site as a vantage point: what it sees of endpoints of others, beside what it says of its own.
TEST_F(AgentTest, LooksAtEndpointsOfOtherSitesAsOneVote) {
  const UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_storage system{};
  auto length = to_system(loopback(), system);
  ASSERT_EQ(::bind(listener.get(), reinterpret_cast<const sockaddr*>(&system), length), 0);
  ASSERT_EQ(::listen(listener.get(), 256), 0);
  ASSERT_EQ(::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&system), &length), 0);

  Responder responder;
  auto config = config_for(responder);
  config.endpoints = {{"www", "own", {}}};
  CheckConfig check;
  check.tcp = from_system(system);
  check.interval = milliseconds(100);
  std::set<std::uint64_t> missing;
  for (unsigned i = 0; i < 2 * beacon::endpoint_count_max; ++i) {
    config.probes.push_back({"www", "far-" + std::to_string(i), check});
    missing.insert(endpoint_hash("www", "far-" + std::to_string(i)));
  }
  CheckConfig program;
  program.exec = {"/bin/false"};
  program.interval = milliseconds(100);
  config.probes.push_back({"www", "program", program});
  missing.insert(endpoint_hash("www", "program"));
  auto agent = open(std::move(config));
  EXPECT_TRUE(until(agent, responder, [&](const AcceptedBeacon& b) {
    std::set<std::uint64_t> here;
    bool own = false;
    for (const auto& e : b.report.endpoints) {
      EXPECT_TRUE(here.insert(e.endpoint).second) << "one beacon says nothing twice";
      own = own || (!e.probe && e.endpoint == endpoint_hash("www", "own"));
      if (!e.probe) continue;
      const bool is_program = e.endpoint == endpoint_hash("www", "program");
      EXPECT_EQ(e.up, !is_program);
      EXPECT_EQ(e.probe_us.has_value(), !is_program);
      missing.erase(e.endpoint);
    }
    EXPECT_TRUE(own);
    return missing.empty();
  }));
  EXPECT_TRUE(missing.empty());
  ::shutdown(listener.get(), SHUT_RDWR);
  EXPECT_TRUE(until(agent, responder, [&](const AcceptedBeacon& b) {
    return std::ranges::any_of(b.report.endpoints, [](const EndpointReport& e) {
      return e.probe && !e.up && e.endpoint == endpoint_hash("www", "far-0");
    });
  }));
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

// ---- configuration ----

TEST_F(AgentTest, ReadsItsFileAndLetsOptionsWin) {
  write("agent.yaml",
        "site: fra\nkey: {id: 3, secret: " + std::string(64, 'a') +
            "}\ninterval: 200ms\nlink_speed: 10G\n"
            "responders: [{beacon: '192.0.2.1:5380', dns: 53}, {beacon: 'ns1.example.com:5380'}]\n"
            "requests: {statsd: {udp: 127.0.0.1:8125}}\noverride: {cpu: 0.5}\n"
            "endpoints: [{service: www, id: a, check: {tcp: '127.0.0.1:80', interval: 2s}}]\n");
  AgentOptions options;
  options.file = directory_ + "/agent.yaml";
  auto config = load(options);
  ASSERT_TRUE(config) << config.error().text();
  EXPECT_EQ(config->site, "fra");
  EXPECT_EQ(config->key.id, 3);
  EXPECT_EQ(config->key.secret[0], 0xaa);
  EXPECT_EQ(config->interval, milliseconds(200));
  EXPECT_EQ(config->link_bps, 10e9);
  ASSERT_EQ(config->responders.size(), 2U);
  EXPECT_EQ(*config->responders[0].dns, (HostPort{"192.0.2.1", 53}));
  EXPECT_EQ(config->responders[1].beacon.host, "ns1.example.com");
  EXPECT_FALSE(config->responders[1].dns);
  EXPECT_EQ(config->endpoints.at(0).check->interval, seconds(2));
  EXPECT_EQ(config->override.at("cpu"), 0.5F);

  options.site = "ams";
  options.interval = "1s";
  options.responders = {"[2001:db8::1]:5380"};
  config = load(options);
  ASSERT_TRUE(config) << config.error().text();
  EXPECT_EQ(config->site, "ams");
  EXPECT_EQ(config->interval, seconds(1));
  ASSERT_EQ(config->responders.size(), 1U);
  EXPECT_EQ(config->responders[0].beacon.host, "2001:db8::1");
}

TEST_F(AgentTest, ReportsEveryMistakeOfItsFileWithItsLine) {
  write("agent.yaml",
        "site: fra\nkey: {id: 1, secret: abc}\nintervall: 1s\nresponders: [{dns: 53}]\noverride: "
        "{cpu: 3}\n"
        "requests: {command: x, counter_file: y}\nendpoints: [{service: www, id: a, check: {}}]\n");
  AgentOptions options;
  options.file = directory_ + "/agent.yaml";
  const auto config = load(options);
  ASSERT_FALSE(config);
  const auto text = config.error().text();
  for (const char* part : {":2", ":3", "interval", ":4", "beacon", ":5", ":6", ":7"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << " in:\n" << text;
  }
  options.file = directory_ + "/missing.yaml";
  EXPECT_FALSE(load(options));
  EXPECT_FALSE(load({})) << "site, key and responders are needed";
  EXPECT_NE(reference().find("send_copies"), std::string::npos);
}

TEST_F(AgentTest, ReadsProbesAndProgramsAndSaysWhatIsWrongWithThem) {
  const std::string head = "site: fra\nkey: {id: 1, secret: '" + std::string(64, '1') +
                           "'}\nresponders: [{beacon: 'ns1.example.com:5380'}]\n";
  AgentOptions options;
  options.file = directory_ + "/agent.yaml";
  write("agent.yaml", head +
                          "probes:\n"
                          "  - {service: www, id: nyc-a, check: {http: 'http://192.0.2.7/health', "
                          "interval: 2s, timeout: 300ms, rise: 2, fall: 3, jitter: 20%}}\n"
                          "  - service: www\n    id: nyc-b\n"
                          "    check: {exec: [/usr/bin/check, --port, \"8080\"], match: fine}\n");
  const auto good = load(options);
  ASSERT_TRUE(good) << good.error().text();
  ASSERT_EQ(good->probes.size(), 2U);
  EXPECT_EQ(good->probes[0].check.interval, seconds(2));
  EXPECT_EQ(good->probes[0].check.fall, 3U);
  EXPECT_EQ(good->probes[1].check.exec.size(), 3U);
  const std::pair<const char*, const char*> wrong[] = {
      {"probes: [{service: www, id: a}]\n", "check"},
      {"probes: [{service: www, id: a, check: {command: x}}]\n", "no shell"},
      {"probes: [{service: www, id: a, check: {exec: [check]}}]\n", "whole path"},
      {"probes: [{service: www, id: a, check: {exec: []}}]\n", "at least 1"},
      {"probes: [{service: www, id: a, check: {exec: [/x], tcp: '127.0.0.1:1'}}]\n", "one of"},
      {"probes: [{service: w, id: a, check: {exec: [/x]}}, {service: w, id: a, check: {exec: "
       "[/x]}}]\n",
       "twice"}};
  for (const auto& [text, part] : wrong) {
    write("agent.yaml", head + text);
    const auto config = load(options);
    ASSERT_FALSE(config) << text;
    EXPECT_NE(config.error().text().find(part), std::string::npos) << config.error().text();
  }
}

// ---- the program ----

class Program {
 public:
  explicit Program(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), PHAROS_AGENT);
    std::vector<char*> argv;
    for (auto& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    EXPECT_EQ(::posix_spawn(&pid_, PHAROS_AGENT, nullptr, nullptr, argv.data(), environ), 0);
  }
  ~Program() {
    if (pid_ > 0) stop(SIGKILL);
  }
  // Sends the signal, waits, and returns the exit status, or -1 where it was killed.
  int stop(int with_signal) {
    ::kill(pid_, with_signal);
    return wait();
  }
  int wait() {
    int status = 0;
    ::waitpid(pid_, &status, 0);
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  void send_signal(int number) const { ::kill(pid_, number); }

 private:
  pid_t pid_ = -1;
};

class AgentProgramTest : public AgentTest {
 protected:
  std::string file_for(const Responder& responder, const std::string& extra = "") const {
    const auto beacon = responder.beacon();
    write("agent.yaml", "site: fra\nkey: {id: 1, secret: '" + secret_text("11") +
                            "'}\ninterval: 20ms\nresponders: [{beacon: '" + beacon.host + ":" +
                            std::to_string(beacon.port) + "'}]\nstate_directory: " + directory_ +
                            "/state\n" + extra);
    return directory_ + "/agent.yaml";
  }
  static std::string secret_text(const std::string& byte) {
    std::string text;
    for (int i = 0; i < 32; ++i) text += byte;
    return text;
  }
  static bool until(Responder& responder,
                    const std::function<bool(const AcceptedBeacon&)>& wanted) {
    const auto deadline = monotonic_now() + patience;
    while (monotonic_now() < deadline) {
      responder.wait();
      if (responder.receive(wanted)) return true;
    }
    return false;
  }
};

TEST_F(AgentProgramTest, LeavesInOrderOnSigtermAndGrowsItsEpochWhenItReturns) {
  Responder responder;
  const auto file = file_for(responder);
  const auto running = [](const AcceptedBeacon& b) { return b.sequence >= 2; };
  std::uint64_t first_epoch = 0;
  {
    Program program({"--config", file});
    ASSERT_TRUE(until(responder, running));
    first_epoch = responder.last.boot_epoch;
    EXPECT_EQ(program.stop(SIGTERM), 0);
    ASSERT_TRUE(responder.last.report.leaving ||
                until(responder, [](const AcceptedBeacon& b) { return b.report.leaving; }));
  }
  {
    Program program({"--config", file});
    ASSERT_TRUE(until(responder, [&](const AcceptedBeacon& b) {
      return b.boot_epoch > first_epoch && b.sequence >= 2;
    }));
    const auto second_epoch = responder.last.boot_epoch;
    program.stop(SIGKILL);
    Program again({"--config", file});
    ASSERT_TRUE(
        until(responder, [&](const AcceptedBeacon& b) { return b.boot_epoch > second_epoch; }));
  }
}

TEST_F(AgentProgramTest, ReloadsOnSighupAndKeepsTheFormerConfigurationOverABadOne) {
  Responder responder;
  Program program({"--config", file_for(responder)});
  ASSERT_TRUE(until(responder, [](const AcceptedBeacon&) { return true; }));
  (void)file_for(responder, "override: {cpu: 0.875}\n");
  program.send_signal(SIGHUP);
  ASSERT_TRUE(until(responder,
                    [](const AcceptedBeacon& b) { return b.report.metrics.cpu_ratio == 0.875F; }));
  (void)file_for(responder, "nonsense: 1\n");
  program.send_signal(SIGHUP);
  const auto sequence = responder.last.sequence;
  ASSERT_TRUE(until(responder, [&](const AcceptedBeacon& b) { return b.sequence > sequence + 5; }));
  EXPECT_EQ(responder.last.report.metrics.cpu_ratio, 0.875F);
}

TEST_F(AgentProgramTest, ChecksItsConfigurationAndSaysSoByItsExitStatus) {
  Responder responder;
  EXPECT_EQ(Program({"--config", file_for(responder), "--check"}).wait(), 0);
  EXPECT_EQ(Program({"--config", file_for(responder, "nonsense: 1\n"), "--check"}).wait(), 2);
  EXPECT_EQ(Program({"--bogus"}).wait(), 2);
  EXPECT_EQ(Program({"--help"}).wait(), 0);
  EXPECT_EQ(Program({"--version"}).wait(), 0);
  const auto occupied = BootEpoch::begin(directory_ + "/state", wall_now());
  EXPECT_EQ(Program({"--config", file_for(responder)}).wait(), 1);
}

}  // namespace
}  // namespace pharos::agent
