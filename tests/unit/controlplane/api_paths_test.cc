// What the API serves: every path as its document says, the past, drafts, the page and the metrics.
#include "pharos/controlplane/api/metrics.hh"
#include "pharos/wire/beacon.hh"

#include <cstdlib>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <thread>

#include "api_fixture.hh"

namespace pharos::controlplane {
namespace {

// Prometheus' own checker reads what was checked already once more, where somebody has it: its package starts a server,
// which a test has no business to install.
bool has_promtool() {
  return std::system("command -v promtool >/dev/null 2>&1") == 0;
}

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

// Every path is served with the parameters that it names, and answers in the shape that it promises.
TEST_F(ApiTest, TheDocumentIsTrue) {
  start();
  const DataplaneSocket dataplane(directory_ + "/run", "names", hottest_names);
  const auto [status, document] = get("/v1/openapi.json", reader_token);
  ASSERT_EQ(status, 200);
  EXPECT_EQ(document["openapi"], "3.1.0");
  EXPECT_EQ(document, openapi_document());
  const std::map<std::string, std::string> sample = {{"text", text_of(file())},
                                                     {"service", "www"},
                                                     {"endpoint", "fra"},
                                                     {"zone", "example.org"},
                                                     {"factor", "risk"},
                                                     {"name", "www.example.org"},
                                                     {"client", "198.18.1.7"},
                                                     {"state", "auto"},
                                                     {"command", "status"},
                                                     {"level", "info"},
                                                     {"id", "power"},
                                                     {"from", "+1h"},
                                                     {"to", "+2h"},
                                                     {"directory", directory_}};
  // Of what is taken back before it is planned.
  ASSERT_EQ(put("/v1/maintenance/power", {{"sites", {"sin"}}, {"from", "+3h"}, {"to", "+4h"}},
                writer_token)
                .first,
            200);
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
          const auto type = schema["properties"][field]["type"];
          body[field] = type == "array"    ? json{"fra"}
                        : type == "string" ? json(sample.at(field))
                                           : json(1);
        }
      }
      target = httplib::append_query_params(target, query);
      if (path.starts_with("/v1/drafts/current")) {  // of which there has to be one
        ASSERT_EQ(post("/v1/drafts", {{"text", text_of(file())}, {"force", true}}).first, 200);
      }
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

TEST_F(ApiTest, TheHottestNamesComeFromTheDataPlane) {
  start();
  EXPECT_EQ(get("/v1/names", reader_token).first, 503) << "there is none";
  const DataplaneSocket dataplane(directory_ + "/run", "names", hottest_names);
  const auto [status, told] = get("/v1/names?limit=7", reader_token);
  ASSERT_EQ(status, 200) << told;
  EXPECT_EQ(told["rows"], 7);
  EXPECT_EQ(told["names"][0]["name"], "www.example.org.");
  EXPECT_EQ(get("/v1/names", reader_token).second["rows"], 20);
  EXPECT_EQ(get("/v1/names?limit=201", reader_token).first, 400);
  EXPECT_EQ(get("/v1/names?limit=0", reader_token).first, 400);
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
  const auto work = "/v1/maintenance/power";
  const auto [no_list, told] =
      put(work, {{"sites", {1}}, {"from", "now"}, {"to", "+1h"}}, writer_token);
  EXPECT_EQ(no_list, 400);
  EXPECT_NE(told.dump().find("sites is not a list of texts"), std::string::npos) << told;
  EXPECT_EQ(answer_of(client(writer_token).Delete(work)).first, 404) << "nothing was planned";
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
  for (std::size_t m = 0; m < now["factors"].size(); ++m)
    EXPECT_EQ(past["factors"][m]["share"], now["factors"][m]["share"]) << past["factors"][m];
  EXPECT_NE(get(question, reader_token).second["answers"], now["answers"]);
  const auto rows = get("/v1/history?service=www&locale=eu", reader_token).second;
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_EQ(rows[0]["answers"], json{"sin"});
  EXPECT_NE(rows[0]["cause"].get<std::string>().find("draining by the operator"),
            std::string::npos);
  EXPECT_EQ(get(question + "&at=-9d", reader_token).first, 404);
  for (const char* no_time : {"yesterday", "2026-11-20", "9999-01-01T00:00:00Z", "9e99"})
    EXPECT_EQ(get(question + "&at=" + no_time, reader_token).first, 400) << no_time;
  EXPECT_EQ(get("/v1/audit", writer_token).second[0]["command"], "endpoint-set");
}

TEST_F(ApiTest, APlanThatTakesMostEndpointsAwayIsRefusedUnlessItIsForced) {
  start();
  const auto former = text_of(file());
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
  EXPECT_EQ(text_of(file()), text) << "a plan writes nothing";
}

TEST_F(ApiTest, ADraftIsPlannedCommittedAndTakenBack) {
  start();
  const auto former = text_of(file());
  auto text = former;
  const std::string gone = ", {id: sin, site: sin, address: 203.0.113.2}";
  text.erase(text.find(gone), gone.size());
  const std::string drafts = "/v1/drafts", draft = "/v1/drafts/current";
  const auto commit = [&] { return post(draft + "/commit", json::object()).first; };
  const auto abort = [&] { return answer_of(client(writer_token).Delete(draft)).first; };
  EXPECT_EQ(commit(), 404);
  EXPECT_EQ(abort(), 404);
  EXPECT_EQ(get(draft + "/diff", writer_token).first, 404);
  EXPECT_EQ(post(drafts, {{"text", "services: 5"}}).first, 400);
  EXPECT_EQ(post(drafts, json::object()).first, 400);
  const auto [status, begun] = post(drafts, {{"text", text}});
  ASSERT_EQ(status, 200) << begun;
  EXPECT_EQ(begun["lines"].size(), 2U) << begun;
  EXPECT_EQ(post(drafts, {{"text", text}}).first, 409);
  EXPECT_EQ(post(drafts, {{"text", text}, {"force", true}}).first, 200);
  EXPECT_EQ(get(draft + "/diff", reader_token).first, 403) << "a configuration may hold secrets";
  const auto diff = get(draft + "/diff", writer_token).second;
  EXPECT_EQ(diff["changed"][0], "service www changed") << diff;
  EXPECT_GE(diff["moved_share"], 0.0);
  EXPECT_EQ(text_of(file()), former) << "nothing is written before the commit";

  std::ofstream(file(), std::ios::app) << "# another hand\n";
  EXPECT_EQ(commit(), 409);
  EXPECT_NE(text_of(file()).find("another hand"), std::string::npos);
  std::ofstream(file()) << former;
  EXPECT_EQ(abort(), 200);
  EXPECT_EQ(commit(), 404) << "it is forgotten";
  // The same draft by the other door.
  ASSERT_TRUE(control::call(
      control::socket_path(directory_ + "/run", "controlplane", control::Access::write),
      "draft-begin", {{"text", text}}));
  ASSERT_EQ(commit(), 200);
  EXPECT_EQ(text_of(file()), text);
  EXPECT_EQ(get("/v1/endpoints", reader_token).second.size(), 1U);

  const auto configurations = get("/v1/configurations", reader_token).second;
  ASSERT_EQ(configurations.size(), 2U);
  const auto first = configurations[1]["id"];
  const auto dry = post("/v1/rollback", {{"id", first}, {"dry_run", true}}).second;
  ASSERT_EQ(dry.value("files", json::array()).size(), 1U) << dry;
  EXPECT_EQ(dry["files"][0]["path"], file());
  EXPECT_EQ(text_of(file()), text);
  const auto back = post("/v1/rollback", {{"id", first}}).second;
  EXPECT_EQ(back["changed"], json{"service www changed"}) << back;
  EXPECT_EQ(text_of(file()), former);
  EXPECT_EQ(get("/v1/endpoints", reader_token).second.size(), 2U);
  EXPECT_GE(back["version"]["generation"], configurations[0]["generation"]);
  EXPECT_EQ(post("/v1/rollback", {{"id", 999}}).first, 404);
  // A configuration may hold secrets: what is logged of one is its size.
  const auto audit = get("/v1/audit", writer_token).second;
  EXPECT_NE(audit.dump().find(" bytes)"), std::string::npos);
  EXPECT_EQ(audit.dump().find("state_directory"), std::string::npos) << audit;
}

// Whoever changes something stands in the log, with the door that it came by; who looks does not.
TEST_F(ApiTest, TheAuditLogKnowsEveryDoor) {
  start();
  const auto socket = [&](control::Access access, const char* command, const json& arguments) {
    return control::call(control::socket_path(directory_ + "/run", "controlplane", access), command,
                         arguments)
        .has_value();
  };
  const json drain = {{"service", "www"}, {"endpoint", "fra"}, {"state", "drain"}};
  EXPECT_TRUE(socket(control::Access::write, "endpoint-set", drain));
  EXPECT_TRUE(socket(control::Access::write, "status", json::object()));
  EXPECT_TRUE(socket(control::Access::write, "plan", {{"text", text_of(file())}}));
  EXPECT_FALSE(socket(control::Access::read, "endpoint-set", drain));
  EXPECT_FALSE(socket(control::Access::write, "endpoint-set", {{"service", "no-such"}}));
  EXPECT_EQ(put("/v1/services/www/endpoints/fra/state", {{"state", "auto"}}, writer_token).first,
            200);
  EXPECT_EQ(get("/v1/audit", writer_token).first, 200);
  const auto rows = get("/v1/audit", writer_token).second;
  std::vector<std::string> told;
  for (const auto& row : rows) {
    told.push_back(row["door"].get<std::string>() + " " + row["caller"].get<std::string>() + ": " +
                   row["command"].get<std::string>());
  }
  const auto me = "uid " + std::to_string(::geteuid());
  EXPECT_EQ(told, (std::vector<std::string>{
                      "api token writer: endpoint-set", "socket " + me + ": endpoint-set",
                      "socket : endpoint-set", "socket " + me + ": endpoint-set"}))
      << rows;
  ASSERT_EQ(rows.size(), 4U);
  EXPECT_EQ(rows[3]["peer"], "pid " + std::to_string(::getpid()));
  EXPECT_EQ(rows[3]["arguments"], drain.dump());
  EXPECT_EQ(rows[3]["outcome"], "done");
  EXPECT_EQ(rows[2]["peer"], me + ", pid " + std::to_string(::getpid()));
  EXPECT_TRUE(rows[2]["outcome"].get<std::string>().starts_with("denied: ")) << rows;
  EXPECT_NE(rows[1]["outcome"], "done");
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
  if (!has_promtool()) return;  // all of it was checked above
  const auto file = directory_ + "/metrics";
  std::ofstream(file) << answer->body;
  EXPECT_EQ(std::system(("promtool check metrics <" + file + " >&2").c_str()), 0);
}

// The names of metrics in a text.
std::set<std::string> metrics_in(const std::string& text) {
  static const std::regex name("pharos_[a-z_]+");
  return {std::sregex_token_iterator(text.begin(), text.end(), name), std::sregex_token_iterator()};
}

// What alerts and dashboards ask for is there, and so is what the document lists; and nothing is there that it does not.
TEST_F(ApiTest, AlertsDashboardsAndTheDocumentNameMetricsThatAreThere) {
  std::ofstream(directory_ + "/more.yaml")
      << "sites:\n  - {id: tok, location: [35.7, 139.7], capacity_rps: 100}\n";
  write_config("include: [more.yaml]\n" +
               services("www", "[{id: tok, site: tok, address: 203.0.113.1}]"));
  start();
  daemon_->loop().ask([](EngineSide& side) {
    SiteReport report{.metrics = {.cpu_ratio = 0.1F,
                                  .cpu_pressure_ratio = 0.1F,
                                  .memory_ratio = 0.1F,
                                  .memory_pressure_ratio = 0.1F,
                                  .receive_bps = 1e6F,
                                  .transmit_bps = 1e6F,
                                  .link_bps = 1e9F,
                                  .requests_rps = 10.0F,
                                  .requests_in_flight = 1.0F,
                                  .error_ratio = 0.0F,
                                  .responder_rtt_us = 900.0F,
                                  .request_latency_us = 500.0F},
                      .interval_ms = 200,
                      .leaving = false,
                      .endpoints = {{.endpoint = endpoint_hash("www", "tok"),
                                     .up = true,
                                     .requests_rps = {},
                                     .probe = true}}};
    side.engine.heard(2, report, 1, 1, side.now);
  });
  std::set<std::string> there;
  const auto answer = client(reader_token).Get("/metrics");
  ASSERT_TRUE(answer && answer->status == 200);
  std::istringstream lines(answer->body);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("# TYPE ")) there.insert(line.substr(7, line.rfind(' ') - 7));
  }
  json counters;
  for (const char* begins : {"rcode_", "type_", "queries_ipv", "queries_", "answers_", "drop_",
                             "limited_", "tcp_", "dnstap_", "received_", "sent_", "other_"})
    counters[std::string(begins) + "x"] = 1;
  for (const auto& family :
       dataplane_metrics({{"counters", counters},
                          {"gauges", {{"x", 1}}},
                          {"cores", {{{"core", 1}, {"role", "worker"}, {"busy_ratio", 0.5}}}},
                          {"ports", {{{"id", "front"}, {"link", "up"}, {"received_packets", 7}}}}}))
    there.insert(family.name);

  const std::string root = PHAROS_SOURCE_ROOT;
  for (const char* file :
       {"/scripts/monitoring/pharos.rules.yaml", "/scripts/monitoring/grafana-dashboard.json"}) {
    const auto named = metrics_in(text_of(root + file));
    EXPECT_GE(named.size(), 10U) << file;
    for (const auto& name : named) EXPECT_TRUE(there.contains(name)) << name << " in " << file;
  }
  const auto document = text_of(root + "/controlplane/api/README.md");
  const auto table = document.substr(document.find("| family | labels |"));
  const auto listed = metrics_in(table);
  for (const auto& name : there) EXPECT_TRUE(listed.contains(name)) << name << " is not listed";
  // These wait for a data plane that takes tables, and for demand.
  const std::set<std::string> absent = {"pharos_table_age_seconds",
                                        "pharos_site_assigned_requests_per_second"};
  for (const auto& name : listed)
    EXPECT_TRUE(there.contains(name) || absent.contains(name)) << name << " is nowhere";
  if (!has_promtool()) return;  // all of it was checked above
  const auto rules = root + "/scripts/monitoring/pharos.rules.yaml";
  EXPECT_EQ(std::system(("promtool check rules " + rules + " >&2").c_str()), 0);
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
