#include "pharos/config/service_records.hh"

#include <algorithm>

namespace pharos::config {
namespace {

constexpr std::uint16_t https_port = 443;

bool is_wildcard(const std::string& name) noexcept {
  return name.starts_with("*.");
}

std::string below(const std::string& prefix, const std::string& name) {
  return name == "." ? prefix + "." : prefix + "." + name;
}

std::string https_name(std::uint16_t port, const std::string& name) {
  return port == https_port ? name : below("_" + std::to_string(port) + "._https", name);
}

void add_prefixed(const std::vector<std::string>& prefixes, const std::vector<std::string>& names,
                  dns::Type type, std::vector<AnsweredName>& to) {
  for (const auto& prefix : prefixes) {
    for (const auto& name : names) {
      if (!is_wildcard(name)) to.push_back({below(prefix, name), type});
    }
  }
}

std::string folded(std::string text) {
  std::ranges::transform(text, text.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
  });
  return text;
}

}  // namespace

std::vector<dns::Type> record_types_of(const ServiceConfig& service) {
  std::vector<dns::Type> types;
  if (!service.srv.empty()) types.push_back(dns::Type::srv);
  if (!service.svcb.empty()) types.push_back(dns::Type::svcb);
  if (!service.https.empty()) types.push_back(dns::Type::https);
  return types;
}

std::vector<AnsweredName> record_names_of(const ServiceConfig& service) {
  std::vector<AnsweredName> names;
  add_prefixed(service.srv, service.names, dns::Type::srv, names);
  add_prefixed(service.srv, service.alias_names, dns::Type::srv, names);
  add_prefixed(service.svcb, service.names, dns::Type::svcb, names);
  for (const auto port : service.https) {
    for (const auto& name : service.names) {
      if (is_wildcard(name) && port != https_port) continue;
      names.push_back({https_name(port, name), dns::Type::https});
    }
  }
  return names;
}

std::vector<AliasRecord> alias_records_of(const ServiceConfig& service) {
  std::vector<AliasRecord> records;
  const auto first = std::ranges::find_if_not(service.names, is_wildcard);
  if (first == service.names.end()) return records;
  for (const auto& name : service.alias_names) {
    for (const auto& prefix : service.svcb) {
      records.push_back({{below(prefix, name), dns::Type::svcb}, below(prefix, *first)});
    }
    for (const auto port : service.https) {
      records.push_back({{https_name(port, name), dns::Type::https}, https_name(port, *first)});
    }
  }
  return records;
}

std::string target_domain_of(const ServiceConfig& service) {
  if (!service.target_domain.empty()) return service.target_domain;
  const auto first = std::ranges::find_if_not(service.names, is_wildcard);
  return first == service.names.end() ? std::string() : *first;
}

std::string target_of(const ServiceConfig& service, const EndpointConfig& endpoint) {
  return endpoint.target.empty() ? below(folded(endpoint.id), target_domain_of(service))
                                 : endpoint.target;
}

std::uint32_t target_ttl_s(const ServiceConfig& service, const EndpointConfig& endpoint) noexcept {
  const Duration ttl = endpoint.ttl_max.value_or(service.ttl_ceiling);
  return static_cast<std::uint32_t>(ttl.ns / 1'000'000'000);
}

dns::SvcParams svc_params_of(const ServiceConfig& service, const EndpointConfig& endpoint) {
  dns::SvcParams params = endpoint.parameters;
  params.insert(service.parameters.begin(), service.parameters.end());
  if (endpoint.port != 0) {
    params[dns::svc_param::port] = as_text(object_bytes(Be16(endpoint.port)));
  }
  if (!service.address_hints) return params;
  for (const auto& address : endpoint.addresses) {
    const auto key = address.is_ipv4() ? dns::svc_param::ipv4hint : dns::svc_param::ipv6hint;
    params[key] += as_text(address.wire());
  }
  return params;
}

}  // namespace pharos::config
