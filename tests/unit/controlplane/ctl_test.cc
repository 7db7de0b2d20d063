// pharosctl against servers of our own: what it asks, what it prints, and its exit status.
#include "pharos/controlplane/ctl/command_line.hh"
#include "pharos/controlplane/ctl/view.hh"
#include "pharos/shared/control_protocol.hh"

#include <sys/stat.h>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <optional>
#include <sstream>
#include <thread>

#include "image_seeds.hh"
#include "temporary_files.hh"

namespace pharos::controlplane::ctl {
namespace {

using nlohmann::json;

// A daemon that gives one answer to each command, and keeps what it was asked.
class FakeDaemon {
 public:
  FakeDaemon(const std::string& directory, const std::string& name) {
    auto opened = control::Server::open(directory, name, ::geteuid());
    if (!opened) throw std::runtime_error(opened.error().text());
    server_ = std::move(*opened);
  }
  FakeDaemon(const FakeDaemon&) = delete;
  FakeDaemon& operator=(const FakeDaemon&) = delete;
  ~FakeDaemon() {
    stopping_ = true;
    if (thread_.joinable()) thread_.join();
  }
  void answer(const std::string& command, control::Access access, Result<json> result) {
    server_->add({command, access, "a test", [this, command, result](const json& arguments) {
                    const std::lock_guard guard(mutex_);
                    asked_[command] = arguments;
                    return result;
                  }});
  }
  void start() {
    thread_ = std::thread([this] {
      while (!stopping_) server_->poll_once(milliseconds(5));
    });
  }
  json asked(const std::string& command) {
    const std::lock_guard guard(mutex_);
    return asked_[command];
  }

 private:
  std::optional<control::Server> server_;
  std::mutex mutex_;
  std::map<std::string, json> asked_;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

struct Outcome {
  int status = -1;
  std::string out, error;
};

Outcome run(std::vector<std::string> words, const std::string& directory = "/nonexistent") {
  words.insert(words.begin(), {"pharosctl", "--run-directory", directory});
  std::vector<const char*> arguments;
  for (const auto& word : words) arguments.push_back(word.c_str());
  std::ostringstream out, error;
  Outcome outcome;
  outcome.status =
      run_command_line(static_cast<int>(arguments.size()), arguments.data(), {out, error, false});
  outcome.out = out.str();
  outcome.error = error.str();
  return outcome;
}

class CtlTest : public testing::Test {
 protected:
  void start() {
    dataplane_.start();
    controlplane_.start();
  }
  Outcome ctl(std::vector<std::string> words) { return run(std::move(words), files_.directory()); }

