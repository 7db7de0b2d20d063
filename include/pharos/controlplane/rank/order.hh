// The order of a pool's members for one locale: by score, and steady. Pure. Scores are finite: of one that is not a
// number no order could be told.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace pharos::controlplane {

// An order stays while no member behind another beats it by more than this share of its score:
// small changes of load must not reorder answers all the time.
inline constexpr double order_margin = 0.10;

// `members` (ascending) in the order of their scores (`scores` is indexed by member), highest first,
// ties by index. Where `former` (the last order, of perhaps other members) is still within the margin,
// its order is kept; members new to it go in by score.
[[nodiscard]] std::vector<std::uint16_t> steady_order(std::span<const std::uint16_t> members,
                                                      std::span<const double> scores,
                                                      std::span<const std::uint16_t> former);

// The same into `order`, which has room for all members and does not overlap `former`; `marks` is room to
// work in, kept by the caller.
void steady_order_into(std::span<const std::uint16_t> members, std::span<const double> scores,
                       std::span<const std::uint16_t> former, std::span<std::uint16_t> order,
                       std::vector<std::uint8_t>& marks);

// The same where `order` is the last one, of the same members.
void reorder(std::span<std::uint16_t> order, std::span<const double> scores) noexcept;

}  // namespace pharos::controlplane
