// What the agent says of endpoints: checks of its own ones, votes on those of others, and how both are configured.
#include <algorithm>
#include <set>

#include "agent_fixture.hh"

namespace pharos::agent {
namespace {

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
  check.timeout = milliseconds(950);
  check.jitter = 0.2;
  check.fall = 1;
  std::set<std::uint64_t> missing;
  for (unsigned i = 0; i < 2 * beacon::endpoint_count_max; ++i) {
    config.probes.push_back({"www", "far-" + std::to_string(i), check});
    missing.insert(endpoint_hash("www", "far-" + std::to_string(i)));
  }
  CheckConfig program;
  program.exec = {"/bin/false"};
  program.interval = milliseconds(100);
  program.fall = 3;
  program.jitter = 0;
  config.endpoints.push_back({"www", "own-program", program});
  config.probes.push_back({"www", "program", program});
  missing.insert(endpoint_hash("www", "program"));
  auto agent = open(std::move(config));
  EXPECT_TRUE(until(agent, responder, [&](const AcceptedBeacon& b) {
    std::set<std::uint64_t> here;
    bool own = false;
    for (const auto& e : b.report.endpoints) {
      EXPECT_TRUE(here.insert(e.endpoint).second) << "one beacon says nothing twice";
      own = own || (!e.probe && e.endpoint == endpoint_hash("www", "own"));
      if (e.endpoint == endpoint_hash("www", "own-program")) {
        EXPECT_EQ(e.notices_ds, 33) << "three times 100 ms and 1 s";
      }
      if (!e.probe) continue;
      EXPECT_EQ(e.notices_ds, e.up ? 11 : 33) << "120 ms and 950 ms, rounded up";
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
      {"probes: [{service: www, id: a, check: {tls: '192.0.2.1:443', ca_file: /nowhere.pem}}]\n",
       "certificates"},
      {"probes: [{service: www, id: a, check: {tcp: '192.0.2.1:443', ca_file: /nowhere.pem}}]\n",
       "speak TLS"},
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

}  // namespace
}  // namespace pharos::agent
