// Every random choice of a simulated history, from one seed. The same numbers on every machine and library:
// splitmix64 (Steele, Lea and Flood 2014), and none of the distributions of <random>, whose results are the library's own.
#pragma once

#include "pharos/base/clock.hh"

#include <cmath>
#include <cstdint>

namespace pharos::sim {

class Random {
 public:
  explicit Random(std::uint64_t seed) noexcept : state_(seed) {}

  [[nodiscard]] std::uint64_t next() noexcept {
    std::uint64_t x = state_ += 0x9e3779b97f4a7c15;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
  }
  // In [0, bound); 0 for bound 0.
  [[nodiscard]] std::uint64_t below(std::uint64_t bound) noexcept {
    return static_cast<std::uint64_t>((static_cast<unsigned __int128>(next()) * bound) >> 64);
  }
  [[nodiscard]] std::uint64_t from_to(std::uint64_t first, std::uint64_t last) noexcept {
    return first + below(last - first + 1);
  }
  [[nodiscard]] double unit() noexcept { return static_cast<double>(next() >> 11) * 0x1p-53; }
  [[nodiscard]] bool chance(double probability) noexcept { return unit() < probability; }
  [[nodiscard]] double between(double low, double high) noexcept {
    return low + (high - low) * unit();
  }
  [[nodiscard]] Duration between(Duration low, Duration high) noexcept {
    return low + Duration{static_cast<std::int64_t>(
                     below(static_cast<std::uint64_t>((high - low).ns) + 1))};
  }
  [[nodiscard]] Duration exponential(Duration mean) noexcept {
    return Duration{
        static_cast<std::int64_t>(-std::log(1.0 - unit()) * static_cast<double>(mean.ns))};
  }
  // A stream of its own: what one part draws does not change what the others get.
  [[nodiscard]] Random fork() noexcept { return Random(next()); }

 private:
  std::uint64_t state_;
};

}  // namespace pharos::sim
