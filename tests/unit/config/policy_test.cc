// Name policies in the configuration: patterns, files of patterns, and what is wrong with them.
#include "pharos/config/model.hh"
#include "pharos/config/name_pattern.hh"

#include <gtest/gtest.h>

#include "small_config.hh"
#include "temporary_files.hh"

namespace pharos::config {
namespace {

using catalog::PolicyAction;
using Kind = NamePattern::Kind;

std::string shown(std::string_view text) {
  const auto pattern = parse_name_pattern(text);
  if (!pattern) return "error: " + pattern.error().what;
  const auto name = dns::name_text(pattern->name.view());
  switch (pattern->kind) {
    case Kind::exact:
      return "exact " + name;
    case Kind::below:
      return "below " + name;
    case Kind::at_or_below:
      return "at or below " + name;
    case Kind::expression:
      return "expression " + pattern->expression;
  }
  return {};
}

TEST(NamePatternTest, NamesOneNameOrAllBelowIt) {
  EXPECT_EQ(shown("www.example.com"), "exact www.example.com.");
  EXPECT_EQ(shown("WWW.Example.com."), "exact www.example.com.");
  EXPECT_EQ(shown("*.example.com"), "below example.com.");
  EXPECT_EQ(shown(".example.com"), "at or below example.com.");
  EXPECT_EQ(shown("*"), "at or below .");
  EXPECT_EQ(shown("."), "exact .");
  EXPECT_EQ(shown("\\*.example.com"), "exact *.example.com.");
  EXPECT_EQ(shown("a\\.b.c"), "exact a\\.b.c.");
}

TEST(NamePatternTest, MakesExpressionsOfStarsElsewhere) {
  EXPECT_EQ(shown("ads.*"), "expression ^ads\\.");
  EXPECT_EQ(shown("*Tracker*"), "expression tracker");
  EXPECT_EQ(shown("ad*.example.com"), "expression ^ad.*\\.example\\.com$");
  EXPECT_EQ(shown("*-x.example.com"), "expression -x\\.example\\.com$");
  EXPECT_EQ(shown("a\\032b*"), "expression ^a\\\\032b");
  EXPECT_EQ(shown("a$b*"), "expression ^a\\\\\\$b");
}

TEST(NamePatternTest, RefusesWhatIsNoName) {
  for (const char* text :
       {"", "a..b", "..a", "a b", "\xc3\xa4.de", "a\\", "\\999", "*.*", "*..a*", "a..*"}) {
    EXPECT_TRUE(shown(text).starts_with("error: ")) << text << " is " << shown(text);
  }
  EXPECT_TRUE(shown(std::string(64, 'a')).starts_with("error: "));
  EXPECT_TRUE(shown(std::string(63, 'a')).starts_with("exact "));
  EXPECT_TRUE(shown(std::string(4097, '*')).starts_with("error: "));
}

TEST(NamePatternTest, WritesTheTextOfANameWithoutItsLastDot) {
  const auto text = [](std::string_view name) {
    return policy_text(dns::parse_name(name)->view());
  };
  EXPECT_EQ(text("WWW.Example.COM."), "www.example.com");
  EXPECT_EQ(text("."), ".");
  EXPECT_EQ(text("a\\.b\\000.c."), "a\\.b\\000.c");
}

TEST(PolicyConfigTest, ReadsEveryKey) {
  const TemporaryFiles files;
  files.write("names.txt", "# blocked\n\n  ads.example.net  \r\n/^x[0-9]+\\./\n*.example.org");
  const auto path = files.write(
      "pharos.yaml",
      small("dataplane: {rate_limit: {classes: [{id: fast, responses_per_second: 9}, "
            "{id: slow, responses_per_second: 1}]}}\n"
            "policies:\n"
            "  - {id: blocked, priority: -5, file: names.txt, pattern: a.example.com, "
            "regex: ['b{2}'], action: refuse, log: true}\n"
            "  - {id: tenants, pattern: ['*.t.example.com'], action: route, service: www}\n"
            "  - {id: noisy, regex: n, action: limit, rate_class: slow}\n"));
  const auto config = load(path);
  ASSERT_TRUE(config) << config.error().text();
  ASSERT_EQ(config->policies.size(), 3U);
  const auto& blocked = config->policies[0];
  EXPECT_EQ(blocked.id, "blocked");
  EXPECT_EQ(blocked.priority, -5);
  EXPECT_EQ(blocked.action, PolicyAction::refuse);
  EXPECT_TRUE(blocked.log);
  ASSERT_EQ(blocked.patterns.size(), 5U);
  EXPECT_EQ(blocked.patterns[0].text, "a.example.com");
  EXPECT_EQ(blocked.patterns[1].text, "b{2}");
  EXPECT_TRUE(blocked.patterns[1].regex);
  EXPECT_EQ(blocked.patterns[2].text, "ads.example.net");
  EXPECT_EQ(blocked.files[blocked.patterns[2].file], files.directory() + "/names.txt");
  EXPECT_EQ(blocked.patterns[2].line, 3);
  EXPECT_EQ(blocked.patterns[3].text, "^x[0-9]+\\.");
  EXPECT_TRUE(blocked.patterns[3].regex);
  EXPECT_EQ(blocked.patterns[4].line, 5);
  EXPECT_EQ(config->policies[1].service, "www");
  EXPECT_EQ(config->policies[2].rate_class, "slow");
}

TEST(PolicyConfigTest, NamesFileAndLineOfWhatIsWrong) {
  const auto policy = [](const std::string& keys) {
    return small("policies:\n  - {" + keys + "}\n");
  };
  expect_mistake(policy("id: a, action: refuse"),
                 "test.yaml:11: policy 'a' has no patterns (add pattern, regex or file)");
  expect_mistake(policy("id: a, pattern: b, action: route"),
                 "test.yaml:11: policy 'a' has the action 'route' and no 'service' (service: www)");
  expect_mistake(policy("id: a, pattern: b, action: route, service: ww"),
                 "test.yaml:11: policy 'a' names the unknown service 'ww' (did you mean 'www'?)");
  expect_mistake(policy("id: a, pattern: b, action: drop, service: www"),
                 "test.yaml:11: 'service' does nothing with the action 'drop' (leave it out, or "
                 "write action: route)");
  expect_mistake(policy("id: a, pattern: b, action: limit, rate_class: slow"),
                 "test.yaml:11: policy 'a' names the unknown rate class 'slow' (add it to "
                 "dataplane.rate_limit.classes)");
  expect_mistake(policy("id: a, pattern: b, action: block"),
                 "test.yaml:11: 'block' is not one of allow, refuse, drop, nxdomain, nodata, "
                 "truncate, route, limit, log");
  expect_mistake(
      policy("id: a, pattern: 'b c', action: drop"),
      "test.yaml:11: 'b c' is not a name pattern: it holds a character that names are not "
      "written with (write \\DDD for such an octet, and other scripts as xn--...)");
  expect_mistake(policy("id: a, pattern: b, action: drop}\n  - {id: a, pattern: c, action: drop"),
                 "test.yaml:12: policy 'a' stands here again (the first one is at test.yaml:11)");
}

TEST(PolicyConfigTest, NamesTheLineOfAPatternFile) {
  const TemporaryFiles files;
  files.write("names.txt", "good.example\n# no\nbad..example\n");
  const auto path =
      files.write("pharos.yaml",
                  small("policies:\n  - {id: a, file: [names.txt, absent.txt], action: drop}\n"));
  const auto config = load(path);
  ASSERT_FALSE(config);
  ASSERT_EQ(config.error().errors.size(), 2U);
  EXPECT_EQ(config.error().errors[0].where, files.directory() + "/names.txt:3");
  EXPECT_TRUE(config.error().errors[1].what.starts_with("pattern file '" + files.directory() +
                                                        "/absent.txt': the file cannot be opened"))
      << config.error().text();
  EXPECT_TRUE(load(path, Reading::without_secrets)) << "the packet process opens no pattern files";
}

}  // namespace
}  // namespace pharos::config
