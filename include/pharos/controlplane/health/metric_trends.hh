// The metrics of a site over its beacons: smoothed, and how restless they are.
//
//   mean     += smoothing · (sample - mean)                    EWMA (Roberts 1959)
//   variance += (sample - mean before it)² / 16 - variance / 16
//
// The variance is of the surprise: what a sample differs from what was expected, as the deviation of TCP's timer (RFC 6298), in
// squares. A single step of d counts d / 4 at once, and half of that 22 beacons later; a metric that swings for ever
// counts its swing. Pure; owned by HealthBoard.
#pragma once

#include "pharos/base/clock.hh"
#include "pharos/wire/site_report.hh"

#include <array>
#include <cstddef>
#include <optional>
#include <string_view>

namespace pharos::controlplane {

struct MetricField {
  std::string_view name;
  std::optional<float> SiteMetrics::* value;
};
// Every metric, under the name that people see.
inline constexpr std::array metric_fields = {
    MetricField{"cpu_ratio", &SiteMetrics::cpu_ratio},
    MetricField{"cpu_pressure_ratio", &SiteMetrics::cpu_pressure_ratio},
    MetricField{"memory_ratio", &SiteMetrics::memory_ratio},
    MetricField{"memory_pressure_ratio", &SiteMetrics::memory_pressure_ratio},
    MetricField{"receive_bps", &SiteMetrics::receive_bps},
    MetricField{"transmit_bps", &SiteMetrics::transmit_bps},
    MetricField{"link_bps", &SiteMetrics::link_bps},
    MetricField{"requests_rps", &SiteMetrics::requests_rps},
    MetricField{"requests_in_flight", &SiteMetrics::requests_in_flight},
    MetricField{"error_ratio", &SiteMetrics::error_ratio},
    MetricField{"responder_rtt_us", &SiteMetrics::responder_rtt_us},
    MetricField{"request_latency_us", &SiteMetrics::request_latency_us},
};
inline constexpr std::size_t metric_count = metric_fields.size();
static_assert(sizeof(SiteMetrics) == metric_count * sizeof(std::optional<float>),
              "every metric of SiteMetrics has a name");

inline constexpr double variance_share = 1.0 / 16;

class MetricTrends {
 public:
  // A beacon said this, and moves the means. A metric that it does not carry keeps its mean for `life`, and is absent then.
  void hear(const SiteMetrics& sample, double smoothing, Duration life, Instant received,
            SiteMetrics& means) noexcept;

  // Standard deviation, in the metric's own unit; 0 where it is not known.
  [[nodiscard]] double deviation(std::optional<float> SiteMetrics::* metric) const noexcept;

 private:
  struct Trend {
    float variance = 0;
    Instant heard;
  };
  std::array<Trend, metric_count> trends_{};
};

// What the swings of a site's metrics are measured against; absent ones say nothing, for a swing of what has no limit
// does no harm.
struct MetricLimits {
  std::optional<double> requests_rps, in_flight;
};
// How restless a site is, in [0, 1]: the largest deviation of its metrics, each as a share of what it may be at most
// (shares of 1, throughput of the link, requests of their limits), or of itself and 50 ms (times).
[[nodiscard]] double restlessness(const SiteMetrics& means, const MetricTrends& trends,
                                  const MetricLimits& limits) noexcept;

// Restlessness in steps, so that what hangs on it changes seldom: a step is entered at its foot, and left a third of a
// step below it.
inline constexpr double restless_step = 0.15;
[[nodiscard]] unsigned restless_level(double restlessness, unsigned former) noexcept;

}  // namespace pharos::controlplane
