// What the services of a configuration put into the catalog: bindings of names to pools, and RRsets of their own.
#include "pharos/config/service_records.hh"
#include "pharos/controlplane/image/catalog_builder.hh"
#include "pharos/wire/name_text.hh"

#include <algorithm>
#include <unordered_map>
#include <utility>

namespace pharos::controlplane {
namespace {

// Addresses of one family at the endpoint's own name.
void add_addresses(const config::ServiceConfig& service, const config::EndpointConfig& endpoint,
                   dns::Type type, std::vector<MadeRrset>& made) {
  MadeRrset rrset{config::target_of(service, endpoint),
                  std::to_underlying(type),
                  config::target_ttl_s(service, endpoint),
                  {},
                  endpoint.source.text()};
  for (const auto& address : endpoint.addresses) {
    if (address.is_ipv4() != (type == dns::Type::a)) continue;
    const auto wire = address.wire();
    rrset.rdata.emplace_back(wire.begin(), wire.end());
  }
  if (!rrset.rdata.empty()) made.push_back(std::move(rrset));
}

// RFC 9460, 2.4.2: priority 0, the target, no parameters.
Status add_aliases(const config::ServiceConfig& service, std::vector<MadeRrset>& made) {
  const auto ttl_s = static_cast<std::uint32_t>(service.ttl_ceiling.ns / 1'000'000'000);
  for (const auto& [at, leads_to] : config::alias_records_of(service)) {
    const auto target = dns::parse_name(leads_to);
    if (!target) return std::unexpected(Error(target.error()).in(service.source.text()));
    std::vector<std::byte> rdata(2);
    rdata.insert(rdata.end(), target->view().begin(), target->view().end());
    made.push_back(
        {at.name, std::to_underlying(at.type), ttl_s, {std::move(rdata)}, service.source.text()});
  }
  return {};
}

}  // namespace

std::vector<PoolBinding> bindings_of(const config::Config& config, std::span<const Pool> pools) {
  std::unordered_map<std::string_view, const config::ServiceConfig*> services;
  for (const auto& service : config.services) services.emplace(service.id, &service);
  std::vector<PoolBinding> bindings;
  for (std::uint32_t i = 0; i < pools.size(); ++i) {
    const auto found = services.find(pools[i].service);
    if (found == services.end() || !pools[i].version.empty()) continue;
    const auto& service = *found->second;
    const auto bind = [&](const std::string& name) {
      bindings.push_back({name, std::to_underlying(pools[i].type), i, service.source.text(),
                          config::ecs_of(service, config.dataplane)});
    };
    if (pools[i].holds_addresses()) {
      std::ranges::for_each(service.names, bind);
      std::ranges::for_each(service.alias_names, bind);
      continue;
    }
    for (const auto& [name, type] : config::record_names_of(service)) {
      if (type == pools[i].type) bind(name);
    }
  }
  return bindings;
}

Result<std::vector<MadeRrset>> made_rrsets_of(const config::Config& config) {
  std::vector<MadeRrset> made;
  for (const auto& service : config.services) {
    if (auto added = add_aliases(service, made); !added) return std::unexpected(added.error());
    if (config::record_types_of(service).empty()) continue;
    for (const auto& endpoint : service.endpoints) {
      if (!endpoint.target.empty()) continue;
      add_addresses(service, endpoint, dns::Type::a, made);
      add_addresses(service, endpoint, dns::Type::aaaa, made);
    }
  }
  return made;
}

}  // namespace pharos::controlplane
