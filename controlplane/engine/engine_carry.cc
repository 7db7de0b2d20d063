#include "pharos/controlplane/engine/engine.hh"

#include <algorithm>
#include <map>

// What a new world takes over from the one before it: demand, shares, orders, how restless pools are. By name, since numbers are others.

namespace pharos::controlplane {

namespace {

constexpr std::uint16_t gone = 0xffff;  // no member of the pool: orders pass over it

// For each member of a pool before, its place among those of now, by the ids of endpoints.
std::vector<std::uint16_t> places_of_members(const World& former, const WorldPool& before,
                                             const World& world, const WorldPool& now) {
  std::map<std::string_view, std::uint16_t> places;
  for (const auto e : now.members)
    places.emplace(world.endpoint(e).id, static_cast<std::uint16_t>(places.size()));
  std::vector<std::uint16_t> result;
  for (const auto e : before.members) {
    const auto at = places.find(former.endpoint(e).id);
    result.push_back(at == places.end() ? gone : at->second);
  }
  return result;
}

// The order of each locale, which stands until somebody is beaten by a margin, in the numbers of now. A locale that is new
// has an order of nobody.
std::vector<std::uint16_t> carried_orders(std::span<const std::uint16_t> orders, std::size_t length,
                                          std::span<const std::uint16_t> places,
                                          std::span<const std::uint32_t> locale_from) {
  std::vector<std::uint16_t> result(locale_from.size() * length, gone);
  for (std::size_t l = 0; l < locale_from.size(); ++l) {
    if (locale_from[l] == DemandBoard::nothing) continue;
    const auto former = orders.subspan(locale_from[l] * length, length);
    std::ranges::transform(former, result.begin() + static_cast<std::ptrdiff_t>(l * length),
                           [&](std::uint16_t member) { return places[member]; });
  }
  return result;
}

// Where a group of a former nest and its children are in that of now: the node, and each child's place among its children.
struct NodePlace {
  std::uint16_t node = gone;
  std::vector<std::uint16_t> children;
};

// By node of the former nest, by the ids of groups. `members`: places_of_members().
std::vector<NodePlace> places_of_nodes(const World& former, const WorldPool& before,
                                       const World& world, const WorldPool& now,
                                       std::span<const std::uint16_t> members) {
  const auto& groups_then = former.service(before.service).groups;
  const auto& groups_now = world.service(now.service).groups;
  std::map<std::string_view, std::uint16_t> nodes;
  for (std::uint16_t n = 1; n < now.nest.size(); ++n)
    nodes.emplace(groups_now[now.nest[n].group].id, n);
  std::vector<NodePlace> places(before.nest.size());
  places.front().node = 0;
  for (std::size_t n = 1; n < before.nest.size(); ++n) {
    const auto at = nodes.find(groups_then[before.nest[n].group].id);
    if (at != nodes.end()) places[n].node = at->second;
  }
  for (std::size_t n = 0; n < before.nest.size(); ++n) {
    if (places[n].node == gone) continue;
    const auto& children = now.nest[places[n].node].children;
    for (const auto& child : before.nest[n].children) {
      const auto index = child.is_node ? places[child.index].node : members[child.index];
      const auto at = std::ranges::find(children, NestChild{child.is_node, index});
      places[n].children.push_back(
          at == children.end() ? gone : static_cast<std::uint16_t>(at - children.begin()));
    }
  }
  return places;
}

// The same as carried_orders() of what stands in groups.
std::vector<NestRanks> carried_ranks(std::span<const NestRanks> ranks, std::size_t node_count,
                                     std::span<const NodePlace> places,
                                     std::span<const std::uint32_t> locale_from) {
  std::vector<NestRanks> result(locale_from.size());
  for (std::size_t l = 0; l < locale_from.size(); ++l) {
    if (locale_from[l] == DemandBoard::nothing) continue;
    const auto& former = ranks[locale_from[l]];
    result[l].resize(node_count);
    for (std::size_t n = 0; n < former.size(); ++n) {
      if (places[n].node == gone) continue;
      for (const auto child : former[n])
        result[l][places[n].node].push_back(places[n].children[child]);
    }
  }
  return result;
}

}  // namespace

// Demand, requests, shares and orders of what was there before go on, by name: a change of configuration is no reason to forget who
// asks for what, or to send all of a locale to one site again.
void Engine::carry_over(const World& former, std::span<const PoolState> pools,
                        const DemandBoard& demand, std::span<const double> requests, Instant now) {
  constexpr auto nothing = DemandBoard::nothing;
  const auto places_in = [](const auto& names, const auto& of) {
    std::map<std::string, std::uint32_t> places;
    for (const auto& name : names)
      places.emplace(of(name), static_cast<std::uint32_t>(places.size()));
    return places;
  };
  const auto place = [](const auto& places, const std::string& name) {
    const auto at = places.find(name);
    return at == places.end() ? nothing : at->second;
  };
  const auto itself = [](const std::string& name) { return name; };
  const auto id = [](const auto& thing) { return thing.id; };
  const auto former_pools = places_in(former.pool_names(), itself);
  const auto former_locales = places_in(former.locales, itself);
  const auto former_services = places_in(former.config->services, id);
  const auto sites = places_in(world_->config->sites, id);

  std::vector<std::uint32_t> pool_from, locale_from, site_to;
  for (const auto& name : world_->pool_names()) pool_from.push_back(place(former_pools, name));
  for (const auto& name : world_->locales) locale_from.push_back(place(former_locales, name));
  for (const auto& site : former.config->sites) site_to.push_back(place(sites, site.id));
  demand_.take_over(demand, pool_from, locale_from);
  for (std::size_t s = 0; s < requests_.size(); ++s) {
    const auto at = place(former_services, world_->config->services[s].id);
    if (at != nothing) requests_[s] = requests[at];
  }
  carry_over_pools(former, pools, pool_from, locale_from);
  if (!assigning_) return;
  std::map<const GroupShares*, std::shared_ptr<const GroupShares>> made;
  for (std::uint32_t p = 0; p < pools_.size(); ++p) {
    if (pool_from[p] == nothing) continue;
    const auto& shares = pools[pool_from[p]].assigned;
    if (shares == nullptr || dealt_by_slot(p) == shares->wanted.empty() ||
        is_nested(p) == shares->homes.empty()) {
      continue;
    }
    auto& renewed = made[shares.get()];
    if (renewed == nullptr)
      renewed = std::make_shared<const GroupShares>(renumbered(*shares, site_to, locale_from));
    pools_[p].assigned = renewed;
  }
  if (demand_.known()) assign_due_ = now;
}

void Engine::carry_over_pools(const World& former, std::span<const PoolState> pools,
                              std::span<const std::uint32_t> pool_from,
                              std::span<const std::uint32_t> locale_from) {
  for (std::uint32_t p = 0; p < pools_.size(); ++p) {
    const auto from = pool_from[p];
    if (from == DemandBoard::nothing) continue;
    const auto& before = pools[from];
    const auto& service = world_->service(world_->pools[p].service);
    const auto& then = former.service(former.pools[from].service);
    if (service.ttl_floor == then.ttl_floor && service.ttl_ceiling == then.ttl_ceiling) {
      pools_[p].volatility = before.volatility;
      note_volatile(p);
    }
    if (before.answered_by != from) continue;
    const auto& fixed = world_->pools[p];
    const auto& fixed_then = former.pools[from];
    const auto members = places_of_members(former, fixed_then, *world_, fixed);
    if (!before.orders.empty()) {
      pools_[p].carried_orders =
          carried_orders(before.orders, before.order_length, members, locale_from);
    }
    if (before.nest_ranks.empty() || fixed_then.nest.empty() || fixed.nest.empty()) continue;
    const auto nodes = places_of_nodes(former, fixed_then, *world_, fixed, members);
    pools_[p].nest_ranks = carried_ranks(before.nest_ranks, fixed.nest.size(), nodes, locale_from);
  }
}

}  // namespace pharos::controlplane
