// Any text as what the agent reads from programs and people at its site: statsd, counters, overrides, /proc, host:port.
#include "pharos/base/assert.hh"
#include "pharos/controlplane/agent/agent_config.hh"
#include "pharos/controlplane/agent/host_metrics.hh"
#include "pharos/controlplane/agent/request_meter.hh"
#include "pharos/controlplane/agent/rtt_probe.hh"

#include <cmath>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace pharos;
  const std::string text(reinterpret_cast<const char*>(data), size);
  agent::RequestMeter meter({"www.a"});
  SiteMetrics metrics;
  const auto counters = agent::parse_counter_text(text);
  meter.statsd(text, "");
  meter.sample(Instant{0}, metrics);
  if (counters) meter.counters(*counters);
  meter.statsd(text, "");
  meter.sample(Instant{1'000'000'000}, metrics);
  REQUIRE(!metrics.error_ratio || (*metrics.error_ratio >= 0 && *metrics.error_ratio <= 1));
  REQUIRE(!metrics.requests_rps || *metrics.requests_rps >= 0);
  REQUIRE(!metrics.requests_in_flight || *metrics.requests_in_flight >= 0);

  if (const auto overrides = agent::parse_overrides(text))
    agent::apply_overrides(*overrides, metrics);
  REQUIRE(!metrics.cpu_ratio || (*metrics.cpu_ratio >= 0 && *metrics.cpu_ratio <= 1));

  if (const auto times = agent::parse_stat(text)) (void)times->busy;
  for (const auto ratio : {agent::parse_meminfo(text), agent::parse_pressure(text)}) {
    REQUIRE(!ratio || (*ratio >= 0 && *ratio <= 1));
  }
  (void)agent::parse_net_dev(text);
  if (const auto where = agent::parse_host_port(text))
    REQUIRE(where->port != 0 && !where->host.empty());
  if (const auto query = agent::make_probe_query(text)) REQUIRE(query->size() <= 12 + 255 + 4);
  return 0;
}
