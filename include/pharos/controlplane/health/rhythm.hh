// The rhythm of a site's beacons, measured: mean and mean deviation of the time between them.
//
// Estimators as in TCP's round-trip timer (Jacobson 1988; RFC 6298): mean += (sample - mean) / 8,
// deviation += (|sample - mean| - deviation) / 4. A gap that lost beacons left is divided by the
// number of intervals that it spans, so that loss does not look like a slower rhythm. Pure; owned
// by HealthBoard.
#pragma once

#include "pharos/base/clock.hh"

namespace pharos::controlplane {

// Silence is judged at (intervals * interval() + margin()). The margin lets the beacon that is due
// exactly then still arrive; its ceiling keeps "3 intervals + 100 ms, on the wire" with 50 ms to
// spare for publishing.
inline constexpr Duration margin_min = milliseconds(5);
inline constexpr Duration margin_max = milliseconds(50);
inline constexpr unsigned margin_deviations = 4;
// Gaps of more intervals than this are outages, which say nothing about the rhythm.
inline constexpr std::int64_t gap_intervals_max = 8;

class Rhythm {
 public:
  explicit Rhythm(Duration expected) noexcept { expect(expected); }

  // A beacon arrived that declares its interval (0: not declared). A new declaration starts the
  // measurement anew.
  void arrived(Instant at, Duration declared) noexcept;
  // Starts anew from an interval that is believed until it is measured.
  void expect(Duration interval) noexcept;

  [[nodiscard]] bool heard() const noexcept { return heard_; }
  [[nodiscard]] Instant last() const noexcept { return last_; }  // meaningful once heard()
  [[nodiscard]] Duration interval() const noexcept { return mean_; }
  [[nodiscard]] Duration deviation() const noexcept { return deviation_; }
  [[nodiscard]] Duration margin() const noexcept;
  // How long a silence of so many intervals is, margin included.
  [[nodiscard]] Duration silence_of(double intervals) const noexcept;

 private:
  Duration reference_;  // what one interval should be: as declared, or as configured
  Duration mean_;
  Duration deviation_;
  Instant last_;
  bool heard_ = false;
};

}  // namespace pharos::controlplane
