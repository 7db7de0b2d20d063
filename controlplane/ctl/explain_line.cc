#include "explain_line.hh"

#include <utility>

namespace pharos::controlplane::ctl {

using control::Access;
using nlohmann::json;

ExplainLine::ExplainLine(CLI::App& app, LineHooks hooks) : hooks_(std::move(hooks)) {
  add_explain(app);
  add_demand(app);
  add_failover(app);
}

void ExplainLine::add_explain(CLI::App& app) {
  auto* explain = hooks_.add(&app, "explain", "why a client gets the answer that it gets", [this] {
    json arguments = {{"name", name_}, {"client", client_}, {"type", type_}};
    if (!at_.empty()) arguments["at"] = at_;
    return hooks_.ask(Access::read, "explain", arguments);
  });
  explain->add_option("--at", at_,
                      "in the past: 2026-11-20T13:05:00Z, seconds since 1970, or -10m");
  explain->add_option("--name", name_, "name of a service")->required();
  explain->add_option("--client", client_, "address or prefix of the client")->required();
  explain->add_option("--type", type_, "A, AAAA, SRV, SVCB or HTTPS")
      ->transform(CLI::IsMember({"A", "AAAA", "SRV", "SVCB", "HTTPS"}, CLI::ignore_case))
      ->capture_default_str();
}

void ExplainLine::add_demand(CLI::App& app) {
  auto* demand =
      hooks_.add(&app, "demand", "names, pools and locales that are asked for most",
                 [this] { return hooks_.ask(Access::read, "demand", {{"limit", rows_}}); });
  demand->add_option("--rows", rows_, "so many of each (1 to 1000)")->check(CLI::Range(1, 1000));
}

void ExplainLine::add_failover(CLI::App& app) {
  auto* failover = hooks_.add(&app, "failover-time",
                              "how long clients may be sent to what is gone, at worst", [this] {
                                json arguments = {{"name", name_}};
                                if (resolver_ttl_min_s_ > 0)
                                  arguments["resolver_ttl_min_s"] = resolver_ttl_min_s_;
                                return hooks_.ask(Access::read, "failover-time", arguments);
                              });
  failover->add_option("name", name_, "a service, or one of its names")->required();
  failover
      ->add_option("--resolver-minimum", resolver_ttl_min_s_,
                   "seconds that resolvers keep shorter answers all the same")
      ->check(CLI::Range(0.0, 604800.0))
      ->capture_default_str();
}

}  // namespace pharos::controlplane::ctl
