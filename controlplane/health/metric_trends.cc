#include "pharos/controlplane/health/metric_trends.hh"

#include <algorithm>
#include <cmath>

namespace pharos::controlplane {
namespace {

// Differences of times that nobody notices.
constexpr double time_scale_us = 50'000;

}  // namespace

void MetricTrends::hear(const SiteMetrics& sample, double smoothing, Duration life,
                        Instant received, SiteMetrics& means) noexcept {
  for (std::size_t i = 0; i < metric_count; ++i) {
    auto& mean = means.*metric_fields[i].value;
    auto& trend = trends_[i];
    const auto& value = sample.*metric_fields[i].value;
    if (!value) {
      if (mean && received - trend.heard > life) {
        mean.reset();
        trend.variance = 0;
      }
      continue;
    }
    trend.heard = received;
    if (!mean || metric_fields[i].value == &SiteMetrics::link_bps) {
      mean = value;
      continue;
    }
    const double surprise = double{*value} - double{*mean};
    mean = static_cast<float>(double{*mean} + smoothing * surprise);
    const double variance = trend.variance;
    trend.variance =
        static_cast<float>(variance + variance_share * (surprise * surprise - variance));
  }
}

double MetricTrends::deviation(std::optional<float> SiteMetrics::* metric) const noexcept {
  for (std::size_t i = 0; i < metric_count; ++i) {
    if (metric_fields[i].value == metric)
      return std::sqrt(std::max(double{trends_[i].variance}, 0.0));
  }
  return 0;
}

double restlessness(const SiteMetrics& means, const MetricTrends& trends,
                    const MetricLimits& limits) noexcept {
  double most = 0;
  const auto against = [&](std::optional<float> SiteMetrics::* metric,
                           std::optional<double> limit) {
    if (limit && *limit > 0) most = std::max(most, trends.deviation(metric) / *limit);
  };
  const auto against_itself = [&](std::optional<float> SiteMetrics::* metric) {
    if (const auto& mean = means.*metric) against(metric, double{*mean} + time_scale_us);
  };
  for (const auto ratio :
       {&SiteMetrics::cpu_ratio, &SiteMetrics::cpu_pressure_ratio, &SiteMetrics::memory_ratio,
        &SiteMetrics::memory_pressure_ratio, &SiteMetrics::error_ratio}) {
    against(ratio, 1.0);
  }
  for (const auto throughput : {&SiteMetrics::receive_bps, &SiteMetrics::transmit_bps})
    against(throughput, means.link_bps);
  against(&SiteMetrics::requests_rps, limits.requests_rps);
  against(&SiteMetrics::requests_in_flight, limits.in_flight);
  against_itself(&SiteMetrics::responder_rtt_us);
  against_itself(&SiteMetrics::request_latency_us);
  return std::min(most, 1.0);
}

unsigned restless_level(double restlessness, unsigned former) noexcept {
  auto level = former;
  while (restlessness >= restless_step * (level + 1)) ++level;
  while (level > 0 && restlessness < restless_step * (level - 1.0 / 3)) --level;
  return level;
}

}  // namespace pharos::controlplane
