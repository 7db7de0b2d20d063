// Keys of `services` and their endpoints about SRV, SVCB and HTTPS. Private to include/pharos/config.
#include "pharos/config/keys.hh"
#include "pharos/config/service_records.hh"

#include <sodium.h>

#include <algorithm>
#include <array>

namespace pharos::config {

namespace {

constexpr unsigned prefixes_max = 64;
constexpr std::size_t value_bytes_max = 8192;  // of one parameter

// ---- prefixes of names ----

// One or two labels that begin with '_' (RFC 8552).
Type<std::string> underscored(std::string word, std::size_t labels_min,
                              const std::string& example) {
  return {Shape{.kind = Shape::Kind::text, .word = std::move(word), .pattern = "^_.*$"},
          [=](Reader& reader, const Node& node, std::string& to) {
            const auto* text = scalar_of(reader, node, "a prefix");
            if (text == nullptr) return false;
            const auto parsed = parse_domain_name(*text, false);
            const std::string name = parsed ? *parsed : std::string();
            const auto labels = static_cast<std::size_t>(std::ranges::count(name, '.'));
            const auto second = name.find('.') + 1;
            const bool good = labels >= labels_min && labels <= 2 && name.starts_with('_') &&
                              (labels == 1 || name[second] == '_');
            if (!good) {
              reader.mistake(node, "'" + text->substr(0, 64) + "' is no prefix of a service",
                             "write one such as " + example);
              return false;
            }
            to = name.substr(0, name.size() - 1);
            return true;
          },
          [](const std::string& value) { return value; }};
}

Key alias_names_key() {
  return key_into<ServiceConfig>(
      "alias_names", one_or_more(domain_name(false), prefixes_max),
      "names answered alike, whose HTTPS and SVCB records are aliases of the first of `names`: for "
      "the apex of a zone",
      "[example.com]",
      [](Reader& reader, const Node& node, ServiceConfig& to, std::vector<std::string> names) {
        for (const auto& name : names) {
          reader.declarations.push_back({Thing::service_name, {}, name, node.place});
        }
        to.alias_names = std::move(names);
      });
}

// ---- parameters ----

using Values = std::vector<std::string>;

// A value or a list, as texts; nothing where one is neither (reported).
std::optional<Values> texts_of(Reader& reader, const Node& node) {
  Values values;
  if (!one_or_more(text("value", value_bytes_max), 256).read(reader, node, values)) return {};
  return values;
}

std::optional<std::string> alpn_value(Reader& reader, const Node& node, const Values& protocols) {
  std::string wire;
  for (const auto& protocol : protocols) {
    if (protocol.empty() || protocol.size() > 255) {
      reader.mistake(node, "a protocol of 'alpn' has 1 to 255 bytes", "write [h2, h3]");
      return {};
    }
    wire += static_cast<char>(protocol.size());
    wire += protocol;
  }
  return wire;
}

std::optional<std::string> mandatory_value(Reader& reader, const Node& node, const Values& names) {
  std::vector<std::uint16_t> keys;
  for (const auto& name : names) {
    const auto key = dns::svc_param_of(name);
    if (!key) {
      reader.mistake(node, "'" + name.substr(0, 64) + "' is no parameter",
                     "write [alpn, port] or key65280");
      return {};
    }
    keys.push_back(*key);
  }
  std::ranges::sort(keys);
  std::string wire;
  for (const auto key : keys) wire += as_text(object_bytes(Be16(key)));
  return wire;
}

std::optional<std::string> base64_value(Reader& reader, const Node& node, const Values& text) {
  std::string bytes(value_bytes_max, '\0');
  std::size_t used = 0;
  const bool good =
      text.size() == 1 && sodium_base642bin(reinterpret_cast<unsigned char*>(bytes.data()),
                                            bytes.size(), text[0].data(), text[0].size(), nullptr,
                                            &used, nullptr, sodium_base64_VARIANT_ORIGINAL) == 0;
  if (!good || used == 0) {
    reader.mistake(node, "'ech' is no base64 text", "write the ECHConfigList in base64");
    return {};
  }
  bytes.resize(used);
  return bytes;
}

// `true` stands for a parameter without value.
std::optional<std::string> flag_value(Reader& reader, const Node& node, const std::string& name) {
  bool set = false;
  if (!boolean().read(reader, node, set)) return {};
  if (set) return std::string();
  reader.mistake(node, "'" + name + "' is there or it is not", "write true, or leave it out");
  return {};
}

std::optional<std::string> parameter_value(Reader& reader, const Member& member,
                                           std::uint16_t key) {
  const Node& node = *member.value;
  namespace p = dns::svc_param;
  if (key == p::port || key == p::ipv4hint || key == p::ipv6hint) {
    reader.mistakes.add(member.place, "'" + member.key + "' is made from the endpoint",
                        "set its port and addresses, and 'address_hints' of the service");
    return {};
  }
  if (key == p::no_default_alpn || key == p::ohttp) return flag_value(reader, node, member.key);
  const auto values = texts_of(reader, node);
  if (!values) return {};
  if (key == p::alpn) return alpn_value(reader, node, *values);
  if (key == p::mandatory) return mandatory_value(reader, node, *values);
  if (key == p::ech) return base64_value(reader, node, *values);
  if (values->size() == 1) return values->front();
  reader.mistake(node, "'" + member.key + "' takes one value");
  return {};
}

template <typename Object>
Key parameters_key(std::string description) {
  Key key;
  key.name = "parameters";
  key.description = std::move(description);
  key.example = "{alpn: [h2, h3], ech: AEX+DQBB}";
  key.shape = {.kind = Shape::Kind::map,
               .word = "parameter: value",
               .parts = {{.kind = Shape::Kind::either,
                          .word = "value",
                          .parts = {{.kind = Shape::Kind::text, .word = "value"},
                                    {.kind = Shape::Kind::number, .word = "value"},
                                    {.kind = Shape::Kind::boolean, .word = "value"},
                                    {.kind = Shape::Kind::list,
                                     .word = "list",
                                     .parts = {{.kind = Shape::Kind::text, .word = "value"}}}}}}};
  key.read = [](Reader& reader, const Node& node, void* to) {
    for_each_member(reader, node, "parameter: value", [&](const Member& member) {
      const auto number = dns::svc_param_of(member.key);
      if (!number) {
        reader.mistakes.add(member.place,
                            "'" + member.key.substr(0, 64) + "' is no parameter of SVCB and HTTPS",
                            "known are alpn, no-default-alpn, ech, mandatory, dohpath, ohttp, and "
                            "others as key65280");
        return;
      }
      if (auto value = parameter_value(reader, member, *number)) {
        static_cast<Object*>(to)->parameters[*number] = std::move(*value);
      }
    });
  };
  return key;
}

// ---- what holds inside of one service ----

void check_endpoint_records(Reader& reader, const Place& place, const ServiceConfig& service,
                            const EndpointConfig& endpoint) {
  const std::string who = "endpoint '" + endpoint.id + "' of service '" + service.id + "'";
  if (!service.srv.empty() && endpoint.port == 0) {
    reader.mistakes.add(place, who + " has no port, which SRV records need", "port: 443");
  }
  const auto target = target_of(service, endpoint);
  if (const auto name = parse_domain_name(target, false); !name) {
    reader.mistakes.add(place, who + " cannot have the name '" + target + "': " + name.error().what,
                        "give it another id, or a 'target'");
  } else if (endpoint.target.empty()) {
    reader.declarations.push_back({Thing::service_name, {}, *name, place});
  }
  if (service.https.empty() && service.svcb.empty()) return;
  const auto params = dns::svc_params_wire(svc_params_of(service, endpoint));
  if (const auto fault = dns::svc_params_fault(params); !fault.empty()) {
    reader.mistakes.add(place, who + ": " + fault, "see RFC 9460, 7 and 8");
  }
}

// A label stands in front of a wildcard in no DNS name, and a wildcard that owns SRV takes all prefixes alike (RFC 4592,
// 2.1.1 and 4.5): with wildcards as its only names, a service answers prefixed records nowhere.
void check_prefixes(Reader& reader, const Node& node, const ServiceConfig& service) {
  const auto nowhere = [&](const char* key, const std::string& what) {
    reader.mistakes.add(node.find(key)->place,
                        "'" + what + "' of service '" + service.id +
                            "' is answered nowhere: all of its names are wildcards, which have no "
                            "names with a prefix (RFC 4592, 2.1.1)",
                        "add a name that is no wildcard");
  };
  if (!std::ranges::all_of(service.names, [](const auto& n) { return n.starts_with("*."); }))
    return;
  if (!service.srv.empty() && service.alias_names.empty()) nowhere("srv", "srv");
  if (!service.svcb.empty()) nowhere("svcb", "svcb");
  for (const auto port : service.https) {
    if (port != 443) return nowhere("https", "https: " + std::to_string(port));
  }
}

}  // namespace

std::vector<Key> service_record_keys() {
  using C = ServiceConfig;
  return {
      key("srv", &C::srv,
          one_or_more(underscored("_service._proto", 2, "_https._tcp"), prefixes_max),
          "answers SRV (RFC 2782) at these prefixes of its names, wildcards excepted",
          "_https._tcp"),
      key("svcb", &C::svcb,
          one_or_more(underscored("_scheme or _port._scheme", 1, "_dns or _8443._foo"),
                      prefixes_max),
          "answers SVCB (RFC 9460) at these prefixes of its names, wildcards excepted", "[_dns]"),
      key("https", &C::https, one_or_more(as<std::uint16_t>(whole(1, 65535)), prefixes_max),
          "answers HTTPS (RFC 9460) for URLs with these ports: 443 at its names, others at "
          "`_<port>._https.` of them",
          "[443, 8443]"),
      alias_names_key(),
      key("target_domain", &C::target_domain, domain_name(false),
          "SRV, SVCB and HTTPS name the endpoints `<endpoint id>.<this>`, and we answer the "
          "addresses of those names; default: the first of `names` that is no wildcard",
          "hosts.example.com"),
      key("address_hints", &C::address_hints, boolean(),
          "SVCB and HTTPS carry the endpoints' addresses as hints", "false"),
      parameters_key<C>(
          "of SVCB and HTTPS: alpn, no-default-alpn, ech (base64), mandatory, dohpath, ohttp, "
          "key<number>; `port` and hints come from the endpoint"),
  };
}

std::vector<Key> endpoint_record_keys() {
  using C = EndpointConfig;
  return {
      key("target", &C::target, domain_name(false),
          "its name in SRV, SVCB and HTTPS records, whose addresses are then somebody else's to "
          "answer; default: a name that we make, see `target_domain`",
          "host1.example.com"),
      parameters_key<C>("of its SVCB and HTTPS records, in place of the service's"),
  };
}

void check_service_records(Reader& reader, const Node& node, const ServiceConfig& service) {
  const bool lists_parameters = !service.https.empty() || !service.svcb.empty();
  const auto without = [&](const char* name, const char* needed) {
    if (const Member* member = node.find(name); member != nullptr) {
      reader.mistakes.add(member->place,
                          "'" + std::string(name) + "' of service '" + service.id +
                              "' says nothing without " + needed,
                          "add one, or leave it out");
    }
  };
  if (!lists_parameters) without("parameters", "'https' or 'svcb'");
  if (!lists_parameters) without("address_hints", "'https' or 'svcb'");
  if (record_types_of(service).empty()) return without("target_domain", "'srv', 'svcb' or 'https'");
  if (target_domain_of(service).empty()) {
    reader.mistake(node,
                   "service '" + service.id +
                       "' has only wildcards as names: its endpoints need "
                       "names in SRV, SVCB and HTTPS records",
                   "target_domain: hosts.example.com");
    return;
  }
  if (lists_parameters && !service.alias_names.empty() && alias_records_of(service).empty()) {
    reader.mistakes.add(
        node.find("alias_names")->place,
        "service '" + service.id + "' has only wildcards as names: an alias needs one to lead to",
        "add a name that is no wildcard");
  }
  check_prefixes(reader, node, service);
  for (const auto& [name, type] : record_names_of(service)) {
    if (parse_domain_name(name, true)) continue;
    reader.mistake(node, "the name '" + name + "' of service '" + service.id +
                             "' is longer than 255 bytes on the wire");
  }
  for (const auto& endpoint : service.endpoints) {
    check_endpoint_records(reader, {node.place.file, endpoint.source.line}, service, endpoint);
  }
}

}  // namespace pharos::config
