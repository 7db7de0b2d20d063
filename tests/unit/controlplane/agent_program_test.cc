// The agent's file, and the program itself with its signals.
#include "pharos/controlplane/agent/boot_epoch.hh"

#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include "agent_fixture.hh"

namespace pharos::agent {
namespace {

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
