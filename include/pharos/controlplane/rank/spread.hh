// Who leads the answers of a cell in which slot, where not all clients of a locale are answered alike: its demand is
// shared out among sites, or an endpoint is taking its share back step by step. Pure.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace pharos::controlplane {

struct Lead {
  std::uint16_t member = 0;
  double share = 0;
  friend bool operator==(const Lead&, const Lead&) = default;
};

// The shares of the members of `order`, best first. `assigned` (by member; empty: all to the first of the order) is what
// each should get, `admitted` (by member, in [0, 1]) what part of that it may take now; what it may not goes to
// the next of the order that is admitted whole, or stays where there is none. `least` (by member; empty: 0) is what each
// gets in any case, at most half of an equal share; it is taken from those that have more. Adds up to 1; without
// members, empty.
[[nodiscard]] std::vector<Lead> leads_of(std::span<const std::uint16_t> order,
                                         std::span<const double> assigned,
                                         std::span<const double> admitted,
                                         std::span<const double> least = {});

// Whether the first of `order` leads for everybody: nothing to deal.
[[nodiscard]] bool is_undivided(std::span<const Lead> leads, std::span<const std::uint16_t> order,
                                unsigned slot_count) noexcept;

// For each slot the order of the members: its leader first, the others as in `order`. `keys` (by member) are dealing
// keys: the same slot falls to the same leader as long as the shares allow it.
[[nodiscard]] std::vector<std::vector<std::uint16_t>> spread(unsigned slot_count,
                                                             std::span<const Lead> leads,
                                                             std::span<const std::uint64_t> keys,
                                                             std::span<const std::uint16_t> order);

// Orders by slot that were made by other rules, bent where they must be; each slot keeps its order but for its leader.

// Of the slots that a member leads, it keeps the part that it may take now (`admitted`, by member); the others go to the
// next in their order that is admitted whole. Always the same ones go.
void hold_back(std::vector<std::vector<std::uint16_t>>& slots, std::span<const std::uint64_t> keys,
               std::span<const double> admitted);
// Members come to lead `shares` (by member; of members of the orders only), and as few slots change hands as that allows.
void bend_to(std::vector<std::vector<std::uint16_t>>& slots, std::span<const std::uint64_t> keys,
             std::span<const double> shares);

}  // namespace pharos::controlplane
