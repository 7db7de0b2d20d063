// Name policies from configuration to verdicts: compiling, refusals with their line, and agreement with an obvious model.
#include "pharos/config/name_pattern.hh"
#include "pharos/controlplane/policy/name_policies.hh"
#include "pharos/wire/name_text.hh"

#include <gtest/gtest.h>

#include <optional>
#include <random>
#include <regex>

namespace pharos::controlplane {
namespace {

using catalog::PolicyAction;

config::NamePolicyConfig policy(const std::string& id, PolicyAction action, int priority = 0) {
  config::NamePolicyConfig result;
  result.id = id;
  result.action = action;
  result.priority = priority;
  result.files = {"test.yaml"};
  result.source = {"test.yaml", 1};
  return result;
}

void add(config::NamePolicyConfig& to, const std::string& text, bool regex) {
  to.patterns.push_back({text, regex, 0, static_cast<int>(10 + to.patterns.size())});
}

config::NamePolicyConfig plain(const std::string& id, PolicyAction action, const std::string& text,
                               int priority = 0) {
  auto result = policy(id, action, priority);
  add(result, text, false);
  return result;
}
config::NamePolicyConfig regex(const std::string& id, PolicyAction action, const std::string& text,
                               int priority = 0) {
  auto result = policy(id, action, priority);
  add(result, text, true);
  return result;
}

using Made = Result<std::shared_ptr<const NamePolicies>>;

Made make(std::vector<config::NamePolicyConfig> policies, const NamePolicies* former = nullptr,
          const CompileLimits& limits = {}) {
  config::Config config;
  config.policies = std::move(policies);
  config.services.resize(1);
  config.services[0].id = "www";
  config.services[0].names = {"www.example.com."};
  config.dataplane.rate_limit.classes = {{"fast", 10}, {"slow", 1}};
  const std::vector<PoolBinding> bindings = {
      {"www.example.com.", 1, 7}, {"www.example.com.", 28, 8}, {"other.example.com.", 1, 9}};
  return NamePolicies::make(config, bindings, former, limits);
}

// The id of the policy that a name gets; "" for none.
std::string verdict(const NamePolicies& policies, const std::string& name, bool listed = false) {
  const auto wire = dns::parse_name(name);
  EXPECT_TRUE(wire) << name;
  const auto at = policies.verdict_of(wire->view(), listed);
  return at == 0 ? std::string() : std::string(policies.rules()[at - 1].name());
}

TEST(NamePoliciesTest, AreNoneWithoutConfiguration) {
  const auto made = make({});
  ASSERT_TRUE(made);
  EXPECT_EQ(*made, nullptr);
}

TEST(NamePoliciesTest, TakeTheFirstByPriorityThenByOrder) {
  const auto made = make({plain("late", PolicyAction::drop, ".example.com", 5),
                          regex("second", PolicyAction::refuse, "^www\\."),
                          plain("third", PolicyAction::nodata, "www.example.com"),
                          plain("first", PolicyAction::allow, "good.example.com", -1)});
  ASSERT_TRUE(made) << made.error().text();
  EXPECT_EQ(verdict(**made, "www.example.com."), "second");
  EXPECT_EQ(verdict(**made, "good.example.com."), "first");
  EXPECT_EQ(verdict(**made, "x.good.example.com."), "late");
  EXPECT_EQ(verdict(**made, "example.com."), "late");
  EXPECT_EQ(verdict(**made, "WWW.Example.COM."), "second");
  EXPECT_EQ(verdict(**made, "example.net."), "");
  EXPECT_EQ((**made).matches_of(dns::parse_name("www.example.com.")->view()),
            (std::vector<std::uint32_t>{1, 2, 3}));
}

TEST(NamePoliciesTest, RouteOnlyWhatNoZoneLists) {
  auto route = plain("route", PolicyAction::route, "*.example.com");
  route.service = "www";
  const auto made = make({route, plain("rest", PolicyAction::refuse, "*", 1)});
  ASSERT_TRUE(made) << made.error().text();
  EXPECT_EQ(verdict(**made, "a.example.com."), "route");
  EXPECT_EQ(verdict(**made, "a.example.com.", true), "rest");
  const auto& rule = (**made).rules()[0];
  ASSERT_EQ(rule.route_count, 2);
  EXPECT_EQ(rule.routes[0].type, 1);
  EXPECT_EQ(rule.routes[0].pool, 7U);
  EXPECT_EQ(rule.routes[1].type, 28);
  EXPECT_EQ(rule.routes[1].pool, 8U);
}

TEST(NamePoliciesTest, KnowRateClassesByTheirPlace) {
  auto limit = plain("limit", PolicyAction::limit, "a");
  limit.rate_class = "slow";
  const auto made = make({limit});
  ASSERT_TRUE(made) << made.error().text();
  EXPECT_EQ((**made).rules()[0].rate_class, 2);
  limit.rate_class = "absent";
  const auto refused = make({limit});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().text(),
            "test.yaml:1: policy 'limit' names the unknown rate class 'absent' (add it to "
            "dataplane.rate_limit.classes)");
}

TEST(NamePoliciesTest, CompileOnlyWhatChanged) {
  const auto first =
      make({regex("a", PolicyAction::drop, "^a"), plain("b", PolicyAction::drop, "b")});
  ASSERT_TRUE(first) << first.error().text();
  const auto same = make(
      {regex("a", PolicyAction::refuse, "^a"), plain("c", PolicyAction::drop, "d")}, first->get());
  ASSERT_TRUE(same);
  EXPECT_EQ((**same).database().data(), (**first).database().data());
  const auto other = make({regex("a", PolicyAction::drop, "^b")}, first->get());
  ASSERT_TRUE(other);
  EXPECT_NE((**other).database().data(), (**first).database().data());
  EXPECT_EQ(verdict(**other, "b."), "a");
}

TEST(NamePoliciesTest, CompileToTheSameBytes) {
  const std::vector<config::NamePolicyConfig> policies = {
      regex("a", PolicyAction::drop, "^a[0-9]{2,5}\\.(x|y)\\."),
      regex("b", PolicyAction::drop, "b.*c")};
  const auto first = make(policies);
  const auto second = make(policies);
  ASSERT_TRUE(first && second);
  EXPECT_TRUE(std::ranges::equal((**first).database(), (**second).database()));
}

TEST(NamePoliciesTest, RefuseWhatDoesNotCompileWithEachLine) {
  auto bad = regex("bad", PolicyAction::drop, "a(b");
  add(bad, "good", true);
  add(bad, "(a)\\1", true);
  const auto made = make({bad});
  ASSERT_FALSE(made);
  EXPECT_EQ(
      made.error().text(),
      "test.yaml:10: the pattern 'a(b' of policy 'bad' cannot be used: Missing close "
      "parenthesis for group started at index 1.\n"
      "test.yaml:12: the pattern '(a)\\1' of policy 'bad' cannot be used: Back-references are "
      "unsupported.");
}

TEST(NamePoliciesTest, RefuseWhatCompilesTooLongWithItsLine) {
  auto slow = regex("slow", PolicyAction::drop, "quick");
  add(slow, "^[a-z]{1,9000}[0-9]{1,9000}[a-f]{1,9000}x$", true);
  CompileLimits limits;
  limits.one = milliseconds(10);
  const auto made = make({slow}, nullptr, limits);
  ASSERT_FALSE(made);
  EXPECT_TRUE(made.error().text().starts_with(
      "test.yaml:11: the pattern '^[a-z]{1,9000}[0-9]{1,9000}[a-f]{1,9000}x$' of policy 'slow' "
      "cannot be "
      "used: compiling it takes longer than 0.0 s"))
      << made.error().text();
}

TEST(NamePoliciesTest, FindTheOneThatMakesAllOfThemTooLong) {
  auto slow = policy("slow", PolicyAction::drop);
  for (int i = 0; i < 400; ++i)
    add(slow, "^" + std::to_string(i) + "[a-z]+[0-9]+\\.(a|b)" + std::to_string(i * 7) + "$", true);
  CompileLimits limits;
  limits.all = milliseconds(40);
  const auto made = make({slow}, nullptr, limits);
  ASSERT_FALSE(made);
  EXPECT_NE(made.error().text().find("400 expressions together take longer than 0 s to compile"),
            std::string::npos)
      << made.error().text();
}

TEST(NamePoliciesTest, TellWhichPatternTakesAName) {
  config::Config config;
  config.policies = {regex("a", PolicyAction::drop, "^a[0-9]")};
  add(config.policies[0], "*.example.com", false);
  add(config.policies[0], "*tracker*", false);
  const auto made = NamePolicies::make(config, {}, nullptr);
  ASSERT_TRUE(made);
  const auto pattern = [&](const char* name) {
    return (**made).pattern_of(0, dns::parse_name(name)->view(), config);
  };
  EXPECT_EQ(pattern("a1.net."), "test.yaml:10: ^a[0-9]");
  EXPECT_EQ(pattern("b.example.com."), "test.yaml:11: *.example.com");
  EXPECT_EQ(pattern("my.tracker.net."), "test.yaml:12: *tracker*");
}

// ---- agreement with an obvious model ----

class Model {
 public:
  explicit Model(std::mt19937& random) : random_(random) {}

