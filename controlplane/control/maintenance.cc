#include "pharos/config/scalars.hh"
#include "pharos/config/wall_time.hh"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "handlers.hh"

// Planned work: what is configured, and what the operator plans beside it, beyond restarts.

namespace pharos::controlplane {
namespace {

constexpr std::size_t works_max = 1000;  // of the operator

Json work_rows(const EngineSide& side) {
  const auto now = wall_now();
  const auto& configured = side.engine.world().config->maintenance;
  Json rows = Json::array();
  for (const auto& work : side.engine.planned_work()) {
    if (work.to <= now) continue;
    const bool by_configuration =
        std::ranges::find(configured, work.id, &config::MaintenanceConfig::id) != configured.end();
    rows.push_back({{"id", work.id},
                    {"sites", work.sites},
                    {"from", config::wall_time_text(work.from)},
                    {"to", config::wall_time_text(work.to)},
                    {"by", by_configuration ? "configuration" : "operator"},
                    {"active", work.from <= now}});
  }
  return rows;
}

Result<WallTime> time_argument(const Json& arguments, const char* name, WallTime now) {
  const auto text = text_argument(arguments, name);
  if (!text) return std::unexpected(text.error());
  if (*text == "now") return now;
  if (text->starts_with('+')) {
    auto later = config::parse_duration(std::string_view(*text).substr(1));
    if (!later) return std::unexpected(std::move(later).error().in(name));
    return WallTime{now.ns + later->ns};
  }
  auto time = config::parse_wall_time(*text);
  if (!time) {
    return fail(ErrorCode::invalid, "'" + text->substr(0, 64) + "' is no time", name,
                "write it in UTC, such as 2026-11-21T02:00:00Z, or now, or +2h");
  }
  return *time;
}

// An empty list of sites needs no times.
Result<config::MaintenanceConfig> work_of(const Json& arguments) {
  config::MaintenanceConfig work;
  const auto id = text_argument(arguments, "id");
  if (!id) return std::unexpected(id.error());
  work.id = *id;
  const auto sites = arguments.find("sites");
  if (sites == arguments.end() || !sites->is_array())
    return fail(ErrorCode::invalid, "argument 'sites' is missing, or no list", "arguments");
  for (const auto& site : *sites) {
    if (!site.is_string()) return fail(ErrorCode::invalid, "a site is no text", "arguments");
    work.sites.push_back(site.get<std::string>());
  }
  if (work.sites.empty()) return work;
  const auto now = wall_now();
  const auto from = time_argument(arguments, "from", now);
  if (!from) return std::unexpected(from.error());
  const auto to = time_argument(arguments, "to", now);
  if (!to) return std::unexpected(to.error());
  work.from = *from;
  work.to = *to;
  if (work.from >= work.to || work.to <= now) {
    return fail(ErrorCode::invalid, "the work ends before it begins, or is over", "arguments",
                "'from' comes before 'to', and 'to' is still to come");
  }
  return work;
}

Status check_work(const Engine& engine, const config::MaintenanceConfig& work) {
  const auto& config = *engine.world().config;
  if (std::ranges::find(config.maintenance, work.id, &config::MaintenanceConfig::id) !=
      config.maintenance.end()) {
    return fail(ErrorCode::conflict, "work '" + work.id + "' is configured", work.id,
                "choose another id, or change the configuration");
  }
  for (const auto& site : work.sites) {
    if (std::ranges::find(config.sites, site, &config::SiteConfig::id) == config.sites.end())
      return fail(ErrorCode::not_found, "no site '" + site + "'", "sites");
  }
  const auto& mine = engine.decisions().maintenance;
  const bool known = std::ranges::find(mine, work.id, &config::MaintenanceConfig::id) != mine.end();
  if (work.sites.empty() && !known)
    return fail(ErrorCode::not_found, "no work '" + work.id + "' is planned by the operator");
  if (!known && mine.size() >= works_max)
    return fail(ErrorCode::exhausted, "too much work is planned", {}, "take back what is over");
  return {};
}

Result<Json> set_work(Daemon& daemon, const Json& arguments) {
  auto work = work_of(arguments);
  if (!work) return std::unexpected(work.error());
  auto rows = daemon.loop().ask([&](EngineSide& side) -> Result<Json> {
    if (auto sound = check_work(side.engine, *work); !sound) return std::unexpected(sound.error());
    side.engine.set_maintenance(*work);
    return work_rows(side);
  });
  if (!rows) return rows;
  spdlog::info("operator: work '{}' is {}", work->id,
               work->sites.empty() ? "taken back" : "planned");
  daemon.store().save_maintenance(*work);
  if (auto kept = daemon.store().sync(); !kept) return std::unexpected(kept.error());
  return rows;
}

}  // namespace

void add_maintenance_commands(control::Server& server, Daemon& daemon) {
  using control::Access;
  server.add({"maintenance", Access::read, "planned work at sites",
              [&daemon](const Json&) -> Result<Json> {
                return daemon.loop().ask([](EngineSide& side) { return work_rows(side); });
              }});
  server.add({"maintenance-set", Access::write, "plans work at sites, or takes it back",
              [&daemon](const Json& arguments) { return set_work(daemon, arguments); }});
}

}  // namespace pharos::controlplane
