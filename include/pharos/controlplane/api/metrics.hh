// The metrics of both daemons, as Prometheus reads them (names: controlplane/api/README.md).
//
// Labels are bounded: of sites and services at most `metric_things_max` each have series of their own, all others count
// in the sums; nothing that a client sends becomes a label. Any thread; the engine is asked for numbers, in slices, and
// text is made of them here; the data plane's socket is asked at most once a second.
#pragma once

#include <prometheus/metric_family.h>

#include <nlohmann/json_fwd.hpp>

#include <cstddef>
#include <string>
#include <vector>

namespace pharos::controlplane {

class Daemon;

inline constexpr std::size_t metric_things_max = 1000;

// Of the data plane's `stats`: counters by the beginning of their names. Pure.
[[nodiscard]] std::vector<prometheus::MetricFamily> dataplane_metrics(const nlohmann::json& stats);

class Metrics {
 public:
  explicit Metrics(Daemon& daemon) : daemon_(daemon) {}
  [[nodiscard]] std::string text() const;

 private:
  Daemon& daemon_;
};

}  // namespace pharos::controlplane
