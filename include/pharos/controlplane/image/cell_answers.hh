// What one or more cells of a pool answer, in flat form: each answer once, and which one each slot gives.
//
// Borrows everything. It is how the engine hands over hundreds of thousands of cells without an allocation
// for each; CellContent says the same of one cell, by value.
#pragma once

#include "pharos/base/ip_address.hh"
#include "pharos/controlplane/image/record_targets.hh"

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

namespace pharos::controlplane {

// Elements `first` to `first + count` of a list that goes with it.
struct Range {
  std::uint32_t first = 0;
  std::uint32_t count = 0;

  template <typename Element>
  [[nodiscard]] std::span<const Element> of(std::span<const Element> all) const noexcept {
    return all.subspan(first, count);
  }
};

struct CellAnswers {
  std::uint16_t type = 0;  // host order
  std::uint32_t ttl_s = 0;
  // Of A and AAAA ranges of `members`, of other types of `records`.
  std::span<const Range> answers = {};
  // The answer of each slot; a power of two up to 1024. None: no answer.
  std::span<const std::uint16_t> slots = {};

  std::span<const std::uint16_t> members = {};
  std::span<const std::vector<IpAddress>> addresses = {};               // by member
  std::size_t addresses_max = std::numeric_limits<std::size_t>::max();  // in an answer

  std::span<const RankedRecord> records = {};
  std::span<const RecordTarget> targets = {};

  [[nodiscard]] bool holds_addresses() const noexcept { return records.empty(); }
};

}  // namespace pharos::controlplane
