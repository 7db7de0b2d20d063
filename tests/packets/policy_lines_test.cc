// Names scanned together, as lines of one text, against the same names scanned one by one: no expression may miss a name
// for its neighbours, and no reply may depend on who else is in the burst.
#include "pharos/dataplane/dns/serve.hh"
#include "pharos/wire/name_text.hh"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "octets.hh"
#include "world.hh"

namespace pharos::dataplane {
namespace {

using namespace packets;  // NOLINT

// One rule for each, so that a match of the one does not hide another's.
const std::vector<std::string> expressions = {
    "^bad[0-9]+\\.", "tracker",    "[^a]z$",       "^\\w+\\.example$",     "\\bads\\b",
    "(ab|cd){2}",    "x\\s*y",     "^[^.]+$",      "example.?$",           "^q.*q$",
    "a\\.(b\\.)*c$", "[^x]{20,}x", "\\.\\.|^\\.$", "^(?:m|n)[^n]+\\.test$"};

World::Root make_tables(const std::vector<std::string>& texts) {
  World world;
  world.zone("example.", "$TTL 30\n@ SOA ns1 h 1 2 3 4 5\n@ NS ns1\nns1 A 192.0.2.1\n");
  config::Config config;
  for (const auto& text : texts) {
    auto& policy = config.policies.emplace_back();
    policy.id = "p" + std::to_string(config.policies.size());
    policy.action = config.policies.size() % 2 == 0 ? catalog::PolicyAction::refuse
                                                    : catalog::PolicyAction::nodata;
    policy.files = {"test.yaml"};
    policy.patterns.push_back({text, true, 0, 1});
  }
  world.policies(std::move(config));
  return world.build();
}

std::string random_name(std::mt19937& random) {
  static const std::vector<std::string> parts = {
      "bad1", "tracker", "az", "bz", "ads", "abcd", "cdab", "x",  "y",
      "q",    "a",       "b",  "c",  "m1",  "mn",   "zz",   "-x", "aaaaaaaaaaaaaaaaaaaaaax"};
  std::string name;
  for (auto count = 1 + random() % 4; count > 0; --count)
    name += parts[random() % parts.size()] + ".";
  const auto end = random() % 3;
  return name + (end == 0 ? "example" : end == 1 ? "test" : "z");
}

TEST(PolicyLinesTest, MissNoNameThatIsTakenAlone) {
  const auto root = make_tables(expressions);
  ASSERT_TRUE(root->policies->scans_lines());
  std::mt19937 random(21);
  unsigned taken = 0, passed = 0;
  for (int turn = 0; turn < 2000; ++turn) {
    const auto count = 1 + random() % 64;
    std::string text;
    std::vector<std::uint32_t> begins{0};
    std::vector<bool> alone;
    for (unsigned i = 0; i < count; ++i) {
      const auto name = random_name(random);
      alone.push_back(root->policies->scan(0, name.data(), static_cast<unsigned>(name.size())) !=
                      0);
      text += name + "\n";
      begins.push_back(static_cast<std::uint32_t>(text.size()));
    }
    const auto suspects = root->policies->scan_lines(0, text.data(), begins);
    if (count < 64) {
      EXPECT_EQ(suspects >> count, 0U) << "lines that are not there";
    }
    for (unsigned i = 0; i < count; ++i) {
      const bool suspect = (suspects >> i & 1) != 0;
      ASSERT_TRUE(suspect || !alone[i]) << "line " << i << " of:\n" << text;
      taken += alone[i] ? 1 : 0;
      passed += suspect ? 0 : 1;
    }
  }
  EXPECT_GT(taken, 1000U);
  EXPECT_GT(passed, 1000U);
}

TEST(PolicyLinesTest, GiveEachQueryTheReplyThatItGetsAlone) {
  const auto root = make_tables(expressions);
  ServeState together{ServeOptions{}};
  CoreCounters counters;
  std::mt19937 random(22);
  for (int turn = 0; turn < 300; ++turn) {
    const auto count = 1 + random() % burst_queries_max;
    std::vector<Octets> requests, buffers;
    std::vector<Query> queries(count);
    // Now and then all are long, so that they do not fit one text.
    const bool is_long = turn % 16 == 0;
    for (unsigned i = 0; i < count; ++i) {
      auto name = random_name(random);
      if (is_long)
        name = std::string(60, 'l') + "." + std::string(60, 'm') + "." + std::string(60, 'n') +
               "." + name;
      requests.push_back(packets::query({.name = name}));
      buffers.push_back(requests.back());
      buffers.back().resize(1232 + query_slack_bytes);
    }
    for (unsigned i = 0; i < count; ++i) {
      queries[i].message = buffers[i].data();
      queries[i].length = static_cast<std::uint16_t>(requests[i].size());
      queries[i].capacity = 1232;
    }
    serve_burst(together, *root, queries, counters);
    for (unsigned i = 0; i < count; ++i) {
      ServeState alone{ServeOptions{}};
      Octets buffer = requests[i];
      buffer.resize(1232 + query_slack_bytes);
      Query query;
      query.message = buffer.data();
      query.length = static_cast<std::uint16_t>(requests[i].size());
      query.capacity = 1232;
      serve_burst(alone, *root, {&query, 1}, counters);
      ASSERT_EQ(queries[i].verdict, query.verdict);
      buffer.resize(query.reply_bytes);
      buffers[i].resize(queries[i].reply_bytes);
      ASSERT_EQ(hex_text(buffers[i]), hex_text(buffer)) << "turn " << turn << ", query " << i;
    }
  }
}

TEST(PolicyLinesTest, AreNotScannedTogetherWhereAnExpressionAsksForTheEndsOfItsText) {
  for (const auto* text : {"\\Abad", "bad\\z", "bad\\Z", "(?-m)^bad", "(?m-i:^bad)"}) {
    const auto root = make_tables({text});
    EXPECT_FALSE(root->policies->scans_lines()) << text;
  }
  EXPECT_TRUE(make_tables({"^bad(?:x|y)$"})->policies->scans_lines());
}

}  // namespace
}  // namespace pharos::dataplane
