#include "pharos/controlplane/score/distance.hh"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace pharos::controlplane {

double great_circle_km(Position a, Position b) noexcept {
  constexpr double radians = std::numbers::pi / 180;
  const double half_latitude = std::sin((b.latitude - a.latitude) * radians / 2);
  const double half_longitude = std::sin((b.longitude - a.longitude) * radians / 2);
  const double h = half_latitude * half_latitude + std::cos(a.latitude * radians) *
                                                       std::cos(b.latitude * radians) *
                                                       half_longitude * half_longitude;
  return 2 * earth_radius_km * std::asin(std::sqrt(std::clamp(h, 0.0, 1.0)));
}

double estimated_rtt_ms(Position a, Position b) noexcept {
  return rtt_access_ms + rtt_per_km_ms * great_circle_km(a, b);
}

}  // namespace pharos::controlplane
