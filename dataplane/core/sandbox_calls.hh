// The allow-lists of the sandbox. Private to dataplane/core.
#pragma once

#include "pharos/dataplane/core/sandbox.hh"

#include <cstdint>
#include <optional>
#include <span>

namespace pharos::dataplane {

// The call is allowed where (argument & mask) == value; without a condition, always.
struct CallCondition {
  unsigned argument;
  std::uint64_t mask;
  std::uint64_t value;
};
struct AllowedCall {
  int number;
  std::optional<CallCondition> condition = std::nullopt;
};

// What a thread of this kind may call: the union of these lists.
[[nodiscard]] std::span<const std::span<const AllowedCall>> allowed_calls(ThreadKind kind) noexcept;
// Allowed beside, by what the ports need.
[[nodiscard]] std::span<const AllowedCall> xdp_calls() noexcept;
[[nodiscard]] std::span<const AllowedCall> pci_calls() noexcept;
[[nodiscard]] std::span<const AllowedCall> shared_memory_calls() noexcept;
// Whoever makes one of these is an intruder.
[[nodiscard]] std::span<const int> deadly_calls() noexcept;

}  // namespace pharos::dataplane
