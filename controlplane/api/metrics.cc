#include "pharos/controlplane/api/metrics.hh"

#include "pharos/controlplane/api/api_server.hh"
#include "pharos/controlplane/engine/daemon.hh"
#include "pharos/shared/control_protocol.hh"

#include <prometheus/text_serializer.h>

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <optional>
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

// What the engine thread is asked for: numbers, which others turn into text.
struct SiteSample {
  SiteState state = SiteState::unknown;
  bool degraded = false;
  std::optional<double> beacon_age_s;
  SiteMetrics metrics;
  std::optional<double> assigned_rps;
  double confidence = 1;
  unsigned restless_level = 0;
};

struct ProbeSample {
  std::map<std::string, unsigned> verdicts{{"up", 0}, {"down", 0}, {"unknown", 0}};
  unsigned divided = 0;
  std::map<std::uint32_t, std::pair<unsigned, unsigned>> looks;  // by vantage point: up, down
  std::uint32_t next = 0;                                        // endpoint to look at
};

struct EngineSample {
  std::shared_ptr<const World> world;
  std::map<std::string, unsigned> site_states{
      {"up", 0}, {"suspect", 0}, {"down", 0}, {"unknown", 0}};
  std::vector<SiteSample> sites;  // the first metric_things_max
  std::vector<PoolView> pools;    // the same
  ProbeSample probes;
  Version published, in_use;
  std::optional<double> table_age_s;
  bool settled = false, connected = false;
  std::uint64_t rounds = 0, cells = 0;
  Duration slowest_turn{}, slowest_task{}, publish_delay{};
};

void sample_sites(const EngineSide& side, EngineSample& into) {
  const auto count = side.engine.health().site_count();
  for (std::uint32_t s = 0; s < count; ++s) {
    const auto& site = side.engine.health().site(s);
    ++into.site_states[std::string(name_of(site.state))];
    if (s >= metric_things_max) continue;
    auto& sample =
        into.sites.emplace_back(SiteSample{.state = site.state,
                                           .degraded = site.degraded,
                                           .beacon_age_s = {},
                                           .metrics = site.metrics,
                                           .assigned_rps = side.engine.view_load(s).assigned_rps,
                                           .confidence = confidence_of(site),
                                           .restless_level = side.engine.restless_level_of(s)});
    if (site.rhythm.heard()) sample.beacon_age_s = (side.now - site.rhythm.last()).seconds();
  }
}

void sample_tables(const EngineSide& side, EngineSample& into) {
  into.published = side.publication.last();
  into.in_use = side.publication.in_use();
  for (const auto& record : side.publication.generations()) {
    if (record.outcome != PublishOutcome::adopted) continue;
    into.table_age_s = (side.now - record.at).seconds();
    break;
  }
  into.settled = side.publication.settled();
  into.connected = side.publication.is_connected();
  into.rounds = side.rounds;
  into.cells = side.cells;
  into.slowest_turn = side.slowest_turn;
  into.slowest_task = side.slowest_task;
  into.publish_delay = side.last_publish_delay;
}

// True: all verdicts are counted.
bool sample_probes(const EngineSide& side, const Slice& slice, ProbeSample& into) {
  const auto& verdicts = side.engine.quorum().verdicts();
  for (auto at = verdicts.lower_bound(into.next); at != verdicts.end(); ++at) {
    into.next = at->first;
    if (slice.over()) return false;
    const auto& verdict = at->second;
    ++into.verdicts[!verdict.up ? "unknown" : *verdict.up ? "up" : "down"];
    const auto bad = verdict.bad();
    into.divided += bad > 0 && bad < verdict.counting();
    for (const auto& vote : verdict.votes) {
      if (vote.counts) ++(vote.up ? into.looks[vote.from].first : into.looks[vote.from].second);
    }
  }
  return true;
}

EngineSample sample_engine(EngineLoop& loop) {
  EngineSample sample;
  loop.ask_in_slices([&](EngineSide& side, const Slice& slice) {
    if (slice.fresh()) {
      sample = {};
      sample.world = side.engine.shared_world();
      sample_tables(side, sample);
      sample_sites(side, sample);
      const auto pools = std::min(sample.world->pools.size(), metric_things_max);
      for (std::uint32_t p = 0; p < pools; ++p) sample.pools.push_back(side.engine.view_pool(p));
    }
    return sample_probes(side, slice, sample.probes);
  });
  return sample;
}

void gather_network(const SiteMetrics& metrics, const Labels& labels, Gathering& into) {
  const auto rate = [&](const char* direction, const std::optional<float>& bps) {
    if (!bps) return;
    auto with = labels;
    with.push_back({"direction", direction});
    into.gauge("pharos_site_network_bits_per_second", "traffic of a site's interfaces", *bps,
               std::move(with));
  };
  rate("in", metrics.receive_bps);
  rate("out", metrics.transmit_bps);
  if (metrics.link_bps) {
    into.gauge("pharos_site_link_bits_per_second", "what a site's link bears", *metrics.link_bps,
               labels);
  }
  if (metrics.responder_rtt_us) {
    into.gauge("pharos_site_responder_round_trip_seconds", "from a site to its responder and back",
               double{*metrics.responder_rtt_us} * 1e-6, labels);
  }
}