  std::string pick(std::initializer_list<const char*> words) {
    return words.begin()[random_() % words.size()];
  }
  std::string name() {
    std::string text;
    for (auto labels = random_() % 5; labels > 0; --labels) {
      text += pick({"a", "b", "www", "ads", "x1", "x22", "a-b", "\\046", "\\000", "*", "Ads"});
      text += '.';
    }
    return text.empty() ? "." : text;
  }
  std::string plain_pattern() {
    auto text = name();
    switch (random_() % 5) {
      case 0:
        return text == "." ? text : "*." + text;
      case 1:
        return text == "." ? text : "." + text;
      case 2:
        return "*" + pick({"ads", "x", "a-b", "b.a"}) + "*";
      case 3:
        return pick({"ads", "x", "www"}) + ".*";
      default:
        return text;
    }
  }
  std::string regex_pattern() {
    std::string text = pick({"^", "", "\\.", ""});
    for (auto parts = 1 + random_() % 3; parts > 0; --parts) {
      text += pick({"a", "www", "[a-c]+", "x[0-9]{1,2}", "(a|ads)", ".*", "\\.", "[^.]*", "b?"});
    }
    return text + pick({"$", "", "\\.", ""});
  }

 private:
  std::mt19937& random_;
};

// Whether a plain pattern takes a name, from the words of the document alone: a star is any text.
bool plain_takes(std::string pattern, const std::string& text) {
  // Names are matched in canonical text, where a dot inside of a label is escaped.
  for (auto at = pattern.find("\\046"); at != std::string::npos; at = pattern.find("\\046"))
    pattern.replace(at, 4, "\\.");
  if (pattern.size() > 1 && pattern.ends_with('.') && !pattern.ends_with("\\.")) pattern.pop_back();
  if (pattern.starts_with('.') && pattern.size() > 1) {
    return plain_takes(pattern.substr(1), text) || plain_takes("*" + pattern, text);
  }
  std::string expression;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    const char c = static_cast<char>(std::tolower(pattern[i]));
    if (c == '*') {
      expression += ".*";
    } else if (std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-') {
      expression += c;
    } else {
      expression += std::string("\\") + c;
    }
  }
  return std::regex_match(text, std::regex(expression));
}

