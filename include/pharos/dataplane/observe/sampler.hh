// Sampler: which queries of a stream are looked at, one of `every`, by chance.
//
// Between two samples lie 0 to 2(every - 1) others, each number as likely as any: `every - 1` on average, so that no
// rhythm of the traffic can hide between samples or meet all of them. Costs a subtraction a burst. One thread.
#pragma once

#include <cstdint>

namespace pharos::dataplane {

class Sampler {
 public:
  // Samplers of one process have different seeds.
  explicit Sampler(std::uint64_t seed) noexcept : random_(seed * 0x9e37'79b9'7f4a'7c15U | 1U) {}

  // Calls `take(index)` for the samples among the next `count` queries. `every` is at least 1.
  template <typename Take>
  void pass(unsigned count, unsigned every, Take&& take) noexcept {
    if (every != every_) [[unlikely]] {
      every_ = every;
      gap_ = next_gap();
    }
    if (gap_ >= count) {
      gap_ -= count;
      return;
    }
    unsigned at = 0;
    do {
      at += static_cast<unsigned>(gap_);
      take(at++);
      gap_ = next_gap();
    } while (gap_ < count - at);
    gap_ -= count - at;
  }

 private:
  [[nodiscard]] std::uint64_t next_gap() noexcept {
    // xorshift64* (Vigna, 2016)
    random_ ^= random_ >> 12;
    random_ ^= random_ << 25;
    random_ ^= random_ >> 27;
    const std::uint64_t high = random_ * 0x2545'f491'4f6c'dd1dU >> 32;
    return high * (2 * (std::uint64_t{every_} - 1) + 1) >> 32;
  }

  std::uint64_t random_;
  std::uint64_t gap_ = 0;
  unsigned every_ = 0;
};

}  // namespace pharos::dataplane
