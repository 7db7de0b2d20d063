// The rhythm of a site's beacons, measured: mean and deviation of the time between them, and how many get lost.
//
// Mean and mean deviation as in TCP's round-trip timer (Jacobson 1988; RFC 6298): mean += (sample - mean) / 16,
// deviation += (|sample - mean| - deviation) / 8. A sample is the time between two beacons by the intervals that their
// sequence numbers say lie between them, so that neither loss nor jitter bends the mean.
//
// Silence is judged by its improbability, as a phi accrual detector does (Hayashibara et al. 2004): where a share p of the beacons
// is lost, n silent intervals have probability p^n. With p at its floor of 1 %, three intervals mean phi = 6, one
// false alarm in a million intervals. Where more is lost, n grows until phi is the same: `loss_stretch()`; more is believed only
// when it is proven, two standard deviations above, for a site that loses just 1 % is to be missed within 3 intervals. The
// margin is the part of phi that jitter takes: the beacon that is due exactly then may still arrive.
// Pure; owned by HealthBoard.
#pragma once

#include "pharos/base/clock.hh"

#include <cstdint>

namespace pharos::controlplane {

// Silence is judged at (intervals * interval() + margin()). The ceiling keeps "3 intervals + 100 ms, on the wire" with 50 ms to
// spare for publishing. The floor is a share of the interval: who dies within the margin after a beacon is seen later than 3
// intervals after it, so 99 of 100 deaths allow for less than a hundredth. Where delays are exponential, a beacon is later than
// eight deviations 2 times in 10 thousand; behind two that were lost, that is a fiftieth of the alarms that loss itself gives.
inline constexpr Duration margin_min = milliseconds(1);
inline constexpr std::int64_t margin_min_share = 116;  // of the interval: one in so many
inline constexpr Duration margin_max = milliseconds(50);
inline constexpr unsigned margin_deviations = 8;
// Gaps of more intervals than this are outages, which say nothing about rhythm or loss.
inline constexpr std::uint64_t gap_intervals_max = 8;
// Loss is not believed to be less than this, and forgotten over so many beacons.
inline constexpr double loss_floor = 0.01;
inline constexpr double loss_memory_beacons = 512;
inline constexpr double loss_proof_deviations = 2;
inline constexpr double loss_stretch_max = 2.5;

class Rhythm {
 public:
  explicit Rhythm(Duration expected) noexcept { expect(expected); }

  // A beacon arrived that declares its interval (0: not declared), so many of its sender's intervals after the last one
  // (0: not known, then by the time between them). A new declaration starts the measurement anew.
  void arrived(Instant at, Duration declared, std::uint64_t steps = 0) noexcept;
  // Starts anew from an interval that is believed until it is measured.
  void expect(Duration interval) noexcept;

  [[nodiscard]] bool heard() const noexcept { return heard_; }
  [[nodiscard]] Instant last() const noexcept { return last_; }  // meaningful once heard()
  [[nodiscard]] Duration interval() const noexcept { return mean_; }
  [[nodiscard]] Duration deviation() const noexcept { return deviation_; }
  [[nodiscard]] Duration margin() const noexcept;
  [[nodiscard]] double loss() const noexcept;  // share of beacons, at least loss_floor
  // How many times more intervals of silence it takes for the same improbability as at loss_floor.
  [[nodiscard]] double loss_stretch() const noexcept { return stretch_; }
  // So many intervals, stretched by loss.
  [[nodiscard]] double improbable_intervals(double intervals) const noexcept;
  [[nodiscard]] Duration span_of(double intervals) const noexcept;
  // How long a silence of so many intervals is, margin included.
  [[nodiscard]] Duration silence_of(double intervals) const noexcept;

 private:
  void count(std::uint64_t steps) noexcept;
  [[nodiscard]] double proven_loss() const noexcept;

  Duration reference_;  // what one interval should be: as declared, or as configured
  Duration mean_;
  Duration deviation_;
  Instant last_;
  double lost_ = 0;  // of expected_, both slowly forgotten
  double expected_ = 0;
  double stretch_ = 1;
  bool heard_ = false;
};

}  // namespace pharos::controlplane
