#include "pharos/controlplane/health/rhythm.hh"

#include <algorithm>
#include <cstdlib>

namespace pharos::controlplane {

void Rhythm::expect(Duration interval) noexcept {
  reference_ = std::max(interval, milliseconds(1));
  mean_ = reference_;
  deviation_ = reference_ / 16;
}

void Rhythm::arrived(Instant at, Duration declared) noexcept {
  if (declared.ns > 0 && declared != reference_) {
    expect(declared);
    last_ = heard_ ? std::max(last_, at) : at;
    heard_ = true;
    return;
  }
  if (!heard_) {
    heard_ = true;
    last_ = at;
    return;
  }
  const Duration gap = at - last_;
  last_ = std::max(last_, at);
  // Bunched beacons (held up together, then delivered together) say nothing about the rhythm
  // either.
  if (gap < reference_ / 4) return;
  const std::int64_t spanned =
      std::max<std::int64_t>(1, (gap.ns + reference_.ns / 2) / reference_.ns);
  if (spanned > gap_intervals_max) return;
  const Duration sample = gap / spanned;
  const Duration error = sample - mean_;
  mean_ = mean_ + error / 8;
  deviation_ = deviation_ + (Duration{std::abs(error.ns)} - deviation_) / 4;
}

Duration Rhythm::margin() const noexcept {
  return std::clamp(deviation_ * margin_deviations, margin_min, margin_max);
}

Duration Rhythm::silence_of(double intervals) const noexcept {
  return Duration{static_cast<std::int64_t>(intervals * static_cast<double>(mean_.ns))} + margin();
}

}  // namespace pharos::controlplane
