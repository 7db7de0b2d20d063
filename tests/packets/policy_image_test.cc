// The policy sections of a catalog image, and the text that expressions match: what proofs refuse, what Hyperscan must
// have written, and the vector kernel against its scalar twin.
#include "pharos/config/name_pattern.hh"
#include "pharos/dataplane/match/policy_set.hh"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "policy_world.hh"

namespace pharos::dataplane {
namespace {

using catalog::PolicyAction;
using packets::example_policies;

struct Sections {
  std::vector<catalog::PolicyRule> rules;
  std::vector<catalog::PolicyName> names;
  std::vector<std::byte> text;
  std::vector<std::byte> database;
  dns::NameHashKey key;

  Sections() {
    const std::vector<controlplane::PoolBinding> bindings = {{"svc.example.", 1, 0}};
    const auto policies = controlplane::NamePolicies::make(example_policies(), bindings, nullptr);
    EXPECT_TRUE(policies);
    rules.assign((**policies).rules().begin(), (**policies).rules().end());
    database.assign((**policies).database().begin(), (**policies).database().end());
    names = *catalog::make_policy_names((**policies).plain(), key, text);
    text.resize(text.size() + 64);  // the image's tail
  }
  [[nodiscard]] Result<catalog::PolicyView> prove() const {
    return catalog::prove_policies(rules, names, ConstBytes(text).first(text.size() - 64), database,
                                   key, 1);
  }
  [[nodiscard]] catalog::PolicyDatabase& head() {
    return *reinterpret_cast<catalog::PolicyDatabase*>(database.data());
  }
  [[nodiscard]] catalog::PolicyName& taken() {
    return *std::ranges::find_if(names, [](const auto& name) { return name.name_bytes != 0; });
  }
};

TEST(PolicyImageTest, ProvesWhatTheBuilderMakes) {
  Sections sections;
  const auto view = sections.prove();
  ASSERT_TRUE(view) << view.error().text();
  EXPECT_EQ(view->rules().size(), 10U);
  EXPECT_TRUE(PolicySet::make(*view, 1));
}

TEST(PolicyImageTest, RefusesWhatContradictsItself) {
  const auto broken = [](const char* what, auto&& breakage) {
    Sections sections;
    breakage(sections);
    EXPECT_FALSE(sections.prove()) << what;
  };
  using S = Sections;
  broken("an action that is none", [](S& s) { s.rules[0].action = static_cast<PolicyAction>(9); });
  broken("an id without an end", [](S& s) { s.rules[0].id.fill('a'); });
  broken("an empty id", [](S& s) { s.rules[0].id.fill(0); });
  broken("bytes behind the id", [](S& s) {
    s.rules[0].id.back() = 'x';
    s.rules[0].id[62] = 0;
  });
  broken("unknown flags", [](S& s) { s.rules[0].flags = 2; });
  broken("a rate class without limit", [](S& s) { s.rules[0].rate_class = 1; });
  broken("routes without route", [](S& s) { s.rules[0].route_count = 1; });
  broken("a route to no pool", [](S& s) {
    for (auto& rule : s.rules) rule.routes[0].pool = rule.route_count != 0 ? 1 : 0;
  });
  broken("a route by unknown client subnets", [](S& s) {
    for (auto& rule : s.rules)
      rule.routes[0].ecs = static_cast<catalog::EcsMode>(rule.route_count != 0 ? 3 : 0);
  });
  broken("client subnets without a route",
         [](S& s) { s.rules[0].routes[0].ecs = catalog::EcsMode::ignore; });
  broken("too many routes", [](S& s) {
    for (auto& rule : s.rules) rule.route_count = rule.route_count != 0 ? 9 : 0;
  });
  broken("patterns without rules", [](S& s) { s.rules.clear(); });
  broken("a verdict of no rule", [](S& s) { s.taken().exact = 11; });
  broken("a name that says nothing", [](S& s) { s.taken().exact = s.taken().below = 0; });
  broken("text out of bounds", [](S& s) { s.taken().text = 0xffffffff; });
  broken("another hash", [](S& s) { s.taken().hash ^= 1; });
  broken("a wrong label count", [](S& s) { ++s.taken().label_count; });
  broken("a name that is none", [](S& s) { s.text[s.taken().text] = std::byte{64}; });
  broken("capitals", [](S& s) { s.text[s.taken().text + 1] = std::byte{'A'}; });
  broken("places that are no power of two", [](S& s) { s.names.resize(s.names.size() - 1); });
  broken("no free place", [](S& s) {
    for (auto& name : s.names) name = s.taken();
  });
  broken("a cut head", [](S& s) { s.database.resize(sizeof(catalog::PolicyDatabase) - 1); });
  broken("a cut database", [](S& s) { s.database.pop_back(); });
  broken("one byte more", [](S& s) { s.database.emplace_back(); });
  broken("a flipped bit of the database", [](S& s) { s.database[1000] ^= std::byte{4}; });
  broken("a library without an end", [](S& s) { s.head().library.fill('5'); });
}

TEST(PolicyImageTest, RefusesExpressionsOfAnotherHyperscan) {
  Sections sections;
  std::strcpy(sections.head().library.data(), "4.0.0 2015-10-01");
  const auto view = sections.prove();
  ASSERT_TRUE(view) << view.error().text();
  const auto set = PolicySet::make(*view, 1);
  ASSERT_FALSE(set);
  EXPECT_EQ(set.error().code, ErrorCode::unsupported);
  EXPECT_TRUE(set.error().what.starts_with(
      "the expressions were compiled by Hyperscan '4.0.0 2015-10-01', and this is '5."))
      << set.error().what;
}

TEST(PolicyTextTest, AgreesWithItsScalarTwinForEveryOctet) {
  std::array<char, policy_text_bytes_max> fast{}, slow{};
  for (unsigned length : {1U, 2U, 31U, 32U, 33U, 62U, 63U}) {
    for (unsigned octet = 0; octet < 256; ++octet) {
      for (unsigned at : {0U, length / 2, length - 1}) {
        dns::FoldedName name{};
        name.bytes[0] = static_cast<std::byte>(length);
        for (unsigned i = 0; i < length; ++i) name.bytes[1 + i] = std::byte{'a'};
        name.bytes[1 + at] = dns::fold_byte(static_cast<std::byte>(octet));
        name.length = length + 2;
        LabelMap labels;
        map_labels(name.bytes.data(), labels);
        const auto fast_bytes =
            write_policy_text(name.bytes.data(), name.length, labels, fast.data());
        const auto slow_bytes = scalar::write_policy_text(name.bytes.data(), slow.data());
        ASSERT_EQ(std::string_view(fast.data(), fast_bytes),
                  std::string_view(slow.data(), slow_bytes));
        ASSERT_EQ(std::string_view(slow.data(), slow_bytes),
                  config::policy_text({name.bytes.data(), name.length}));
      }
    }
  }
}

TEST(PolicyTextTest, HoldsTheLongestName) {
  dns::FoldedName name{};
  unsigned at = 0;
  for (unsigned octets : {63U, 63U, 63U, 61U}) {
    name.bytes[at++] = static_cast<std::byte>(octets);
    for (unsigned i = 0; i < octets; ++i) name.bytes[at++] = std::byte{0xff};
  }
  name.length = at + 1;
  ASSERT_EQ(name.length, 255U);
  std::vector<char> text(policy_text_bytes_max);
  LabelMap labels;
  map_labels(name.bytes.data(), labels);
  EXPECT_EQ(write_policy_text(name.bytes.data(), name.length, labels, text.data()), 4U * 250 + 3);
}

}  // namespace
}  // namespace pharos::dataplane
