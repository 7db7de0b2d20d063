#include "pharos/controlplane/policy/name_policies.hh"

#include "pharos/base/assert.hh"
#include "pharos/config/name_pattern.hh"
#include "pharos/wire/name.hh"

#include <hs/hs.h>

#include <algorithm>
#include <deque>
#include <map>
#include <mutex>
#include <numeric>
#include <unordered_map>

namespace pharos::controlplane {
namespace {

using catalog::PolicyAction;
using catalog::PolicyRule;

constexpr std::size_t pattern_search_max =
    500;  // expressions compiled one by one to find which one matches

[[nodiscard]] std::string key_of(ConstBytes name) {
  std::string key(reinterpret_cast<const char*>(name.data()), name.size());
  std::ranges::transform(key, key.begin(), [](char c) {
    return static_cast<char>(dns::fold_byte(static_cast<std::byte>(c)));
  });
  return key;
}

struct Verdicts {
  std::vector<std::uint32_t> exact;  // rules in order
  std::vector<std::uint32_t> below;
  friend bool operator==(const Verdicts&, const Verdicts&) = default;
};

struct HsDatabase {
  hs_database_t* database = nullptr;
  hs_scratch_t* scratch = nullptr;
  HsDatabase() = default;
  HsDatabase(const HsDatabase&) = delete;
  HsDatabase& operator=(const HsDatabase&) = delete;
  ~HsDatabase() {
    hs_free_scratch(scratch);
    hs_free_database(database);
  }
};

void add_rule(std::vector<std::uint32_t>& rules, std::uint32_t rule) {
  if (rules.empty() || rules.back() != rule) rules.push_back(rule);
}

[[nodiscard]] std::string place_of(const config::NamePolicyConfig& policy,
                                   const config::PatternConfig& pattern) {
  return policy.files[pattern.file] + ":" + std::to_string(pattern.line);
}

}  // namespace

struct NamePolicies::State {
  std::vector<PolicyRule> rules;
  std::vector<std::uint32_t> policies;  // of each rule: index in the configuration
  std::map<std::string, Verdicts> names;
  std::vector<catalog::PlainPattern> plain;  // points into the keys of `names`
  std::vector<Expression> expressions;
  std::vector<const config::PatternConfig*> sources;  // of expressions; only while making
  std::shared_ptr<const std::vector<std::byte>> database;
  std::unique_ptr<HsDatabase> hs;
  mutable std::mutex mutex;  // guards the scratch

