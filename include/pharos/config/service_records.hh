// What a service answers beside A and AAAA: which names and types, and how its endpoints are named in them.
//
// SRV, SVCB and HTTPS records say the same ranking with more in it: each endpoint has a target name with addresses
// of its own, a port, a rank (priority), a weight, parameters, and through its name's address records a TTL. Pure
// functions of a configuration; any thread.
#pragma once

#include "pharos/config/model.hh"
#include "pharos/wire/dns.hh"

namespace pharos::config {

struct AnsweredName {
  std::string name;  // absolute
  dns::Type type;
};

// Types of the ranking beside A and AAAA that the service answers: SRV, SVCB, HTTPS, in this order.
[[nodiscard]] std::vector<dns::Type> record_types_of(const ServiceConfig& service);

// Names at which those are answered from the ranking: `_https._tcp.www.example.org.` SRV; `_dns.www.example.org.`
// SVCB; `www.example.org.` or `_8443._https.www.example.org.` HTTPS. A prefix cannot stand before a wildcard, so that
// wildcards only have HTTPS of port 443.
[[nodiscard]] std::vector<AnsweredName> record_names_of(const ServiceConfig& service);

// Names with a record in AliasMode (RFC 9460, 2.4.2), which leads to the name in `leads_to`.
struct AliasRecord {
  AnsweredName at;
  std::string leads_to;
};
[[nodiscard]] std::vector<AliasRecord> alias_records_of(const ServiceConfig& service);

// The domain below which endpoints have their names; empty where none is said and all names are wildcards.
[[nodiscard]] std::string target_domain_of(const ServiceConfig& service);

// The name of an endpoint in SRV, SVCB and HTTPS: as configured, else its id below the target domain.
[[nodiscard]] std::string target_of(const ServiceConfig& service, const EndpointConfig& endpoint);

// How long the addresses of that name may be kept: what the endpoint allows, else the service's ceiling.
[[nodiscard]] std::uint32_t target_ttl_s(const ServiceConfig& service,
                                         const EndpointConfig& endpoint) noexcept;

// SvcParams of an endpoint's SVCB and HTTPS records: the service's, its own, its port and address hints.
[[nodiscard]] dns::SvcParams svc_params_of(const ServiceConfig& service,
                                           const EndpointConfig& endpoint);

}  // namespace pharos::config
