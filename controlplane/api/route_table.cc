// The table of paths. A new one needs a line here, and a sample of each required parameter in the test that calls all.
#include "pharos/controlplane/api/routes.hh"

namespace pharos::controlplane {
namespace {

using control::Access;
using Place = ApiParameter::Place;

ApiParameter in_path(std::string_view name, std::string_view description) {
  return {name, Place::path, 's', true, description};
}
ApiParameter in_query(std::string_view name, std::string_view description, bool required = false,
                      char type = 's') {
  return {name, Place::query, type, required, description};
}
ApiParameter in_body(std::string_view name, std::string_view description, bool required = false,
                     char type = 's') {
  return {name, Place::body, type, required, description};
}

constexpr std::string_view endpoint_shape =
    "{service:s id:s site:s version:s addresses:[s] port:n target:s state:s override:s weight:n "
    "score:n priority:n ttl_s:n reason?:s since_s?:n}";
constexpr std::string_view endpoints_shape =
    "[{service:s id:s site:s version:s addresses:[s] port:n target:s state:s override:s weight:n "
    "score:n priority:n ttl_s:n reason?:s since_s?:n}]";
constexpr std::string_view factors_shape =
    "{exponents:{proximity:n health:n headroom:n condition:n version:n risk:n "
    "confidence:n} source:s}";
constexpr std::string_view reload_shape =
    "{changed:[s] needs_restart?:[s] version?:{epoch:n generation:n}}";
constexpr std::string_view zones_shape =
    "[{id:s file:s serial:n names:n records:n loaded_age_s:n state:s message?:s}]";
constexpr std::string_view explain_shape =
    "{name:s type:s client:s locale:s scope:n service:s pool:s policy:s ttl_s:n slot?:n panic:b "
    "version:{epoch:n generation:n} answers:[{address:s endpoint:s ttl_s:n rank:n}] "
    "groups?:[{group:s in:s policy:s weight:n priority:n healthy:n total:n takes_part:b panic:b}] "
    "factors:[{endpoint:s site:s group:s score:n proximity:n health:n headroom:n condition:n "
    "preference:n risk:n confidence:n weight:n state:s reason:s}]}";

std::vector<ApiRoute> make_routes() {
  const auto only_service = in_query("service", "only of this one");
  return {
      {"GET",
       "/v1/status",
       "status",
       Access::read,
       "What runs, what is published, what is wrong",
       {},
       {},
       "{daemon:s version:s pid:n uptime_s:n log_level:s version_in_use:x alarms:[s] "
       "config_file:s dataplane_connected:b published:{epoch:n generation:n} "
       "sites:{up:n suspect:n down:n} services:{total:n panicking:n} zones:n beacons:o "
       "last_reload?:{age_s:n ok:b message:s}}"},
      {"GET",
       "/v1/stats",
       "stats",
       Access::read,
       "Counters and gauges of ingest and engine",
       {},
       {},
       "{daemon:s counters:o gauges:o}"},
      {"GET", "/v1/alarms", "alarms", Access::read, "What is wrong now, in words", {}, {}, "[s]"},
      {"GET",
       "/v1/generations",
       "generations",
       Access::read,
       "What was published, newest first, and what became of it",
       {},
       {},
       "[{epoch:n generation:n kinds:[s] bytes:n outcome:s reason:s age_s:n}]"},
      {"GET",
       "/v1/sites",
       "sites",
       Access::read,
       "Sites with their beacons, states and metrics",
       {in_query("site", "only this one")},
       {},
       "[{id:s region:s location:[n] state:s since_s:n interval_ms:n degraded:b metrics:o "
       "keys:[n]}]"},
      {"GET",
       "/v1/services",
       "services",
       Access::read,
       "Services with their names and health",
       {in_query("service", "only this one")},
       {},
       "[{id:s names:[s] types:[s] policy:s healthy:n total:n ttl_s:n panic:b answers_max:n "
       "fail:s}]"},
      {"GET",
       "/v1/endpoints",
       "endpoints",
       Access::read,
       "Endpoints with state, weight and score",
       {only_service},
       {},
       endpoints_shape},
      {"GET",
       "/v1/probes",
       "probes",
       Access::read,
       "Looks at endpoints from outside, and the verdict of their quorum",
       {only_service},
       {},
       "[{service:s endpoint:s site:s state:s looking:n bad:n since_s?:n "
       "votes:[{from:s up:b counts:b age_s:n since_s:n took_ms?:n}]}]"},
      {"PUT",
       "/v1/services/{service}/endpoints/{endpoint}/state",
       "endpoint-set",
       Access::write,
       "Sets an endpoint up, down, drain or auto, beyond restarts",
       {in_path("service", "its id"), in_path("endpoint", "its id"),
        in_body("state", "up, down, drain or auto", true)},
       {},
       endpoint_shape},
      {"PUT",
       "/v1/services/{service}/endpoints/{endpoint}/weight",
       "weight-set",
       Access::write,
       "Sets the weight of an endpoint, beyond restarts; null returns to the configuration's",
       {in_path("service", "its id"), in_path("endpoint", "its id"),
        in_body("weight", "0 to 1000000, or null", true, 'N')},
       {},
       "{service:s endpoint:s weight:n source:s}"},
      {"GET",
       "/v1/demand",
       "demand",
       Access::read,
       "Names, pools and locales that are asked for most",
       {in_query("limit", "so many of each: 1 to 1000", false, 'n')},
       {},
       "{known:b answers_per_s:n names:[{name:s service:s answers_per_s:n share:n}] "
       "cells:[{pool:s locale:s answers_per_s:n requests_rps:n share:n}]}"},
      {"GET",
       "/v1/maintenance",
       "maintenance",
       Access::read,
       "Planned work at sites that is not over",
       {},
       {},
       "[{id:s sites:[s] from:s to:s by:s active:b}]"},
      {"GET",
       "/v1/weights",
       "weights",
       Access::read,
       "Weights in force and who set them",
       {only_service},
       {},
       "[{service:s endpoint:s weight:n source:s}]"},
      {"GET",
       "/v1/factors",
       "factors",
       Access::read,
       "Exponents of the score's factors",
       {},
       {},
       factors_shape},
      {"PUT",
       "/v1/factors/{factor}",
       "factor-set",
       Access::write,
       "Sets the exponent of a factor, beyond restarts",
       {in_path("factor", "proximity, health, headroom, condition, version, risk or confidence"),
        in_body("exponent", "0 to 16", true, 'n')},
       {},
       factors_shape},
      {"DELETE",
       "/v1/factors",
       "factor-set",
       Access::write,
       "Returns all factors to the configuration's",
       {},
       R"({"factor": "all", "exponent": null})",
       factors_shape},
      {"GET",
       "/v1/explain",
       "explain",
       Access::read,
       "Why a client gets the answers that it gets",
       {in_query("name", "name of a service", true),
        in_query("client", "address or prefix of the client", true),
        in_query("type", "A, AAAA, SRV, SVCB or HTTPS"),
        in_query("at", "in the past: 2026-11-20T13:05:00Z, seconds since 1970, or -10m")},
       {},
       explain_shape},
      {"GET",
       "/v1/policies/test",
       "policy-test",
       Access::read,
       "Which policies take a name, and what would be answered",
       {in_query("name", "a query name", true)},
       {},
       "{name:s listed:b zone?:s policy?:s answer:s matches:[o]}"},
      {"GET", "/v1/zones", "zones", Access::read, "Zones that are served", {}, {}, zones_shape},
      {"GET",
       "/v1/zones/{zone}",
       "zone-show",
       Access::read,
       "A zone with its records",
       {in_path("zone", "its origin")},
       {},
       "{zone:o records:[s]}"},
      {"POST",
       "/v1/zones/{zone}/reload",
       "zone-reload",
       Access::write,
       "Reads a zone again",
       {in_path("zone", "its origin"),
        in_body("force", "even where many names vanish", false, 'b')},
       {},
       reload_shape},
      {"POST",
       "/v1/reload",
       "reload",
       Access::write,
       "Reads configuration, zones and locales again; any mistake changes nothing",
       {in_body("force", "even where many names vanish", false, 'b')},
       {},
       reload_shape},
      {"PUT",
       "/v1/log-level",
       "log-level",
       Access::write,
       "How much is logged, until the next restart",
       {in_body("level", "trace, debug, info, warning or error", true)},
       {},
       "{level:s previous:s}"},
      {"GET",
       "/v1/history",
       "history",
       Access::read,
       "What was decided and why, newest first",
       {in_query("service", "only of this one, or of this pool (www/A)"),
        in_query("locale", "only of this one"), in_query("since", "as `at` of explain"),
        in_query("until", "as `at` of explain"), in_query("limit", "so many", false, 'n')},
       {},
       "[{at:s age_s:n pool:s locale:s ttl_s:n panic:b answered_by:s answers:[s] slots:n cause:s "
       "version:{epoch:n generation:n}}]"},
      {"GET",
       "/v1/configurations",
       "configurations",
       Access::read,
       "Configurations that were in force, newest first",
       {in_query("limit", "so many", false, 'n')},
       {},
       "[{id:n at:s age_s:n epoch:n generation:n changes:s}]"},
      {"POST",
       "/v1/rollback",
       "rollback",
       Access::write,
       "Puts the files of a former configuration back, and reloads",
       {in_body("id", "of /v1/configurations", true, 'n'),
        in_body("dry_run", "only tell what would change", false, 'b'),
        in_body("force", "even where many names vanish", false, 'b')},
       {},
       "{files:[o] aside:[s] changed?:[s] version?:{epoch:n generation:n}}"},
      {"POST",
       "/v1/plan",
       "plan",
       Access::write,
       "What a configuration would change; refused where it overloads",
       {in_body("text", "the configuration", true),
        in_body("force", "tell it even where it is refused", false, 'b')},
       {},
       "{sites:[{site:s share:n planned_share:n overloaded:b}] moved_share:n services:[o] "
       "ttl_exposure_s:n exposed_pool:s load_source:s overloads:[s] changed:[s]}"},
      {"GET",
       "/v1/shares",
       "shares",
       Access::read,
       "Share of the answers that each site is first in",
       {},
       {},
       "o"},
      {"GET",
       "/v1/audit",
       "audit",
       Access::write,
       "Who changed what over the API, and who was denied",
       {in_query("limit", "so many", false, 'n')},
       {},
       "[{at:s caller:s peer:s command:s arguments:s outcome:s}]"},
      {"GET",
       "/v1/commands",
       "commands",
       Access::read,
       "All commands of the control socket: any of them can be posted, too",
       {},
       {},
       "[{name:s access:s summary:s}]"},
      // Its command is that of the path, and its role that of the command.
      {"POST",
       "/v1/commands/{command}",
       "",
       Access::read,
       "Runs any command; the body is its arguments",
       {in_path("command", "its name")}},
  };
}

}  // namespace

std::span<const ApiRoute> api_routes() {
  static const auto routes = make_routes();
  return routes;
}

}  // namespace pharos::controlplane
