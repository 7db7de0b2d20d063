#include "pharos/controlplane/engine/engine.hh"

#include <algorithm>
#include <cmath>

// From the order of a cell to its addresses or records.

namespace pharos::controlplane {
namespace {

constexpr double weight_max = 0xffff;
// Weights that are no whole numbers, or too large, are brought to this: near enough, and readable.
constexpr double weight_scaled_max = 1000;

}  // namespace

bool Engine::weighed_by_clients(std::uint32_t pool) const {
  const auto& fixed = world_->pools[pool];
  const auto source = pools_[pool].answered_by;
  return fixed.pool.type == dns::Type::srv && !is_nested(source) &&
         policy_of(source) == config::Policy::weighted &&
         pools_[source].membership.members.size() <= world_->service(fixed.service).answers_max;
}

// The cell's orders where it is spread; null where one leads for all.
static const std::vector<std::vector<std::uint16_t>>* spread_at(const auto& state,
                                                                std::uint16_t locale) {
  if (locale >= state.spread_of.size() || state.spread_of[locale] == 0) return nullptr;
  return &state.spreads[state.spread_of[locale] - 1];
}

std::size_t Engine::order_count(std::uint32_t pool, std::uint16_t locale) const {
  const auto source = pools_[pool].answered_by;
  if (const auto* spread = spread_at(pools_[pool], locale)) return spread->size();
  return dealt_by_slot(source) && !weighed_by_clients(pool) ? pools_[source].slots.size() : 1;
}

std::span<const std::uint16_t> Engine::order_of(std::uint32_t pool, std::uint16_t locale,
                                                std::size_t slot) const {
  const auto& state = pools_[pool];
  const auto& source = pools_[state.answered_by];
  if (weighed_by_clients(pool)) return source.membership.members;
  if (dealt_by_slot(state.answered_by)) return source.slots[slot];
  if (const auto* spread = spread_at(state, locale)) return (*spread)[slot];
  return std::span(state.orders).subspan(locale * state.order_length, state.order_length);
}

std::span<const std::uint16_t> Engine::answered_of(std::uint32_t pool,
                                                   std::span<const std::uint16_t> order) const {
  const auto& source = world_->pools[pools_[pool].answered_by];
  std::size_t room = world_->service(world_->pools[pool].service).answers_max;
  std::size_t count = 0;
  for (; count < order.size() && room > 0; ++count) {
    room -= std::min(room, source.records_of(order[count]));
  }
  return order.first(count);
}

std::vector<IpAddress> Engine::addresses_of(std::uint32_t pool,
                                            std::span<const std::uint16_t> order) const {
  const std::size_t answers_max = world_->service(world_->pools[pool].service).answers_max;
  const auto& source = world_->pools[pools_[pool].answered_by];
  std::vector<IpAddress> addresses;
  for (const auto member : order) {
    for (const auto& address : source.addresses[member]) {
      if (addresses.size() == answers_max) return addresses;
      addresses.push_back(address);
    }
  }
  return addresses;
}

// Weights of the members that may be answered, by member: as they are where they are whole numbers that fit, else
// to scale; at least 1 for what has any.
std::vector<std::uint16_t> Engine::srv_weights(std::uint32_t pool) const {
  const auto source = pools_[pool].answered_by;
  const auto& members = world_->pools[source].members;
  const auto& membership = pools_[source].membership;
  std::vector<double> weights(members.size(), 0.0);
  double largest = 0;
  bool whole = true;
  for (const auto member : membership.members) {
    const auto e = members[member];
    weights[member] = dealt_by_slot(source) ? dealt_weight(e, policy_of(source), membership.panic)
                                            : endpoints_[e].weight;
    largest = std::max(largest, weights[member]);
    whole = whole && weights[member] == std::floor(weights[member]);
  }
  const double scale = whole && largest <= weight_max ? 1 : weight_scaled_max / largest;
  std::vector<std::uint16_t> result(members.size(), 0);
  for (const auto member : membership.members) {
    if (weights[member] <= 0) continue;
    result[member] = static_cast<std::uint16_t>(std::max(std::round(weights[member] * scale), 1.0));
  }
  return result;
}

// The order is the priority, unless clients weigh all alike.
void Engine::append_records(std::uint32_t pool, std::span<const std::uint16_t> answered,
                            std::span<const std::uint16_t> weights,
                            std::vector<RankedRecord>& records) const {
  const bool one_priority = weighed_by_clients(pool);
  std::uint16_t rank = 0;
  for (const auto member : answered) {
    ++rank;
    records.push_back({member, one_priority ? std::uint16_t{1} : rank,
                       weights.empty() ? std::uint16_t{0} : weights[member]});
  }
}

CellContent Engine::content(std::uint32_t pool, std::uint16_t locale) const {
  const auto& state = pools_[pool];
  const auto& fixed = world_->pools[pool];
  CellContent content;
  content.type = static_cast<std::uint16_t>(fixed.pool.type);
  content.ttl_s = state.cells[locale].ttl_s;
  if (fixed.pool.holds_addresses()) {
    for (std::size_t slot = 0; slot < order_count(pool, locale); ++slot) {
      content.slots.push_back(addresses_of(pool, order_of(pool, locale, slot)));
    }
  } else {
    const auto weights =
        fixed.pool.type == dns::Type::srv ? srv_weights(pool) : std::vector<std::uint16_t>();
    for (std::size_t slot = 0; slot < order_count(pool, locale); ++slot) {
      append_records(pool, answered_of(pool, order_of(pool, locale, slot)), weights,
                     content.records.emplace_back());
    }
    content.targets = world_->pools[state.answered_by].targets;
  }
  const auto is_empty = [](const auto& slot) { return slot.empty(); };
  if (std::ranges::all_of(content.slots, is_empty)) content.slots.clear();
  if (std::ranges::all_of(content.records, is_empty)) content.records.clear();
  return content;
}

}  // namespace pharos::controlplane
