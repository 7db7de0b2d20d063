// The load of the site's services: requests a second, failures, requests in flight; as totals that a file or a command
// prints, or as statsd datagrams that services send. Called by the agent's one thread.
//
//   counter text    one number: all requests ever; or lines "requests N", "errors N", "in_flight N", "latency_ms N" (what all
//                   requests took, together), "requests.<service>.<endpoint> N"
//   statsd          "requests:1|c", "errors:1|c|@0.1", "in_flight:+1|g", "latency:12|ms", "requests.<service>.<endpoint>:1|c",
//                   several lines a datagram; other names and types are skipped and counted
#pragma once

#include "pharos/base/clock.hh"
#include "pharos/base/error.hh"
#include "pharos/controlplane/agent/host_metrics.hh"
#include "pharos/wire/site_report.hh"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace pharos::agent {

// What a counter file or a command says.
struct CounterText {
  std::optional<double> requests;
  std::optional<double> errors;
  std::optional<double> in_flight;
  std::optional<double> latency_ms;         // of all requests together
  std::map<std::string, double> endpoints;  // "<service>.<endpoint>" -> requests
};
// Errors: invalid, with the line.
[[nodiscard]] Result<CounterText> parse_counter_text(std::string_view text);

// One line of statsd.
struct StatsdSample {
  enum class Kind { counter, gauge_set, gauge_add, timer };
  std::string_view name;
  Kind kind;
  double value;       // of a counter: already divided by its sample rate
  double weight = 1;  // of a timer: so many were there for each that was sent
};
[[nodiscard]] std::optional<StatsdSample> parse_statsd_line(std::string_view line);

class RequestMeter {
 public:
  // `endpoints`: the "<service>.<endpoint>" names that may be counted; others are skipped.
  explicit RequestMeter(std::vector<std::string> endpoints);

  // One datagram of statsd; only names behind `prefix` count.
  void statsd(std::string_view datagram, std::string_view prefix);
  // What the file or the command said at `at`.
  void counters(const CounterText& text);

  // Fixes all rates as of `at`, and fills the metrics that are known.
  void sample(Instant at, SiteMetrics& metrics);
  // Requests a second of one endpoint, as of the last sample().
  [[nodiscard]] std::optional<float> endpoint_rate(const std::string& name) const;

  [[nodiscard]] std::uint64_t skipped_lines() const noexcept { return skipped_lines_; }

 private:
  struct Total {
    std::optional<double> value;
    RateWindow window;
    void sample(Instant at) {
      if (value) window.add(at, *value);
    }
  };
  [[nodiscard]] bool apply(const StatsdSample& sample);

  Total requests_, errors_;
  Total latency_ms_, timed_;  // of requests: what they took together, and how many that were
  std::optional<double> in_flight_;
  std::map<std::string, Total, std::less<>> endpoints_;
  std::uint64_t skipped_lines_ = 0;
};

}  // namespace pharos::agent
