// The API on loopback, over a whole daemon: who gets in, what it takes, and that its document tells the truth.
#include "pharos/config/model.hh"
#include "pharos/controlplane/api/callers.hh"
#include "pharos/controlplane/api/metrics.hh"
#include "pharos/controlplane/engine/daemon.hh"

#include <httplib.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sodium.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "test_certificates.hh"

namespace pharos::controlplane {
namespace {

using nlohmann::json;

constexpr const char* reader_token = "pharos_reader";
constexpr const char* writer_token = "pharos_writer";

class ApiTest : public testing::Test {
 protected:
  ApiTest() {
    EXPECT_GE(sodium_init(), 0);
    std::string pattern = testing::TempDir() + "ph-XXXXXX";
    directory_ = ::mkdtemp(pattern.data());
    std::filesystem::create_directories(directory_ + "/run");
    write_config();
  }
  ~ApiTest() override {
    daemon_.reset();
    std::filesystem::remove_all(directory_);
  }

  static std::string text_of(const std::string& path) {
    const std::ifstream file(path);
    std::ostringstream text;
    text << file.rdbuf();
    return std::move(text).str();
  }
  [[nodiscard]] std::pair<int, json> post(const std::string& path, const json& body) const {
    return answer_of(client(writer_token).Post(path, body.dump(), "application/json"));
  }
  static std::string token_line(const char* id, const char* role, const char* token) {
    std::string digits(2 * 32 + 1, '\0');
    const auto hash = hash_of_token(token);
    sodium_bin2hex(digits.data(), digits.size(), hash.data(), hash.size());
    digits.pop_back();
    return std::string("{id: ") + id + ", role: " + role + ", hash: \"" + digits + "\"}";
  }
  void write_config() const {
    write_config("[" + token_line("reader", "read", reader_token) + ", " +
                 token_line("writer", "write", writer_token) + "]");
  }
  void write_config(const std::string& tokens) const {
    std::ofstream(directory_ + "/pharos.yaml")
        << "run_directory: " << directory_ << "/run\nstate_directory: " << directory_ << R"(/state
dataplane:
  ports: [{id: front, device: net_ring0, addresses: [198.18.0.1]}]
sites:
  - {id: fra, region: eu, location: [50.1, 8.7]}
  - {id: sin, region: asia, location: [1.3, 103.8]}
locales:
  - {id: eu, location: [50, 8], prefixes: [198.18.1.0/24]}
zones:
  - {id: example.org, hosts: {ns1: [192.0.2.1]}}
services:
  - id: www
    names: [www.example.org]
    endpoints: [{id: fra, site: fra, address: 203.0.113.1}, {id: sin, site: sin, address: 203.0.113.2}]
)"
        << "controlplane: {api: {tokens: " << tokens << "}}\n";
  }

  // A daemon whose API listens at a port that the system chose.
  void start(const std::function<void(config::ApiConfig&)>& change = {}) {
    auto config = config::load(directory_ + "/pharos.yaml");
    ASSERT_TRUE(config) << config.error().text();
    auto& api = config->controlplane.api;
    api.listen = {{*IpAddress::parse("127.0.0.1"), 0}};
    api.requests_per_second = 1e6;
    api.tokens = {{"reader", config::ApiRole::read, hash_of_token(reader_token)},
                  {"writer", config::ApiRole::write, hash_of_token(writer_token)}};
    if (change) change(api);
    auto daemon = Daemon::start(std::move(*config), false);
    ASSERT_TRUE(daemon) << daemon.error().text();
    daemon_ = std::move(*daemon);
    port_ = daemon_->api_listening().at(0).port;
  }

  [[nodiscard]] httplib::Client client(const char* token = nullptr) const {
    httplib::Client client("127.0.0.1", port_);
    if (token != nullptr) client.set_bearer_token_auth(token);
    return client;
  }
  [[nodiscard]] std::pair<int, json> get(const std::string& path, const char* token) const {
    return answer_of(client(token).Get(path));
  }
  [[nodiscard]] std::pair<int, json> put(const std::string& path, const json& body,
                                         const char* token) const {
    return answer_of(client(token).Put(path, body.dump(), "application/json"));
  }
  static std::pair<int, json> answer_of(const httplib::Result& result) {
    if (!result) return {-1, httplib::to_string(result.error())};
    return {result->status, json::parse(result->body, nullptr, false)};
  }