void gather_site(const SiteSample& site, const config::SiteConfig& config, Gathering& into) {
  const Labels labels{{"site", config.id}, {"region", config.region}};
  const auto gauge = [&](const char* name, const char* help, double value) {
    into.gauge(name, help, value, labels);
  };
  const auto measured = [&](const char* name, const char* help, const auto& value) {
    if (value) gauge(name, help, static_cast<double>(*value));
  };
  gauge("pharos_site_up", "1 where a site is neither down nor suspected",
        site.state == SiteState::down || site.state == SiteState::suspect ? 0 : 1);
  gauge("pharos_site_degraded", "1 where a site is overloaded", site.degraded ? 1 : 0);
  measured("pharos_site_beacon_age_seconds", "since its last beacon", site.beacon_age_s);
  measured("pharos_site_cpu_ratio", "CPU in use", site.metrics.cpu_ratio);
  measured("pharos_site_cpu_pressure_ratio", "share of time in which work waited for CPU",
           site.metrics.cpu_pressure_ratio);
  measured("pharos_site_memory_ratio", "memory in use", site.metrics.memory_ratio);
  measured("pharos_site_memory_pressure_ratio", "share of time in which work waited for memory",
           site.metrics.memory_pressure_ratio);
  gather_network(site.metrics, labels, into);
  measured("pharos_site_requests_per_second", "requests that it serves", site.metrics.requests_rps);
  measured("pharos_site_requests_in_flight", "requests that it works on",
           site.metrics.requests_in_flight);
  measured("pharos_site_error_ratio", "share of its requests that fail", site.metrics.error_ratio);
  if (const auto& latency = site.metrics.request_latency_us) {
    gauge("pharos_site_request_latency_seconds", "mean time of its requests",
          double{*latency} * 1e-6);
  }
  gauge("pharos_site_metrics_confidence", "1 while its metrics are new", site.confidence);
  gauge("pharos_site_restless_level", "steps by which its metrics swing", site.restless_level);
  measured("pharos_site_capacity_requests_per_second", "requests that it may serve",
           config.capacity_rps);
  measured("pharos_site_assigned_requests_per_second",
           "requests that the newest assignment sends there", site.assigned_rps);
}

void gather_sites(const EngineSample& sample, Gathering& into) {
  for (std::uint32_t s = 0; s < sample.sites.size(); ++s)
    gather_site(sample.sites[s], sample.world->site(s), into);
  for (const auto& [state, sites] : sample.site_states)
    into.gauge("pharos_sites", "sites by state", sites, {{"state", state}});
}

// Endpoints by what probes make of them, and those of which they are not of one mind.
void gather_probes(const EngineSample& sample, Gathering& into) {
  for (const auto& [verdict, endpoints] : sample.probes.verdicts) {
    into.gauge("pharos_probed_endpoints", "endpoints that are probed, by the verdict", endpoints,
               {{"verdict", verdict}});
  }
  into.gauge("pharos_probed_endpoints_divided", "those whose probes are not of one mind",
             sample.probes.divided);
  std::size_t shown = 0;
  for (const auto& [site, counts] : sample.probes.looks) {
    if (shown++ == metric_things_max) break;
    const auto& id = sample.world->site(site).id;
    constexpr const char* help = "outcomes of a site's probes that count now";
    into.gauge("pharos_site_probes", help, counts.first, {{"site", id}, {"outcome", "up"}});
    into.gauge("pharos_site_probes", help, counts.second, {{"site", id}, {"outcome", "down"}});
  }
}

void gather_services(const EngineSample& sample, Gathering& into) {
  const auto& world = *sample.world;
  for (std::uint32_t p = 0; p < sample.pools.size(); ++p) {
    const auto& view = sample.pools[p];
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

void gather_tables(const EngineSample& sample, Gathering& into) {
  const auto version = [&](const char* state, Version of) {
    into.gauge("pharos_table_generation", "generation of the tables",
               static_cast<double>(of.generation), {{"state", state}});
    into.gauge("pharos_table_epoch", "epoch of the tables", static_cast<double>(of.epoch),
               {{"state", state}});
  };
  version("published", sample.published);
  version("in_use", sample.in_use);
  if (sample.table_age_s) {
    into.gauge("pharos_table_age_seconds", "since the tables in use were published",
               *sample.table_age_s);
  }
  into.gauge("pharos_table_settled", "1 where the data plane has all that was ranked",
             sample.settled ? 1 : 0);
  into.gauge("pharos_dataplane_connected", "1 where the data plane is connected",
             sample.connected ? 1 : 0);
  into.counter("pharos_engine_rounds_total", "rounds that changed answers",
               static_cast<double>(sample.rounds));
  into.counter("pharos_engine_cells_changed_total", "answers changed, by pool and locale",
               static_cast<double>(sample.cells));
  into.gauge("pharos_engine_slowest_turn_seconds", "longest turn since the start",
             sample.slowest_turn.seconds());
  into.gauge("pharos_engine_slowest_task_seconds",
             "longest that a command has held the engine since the start",
             sample.slowest_task.seconds());
  into.gauge("pharos_publish_delay_seconds", "from the cause of the last publish to its socket",
             sample.publish_delay.seconds());
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
  const auto sample = sample_engine(daemon_.loop());
  gather_tables(sample, into);
  gather_sites(sample, into);
  gather_services(sample, into);
  gather_probes(sample, into);
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
