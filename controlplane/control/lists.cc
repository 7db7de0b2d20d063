#include "pharos/config/service_records.hh"
#include "pharos/config/wall_time.hh"
#include "pharos/wire/name_text.hh"

#include <algorithm>

#include "handlers.hh"

namespace pharos::controlplane {
namespace {

Json metrics_of(const SiteMetrics& metrics) {
  Json all = Json::object();
  for (const auto& field : metric_fields) {
    if (const auto& value = metrics.*field.value) all[std::string(field.name)] = *value;
  }
  return all;
}

Json deviations_of(const SiteHealth& site) {
  Json all = Json::object();
  for (const auto& field : metric_fields) {
    if (site.metrics.*field.value)
      all[std::string(field.name)] = site.trends.deviation(field.value);
  }
  return all;
}

Json site_row(const EngineSide& side, std::uint32_t index) {
  const auto& config = side.engine.world().site(index);
  const auto& site = side.engine.health().site(index);
  Json keys = Json::array();
  for (const auto& key : config.keys) keys.push_back(key.id);
  const bool leaving = site.state == SiteState::down && site.leaving;
  Json row = {{"id", config.id},
              {"region", config.region},
              {"location", {config.latitude, config.longitude}},
              {"state", leaving ? "leaving" : std::string(name_of(site.state))},
              {"since_s", seconds_since(site.since, side.now)},
              {"interval_ms", static_cast<double>(site.rhythm.interval().ns) / 1e6},
              {"deviation_ms", static_cast<double>(site.rhythm.deviation().ns) / 1e6},
              {"degraded", site.degraded},
              {"flaps", flaps_at(site, side.now)},
              {"metrics", metrics_of(site.metrics)},
              {"deviations", deviations_of(site)},
              {"restless_level", side.engine.restless_level_of(index)},
              {"confidence", confidence_of(site)},
              {"keys", std::move(keys)}};
  const auto load = side.engine.view_load(index);
  if (load.capacity_rps) row["capacity_rps"] = *load.capacity_rps;
  if (load.assigned_rps) row["assigned_rps"] = *load.assigned_rps;
  row["watermark"] = load.tightness == 0 ? "below" : load.tightness == 1 ? "low" : "high";
  if (const auto& work = side.engine.planned(index); !work.id.empty()) {
    row["maintenance"] = {{"id", work.id},
                          {"active", work.active},
                          {"from", config::wall_time_text(work.from)},
                          {"to", config::wall_time_text(work.to)}};
  }
  if (site.rhythm.heard()) {
    const auto age = side.now - site.rhythm.last();
    const auto [boot_epoch, sequence] = side.engine.beacon_position(index);
    row["last_beacon_age_ms"] = static_cast<double>(age.ns) / 1e6;
    row["silence_intervals"] = age.seconds() / site.rhythm.interval().seconds();
    row["boot_epoch"] = boot_epoch;
    row["sequence"] = sequence;
  }
  return row;
}

Result<Json> sites(Daemon& daemon, const Json& arguments) {
  const auto wanted = optional_text(arguments, "site");
  auto rows = rows_in_slices(
      daemon,
      [](const EngineSide& side) {
        return static_cast<std::uint32_t>(side.engine.health().site_count());
      },
      [&](const EngineSide& side, std::uint32_t site, Json& all) {
        if (wanted.empty() || side.engine.world().site(site).id == wanted)
          all.push_back(site_row(side, site));
      });
  if (!wanted.empty() && rows.empty())
    return fail(ErrorCode::not_found, "no site '" + wanted + "'");
  return rows;
}

// The endpoint's name in SRV, SVCB and HTTPS records; empty where the service answers none.
std::string target_text(const config::ServiceConfig& service,
                        const config::EndpointConfig& endpoint) {
  return config::record_types_of(service).empty() ? "" : config::target_of(service, endpoint);
}

// "_https._tcp.www.example.org. SRV": where it answers other records than addresses.
Json record_names(const config::ServiceConfig& service) {
  Json names = Json::array();
  for (const auto& [name, type] : config::record_names_of(service)) {
    names.push_back(name + " " + dns::type_text(static_cast<std::uint16_t>(type)));
  }
  return names;
}

Json service_row(const EngineSide& side, std::uint32_t index) {
  const auto& world = side.engine.world();
  const auto& config = world.service(index);
  unsigned healthy = 0;
  for (std::uint32_t e = 0; e < config.endpoints.size(); ++e) {
    const auto standing = side.engine.standing(world.first_endpoint[index] + e);
    healthy += standing == Standing::healthy || standing == Standing::reserve;
  }
  bool panic = false;
  std::uint32_t ttl_s = 0;
  Json pools = Json::array();
  Json types = Json::array();
  const auto [first, end] = world.pools_of_service[index];
  for (std::uint32_t p = first; p < end; ++p) {
    const auto view = side.engine.view_pool(p);
    panic = panic || view.panic;
    ttl_s = pools.empty() ? view.ttl_s : std::min(ttl_s, view.ttl_s);
    types.push_back(dns::type_text(static_cast<std::uint16_t>(world.pools[p].pool.type)));
    pools.push_back({{"pool", world.pools[p].pool.name()},
                     {"healthy", view.healthy},
                     {"total", view.total},
                     {"ttl_s", view.ttl_s},
                     {"panic", view.panic},
                     {"volatility_level", view.volatility_level},
                     {"answered_by", world.pools[view.answered_by].pool.name()}});
  }
  return {{"id", config.id},
          {"names", config.names},
          {"alias_names", config.alias_names},
          {"record_names", record_names(config)},
          {"types", std::move(types)},
          {"policy", config::name_of(config.policy)},
          {"ecs", catalog::name_of(config::ecs_of(config, world.config->dataplane))},
          {"healthy", healthy},
          {"total", config.endpoints.size()},
          {"ttl_s", ttl_s},
          {"panic", panic},
          {"answers_max", config.answers_max},
          {"fail", config.fail == config::FailMode::to ? "to " + config.fail_to
                                                       : std::string(config::name_of(config.fail))},
          {"pools", std::move(pools)}};
}

[[nodiscard]] Status check_wanted(Daemon& daemon, const std::string& service) {
  if (service.empty()) return {};
  return daemon.loop().ask(
      [&](EngineSide& side) { return check_service(side.engine.world(), service); });
}

Result<Json> services(Daemon& daemon, const Json& arguments) {
  const auto wanted = optional_text(arguments, "service");
  if (auto known = check_wanted(daemon, wanted); !known) return std::unexpected(known.error());
  return rows_in_slices(
      daemon,
      [](const EngineSide& side) {
        return static_cast<std::uint32_t>(side.engine.world().config->services.size());
      },
      [&](const EngineSide& side, std::uint32_t service, Json& rows) {
        if (wanted.empty() || side.engine.world().service(service).id == wanted)
          rows.push_back(service_row(side, service));
      });
}

// One row for each endpoint, or for those of the service that is asked for.
template <typename Row>
Result<Json> by_endpoint(Daemon& daemon, const Json& arguments, Row row) {
  const auto wanted = optional_text(arguments, "service");
  if (auto known = check_wanted(daemon, wanted); !known) return std::unexpected(known.error());
  return rows_in_slices(
      daemon,
      [](const EngineSide& side) {
        return static_cast<std::uint32_t>(side.engine.world().endpoints.size());
      },
      [&](const EngineSide& side, std::uint32_t endpoint, Json& rows) {
        const auto& world = side.engine.world();
        if (wanted.empty() || world.service(world.endpoints[endpoint].service).id == wanted)
          rows.push_back(row(side, endpoint));
      });
}

}  // namespace

Json endpoint_row(const EngineSide& side, std::uint32_t endpoint) {
  const auto& world = side.engine.world();
  const auto& fixed = world.endpoints[endpoint];
  const auto& config = world.endpoint(endpoint);
  const auto view = side.engine.view(endpoint, 0, side.now);
  Json addresses = Json::array();
  for (const auto& address : config.addresses) addresses.push_back(address.text());
  std::uint32_t ttl_s = 0;
  for (const auto p : fixed.pools) ttl_s = std::max(ttl_s, side.engine.view_pool(p).ttl_s);
  if (config.ttl_max)
    ttl_s = std::min(ttl_s, static_cast<std::uint32_t>(config.ttl_max->seconds()));
  Json row = {{"service", world.service(fixed.service).id},
              {"id", config.id},
              {"site", config.site},
              {"version", config.version},
              {"addresses", std::move(addresses)},
              {"port", config.port},
              {"target", target_text(world.service(fixed.service), config)},
              {"state", view.state},
              {"override", config::name_of(view.override)},
              {"weight", view.weight},
              {"score", view.score},
              {"priority", config.priority},
              {"ttl_s", ttl_s},
              {"reason", view.reason},
              {"since_s", seconds_since(view.since, side.now)}};
  if (const auto drain = side.engine.view_drain(endpoint, side.now)) {
    row["drain"] = {{"since_s", drain->since.seconds()}, {"moved", drain->moved}};
    if (drain->requests_before_rps)
      row["drain"]["requests_before_rps"] = *drain->requests_before_rps;
    if (drain->requests_rps) row["drain"]["requests_rps"] = *drain->requests_rps;
  }
  return row;
}

Json weight_row(const EngineSide& side, std::uint32_t endpoint) {
  const auto& world = side.engine.world();
  const auto view = side.engine.view(endpoint, 0, side.now);
  return {{"service", world.service(world.endpoints[endpoint].service).id},
          {"endpoint", world.endpoint(endpoint).id},
          {"weight", view.weight},
          {"source", view.weight_by_operator ? "operator" : "configuration"}};
}

void add_list_commands(control::Server& server, Daemon& daemon) {
  using control::Access;
  using control::Pace;
  server.add({"sites", Access::read, "sites with their beacons, states and metrics",
              [&daemon](const Json& arguments) { return sites(daemon, arguments); },
              Pace::lengthy});
  server.add({"services", Access::read, "services with their names and health",
              [&daemon](const Json& arguments) { return services(daemon, arguments); },
              Pace::lengthy});
  server.add(
      {"endpoints", Access::read, "endpoints with state, weight and score",
       [&daemon](const Json& arguments) { return by_endpoint(daemon, arguments, endpoint_row); },
       Pace::lengthy});
  server.add(
      {"weights", Access::read, "weights in force and who set them",
       [&daemon](const Json& arguments) { return by_endpoint(daemon, arguments, weight_row); },
       Pace::lengthy});
}

}  // namespace pharos::controlplane
