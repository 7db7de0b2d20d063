// Where nothing was measured: round-trip time from the great-circle distance. Pure.
#pragma once

namespace pharos::controlplane {

struct Position {
  double latitude = 0;  // degrees
  double longitude = 0;
};

inline constexpr double earth_radius_km = 6371.0;

// Fitted to the median round trips between 21 cloud regions (420 pairs; cloudping.co, April 2024):
// 4 ms for both access networks, and the median of (rtt - 4 ms) / distance, which is 1.66 times the
// speed of light in fibre.
inline constexpr double rtt_access_ms = 4.0;
inline constexpr double rtt_per_km_ms = 0.0166;

// Haversine formula.
[[nodiscard]] double great_circle_km(Position a, Position b) noexcept;

// rtt = 4 ms + 0.0166 ms/km * distance
[[nodiscard]] double estimated_rtt_ms(Position a, Position b) noexcept;

}  // namespace pharos::controlplane
