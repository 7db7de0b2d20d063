// The whole daemon: plans that are refused, and the way back, with a data plane that keeps what it is sent.
#include <sstream>

#include "daemon_fixture.hh"

namespace pharos::controlplane {
namespace {

std::string text_of(const std::string& path) {
  const std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return std::move(text).str();
}

TEST_F(DaemonTest, ARollbackPublishesTheOldContentUnderANewGeneration) {
  const auto daemon = start();
  DataplaneDouble dataplane(tables_socket());
  ASSERT_TRUE(dataplane.wait_above({}));
  const auto names = dataplane.name_count();
  const auto first = dataplane.in_use();
  const auto former = text_of(file());

  write_config(services("shop", "[{id: sin, site: sin, addresses: [203.0.113.9]}]") +
               "  - {id: www, names: [www.example.org], "
               "endpoints: [{id: sin, site: sin, address: 203.0.113.2}]}\n");
  const auto reloaded = call("reload");
  ASSERT_TRUE(reloaded) << reloaded.error().text();
  ASSERT_TRUE(dataplane.wait_above(first));
  const auto second = dataplane.in_use();
  EXPECT_EQ(dataplane.name_count(), names + 1);

  const auto known = call("configurations", nlohmann::json::object(), control::Access::read);
  ASSERT_TRUE(known && known->size() == 2) << known->dump();
  const auto back = call("rollback", {{"id", (*known)[1]["id"]}});
  ASSERT_TRUE(back) << back.error().text();
  ASSERT_TRUE(dataplane.wait_above(second)) << "the old content, and no old version";
  EXPECT_EQ(dataplane.name_count(), names);
  EXPECT_EQ(text_of(file()), former);
  EXPECT_FALSE(call("explain", {{"name", "shop.example.org"}, {"client", "198.18.1.9"}}));
  const auto told = call("explain", {{"name", "www.example.org"}, {"client", "198.18.1.9"}});
  ASSERT_TRUE(told) << told.error().text();
  EXPECT_EQ((*told)["answers"].size(), 2U) << "both endpoints are back";
  EXPECT_EQ((*told)["version"]["generation"], dataplane.in_use().generation);
}

TEST_F(DaemonTest, APlanThatOverloadsASiteIsRefusedAndItsDraftChangesNothing) {
  std::ofstream(directory_ + "/more.yaml")
      << "sites:\n  - {id: tok, location: [35.7, 139.7], capacity_rps: 100}\n"
         "  - {id: osa, location: [34.7, 135.5], capacity_rps: 100}\n";
  const auto text = [](const std::string& endpoints) {
    return "include: [more.yaml]\nservices:\n  - id: www\n    names: [www.example.org]\n"
           "    policy: weighted\n    endpoints: [{id: osa, site: osa, address: 203.0.113.2}" +
           endpoints + "]\n";
  };
  write_config(text(""));
  const auto without = text_of(file());
  write_config(text(", {id: tok, site: tok, address: 203.0.113.1}"));
  const auto former = text_of(file());
  const auto daemon = start();
  daemon->loop().ask([&](EngineSide& side) {
    for (const std::uint32_t site : {2U, 3U}) {
      SiteReport report{.metrics = {}, .interval_ms = 200, .leaving = false, .endpoints = {}};
      report.metrics.requests_rps = 80.0F;
      side.engine.heard(site, report, 1, 1, side.now);
    }
  });

  const auto refused = call("plan", {{"text", without}});
  ASSERT_FALSE(refused) << refused->dump();
  EXPECT_EQ(refused.error().code, ErrorCode::conflict);
  EXPECT_TRUE(refused.error().what.starts_with("site osa would get 160")) << refused.error().what;
  const auto forced = call("plan", {{"text", without}, {"force", true}});
  ASSERT_TRUE(forced) << forced.error().text();
  EXPECT_EQ((*forced)["overloads"].size(), 1U) << *forced;
  EXPECT_EQ((*forced)["load_source"], "sites");

  ASSERT_TRUE(call("draft-begin", {{"text", without}}));
  const auto denied = call("draft-commit");
  ASSERT_FALSE(denied);
  EXPECT_TRUE(denied.error().what.starts_with("site osa would get ")) << denied.error().what;
  EXPECT_EQ(text_of(file()), former) << "nothing is written of what is refused";
  const auto committed = call("draft-commit", {{"force", true}});
  ASSERT_TRUE(committed) << committed.error().text();
  EXPECT_EQ(text_of(file()), without);
}

TEST_F(DaemonTest, PlannedWorkDrainsItsSitesAndOutlivesARestart) {
  const auto plan = [&](const char* id, const char* site, const char* from, const char* to) {
    return call("maintenance-set", {{"id", id}, {"sites", {site}}, {"from", from}, {"to", to}});
  };
  const auto state_of_fra = [&] {
    const auto rows = call("endpoints", {{"service", "www"}}, control::Access::read);
    return rows ? (*rows)[0]["state"].get<std::string>() : rows.error().text();
  };
  {
    const auto daemon = start();
    const struct {
      const char *site, *from, *to, *told;
    } wrong[] = {{"fra", "soon", "+1h", "from: 'soon' is no time"},
                 {"fra", "now", "+1", "to: duration '1' has no unit"},
                 {"fra", "+2h", "+1h", "ends before it begins"},
                 {"fra", "2020-01-01T00:00:00Z", "2020-01-02T00:00:00Z", "is over"},
                 {"mars", "now", "+1h", "no site 'mars'"}};
    for (const auto& c : wrong) {
      const auto refused = plan("power", c.site, c.from, c.to);
      ASSERT_FALSE(refused) << c.told;
      EXPECT_NE(refused.error().text().find(c.told), std::string::npos) << refused.error().text();
    }
    ASSERT_TRUE(plan("later", "sin", "+2h", "+3h"));
    const auto rows = plan("power", "fra", "now", "+1h");
    ASSERT_TRUE(rows) << rows.error().text();
    ASSERT_EQ(rows->size(), 2U);
    EXPECT_EQ((*rows)[0]["active"], false);
    EXPECT_EQ((*rows)[1]["active"], true);
    EXPECT_EQ(state_of_fra(), "draining");
  }
  const auto daemon = start();
  EXPECT_EQ(state_of_fra(), "draining");
  const auto left = call("maintenance-set", {{"id", "power"}, {"sites", nlohmann::json::array()}});
  ASSERT_TRUE(left) << left.error().text();
  EXPECT_EQ(left->size(), 1U);
  EXPECT_NE(state_of_fra(), "draining");
  EXPECT_FALSE(call("maintenance-set", {{"id", "power"}, {"sites", nlohmann::json::array()}}));
}

TEST_F(DaemonTest, TheHistoryKnowsWhatItWasNeverAbout) {
  const auto daemon = start();
  for (const char* service : {"www", "www/A", ""}) {
    const auto rows = call("history", {{"service", service}}, control::Access::read);
    EXPECT_TRUE(rows) << rows.error().text();
  }
  const auto service = call("history", {{"service", "wwww"}}, control::Access::read);
  ASSERT_FALSE(service);
  EXPECT_EQ(service.error().code, ErrorCode::not_found);
  const auto locale = call("history", {{"locale", "mars"}}, control::Access::read);
  ASSERT_FALSE(locale);
  EXPECT_NE(locale.error().text().find("no locale 'mars'"), std::string::npos);
}

}  // namespace
}  // namespace pharos::controlplane
