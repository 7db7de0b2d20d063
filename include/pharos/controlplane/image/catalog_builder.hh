// Builds catalog images (shared/catalog_image.hh) from zones and from the names of services.
//
// Pure: the same input gives the same bytes. Linear but for sorting; about a second a million
// names that no former catalog has.
#pragma once

#include "pharos/controlplane/image/catalog_parts.hh"
#include "pharos/controlplane/rank/pool.hh"
#include "pharos/controlplane/zone/zone_data.hh"
#include "pharos/shared/client_hash.hh"
#include "pharos/shared/ecs_mode.hh"
#include "pharos/shared/image.hh"
#include "pharos/wire/name.hh"

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace pharos::controlplane {

class NamePolicies;  // policy/name_policies.hh

// A name and type that is answered from the ranking.
struct PoolBinding {
  std::string name;  // presentation form, absolute; may start with "*."
  std::uint16_t type = 1;
  std::uint32_t pool = 0;                        // index into the pool list
  std::string where = {};                        // of the configuration: "file:line", for messages
  catalog::EcsMode ecs = catalog::EcsMode::all;  // whose client subnets steer its answers
};

// An RRset that the configuration makes: the addresses of an endpoint's own name, an alias.
struct MadeRrset {
  std::string name;  // as above
  std::uint16_t type = 1;
  std::uint32_t ttl_s = 0;
  std::vector<std::vector<std::byte>> rdata;
  std::string where = {};
};

// The keys that a catalog carries: of the name table, whose bucket an attacker must not foresee, and of
// the hash that deals clients to slots. The first may be any host's own, the second is a fleet's.
struct CatalogKeys {
  CatalogKeys(const dns::NameHashKey& name_key = {},  // NOLINT(google-explicit-constructor)
              const ranking::ClientHashKey& client_key = {}) noexcept
      : names(name_key), clients(client_key) {}
  dns::NameHashKey names;
  ranking::ClientHashKey clients;
};

// The bindings of all service names to the pools of the configuration that answer them.
[[nodiscard]] std::vector<PoolBinding> bindings_of(const config::Config& config,
                                                   std::span<const Pool> pools);

// What services need beside: addresses of endpoint names that SRV, SVCB and HTTPS records lead to,
// and records in AliasMode. Errors: invalid (a name).
[[nodiscard]] Result<std::vector<MadeRrset>> made_rrsets_of(const config::Config& config);

struct CatalogInput {
  std::span<const ZoneData* const> zones;
  std::span<const PoolBinding> bindings;
  std::span<const MadeRrset> made;
  std::uint32_t pool_count = 0;
  std::uint64_t pools_id = 0;
  CatalogKeys keys;
  const NamePolicies* policies = nullptr;
  Version version;
};

struct BuiltCatalog {
  ImageDraft image;  // written with the help of the former catalog
  CatalogParts parts;
  std::size_t zones_taken_over = 0;  // from the former catalog
};

// A catalog that was built before, with all that it was built from. None: null pointers.
struct FormerCatalog {
  const catalog::View* view = nullptr;
  const CatalogParts* parts = nullptr;
};

// Zones that are the same objects as in the former catalog, in the same surroundings, are copied from there; the
// image is the same as without one. Where that holds for all but a few, this takes the time of copying the image.
// The input as below, and errors.
[[nodiscard]] Result<BuiltCatalog> build_catalog(const CatalogInput& input,
                                                 const FormerCatalog& former);

// `zones` are finished and without errors; their order does not matter. Where one zone lies in
// another, the inner one answers from its apex down, except DS at the apex, which is the outer
// one's. `pool_count` and `pools_id` (the content_id) name the pool list that bindings index.
// Errors: conflict (two zones of one name; a binding or made RRset where the zone has data of that
// name and type, a CNAME, a DNAME or a delegation), not_found (one in no zone, or to no pool),
// invalid (its name), exhausted (an RRset above 32 KiB).
[[nodiscard]] Result<ImageBuffer> build_catalog(std::span<const ZoneData* const> zones,
                                                std::span<const PoolBinding> bindings,
                                                std::uint32_t pool_count, std::uint64_t pools_id,
                                                const CatalogKeys& keys, Version version,
                                                std::span<const MadeRrset> made = {},
                                                const NamePolicies* policies = nullptr);

}  // namespace pharos::controlplane