  [[nodiscard]] Status add_rules(const config::Config& config,
                                 std::span<const PoolBinding> bindings);
  [[nodiscard]] Status add_patterns(const config::Config& config);
  [[nodiscard]] Status compile(const config::Config& config, const NamePolicies* former,
                               const CompileLimits& limits);
  [[nodiscard]] Status open_database();
  void flatten();
  void scan(const std::string& text, std::vector<std::uint32_t>& rules) const;
};

namespace {

[[nodiscard]] Status set_route(PolicyRule& rule, const config::NamePolicyConfig& policy,
                               const config::Config& config,
                               std::span<const PoolBinding> bindings) {
  const auto service =
      std::ranges::find(config.services, policy.service, &config::ServiceConfig::id);
  std::map<std::uint16_t, const PoolBinding*> pools;
  if (service != config.services.end() && !service->names.empty()) {
    for (const auto& binding : bindings) {
      if (binding.name == service->names.front()) pools.emplace(binding.type, &binding);
    }
  }
  if (pools.empty() || pools.size() > catalog::policy_routes_max) {
    return fail(ErrorCode::conflict,
                "policy '" + policy.id + "' routes to the service '" + policy.service +
                    "', which " + (pools.empty() ? "answers no type" : "answers too many types"),
                policy.source.text());
  }
  for (const auto& [type, binding] : pools)
    rule.routes[rule.route_count++] = {type, binding->ecs, 0, binding->pool};
  return {};
}

// Index of a rate class plus 1; 0: there is none of this name.
[[nodiscard]] std::uint8_t rate_class_of(const config::Config& config, const std::string& id) {
  const auto& classes = config.dataplane.rate_limit.classes;
  const auto at = std::ranges::find(classes, id, &config::RateClassConfig::id);
  return at == classes.end() ? std::uint8_t{0}
                             : static_cast<std::uint8_t>(at - classes.begin() + 1);
}

[[nodiscard]] Result<PolicyRule> make_rule(const config::NamePolicyConfig& policy,
                                           const config::Config& config,
                                           std::span<const PoolBinding> bindings) {
  PolicyRule rule{};
  const auto id_bytes = std::min<std::size_t>(policy.id.size(), catalog::policy_id_bytes_max);
  std::copy_n(policy.id.begin(), id_bytes, rule.id.begin());
  rule.priority = policy.priority;
  rule.pattern_count = static_cast<std::uint32_t>(policy.patterns.size());
  rule.action = policy.action;
  if (policy.log || policy.action == PolicyAction::log) rule.flags = catalog::policy_flag::log;
  if (policy.action == PolicyAction::limit) {
    rule.rate_class = rate_class_of(config, policy.rate_class);
    if (rule.rate_class == 0) {
      return fail(
          ErrorCode::conflict,
          "policy '" + policy.id + "' names the unknown rate class '" + policy.rate_class + "'",
          policy.source.text(), "add it to dataplane.rate_limit.classes");
    }
  }
  if (policy.action == PolicyAction::route) {
    if (auto set = set_route(rule, policy, config, bindings); !set)
      return std::unexpected(std::move(set.error()));
  }
  return rule;
}

}  // namespace

Status NamePolicies::State::add_rules(const config::Config& config,
                                      std::span<const PoolBinding> bindings) {
  policies.resize(config.policies.size());
  std::iota(policies.begin(), policies.end(), 0U);
  std::ranges::stable_sort(policies, {},
                           [&](std::uint32_t i) { return config.policies[i].priority; });
  if (policies.size() > catalog::policy_rules_max) {
    return fail(ErrorCode::exhausted,
                std::to_string(policies.size()) + " policies are more than " +
                    std::to_string(catalog::policy_rules_max),
                config.file, "put patterns of one action into one policy");
  }
  for (const auto i : policies) {
    auto rule = make_rule(config.policies[i], config, bindings);
    if (!rule) return std::unexpected(std::move(rule.error()));
    rules.push_back(*rule);
  }
  return {};
}

Status NamePolicies::State::add_patterns(const config::Config& config) {
  using Kind = config::NamePattern::Kind;
  for (std::uint32_t rule = 0; rule < policies.size(); ++rule) {
    const auto& policy = config.policies[policies[rule]];
    for (const auto& pattern : policy.patterns) {
      if (pattern.regex) {
        expressions.push_back({pattern.text, rule, true});
        sources.push_back(&pattern);
        continue;
      }
      const auto parsed = config::parse_name_pattern(pattern.text);
      if (!parsed) {
        auto error = parsed.error();
        error.where = place_of(policy, pattern);
        return std::unexpected(std::move(error));
      }
      if (parsed->kind == Kind::expression) {
        expressions.push_back({parsed->expression, rule, false});
        sources.push_back(&pattern);
        continue;
      }
      Verdicts& verdicts = names[key_of(parsed->name.view())];
      if (parsed->kind != Kind::below) add_rule(verdicts.exact, rule);
      if (parsed->kind != Kind::exact) add_rule(verdicts.below, rule);
    }
  }
  return {};
}

Status NamePolicies::State::compile(const config::Config& config, const NamePolicies* former,
                                    const CompileLimits& limits) {
  if (expressions.empty()) return {};
  if (former != nullptr && former->state_->expressions == expressions) {
    database = former->state_->database;
    return {};
  }
  auto compiled = compile_expressions(expressions, limits);
  if (compiled) {
    database = std::make_shared<const std::vector<std::byte>>(std::move(*compiled));
    return {};
  }
  std::string what;
  for (const auto& error : compiled.error()) {
    const auto& policy = config.policies[policies[expressions[error.expression].rule]];
    const auto& source = *sources[error.expression];
    const Error one{ErrorCode::invalid,
                    "the pattern '" + source.text.substr(0, 120) + "' of policy '" + policy.id +
                        "' cannot be used: " + error.what,
                    place_of(policy, source), error.hint};
    what += (what.empty() ? "" : "\n") + one.text();
  }
  return fail(ErrorCode::invalid, std::move(what));
}

Status NamePolicies::State::open_database() {
  if (!database) return {};
  hs = std::make_unique<HsDatabase>();
  const auto bytes = ConstBytes(*database).subspan(sizeof(catalog::PolicyDatabase));
  if (hs_deserialize_database(reinterpret_cast<const char*>(bytes.data()), bytes.size(),
                              &hs->database) != HS_SUCCESS ||
      hs_alloc_scratch(hs->database, &hs->scratch) != HS_SUCCESS) {
    return fail(ErrorCode::unavailable, "Hyperscan does not take the database that it made",
                "name policies");
  }
  return {};
}

// What the packet path sees: of each list the first rule.
void NamePolicies::State::flatten() {
  for (const auto& [name, verdicts] : names) {
    plain.push_back({{reinterpret_cast<const std::byte*>(name.data()), name.size()},
                     verdicts.exact.empty() ? 0 : verdicts.exact.front() + 1,
                     verdicts.below.empty() ? 0 : verdicts.below.front() + 1});
  }
}

void NamePolicies::State::scan(const std::string& text, std::vector<std::uint32_t>& found) const {
  if (!hs) return;
  const auto collect = [](unsigned rule, unsigned long long, unsigned long long, unsigned,
                          void* to) {
    static_cast<std::vector<std::uint32_t>*>(to)->push_back(rule);
    return 0;
  };
  const std::lock_guard lock(mutex);
  const auto code = hs_scan(hs->database, text.data(), static_cast<unsigned>(text.size()), 0,
                            hs->scratch, collect, &found);
  REQUIRE(code == HS_SUCCESS);
}

NamePolicies::NamePolicies(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}
NamePolicies::~NamePolicies() = default;

Result<std::shared_ptr<const NamePolicies>> NamePolicies::make(
    const config::Config& config, std::span<const PoolBinding> bindings, const NamePolicies* former,
    const CompileLimits& limits) {
  if (config.policies.empty()) return std::shared_ptr<const NamePolicies>();
  auto state = std::make_unique<State>();
  Status good = state->add_rules(config, bindings);
  if (good) good = state->add_patterns(config);
  if (good) good = state->compile(config, former, limits);
  if (good) good = state->open_database();
  if (!good) return std::unexpected(std::move(good.error()));
  state->flatten();
  state->sources.clear();
  return std::shared_ptr<const NamePolicies>(new NamePolicies(std::move(state)));
}

std::span<const PolicyRule> NamePolicies::rules() const noexcept {
  return state_->rules;
}
std::span<const catalog::PlainPattern> NamePolicies::plain() const noexcept {
  return state_->plain;
}
ConstBytes NamePolicies::database() const noexcept {
  return state_->database ? ConstBytes(*state_->database) : ConstBytes();
}
std::size_t NamePolicies::expression_count() const noexcept {
  return state_->expressions.size();
}

std::vector<std::uint32_t> NamePolicies::matches_of(ConstBytes name) const {
  std::vector<std::uint32_t> found;
  state_->scan(config::policy_text(name), found);
  if (!state_->names.empty()) {
    const auto add = [&](const std::vector<std::uint32_t>& rules) {
      found.insert(found.end(), rules.begin(), rules.end());
    };
    auto suffix = key_of(name);
    for (bool whole = true;; whole = false) {
      if (const auto at = state_->names.find(suffix); at != state_->names.end())
        add(whole ? at->second.exact : at->second.below);
      if (suffix.size() <= 1) break;
      suffix.erase(0, 1U + static_cast<unsigned char>(suffix[0]));
    }
  }
  std::ranges::sort(found);
  found.erase(std::ranges::unique(found).begin(), found.end());
  return found;
}

std::uint32_t NamePolicies::verdict_of(ConstBytes name, bool listed) const {
  for (const auto rule : matches_of(name)) {
    if (!listed || state_->rules[rule].action != PolicyAction::route) return rule + 1;
  }
  return 0;
}

bool NamePolicies::gives_verdicts_of(const NamePolicies& other) const {
  return std::ranges::equal(rules(), other.rules(), {}, &PolicyRule::action, &PolicyRule::action) &&
         state_->names == other.state_->names && state_->expressions == other.state_->expressions;
}

namespace {

[[nodiscard]] bool takes(const config::NamePattern& pattern, ConstBytes name) {
  using Kind = config::NamePattern::Kind;
  if (pattern.kind == Kind::expression) return false;
  const bool same = dns::names_equal(name, pattern.name.view());
  if (same) return pattern.kind != Kind::below;
  return pattern.kind != Kind::exact && dns::is_at_or_below(name, pattern.name.view());
}

[[nodiscard]] bool matches(const std::string& expression, bool ignore_case,
                           const std::string& text) {
  HsDatabase hs;
  hs_compile_error_t* error = nullptr;
  const unsigned flags =
      HS_FLAG_SINGLEMATCH | HS_FLAG_ALLOWEMPTY | (ignore_case ? HS_FLAG_CASELESS : 0U);
  if (hs_compile(expression.c_str(), flags, HS_MODE_BLOCK, nullptr, &hs.database, &error) !=
          HS_SUCCESS ||
      hs_alloc_scratch(hs.database, &hs.scratch) != HS_SUCCESS) {
    hs_free_compile_error(error);
    return false;
  }
  bool found = false;
  const auto note = [](unsigned, unsigned long long, unsigned long long, unsigned, void* to) {
    *static_cast<bool*>(to) = true;
    return 1;
  };
  (void)hs_scan(hs.database, text.data(), static_cast<unsigned>(text.size()), 0, hs.scratch, note,
                &found);
  return found;
}

}  // namespace

std::string NamePolicies::pattern_of(std::uint32_t rule, ConstBytes name,
                                     const config::Config& config) const {
  const auto& policy = config.policies[state_->policies[rule]];
  const auto text = config::policy_text(name);
  std::size_t compiled = 0;
  for (const auto& pattern : policy.patterns) {
    bool taken = false;
    if (pattern.regex) {
      taken = compiled++ < pattern_search_max && matches(pattern.text, true, text);
    } else if (const auto parsed = config::parse_name_pattern(pattern.text)) {
      taken = parsed->kind == config::NamePattern::Kind::expression
                  ? compiled++ < pattern_search_max && matches(parsed->expression, false, text)
                  : takes(*parsed, name);
    }
    if (taken) return place_of(policy, pattern) + ": " + pattern.text;
  }
  return "one of " + std::to_string(policy.patterns.size());
}

}  // namespace pharos::controlplane
