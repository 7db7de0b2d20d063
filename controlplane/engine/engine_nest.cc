#include "pharos/controlplane/engine/engine.hh"
#include "pharos/controlplane/rank/spread.hh"

#include <algorithm>
#include <cmath>
#include <map>

// Pools with groups: policies within policies (rank/nest.hh), and what limits and returns make of them.

namespace pharos::controlplane {
namespace {

using Slots = std::vector<std::vector<std::uint16_t>>;

// Assignments are made in integers: less than this is no difference.
constexpr double share_noise = 1e-4;

// As many slots, each as it was: a client's slot is its hash modulo their number, both being powers of two.
Slots repeated(const Slots& slots, std::size_t count) {
  Slots result;
  for (std::size_t i = 0; i < std::max(count, slots.size()); ++i)
    result.push_back(slots[i % slots.size()]);
  return result;
}

std::vector<double> shares_led(const Slots& slots, std::size_t member_count) {
  std::vector<double> shares(member_count, 0.0);
  for (const auto& order : slots) {
    if (!order.empty()) shares[order.front()] += 1.0 / static_cast<double>(slots.size());
  }
  return shares;
}

bool lifts(std::span<const double> shares, std::span<const double> least) {
  for (std::size_t m = 0; m < least.size(); ++m) {
    if (shares[m] < least[m]) return true;
  }
  return false;
}

}  // namespace

config::Policy Engine::policy_of_member(std::uint32_t pool, std::uint16_t member) const {
  const auto& fixed = world_->pools[pool];
  return is_nested(pool) ? fixed.nest[fixed.node_of[member]].policy : policy_of(pool);
}

// Whether a member is to be answered as if it were healthy: its group is below its threshold.
bool Engine::panics(std::uint32_t pool, std::uint16_t member) const {
  const auto& state = pools_[pool];
  return is_nested(pool) ? bool{state.nested.panic[world_->pools[pool].node_of[member]]}
                         : state.membership.panic;
}

// By member, as groups deal them. Who comes back is held back by the assignment, or slot by slot (hold_back), instead.
std::vector<double> Engine::nest_weights(std::uint32_t pool) const {
  const auto& members = world_->pools[pool].members;
  std::vector<double> weights;
  for (std::uint16_t m = 0; m < static_cast<std::uint16_t>(members.size()); ++m) {
    const auto e = members[m];
    weights.push_back(dealt_weight(e, policy_of_member(pool, m), panics(pool, m)) /
                      endpoints_[e].admitted);
  }
  return weights;
}

// What an assignment gave each site, split among its members as they lead now; nothing where that is how they lead. Policies that
// would lead otherwise by now wait for the next assignment, which knows of it: what it gave keeps limits, what they ask for may not.
std::vector<double> Engine::nested_shares(std::uint32_t source, std::uint16_t locale,
                                          std::span<const double> leads) const {
  const auto& state = pools_[source];
  const auto& fixed = world_->pools[source];
  if (state.assigned == nullptr || !state.assigned->knows(locale)) return {};
  std::map<std::uint32_t, std::pair<double, double>> at_site;  // led, members
  for (const auto member : state.membership.members) {
    at_site[fixed.sites[member]].first += leads[member];
    at_site[fixed.sites[member]].second += 1;
  }
  double given = 0;
  bool moved = false;
  for (const auto& [site, led] : at_site) {
    const double share = state.assigned->share(locale, site);
    given += share;
    moved = moved || std::abs(share - led.first) > share_noise;
  }
  if (!moved) return {};
  // What sites had that are gone goes where policies send it.
  const double rest = std::max(1 - given, 0.0);
  std::vector<double> shares(fixed.members.size(), 0.0);
  for (const auto member : state.membership.members) {
    const auto site = fixed.sites[member];
    const auto [led, count] = at_site.at(site);
    const double part = led > 0 ? leads[member] / led : 1 / count;
    shares[member] = state.assigned->share(locale, site) * part + rest * leads[member];
  }
  return shares;
}

// Limits first, then what probes need, then who may not take all of his clients yet, where the assignment did not see to it.
Slots Engine::bent(std::uint32_t source, std::uint16_t locale, std::span<const std::uint64_t> keys,
                   const Slots& slots) const {
  const auto& fixed = world_->pools[source];
  const auto& members = pools_[source].membership.members;
  const auto count = std::max(world_->service(fixed.service).slots, spread_slots_min);
  const auto leads = shares_led(slots, fixed.members.size());
  auto shares = nested_shares(source, locale, leads);
  const auto& assigned = pools_[source].assigned;
  const bool known = assigned != nullptr && assigned->knows(locale);
  const auto least = known ? std::vector<double>() : least_shares(source, count);
  std::vector<double> admitted(fixed.members.size(), 1.0);
  for (const auto member : members) {
    admitted[member] = endpoints_[fixed.members[member]].admitted;
    // The assignment has held it back already, and asked for room for the rest.
    if (known)
      admitted[member] =
          std::min(admitted[member] / assigned->admitted_part(fixed.sites[member]), 1.0);
  }
  const bool held = std::ranges::any_of(admitted, [](double part) { return part < 1; });
  const bool lifted = lifts(shares.empty() ? std::span(leads) : std::span(shares), least);
  if (members.empty() || (shares.empty() && !lifted && !held)) return slots;
  auto result = repeated(slots, count);
  if (!shares.empty() || lifted) {
    if (shares.empty()) shares = leads;
    const std::vector<double> all(fixed.members.size(), 1.0);
    std::vector<double> wanted(fixed.members.size(), 0.0);
    for (const auto& lead : leads_of(members, shares, all, least)) wanted[lead.member] = lead.share;
    bend_to(result, keys, wanted);
  }
  if (held) hold_back(result, keys, admitted);
  return result;
}

void Engine::nest_cells(std::uint32_t pool) {
  auto& state = pools_[pool];
  const auto source = state.answered_by;
  auto& origin = pools_[source];
  const auto& fixed = world_->pools[source];
  const auto slots = world_->service(fixed.service).slots;
  const auto site_count = world_->config->sites.size();
  std::vector<std::uint64_t> keys;
  for (const auto e : fixed.members) keys.push_back(world_->endpoints[e].dealing_key);
  if (origin.nest_owners.empty()) {
    std::vector<double> configured;
    for (std::uint16_t m = 0; m < static_cast<std::uint16_t>(fixed.members.size()); ++m)
      configured.push_back(configured_weight(fixed.members[m], policy_of_member(source, m)));
    origin.nest_owners = nest_owners(fixed.nest, keys, configured, slots);
  }
  const auto weights = nest_weights(source);
  std::vector<double> nearness(fixed.members.size(), 0.0);
  std::map<NestRanks, Slots> arranged;
  std::map<Slots, std::uint32_t> known;  // place in spreads, plus 1
  state.spreads.clear();
  state.spread_of.assign(state.cells.size(), 0);
  state.nest_ranks.resize(state.cells.size());
  if (source == pool) state.homes.resize(state.cells.size());
  bool homes_moved = false;
  bench_.scores.assign(fixed.members.size(), 0.0);
  for (std::uint16_t l = 0; l < static_cast<std::uint16_t>(state.cells.size()); ++l) {
    const auto proximity = std::span(proximity_).subspan(l * site_count, site_count);
    for (const auto m : origin.membership.members) {
      nearness[m] = proximity[fixed.sites[m]];
      bench_.scores[m] = bench_.base[m] * nearness[m];
    }
    auto& ranks = state.nest_ranks[l];
    ranks = rank_nest(fixed.nest, origin.nested, bench_.scores, nearness, weights, ranks);
    auto at = arranged.find(ranks);
    if (at == arranged.end()) {
      at = arranged
               .emplace(ranks, arrange_nest(fixed.nest, origin.nested, ranks, origin.nest_owners,
                                            keys, weights, slots))
               .first;
    }
    if (source == pool) {
      auto homes = shares_led(at->second, fixed.members.size());
      homes_moved = homes_moved || homes != state.homes[l];
      state.homes[l] = std::move(homes);
    }
    auto orders = bent(source, l, keys, at->second);
    const auto [place, fresh] =
        known.emplace(std::move(orders), static_cast<std::uint32_t>(state.spreads.size() + 1));
    if (fresh) state.spreads.push_back(place->first);
    state.spread_of[l] = place->second;
  }
  // Policies send clients elsewhere: what is assigned is out of date.
  if (homes_moved && state.assigned != nullptr) hasten_assignment(assign_urgent_interval);
}

std::vector<GroupView> Engine::view_groups(std::uint32_t pool) const {
  const auto& fixed = world_->pools[pool];
  const auto& state = pools_[pool];
  const auto& groups = world_->service(fixed.service).groups;
  std::vector<GroupView> views(fixed.nest.size());
  for (std::size_t n = fixed.nest.size(); n-- > 1;) {
    const auto& node = fixed.nest[n];
    const auto& group = groups[node.group];
    auto& view = views[n];
    view.id = group.id;
    view.in = group.in;
    view.policy = node.policy;
    view.weight = node.weight;
    view.priority = node.priority;
    for (const auto& child : node.children) {
      const auto* below = child.is_node ? &views[child.index] : nullptr;
      const bool well =
          below == nullptr && endpoints_[fixed.members[child.index]].standing == Standing::healthy;
      view.total += below != nullptr ? below->total : 1;
      view.healthy += below != nullptr ? below->healthy : (well ? 1 : 0);
    }
    if (n >= state.nested.parts.size()) continue;
    view.takes_part = !state.nested.parts[n].empty();
    view.panic = state.nested.panic[n];
  }
  if (!views.empty()) views.erase(views.begin());
  return views;
}

}  // namespace pharos::controlplane
