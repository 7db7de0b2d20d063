#include <unistd.h>

#include <algorithm>
#include <map>

#include "handlers.hh"

namespace pharos::controlplane {
namespace {

Json site_counts(const EngineSide& side) {
  std::map<std::string, unsigned> counts = {{"up", 0}, {"suspect", 0}, {"down", 0}};
  for (std::uint32_t s = 0; s < side.engine.health().site_count(); ++s) {
    const auto state = side.engine.health().site(s).state;
    // A site that was not heard yet counts as up, as it does in the answers.
    ++counts[std::string(name_of(state == SiteState::unknown ? SiteState::up : state))];
  }
  return counts;
}

unsigned panicking_services(const EngineSide& side) {
  std::vector<bool> panicking(side.engine.world().config->services.size(), false);
  for (std::uint32_t p = 0; p < side.engine.world().pools.size(); ++p) {
    if (side.engine.view_pool(p).panic) panicking[side.engine.world().pools[p].service] = true;
  }
  return static_cast<unsigned>(std::ranges::count(panicking, true));
}

std::uint64_t dropped_beacons(const IngestCounters& counters) {
  std::uint64_t dropped = 0;
  for (std::size_t v = 0; v < beacon_verdict_count; ++v) {
    if (static_cast<BeaconVerdict>(v) != BeaconVerdict::accepted) dropped += counters.verdicts[v];
  }
  return dropped + counters.of(IngestCounter::ring_dropped) +
         counters.of(IngestCounter::socket_dropped) + counters.of(IngestCounter::queue_full);
}

Result<Json> status(Daemon& daemon) {
  auto result = daemon.loop().ask([](EngineSide& side) {
    const auto& config = *side.engine.world().config;
    const auto in_use = side.publication.in_use();
    return Json{
        {"version_in_use", in_use == Version{} ? Json() : json_of(in_use)},
        {"dataplane_connected", side.publication.is_connected()},
        {"published", json_of(side.publication.last())},
        {"settled", side.publication.settled()},
        {"sites", site_counts(side)},
        {"services", {{"total", config.services.size()}, {"panicking", panicking_services(side)}}},
        {"zones", config.zones.size()}};
  });
  const auto counters = daemon.ingest().counters();
  result["daemon"] = "controlplane";
  result["version"] = PHAROS_VERSION;
  result["pid"] = ::getpid();
  result["uptime_s"] = seconds_since(daemon.started(), monotonic_now());
  result["log_level"] = log_level();
  result["alarms"] = daemon.alarms();
  result["config_file"] = daemon.config_file();
  result["beacons"] = {{"accepted", counters.of(BeaconVerdict::accepted)},
                       {"dropped", dropped_beacons(counters)}};
  if (const auto last = daemon.last_reload()) {
    result["last_reload"] = {{"age_s", seconds_since(last->at, monotonic_now())},
                             {"ok", last->ok},
                             {"message", last->message}};
  }
  return result;
}

Result<Json> stats(Daemon& daemon) {
  Json counters = Json::object();
  const auto ingest = daemon.ingest().counters();
  for (std::size_t v = 0; v < beacon_verdict_count; ++v) {
    counters["beacon_" + std::string(beacon_verdict_texts[v].name)] = ingest.verdicts[v];
  }
  for (std::size_t c = 0; c < ingest_counter_count; ++c) {
    counters["ingest_" + std::string(ingest_counter_texts[c].name)] = ingest.counters[c];
  }
  Json gauges = Json::object();
  daemon.loop().ask([&](EngineSide& side) {
    counters["engine_rounds"] = side.rounds;
    counters["engine_cells_changed"] = side.cells;
    counters["engine_foreign_beacons"] = side.foreign_beacons;
    gauges["slowest_turn_us"] = static_cast<double>(side.slowest_turn.ns) / 1e3;
    gauges["slowest_task_us"] = static_cast<double>(side.slowest_task.ns) / 1e3;
    gauges["publish_delay_us"] = static_cast<double>(side.last_publish_delay.ns) / 1e3;
    gauges["ranking_segments"] = side.publication.segment_count();
    gauges["pools"] = side.engine.world().pools.size();
    gauges["locales"] = side.engine.world().locales.size();
  });
  return Json{{"daemon", "controlplane"}, {"counters", counters}, {"gauges", gauges}};
}

std::string_view name_of_outcome(PublishOutcome outcome) {
  switch (outcome) {
    case PublishOutcome::pending:
      return "pending";
    case PublishOutcome::adopted:
      return "adopted";
    case PublishOutcome::refused:
      return "refused";
  }
  return "pending";
}

Result<Json> generations(Daemon& daemon) {
  return daemon.loop().ask([](EngineSide& side) {
    Json rows = Json::array();
    for (const auto& record : side.publication.generations()) {
      Json kinds = Json::array();
      for (const auto kind : record.kinds) kinds.push_back(name_of(kind));
      Json row = json_of(record.version);
      row["kinds"] = std::move(kinds);
      row["bytes"] = record.bytes;
      row["outcome"] = name_of_outcome(record.outcome);
      row["reason"] = record.outcome == PublishOutcome::refused ? record.reason : "";
      row["age_s"] = seconds_since(record.at, side.now);
      if (record.outcome == PublishOutcome::adopted) {
        row["adoption_us"] = static_cast<double>((record.adopted - record.at).ns) / 1e3;
      }
      rows.push_back(std::move(row));
    }
    return rows;
  });
}

Result<Json> change_log_level(const Json& arguments) {
  const auto level = text_argument(arguments, "level");
  if (!level) return std::unexpected(level.error());
  const auto previous = log_level();
  if (!set_log_level(*level)) {
    return fail(ErrorCode::invalid, "'" + *level + "' is not a log level", "arguments",
                "trace, debug, info, warning or error");
  }
  return Json{{"level", *level}, {"previous", previous}};
}

}  // namespace

void add_status_commands(control::Server& server, Daemon& daemon) {
  using control::Access;
  server.add({"status", Access::read, "what runs, what is published, what is wrong",
              [&daemon](const Json&) { return status(daemon); }});
  server.add({"stats", Access::read, "counters and gauges of ingest and engine",
              [&daemon](const Json&) { return stats(daemon); }});
  server.add({"generations", Access::read,
              "what was published, newest first, and what became of it",
              [&daemon](const Json&) { return generations(daemon); }});
  server.add({"alarms", Access::read, "what is wrong now",
              [&daemon](const Json&) -> Result<Json> { return Json(daemon.alarms()); }});
  server.add(
      {"log-level", Access::write, "how much is logged, until the next restart", change_log_level});
}

}  // namespace pharos::controlplane
