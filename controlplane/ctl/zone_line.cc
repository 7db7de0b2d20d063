#include "zone_line.hh"

#include "pharos/controlplane/ctl/local.hh"

#include <utility>

namespace pharos::controlplane::ctl {

using control::Access;
using nlohmann::json;

ZoneLine::ZoneLine(LineHooks hooks, const Terminal& terminal)
    : hooks_(std::move(hooks)), terminal_(terminal) {
  add_zones();
  add_policies();
}

void ZoneLine::add_zones() {
  auto* zone = hooks_.add_group("zone", "zones: list, show, check, reload");
  hooks_.add(zone, "list", "zones that are served",
             [this] { return hooks_.ask(Access::read, "zones", json::object()); });
  auto* show = hooks_.add(zone, "show", "records of a zone", [this] {
    return hooks_.ask(Access::read, "zone-show", {{"zone", name_}});
  });
  show->add_option("zone", name_, "its origin")->required();
  auto* check = hooks_.add(zone, "check", "check a zone file, without a daemon", [this] {
    return check_zone_file(name_, files_.at(0), hooks_.as_json(), terminal_);
  });
  check->add_option("zone", name_, "its origin")->required();
  check->add_option("file", files_, "the zone file")->required()->expected(1);
  auto* reload = hooks_.add(zone, "reload", "read zone files again", [this] {
    return hooks_.ask(Access::write, "zone-reload",
                      name_.empty() ? json::object() : json{{"zone", name_}});
  });
  reload->add_option("zone", name_, "only this one");
}

void ZoneLine::add_policies() {
  auto* policy = hooks_.add_group("policy", "name policies: list, test");
  hooks_.add(policy, "list", "policies in use, and the queries that each has decided",
             [this] { return hooks_.show("dataplane", "policies"); });
  auto* test =
      hooks_.add(policy, "test", "which policies take a name, and what would be answered",
                 [this] { return hooks_.ask(Access::read, "policy-test", {{"name", name_}}); });
  test->add_option("name", name_, "a query name")->required();
}

}  // namespace pharos::controlplane::ctl
