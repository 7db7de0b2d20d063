#include "pharos/controlplane/api/routes.hh"

#include <algorithm>
#include <charconv>

namespace pharos::controlplane {
namespace {

using control::Access;
using nlohmann::json;
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

constexpr std::string_view version_shape = "{epoch:n generation:n}";
constexpr std::string_view endpoint_shape =
    "{service:s id:s site:s version:s addresses:[s] port:n target:s state:s override:s weight:n "
    "score:n priority:n ttl_s:n reason?:s since_s?:n}";
constexpr std::string_view endpoints_shape =
    "[{service:s id:s site:s version:s addresses:[s] port:n target:s state:s override:s weight:n "
    "score:n priority:n ttl_s:n reason?:s since_s?:n}]";
constexpr std::string_view factors_shape =
    "{exponents:{proximity:n health:n headroom:n condition:n version:n risk:n} source:s}";
constexpr std::string_view reload_shape =
    "{changed:[s] needs_restart?:[s] version?:{epoch:n generation:n}}";
constexpr std::string_view zones_shape =
    "[{id:s file:s serial:n names:n records:n loaded_age_s:n state:s message?:s}]";
constexpr std::string_view explain_shape =
    "{name:s type:s client:s locale:s scope:n service:s pool:s policy:s ttl_s:n slot?:n panic:b "
    "version:{epoch:n generation:n} answers:[{address:s endpoint:s ttl_s:n rank:n}] "
    "factors:[{endpoint:s site:s score:n proximity:n health:n headroom:n condition:n preference:n "
    "risk:n weight:n state:s reason:s}]}";

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
       "[{id:s region:s state:s since_s:n interval_ms:n degraded:b metrics:o keys:[n]}]"},
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
       {in_path("factor", "proximity, health, headroom, condition, version or risk"),
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
        in_query("type", "A, AAAA, SRV, SVCB or HTTPS")},
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

// Nothing of the reference is lost between two of the same length: "{x}" takes one segment.
bool matches(std::string_view pattern, std::string_view path) {
  while (!pattern.empty() && !path.empty()) {
    const auto end = [](std::string_view text) { return std::min(text.find('/', 1), text.size()); };
    const auto part = pattern.substr(0, end(pattern));
    const auto segment = path.substr(0, end(path));
    const bool free = part.starts_with("/{") && segment.size() > 1;
    if (!free && part != segment) return false;
    pattern.remove_prefix(part.size());
    path.remove_prefix(segment.size());
  }
  return pattern.empty() && path.empty();
}

std::map<std::string, std::string> path_values(std::string_view pattern, std::string_view path) {
  std::map<std::string, std::string> values;
  while (!pattern.empty()) {
    const auto part = pattern.substr(0, std::min(pattern.find('/', 1), pattern.size()));
    const auto segment = path.substr(0, std::min(path.find('/', 1), path.size()));
    if (part.starts_with("/{")) values.emplace(part.substr(2, part.size() - 3), segment.substr(1));
    pattern.remove_prefix(part.size());
    path.remove_prefix(segment.size());
  }
  return values;
}

std::string_view type_word(char type) {
  switch (type) {
    case 'n':
      return "a number";
    case 'N':
      return "a number, or null";
    case 'b':
      return "true or false";
    default:
      return "text";
  }
}

bool is_of(const json& value, char type) {
  switch (type) {
    case 'n':
      return value.is_number();
    case 'N':
      return value.is_number() || value.is_null();
    case 'b':
      return value.is_boolean();
    default:
      return value.is_string();
  }
}

std::unexpected<Error> wrong(const ApiParameter& parameter) {
  return fail(ErrorCode::invalid,
              std::string(parameter.name) + " is not " + std::string(type_word(parameter.type)),
              parameter.place == Place::body ? "body" : "query",
              std::string(parameter.description));
}

Result<json> value_of(const ApiParameter& parameter, const std::string& text) {
  if (parameter.type == 's') return json(text);
  auto value = json::parse(text, nullptr, false);
  if (value.is_discarded() || !is_of(value, parameter.type)) return wrong(parameter);
  return value;
}

json schema_of_type(char type) {
  switch (type) {
    case 'n':
      return {{"type", "number"}};
    case 'N':
      return {{"type", {"number", "null"}}};
    case 'b':
      return {{"type", "boolean"}};
    default:
      return {{"type", "string"}};
  }
}

json shape(std::string_view& rest) {
  const auto skip = [&] {
    while (rest.starts_with(' ')) rest.remove_prefix(1);
  };
  skip();
  const char kind = rest.empty() ? 'x' : rest.front();
  if (!rest.empty()) rest.remove_prefix(1);
  if (kind == '[') {
    json schema = {{"type", "array"}, {"items", shape(rest)}};
    skip();
    if (!rest.empty()) rest.remove_prefix(1);  // ]
    return schema;
  }
  if (kind == '{') {
    json properties = json::object();
    json needed = json::array();
    for (skip(); !rest.empty() && rest.front() != '}'; skip()) {
      const auto colon = rest.find(':');
      std::string name(rest.substr(0, colon));
      rest.remove_prefix(std::min(colon + 1, rest.size()));
      if (name.ends_with('?'))
        name.pop_back();
      else
        needed.push_back(name);
      properties[name] = shape(rest);
    }
    if (!rest.empty()) rest.remove_prefix(1);  // }
    return {{"type", "object"}, {"properties", std::move(properties)}, {"required", needed}};
  }
  switch (kind) {
    case 's':
      return {{"type", "string"}};
    case 'n':
      return {{"type", "number"}};
    case 'b':
      return {{"type", "boolean"}};
    case 'o':
      return {{"type", "object"}};
    case 'a':
      return {{"type", "array"}};
    default:
      return json::object();
  }
}

json operation_of(const ApiRoute& route) {
  json parameters = json::array();
  json fields = json::object();
  json needed = json::array();
  for (const auto& parameter : route.parameters) {
    if (parameter.place == Place::body) {
      fields[std::string(parameter.name)] = schema_of_type(parameter.type);
      fields[std::string(parameter.name)]["description"] = parameter.description;
      if (parameter.required) needed.push_back(parameter.name);
      continue;
    }
    parameters.push_back({{"name", parameter.name},
                          {"in", parameter.place == Place::path ? "path" : "query"},
                          {"required", parameter.required},
                          {"description", parameter.description},
                          {"schema", schema_of_type(parameter.type)}});
  }
  json operation = {
      {"summary", route.summary},
      {"operationId", std::string(route.method) + " " + std::string(route.path)},
      {"x-command", route.command},
      {"x-role", route.access == Access::read ? "read" : "write"},
      {"parameters", std::move(parameters)},
      {"responses",
       {{"200",
         {{"description", "what the command gives"},
          {"content", {{"application/json", {{"schema", schema_of_shape(route.result)}}}}}}},
        {"default", {{"$ref", "#/components/responses/Error"}}}}}};
  if (route.command.empty()) {
    operation["requestBody"] = {
        {"content", {{"application/json", {{"schema", {{"type", "object"}}}}}}}};
  } else if (!fields.empty()) {
    operation["requestBody"] = {
        {"required", !needed.empty()},
        {"content",
         {{"application/json",
           {{"schema",
             {{"type", "object"}, {"properties", std::move(fields)}, {"required", needed}}}}}}}};
  }
  return operation;
}

}  // namespace

