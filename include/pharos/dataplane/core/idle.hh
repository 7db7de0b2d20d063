// When a worker on an adaptive port may sleep, and for how long. Pure arithmetic on a time stamp counter.
//
//   queue empty for   0 .. spin        turn on, with a pause instruction
//                     spin .. ever     sleep; each sleep twice the last, from sleep_min to sleep_max
//
// The first frame ends it. So a loaded queue is polled, and a queue that has been empty for a while gets its next
// frame after sleep_max and a wake-up at the most; the measurement stands in dataplane/README.md.
#pragma once

#include <cstdint>

namespace pharos::dataplane {

struct IdleLimits {
  std::uint64_t spin_cycles = 0;
  std::uint32_t sleep_min_us = 5;
  std::uint32_t sleep_max_us = 50;
};

class IdleGovernor {
 public:
  explicit IdleGovernor(IdleLimits limits) noexcept : limits_(limits) {}

  // Microseconds to sleep after a turn that ended at `now_cycles`; 0: poll on.
  [[nodiscard]] std::uint32_t after_turn(bool received, std::uint64_t now_cycles) noexcept {
    if (received) {
      idle_ = false;
      return 0;
    }
    if (!idle_) {
      idle_ = true;
      idle_since_cycles_ = now_cycles;
      next_sleep_us_ = limits_.sleep_min_us;
    }
    if (now_cycles - idle_since_cycles_ < limits_.spin_cycles) return 0;
    const auto sleep_us = next_sleep_us_;
    next_sleep_us_ = sleep_us * 2 < limits_.sleep_max_us ? sleep_us * 2 : limits_.sleep_max_us;
    return sleep_us;
  }

 private:
  IdleLimits limits_;
  bool idle_ = false;
  std::uint64_t idle_since_cycles_ = 0;
  std::uint32_t next_sleep_us_ = 0;
};

}  // namespace pharos::dataplane
