// What holds between objects: each check reads the facts that the tables left in the Reader, and
// reports by line.
#include "pharos/config/keys.hh"
#include "pharos/config/service_records.hh"
#include "pharos/wire/name_text.hh"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

namespace pharos::config {

namespace {

constexpr std::size_t locales_max = 0xffff;  // beside the default one: locale_image.hh
constexpr std::size_t endpoints_max = 1U << 19;

std::string line_of(const Place& place) {
  return "the first one is at " + place.source().text();
}

// Ids that were declared once and again.
void check_declarations(Reader& reader) {
  std::map<std::tuple<Thing, std::string, std::string>, const Place*> seen;
  for (const auto& declared : reader.declarations) {
    const auto [earlier, fresh] =
        seen.emplace(std::tuple(declared.thing, declared.scope, declared.id), &declared.place);
    if (fresh) continue;
    const auto scope = declared.scope.empty() ? "" : " of service '" + declared.scope + "'";
    reader.mistakes.add(declared.place,
                        std::string(name_of(declared.thing)) + " '" + declared.id + "'" + scope +
                            " stands here again",
                        line_of(*earlier->second));
  }
}

void check_references(Reader& reader) {
  std::map<Thing, std::set<std::string>> known;
  for (const auto& declared : reader.declarations) known[declared.thing].insert(declared.id);
  for (const auto& reference : reader.references) {
    const auto& ids = known[reference.thing];
    if (ids.contains(reference.id)) continue;
    const std::vector<std::string> all(ids.begin(), ids.end());
    const auto near = nearest(reference.id, all);
    const std::string thing(name_of(reference.thing));
    reader.mistakes.add(
        reference.place, reference.by + " names the unknown " + thing + " '" + reference.id + "'",
        near.empty() ? "add it to '" + thing + "s'" : "did you mean '" + near + "'?");
  }
}

// One prefix cannot belong to two locales, nor need it stand twice in one.
void check_prefixes(Reader& reader) {
  auto& uses = reader.prefixes;
  std::ranges::stable_sort(uses, {}, &PrefixUse::prefix);
  for (std::size_t i = 1; i < uses.size(); ++i) {
    const auto &first = uses[i - 1], &second = uses[i];
    if (first.prefix != second.prefix) continue;
    const auto what =
        first.locale == second.locale
            ? "prefix " + second.prefix.text() + " stands twice in locale '" + second.locale + "'"
            : "prefix " + second.prefix.text() + " of locale '" + second.locale +
                  "' already belongs to locale '" + first.locale + "'";
    reader.mistakes.add(second.place, what, line_of(first.place));
  }
}

// The zone that holds `name`: its longest suffix among `zones`; empty where none does.
std::string zone_of(const std::string& name, const std::set<std::string>& zones) {
  for (std::size_t at = 0; at < name.size();) {
    if (auto suffix = name.substr(at); zones.contains(suffix)) return suffix;
    at = name.find('.', at) + 1;
  }
  return zones.contains(".") ? "." : "";
}

void check_names(Reader& reader, const Config& config) {
  std::set<std::string> zones;
  for (const auto& zone : config.zones) zones.insert(zone.id);
  for (const auto& declared : reader.declarations) {
    if (declared.thing != Thing::service_name || !zone_of(declared.id, zones).empty()) continue;
    const std::vector<std::string> all(zones.begin(), zones.end());
    const auto parent = declared.id.substr(declared.id.find('.') + 1);
    const auto near = nearest(parent, all);
    reader.mistakes.add(
        declared.place, "service name '" + declared.id + "' lies in no zone of ours",
        near.empty() ? "add its zone to 'zones'" : "did you mean a name in '" + near + "'?");
  }
}

// "fail: to" must end somewhere.
void check_fail_chains(Reader& reader, const Config& config) {
  std::map<std::string, const ServiceConfig*> services;
  for (const auto& service : config.services) services.emplace(service.id, &service);
  for (const auto& service : config.services) {
    const ServiceConfig* at = &service;
    std::set<std::string> visited;
    while (at->fail == FailMode::to && visited.insert(at->id).second) {
      const auto next = services.find(at->fail_to);
      if (next == services.end()) break;
      at = next->second;
    }
    // Each circle is reported once, at its smallest id; a service that fails to itself was reported
    // already.
    if (visited.size() > 1 && at == &service && visited.contains(at->id) &&
        *visited.begin() == service.id) {
      const Place place{&service.source.file, service.source.line};
      reader.mistakes.add(
          place, "services fail to each other in a circle that begins at '" + service.id + "'",
          "let one of them fail open or closed");
    }
  }
}

// Who fails to another service must find there all that it answers: a client that asked for HTTPS would be sent to
// failing endpoints, one that asked for A away from them.
void check_fail_types(Reader& reader, const Config& config) {
  std::map<std::string, const ServiceConfig*> services;
  for (const auto& service : config.services) services.emplace(service.id, &service);
  for (const auto& service : config.services) {
    const auto to = services.find(service.fail_to);
    if (service.fail != FailMode::to || to == services.end()) continue;
    const auto there = record_types_of(*to->second);
    for (const auto type : record_types_of(service)) {
      if (std::ranges::find(there, type) != there.end()) continue;
      const auto text = dns::type_text(static_cast<std::uint16_t>(type));
      reader.mistakes.add({&service.source.file, service.source.line},
                          "service '" + service.id + "' answers " + text + " and fails to '" +
                              service.fail_to + "', which does not",
                          "let '" + service.fail_to + "' answer " + text + " as well");
    }
  }
}

void check_rate_classes(Reader& reader, const Config& config) {
  std::vector<std::string> known;
  for (const auto& limit : config.dataplane.rate_limit.classes) known.push_back(limit.id);
  for (const auto& policy : config.policies) {
    if (policy.rate_class.empty() || std::ranges::find(known, policy.rate_class) != known.end())
      continue;
    const auto near = nearest(policy.rate_class, known);
    reader.mistakes.add(
        {&policy.source.file, policy.source.line},
        "policy '" + policy.id + "' names the unknown rate class '" + policy.rate_class + "'",
        near.empty() ? "add it to dataplane.rate_limit.classes" : "did you mean '" + near + "'?");
  }
}

void check_counts(Reader& reader, const Config& config) {
  const Place whole{&config.file, 1};
  if (config.locales.size() > locales_max) {
    reader.mistakes.add(whole, std::to_string(config.locales.size()) + " locales are more than " +
                                   std::to_string(locales_max));
  }
  std::size_t endpoints = 0;
  for (const auto& service : config.services) endpoints += service.endpoints.size();
  if (endpoints > endpoints_max) {
    reader.mistakes.add(whole, std::to_string(endpoints) + " endpoints are more than " +
                                   std::to_string(endpoints_max));
  }
}

void check_beacons(Reader& reader, const Config& config) {
  const bool received = config.controlplane.beacon_listen.empty()
                            ? config.dataplane.beacon_port != 0 && !config.dataplane.ports.empty()
                            : true;
  const auto site =
      std::ranges::find_if(config.sites, [](const auto& s) { return !s.keys.empty(); });
  if (received || site == config.sites.end()) return;
  reader.mistakes.add({&site->source.file, site->source.line},
                      "site '" + site->id + "' sends beacons, but nothing here takes them",
                      config.dataplane.ports.empty()
                          ? "add dataplane.ports or controlplane.beacon_listen"
                          : "set dataplane.beacon_port or controlplane.beacon_listen");
}

// `listed` needs a list. The data plane hears the option only where some service goes by it.
void check_client_subnets(Reader& reader, Config& config) {
  using catalog::EcsMode;
  auto& dataplane = config.dataplane;
  const bool unlisted = dataplane.ecs_resolvers.empty();
  const auto missing = [&](const Place& place, const std::string& who) {
    reader.mistakes.add(place,
                        who + " goes by the client subnets of listed resolvers, and none is listed",
                        "add dataplane.ecs_resolvers: [192.0.2.0/24]");
  };
  if (unlisted && dataplane.ecs == EcsMode::listed) missing({&config.file, 1}, "dataplane.ecs");
  dataplane.ecs_heard = dataplane.ecs != EcsMode::ignore;
  for (const auto& service : config.services) {
    if (!service.ecs) continue;
    dataplane.ecs_heard = dataplane.ecs_heard || *service.ecs != EcsMode::ignore;
    if (unlisted && *service.ecs == EcsMode::listed)
      missing({&service.source.file, service.source.line}, "service '" + service.id + "'");
  }
}

// Nameservers inside of a made zone answer at our ports, unless `hosts` says otherwise.
void fill_nameservers(Config& config) {
  std::vector<IpAddress> ours;
  for (const auto& port : config.dataplane.ports)
    ours.insert(ours.end(), port.addresses.begin(), port.addresses.end());
  if (ours.empty()) return;
  for (auto& zone : config.zones) {
    if (!zone.file.empty()) continue;
    for (const auto& name : zone.nameservers) {
      const bool inside = !name.ends_with('.') || name.ends_with("." + zone.id);
      if (inside) zone.hosts.try_emplace(name, ours);
    }
  }
}

}  // namespace

void check_everything(Reader& reader, Config& config) {
  check_declarations(reader);
  check_references(reader);
  check_prefixes(reader);
  check_names(reader, config);
  check_fail_chains(reader, config);
  check_fail_types(reader, config);
  check_rate_classes(reader, config);
  check_counts(reader, config);
  check_beacons(reader, config);
  check_client_subnets(reader, config);
  fill_nameservers(config);
}

}  // namespace pharos::config
