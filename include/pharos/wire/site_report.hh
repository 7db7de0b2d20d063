// What a beacon says, decoded: the load of a site and the state of its endpoints. Plain values; the wire
// form and its proof are in beacon.hh.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace pharos {

// Ratios are in [0, 1]. A metric that the agent cannot measure is absent, never zero.
struct SiteMetrics {
  std::optional<float> cpu_ratio;              // busy share of all cores
  std::optional<float> cpu_pressure_ratio;     // PSI some avg10
  std::optional<float> memory_ratio;           // 1 - MemAvailable / MemTotal
  std::optional<float> memory_pressure_ratio;  // PSI some avg10
  std::optional<float> receive_bps;            // bits per second
  std::optional<float> transmit_bps;
  std::optional<float> link_bps;      // capacity of the link
  std::optional<float> requests_rps;  // requests per second, all services
  std::optional<float> requests_in_flight;
  std::optional<float> error_ratio;       // failed requests of all
  std::optional<float> responder_rtt_us;  // round trip to the responder that this beacon goes to
  std::optional<float> request_latency_us = {};  // mean time that a request takes
};

inline constexpr std::uint16_t notices_ds_max = 65535;
inline constexpr unsigned copies_max = 3;

struct EndpointReport {
  std::uint64_t endpoint = 0;  // endpoint_hash(service id, endpoint id)
  bool up = true;
  std::optional<float> requests_rps;
  // A look from outside, at an endpoint of any site: one vote of a quorum, and not the word of the endpoint's own agent.
  bool probe = false;
  std::optional<float> probe_us = {};  // how long that look took; then there is no rate
  // From a fault to this word of it at worst, by the check's interval, jitter, timeout and fall: tenths of a second,
  // rounded up. 0: unknown; notices_ds_max: that, or longer.
  std::uint16_t notices_ds = 0;
};

struct SiteReport {
  SiteMetrics metrics;
  std::uint32_t interval_ms = 0;  // at which the agent sends
  bool leaving = false;           // an orderly stop: no need to wait for silence
  unsigned copies = 1;            // how often each beacon is sent, 1 to copies_max
  std::vector<EndpointReport> endpoints;
};

}  // namespace pharos