std::span<const ApiRoute> api_routes() {
  static const auto routes = make_routes();
  return routes;
}

Result<const ApiRoute*> find_route(std::string_view method, std::string_view path) {
  std::string others;
  for (const auto& route : api_routes()) {
    if (!matches(route.path, path)) continue;
    if (route.method == method || (method == "HEAD" && route.method == "GET")) return &route;
    others += (others.empty() ? "" : ", ") + std::string(route.method);
  }
  if (!others.empty())
    return fail(ErrorCode::unsupported, std::string(path) + " does not take " + std::string(method),
                "method", "it takes " + others);
  return fail(ErrorCode::not_found, "there is nothing at " + std::string(path), "path",
              "/v1/openapi.json lists what there is");
}

Result<ApiCall> call_of(const ApiRoute& route, const HttpRequest& request) {
  ApiCall call{&route, std::string(route.command)};
  if (!route.fixed.empty()) call.arguments = json::parse(route.fixed);
  json body = json::object();
  if (!request.body.empty()) {
    body = json::parse(request.body, nullptr, false);
    if (!body.is_object())
      return fail(ErrorCode::invalid, "the body is no JSON object", "body", R"({"key": value})");
  }
  const auto in_its_path = path_values(route.path, request.path);
  if (route.command.empty()) {
    call.command = in_its_path.at("command");
    call.arguments = std::move(body);
    return call;
  }
  for (const auto& parameter : route.parameters) {
    const std::string name(parameter.name);
    if (parameter.place == Place::path) {
      call.arguments[name] = in_its_path.at(name);
      continue;
    }
    bool given = false;
    if (parameter.place == Place::body) {
      const auto at = body.find(name);
      given = at != body.end();
      if (given && !is_of(*at, parameter.type)) return wrong(parameter);
      if (given) call.arguments[name] = *at;
    } else if (const auto at = request.query.find(name); at != request.query.end()) {
      given = true;
      auto value = value_of(parameter, at->second);
      if (!value) return std::unexpected(std::move(value).error());
      call.arguments[name] = std::move(*value);
    }
    if (!given && parameter.required)
      return fail(ErrorCode::invalid, name + " is missing",
                  parameter.place == Place::body ? "body" : "query",
                  std::string(parameter.description));
  }
  const auto known = [&](const std::string& name, Place place) {
    return std::ranges::any_of(route.parameters, [&](const auto& parameter) {
      return parameter.name == name && parameter.place == place;
    });
  };
  for (const auto& [name, value] : request.query) {
    if (!known(name, Place::query))
      return fail(ErrorCode::invalid, "unknown parameter '" + name + "'", "query",
                  "/v1/openapi.json lists those that there are");
  }
  for (const auto& [name, value] : body.items()) {
    if (!known(name, Place::body))
      return fail(ErrorCode::invalid, "unknown field '" + name + "'", "body",
                  "/v1/openapi.json lists those that there are");
  }
  return call;
}

