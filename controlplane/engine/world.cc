#include "pharos/controlplane/engine/world.hh"

#include "pharos/controlplane/rank/deal.hh"
#include "pharos/controlplane/score/distance.hh"
#include "pharos/controlplane/score/score.hh"
#include "pharos/shared/ranking_image.hh"
#include "pharos/wire/beacon.hh"

#include <algorithm>
#include <limits>
#include <map>
#include <span>

namespace pharos::controlplane {
namespace {

constexpr std::size_t members_max = 0xffff;

Family family_of(dns::Type type) noexcept {
  return type == dns::Type::aaaa ? Family::ipv6 : Family::ipv4;
}

Status add_endpoints(World& world, const std::map<std::string, std::uint32_t>& sites) {
  const auto& services = world.config->services;
  for (std::uint32_t s = 0; s < services.size(); ++s) {
    const auto& service = services[s];
    world.first_endpoint.push_back(static_cast<std::uint32_t>(world.endpoints.size()));
    for (std::uint32_t e = 0; e < service.endpoints.size(); ++e) {
      const auto& endpoint = service.endpoints[e];
      const auto site = sites.find(endpoint.site);
      if (site == sites.end()) {
        return fail(ErrorCode::not_found, "site '" + endpoint.site + "' is not configured",
                    endpoint.source.text());
      }
      const auto version = service.versions.find(endpoint.version);
      WorldEndpoint made;
      made.service = s;
      made.index = e;
      made.site = site->second;
      made.report_id = endpoint_hash(service.id, endpoint.id);
      made.dealing_key = dealing_key(service.id, endpoint.id);
      made.version_preference = version == service.versions.end() ? 1.0 : version->second;
      world.endpoints_of_site[made.site].push_back(
          static_cast<std::uint32_t>(world.endpoints.size()));
      world.endpoints.push_back(std::move(made));
    }
  }
  return {};
}

std::uint64_t digest_of(std::span<const IpAddress> addresses) noexcept {
  std::uint64_t digest = 0xcbf29ce484222325;
  for (const auto& address : addresses) {
    for (const auto byte : address.bytes) digest = (digest ^ byte) * 0x100000001b3;
  }
  return digest;
}

// TTLs of all members, if any has a limit.
void add_ttl_limits(const World& world, WorldPool& pool) {
  const auto limited = [&](auto e) { return world.endpoint(e).ttl_max.has_value(); };
  if (std::ranges::none_of(pool.members, limited)) return;
  for (const auto e : pool.members) {
    const auto& most = world.endpoint(e).ttl_max;
    pool.ttl_max_s.push_back(
        most ? static_cast<std::uint32_t>(std::max<std::int64_t>(most->ns / 1'000'000'000, 0))
             : std::numeric_limits<std::uint32_t>::max());
  }
}

void add_members(World& world, WorldPool& pool, std::uint32_t index) {
  const auto first = world.first_endpoint[pool.service];
  const auto count = static_cast<std::uint32_t>(world.service(pool.service).endpoints.size());
  for (std::uint32_t e = first; e < first + count; ++e) {
    std::vector<IpAddress> addresses;
    std::ranges::copy_if(
        world.endpoint(e).addresses, std::back_inserter(addresses), [&](const auto& a) {
          return !pool.pool.holds_addresses() || a.family() == family_of(pool.pool.type);
        });
    if (addresses.empty()) continue;
    pool.members.push_back(e);
    pool.sites.push_back(world.endpoints[e].site);
    // Records other than addresses name the endpoint.
    pool.digests.push_back(pool.pool.holds_addresses() ? digest_of(addresses) : e);
    pool.addresses.push_back(std::move(addresses));
    world.endpoints[e].pools.push_back(index);
  }
  add_ttl_limits(world, pool);
}

// Groups of the service, parents first: indices into service.groups. Those in a circle or in nothing are left out, which the
// loader has refused.
std::vector<std::uint32_t> groups_top_down(const config::ServiceConfig& service) {
  std::vector<std::uint32_t> order;
  std::vector<std::string> parents = {""};
  for (std::size_t next = 0; next < parents.size(); ++next) {
    for (std::uint32_t g = 0; g < service.groups.size(); ++g) {
      if (service.groups[g].in != parents[next] || std::ranges::find(order, g) != order.end())
        continue;
      order.push_back(g);
      parents.push_back(service.groups[g].id);
    }
  }
  return order;
}

// The service's groups that have members in the pool, and which node each member is a child of.
void add_nest(const World& world, WorldPool& pool) {
  const auto& service = world.service(pool.service);
  if (service.groups.empty()) return;
  const auto groups = groups_top_down(service);
  std::map<std::string, std::size_t> place = {{"", 0}};  // in `all`
  Nest all(groups.size() + 1);
  all[0].policy = service.policy;
  all[0].panic_threshold = service.panic_threshold;
  for (std::size_t i = 0; i < groups.size(); ++i) {
    const auto& group = service.groups[groups[i]];
    place.emplace(group.id, i + 1);
    auto& node = all[i + 1];
    node = {.policy = group.policy,
            .weight = group.weight,
            .priority = group.priority,
            .panic_threshold = group.panic_threshold.value_or(service.panic_threshold),
            .key = dealing_key(service.id, "/" + group.id),
            .group = groups[i],
            .children = {}};
  }
  for (std::uint16_t m = 0; m < static_cast<std::uint16_t>(pool.members.size()); ++m) {
    const auto at = place.find(world.endpoint(pool.members[m]).group);
    all[at == place.end() ? 0 : at->second].children.push_back({false, m});
  }
  // From the deepest up: who has nobody is left out.
  for (std::size_t i = groups.size(); i > 0; --i) {
    if (all[i].children.empty()) continue;
    all[place.at(service.groups[groups[i - 1]].in)].children.push_back(
        {true, static_cast<std::uint16_t>(i)});
  }
  std::vector<std::uint16_t> kept(all.size(), 0);
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (i > 0 && all[i].children.empty()) continue;
    kept[i] = static_cast<std::uint16_t>(pool.nest.size());
    pool.nest.push_back(std::move(all[i]));
  }
  for (auto& node : pool.nest) {
    for (auto& child : node.children) {
      if (child.is_node) child.index = kept[child.index];
    }
    std::ranges::sort(node.children, {},
                      [](const auto& child) { return std::pair(child.is_node, child.index); });
  }
  pool.node_of = nodes_of_members(pool.nest, pool.members.size());
}

Status add_pools(World& world) {
  std::map<std::string, std::uint32_t> services;
  for (std::uint32_t s = 0; s < world.config->services.size(); ++s) {
    services.emplace(world.config->services[s].id, s);
  }
  const auto pools = pools_of(*world.config);
  if (pools.size() > ranking::pools_max) {
    return fail(ErrorCode::exhausted, "more than " + std::to_string(ranking::pools_max) + " pools",
                world.config->file, "split the services over several responders");
  }
  world.pools_of_service.resize(world.config->services.size());
  for (std::uint32_t p = 0; p < pools.size(); ++p) {
    WorldPool made;
    made.pool = pools[p];
    made.service = services.at(pools[p].service);
    auto& range = world.pools_of_service[made.service];
    if (range.end == 0) range.first = p;
    range.end = p + 1;
    add_members(world, made, p);
    const auto& service = world.service(made.service);
    if (made.members.size() > members_max) {
      return fail(ErrorCode::exhausted,
                  "service '" + service.id + "' has more than 65535 endpoints",
                  service.source.text());
    }
    add_nest(world, made);
    if (!made.pool.holds_addresses()) {
      auto targets = record_targets_of(service, made.pool.type);
      if (!targets) return std::unexpected(std::move(targets).error());
      made.targets = std::make_shared<const std::vector<RecordTarget>>(std::move(*targets));
    }
    if (service.fail == config::FailMode::to) {
      if (!services.contains(service.fail_to)) {
        return fail(ErrorCode::not_found, "service '" + service.fail_to + "' is not configured",
                    service.source.text());
      }
      made.fail_to = find_pool(pools, service.fail_to, pools[p].type);
    }
    world.pools.push_back(std::move(made));
  }
  for (std::uint32_t p = 0; p < world.pools.size(); ++p) {
    if (world.pools[p].fail_to) world.pools[*world.pools[p].fail_to].asked_by.push_back(p);
  }
  return {};
}

void add_round_trips(World& world) {
  const auto& config = *world.config;
  std::map<std::string, const config::LocaleConfig*> locales;
  for (const auto& locale : config.locales) locales.emplace(locale.id, &locale);
  for (const auto& id : world.locales) {
    const auto found = locales.find(id);
    const auto* locale = found == locales.end() ? nullptr : found->second;
    world.demand_weights.push_back(locale == nullptr ? 1.0 : locale->demand_weight);
    for (const auto& site : config.sites) {
      double rtt_ms = rtt_unknown_ms;
      bool measured = false;
      if (locale != nullptr) {
        if (const auto at = locale->latency.find(site.id); at != locale->latency.end()) {
          rtt_ms = at->second.seconds() * 1e3;
          measured = true;
        } else if (locale->latitude && locale->longitude) {
          rtt_ms = estimated_rtt_ms({*locale->latitude, *locale->longitude},
                                    {site.latitude, site.longitude});
        }
      }
      world.rtt_ms.push_back(rtt_ms);
      world.rtt_measured.push_back(measured);
    }
  }
}

}  // namespace

std::optional<std::uint32_t> World::find_endpoint(const std::string& service_id,
                                                  const std::string& endpoint_id) const {
  for (std::uint32_t s = 0; s < config->services.size(); ++s) {
    if (service(s).id != service_id) continue;
    const auto& all = service(s).endpoints;
    for (std::uint32_t e = 0; e < all.size(); ++e) {
      if (all[e].id == endpoint_id) return first_endpoint[s] + e;
    }
  }
  return std::nullopt;
}

std::vector<std::string> World::pool_names() const {
  std::vector<std::string> names;
  names.reserve(pools.size());
  for (const auto& pool : pools) names.push_back(pool.pool.name());
  return names;
}

Result<std::shared_ptr<const World>> make_world(std::shared_ptr<const config::Config> config,
                                                std::vector<std::string> locales) {
  auto world = std::make_shared<World>();
  world->config = std::move(config);
  world->locales = std::move(locales);
  std::map<std::string, std::uint32_t> sites;
  for (std::uint32_t s = 0; s < world->config->sites.size(); ++s) {
    sites.emplace(world->config->sites[s].id, s);
  }
  world->endpoints_of_site.resize(world->config->sites.size());
  if (auto added = add_endpoints(*world, sites); !added) return std::unexpected(added.error());
  if (auto added = add_pools(*world); !added) return std::unexpected(added.error());
  add_round_trips(*world);
  return world;
}

}  // namespace pharos::controlplane
