// The paths of the API: which command each stands for, and the OpenAPI document that says so.
//
// One table is both: what is not in it is not served, and what is in it is documented. Handlers are those of the
// control sockets (controlplane/control). Pure functions; any thread.
#pragma once

#include "pharos/base/error.hh"
#include "pharos/controlplane/api/http_door.hh"
#include "pharos/shared/control_protocol.hh"

#include <nlohmann/json.hpp>

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace pharos::controlplane {

struct ApiParameter {
  enum class Place { path, query, body };
  std::string_view name;
  Place place = Place::query;
  char type = 's';  // 's' text, 'n' number, 'b' true or false, 'N' number or null, 'l' list of texts
  bool required = false;
  std::string_view description;
};

struct ApiRoute {
  std::string_view method, path;  // "/v1/sites", "/v1/zones/{zone}"
  std::string_view command;       // of the control socket
  control::Access access = control::Access::read;
  std::string_view summary;
  std::vector<ApiParameter> parameters;
  std::string_view fixed = {};    // JSON of further arguments
  std::string_view result = "x";  // its shape: see schema_of_shape()
};

[[nodiscard]] std::span<const ApiRoute> api_routes();

struct ApiCall {
  const ApiRoute* route = nullptr;
  std::string command;
  nlohmann::json arguments = nlohmann::json::object();
};

// Errors: not_found (no such path), unsupported (not by this method), as of the parameters: invalid.
[[nodiscard]] Result<const ApiRoute*> find_route(std::string_view method, std::string_view path);
[[nodiscard]] Result<ApiCall> call_of(const ApiRoute& route, const HttpRequest& request);

// A shape as JSON schema: s n b o a x are text, number, boolean, any object, any array and anything; [S] a list,
// {name:S name?:S} an object with fields that must and may be there.
[[nodiscard]] nlohmann::json schema_of_shape(std::string_view shape);
// OpenAPI 3.1.
[[nodiscard]] nlohmann::json openapi_document();

// 400, 404, ... of an error; and its body: {"error": {"code", "what", "where", "hint"}}.
[[nodiscard]] int http_status_of(ErrorCode code) noexcept;
[[nodiscard]] std::string error_body(const Error& error);

}  // namespace pharos::controlplane
