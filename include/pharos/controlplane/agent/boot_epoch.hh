// The boot epoch: a number that grows with every start of the agent, whatever the clock does in between.
//
// It is the larger of the wall clock in milliseconds and the stored number plus one, and it is on disk before the first
// beacon carries it. The state directory stays locked while the agent runs: two agents in one would not grow strictly.
#pragma once

#include "pharos/base/clock.hh"
#include "pharos/base/error.hh"
#include "pharos/base/fd.hh"

#include <cstdint>
#include <string>

namespace pharos::agent {

class BootEpoch {
 public:
  // Makes the directory where it is missing. Errors: unavailable (cannot be written), conflict (another agent uses it),
  // invalid (the file holds something else; hint says what to do).
  [[nodiscard]] static Result<BootEpoch> begin(const std::string& state_directory, WallTime wall);

  [[nodiscard]] std::uint64_t value() const noexcept { return value_; }

 private:
  BootEpoch(UniqueFd lock, std::uint64_t value) : lock_(std::move(lock)), value_(value) {}
  UniqueFd lock_;
  std::uint64_t value_;
};

}  // namespace pharos::agent