  // What comes back for these bytes until the other side closes.
  [[nodiscard]] std::string raw(const std::string& bytes) const {
    const UniqueFd fd(::socket(AF_INET, SOCK_STREAM, 0));
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port_);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(fd.get(), reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
    static_cast<void>(::send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL));
    ::shutdown(fd.get(), SHUT_WR);
    std::string all;
    std::array<char, 4096> buffer;
    for (;;) {
      pollfd waiting{.fd = fd.get(), .events = POLLIN, .revents = 0};
      if (::poll(&waiting, 1, 20'000) <= 0) return all + " (and hangs)";
      const auto got = ::recv(fd.get(), buffer.data(), buffer.size(), 0);
      if (got <= 0) return all;
      all.append(buffer.data(), static_cast<std::size_t>(got));
    }
  }

  std::string directory_;
  std::unique_ptr<Daemon> daemon_;
  std::uint16_t port_ = 0;
};

// Whether `value` is what `schema` says; the path of the first fault otherwise.
std::string fault_in(const json& value, const json& schema, const std::string& at = "$") {
  const auto type = schema.value("type", "");
  const bool fits =
      type.empty() || (type == "string" && value.is_string()) ||
      (type == "number" && value.is_number()) || (type == "boolean" && value.is_boolean()) ||
      (type == "object" && value.is_object()) || (type == "array" && value.is_array());
  if (!fits) return at + " is no " + type + ": " + value.dump();
  if (schema.contains("items")) {
    for (const auto& item : value) {
      if (auto fault = fault_in(item, schema["items"], at + "[]"); !fault.empty()) return fault;
    }
  }
  for (const auto& name : schema.value("required", json::array())) {
    if (!value.contains(name)) return at + " has no " + name.get<std::string>();
  }
  const auto properties = schema.value("properties", json::object());
  for (const auto& [name, below] : properties.items()) {
    if (!value.contains(name)) continue;
    if (auto fault = fault_in(value[name], below, at + "." + name); !fault.empty()) return fault;
  }
  return {};
}

TEST_F(ApiTest, KnowsCallersByTheirTokensAndLetsEachDoWhatItsRoleMay) {
  start();
  for (const char* token : {static_cast<const char*>(nullptr), "pharos_nobody", ""}) {
    const auto [status, body] = get("/v1/status", token);
    EXPECT_EQ(status, 401) << body;
    EXPECT_EQ(body["error"]["code"], "denied");
  }
  EXPECT_EQ(get("/metrics", nullptr).first, 401);
  EXPECT_EQ(get("/v1/status", reader_token).first, 200);
  const auto state = "/v1/services/www/endpoints/fra/state";
  const auto [status, body] = put(state, {{"state", "drain"}}, reader_token);
  EXPECT_EQ(status, 403) << body;
  EXPECT_EQ(put(state, {{"state", "drain"}}, writer_token).second["override"], "drain");
  // The generic path asks for the role of the command that it names.
  auto reader = client(reader_token);
  EXPECT_EQ(reader.Post("/v1/commands/reload", "{}", "application/json")->status, 403);
  EXPECT_EQ(reader.Post("/v1/commands/alarms", "{}", "application/json")->status, 200);
  EXPECT_EQ(reader.Post("/v1/commands/nonsense", "{}", "application/json")->status, 404);
}

TEST_F(ApiTest, StrangersMayReadOnlyWhereThatIsConfiguredAndOnlyByOurOwnName) {
  start([](config::ApiConfig& api) { api.anonymous_read = true; });
  EXPECT_EQ(get("/v1/status", nullptr).first, 200);
  EXPECT_EQ(put("/v1/log-level", {{"level", "info"}}, nullptr).first, 403);
  auto rebound = client();
  for (const char* host :
       {"evil.example", "127.evil.example", "evil.example:8053", "localhost.evil"})
    EXPECT_EQ(rebound.Get("/v1/status", {{"Host", host}})->status, 401) << host;
  EXPECT_EQ(rebound.Get("/v1/status", {{"Host", "localhost:8053"}})->status, 200);
}

// Every path is served with the parameters that it names, and answers in the shape that it promises.
TEST_F(ApiTest, TheDocumentIsTrue) {
  start();
  const auto [status, document] = get("/v1/openapi.json", reader_token);
  ASSERT_EQ(status, 200);
  EXPECT_EQ(document["openapi"], "3.1.0");
  EXPECT_EQ(document, openapi_document());
  const std::map<std::string, std::string> sample = {{"text", text_of(directory_ + "/pharos.yaml")},
                                                     {"service", "www"},
                                                     {"endpoint", "fra"},
                                                     {"zone", "example.org"},
                                                     {"factor", "risk"},
                                                     {"name", "www.example.org"},
                                                     {"client", "198.18.1.7"},
                                                     {"state", "auto"},
                                                     {"command", "status"},
                                                     {"level", "info"}};
  std::set<std::string> commands;
  for (const auto& [path, operations] : document["paths"].items()) {
    if (!path.starts_with("/v1/") || path == "/v1/openapi.json") continue;
    for (const auto& [method, operation] : operations.items()) {
      SCOPED_TRACE(method + " " + path);
      commands.insert(operation["x-command"].get<std::string>());
      std::string target = path;
      httplib::Params query;
      for (const auto& parameter : operation["parameters"]) {
        const auto name = parameter["name"].get<std::string>();
        if (parameter["in"] == "path")
          target.replace(target.find("{" + name + "}"), name.size() + 2, sample.at(name));
        else if (parameter["required"].get<bool>())
          query.emplace(name, sample.at(name));
      }
      json body = json::object();
      if (operation.contains("requestBody")) {
        const auto& schema = operation["requestBody"]["content"]["application/json"]["schema"];
        for (const auto& name : schema.value("required", json::array())) {
          const auto field = name.get<std::string>();
          body[field] = sample.contains(field) ? json(sample.at(field)) : json(1);
        }
      }
      target = httplib::append_query_params(target, query);
      auto caller = client(writer_token);
      const auto answer =
          answer_of(method == "get"    ? caller.Get(target)
                    : method == "put"  ? caller.Put(target, body.dump(), "application/json")
                    : method == "post" ? caller.Post(target, body.dump(), "application/json")
                                       : caller.Delete(target));
      const auto& promised = operation["responses"]["200"]["content"]["application/json"]["schema"];
      ASSERT_EQ(answer.first, 200) << answer.second;
      EXPECT_EQ(fault_in(answer.second, promised), "");
    }
  }
  // Each path's command is there, with the role that the document names.
  const auto [listed, all] = get("/v1/commands", reader_token);
  for (const auto& route : api_routes()) {
    if (route.command.empty()) continue;
    const auto at = std::ranges::find_if(
        all, [&](const json& command) { return command["name"] == route.command; });
    ASSERT_NE(at, all.end()) << route.command;
    EXPECT_EQ((*at)["access"], route.access == control::Access::read ? "read" : "write")
        << route.command;
  }
}

TEST_F(ApiTest, SaysWhatIsWrongAndWhere) {
  start();
  const struct {
    std::string path;
    int status;
    const char* told;
  } cases[] = {{"/v1/nothing", 404, "openapi"},
               {"/v1/sites/", 404, "openapi"},
               {"/v1/sites?site=moon", 404, "moon"},
               {"/v1/sites?planet=earth", 400, "planet"},
               {"/v1/explain?name=www.example.org", 400, "client is missing"},
               {"/v1/explain?name=www.example.org&client=here", 400, "here"},
               {"/v1/reload", 405, "POST"}};
  for (const auto& c : cases) {
    const auto [status, body] = get(c.path, reader_token);
    EXPECT_EQ(status, c.status) << c.path;
    EXPECT_NE(body.dump().find(c.told), std::string::npos) << body;
  }
  const auto path = "/v1/services/www/endpoints/fra/weight";
  EXPECT_EQ(put(path, {{"weight", "heavy"}}, writer_token).first, 400);
  EXPECT_EQ(put(path, {{"weight", 1}, {"height", 2}}, writer_token).first, 400);
  EXPECT_EQ(put(path, json::array(), writer_token).first, 400);
  EXPECT_EQ(put(path, {{"weight", 0.5}}, writer_token).second["weight"], 0.5);
  EXPECT_EQ(put(path, {{"weight", nullptr}}, writer_token).second["source"], "configuration");
}

TEST_F(ApiTest, HoldsEachCallerToItsRate) {
  start([](config::ApiConfig& api) { api.requests_per_second = 0.001; });
  auto reader = client(reader_token);
  EXPECT_EQ(reader.Get("/v1/alarms")->status, 200);
  const auto second = reader.Get("/v1/alarms");
  EXPECT_EQ(second->status, 429);
  EXPECT_GT(std::stoi(second->get_header_value("Retry-After")), 100);
  EXPECT_EQ(get("/v1/alarms", writer_token).first, 200) << "another caller has a rate of its own";
  EXPECT_EQ(get("/v1/alarms", "pharos_guess").first, 401);
  EXPECT_EQ(get("/v1/alarms", "pharos_guess2").first, 429) << "guesses count for the address";
}

TEST_F(ApiTest, TakesOnlyRequestsOfBoundedSizeAndSoundForm) {
  start();
  const std::string authorization = std::string("Authorization: Bearer ") + writer_token + "\r\n";
  const auto post = [&](const std::string& headers, const std::string& body) {
    return raw("POST /v1/reload HTTP/1.1\r\nHost: x\r\n" + authorization + headers + "\r\n" + body)
        .substr(0, 12);
  };
  const std::string as_json = "Content-Type: application/json\r\n";
  EXPECT_EQ(post(as_json + "Content-Length: 2\r\n", "{}"), "HTTP/1.1 200");
  EXPECT_EQ(post(as_json + "Content-Length: 1048577\r\n", std::string(1048577, ' ')),
            "HTTP/1.1 413");
  EXPECT_EQ(post(as_json + "Transfer-Encoding: chunked\r\n", "2\r\n{}\r\n0\r\n\r\n"),
            "HTTP/1.1 411");
  EXPECT_EQ(post("Content-Type: text/plain\r\nContent-Length: 2\r\n", "{}"), "HTTP/1.1 415");
  EXPECT_EQ(post(as_json + "Content-Encoding: gzip\r\nContent-Length: 2\r\n", "{}"),
            "HTTP/1.1 415");
  EXPECT_EQ(post(as_json + "Content-Length: 2\r\nContent-Length: 3\r\n", "{}x"), "HTTP/1.1 400");
  EXPECT_EQ(raw("GET /v1/status HTTP/1.1\r\nContent-Length: 5\r\n" + authorization + "\r\nGET /x")
                .substr(0, 12),
            "HTTP/1.1 400");
  EXPECT_EQ(raw("GET /" + std::string(2000, 'a') + " HTTP/1.1\r\n" + authorization + "\r\n")
                .substr(0, 12),
            "HTTP/1.1 414");
  std::string ranges = "Range: bytes=0-1";
  while (ranges.size() < 8000) ranges += ",0-1";
  const auto ranged =
      raw("GET /v1/alarms HTTP/1.1\r\nConnection: close\r\n" + authorization + ranges + "\r\n\r\n");
  EXPECT_LT(ranged.size(), 2000U) << "ranges do not multiply an answer";
  for (const std::string& nonsense :
       {std::string("\r\n\r\n"), std::string(100'000, 'A'), std::string("GET\r\n\r\n"),
        std::string("\x16\x03\x01\x02", 4), std::string("GET / HTTP/1.1\r\n")}) {
    EXPECT_EQ(raw(nonsense).find("hangs"), std::string::npos) << nonsense.substr(0, 20);
  }
  EXPECT_EQ(get("/v1/status", reader_token).first, 200) << "it lives";
}

TEST_F(ApiTest, TakesClientCertificatesOfItsIssuerAndTheirRoles) {
  const TestCertificates files(directory_);
  start([&](config::ApiConfig& api) {
    api.tokens = {{"reader", config::ApiRole::read, hash_of_token(reader_token)}};
    api.certificate = files.server.certificate;
    api.key = files.server.key;
    api.client_ca = files.issuer.certificate;
    api.clients = {{"ops", config::ApiRole::write}};
  });
  const auto status = [&](const TestCertificate* shown, const char* token) {
    httplib::SSLClient caller =
        shown == nullptr ? httplib::SSLClient("127.0.0.1", port_)
                         : httplib::SSLClient("127.0.0.1", port_, shown->certificate, shown->key);
    caller.enable_server_certificate_verification(false);
    if (token != nullptr) caller.set_bearer_token_auth(token);
    const auto result = caller.Put("/v1/log-level", R"({"level": "info"})", "application/json");
    return result ? result->status : -1;
  };
  EXPECT_EQ(status(&files.ops, nullptr), 200);
  EXPECT_EQ(status(&files.other, nullptr), 401) << "issued by ours, and not in the list";
  EXPECT_EQ(status(nullptr, nullptr), 401);
  EXPECT_EQ(status(nullptr, reader_token), 403) << "a token does without a certificate";
  EXPECT_EQ(status(&files.foreign, nullptr), -1) << "named as ours, and of another issuer";
  const auto plain = client(reader_token).Get("/v1/status");
  EXPECT_FALSE(plain && plain->status == 200) << "no plain HTTP where there is TLS";

  // A new certificate is served without a restart.
  EXPECT_GT(daemon_->api_counters()->http.handshakes_failed, 0U);
}

TEST_F(ApiTest, AReloadChangesWhoMayCall) {
  start();
  EXPECT_EQ(get("/v1/alarms", reader_token).first, 200);
  write_config("[" + token_line("fresh", "write", "pharos_fresh") + "]");
  auto writer = client(writer_token);
  ASSERT_EQ(writer.Post("/v1/reload", "{}", "application/json")->status, 200);
  EXPECT_EQ(get("/v1/alarms", reader_token).first, 401);
  EXPECT_EQ(get("/v1/alarms", "pharos_fresh").first, 200);
}

TEST_F(ApiTest, ThePastIsExplainedFromWhatWasKept) {
  start();
  const std::string question = "/v1/explain?name=www.example.org&client=198.18.1.7";
  ASSERT_EQ(get("/v1/history", reader_token).first, 200);  // waits for what was ranked at the start
  const auto now = get(question, reader_token).second;
  ASSERT_EQ(now["answers"][0]["endpoint"], "fra");
  // A time between the two decisions, by the clock that stamps them.
  const auto then = wall_now();
  while (wall_now().ns < then.ns + 5'000'000) std::this_thread::yield();
  ASSERT_EQ(put("/v1/services/www/endpoints/fra/state", {{"state", "drain"}}, writer_token).first,
            200);
  const auto [status, past] =
      get(question + "&at=" + std::to_string(static_cast<double>(then.ns) * 1e-9), reader_token);
  ASSERT_EQ(status, 200) << past;
  for (const char* same : {"answers", "locale", "pool", "policy", "scope", "ttl_s", "panic"})
    EXPECT_EQ(past[same], now[same]) << same;
  EXPECT_EQ(past["cause"], "first ranking");
  ASSERT_EQ(past["factors"].size(), now["factors"].size());
  EXPECT_NEAR(past["factors"][0]["score"].get<double>(), now["factors"][0]["score"].get<double>(),
              1e-3);
  EXPECT_NE(get(question, reader_token).second["answers"], now["answers"]);
  const auto rows = get("/v1/history?service=www&locale=eu", reader_token).second;
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_EQ(rows[0]["answers"], json{"sin"});
  EXPECT_NE(rows[0]["cause"].get<std::string>().find("draining by the operator"),
            std::string::npos);
  EXPECT_EQ(get(question + "&at=-9d", reader_token).first, 404);
  EXPECT_EQ(get(question + "&at=yesterday", reader_token).first, 400);
  EXPECT_EQ(get("/v1/audit", writer_token).second[0]["command"], "endpoint-set");
}

TEST_F(ApiTest, APlanThatTakesMostEndpointsAwayIsRefusedUnlessItIsForced) {
  start();
  const auto file = directory_ + "/pharos.yaml";
  const auto former = text_of(file);
  const std::string last = ", {id: sin, site: sin, address: 203.0.113.2}";
  auto text = former;
  std::string more;
  for (const char* number : {"3", "4", "5"}) {
    more += ", {id: sin-" + std::string(number) + ", site: sin, address: 203.0.113." + number + "}";
  }
  text.insert(text.find(last), more);
  const auto run = [&](const std::string& command, const json& arguments = json::object()) {
    return post("/v1/commands/" + command, arguments);
  };
  ASSERT_EQ(run("draft-begin", {{"text", text}}).first, 200);
  ASSERT_EQ(run("draft-commit").first, 200);
  const auto [status, refused] = run("plan", {{"text", former}});
  EXPECT_EQ(status, 409) << refused;
  EXPECT_NE(refused.dump().find("3 of the 5 endpoints of service 'www'"), std::string::npos)
      << refused;
  EXPECT_EQ(run("plan", {{"text", former}, {"force", true}}).first, 200);
  auto fewer = text;
  fewer.erase(fewer.find(last), last.size());
  const auto [accepted, plan] = run("plan", {{"text", fewer}});
  EXPECT_EQ(accepted, 200) << plan;
  EXPECT_EQ(plan["load_source"], "none") << plan;
  EXPECT_EQ(text_of(file), text) << "a plan writes nothing";
}

TEST_F(ApiTest, ADraftIsPlannedCommittedAndTakenBack) {
  start();
  const auto file = directory_ + "/pharos.yaml";
  const auto former = text_of(file);
  auto text = former;
  const std::string gone = ", {id: sin, site: sin, address: 203.0.113.2}";
  text.erase(text.find(gone), gone.size());
  const auto run = [&](const std::string& command, const json& arguments = json::object()) {
    return post("/v1/commands/" + command, arguments);
  };
  EXPECT_EQ(run("draft-commit").first, 404);
  EXPECT_EQ(run("draft-begin", {{"text", "services: 5"}}).first, 400);
  const auto [status, begun] = run("draft-begin", {{"text", text}});
  ASSERT_EQ(status, 200) << begun;
  EXPECT_EQ(begun["lines"].size(), 2U) << begun;
  EXPECT_EQ(run("draft-begin", {{"text", text}}).first, 409);
  const auto diff = run("draft-diff").second;
  EXPECT_EQ(diff["changed"], json{"service www changed"}) << diff;
  EXPECT_GE(diff["moved_share"], 0.0);
  EXPECT_EQ(text_of(file), former) << "nothing is written before the commit";

  std::ofstream(file, std::ios::app) << "# another hand\n";
  EXPECT_EQ(run("draft-commit").first, 409);
  EXPECT_NE(text_of(file).find("another hand"), std::string::npos);
  std::ofstream(file) << former;
  ASSERT_EQ(run("draft-commit").first, 200);
  EXPECT_EQ(text_of(file), text);
  EXPECT_EQ(get("/v1/endpoints", reader_token).second.size(), 1U);

  const auto configurations = get("/v1/configurations", reader_token).second;
  ASSERT_EQ(configurations.size(), 2U);
  const auto first = configurations[1]["id"];
  const auto dry = post("/v1/rollback", {{"id", first}, {"dry_run", true}}).second;
  ASSERT_EQ(dry.value("files", json::array()).size(), 1U) << dry;
  EXPECT_EQ(dry["files"][0]["path"], file);
  EXPECT_EQ(text_of(file), text);
  const auto back = post("/v1/rollback", {{"id", first}}).second;
  EXPECT_EQ(back["changed"], json{"service www changed"}) << back;
  EXPECT_EQ(text_of(file), former);
  EXPECT_EQ(get("/v1/endpoints", reader_token).second.size(), 2U);
  EXPECT_GE(back["version"]["generation"], configurations[0]["generation"]);
  EXPECT_EQ(post("/v1/rollback", {{"id", 999}}).first, 404);
}

TEST_F(ApiTest, ServesAPageThatLoadsNothingFromElsewhere) {
  start();
  const auto page = client().Get("/");
  ASSERT_EQ(page->status, 200);
  EXPECT_NE(page->body.find("<title>Pharos</title>"), std::string::npos);
  for (const char* foreign : {"src=", "href=", "@import", "url("})
    EXPECT_EQ(page->body.find(foreign), std::string::npos) << foreign;
  const auto policy = page->get_header_value("Content-Security-Policy");
  EXPECT_TRUE(policy.starts_with("default-src 'none'; connect-src 'self';")) << policy;
  EXPECT_EQ(policy.find("unsafe"), std::string::npos);
}

TEST_F(ApiTest, MetricsAreWellFormedAndBounded) {
  start();
  const auto answer = client(reader_token).Get("/metrics");
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 200);
  for (const char* line :
       {"pharos_sites{state=\"up\"}", "pharos_site_up{site=\"fra\",region=\"eu\"}",
        "pharos_pool_endpoints{pool=\"www/A\"} 2", "pharos_dataplane_up 0",
        "pharos_probed_endpoints{verdict=\"down\"} 0",
        "pharos_site_restless_level{site=\"fra\",region=\"eu\"} 0",
        "# TYPE pharos_beacons_total counter", "pharos_history_dropped_total 0",
        "pharos_api_requests_total{outcome=\"done\"}"}) {
    EXPECT_NE(answer->body.find(line), std::string::npos) << line << "\n" << answer->body;
  }
  if (std::system("command -v promtool >/dev/null 2>&1") != 0)
    GTEST_SKIP() << "promtool is missing: apt-get install prometheus";
  const auto file = directory_ + "/metrics";
  std::ofstream(file) << answer->body;
  EXPECT_EQ(std::system(("promtool check metrics <" + file + " >&2").c_str()), 0);
}

TEST(MetricsTest, CountersOfTheDataPlaneFindTheirFamilies) {
  const auto families = dataplane_metrics(
      {{"counters",
        {{"rcode_nxdomain", 3}, {"drop_fragment", 1}, {"queries_ipv6", 2}, {"loops", 9}}},
       {"cores", {{{"core", 1}, {"role", "worker"}, {"busy_ratio", 0.5}}}},
       {"ports", {{{"id", "front"}, {"link", "up"}, {"received_packets", 7}}}}});
  std::map<std::string, std::string> first;
  for (const auto& family : families) {
    const auto& metric = family.metric.at(0);
    first[family.name] = metric.label.empty() ? "" : metric.label[0].value;
  }
  EXPECT_EQ(first["pharos_dns_responses_total"], "NXDOMAIN");
  EXPECT_EQ(first["pharos_dns_drops_total"], "fragment");
  EXPECT_EQ(first["pharos_dns_queries_total"], "ipv6");
  EXPECT_EQ(first["pharos_dataplane_events_total"], "loops");
  EXPECT_EQ(first["pharos_core_busy_ratio"], "1");
  EXPECT_EQ(first["pharos_port_packets_total"], "front");
  EXPECT_TRUE(dataplane_metrics(json::array()).empty());
  EXPECT_TRUE(dataplane_metrics({{"counters", "none"}, {"cores", 3}, {"ports", {1, 2}}}).size() <=
              3);
}

}  // namespace
}  // namespace pharos::controlplane
