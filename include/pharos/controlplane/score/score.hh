// The score of an endpoint for a locale: a product of factors, each in [0, 1], each with an
// exponent.
//
//   score = proximity^a * health^b * headroom^c * condition^d * version^e * risk^f * confidence^g
//
// controlplane/score/README.md has every formula with its source and defaults. All but proximity
// are the same for every locale. Pure; any thread.
#pragma once

#include "pharos/config/model.hh"
#include "pharos/wire/site_report.hh"

#include <array>
#include <optional>
#include <string>
#include <utility>

namespace pharos::controlplane {

// Round trip at which proximity is one half.
inline constexpr double proximity_half_ms = 50.0;
// Believed where neither latency nor positions are known: every such site is equally far.
inline constexpr double rtt_unknown_ms = 100.0;
// Factors of a site that is alive never fall below this, so that bad ones still compare.
inline constexpr double factor_floor = 0.02;
inline constexpr double degraded_condition = 0.5;
inline constexpr double memory_free_of_charge = 0.7;  // memory use that costs nothing
inline constexpr double rtt_slack_us = 10'000;        // growth of a time that is noise
// What full restlessness takes of the risk factor.
inline constexpr double restless_risk = 0.5;

struct Factors {
  double proximity = 1;
  double health = 1;
  double headroom = 1;
  double condition = 1;
  double version = 1;
  double risk = 1;
  double confidence = 1;
};

// The exponent of each factor by the factor's name, as stored and as operators type it.
inline constexpr std::array<std::pair<const char*, double config::ScoreConfig::*>, 7>
    exponents_by_name = {{
        {"proximity", &config::ScoreConfig::proximity},
        {"health", &config::ScoreConfig::health},
        {"headroom", &config::ScoreConfig::headroom},
        {"condition", &config::ScoreConfig::condition},
        {"version", &config::ScoreConfig::version},
        {"risk", &config::ScoreConfig::risk},
        {"confidence", &config::ScoreConfig::confidence},
    }};

// What goes into health, kept apart for `explain`: health is the least of them.
struct HealthParts {
  double cpu = 1;
  double memory = 1;
  double cpu_pressure = 1;
  double memory_pressure = 1;
  double responder_rtt = 1;
  double request_latency = 1;
  [[nodiscard]] double least() const noexcept;
  // Its name; empty when nothing is known or all is well.
  [[nodiscard]] const char* tightest() const noexcept;
};

[[nodiscard]] double proximity_factor(double rtt_ms) noexcept;
// The bases are the least times seen, slowly forgetting; 0: none yet.
[[nodiscard]] HealthParts health_parts(const SiteMetrics& metrics, double rtt_base_us,
                                       double latency_base_us = 0) noexcept;
// Capacities and loads of the endpoint and of its site; absent ones say nothing.
struct Load {
  std::optional<double> site_capacity_rps, site_rps;
  std::optional<double> endpoint_capacity_rps, endpoint_rps;
  std::optional<double> link_bps, receive_bps, transmit_bps;
  std::optional<double> in_flight_max = {}, in_flight = {};
};
[[nodiscard]] double headroom_factor(const Load& load) noexcept;
// up: the endpoint may be answered; degraded: its site is overloaded; error_ratio: of its site.
[[nodiscard]] double condition_factor(bool up, bool degraded,
                                      std::optional<float> error_ratio) noexcept;
// restlessness: of the site's metrics, in [0, 1] (health/metric_trends.hh).
[[nodiscard]] double risk_factor(double flaps, double restlessness = 0) noexcept;

// Product of all but proximity.
[[nodiscard]] double locale_independent_score(const Factors& factors,
                                              const config::ScoreConfig& exponents) noexcept;
// The same without condition, risk and confidence: as if it were healthy.
[[nodiscard]] double score_as_if_healthy(const Factors& factors,
                                         const config::ScoreConfig& exponents) noexcept;
[[nodiscard]] double proximity_score(double rtt_ms, const config::ScoreConfig& exponents) noexcept;
[[nodiscard]] double score_of(const Factors& factors,
                              const config::ScoreConfig& exponents) noexcept;

// value^exponent, exact for the common exponents 0 and 1.
[[nodiscard]] double raised(double value, double exponent) noexcept;

}  // namespace pharos::controlplane
