// When a worker on an adaptive port may sleep, and for how long. Pure arithmetic on a time stamp counter.
//
//   queue empty for   0 .. spin        turn on, with a pause instruction
//                     spin .. ever     sleep; each sleep twice the last, from sleep_min to sleep_max
//
// The first frame ends it. So a loaded queue is polled, and a queue that has been empty for a while gets its next
// frame after sleep_max and a wake-up at the most.
//
// Spinning pays where the next frame comes within it; then it saves two system calls and a wake-up. So the spin follows
// the gaps between frames: twice as long after a gap that spin_max would have covered, half as long after a longer one,
// as hypervisors poll before they halt (Linux, virt/kvm/halt_polling). Where most gaps are longer, the worker sleeps at
// once. A gap that ended in a sleep is seen longer than it was, by the wake-up. Measured in dataplane/io/README.md.
#pragma once

#include <algorithm>
#include <cstdint>

namespace pharos::dataplane {

struct IdleLimits {
  std::uint64_t spin_min_cycles = 0;  // below it the spin is 0
  std::uint64_t spin_max_cycles = 0;  // equal to spin_min: always so long
  std::uint64_t wake_cycles = 0;      // what a wake-up takes
  std::uint32_t sleep_min_us = 5;
  std::uint32_t sleep_max_us = 50;
};

class IdleGovernor {
 public:
  explicit IdleGovernor(IdleLimits limits) noexcept
      : limits_(limits), spin_cycles_(limits.spin_max_cycles) {}

  // Microseconds to sleep after a turn from `began_cycles` to `ended_cycles`; 0: poll on.
  [[nodiscard]] std::uint32_t after_turn(bool received, std::uint64_t began_cycles,
                                         std::uint64_t ended_cycles) noexcept {
    if (received) {
      if (idle_) learn(began_cycles - idle_since_cycles_);
      idle_ = false;
      return 0;
    }
    if (!idle_) {
      idle_ = true;
      idle_since_cycles_ = began_cycles;
      next_sleep_us_ = limits_.sleep_min_us;
    }
    if (ended_cycles - idle_since_cycles_ < spin_cycles_) return 0;
    const auto sleep_us = next_sleep_us_;
    next_sleep_us_ = sleep_us * 2 < limits_.sleep_max_us ? sleep_us * 2 : limits_.sleep_max_us;
    return sleep_us;
  }

  [[nodiscard]] std::uint64_t spin_cycles() const noexcept { return spin_cycles_; }

 private:
  void learn(std::uint64_t gap_cycles) noexcept {
    if (limits_.spin_min_cycles == limits_.spin_max_cycles) return;
    if (gap_cycles <= limits_.spin_max_cycles + limits_.wake_cycles) {
      spin_cycles_ = std::clamp(spin_cycles_ * 2, limits_.spin_min_cycles, limits_.spin_max_cycles);
    } else {
      spin_cycles_ = spin_cycles_ / 2 < limits_.spin_min_cycles ? 0 : spin_cycles_ / 2;
    }
  }

  IdleLimits limits_;
  std::uint64_t spin_cycles_;
  bool idle_ = false;
  std::uint64_t idle_since_cycles_ = 0;
  std::uint32_t next_sleep_us_ = 0;
};

}  // namespace pharos::dataplane
