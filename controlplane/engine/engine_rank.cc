#include "pharos/controlplane/engine/engine.hh"
#include "pharos/controlplane/rank/deal.hh"
#include "pharos/controlplane/rank/order.hh"

#include <algorithm>
#include <cmath>

// From dirty pools to changed cells.
//
// Of a pool, all that does not depend on the locale is laid out once: scores without proximity, digests, weights. A
// cell then costs one pass over its members, and equal cells of a pool are published as one. Nothing here asks how
// many pools are dirty, or why.

namespace pharos::controlplane {

void Engine::collect_dirty(Instant now, std::vector<std::uint32_t>& pools) {
  if (dirty_pools_.empty() && (score_dirty_pools_.empty() || now < next_score_round_)) return;
  for (const auto p : score_dirty_pools_) {
    pools_[p].score_dirty = false;
    mark_pool_dirty(p);
  }
  if (!score_dirty_pools_.empty()) next_score_round_ = now + score_round_interval;
  score_dirty_pools_.clear();
  // Pools that may be answered by a dirty one are dirty as well; each is appended once, so this
  // ends.
  for (std::size_t i = 0; i < dirty_pools_.size(); ++i) {
    for (const auto asking : world_->pools[dirty_pools_[i]].asked_by) mark_pool_dirty(asking);
  }
  pools.swap(dirty_pools_);
  std::ranges::sort(pools);
  for (const auto p : pools) pools_[p].dirty = false;
}

void Engine::refresh_membership(std::uint32_t pool) {
  const auto& fixed = world_->pools[pool];
  const auto& service = world_->service(fixed.service);
  auto& candidates = bench_.candidates;
  candidates.clear();
  for (const auto e : fixed.members) {
    auto& endpoint = endpoints_[e];
    candidates.push_back({endpoint.standing, endpoint.weight, world_->endpoint(e).priority});
    endpoint.ranked_base = endpoint.base;
  }
  auto& state = pools_[pool];
  Membership membership;
  if (is_nested(pool)) {
    state.nested = nest_membership(fixed.nest, candidates, service.fail);
    membership = state.nested.all;
  } else {
    membership = membership_of(candidates, service.policy, service.panic_threshold, service.fail);
  }
  state.members_changed = membership.members != state.membership.members;
  const bool lost = state.assigned != nullptr && state.members_changed &&
                    !std::ranges::includes(membership.members, state.membership.members);
  if (membership.panic) panicking_pools_.insert(pool);
  if (!membership.panic && state.membership.panic) panicking_pools_.erase(pool);
  state.membership = std::move(membership);
  shares_outdated_ = note_weights(pool) || lost || shares_outdated_;
  state.in_doubt = std::ranges::any_of(state.membership.members, [&](auto member) {
    return health_.site(fixed.sites[member]).state == SiteState::suspect;
  });
  state.tightness = 0;
  state.restless = 0;
  state.planned_ttl_s = ~0U;
  for (const auto member : state.membership.members) {
    const auto site = fixed.sites[member];
    state.tightness = std::max<unsigned>(state.tightness, tightness_[site]);
    // The first step halves TTLs once, the third twice.
    state.restless = std::max(state.restless, std::min((restless_levels_[site] + 1) / 2, 2U));
    state.planned_ttl_s = std::min(state.planned_ttl_s, planned_[site].ttl_s);
  }
  if (state.members_changed && state.cells.front().ranked) {
    hasten_assignment(assign_urgent_interval);
  } else if (state.assigned != nullptr) {
    hasten_assignment(assign_score_interval);
  }
}

config::Policy Engine::policy_of(std::uint32_t pool) const {
  return world_->service(world_->pools[pool].service).policy;
}

// Whether all of the pool is dealt by one policy, for all locales alike.
bool Engine::dealt_by_slot(std::uint32_t pool) const {
  return !is_nested(pool) && is_dealt(policy_of(pool));
}

// Weights are exact while all is well: only condition, risk and version preference bend them, not
// load or distance. Condition and risk bend in quarters, so that a fall that is slowly forgotten
// does not move a few clients with every beacon.
// Sticky clients are not moved for it, and those of multivalue do not stay where they begin.
double Engine::dealt_weight(std::uint32_t endpoint, config::Policy policy, bool panic) const {
  const auto& state = endpoints_[endpoint];
  if (policy == config::Policy::multivalue) return state.admitted;
  const double weight =
      state.weight * raised(state.factors.version, exponents_.version) * state.admitted;
  if (panic || policy == config::Policy::sticky) return weight;
  const double bend = raised(state.factors.condition, exponents_.condition) *
                      raised(state.factors.risk, exponents_.risk) *
                      raised(state.factors.confidence, exponents_.confidence);
  return weight * std::max(std::round(bend * 4) / 4, 0.25);
}

void Engine::refresh_slots(std::uint32_t pool) {
  auto& state = pools_[pool];
  if (!dealt_by_slot(pool)) return;
  const auto& fixed = world_->pools[pool];
  std::vector<Hand> hands, all;  // those of members, and of everybody
  for (const auto e : fixed.members) all.push_back({world_->endpoints[e].dealing_key, 0});
  std::vector<double> weights(fixed.members.size(), -1);  // -1: no member
  for (const auto member : state.membership.members) {
    const auto e = fixed.members[member];
    double weight = dealt_weight(e, policy_of(pool), state.membership.panic);
    if (state.assigned != nullptr) weight *= state.assigned->weight_factor(fixed.sites[member]);
    hands.push_back({world_->endpoints[e].dealing_key, weight});
    all[member].weight = weights[member] = weight;
  }
  if (weights == state.dealt_weights) return;
  state.dealt_weights = std::move(weights);
  if (policy_of(pool) == config::Policy::sticky) {
    state.slots = deal_sticky(world_->service(fixed.service).slots, hands);
  } else if (std::ranges::none_of(hands, [](const Hand& hand) { return hand.weight > 0; })) {
    state.slots = deal(world_->service(fixed.service).slots, hands);
  } else {
    if (state.base_owners.empty()) state.base_owners = base_owners_of(pool);
    auto owners = owners_near(state.base_owners, all);
    // From members of the pool to hands.
    for (auto& owner : owners) {
      owner = static_cast<std::uint16_t>(std::ranges::lower_bound(state.membership.members, owner) -
                                         state.membership.members.begin());
    }
    state.slots = deal(owners, hands);
  }
  for (auto& slot : state.slots) {
    for (auto& hand : slot) hand = state.membership.members[hand];
  }
}

// What the configuration says, whatever the operator and the world have made of it since.
double Engine::configured_weight(std::uint32_t endpoint, config::Policy policy) const {
  if (policy == config::Policy::multivalue) return 1;
  return world_->endpoint(endpoint).weight * raised(world_->endpoints[endpoint].version_preference,
                                                    world_->config->controlplane.score.version);
}

std::vector<std::uint16_t> Engine::base_owners_of(std::uint32_t pool) const {
  std::vector<Hand> hands;
  for (const auto e : world_->pools[pool].members)
    hands.push_back({world_->endpoints[e].dealing_key, configured_weight(e, policy_of(pool))});
  return owners_of(world_->service(world_->pools[pool].service).slots, hands);
}

std::uint32_t Engine::follow_redirects(std::uint32_t pool) const {
  std::uint32_t at = pool;
  for (unsigned hop = 0; hop < redirects_max; ++hop) {
    const auto next = world_->pools[at].fail_to;
    if (!pools_[at].membership.redirected || !next) {
      return pools_[at].membership.members.empty() ? pool : at;
    }
    at = *next;
  }
  return pool;  // a circle of failing pools: each answers as if it were healthy
}

void Engine::refresh_proximity() {
  const auto sites = static_cast<std::uint32_t>(world_->config->sites.size());
  proximity_.clear();
  for (std::uint32_t locale = 0; locale < world_->locales.size(); ++locale) {
    for (std::uint32_t site = 0; site < sites; ++site) {
      proximity_.push_back(proximity_score(world_->rtt(locale, site), exponents_));
    }
  }
}

// Of the answering pool's members all that no locale changes.
void Engine::lay_out_members(std::uint32_t pool) {
  const auto source = pools_[pool].answered_by;
  const auto& fixed = world_->pools[source];
  const bool nearest = !is_nested(source) && policy_of(source) == config::Policy::geo;
  bench_.base.resize(fixed.members.size());
  bench_.scores.resize(fixed.members.size());
  for (const auto member : pools_[source].membership.members) {
    const auto& endpoint = endpoints_[fixed.members[member]];
    bench_.base[member] = nearest                  ? 1
                          : panics(source, member) ? endpoint.base_as_if_healthy
                                                   : endpoint.base;
  }
  bench_.digests = fixed.digests;
  bench_.weights.clear();
  if (world_->pools[pool].pool.type != dns::Type::srv) return;
  bench_.weights = srv_weights(pool);
  for (std::size_t m = 0; m < bench_.weights.size(); ++m) {
    bench_.digests[m] += std::uint64_t{bench_.weights[m]} << 32;
  }
}

void Engine::order_cells(std::uint32_t pool, bool from_another) {
  auto& state = pools_[pool];
  const auto source = state.answered_by;
  const auto& members = pools_[source].membership.members;
  const auto& sites = world_->pools[source].sites;
  const auto site_count = world_->config->sites.size();
  if (const auto carried = std::exchange(state.carried_orders, {}); !carried.empty()) {
    state.order_length = carried.size() / world_->locales.size();
    state.orders = carried;
  }
  const bool keep =
      !from_another && !pools_[source].members_changed && state.order_length == members.size();
  const auto former_length = from_another ? 0 : state.order_length;
  if (!keep) {
    bench_.former_orders.swap(state.orders);
    state.orders.resize(world_->locales.size() * members.size());
    state.order_length = members.size();
  }
  std::span<std::uint16_t> orders(state.orders);
  const double* proximity = proximity_.data();
  for (std::size_t l = 0; l < world_->locales.size(); ++l, proximity += site_count) {
    for (const auto m : members) bench_.scores[m] = bench_.base[m] * proximity[sites[m]];
    const auto order = orders.subspan(l * members.size(), members.size());
    if (keep) {
      reorder(order, bench_.scores);
    } else {
      const auto former =
          std::span(bench_.former_orders)
              .subspan(std::min(l * former_length, bench_.former_orders.size()), former_length);
      steady_order_into(members, bench_.scores, former, order, bench_.marks);
    }
  }
}

// Of what a cell answers, the TTL aside. Targets are told apart by whose they are.
std::uint64_t Engine::digest_of(std::uint32_t pool, std::uint16_t locale) const {
  std::uint64_t digest = 0xcbf29ce484222325;
  const auto add = [&](std::uint64_t number) {
    digest = (digest ^ number) * 0x9fb21c651e98df25;
    digest ^= digest >> 29;
  };
  if (!world_->pools[pool].pool.holds_addresses()) {
    add(std::uint64_t{pools_[pool].answered_by} << 1 | (weighed_by_clients(pool) ? 1U : 0U));
  }
  const auto slots = order_count(pool, locale);
  for (std::size_t slot = 0; slot < slots; ++slot) {
    for (const auto member : answered_of(pool, order_of(pool, locale, slot)))
      add(bench_.digests[member]);
    add(slot);
  }
  return digest;
}

// Notes which cells are answered otherwise now; true where any is.
bool Engine::note_changes(std::uint32_t pool) {
  auto& cells = pools_[pool].cells;
  const bool alike = dealt_by_slot(pools_[pool].answered_by);
  bench_.changed.resize(cells.size());
  bool any = false;
  std::uint64_t digest = 0;
  const auto locale_count = static_cast<std::uint16_t>(cells.size());
  for (std::uint16_t l = 0; l < locale_count; ++l) {
    if (l == 0 || !alike) digest = digest_of(pool, l);
    const bool changed = std::exchange(cells[l].digest, digest) != digest;
    bench_.changed[l] = changed;
    any = any || changed;
  }
  return any;
}

std::uint32_t Engine::ttl_of(std::uint32_t pool, std::uint16_t locale,
                             std::uint32_t pool_ttl_s) const {
  const auto source = pools_[pool].answered_by;
  const auto& limits = world_->pools[source].ttl_max_s;
  if (limits.empty()) return pool_ttl_s;
  auto ttl_s = pool_ttl_s;
  const auto limit = [&](std::uint16_t member) { ttl_s = std::min(ttl_s, limits[member]); };
  if (dealt_by_slot(source)) {
    std::ranges::for_each(pools_[source].membership.members, limit);
  } else {
    for (std::size_t slot = 0; slot < order_count(pool, locale); ++slot)
      std::ranges::for_each(answered_of(pool, order_of(pool, locale, slot)), limit);
  }
  return ttl_s;
}

bool Engine::cells_alike(std::uint32_t pool, std::uint16_t a, std::uint16_t b) const {
  const auto slots = order_count(pool, a);
  if (slots != order_count(pool, b)) return false;
  for (std::size_t slot = 0; slot < slots; ++slot) {
    if (!std::ranges::equal(answered_of(pool, order_of(pool, a, slot)),
                            answered_of(pool, order_of(pool, b, slot)))) {
      return false;
    }
  }
  return true;
}

// The cells that are to be published, and which of them are alike.
void Engine::group_cells(std::uint32_t pool) {
  auto& state = pools_[pool];
  const auto& source = pools_[state.answered_by];
  const auto pool_ttl_s =
      std::min(state.volatility.ttl_s(state.in_doubt || source.in_doubt,
                                      std::max(state.tightness, source.tightness),
                                      std::max(state.restless, source.restless)),
               std::min(state.planned_ttl_s, source.planned_ttl_s));
  const bool by_slot = dealt_by_slot(state.answered_by);
  bench_.locales.clear();
  bench_.group_of_cell.clear();
  bench_.group_sizes.clear();
  bench_.first_locales.clear();
  bench_.alike.start(state.cells.size());
  const auto locale_count = static_cast<std::uint16_t>(state.cells.size());
  for (std::uint16_t l = 0; l < locale_count; ++l) {
    auto& cell = state.cells[l];
    const auto ttl_s = ttl_of(pool, l, pool_ttl_s);
    if (cell.ranked && bench_.changed[l] == 0 && cell.ttl_s == ttl_s) continue;
    cell.ttl_s = ttl_s;
    cell.ranked = true;
    const auto group = bench_.alike.number_of(cell.digest ^ ttl_s, [&](std::uint32_t other) {
      const auto first = bench_.first_locales[other];
      return state.cells[first].ttl_s == ttl_s && state.cells[first].digest == cell.digest &&
             (by_slot || cells_alike(pool, l, first));
    });
    if (group == bench_.group_sizes.size()) {
      bench_.group_sizes.push_back(0);
      bench_.first_locales.push_back(l);
    }
    ++bench_.group_sizes[group];
    bench_.locales.push_back(l);
    bench_.group_of_cell.push_back(group);
  }
}

void Engine::publish_answers(std::uint32_t pool, std::uint16_t locale, CellChange& change,
                             Round& round) {
  const bool addresses = world_->pools[pool].pool.holds_addresses();
  change.answers.first = static_cast<std::uint32_t>(round.answers.size());
  change.slots.first = static_cast<std::uint32_t>(round.slots.size());
  const auto slots = order_count(pool, locale);
  bench_.alike.start(slots);
  for (std::size_t slot = 0; slot < slots; ++slot) {
    const auto order = answered_of(pool, order_of(pool, locale, slot));
    if (order.empty()) break;  // nobody is a member: no slot is answered
    std::uint64_t hash = 0;
    for (const auto member : order) hash = hash * 0x9fb21c651e98df25 + member + 1;
    const auto answer = bench_.alike.number_of(hash ^ hash >> 31, [&](std::uint32_t other) {
      const auto range = round.answers[change.answers.first + other];
      return addresses ? std::ranges::equal(range.of(std::span<const std::uint16_t>(round.members)),
                                            order)
                       : std::ranges::equal(range.of(std::span<const RankedRecord>(round.records)),
                                            order, {}, &RankedRecord::target);
    });
    round.slots.push_back(static_cast<std::uint16_t>(answer));
    if (answer < round.answers.size() - change.answers.first) continue;
    const auto first = addresses ? round.members.size() : round.records.size();
    round.answers.push_back(
        {static_cast<std::uint32_t>(first), static_cast<std::uint32_t>(order.size())});
    if (addresses) {
      round.members.insert(round.members.end(), order.begin(), order.end());
    } else {
      append_records(pool, order, bench_.weights, round.records);
    }
  }
  change.answers.count = static_cast<std::uint32_t>(round.answers.size()) - change.answers.first;
  change.slots.count = static_cast<std::uint32_t>(round.slots.size()) - change.slots.first;
  work_.answers_made += change.answers.count;
}

void Engine::publish_cells(std::uint32_t pool, Round& round) {
  const auto first_locale = static_cast<std::uint32_t>(round.locales.size());
  const auto first_change = round.changes.size();
  round.locales.resize(first_locale + bench_.locales.size());
  std::uint32_t at = first_locale;
  const auto groups = static_cast<std::uint32_t>(bench_.group_sizes.size());
  for (std::uint32_t group = 0; group < groups; ++group) {
    CellChange change;
    change.pool = pool;
    change.answered_by = pools_[pool].answered_by;
    change.ttl_s = pools_[pool].cells[bench_.first_locales[group]].ttl_s;
    change.locales = {at, 0};
    at += bench_.group_sizes[group];
    publish_answers(pool, bench_.first_locales[group], change, round);
    round.changes.push_back(change);
  }
  for (std::size_t i = 0; i < bench_.locales.size(); ++i) {
    auto& range = round.changes[first_change + bench_.group_of_cell[i]].locales;
    round.locales[range.first + range.count++] = bench_.locales[i];
  }
}

void Engine::rank_pool(std::uint32_t pool, Instant now, Round& round) {
  auto& state = pools_[pool];
  const auto source = follow_redirects(pool);
  const bool from_another = std::exchange(state.answered_by, source) != source;
  lay_out_members(pool);
  if (dealt_by_slot(source) || is_nested(source)) {
    state.orders.clear();
    state.carried_orders.clear();
    state.order_length = 0;
  } else {
    order_cells(pool, from_another);
  }
  if (is_nested(source)) {
    if (from_another) state.nest_ranks.clear();
    nest_cells(pool);
  } else {
    spread_cells(pool);
  }
  const bool first = !state.cells.front().ranked;
  if (note_changes(pool) && !first) {
    state.volatility.changed(now);
    note_volatile(pool);
  }
  group_cells(pool);
  publish_cells(pool, round);
  ++work_.pools_ranked;
  work_.cells_ranked += state.cells.size();
  work_.cells_changed += bench_.locales.size();
}

}  // namespace pharos::controlplane
