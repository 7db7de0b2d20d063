#include "pharos/controlplane/api/routes.hh"

#include <algorithm>
#include <charconv>

namespace pharos::controlplane {
namespace {

using control::Access;
using nlohmann::json;
using Place = ApiParameter::Place;

// "{x}" takes one segment, whatever it is.
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
    case 'l':
      return "a list of texts";
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
    case 'l':
      return value.is_array() &&
             std::ranges::all_of(value, [](const json& one) { return one.is_string(); });
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
    case 'l':
      return {{"type", "array"}, {"items", {{"type", "string"}}}};
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
