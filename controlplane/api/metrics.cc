#include "pharos/controlplane/api/metrics.hh"

#include "pharos/controlplane/api/api_server.hh"
#include "pharos/controlplane/engine/daemon.hh"
#include "pharos/shared/control_protocol.hh"

#include <prometheus/text_serializer.h>

#include <algorithm>
#include <array>
#include <map>
#include <sstream>

namespace pharos::controlplane {
namespace {

using nlohmann::json;
using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;
using Families = std::vector<MetricFamily>;

constexpr Duration dataplane_patience = milliseconds(500);

// Series are gathered by family, families stand in the order of their first series.
class Gathering {
 public:
  void gauge(const char* name, const char* help, double value, Labels labels = {}) {
    ClientMetric metric;
    metric.label = std::move(labels);
    metric.gauge.value = value;
    family(name, help, MetricType::Gauge).metric.push_back(std::move(metric));
  }
  void counter(const char* name, const char* help, double value, Labels labels = {}) {
    ClientMetric metric;
    metric.label = std::move(labels);
    metric.counter.value = value;
    family(name, help, MetricType::Counter).metric.push_back(std::move(metric));
  }
  [[nodiscard]] Families take() { return std::move(families_); }

 private:
  MetricFamily& family(const char* name, const char* help, MetricType type) {
    const auto at = std::ranges::find(families_, name, &MetricFamily::name);
    if (at != families_.end()) return *at;
    families_.push_back({name, help, type, {}});
    return families_.back();
  }
  Families families_;
};

struct CounterGroup {
  std::string_view begins;  // with which the names of its counters begin
  const char* family;
  const char* label;
  const char* help;
};
// The first that fits. Families are what other name servers' exporters have, too.
constexpr std::array counter_groups = {
    CounterGroup{"rcode_", "pharos_dns_responses_total", "rcode", "DNS responses by RCODE"},
    CounterGroup{"type_", "pharos_dns_queries_by_type_total", "type", "DNS queries by type"},
    CounterGroup{"queries_ipv", "pharos_dns_queries_total", "family",
                 "DNS queries over UDP and TCP"},
    CounterGroup{"queries_", "pharos_dns_queries_with_total", "feature",
                 "DNS queries that came over TCP or with EDNS, client subnet or cookie"},
    CounterGroup{"answers_", "pharos_dns_answers_total", "kind",
                 "DNS answers by where they come from"},
    CounterGroup{"drop_", "pharos_dns_drops_total", "reason", "packets dropped"},
    CounterGroup{"limited_", "pharos_dns_rate_limited_total", "class",
                 "responses above a limit, by class of answer"},
    CounterGroup{"tcp_", "pharos_dns_tcp_connections_total", "outcome", "TCP connections"},
    CounterGroup{"dnstap_", "pharos_dnstap_total", "outcome",
                 "messages for dnstap, by what became of them"},
    CounterGroup{"received_", "pharos_network_received_total", "unit", "frames and bytes received"},
    CounterGroup{"sent_", "pharos_network_sent_total", "unit", "frames and bytes sent"},
    CounterGroup{"", "pharos_dataplane_events_total", "event", "everything else that is counted"},
};

Labels port_labels(const json& port, const char* direction) {
  return {{"port", port.value("id", "")}, {"direction", direction}};
}

void gather_ports(const json& stats, Gathering& into) {
  const auto ports = stats.find("ports");
  if (ports == stats.end() || !ports->is_array()) return;
  for (const auto& port : *ports) {
    if (!port.is_object()) continue;
    const auto number = [&](const char* name) { return port.value(name, 0.0); };
    constexpr const char* packets = "pharos_port_packets_total";
    constexpr const char* packets_help = "packets of a port, as it counts them";
    into.counter(packets, packets_help, number("received_packets"), port_labels(port, "in"));
    into.counter(packets, packets_help, number("sent_packets"), port_labels(port, "out"));
    into.counter("pharos_port_missed_packets_total", "packets that the port had no room for",
                 number("missed_packets"), {{"port", port.value("id", "")}});
    into.gauge("pharos_port_up", "1 where the link is up", port.value("link", "") == "up" ? 1 : 0,
               {{"port", port.value("id", "")}});
  }
}

void gather_sites(const EngineSide& side, Gathering& into) {
  std::map<std::string, unsigned> states{{"up", 0}, {"suspect", 0}, {"down", 0}, {"unknown", 0}};
  const auto count = side.engine.health().site_count();
  for (std::uint32_t s = 0; s < count; ++s) {
    const auto& site = side.engine.health().site(s);
    ++states[std::string(name_of(site.state))];
    if (s >= metric_things_max) continue;
    const auto& config = side.engine.world().site(s);
    const Labels labels{{"site", config.id}, {"region", config.region}};
    into.gauge("pharos_site_up", "1 where a site is neither down nor suspected",
               site.state == SiteState::down || site.state == SiteState::suspect ? 0 : 1, labels);
    into.gauge("pharos_site_degraded", "1 where a site is overloaded", site.degraded ? 1 : 0,
               labels);
    if (site.rhythm.heard()) {
      into.gauge("pharos_site_beacon_age_seconds", "since its last beacon",
                 (side.now - site.rhythm.last()).seconds(), labels);
    }
    const auto measured = [&](const char* name, const char* help, const auto& value) {
      if (value) into.gauge(name, help, static_cast<double>(*value), labels);
    };
    measured("pharos_site_cpu_ratio", "CPU in use", site.metrics.cpu_ratio);
    measured("pharos_site_memory_ratio", "memory in use", site.metrics.memory_ratio);
    measured("pharos_site_requests_per_second", "requests that it serves",
             site.metrics.requests_rps);
    measured("pharos_site_requests_in_flight", "requests that it works on",
             site.metrics.requests_in_flight);
    measured("pharos_site_error_ratio", "share of its requests that fail",
             site.metrics.error_ratio);
    if (const auto& latency = site.metrics.request_latency_us) {
      into.gauge("pharos_site_request_latency_seconds", "mean time of its requests",
                 double{*latency} * 1e-6, labels);
    }
    into.gauge("pharos_site_metrics_confidence", "1 while its metrics are new", confidence_of(site),
               labels);
    into.gauge("pharos_site_restless_level", "steps by which its metrics swing",
               side.engine.restless_level_of(s), labels);
    if (config.capacity_rps) {
      into.gauge("pharos_site_capacity_requests_per_second", "requests that it may serve",
                 *config.capacity_rps, labels);
    }
  }
  for (const auto& [state, sites] : states)
    into.gauge("pharos_sites", "sites by state", sites, {{"state", state}});
}

// Endpoints by what probes make of them, and those of which they are not of one mind.
void gather_probes(const EngineSide& side, Gathering& into) {
  std::map<std::string, unsigned> verdicts{{"up", 0}, {"down", 0}, {"unknown", 0}};
  unsigned divided = 0;
  std::map<std::uint32_t, std::pair<unsigned, unsigned>> looks;  // by vantage point: up, down
  for (const auto& [endpoint, verdict] : side.engine.quorum().verdicts()) {
    ++verdicts[!verdict.up ? "unknown" : *verdict.up ? "up" : "down"];
    const auto bad = verdict.bad();
    divided += bad > 0 && bad < verdict.counting();
    for (const auto& vote : verdict.votes) {
      if (vote.counts) ++(vote.up ? looks[vote.from].first : looks[vote.from].second);
    }
  }
  for (const auto& [verdict, endpoints] : verdicts) {
    into.gauge("pharos_probed_endpoints", "endpoints that are probed, by the verdict", endpoints,
               {{"verdict", verdict}});
  }
  into.gauge("pharos_probed_endpoints_divided", "those whose probes are not of one mind", divided);
  std::size_t shown = 0;
  for (const auto& [site, counts] : looks) {
    if (shown++ == metric_things_max) break;
    const auto& id = side.engine.world().site(site).id;
    constexpr const char* help = "outcomes of a site's probes that count now";
    into.gauge("pharos_site_probes", help, counts.first, {{"site", id}, {"outcome", "up"}});
    into.gauge("pharos_site_probes", help, counts.second, {{"site", id}, {"outcome", "down"}});
  }
}

void gather_services(const EngineSide& side, Gathering& into) {
  const auto& world = side.engine.world();
  const auto pools = std::min(world.pools.size(), metric_things_max);
  for (std::uint32_t p = 0; p < pools; ++p) {
    const auto view = side.engine.view_pool(p);
    const Labels labels{{"pool", world.pools[p].pool.name()}};
    into.gauge("pharos_pool_endpoints", "endpoints of a pool", view.total, labels);
    into.gauge("pharos_pool_endpoints_healthy", "those of them that are healthy", view.healthy,
               labels);
    into.gauge("pharos_pool_ttl_seconds", "TTL of its answers", view.ttl_s, labels);
    into.gauge("pharos_pool_panic", "1 below the panic threshold", view.panic ? 1 : 0, labels);
  }
  into.gauge("pharos_pools", "pools: a service's version and family each",
             static_cast<double>(world.pools.size()));
  into.gauge("pharos_locales", "locales", static_cast<double>(world.locales.size()));
}

void gather_tables(const EngineSide& side, Gathering& into) {
  const auto version = [&](const char* state, Version of) {
    into.gauge("pharos_table_generation", "generation of the tables",
               static_cast<double>(of.generation), {{"state", state}});
    into.gauge("pharos_table_epoch", "epoch of the tables", static_cast<double>(of.epoch),
               {{"state", state}});
  };
  version("published", side.publication.last());
  version("in_use", side.publication.in_use());
  for (const auto& record : side.publication.generations()) {
    if (record.outcome != PublishOutcome::adopted) continue;
    into.gauge("pharos_table_age_seconds", "since the tables in use were published",
               (side.now - record.at).seconds());
    break;
  }
  into.gauge("pharos_table_settled", "1 where the data plane has all that was ranked",
             side.publication.settled() ? 1 : 0);
  into.gauge("pharos_dataplane_connected", "1 where the data plane is connected",
             side.publication.is_connected() ? 1 : 0);
  into.counter("pharos_engine_rounds_total", "rounds that changed answers",
               static_cast<double>(side.rounds));
  into.counter("pharos_engine_cells_changed_total", "answers changed, by pool and locale",
               static_cast<double>(side.cells));
  into.gauge("pharos_engine_slowest_turn_seconds", "longest turn since the start",
             side.slowest_turn.seconds());
  into.gauge("pharos_publish_delay_seconds", "from the cause of the last publish to its socket",
             side.last_publish_delay.seconds());
}

void gather_beacons(const IngestCounters& counters, Gathering& into) {
  for (std::size_t v = 0; v < beacon_verdict_count; ++v) {
    into.counter("pharos_beacons_total", "beacons by what became of them",
                 static_cast<double>(counters.verdicts[v]),
                 {{"verdict", std::string(beacon_verdict_texts[v].name)}});
  }
  for (std::size_t c = 0; c < ingest_counter_count; ++c) {
    into.counter("pharos_ingest_events_total", "what else ingest counts",
                 static_cast<double>(counters.counters[c]),
                 {{"event", std::string(ingest_counter_texts[c].name)}});
  }
}

void gather_api(const ApiCounters& api, Gathering& into) {
  const auto one = [&](const char* outcome, std::uint64_t count) {
    into.counter("pharos_api_requests_total", "requests to the API by outcome",
                 static_cast<double>(count), {{"outcome", outcome}});
  };
  one("done", api.done);
  one("failed", api.failed);
  one("denied", api.denied);
  one("limited", api.limited);
  one("bad", api.http.bad_requests);
  into.counter("pharos_api_connections_total", "connections to the API",
               static_cast<double>(api.http.connections));
  into.counter("pharos_api_connections_turned_away_total", "connections that were not served",
               static_cast<double>(api.http.turned_away));
}

}  // namespace

Families dataplane_metrics(const json& stats) {
  Gathering into;
  if (const auto counters = stats.find("counters");
      counters != stats.end() && counters->is_object()) {
    for (const auto& [name, value] : counters->items()) {
      if (!value.is_number()) continue;
      const auto group = std::ranges::find_if(
          counter_groups, [&](const auto& g) { return name.starts_with(g.begins); });
      auto label =
          group->begins == "queries_ipv" ? name.substr(8) : name.substr(group->begins.size());
      if (group->begins == "rcode_")
        std::ranges::transform(label, label.begin(),
                               [](unsigned char c) { return std::toupper(c); });
      into.counter(group->family, group->help, value.get<double>(),
                   {{group->label, std::move(label)}});
    }
  }
  if (const auto cores = stats.find("cores"); cores != stats.end() && cores->is_array()) {
    for (const auto& core : *cores) {
      if (!core.is_object() || !core.contains("busy_ratio")) continue;
      into.gauge(
          "pharos_core_busy_ratio", "share of the core's time in which it had work",
          core.value("busy_ratio", 0.0),
          {{"core", std::to_string(core.value("core", 0))}, {"role", core.value("role", "")}});
    }
  }
  if (const auto gauges = stats.find("gauges"); gauges != stats.end() && gauges->is_object()) {
    for (const auto& [name, value] : gauges->items()) {
      if (value.is_number())
        into.gauge("pharos_dataplane_gauge", "what the data plane has now", value.get<double>(),
                   {{"name", name}});
    }
  }
  gather_ports(stats, into);
  return into.take();
}

std::string Metrics::text() const {
  Gathering into;
  into.gauge("pharos_build_info", "version of the control plane", 1, {{"version", PHAROS_VERSION}});
  into.gauge("pharos_uptime_seconds", "since the control plane started",
             (monotonic_now() - daemon_.started()).seconds());
  into.gauge("pharos_alarms", "what is wrong now: alarms",
             static_cast<double>(daemon_.alarms().size()));
  daemon_.loop().ask([&](EngineSide& side) {
    gather_tables(side, into);
    gather_sites(side, into);
    gather_services(side, into);
    gather_probes(side, into);
  });
  gather_beacons(daemon_.ingest().counters(), into);
  if (const auto api = daemon_.api_counters()) gather_api(*api, into);
  if (const auto* history = daemon_.history()) {
    const auto counters = history->counters();
    into.counter("pharos_history_cells_total", "answers that the history has kept",
                 static_cast<double>(counters.cells));
    into.counter("pharos_history_dropped_total", "answers that it could not keep",
                 static_cast<double>(counters.dropped));
  }
  const auto stats = control::call(
      control::socket_path(daemon_.run_directory(), "dataplane", control::Access::read), "stats",
      json::object(), dataplane_patience);
  into.gauge("pharos_dataplane_up", "1 where the data plane answers", stats ? 1 : 0);
  auto families = into.take();
  if (stats) {
    for (auto& family : dataplane_metrics(*stats)) families.push_back(std::move(family));
  }
  std::ostringstream out;
  prometheus::TextSerializer().Serialize(out, families);
  return out.str();
}

}  // namespace pharos::controlplane