json schema_of_shape(std::string_view text) {
  return shape(text);
}

json openapi_document() {
  json paths = json::object();
  for (const auto& route : api_routes()) {
    std::string method(route.method);
    std::ranges::transform(method, method.begin(),
                           [](char c) { return static_cast<char>(c | 0x20); });
    paths[std::string(route.path)][method] = operation_of(route);
  }
  const auto error = schema_of_shape("{error:{code:s what:s where:s hint:s}}");
  const auto text = [](const char* summary, const char* type) {
    return json{{"get",
                 {{"summary", summary},
                  {"operationId", std::string("GET ") + type},
                  {"x-role", "read"},
                  {"responses",
                   {{"200", {{"description", "it"}, {"content", {{type, json::object()}}}}}}}}}};
  };
  paths["/metrics"] = text("Metrics, as Prometheus reads them", "text/plain");
  paths["/v1/openapi.json"] = text("This document", "application/json");
  return {{"openapi", "3.1.0"},
          {"info",
           {{"title", "Pharos control plane"},
            {"version", PHAROS_VERSION},
            {"description",
             "The commands of the control socket over HTTPS. Paths with x-role read take callers "
             "of both roles, the others those that may write."}}},
          {"security", {{{"token", json::array()}}, {{"certificate", json::array()}}}},
          {"paths", std::move(paths)},
          {"components",
           {{"securitySchemes",
             {{"token", {{"type", "http"}, {"scheme", "bearer"}}},
              {"certificate", {{"type", "mutualTLS"}}}}},
            {"responses",
             {{"Error",
               {{"description", "what is wrong, where, and what would be right"},
                {"content", {{"application/json", {{"schema", error}}}}}}}}}}}};
}

int http_status_of(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::invalid:
      return 400;
    case ErrorCode::unsupported:
      return 405;
    case ErrorCode::not_found:
      return 404;
    case ErrorCode::conflict:
      return 409;
    case ErrorCode::denied:
      return 403;
    case ErrorCode::unavailable:
      return 503;
    case ErrorCode::exhausted:
      return 429;
  }
  return 500;
}

std::string error_body(const Error& error) {
  return json{{"error",
               {{"code", name_of(error.code)},
                {"what", error.what},
                {"where", error.where},
                {"hint", error.hint}}}}
      .dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace pharos::controlplane
