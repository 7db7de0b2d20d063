#include <algorithm>

#include "handlers.hh"

namespace pharos::controlplane {
namespace {

Result<Json> report_of(Result<ReloadReport> report) {
  if (!report) return std::unexpected(std::move(report).error());
  return Json{{"changed", report->changed}, {"version", json_of(report->version)}};
}

// Records are in the order of their owners.
std::size_t name_count_of(const ZoneData& zone) {
  std::size_t names = 0;
  ConstBytes last;
  for (const auto& record : zone.records()) {
    const auto owner = zone.owner_of(record);
    if (!last.empty() && dns::names_equal(owner, last)) continue;
    last = owner;
    ++names;
  }
  return names;
}

Json zone_row(const Tables& tables, const std::string& id,
              const std::map<std::string, std::string>& stale) {
  const auto& state = tables.zones.at(id);
  const auto& zones = tables.world->config->zones;
  const auto config = std::ranges::find(zones, id, &config::ZoneConfig::id);
  const auto& data = state.zone->data;
  Json row = {{"id", id},
              {"file", config == zones.end() ? "" : config->file},
              {"serial", data.serial()},
              {"names", name_count_of(data)},
              {"records", data.records().size()},
              {"loaded_age_s", (wall_now() - state.loaded).seconds()},
              {"state", stale.contains(id) ? "stale" : "loaded"}};
  if (const auto at = stale.find(id); at != stale.end())
    row["message"] = at->second;
  else if (!state.zone->report.warnings.empty())
    row["message"] = state.zone->report.warnings.front().text();
  return row;
}

std::shared_ptr<const Tables> tables_of(Daemon& daemon) {
  return daemon.loop().ask([](EngineSide& side) { return side.publication.shared_tables(); });
}

Result<Json> zones(Daemon& daemon) {
  const auto tables = tables_of(daemon);
  const auto stale = daemon.stale_zones();
  Json rows = Json::array();
  for (const auto& [id, state] : tables->zones) rows.push_back(zone_row(*tables, id, stale));
  return rows;
}

// The id as it is configured, from a name with or without its last dot, in any case.
Result<std::string> zone_id(const Tables& tables, const std::string& text) {
  for (const auto& [id, state] : tables.zones) {
    if (same_name(id, text)) return id;
  }
  return fail(ErrorCode::not_found, "no zone '" + text + "'", {},
              "`pharosctl zone list` shows those that are there");
}

Result<Json> zone_show(Daemon& daemon, const Json& arguments) {
  const auto name = text_argument(arguments, "zone");
  if (!name) return std::unexpected(name.error());
  const auto tables = tables_of(daemon);
  const auto id = zone_id(*tables, *name);
  if (!id) return std::unexpected(id.error());
  const auto& data = tables->zones.at(*id).zone->data;
  auto records = zone_text(data, control::message_bytes_max / 2);
  if (records.size() < data.records().size()) {
    return fail(ErrorCode::exhausted, "the zone is too large to show", *id, "look at its file");
  }
  return Json{{"zone", zone_row(*tables, *id, daemon.stale_zones())},
              {"records", std::move(records)}};
}

Result<Json> zone_reload(Daemon& daemon, const Json& arguments) {
  ReloadRequest request{.read_configuration = false,
                        .zone = {},
                        .every_zone = true,
                        .force = flag_argument(arguments, "force")};
  if (const auto name = optional_text(arguments, "zone"); !name.empty()) {
    const auto id = zone_id(*tables_of(daemon), name);
    if (!id) return std::unexpected(id.error());
    request.zone = *id;
    request.every_zone = false;
  }
  return report_of(daemon.reload(request));
}

}  // namespace

void add_reload_commands(control::Server& server, Daemon& daemon) {
  using control::Access;
  using control::Pace;
  server.add({"reload", Access::write,
              "reads configuration, zones and locales again; keeps the old ones on any error",
              [&daemon](const Json& arguments) {
                ReloadRequest request;
                request.force = flag_argument(arguments, "force");
                return report_of(daemon.reload(request));
              },
              Pace::lengthy});
  server.add({"zones", Access::read, "zones that are served",
              [&daemon](const Json&) { return zones(daemon); }, Pace::lengthy});
  server.add({"zone-show", Access::read, "a zone with its records",
              [&daemon](const Json& arguments) { return zone_show(daemon, arguments); },
              Pace::lengthy});
  server.add({"zone-reload", Access::write, "reads one zone, or all, again",
              [&daemon](const Json& arguments) { return zone_reload(daemon, arguments); },
              Pace::lengthy});
}

}  // namespace pharos::controlplane
