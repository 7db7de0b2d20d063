// The TTL of a pool from how often its answers change. Pure; owned by the engine thread.
//
//   ttl = max(floor, ceiling / 2^level)
//
// Each change of the answers raises the level by one (at most once in `volatility_step`); each
// `calm` time without one lowers it. While a member's site is suspected or near its limit, the floor: a
// change is likely to come. Restless metrics of a member's site (health/metric_trends.hh) add levels.
#pragma once

#include "pharos/base/clock.hh"

#include <cstdint>
#include <limits>

namespace pharos::controlplane {

inline constexpr Duration volatility_step = seconds(1);
inline constexpr unsigned volatility_level_max = 16;

class Volatility {
 public:
  Volatility(Duration floor, Duration ceiling) noexcept;

  void changed(Instant now) noexcept;
  // Lets calm time count. True when the TTL became another.
  [[nodiscard]] bool tick(Instant now) noexcept;
  [[nodiscard]] Instant next_deadline() const noexcept;

  // `tightness`: 1 where a member's site is above its low watermark, one level more; 2: above the high one, the floor.
  // `restless`: levels more.
  [[nodiscard]] std::uint32_t ttl_s(bool in_doubt, unsigned tightness = 0,
                                    unsigned restless = 0) const noexcept;
  [[nodiscard]] unsigned level() const noexcept { return level_; }
  // Twice the ceiling: two full lives of the longest answer without a change.
  [[nodiscard]] Duration calm() const noexcept { return ceiling_ * 2; }

 private:
  Duration floor_, ceiling_;
  unsigned level_ = 0;
  Instant last_change_{std::numeric_limits<std::int64_t>::min() / 2};
  Instant calm_since_;
};

}  // namespace pharos::controlplane
