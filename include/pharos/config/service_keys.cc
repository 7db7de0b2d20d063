// Keys of `services` and their endpoints. Private to include/pharos/config.
#include "pharos/config/keys.hh"

#include <algorithm>
#include <bit>
#include <map>

namespace pharos::config {

namespace {

constexpr unsigned endpoints_max = 1024;  // a slotted answer has that many variants at most
constexpr unsigned names_max = 4096;
constexpr unsigned addresses_max = 32;  // of an endpoint, as many as the largest answer holds

// ---- endpoints ----

// "192.0.2.1", "192.0.2.1:443" or "[2001:db8::1]:443".
Key address_key() {
  Key key;
  key.name = "address";
  key.description = "one address, with a port if you like: short for `addresses` and `port`";
  key.example = "203.0.113.10:443";
  key.shape = {.kind = Shape::Kind::text, .word = "IP address or address:port"};
  key.read = [](Reader& reader, const Node& node, void* to) {
    auto& endpoint = *static_cast<EndpointConfig*>(to);
    const auto* text = scalar_of(reader, node, "IP address or address:port");
    if (text == nullptr) return;
    const auto colons = std::ranges::count(*text, ':');
    if (text->starts_with('[') || (colons == 1 && text->contains('.'))) {
      SocketAddress both;
      if (!socket_address().read(reader, node, both)) return;
      endpoint.addresses = {both.address};
      endpoint.port = both.port;
    } else if (IpAddress address; ip_address().read(reader, node, address)) {
      endpoint.addresses = {address};
    }
  };
  return key;
}

void check_endpoint(Reader& reader, const Node& node, void* object) {
  const auto& endpoint = *static_cast<EndpointConfig*>(object);
  const Member* one = node.find("address");
  const Member* many = node.find("addresses");
  const auto who = "endpoint '" + endpoint.id + "' of service '" + reader.service + "'";
  if (one == nullptr && many == nullptr) {
    reader.mistake(node, who + " has no address", "address: 203.0.113.10");
  }
  if (one != nullptr && many != nullptr) {
    reader.mistakes.add(one->place, who + " has both 'address' and 'addresses'",
                        "give one of them");
  }
}

// ---- services ----

void read_fail(Reader& reader, const Node& node, ServiceConfig& to) {
  constexpr std::string_view prefix = "to ";
  const auto* text = scalar_of(reader, node, "open, closed, or 'to <service>'");
  if (text == nullptr) return;
  if (*text == "open") {
    to.fail = FailMode::open;
  } else if (*text == "closed") {
    to.fail = FailMode::closed;
  } else if (text->starts_with(prefix)) {
    to.fail = FailMode::to;
    to.fail_to = text->substr(prefix.size());
    reader.references.push_back(
        {Thing::service, to.fail_to, "'fail' of service '" + reader.service + "'", node.place});
  } else {
    reader.mistake(node, "'" + text->substr(0, 64) + "' is not a way to fail",
                   "write open, closed, or 'to <service>', such as: to www-backup");
  }
}

Key fail_key() {
  Key key;
  key.name = "fail";
  key.description =
      "below the panic threshold: `open` answers as if all were healthy, `closed` answers nothing, "
      "`to <service>` answers as that service does";
  key.example = "to www-backup";
  key.default_text = std::string(name_of(ServiceConfig{}.fail));
  key.shape = {.kind = Shape::Kind::text,
               .word = "open, closed or to <service>",
               .pattern = "^(open|closed|to .+)$"};
  key.read = [](Reader& reader, const Node& node, void* to) {
    read_fail(reader, node, *static_cast<ServiceConfig*>(to));
  };
  return key;
}

Key versions_key() {
  Key key;
  key.name = "versions";
  key.description =
      "versions and how much each is preferred, above 0 up to 1; one that is not listed has 1";
  key.example = "{v1: 1, v2: 0.1}";
  key.shape = {
      .kind = Shape::Kind::map,
      .word = "version: preference",
      .parts = {{.kind = Shape::Kind::number, .word = "preference", .minimum = 0, .maximum = 1}}};
  key.read = [](Reader& reader, const Node& node, void* to) {
    auto& service = *static_cast<ServiceConfig*>(to);
    for_each_member(reader, node, "version: preference", [&](const Member& member) {
      double preference = 1;
      if (!number(0, 1).read(reader, *member.value, preference)) return;
      if (preference == 0) {
        reader.mistake(*member.value, "a preference of 0 hides version '" + member.key + "'",
                       "write a small number such as 0.01, or set its endpoints to 'state: drain'");
      }
      service.versions[member.key] = preference;
    });
  };
  return key;
}

Key slots_key() {
  auto result =
      key("slots", &ServiceConfig::slots, as<unsigned>(whole(1, 1024)),
          "answer variants that clients are dealt where not all are answered alike, a power of two",
          "256");
  result.read = [read = result.read](Reader& reader, const Node& node, void* to) {
    auto& service = *static_cast<ServiceConfig*>(to);
    read(reader, node, to);
    if (std::has_single_bit(service.slots)) return;
    reader.mistake(node, std::to_string(service.slots) + " slots are not a power of two",
                   "write " + std::to_string(std::bit_floor(service.slots)) + " or " +
                       std::to_string(std::bit_ceil(service.slots)));
  };
  return result;
}

Key names_key() {
  return required(key_into<ServiceConfig>(
      "names", one_or_more(domain_name(true), names_max),
      "names answered by this service, in zones of ours; `*.` in front is a wildcard",
      "[www.example.com]",
      [](Reader& reader, const Node& node, ServiceConfig& to, std::vector<std::string> names) {
        // With the line of each: a list of names that were all read is in step with its items.
        const bool in_step = node.items.size() == names.size();
        for (std::size_t i = 0; i < names.size(); ++i) {
          const Place& place = in_step ? node.items[i]->place : node.place;
          reader.declarations.push_back({Thing::service_name, {}, names[i], place});
        }
        to.names = std::move(names);
      }));
}

// ---- what holds inside of one service ----

void check_versions(Reader& reader, const Node& node, const ServiceConfig& service) {
  const bool several = service.versions.size() > 1 ||
                       std::ranges::any_of(service.endpoints, [](const auto& endpoint) {
                         return !endpoint.version.empty();
                       });
  const Member* endpoints = node.find("endpoints");
  if (endpoints == nullptr || endpoints->value->items.size() != service.endpoints.size()) return;
  std::vector<std::string> known;
  for (const auto& [name, preference] : service.versions) known.push_back(name);
  for (std::size_t i = 0; i < service.endpoints.size(); ++i) {
    const auto& endpoint = service.endpoints[i];
    const Node& item = *endpoints->value->items[i];
    const auto who = "endpoint '" + endpoint.id + "' of service '" + service.id + "'";
    if (endpoint.version.empty()) {
      if (several)
        reader.mistake(item, who + " does not say its version",
                       "version: " + (known.empty() ? "v1" : known[0]));
    } else if (!known.empty() && !service.versions.contains(endpoint.version)) {
      const auto near = nearest(endpoint.version, known);
      const Member* version = item.find("version");
      reader.mistakes.add(
          version->place, who + " is of the unknown version '" + endpoint.version + "'",
          near.empty() ? "list it in 'versions' of the service" : "did you mean '" + near + "'?");
    }
  }
}

void check_addresses(Reader& reader, const Node& node, const ServiceConfig& service) {
  std::map<std::pair<std::string, IpAddress>, std::string> seen;  // version and address -> endpoint
  for (const auto& endpoint : service.endpoints) {
    for (const auto& address : endpoint.addresses) {
      const auto [earlier, fresh] = seen.emplace(std::pair(endpoint.version, address), endpoint.id);
      if (fresh) continue;
      const auto place =
          endpoint.source.line > 0 ? Place{node.place.file, endpoint.source.line} : node.place;
      reader.mistakes.add(
          place, "address " + address.text() + " stands twice in service '" + service.id + "'",
          "endpoint '" + earlier->second + "' has it already");
    }
  }
}

void check_weights(Reader& reader, const Node& node, const ServiceConfig& service) {
  if (service.endpoints.empty()) return;
  if (std::ranges::all_of(service.endpoints,
                          [](const auto& endpoint) { return endpoint.weight == 0; })) {
    reader.mistake(node, "all endpoints of service '" + service.id + "' have weight 0",
                   "0 is for last resorts: give at least one of them more");
  }
}

void check_ttls(Reader& reader, const Node& node, const ServiceConfig& service) {
  if (service.ttl_floor > service.ttl_ceiling) {
    const Member* member =
        node.find("ttl_floor") != nullptr ? node.find("ttl_floor") : node.find("ttl_ceiling");
    reader.mistakes.add(member->place,
                        "ttl_floor " + duration_text(service.ttl_floor) + " is above ttl_ceiling " +
                            duration_text(service.ttl_ceiling),
                        "TTLs move between the two");
  }
  for (const auto& endpoint : service.endpoints) {
    if (!endpoint.ttl_max || *endpoint.ttl_max >= service.ttl_floor) continue;
    reader.mistakes.add({node.place.file, endpoint.source.line},
                        "ttl_max " + duration_text(*endpoint.ttl_max) + " of endpoint '" +
                            endpoint.id + "' is below ttl_floor " +
                            duration_text(service.ttl_floor) + " of its service",
                        "lower ttl_floor, or raise ttl_max");
  }
}

void check_service(Reader& reader, const Node& node, void* object) {
  const auto& service = *static_cast<ServiceConfig*>(object);
  check_versions(reader, node, service);
  check_addresses(reader, node, service);
  check_weights(reader, node, service);
  check_ttls(reader, node, service);
  check_service_records(reader, node, service);
  check_service_steering(reader, node, service);
  check_groups(reader, node, service);
  if (service.fail == FailMode::to && service.fail_to == service.id) {
    reader.mistakes.add(node.find("fail")->place, "service '" + service.id + "' fails to itself",
                        "name another one");
  }
  reader.service.clear();
}

Type<double> weight() {
  return number(0, 1e6);
}

// `table` with more keys in front of its key `before`.
Table with_keys(Table table, const std::vector<Key>& more, std::string_view before) {
  const auto at = std::ranges::find(table.keys, before, &Key::name);
  table.keys.insert(at, more.begin(), more.end());
  return table;
}

}  // namespace

template <>
const Table* table_of<EndpointConfig>() {
  using C = EndpointConfig;
  static const Table own_keys{
      "services[].endpoints[]",
      "An address of a service at a site.",
      {
          required(key_into<C>("id", identifier("endpoint id"), "unique in its service", "fra-1",
                               [](Reader& reader, const Node& node, C& to, std::string id) {
                                 reader.declarations.push_back(
                                     {Thing::endpoint, reader.service, id, node.place});
                                 to.id = std::move(id);
                               })),
          required(key_into<C>(
              "site", identifier("site id"), "where it runs", "fra",
              [](Reader& reader, const Node& node, C& to, std::string site) {
                reader.references.push_back(
                    {Thing::site, site,
                     "endpoint '" + to.id + "' of service '" + reader.service + "'", node.place});
                to.site = std::move(site);
              })),
          endpoint_group_key(),
          address_key(),
          key("addresses", &C::addresses, one_or_more(ip_address(), addresses_max),
              "IPv4 addresses answer A, IPv6 addresses answer AAAA",
              "[203.0.113.10, \"2001:db8:f::10\"]"),
          key("port", &C::port, as<std::uint16_t>(whole(0, 65535)),
              "port of the service; 0: not said", "443"),
          key("weight", &C::weight, weight(),
              "share of clients under policy `weighted`; 0: only as a last resort", "3"),
          key("priority", &C::priority, whole_signed(-1000, 1000),
              "policy `failover`: lowest first", "10"),
          key("capacity_rps", &C::capacity_rps, maybe(rate()),
              "requests per second that it can take; default: its site's limit alone", "5k"),
          key("ttl_max", &C::ttl_max, maybe(duration({}, seconds(604'800))),
              "answers with it live no longer than this", "10s"),
          key("version", &C::version, identifier("version"), "default: the service's only version",
              "v2"),
          key("state", &C::state,
              choice<Override>({{"auto", Override::automatic},
                                {"up", Override::up},
                                {"down", Override::down},
                                {"drain", Override::drain}}),
              "at the start; `pharosctl endpoints` changes it, and that wins", "drain"),
      },
      check_endpoint};
  static const Table table = with_keys(own_keys, endpoint_record_keys(), "state");
  return &table;
}

template <>
const Table* table_of<ServiceConfig>() {
  using C = ServiceConfig;
  static const Table own_keys{
      "services[]",
      "Names answered from the ranking.",
      {
          required(key_into<C>("id", identifier("service id"), "its name everywhere", "www",
                               [](Reader& reader, const Node& node, C& to, std::string id) {
                                 reader.declarations.push_back(
                                     {Thing::service, {}, id, node.place});
                                 reader.service = id;
                                 to.id = std::move(id);
                               })),
          names_key(),
          key("policy", &C::policy, policy_choice(),
              "`ranked`: best score first; `weighted`: clients dealt by weight; `failover`: by "
              "priority; `geo`: nearest first; `sticky`: dealt by weight, and moved only when an "
              "endpoint goes; `multivalue`: each client begins with another",
              "weighted"),
          key("answers_max", &C::answers_max, as<unsigned>(whole(1, 32)), "addresses in one answer",
              "4"),
          key("ttl_floor", &C::ttl_floor, duration({}, seconds(604'800)),
              "smallest TTL, when the ranking is restless", "1s"),
          key("ttl_ceiling", &C::ttl_ceiling, duration({}, seconds(604'800)),
              "largest TTL, when it is calm", "5m"),
          key("panic_threshold", &C::panic_threshold, ratio(),
              "healthy share of the weight below which `fail` applies; 0: never", "30%"),
          fail_key(),
          key("ecs", &C::ecs, maybe(ecs_mode()),
              "whose client subnets steer its answers: `all`, `listed` (dataplane.ecs_resolvers) "
              "or "
              "`ignore`; default: `dataplane.ecs`",
              "ignore"),
          slots_key(),
          versions_key(),
          groups_key(),
          required(key("endpoints", &C::endpoints,
                       list_of(object<EndpointConfig>(), 1, endpoints_max), "see below")),
      },
      check_service};
  static const Table table = with_keys(with_keys(own_keys, service_record_keys(), "endpoints"),
                                       service_steering_keys(), "slots");
  return &table;
}

}  // namespace pharos::config
