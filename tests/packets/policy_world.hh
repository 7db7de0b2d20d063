// What the tests of name policies share: a configuration with each action, and tables made with it.
#pragma once

#include "pharos/config/model.hh"

#include "world.hh"

namespace pharos::packets {

using catalog::PolicyAction;

inline config::NamePolicyConfig policy(const std::string& id, PolicyAction action,
                                       std::initializer_list<const char*> patterns,
                                       int priority = 0) {
  config::NamePolicyConfig result;
  result.id = id;
  result.action = action;
  result.priority = priority;
  result.files = {"test.yaml"};
  for (std::string text : patterns) {
    const bool regex = text.front() == '/';
    if (regex) text = text.substr(1);
    result.patterns.push_back({text, regex, 0, 1});
  }
  return result;
}

inline config::Config example_policies() {
  config::Config config;
  auto add = [&](config::NamePolicyConfig one) -> config::NamePolicyConfig& {
    return config.policies.emplace_back(std::move(one));
  };
  config.services.resize(1);
  config.services[0].id = "svc";
  config.services[0].names = {"svc.example."};
  config.dataplane.rate_limit.classes = {{"fast", 1000}, {"slow", 1}};
  add(policy("allowed", PolicyAction::allow, {"ok.refused.example"}, -10));
  add(policy("refused", PolicyAction::refuse, {".refused.example", "/^bad[0-9]+\\."})).log = true;
  add(policy("dropped", PolicyAction::drop, {"*.dropped.example", "drop.*"}));
  add(policy("gone", PolicyAction::nxdomain, {"*gone*"}));
  add(policy("empty", PolicyAction::nodata, {"empty.example", "*.empty.example", "empty.nowhere"}));
  add(policy("cut", PolicyAction::truncate, {".cut.example"}));
  add(policy("routed", PolicyAction::route, {"*.t.example", "*.tenants.nowhere", "nowhere"}))
      .service = "svc";
  add(policy("limited", PolicyAction::limit, {"*.limited.example", "limited.example"})).rate_class =
      "slow";
  add(policy("logged", PolicyAction::log, {"/^logged"}));
  add(policy("late", PolicyAction::drop, {"ok.refused.example", "x.t.example"}, 10));
  return config;
}

inline const dataplane::TableRoot& policy_tables() {
  static const World::Root root = [] {
    World world;
    world.zone("example.", R"(
$TTL 300
@ SOA ns1 h 1 7200 3600 1209600 60
@ NS ns1
ns1 A 192.0.2.1
www A 192.0.2.80
refused A 192.0.2.2
ok.refused A 192.0.2.3
known.dropped A 192.0.2.4
known-gone A 192.0.2.5
empty A 192.0.2.6
cut A 192.0.2.7
listed.t A 192.0.2.8
limited A 192.0.2.9
logged A 192.0.2.10
*.wild.t A 192.0.2.11
deleg NS ns.deleg
ns.deleg A 192.0.2.12
)");
    world.zone("test.nowhere.",
               "$TTL 30\n@ SOA ns1.example. h.example. 1 2 3 4 20\n@ NS ns1.example.\n");
    const auto svc = world.pool("svc.example.", 1);
    const auto svc6 = world.pool("svc.example.", 28);
    world.answer(svc, 0, 1, 20, {{"10.0.0.1", "10.0.0.2"}});
    world.answer(svc6, 0, 28, 20, {{"2001:db8:5::1"}});
    world.policies(example_policies());
    return world.build();
  }();
  return *root;
}

}  // namespace pharos::packets
