// What is configured, with every name turned into an index: what the engine steers over.
//
// Made once per configuration by any thread, constant after that. Indices of sites, services and
// locales are those of the configuration and the locale table; pools are those of rank/pool.hh.
#pragma once

#include "pharos/config/model.hh"
#include "pharos/controlplane/image/record_targets.hh"
#include "pharos/controlplane/rank/nest.hh"
#include "pharos/controlplane/rank/pool.hh"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace pharos::controlplane {

struct WorldEndpoint {
  std::uint32_t service = 0;
  std::uint32_t index = 0;  // among the service's endpoints
  std::uint32_t site = 0;
  std::uint64_t report_id = 0;  // under which beacons speak of it
  std::uint64_t dealing_key = 0;
  double version_preference = 1;
  std::vector<std::uint32_t> pools;
};

struct WorldPool {
  Pool pool;
  std::uint32_t service = 0;
  std::vector<std::uint32_t> members;    // endpoints; at most 65535
  std::vector<std::uint32_t> sites;      // by member
  std::vector<std::uint64_t> digests;    // by member: of what it is answered with
  std::vector<std::uint32_t> ttl_max_s;  // by member; empty where none has a limit
  Nest nest;                             // of a service with groups; empty: it has none
  std::vector<std::uint16_t> node_of;    // by member, in `nest`
  // Of each member, those of the pool's family; all of them in pools of other records.
  std::vector<std::vector<IpAddress>> addresses;
  // Of SRV, SVCB and HTTPS: one for each member, in their order; else nothing.
  std::shared_ptr<const std::vector<RecordTarget>> targets;
  std::optional<std::uint32_t> fail_to;  // pool of the same type
  std::vector<std::uint32_t> asked_by;   // pools whose fail_to is this one

  // Records of an answer that a member takes.
  [[nodiscard]] std::size_t records_of(std::uint16_t member) const {
    return targets != nullptr ? 1 : addresses[member].size();
  }
};

// Indices of things that stand side by side: from `first` to before `end`.
struct IndexRange {
  std::uint32_t first = 0, end = 0;
};

struct World {
  std::shared_ptr<const config::Config> config;
  std::vector<std::string> locales;
  std::vector<double> rtt_ms;                 // [locale * sites + site]
  std::vector<bool> rtt_measured;             // the same; false: from the distance, or unknown
  std::vector<double> demand_weights;         // by locale
  std::vector<WorldEndpoint> endpoints;       // those of one service side by side
  std::vector<std::uint32_t> first_endpoint;  // by service
  std::vector<WorldPool> pools;  // in the order of their names: those of one service side by side
  std::vector<IndexRange> pools_of_service;
  std::vector<std::vector<std::uint32_t>> endpoints_of_site;

  [[nodiscard]] const config::ServiceConfig& service(std::uint32_t index) const {
    return config->services[index];
  }
  [[nodiscard]] const config::EndpointConfig& endpoint(std::uint32_t index) const {
    const auto& e = endpoints[index];
    return config->services[e.service].endpoints[e.index];
  }
  [[nodiscard]] const config::SiteConfig& site(std::uint32_t index) const {
    return config->sites[index];
  }
  [[nodiscard]] double rtt(std::uint32_t locale, std::uint32_t site) const {
    return rtt_ms[std::size_t{locale} * config->sites.size() + site];
  }
  [[nodiscard]] std::optional<std::uint32_t> find_endpoint(const std::string& service,
                                                           const std::string& endpoint) const;
  [[nodiscard]] std::vector<std::string> pool_names() const;
};

// Errors: not_found (a site or service that is named and not there), exhausted (a pool of more than
// 65535 endpoints, more pools than an image holds).
[[nodiscard]] Result<std::shared_ptr<const World>> make_world(
    std::shared_ptr<const config::Config> config, std::vector<std::string> locales);

}  // namespace pharos::controlplane
