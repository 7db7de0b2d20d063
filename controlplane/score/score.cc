#include "pharos/controlplane/score/score.hh"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

namespace pharos::controlplane {
namespace {

double floored(double factor) noexcept {
  return std::clamp(factor, factor_floor, 1.0);
}

// Time in a queue with two servers grows as 1 / (1 - utilization^2) (M/M/2; Kleinrock 1975, 3.5).
double speed_at(double utilization) noexcept {
  return floored(1.0 - utilization * utilization);
}

double share_left(std::optional<double> capacity, std::optional<double> load) noexcept {
  if (!capacity || !load) return 1.0;
  if (*capacity <= 0) return factor_floor;
  return floored(1.0 - *load / *capacity);
}

// Growth of a time over the least that was seen.
double time_part(std::optional<float> time_us, double base_us) noexcept {
  if (!time_us || base_us <= 0) return 1.0;
  return floored((base_us + rtt_slack_us) / (std::max<double>(*time_us, 0) + rtt_slack_us));
}

std::array<std::pair<const char*, double>, 6> parts_of(const HealthParts& parts) noexcept {
  return {{{"cpu", parts.cpu},
           {"memory", parts.memory},
           {"cpu pressure", parts.cpu_pressure},
           {"memory pressure", parts.memory_pressure},
           {"responder round trip", parts.responder_rtt},
           {"request latency", parts.request_latency}}};
}

}  // namespace

double HealthParts::least() const noexcept {
  double least = 1.0;
  for (const auto& [name, value] : parts_of(*this)) least = std::min(least, value);
  return least;
}

const char* HealthParts::tightest() const noexcept {
  const char* tightest = "";
  double least = 1.0;
  for (const auto& [name, value] : parts_of(*this)) {
    if (value >= least) continue;
    least = value;
    tightest = name;
  }
  return tightest;
}

double proximity_factor(double rtt_ms) noexcept {
  return proximity_half_ms / (proximity_half_ms + std::max(rtt_ms, 0.0));
}

HealthParts health_parts(const SiteMetrics& metrics, double rtt_base_us,
                         double latency_base_us) noexcept {
  HealthParts parts;
  if (metrics.cpu_ratio) parts.cpu = speed_at(*metrics.cpu_ratio);
  if (metrics.memory_ratio) {
    const double above = std::max(*metrics.memory_ratio - memory_free_of_charge, 0.0);
    parts.memory = floored(1.0 - above / (1.0 - memory_free_of_charge));
  }
  if (metrics.cpu_pressure_ratio) parts.cpu_pressure = floored(1.0 - *metrics.cpu_pressure_ratio);
  if (metrics.memory_pressure_ratio) {
    parts.memory_pressure = floored(1.0 - *metrics.memory_pressure_ratio);
  }
  parts.responder_rtt = time_part(metrics.responder_rtt_us, rtt_base_us);
  parts.request_latency = time_part(metrics.request_latency_us, latency_base_us);
  return parts;
}

double headroom_factor(const Load& load) noexcept {
  const auto link_load = load.receive_bps && load.transmit_bps
                             ? std::optional(std::max(*load.receive_bps, *load.transmit_bps))
                             : (load.receive_bps ? load.receive_bps : load.transmit_bps);
  return std::min({share_left(load.site_capacity_rps, load.site_rps),
                   share_left(load.endpoint_capacity_rps, load.endpoint_rps),
                   share_left(load.link_bps, link_load),
                   share_left(load.in_flight_max, load.in_flight)});
}

double condition_factor(bool up, bool degraded, std::optional<float> error_ratio) noexcept {
  if (!up) return 0.0;
  const double errors = std::clamp<double>(error_ratio.value_or(0), 0, 1);
  return floored((degraded ? degraded_condition : 1.0) * (1.0 - errors));
}

double risk_factor(double flaps, double restlessness) noexcept {
  return (1.0 - restless_risk * std::clamp(restlessness, 0.0, 1.0)) / (1.0 + std::max(flaps, 0.0));
}

double raised(double value, double exponent) noexcept {
  if (exponent == 1.0) return value;
  if (exponent == 0.0) return 1.0;
  return std::pow(value, exponent);
}

double locale_independent_score(const Factors& f, const config::ScoreConfig& e) noexcept {
  return score_as_if_healthy(f, e) * raised(f.condition, e.condition) * raised(f.risk, e.risk) *
         raised(f.confidence, e.confidence);
}

double score_as_if_healthy(const Factors& f, const config::ScoreConfig& e) noexcept {
  return raised(f.health, e.health) * raised(f.headroom, e.headroom) * raised(f.version, e.version);
}

double proximity_score(double rtt_ms, const config::ScoreConfig& e) noexcept {
  return raised(proximity_factor(rtt_ms), e.proximity);
}

double score_of(const Factors& f, const config::ScoreConfig& e) noexcept {
  return raised(f.proximity, e.proximity) * locale_independent_score(f, e);
}

}  // namespace pharos::controlplane