  TemporaryFiles files_;
  FakeDaemon dataplane_{files_.directory(), "dataplane"};
  FakeDaemon controlplane_{files_.directory(), "controlplane"};
};

const json endpoint = {{"service", "www"},   {"id", "fra-1"},  {"site", "fra"},
                       {"state", "up"},      {"score", 0.875}, {"addresses", {"192.0.2.1"}},
                       {"override", "auto"}, {"weight", 3},    {"ttl_s", 20}};

TEST_F(CtlTest, ShowsTheStatusOfBothDaemons) {
  dataplane_.answer("status", control::Access::read,
                    json{{"daemon", "dataplane"},
                         {"version", "0.1"},
                         {"uptime_s", 7322},
                         {"version_in_use", {{"epoch", 2}, {"generation", 41}}},
                         {"alarms", {"port 'front': link down"}},
                         {"ports", {{{"id", "front"}, {"link", "down"}}}}});
  controlplane_.answer("status", control::Access::read,
                       json{{"daemon", "controlplane"},
                            {"sites", {{"up", 3}, {"suspect", 1}, {"down", 0}}},
                            {"alarms", json::array()}});
  start();
  const auto shown = ctl({"status"});
  EXPECT_EQ(shown.status, exit_worked) << shown.error;
  EXPECT_NE(shown.out.find("pharos-dataplane 0.1"), std::string::npos) << shown.out;
  EXPECT_NE(shown.out.find("2h 2m"), std::string::npos) << shown.out;
  EXPECT_NE(shown.out.find("2.41"), std::string::npos) << shown.out;
  EXPECT_NE(shown.out.find("ALARM           port 'front': link down"), std::string::npos)
      << shown.out;
  EXPECT_NE(shown.out.find("3 up, 1 suspect, 0 down"), std::string::npos) << shown.out;
  EXPECT_EQ(shown.out.find('\x1b'), std::string::npos);

  const auto both = ctl({"--json", "status"});
  EXPECT_EQ(json::parse(both.out).at("dataplane").at("uptime_s"), 7322);
  EXPECT_EQ(json::parse(both.out).at("controlplane").at("daemon"), "controlplane");
  const auto one = ctl({"status", "--dataplane", "--json"});
  EXPECT_EQ(json::parse(one.out).at("daemon"), "dataplane");
}

TEST(CtlAloneTest, ShowsOneDaemonAndFailsWhereTheOtherIsAbsent) {
  const TemporaryFiles files;
  FakeDaemon dataplane(files.directory(), "dataplane");
  dataplane.answer(
      "stats", control::Access::read,
      json{{"daemon", "dataplane"}, {"counters", {{"answered", 1234567}, {"refused", 0}}}});
  dataplane.start();
  const auto shown = run({"stats"}, files.directory());
  EXPECT_EQ(shown.status, exit_failed);
  EXPECT_NE(shown.out.find("answered  1 234 567"), std::string::npos) << shown.out;
  EXPECT_NE(shown.error.find("no daemon listens there"), std::string::npos) << shown.error;
  EXPECT_EQ(run({"stats", "--dataplane"}, files.directory()).status, exit_worked);
  EXPECT_EQ(run({"stats", "--controlplane"}, files.directory()).status, exit_failed);
}

TEST_F(CtlTest, ListsEndpointsAndChangesThem) {
  controlplane_.answer("endpoints", control::Access::read, json::array({endpoint}));
  controlplane_.answer("endpoint-set", control::Access::write, endpoint);
  start();
  const auto listed = ctl({"endpoints", "www"});
  EXPECT_EQ(listed.status, exit_worked) << listed.error;
  EXPECT_EQ(controlplane_.asked("endpoints"), (json{{"service", "www"}}));
  EXPECT_NE(listed.out.find("www/fra-1"), std::string::npos) << listed.out;
  EXPECT_NE(listed.out.find("0.875"), std::string::npos) << listed.out;
  for (const char* state : {"up", "down", "drain", "auto"}) {
    EXPECT_EQ(ctl({"endpoints", state, "www/fra-1"}).status, exit_worked);
    EXPECT_EQ(controlplane_.asked("endpoint-set"),
              (json{{"service", "www"}, {"endpoint", "fra-1"}, {"state", state}}));
  }
}

TEST_F(CtlTest, SetsWeightsAndGivesThemBack) {
  controlplane_.answer(
      "weight-set", control::Access::write,
      json{{"service", "www"}, {"endpoint", "a"}, {"weight", 2.5}, {"source", "operator"}});
  controlplane_.answer("weights", control::Access::read, json::array());
  start();
  EXPECT_EQ(ctl({"weights", "set", "www/a", "2.5"}).status, exit_worked);
  EXPECT_EQ(controlplane_.asked("weight-set"),
            (json{{"service", "www"}, {"endpoint", "a"}, {"weight", 2.5}}));
  EXPECT_EQ(ctl({"weights", "set", "www/a", "default"}).status, exit_worked);
  EXPECT_TRUE(controlplane_.asked("weight-set").at("weight").is_null());
  EXPECT_EQ(ctl({"weights", "get", "www"}).out, "no endpoints\n");
  EXPECT_EQ(controlplane_.asked("weights"), (json{{"service", "www"}}));
}

TEST_F(CtlTest, TunesFactorsAndTellsAlarms) {
  const auto exponents = [](double proximity, const char* source) {
    return json{{"exponents", {{"proximity", proximity}, {"risk", 0.5}}}, {"source", source}};
  };
  controlplane_.answer("factors", control::Access::read, exponents(1, "configuration"));
  controlplane_.answer("factor-set", control::Access::write, exponents(2, "operator"));
  controlplane_.answer("alarms", control::Access::read, json::array({"zone a. is stale"}));
  start();
  EXPECT_EQ(ctl({"factors", "get"}).out,
            "FACTOR     EXPONENT  SOURCE\n"
            "proximity         1  configuration\n"
            "risk            0.5  configuration\n");
  EXPECT_EQ(ctl({"factors", "set", "proximity", "2"}).status, exit_worked);
  EXPECT_EQ(controlplane_.asked("factor-set"), (json{{"factor", "proximity"}, {"exponent", 2.0}}));
  EXPECT_EQ(ctl({"factors", "reset"}).status, exit_worked);
  EXPECT_TRUE(controlplane_.asked("factor-set").at("exponent").is_null());
  EXPECT_EQ(ctl({"alarms"}).out, "zone a. is stale\n");
}

TEST_F(CtlTest, ExplainsAnAnswerWithItsFactors) {
  controlplane_.answer(
      "explain", control::Access::read,
      json{
          {"name", "www.example.com."},
          {"type", "AAAA"},
          {"locale", "eu"},
          {"scope", 24},
          {"answers",
           {{{"rank", 1}, {"address", "2001:db8::1"}, {"endpoint", "fra-1"}, {"ttl_s", 20}}}},
          {"factors",
           {{{"endpoint", "fra-1"}, {"score", 0.5}, {"proximity", 0.25}, {"reason", "CPU 97%"}}}}});
  start();
  const auto told =
      ctl({"explain", "--name", "www.example.com", "--client", "192.0.2.9", "--type", "aaaa"});
  EXPECT_EQ(told.status, exit_worked) << told.error;
  EXPECT_EQ(controlplane_.asked("explain"),
            (json{{"name", "www.example.com"}, {"client", "192.0.2.9"}, {"type", "AAAA"}}));
  for (const char* part : {"eu, alike for /24", "2001:db8::1", "0.250", "CPU 97%"}) {
    EXPECT_NE(told.out.find(part), std::string::npos) << part << "\n" << told.out;
  }
}

TEST_F(CtlTest, PassesARefusalOnWithItsReason) {
  controlplane_.answer(
      "endpoint-set", control::Access::write,
      fail(ErrorCode::not_found, "no endpoint 'x' in service 'www'", {}, "there are: fra-1"));
  controlplane_.answer("reload", control::Access::write, json{{"changed", {"service www"}}});
  dataplane_.answer("reload", control::Access::write,
                    fail(ErrorCode::invalid, "pharos.yaml:3: unknown key"));
  start();
  const auto refused = ctl({"endpoints", "down", "www/x"});
  EXPECT_EQ(refused.status, exit_failed);
  EXPECT_EQ(refused.error, "pharosctl: no endpoint 'x' in service 'www' (there are: fra-1)\n");
  EXPECT_EQ(refused.out, "");
  const auto half = ctl({"reload"});  // one of two did not
  EXPECT_EQ(half.status, exit_failed);
  EXPECT_NE(half.out.find("service www"), std::string::npos);
  EXPECT_NE(half.error.find("pharos.yaml:3"), std::string::npos);
  EXPECT_EQ(ctl({"reload", "--controlplane", "--force"}).status, exit_worked);
  EXPECT_EQ(controlplane_.asked("reload"), (json{{"force", true}}));
}

TEST_F(CtlTest, SendsTheLogLevelToTheChosenDaemon) {
  for (auto* daemon : {&dataplane_, &controlplane_}) {
    daemon->answer("log-level", control::Access::write,
                   json{{"level", "debug"}, {"previous", "info"}});
  }
  start();
  EXPECT_EQ(ctl({"log-level", "dataplane", "debug"}).out, "log level debug, was info\n");
  EXPECT_EQ(dataplane_.asked("log-level"), (json{{"level", "debug"}}));
  EXPECT_TRUE(controlplane_.asked("log-level").is_null());
  EXPECT_EQ(ctl({"log-level", "trace"}).status, exit_worked);
  EXPECT_EQ(controlplane_.asked("log-level"), (json{{"level", "trace"}}));
}

TEST_F(CtlTest, AsksForZones) {
  controlplane_.answer("zones", control::Access::read,
                       json::array({json{{"id", "example.com."}, {"serial", 7}}}));
  controlplane_.answer("zone-show", control::Access::read,
                       json{{"records", {"a.\t60\tIN\tA\t192.0.2.1", "evil\x1b[2J"}}});
  controlplane_.answer("zone-reload", control::Access::write, json{{"changed", json::array()}});
  start();
  EXPECT_NE(ctl({"zone", "list"}).out.find("example.com."), std::string::npos);
  EXPECT_EQ(ctl({"zone", "show", "example.com"}).out, "a. 60 IN A 192.0.2.1\nevil?[2J\n");
  EXPECT_EQ(controlplane_.asked("zone-show"), (json{{"zone", "example.com"}}));
  EXPECT_EQ(ctl({"zone", "reload"}).out, "nothing changed\n");
}

TEST(CtlUsageTest, RefusesAWrongCommandLineWithStatus2) {
  const std::vector<std::vector<std::string>> lines = {
      {},
      {"statsu"},
      {"weights"},
      {"endpoints", "up"},
      {"endpoints", "up", "www"},
      {"endpoints", "drain", "www/fra", "www/nyc"},
      {"weights", "set", "www/fra", "2", "www/nyc"},
      {"--bogus"},
      {"explain"},
      {"key"},
      {"weights", "set", "a/b", "-1"},
      {"factors", "set", "risk"},
      {"factors", "set", "risk", "much"},
      {"config"},
      {"log-level", "loud"},
      {"log-level", "moon", "info"},
      {"status", "--dataplane", "--controlplane"},
      {"explain", "--name", "a", "--client", "b", "--type", "MX"},
      {"image", "check"},
      {"status", "extra"}};
  for (const auto& line : lines) {
    const auto outcome = run(line);
    EXPECT_EQ(outcome.status, exit_usage) << testing::PrintToString(line);
    EXPECT_FALSE(outcome.error.empty()) << testing::PrintToString(line);
  }
  EXPECT_NE(run({"statsu"}).error.find("did you mean 'stats'?"), std::string::npos);
}

TEST(CtlUsageTest, NamesTheOrdersWhereAWordIsNone) {
  const auto away = run({"endpoints", "away", "www/fra"});
  EXPECT_EQ(away.status, exit_usage);
  EXPECT_NE(away.error.find("'away' is no order of 'endpoints' (there are: up, down, drain, auto)"),
            std::string::npos)
      << away.error;
  EXPECT_NE(run({"weights"}).error.find("an order of 'weights' is missing: get, set"),
            std::string::npos);
  EXPECT_NE(run({}).error.find("a command is missing: status, "), std::string::npos);
  EXPECT_NE(run({"weights", "set", "www/fra"}).error.find("weight is required"), std::string::npos);
  const auto more = run({"endpoints", "up", "www/fra", "now"});
  EXPECT_EQ(more.status, exit_usage);
  EXPECT_EQ(more.error.find("is no order"), std::string::npos) << more.error;
}

TEST(CtlUsageTest, HelpAndVersionWork) {
  EXPECT_EQ(run({"--help"}).status, exit_worked);
  EXPECT_EQ(run({"endpoints", "--help"}).status, exit_worked);
  EXPECT_EQ(run({"--version"}).out, "pharosctl " PHAROS_VERSION "\n");
  EXPECT_EQ(run({"version"}).out, "pharosctl " PHAROS_VERSION "\n");
}

TEST(CtlLocalTest, MakesTokensThatTheConfigurationTakes) {
  const auto make = [](const char* role) {
    return run({"--json", "token", "generate", "--id", "ops", "--role", role});
  };
  const auto made = json::parse(make("write").out);
  EXPECT_NE(made, json::parse(make("write").out));
  EXPECT_EQ(make("king").status, exit_usage);
  const TemporaryFiles files;
  const auto file = files.write("pharos.yaml", "controlplane: {api: {tokens: [{id: ops, hash: " +
                                                   made.at("hash").get<std::string>() + "}]}}\n");
  const auto checked = run({"config", "check", file});
  EXPECT_EQ(checked.status, exit_worked) << checked.error;
  EXPECT_TRUE(made.at("token").get<std::string>().starts_with("pharos_"));
}

TEST(CtlLocalTest, MakesKeysThatTheConfigurationTakes) {
  const auto first = run({"--json", "key", "generate", "--id", "7"});
  const auto second = run({"--json", "key", "generate", "--id", "7"});
  ASSERT_EQ(first.status, exit_worked);
  EXPECT_EQ(json::parse(first.out).at("id"), 7);
  EXPECT_NE(first.out, second.out);
  EXPECT_EQ(run({"key", "generate", "--bare"}).out.size(), 65U);

  const TemporaryFiles files;
  const auto text =
      "controlplane: {beacon_listen: '127.0.0.1:5380'}\nsites: [{id: fra, location: [0, 0], keys: "
      "[" +
      run({"key", "generate"}).out + "]}]\n";
  const auto file = files.write("pharos.yaml", text);
  const auto checked = run({"config", "check", file});
  EXPECT_EQ(checked.status, exit_worked) << checked.error;
  EXPECT_NE(checked.out.find("1 sites"), std::string::npos) << checked.out;
}

TEST(CtlLocalTest, ListsEveryMistakeOfAConfiguration) {
  const TemporaryFiles files;
  const auto file = files.write("bad.yaml", "a: 1\nlog_level: loud\n");
  const auto checked = run({"config", "check", file});
  EXPECT_EQ(checked.status, exit_failed);
  EXPECT_NE(checked.error.find(file + ":1: "), std::string::npos) << checked.error;
  EXPECT_NE(checked.error.find(file + ": 2 mistakes"), std::string::npos) << checked.error;
  const auto as_json = run({"config", "check", file, "--json"});
  EXPECT_EQ(as_json.status, exit_failed);
  EXPECT_EQ(json::parse(as_json.out).at("mistakes").size(), 2U);
}

TEST(CtlLocalTest, ChecksZoneFiles) {
  const TemporaryFiles files;
  const auto good =
      files.write("good.zone", "$TTL 60\n@ SOA ns h 1 2 3 4 5\n@ NS ns\nns A 192.0.2.1\n");
  const auto bad =
      files.write("bad.zone", "$TTL 60\n@ SOA ns h 1 2 3 4 5\n@ NS ns\nns A 192.0.2.999\n");
  EXPECT_EQ(run({"zone", "check", "example.com", good}).status, exit_worked);
  const auto refused = run({"zone", "check", "example.com", bad});
  EXPECT_EQ(refused.status, exit_failed);
  EXPECT_NE(refused.error.find(bad + ":4"), std::string::npos) << refused.error;
  EXPECT_EQ(run({"zone", "check", "example.com", "/nonexistent"}).status, exit_failed);
}

TEST(CtlLocalTest, ProvesImagesAndDeltasOnTheirBase) {
  const TemporaryFiles files;
  std::vector<std::string> images;
  for (const auto& seed : fuzz::seeds())
    images.push_back(files.write(seed.name, as_text(seed.image)));
  for (std::size_t i = 0; i <= fuzz::base_seed; ++i) {
    const auto checked = run({"image", "check", images[i]});
    EXPECT_EQ(checked.status, exit_worked) << checked.error;
    EXPECT_FALSE(run({"image", "dump", images[i]}).out.empty());
  }
  const auto& base = images[fuzz::base_seed];
  const auto& delta = images[fuzz::base_seed + 1];
  EXPECT_EQ(run({"image", "check", base, delta}).status, exit_worked);
  const auto alone = run({"image", "check", delta});
  EXPECT_EQ(alone.status, exit_failed);
  EXPECT_NE(alone.error.find("give its base"), std::string::npos) << alone.error;
  const auto told = json::parse(run({"--json", "image", "check", base, delta}).out);
  EXPECT_EQ(told.at(1).at("kind"), "ranking delta");

  std::filesystem::resize_file(base, std::filesystem::file_size(base) - 1);
  EXPECT_EQ(run({"image", "check", base}).status, exit_failed);
  EXPECT_EQ(run({"image", "check", "/nonexistent"}).status, exit_failed);
}

TEST(CtlLocalTest, FailsWhereItsOutputIsLost) {
  std::ofstream full("/dev/full");
  std::ostringstream error;
  const char* arguments[] = {"pharosctl", "config", "schema"};
  EXPECT_EQ(run_command_line(3, arguments, {full, error, false}), exit_failed);
  EXPECT_NE(error.str().find("could not be written"), std::string::npos);
}

TEST(CtlViewTest, ShowsResultsOfAnyShapeWithoutThrowing) {
  const std::vector<json> odd = {
      nullptr,
      7,
      "text",
      json::array(),
      json::object(),
      json::array({1, nullptr, "x"}),
      {{"ports", 5}, {"sites", "many"}, {"alarms", {{"a", 1}}}, {"version_in_use", {1, 2}}},
      json::array({{{"id", {1}}, {"metrics", 3}, {"names", {{"deep", 1}}}, {"ttl_s", "soon"}}})};
  for (const char* command :
       {"status",       "stats",       "sites",           "services",  "endpoints",
        "endpoint-set", "weights",     "weight-set",      "factors",   "factor-set",
        "alarms",       "explain",     "generations",     "ports",     "zones",
        "zone-show",    "zone-reload", "reload",          "log-level", "commands",
        "another",      "maintenance", "maintenance-set", "demand",    "probes"}) {
    for (const auto& result : odd)
      EXPECT_FALSE(render(command, result, true).empty()) << command << result;
  }
}

TEST(CtlViewTest, AlignsColumnsAndColoursStatesOnATerminalOnly) {
  TextTable table({"NAME", ">VALUE"});
  table.add({{"\xc3\xa9t\xc3\xa9"}, {"7"}});
  table.add({{"longer", Colour::bad}, {"12345"}});
  EXPECT_EQ(table.text(false), "NAME    VALUE\n\xc3\xa9t\xc3\xa9         7\nlonger  12345\n");
  EXPECT_NE(table.text(true).find("\x1b[31mlonger\x1b[0m"), std::string::npos);
  EXPECT_EQ(age_text(0.015), "15ms");
  EXPECT_EQ(age_text(3.25), "3.2s");
  EXPECT_EQ(age_text(725), "12m 5s");
  EXPECT_EQ(age_text(273'600), "3d 4h");
  EXPECT_EQ(bytes_text(1536), "1.5 KiB");
  EXPECT_EQ(count_text(12'345), "12.3k");
  EXPECT_EQ(grouped_text(1'234'567), "1 234 567");
  EXPECT_EQ(grouped_text(12), "12");
}

TEST(CtlCompletionTest, KnowsEverySubcommand) {
  std::ifstream file(std::string(PHAROS_SOURCE_ROOT) + "/scripts/completion/pharosctl");
  ASSERT_TRUE(file);
  std::stringstream text;
  text << file.rdbuf();
  // What bash offers behind each prefix, asked of the script itself.
  const auto offered = [&](const std::string& line) {
    const auto command =
        "bash -c '. " + std::string(PHAROS_SOURCE_ROOT) +
        "/scripts/completion/pharosctl; pharosctl() { return 1; }; COMP_WORDS=(pharosctl " + line +
        " \"\"); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _pharosctl; echo \" ${COMPREPLY[*]} \"'";
    std::string out;
    FILE* pipe = ::popen(command.c_str(), "r");
    char buffer[4096];
    while (pipe != nullptr && std::fgets(buffer, sizeof buffer, pipe) != nullptr) out += buffer;
    EXPECT_EQ(::pclose(pipe), 0);
    return out;
  };
  std::map<std::string, std::string> known;
  for (const auto& name : subcommand_names()) {
    const auto space = name.find(' ');
    const auto prefix = space == std::string::npos ? "" : name.substr(0, space);
    if (!known.contains(prefix)) known[prefix] = offered(prefix);
    const auto word = space == std::string::npos ? name : name.substr(space + 1);
    EXPECT_NE(known[prefix].find(" " + word + " "), std::string::npos)
        << name << " in" << known[prefix];
  }
  EXPECT_GT(known.size(), 5U);
}

}  // namespace
}  // namespace pharos::controlplane::ctl
