// Time as the control plane passes it about: a value, never read inside the code that decides.
//
// Monotonic time drives rhythm and hysteresis; wall time only labels what people read and what a
// beacon's time window is checked against. The simulator hands in its own.
#pragma once

#include <time.h>

#include <compare>
#include <cstdint>

namespace pharos {

struct Duration {
  std::int64_t ns = 0;
  [[nodiscard]] constexpr double seconds() const noexcept { return static_cast<double>(ns) * 1e-9; }
  [[nodiscard]] constexpr std::int64_t ms() const noexcept { return ns / 1'000'000; }
  friend constexpr auto operator<=>(Duration, Duration) = default;
  friend constexpr Duration operator+(Duration a, Duration b) noexcept { return {a.ns + b.ns}; }
  friend constexpr Duration operator-(Duration a, Duration b) noexcept { return {a.ns - b.ns}; }
  friend constexpr Duration operator*(Duration a, std::int64_t b) noexcept { return {a.ns * b}; }
  friend constexpr Duration operator/(Duration a, std::int64_t b) noexcept { return {a.ns / b}; }
};
[[nodiscard]] constexpr Duration nanoseconds(std::int64_t n) noexcept {
  return {n};
}
[[nodiscard]] constexpr Duration microseconds(std::int64_t n) noexcept {
  return {n * 1'000};
}
[[nodiscard]] constexpr Duration milliseconds(std::int64_t n) noexcept {
  return {n * 1'000'000};
}
[[nodiscard]] constexpr Duration seconds(std::int64_t n) noexcept {
  return {n * 1'000'000'000};
}

// A point of CLOCK_MONOTONIC.
struct Instant {
  std::int64_t ns = 0;
  friend constexpr auto operator<=>(Instant, Instant) = default;
  friend constexpr Instant operator+(Instant a, Duration b) noexcept { return {a.ns + b.ns}; }
  friend constexpr Instant operator-(Instant a, Duration b) noexcept { return {a.ns - b.ns}; }
  friend constexpr Duration operator-(Instant a, Instant b) noexcept { return {a.ns - b.ns}; }
};

// Nanoseconds since 1970 of CLOCK_REALTIME.
struct WallTime {
  std::int64_t ns = 0;
  friend constexpr auto operator<=>(WallTime, WallTime) = default;
  friend constexpr Duration operator-(WallTime a, WallTime b) noexcept { return {a.ns - b.ns}; }
};

// Both clocks, read together at the edge of a loop and passed down.
struct Now {
  Instant monotonic;
  WallTime wall;
};

[[nodiscard]] inline Instant monotonic_now() noexcept {
  timespec t{};
  ::clock_gettime(CLOCK_MONOTONIC, &t);
  return {t.tv_sec * 1'000'000'000 + t.tv_nsec};
}
[[nodiscard]] inline WallTime wall_now() noexcept {
  timespec t{};
  ::clock_gettime(CLOCK_REALTIME, &t);
  return {t.tv_sec * 1'000'000'000 + t.tv_nsec};
}
[[nodiscard]] inline Now now() noexcept {
  return {monotonic_now(), wall_now()};
}

}  // namespace pharos