TEST(NamePoliciesTest, AgreeWithAnObviousModel) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  Model model(random);
  for (int round = 0; round < 20; ++round) {
    std::vector<config::NamePolicyConfig> policies;
    for (int i = 0; i < 12; ++i) {
      const bool is_regex = random() % 2 == 0;
      const auto text = is_regex ? model.regex_pattern() : model.plain_pattern();
      // The model's stars are any text; the names in plain patterns here have no stars of their own.
      if (!is_regex && (text.contains("*.*") || text.find('*', 1) + 1 < text.size()) &&
          text.find('*', 1) != std::string::npos && !text.ends_with('*'))
        continue;
      const auto id = "p" + std::to_string(i);
      policies.push_back(is_regex
                             ? regex(id, PolicyAction::drop, text, static_cast<int>(random() % 3))
                             : plain(id, PolicyAction::drop, text, static_cast<int>(random() % 3)));
    }
    const auto made = make(policies);
    ASSERT_TRUE(made) << made.error().text();
    for (int n = 0; n < 100; ++n) {
      const auto name = model.name();
      const auto text = config::policy_text(dns::parse_name(name)->view());
      const config::NamePolicyConfig* best = nullptr;
      for (const auto& p : policies) {
        const auto& pattern = p.patterns[0];
        const bool takes =
            pattern.regex ? std::regex_search(text, std::regex(pattern.text, std::regex::icase))
                          : plain_takes(pattern.text, text);
        if (takes && (best == nullptr || p.priority < best->priority)) best = &p;
      }
      EXPECT_EQ(verdict(**made, name), best == nullptr ? "" : best->id)
          << name << " as " << text
          << (best == nullptr ? "" : " should match " + best->patterns[0].text);
    }
  }
}

}  // namespace
}  // namespace pharos::controlplane
