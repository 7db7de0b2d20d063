// Demand, capacity, maintenance and failback in the configuration.
#include "pharos/config/model.hh"
#include "pharos/config/wall_time.hh"

#include <gtest/gtest.h>

#include "small_config.hh"

namespace pharos::config {
namespace {

TEST(SteeringConfigTest, ReadsAllOfIt) {
  auto text = small(
      "maintenance:\n"
      "  - {id: power, sites: [fra], from: 2026-11-21T02:00:00Z, to: 2026-11-21T04:30Z}\n"
      "controlplane:\n"
      "  assign: {interval: 2s, window: 1m, low_watermark: 60%, high_watermark: 85%, step: 5%,\n"
      "           degrade: importance}\n"
      "locales:\n"
      "  - {id: eu, prefixes: [198.51.100.0/24], demand_weight: 2.5}\n");
  text.insert(text.find("    endpoints:"),
              "    policy: sticky\n    failback: hold\n    failback_hold: 10m\n"
              "    slow_start: 2m\n    importance: 7\n    probe_share: 1%\n");
  const auto config = load_text(text, "test.yaml", Reading::without_secrets);
  ASSERT_TRUE(config) << config.error().text();
  const auto& assign = config->controlplane.assign;
  EXPECT_TRUE(assign.enabled);
  EXPECT_EQ(assign.interval, seconds(2));
  EXPECT_EQ(assign.window, seconds(60));
  EXPECT_EQ(assign.low_watermark, 0.6);
  EXPECT_EQ(assign.high_watermark, 0.85);
  EXPECT_EQ(assign.step, 0.05);
  EXPECT_EQ(assign.degrade, Degrade::importance);
  EXPECT_EQ(config->locales[0].demand_weight, 2.5);
  const auto& service = config->services[0];
  EXPECT_EQ(service.policy, Policy::sticky);
  EXPECT_EQ(service.failback, Failback::hold);
  EXPECT_EQ(service.failback_hold, seconds(600));
  EXPECT_EQ(service.slow_start, seconds(120));
  EXPECT_EQ(service.importance, 7);
  EXPECT_EQ(service.probe_share, 0.01);
  ASSERT_EQ(config->maintenance.size(), 1U);
  EXPECT_EQ(config->maintenance[0].sites, std::vector<std::string>{"fra"});
  EXPECT_EQ(wall_time_text(config->maintenance[0].from), "2026-11-21T02:00:00Z");
  EXPECT_EQ(wall_time_text(config->maintenance[0].to), "2026-11-21T04:30:00Z");
}

TEST(SteeringConfigTest, SaysWhatIsWrong) {
  expect_mistake(
      small("maintenance:\n"
            "  - {id: m, sites: [fre], from: 2026-11-21T02:00:00Z, to: "
            "2026-11-21T04:00:00Z}\n"),
      "test.yaml:11: maintenance 'm' names the unknown site 'fre' (did you mean 'fra'?)");
  expect_mistake(small("maintenance:\n"
                       "  - id: m\n"
                       "    sites: [fra]\n"
                       "    from: 2026-11-21T02:00:00Z\n"
                       "    to: 2026-11-21T02:00:00Z\n"),
                 "test.yaml:14: maintenance 'm' ends before it begins ('from' comes before 'to')");
  expect_mistake(small("maintenance:\n"
                       "  - {id: m, sites: [fra], from: tomorrow, to: 2026-11-21T02:00:00Z}\n"),
                 "test.yaml:11: 'tomorrow' is not a time (write it in UTC, such as "
                 "2026-11-21T02:00:00Z)");
  expect_mistake(
      small("controlplane:\n  assign: {low_watermark: 95%}\n"),
      "test.yaml:11: low_watermark is not below high_watermark (clients begin to move at "
      "the first, and have moved at the second)");
  auto text = small();
  text.insert(text.find("    endpoints:"), "    failback_hold: 10m\n");
  expect_mistake(
      text,
      "test.yaml:8: 'failback_hold' does nothing with 'failback: auto' (leave it out, or "
      "write failback: hold)");
}

// Line 8 of the small configuration onwards.
std::string with_groups(const std::string& groups, const std::string& group = "g") {
  auto text = small();
  text.insert(text.find("    endpoints:"), "    groups:\n" + groups);
  text.insert(text.find(", address"), ", group: " + group);
  return text;
}

TEST(GroupConfigTest, ReadsGroupsInGroups) {
  const auto config = load_text(
      with_groups("      - {id: g, in: outer, policy: weighted, weight: 3, priority: -1}\n"
                  "      - {id: outer, panic_threshold: 20%}\n"),
      "test.yaml", Reading::without_secrets);
  ASSERT_TRUE(config) << config.error().text();
  const auto& service = config->services[0];
  ASSERT_EQ(service.groups.size(), 2U);
  EXPECT_EQ(service.groups[0].id, "g");
  EXPECT_EQ(service.groups[0].in, "outer");
  EXPECT_EQ(service.groups[0].policy, Policy::weighted);
  EXPECT_EQ(service.groups[0].weight, 3);
  EXPECT_EQ(service.groups[0].priority, -1);
  EXPECT_FALSE(service.groups[0].panic_threshold);
  EXPECT_EQ(service.groups[1].policy, Policy::ranked);
  EXPECT_EQ(service.groups[1].panic_threshold, 0.2);
  EXPECT_EQ(service.endpoints[0].group, "g");
}

TEST(GroupConfigTest, SaysWhatIsWrong) {
  expect_mistake(with_groups("      - {id: g}\n", "h"),
                 "test.yaml:9: group 'g' of service 'www' is empty (put endpoints into it with "
                 "'group: g', or leave it out)\n"
                 "test.yaml:11: endpoint 'a' of service 'www' is in the unknown group 'h' (there "
                 "are: g)");
  expect_mistake(with_groups("      - {id: g, in: elsewhere}\n"),
                 "test.yaml:9: group 'g' of service 'www' is in the unknown group 'elsewhere' "
                 "(there are: g)");
  expect_mistake(with_groups("      - {id: g}\n"
                             "      - {id: g}\n"),
                 "test.yaml:10: service 'www' has two groups 'g' (ids of groups are unique in "
                 "their service)");
  expect_mistake(with_groups("      - {id: g, in: h}\n"
                             "      - {id: h, in: g}\n"),
                 "test.yaml:9: group 'g' of service 'www' is in itself ('in' leads to a group "
                 "farther up)\n"
                 "test.yaml:10: group 'h' of service 'www' is in itself ('in' leads to a group "
                 "farther up)");
  expect_mistake(with_groups("      - {id: g, in: d}\n"
                             "      - {id: d, in: c}\n"
                             "      - {id: c, in: b}\n"
                             "      - {id: b, in: a}\n"
                             "      - {id: a}\n"),
                 "test.yaml:9: group 'g' of service 'www' is nested 5 deep (at most 4)");
  auto text = small();
  text.insert(text.find(", address"), ", group: g");
  expect_mistake(text,
                 "test.yaml:9: endpoint 'a' of service 'www' is in the unknown group 'g' (the "
                 "service has no 'groups')");
}

TEST(WallTimeTest, ReadsAndWritesUtc) {
  const auto time = parse_wall_time("2026-11-21T02:03:04Z");
  ASSERT_TRUE(time);
  EXPECT_EQ(time->ns, 1'795'226'584'000'000'000);
  EXPECT_EQ(wall_time_text(*time), "2026-11-21T02:03:04Z");
  EXPECT_EQ(parse_wall_time("1970-01-01T00:00Z")->ns, 0);
  EXPECT_EQ(wall_time_text({-1}), "1969-12-31T23:59:59Z");
  EXPECT_EQ(wall_time_text(*parse_wall_time("2028-02-29T23:59:59Z")), "2028-02-29T23:59:59Z");
}

TEST(WallTimeTest, RefusesEverythingElse) {
  for (const char* text :
       {"", "2026-11-21", "2026-11-21T02:03:04", "2026-11-21T02:03:04+01:00", "2026-11-21 02:03Z",
        "2026-02-29T00:00:00Z", "2026-13-01T00:00:00Z", "2026-11-21T24:00:00Z",
        "2026-11-21T02:60:00Z", "2026-11-21T02:03:60Z", "1969-12-31T23:59:59Z",
        "2200-01-01T00:00:00Z", "2026-11-21T02:03:04Z ", "-026-11-21T02:03:04Z",
        "2026--1-21T02:03:04Z", "2026-11-21T+2:03:04Z"}) {
    EXPECT_FALSE(parse_wall_time(text)) << text;
  }
  const std::string whole = "2026-11-21T02:03:04Z";
  for (std::size_t cut = 0; cut < whole.size(); ++cut)
    EXPECT_FALSE(parse_wall_time(whole.substr(0, cut))) << cut;
}

}  // namespace
}  // namespace pharos::config
