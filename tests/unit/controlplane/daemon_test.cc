// The whole daemon in one process: a data plane on the real tables socket that only keeps what it is
// sent, commands over the real control sockets, beacons over loopback.
#include "daemon_fixture.hh"

namespace pharos::controlplane {
namespace {

TEST_F(DaemonTest, PublishesToADataPlaneThatComesLaterAndFollowsTheOperator) {
  const auto daemon = start();
  DataplaneDouble dataplane(tables_socket());
  ASSERT_TRUE(dataplane.wait_above({}));
  EXPECT_EQ(dataplane.name_count(), 3U);
  const auto first = dataplane.in_use();
  const auto row =
      call("endpoint-set", {{"service", "www"}, {"endpoint", "fra"}, {"state", "drain"}});
  ASSERT_TRUE(row) << row.error().text();
  EXPECT_EQ((*row)["state"], "draining");
  ASSERT_TRUE(dataplane.wait_above(first));
  const auto told = call("explain", {{"name", "WWW.example.org"}, {"client", "198.18.1.9"}},
                         control::Access::read);
  ASSERT_TRUE(told) << told.error().text();
  EXPECT_EQ((*told)["locale"], "eu");
  ASSERT_EQ((*told)["answers"].size(), 1U);
  EXPECT_EQ((*told)["answers"][0]["address"], "203.0.113.2");
  EXPECT_EQ((*told)["factors"].size(), 2U);
}

TEST_F(DaemonTest, TellsWhatProbesSayAndWhatTheirQuorumMakesOfIt) {
  const auto daemon = start();
  const auto look = [&](std::uint32_t from, bool up) {
    daemon->loop().ask([&](EngineSide& side) {
      SiteReport report{.metrics = {}, .interval_ms = 200, .leaving = false, .endpoints = {}};
      report.metrics.cpu_ratio = 0.125F;
      report.endpoints.push_back({.endpoint = endpoint_hash("www", "fra"),
                                  .up = up,
                                  .requests_rps = {},
                                  .probe = true,
                                  .probe_us = 2'500.0F});
      side.engine.heard(from, report, 1, 1, side.now);
    });
  };
  EXPECT_TRUE(call("probes", nlohmann::json::object(), control::Access::read)->empty());
  look(0, false);
  look(1, true);
  auto probes = call("probes", {{"service", "www"}}, control::Access::read);
  ASSERT_TRUE(probes) << probes.error().text();
  ASSERT_EQ(probes->size(), 1U);
  auto row = (*probes)[0];
  EXPECT_EQ(row["state"], "up") << "one of two is no majority";
  EXPECT_EQ(row["looking"], 2);
  EXPECT_EQ(row["bad"], 1);
  EXPECT_EQ(row["votes"][1]["from"], "sin");
  EXPECT_EQ(row["votes"][1]["up"], true);
  EXPECT_DOUBLE_EQ(row["votes"][1]["took_ms"].get<double>(), 2.5);
  look(1, false);
  const auto told = call("explain", {{"name", "www.example.org"}, {"client", "198.18.1.9"}},
                         control::Access::read);
  ASSERT_TRUE(told) << told.error().text();
  for (const auto& factor : (*told)["factors"]) {
    EXPECT_DOUBLE_EQ(factor["confidence"].get<double>(), 1.0);
    if (factor["endpoint"] != "fra") continue;
    EXPECT_EQ(factor["state"], "down");
    EXPECT_EQ(factor["reason"], "2 of 2 probes find it down (fra, sin)");
    EXPECT_EQ(factor["probes"], (nlohmann::json{{"looking", 2}, {"bad", 2}}));
  }
  const auto sites = call("sites", {{"site", "fra"}}, control::Access::read);
  ASSERT_TRUE(sites);
  EXPECT_EQ((*sites)[0]["deviations"]["cpu_ratio"], 0.0);
  EXPECT_EQ((*sites)[0]["restless_level"], 0);
  EXPECT_EQ((*sites)[0]["confidence"], 1.0);
}

TEST_F(DaemonTest, ComputesTheWorstCaseOfAFailover) {
  // Two sites that beacon, with their rhythm as configured, beside those of the fixture, which do not.
  const auto key = directory_ + "/tok.key";
  std::ofstream(key) << std::string(64, '7') << "\n";
  std::filesystem::permissions(key, std::filesystem::perms::owner_read);
  std::ofstream more(directory_ + "/more.yaml");
  for (const char* id : {"tok", "osa"}) {
    more << (std::string(id) == "tok" ? "sites:\n" : "") << "  - {id: " << id
         << ", location: [35, 139], beacon_interval: 2s, keys: [{id: 1, file: tok.key}]}\n";
  }
  more.close();
  write_config("include: [more.yaml]\n" +
               services("www",
                        "[{id: fra, site: fra, addresses: [203.0.113.1]}, "
                        "{id: tok, site: tok, addresses: [203.0.113.2], ttl_max: 5s}, "
                        "{id: osa, site: osa, addresses: [203.0.113.3]}]"));
  const auto daemon = start();
  const auto told = call("failover-time", {{"name", "WWW.example.org"}, {"resolver_ttl_min_s", 30}},
                         control::Access::read);
  ASSERT_TRUE(told) << told.error().text();
  EXPECT_EQ((*told)["service"], "www");
  const auto& causes = (*told)["causes"];
  ASSERT_EQ(causes.size(), 6U) << told->dump();
  EXPECT_EQ((*told)["worst_s"], causes[0]["total_s"]);
  double before = causes[0]["total_s"];
  for (const auto& row : causes) {
    double sum = 0;
    for (const char* part :
         {"beacon_s", "detection_s", "hold_s", "publish_s", "ttl_s", "stretch_s"})
      sum += row[part].get<double>();
    EXPECT_NEAR(sum, row["total_s"], 1e-6);
    EXPECT_LE(row["total_s"].get<double>(), before) << "longest first";
    before = row["total_s"];
    const bool limited = row["endpoint"] == "tok";
    EXPECT_DOUBLE_EQ(row["ttl_s"].get<double>(), limited ? 5.0 : 60.0);
    EXPECT_DOUBLE_EQ(row["stretch_s"].get<double>(), limited ? 25.0 : 0.0);
    EXPECT_DOUBLE_EQ(row["beacon_s"].get<double>(), 2.0);
    // Three intervals of silence, one of them the beacon's own, and the margin.
    const double silent_s = row["cause"] == "silence" ? 4.0 : 0.0;
    EXPECT_NEAR(row["detection_s"].get<double>(), silent_s, silent_s == 0 ? 0 : 0.051);
    EXPECT_DOUBLE_EQ(row["hold_s"].get<double>(), row["cause"] == "overload" ? 4.0 : 0.0);
  }
  EXPECT_NE((*told)["notes"].dump().find("takes them out: fra"), std::string::npos);
}

TEST_F(DaemonTest, AFailoverThatProbesSeeTakesWhatTheyTell) {
  write_config(services("www",
                        "[{id: fra, site: fra, addresses: [203.0.113.1]}, "
                        "{id: sin, site: sin, addresses: [203.0.113.2]}]") +
               "controlplane: {health: {probe_votes_min: 2}}\n");
  const auto daemon = start();
  const auto look = [&](std::uint32_t from, std::uint32_t interval_ms, std::uint16_t notices_ds) {
    daemon->loop().ask([&](EngineSide& side) {
      SiteReport report{
          .metrics = {}, .interval_ms = interval_ms, .leaving = false, .endpoints = {}};
      report.endpoints.push_back({.endpoint = endpoint_hash("www", "fra"),
                                  .up = true,
                                  .requests_rps = {},
                                  .probe = true,
                                  .notices_ds = notices_ds});
      side.engine.heard(from, report, 1, 1, side.now);
    });
  };
  const auto told = [&] {
    const auto answer = call("failover-time", {{"name", "www"}}, control::Access::read);
    EXPECT_TRUE(answer) << answer.error().text();
    return answer ? *answer : nlohmann::json();
  };
  look(0, 500, 30);
  auto one = told();
  EXPECT_TRUE(one["causes"].empty()) << one;
  EXPECT_NE(one["notes"].dump().find("too few vantage points look for their quorum to decide: fra"),
            std::string::npos);
  look(1, 2000, 54);
  const auto both = told();
  ASSERT_EQ(both["causes"].size(), 1U) << both;
  const auto& row = both["causes"][0];
  EXPECT_EQ(row["cause"], "probes");
  EXPECT_EQ(row["endpoint"], "fra");
  EXPECT_DOUBLE_EQ(row["beacon_s"].get<double>(), 2.0) << "both have to see it";
  EXPECT_DOUBLE_EQ(row["detection_s"].get<double>(), 5.4);
  EXPECT_NEAR(row["total_s"].get<double>(), 67.4 + row["publish_s"].get<double>(), 1e-6);
  EXPECT_NE(both["notes"].dump().find("takes them out: sin"), std::string::npos);
}

TEST_F(DaemonTest, TellsWhatPoliciesSayOfANameAndReloadsThem) {
  const auto world = services("www", "[{id: fra, site: fra, addresses: [203.0.113.1]}]");
  write_config(
      world +
      "policies:\n"
      "  - {id: refused, pattern: ['.bad.example.org', 'www.example.org'], action: refuse}\n"
      "  - {id: routed, priority: -1, pattern: '*.example.org', action: route, service: www}\n");
  const auto daemon = start();
  const auto test = [&](const char* name) {
    const auto told = call("policy-test", {{"name", name}}, control::Access::read);
    EXPECT_TRUE(told) << told.error().text();
    return told ? *told : nlohmann::json();
  };
  const auto unlisted = test("x.bad.example.org");
  EXPECT_EQ(unlisted["policy"], "routed");
  EXPECT_EQ(
      unlisted["answer"],
      "the service 'www' (A); for other types NOERROR without data, with the SOA of example.org.");
  ASSERT_EQ(unlisted["matches"].size(), 2U);
  EXPECT_EQ(unlisted["matches"][1]["policy"], "refused");
  const auto listed = test("WWW.Example.Org.");
  EXPECT_EQ(listed["policy"], "refused");
  EXPECT_EQ(listed["listed"], true);
  EXPECT_EQ(listed["answer"], "REFUSED");
  EXPECT_EQ(listed["matches"][0]["note"], "passed over: a zone lists the name");
  EXPECT_EQ(listed["matches"][1]["pattern"], file() + ":17: www.example.org");
  EXPECT_FALSE(test("example.com").contains("policy"));

  write_config(world +
               "policies:\n  - {id: refused, regex: 'a{3,', action: refuse}\n"
               "  - {id: wrong, regex: 'b(', action: drop}\n");
  const auto refused = call("reload");
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().text().find(file() + ":18: the pattern 'b(' of policy 'wrong'"),
            std::string::npos)
      << refused.error().text();
  EXPECT_EQ(test("x.bad.example.org")["policy"], "routed") << "the former ones are in force";
  write_config(world + "policies:\n  - {id: refused, regex: 'bad', action: drop}\n");
  const auto done = call("reload");
  ASSERT_TRUE(done) << done.error().text();
  EXPECT_EQ((*done)["changed"],
            (nlohmann::json{"policy refused changed", "policy routed removed"}));
}

TEST_F(DaemonTest, WhatTheOperatorSaidAndTheGenerationOutliveARestart) {
  Version last;
  {
    const auto daemon = start();
    DataplaneDouble dataplane(tables_socket());
    ASSERT_TRUE(dataplane.wait_above({}));
    const auto first = dataplane.in_use();
    ASSERT_TRUE(call("weight-set", {{"service", "www"}, {"endpoint", "sin"}, {"weight", 0.25}}));
    ASSERT_TRUE(call("endpoint-set", {{"service", "www"}, {"endpoint", "fra"}, {"state", "down"}}));
    ASSERT_TRUE(dataplane.wait_above(first));
    last = dataplane.in_use();
  }
  const auto daemon = start();
  DataplaneDouble dataplane(tables_socket(), last);
  ASSERT_TRUE(dataplane.wait_above(last));
  EXPECT_EQ(dataplane.in_use().epoch, last.epoch);
  const auto rows = call("endpoints", {{"service", "www"}}, control::Access::read);
  ASSERT_TRUE(rows);
  EXPECT_EQ((*rows)[0]["override"], "down");
  EXPECT_EQ((*rows)[1]["weight"], 0.25);
}

TEST_F(DaemonTest, AReloadSwapsAndABadOneChangesNothing) {
  const auto daemon = start();
  DataplaneDouble dataplane(tables_socket());
  ASSERT_TRUE(dataplane.wait_above({}));
  write_config(services("www", "[{id: fra, site: nowhere, addresses: [203.0.113.1]}]"));
  const auto refused = call("reload");
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().text().find("pharos.yaml:"), std::string::npos)
      << refused.error().text();
  const auto status = call("status", nlohmann::json::object(), control::Access::read);
  ASSERT_TRUE(status);
  EXPECT_FALSE((*status)["last_reload"]["ok"].get<bool>());
  EXPECT_FALSE((*status)["alarms"].empty());
  EXPECT_TRUE(call("explain", {{"name", "www.example.org"}, {"client", "192.0.2.1"}}));

  const auto before = dataplane.in_use();
  write_config(services("api", "[{id: fra, site: fra, addresses: [203.0.113.1]}]"));
  const auto done = call("reload");
  ASSERT_TRUE(done) << done.error().text();
  EXPECT_EQ((*done)["changed"], (nlohmann::json{"service www removed", "service api added"}))
      << *done;
  ASSERT_TRUE(dataplane.wait_above(before));
  EXPECT_FALSE(call("explain", {{"name", "www.example.org"}, {"client", "192.0.2.1"}}));
  EXPECT_TRUE(call("explain", {{"name", "api.example.org"}, {"client", "192.0.2.1"}}));
}

TEST_F(DaemonTest, APlanThatLosesMostNamesNeedsForceAtReloadAndAtStart) {
  std::string many;
  for (int i = 0; i < 10; ++i) {
    many += "  - {id: s" + std::to_string(i) + ", names: [s" + std::to_string(i) +
            ".example.org], endpoints: [{id: fra, site: fra, addresses: [203.0.113.1]}]}\n";
  }
  write_config("services:\n" + many);
  {
    const auto daemon = start();
    write_config("");
    const auto refused = call("reload");
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().what.find("removes 10 of 12 names"), std::string::npos)
        << refused.error().what;
    EXPECT_TRUE(call("explain", {{"name", "s3.example.org"}, {"client", "192.0.2.1"}}));
  }
  const auto refused = try_start();
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().text().find("--force"), std::string::npos);
  EXPECT_TRUE(try_start(true));
}

