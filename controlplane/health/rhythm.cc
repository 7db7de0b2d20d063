#include "pharos/controlplane/health/rhythm.hh"

#include <algorithm>
#include <cmath>
#include <cstdlib>

namespace pharos::controlplane {
namespace {

// A handful of beacons proves nothing: they are taken together with a hundred of which one was lost.
constexpr double prior_beacons = 100;

}  // namespace

void Rhythm::expect(Duration interval) noexcept {
  reference_ = std::max(interval, milliseconds(1));
  mean_ = reference_;
  deviation_ = reference_ / 32;
}

// At a loss of p, the n with p^n = loss_floor^intervals.
void Rhythm::count(std::uint64_t steps) noexcept {
  const auto spanned = static_cast<double>(steps);
  const double kept = std::exp2(-spanned / loss_memory_beacons);
  expected_ = expected_ * kept + spanned;
  lost_ = lost_ * kept + spanned - 1;
  const double p = proven_loss();
  stretch_ = p <= loss_floor ? 1 : std::min(std::log(loss_floor) / std::log(p), loss_stretch_max);
}

double Rhythm::loss() const noexcept {
  const double p = (lost_ + prior_beacons * loss_floor) / (expected_ + prior_beacons);
  return std::clamp(p, loss_floor, 0.9);
}

// What is lost at the least: the number of those that were lost scatters by its square root (Poisson).
double Rhythm::proven_loss() const noexcept {
  const double lost = lost_ + prior_beacons * loss_floor;
  const double least = lost - loss_proof_deviations * std::sqrt(lost);
  return std::clamp(least / (expected_ + prior_beacons), loss_floor, 0.9);
}

void Rhythm::arrived(Instant at, Duration declared, std::uint64_t steps) noexcept {
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
  // More steps than there was time for: a sender whose sequence is no count of its intervals.
  if (reference_ * static_cast<std::int64_t>(std::min(steps, gap_intervals_max)) >=
      gap * 2 + reference_)
    steps = 0;
  if (steps == 0) {
    // Bunched beacons (held up together, then delivered together) say nothing about the rhythm.
    if (gap < reference_ / 4) return;
    steps = static_cast<std::uint64_t>(
        std::max<std::int64_t>(1, (gap.ns + reference_.ns / 2) / reference_.ns));
  }
  if (steps > gap_intervals_max || gap > reference_ * static_cast<std::int64_t>(gap_intervals_max))
    return;
  count(steps);
  const Duration sample = gap / static_cast<std::int64_t>(steps);
  const Duration error = sample - mean_;
  mean_ = std::max(mean_ + error / 16, reference_ / 2);
  deviation_ = deviation_ + (Duration{std::abs(error.ns)} - deviation_) / 8;
}

Duration Rhythm::margin() const noexcept {
  const auto least = std::clamp(mean_ / margin_min_share, margin_min, margin_max);
  return std::clamp(deviation_ * margin_deviations, least, margin_max);
}

Duration Rhythm::span_of(double intervals) const noexcept {
  return Duration{static_cast<std::int64_t>(intervals * static_cast<double>(mean_.ns))};
}

Duration Rhythm::silence_of(double intervals) const noexcept {
  return span_of(intervals) + margin();
}

double Rhythm::improbable_intervals(double intervals) const noexcept {
  // Whole intervals, since nothing is expected between two; a little more loss than the floor is no reason yet.
  constexpr double tolerance = 0.1;
  if (stretch_ * intervals <= intervals + tolerance) return intervals;
  return std::ceil(intervals * stretch_ - tolerance);
}

}  // namespace pharos::controlplane
