#include "pharos/dataplane/core/commands.hh"

#include "pharos/dataplane/core/daemon.hh"
#include "pharos/shared/control_protocol.hh"

#include <unistd.h>

#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

#include <utility>

namespace pharos::dataplane {

namespace {

using nlohmann::json;

[[nodiscard]] json version_json(const Version& version) {
  return {{"epoch", version.epoch}, {"generation", version.generation}};
}

[[nodiscard]] double busy_ratio(const Worker& worker) {
  const auto total = worker.total_cycles();
  return total == 0 ? 0.0 : static_cast<double>(worker.busy_cycles()) / static_cast<double>(total);
}

[[nodiscard]] double busy_ratio(const Daemon& daemon) {
  const auto age = (monotonic_now() - daemon.started_at()).ns;
  return age <= 0 ? 0.0 : static_cast<double>(daemon.lane().busy_ns()) / static_cast<double>(age);
}

void add(CoreCounters& total, const CoreCounters& counters) {
  for (std::size_t i = 0; i < verdict_count; ++i)
    total.count(static_cast<Verdict>(i), counters.read(static_cast<Verdict>(i)));
  for (std::size_t i = 0; i < counter_count; ++i)
    total.count(static_cast<Counter>(i), counters.read(static_cast<Counter>(i)));
}

[[nodiscard]] json listen_json(const config::DataplaneConfig& dataplane) {
  json list = json::array();
  for (const auto& address : dataplane.listen) list.push_back(text_of(address));
  return list;
}

[[nodiscard]] json counters_json(const CoreCounters& counters) {
  json result = json::object();
  for (std::size_t i = 0; i < verdict_count; ++i) {
    result[std::string(verdict_texts[i].name)] = counters.read(static_cast<Verdict>(i));
  }
  for (std::size_t i = 0; i < counter_count; ++i) {
    result[std::string(counter_texts[i].name)] = counters.read(static_cast<Counter>(i));
  }
  return result;
}

[[nodiscard]] json tables_json(const TableRoot* root) {
  json tables = json::object();
  if (root == nullptr) return tables;
  const auto part = [](const Version& version, std::uint64_t bytes) {
    auto result = version_json(version);
    result["bytes"] = bytes;
    return result;
  };
  tables["catalog"] = part(root->catalog.header().version, root->catalog_bytes->size_bytes());
  if (const auto header = read_image_header(root->locale_bytes->bytes())) {
    tables["locale_map"] = part(header->version, root->locale_bytes->size_bytes());
  }
  std::uint64_t ranking_bytes = 0;
  for (const auto& segment : root->ranking_bytes) ranking_bytes += segment->size_bytes();
  tables["ranking"] = part(root->ranking.version(), ranking_bytes);
  tables["ranking"]["segments"] = root->ranking.segment_count();
  return tables;
}

[[nodiscard]] json addresses_json(const config::PortConfig& config) {
  json addresses = json::array();
  for (const auto& address : config.addresses) addresses.push_back(address.text());
  return addresses;
}

[[nodiscard]] json port_json(const io::Port& port, const config::PortConfig& config) {
  json result = {{"id", port.id()},
                 {"device", port.device_name()},
                 {"driver", port.driver()},
                 {"link", port.link_up() ? "up" : "down"},
                 {"addresses", addresses_json(config)},
                 {"mac", port.mac().text()},
                 {"queues", port.queue_count()},
                 {"mtu", port.mtu_bytes()},
                 {"idle", config.idle == config::IdlePolicy::poll ? "poll" : "adaptive"},
                 {"offloads",
                  {{"receive_ipv4_checksum", port.features().receive_ipv4_checksum},
                   {"receive_udp_checksum", port.features().receive_udp_checksum},
                   {"transmit_ipv4_checksum", port.features().transmit_ipv4_checksum},
                   {"transmit_udp_checksum", port.features().transmit_udp_checksum},
                   {"rss", port.features().rss}}}};
  if (!config.exception_interface.empty())
    result["exception_interface"] = config.exception_interface;
  return result;
}

[[nodiscard]] json port_stats_json(const io::Port& port) {
  const auto stats = port.stats();
  return {{"id", port.id()},
          {"link", port.link_up() ? "up" : "down"},
          {"received_packets", stats.received_packets},
          {"received_bytes", stats.received_bytes},
          {"sent_packets", stats.sent_packets},
          {"sent_bytes", stats.sent_bytes},
          {"missed_packets", stats.missed_packets},
          {"receive_errors", stats.receive_errors},
          {"transmit_errors", stats.transmit_errors},
          {"no_buffer_packets", stats.no_buffer_packets},
          {"queue_received_packets", stats.queue_received_packets}};
}

[[nodiscard]] json sandbox_json(const Daemon& daemon) {
  json refused = json::array();
  for (const auto& call : refused_calls()) {
    refused.push_back(
        {{"thread", std::string(name_of(call.kind))}, {"call", call.name}, {"count", call.count}});
  }
  return {{"on", daemon.sandboxed()}, {"refused", std::move(refused)}};
}

[[nodiscard]] json status(const Daemon& daemon) {
  const auto* root = daemon.store()->root();
  json ports = json::array();
  for (std::size_t i = 0; i < daemon.ports().size(); ++i) {
    ports.push_back(port_json(daemon.ports()[i], daemon.config().dataplane.ports[i]));
  }
  json workers = json::array();
  for (const auto& worker : daemon.workers()) {
    for (const auto& queue : worker->queues()) {
      workers.push_back({{"core", worker->core()},
                         {"port", daemon.port_of(queue).id()},
                         {"queue", queue.handle.queue},
                         {"busy_ratio", busy_ratio(*worker)}});
    }
  }
  return {{"daemon", "dataplane"},
          {"version", PHAROS_VERSION},
          {"pid", ::getpid()},
          {"uptime_s", (monotonic_now() - daemon.started_at()).seconds()},
          {"log_level", daemon.config().log_level},
          {"version_in_use", root == nullptr ? json(nullptr) : version_json(root->version)},
          {"alarms", daemon.alarms()},
          {"state", root == nullptr ? "waiting" : "running"},
          {"controlplane_connected", daemon.store()->connected()},
          {"tables", tables_json(root)},
          {"ports", std::move(ports)},
          {"listen", listen_json(daemon.config().dataplane)},
          {"workers", std::move(workers)},
          {"huge_pages", daemon.plan().huge_pages},
          {"uid", ::geteuid()},
          {"sandbox", sandbox_json(daemon)}};
}

[[nodiscard]] json ports(const Daemon& daemon) {
  json list = json::array();
  for (std::size_t i = 0; i < daemon.ports().size(); ++i) {
    auto port = port_json(daemon.ports()[i], daemon.config().dataplane.ports[i]);
    port["stats"] = port_stats_json(daemon.ports()[i]);
    list.push_back(std::move(port));
  }
  return list;
}

[[nodiscard]] json stats(const Daemon& daemon) {
  CoreCounters total;
  json cores = json::array();
  for (const auto& worker : daemon.workers()) {
    const auto& counters = worker->counters();
    add(total, counters);
    cores.push_back({{"core", worker->core()},
                     {"role", "worker"},
                     {"busy_ratio", busy_ratio(*worker)},
                     {"busy_cycles", worker->busy_cycles()},
                     {"counters", counters_json(counters)}});
  }
  add(total, daemon.lane().counters());
  cores.push_back({{"core", daemon.plan().control_core},
                   {"role", "kernel lane"},
                   {"busy_ratio", busy_ratio(daemon)},
                   {"counters", counters_json(daemon.lane().counters())}});
  json port_list = json::array();
  for (const auto& port : daemon.ports()) port_list.push_back(port_stats_json(port));
  return {{"daemon", "dataplane"},
          {"counters", counters_json(total)},
          {"gauges",
           {{"tcp_open", daemon.lane().open_connections()},
            {"dnstap_connected", daemon.watching().dnstap().connected ? 1 : 0},
            {"hot_names_share_of_1", daemon.watching().hot_names().share_of_top(1)},
            {"hot_names_share_of_10", daemon.watching().hot_names().share_of_top(10)},
            {"hot_names_share_of_100", daemon.watching().hot_names().share_of_top(100)}}},
          {"cores", std::move(cores)},
          {"ports", std::move(port_list)}};
}

[[nodiscard]] json generations(const Daemon& daemon) {
  const auto now = wall_now();
  json list = json::array();
  for (const auto& adoption : daemon.store()->history()) {
    json kinds = json::array();
    for (const auto kind : adoption.kinds) kinds.push_back(std::string(pharos::name_of(kind)));
    auto entry = version_json(adoption.version);
    entry.update({{"kinds", std::move(kinds)},
                  {"bytes", adoption.image_bytes},
                  {"outcome", std::string(table_channel::name_of(adoption.outcome))},
                  {"reason", adoption.reason},
                  {"age_s", (now - adoption.at).seconds()},
                  {"origin", adoption.origin == Adoption::Origin::disk ? "disk" : "published"},
                  {"proving_us", adoption.proving_us},
                  {"swapping_us", adoption.swapping_us}});
    list.push_back(std::move(entry));
  }
  return list;
}

[[nodiscard]] json policies(const Daemon& daemon) {
  json list = json::array();
  const auto* root = daemon.store()->root();
  if (root == nullptr) return list;
  const auto rules = root->catalog.policies().rules();
  for (std::uint32_t i = 0; i < rules.size(); ++i) {
    list.push_back({{"id", rules[i].name()},
                    {"priority", rules[i].priority},
                    {"action", catalog::name_of(rules[i].action)},
                    {"log", (rules[i].flags & catalog::policy_flag::log) != 0},
                    {"patterns", rules[i].pattern_count},
                    {"hits", daemon.store()->policy_hits(i)}});
  }
  return list;
}

[[nodiscard]] json dnstap(const Daemon& daemon) {
  const auto report = daemon.watching().dnstap();
  const auto& config = daemon.config().dataplane.dnstap;
  const auto total = [&](Counter counter) {
    std::uint64_t sum = daemon.lane().counters().read(counter);
    for (const auto& worker : daemon.workers()) sum += worker->counters().read(counter);
    return sum;
  };
  json result = {{"state", !report.on         ? "off"
                           : report.connected ? "connected"
                                              : "no reader"},
                 {"copied", total(Counter::dnstap_messages)},
                 {"unreadable", total(Counter::dnstap_unreadable)},
                 {"dropped", total(Counter::dnstap_dropped)},
                 {"lost", report.lost},
                 {"sent_frames", report.frames},
                 {"sent_bytes", report.bytes},
                 {"connections", report.connections}};
  if (report.on) {
    const bool keyed = config.clients == config::DnstapClients::keyed;
    result.update({{"reader", report.target},
                   {"since_s", (monotonic_now() - report.since).seconds()},
                   {"sample", config.sample},
                   {"clients", keyed ? "keyed" : "truncated"},
                   {"ipv4_prefix", config.ipv4_prefix},
                   {"ipv6_prefix", config.ipv6_prefix}});
  }
  if (!report.last_error.empty()) result["last_error"] = report.last_error;
  return result;
}

[[nodiscard]] Result<json> hot_names(Daemon& daemon, const json& arguments) {
  constexpr unsigned rows_default = 20, rows_max = 200;
  unsigned rows = rows_default;
  if (const auto asked = arguments.find("rows"); asked != arguments.end()) {
    if (!asked->is_number_unsigned() || *asked < 1 || *asked > rows_max) {
      return fail(ErrorCode::invalid, "this is no number of rows", "arguments.rows",
                  "from 1 to " + std::to_string(rows_max));
    }
    rows = asked->get<unsigned>();
  }
  const HotNames& hot = daemon.watching().hot_names(monotonic_now());
  json names = json::array();
  for (const auto& name : hot.top(rows)) {
    names.push_back({{"name", name.name},
                     {"per_second", name.per_second},
                     {"uncertain_per_second", name.uncertain_per_second},
                     {"share", name.share},
                     {"nxdomain_share", name.nxdomain_share},
                     {"dropped_share", name.dropped_share}});
  }
  return json{{"per_second", hot.per_second()},
              {"samples", hot.samples()},
              {"sampling", daemon.config().dataplane.name_samples_per_second != 0},
              {"names", std::move(names)}};
}

[[nodiscard]] Result<json> log_level(Daemon& daemon, const json& arguments) {
  const auto level = arguments.find("level");
  if (level == arguments.end() || !level->is_string()) {
    return fail(ErrorCode::invalid, "the level is missing", "arguments.level",
                "one of trace, debug, info, warning, error");
  }
  const auto previous = daemon.config().log_level;
  if (auto ok = daemon.set_log_level(level->get<std::string>()); !ok)
    return std::unexpected(ok.error());
  return json{{"level", daemon.config().log_level}, {"previous", previous}};
}

[[nodiscard]] Result<json> reload(Daemon& daemon) {
  auto outcome = daemon.reload();
  if (!outcome) return std::unexpected(outcome.error());
  return json{{"changed", outcome->changed}, {"needs_restart", outcome->needs_restart}};
}

}  // namespace

void add_commands(control::Server& server, Daemon& daemon) {
  using control::Access;
  const auto look = [&](const char* name, const char* summary, json (*show)(const Daemon&)) {
    server.add({name, Access::read, summary,
                [&daemon, show](const json&) -> Result<json> { return show(daemon); }});
  };
  look("status", "state, tables in use, ports, workers, alarms", status);
  look("stats", "counters in total, of each core and of each port", stats);
  look("ports", "the ports with their devices, offloads, links and statistics", ports);
  look("generations", "the last 64 table versions that came, and what became of them", generations);
  look("dnstap", "copies of messages for the dnstap reader, and how it stands with it", dnstap);
  look("policies", "name policies in order, and the queries that each has decided", policies);
  server.add({"names", Access::read, "the names that are asked for most, from samples",
              [&daemon](const json& arguments) { return hot_names(daemon, arguments); }});
  server.add({"version", Access::read, "version of the program",
              [](const json&) -> Result<json> { return json{{"version", PHAROS_VERSION}}; }});
  server.add({"log-level", Access::write, "how much is logged: trace, debug, info, warning, error",
              [&daemon](const json& arguments) { return log_level(daemon, arguments); }});
  server.add({"reload", Access::write,
              "read the configuration again; what cannot change live is listed",
              [&daemon](const json&) { return reload(daemon); }});
}

}  // namespace pharos::dataplane