TEST_F(DaemonTest, ASecondInstanceIsRefusedAndTheFirstGoesOn) {
  const auto daemon = start();
  const auto second = try_start();
  ASSERT_FALSE(second);
  EXPECT_NE(second.error().text().find("running"), std::string::npos) << second.error().text();
  EXPECT_TRUE(call("status", nlohmann::json::object(), control::Access::read));
}

TEST_F(DaemonTest, EveryListIsThereAndUnknownThingsAreNamed) {
  const auto daemon = start();
  for (const char* command : {"status", "stats", "generations", "alarms", "sites", "services",
                              "endpoints", "weights", "factors", "zones", "commands", "probes"}) {
    EXPECT_TRUE(call(command, nlohmann::json::object(), control::Access::read)) << command;
  }
  const struct {
    const char* command;
    nlohmann::json arguments;
    const char* told;
  } cases[] = {
      {"endpoint-set", {{"service", "www"}, {"endpoint", "nowhere"}, {"state", "up"}}, "fra, sin"},
      {"endpoint-set", {{"service", "www"}, {"endpoint", "fra"}, {"state", "sideways"}}, "drain"},
      {"endpoint-set", {{"service", 5}}, "service"},
      {"weight-set", {{"service", "www"}, {"endpoint", "fra"}, {"weight", -1}}, "-1"},
      {"weight-set", {{"service", "www"}, {"endpoint", "fra"}, {"weight", "x"}}, "weight"},
      {"factor-set", {{"factor", "luck"}, {"exponent", 1}}, "proximity"},
      {"factor-set", {{"factor", "risk"}, {"exponent", 99}}, "16"},
      {"explain", {{"name", "nobody.example.net"}, {"client", "192.0.2.1"}}, "nobody"},
      {"explain", {{"name", "www.example.org"}, {"client", "here"}}, "here"},
      {"explain", {{"name", "www.example.org"}, {"client", "192.0.2.1"}, {"type", "AAAA"}}, "AAAA"},
      {"zone-show", {{"zone", "nope"}}, "nope"},
      {"failover-time", {{"name", "nope"}}, "there are: www"},
      {"failover-time", {{"name", "www"}, {"resolver_ttl_min_s", "x"}}, "seconds"},
      {"sites", {{"site", "moon"}}, "moon"},
      {"probes", {{"service", "nope"}}, "there are: www"},
      {"log-level", {{"level", "loud"}}, "loud"},
  };
  for (const auto& c : cases) {
    const auto refused = call(c.command, c.arguments);
    ASSERT_FALSE(refused) << c.command;
    EXPECT_NE(refused.error().text().find(c.told), std::string::npos) << refused.error().text();
  }
  EXPECT_FALSE(call("reload", nlohmann::json::object(), control::Access::read)) << "read only";
}

}  // namespace
}  // namespace pharos::controlplane
