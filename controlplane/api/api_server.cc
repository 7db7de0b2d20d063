#include "pharos/controlplane/api/api_server.hh"

#include "pharos/config/scalars.hh"

#include <algorithm>
#include <cmath>

namespace pharos::controlplane {
namespace {

using nlohmann::json;

constexpr int unauthorized = 401;
constexpr int forbidden = 403;
constexpr int too_many = 429;

bool is_get(const HttpRequest& request) {
  return request.method == "GET" || request.method == "HEAD";
}

void fill_error(HttpResponse& response, const Error& error, int status) {
  response.status = status;
  response.type = "application/json";
  response.body = error_body(error);
}

control::Access access_of(const ApiRoute& route, const HttpRequest& request,
                          const control::Server& commands) {
  if (!route.command.empty()) return route.access;
  const auto command = request.path.substr(request.path.rfind('/') + 1);
  // What is not there needs no right to be told so.
  return commands.access_of(command).value_or(control::Access::read);
}

bool may(const Caller& caller, control::Access access) {
  return access == control::Access::read || caller.role == config::ApiRole::write;
}

}  // namespace

ApiServer::ApiServer(const config::ApiConfig& config, Sources sources)
    : sources_(std::move(sources)), callers_(std::make_shared<Callers>(config)) {}

Result<std::unique_ptr<ApiServer>> ApiServer::open(const config::ApiConfig& config,
                                                   Sources sources) {
  std::unique_ptr<ApiServer> server(new ApiServer(config, std::move(sources)));
  auto* self = server.get();
  auto door = HttpDoor::open(
      config, {.admit = [self](const HttpRequest& request,
                               HttpResponse& response) { return self->admit(request, response); },
               .handle = [self](const HttpRequest& request,
                                HttpResponse& response) { self->handle(request, response); }});
  if (!door) return std::unexpected(std::move(door).error());
  server->door_ = std::move(*door);
  return server;
}

Status ApiServer::reconfigure(config::ApiConfig config) {
  const auto listening = door_->listening();
  const bool beyond_loopback = std::ranges::any_of(
      listening, [](const auto& at) { return !config::is_loopback(at.address); });
  if (beyond_loopback) config.anonymous_read = false;
  {
    const std::lock_guard lock(mutex_);
    callers_ = std::make_shared<Callers>(config);
  }
  if (beyond_loopback && config.certificate.empty())
    return fail(ErrorCode::conflict, "TLS goes on while the API listens beyond loopback",
                "controlplane.api", "start pharos-controlplane again to have it listen elsewhere");
  return door_->read_certificates(config);
}

std::shared_ptr<Callers> ApiServer::callers() const {
  const std::lock_guard lock(mutex_);
  return callers_;
}

ApiCounters ApiServer::counters() const {
  constexpr auto relaxed = std::memory_order_relaxed;  // each is right by itself
  return {door_->counters(), denied_.load(relaxed), limited_.load(relaxed), failed_.load(relaxed),
          done_.load(relaxed)};
}

void ApiServer::deny(const HttpRequest& request, HttpResponse& response, const Error& error,
                     int status) {
  denied_.fetch_add(1, std::memory_order_relaxed);
  fill_error(response, error, status);
  if (status == unauthorized) response.headers["WWW-Authenticate"] = "Bearer";
  sources_.audit({wall_now(),
                  {},
                  request.peer,
                  request.method + " " + request.path,
                  "{}",
                  "denied: " + error.what});
}

// True: `response` is the answer. Nothing of the body is read before this lets it pass.
bool ApiServer::admit(const HttpRequest& request, HttpResponse& response) {
  const auto known = callers();
  const auto caller = known->identify(request);
  const auto wait = known->take(caller ? &*caller : nullptr, request.block, monotonic_now());
  if (wait > 0) {
    limited_.fetch_add(1, std::memory_order_relaxed);
    const Error error{ErrorCode::exhausted, "too many requests", "caller", "wait, and try again"};
    fill_error(response, error, too_many);
    response.headers["Retry-After"] = std::to_string(static_cast<long>(std::ceil(wait)));
    return true;
  }
  if (request.path == "/" && is_get(request)) {  // holds no data: those it asks for, with a token
    response.type = "text/html; charset=utf-8";
    response.headers["Content-Security-Policy"] = dashboard_policy();
    response.body = dashboard_page();
    return true;
  }
  if (!caller) return deny(request, response, caller.error(), unauthorized), true;
  if (is_get(request) && (request.path == "/metrics" || request.path == "/v1/openapi.json"))
    return false;
  const auto route = find_route(request.method, request.path);
  if (!route) return fill_error(response, route.error(), http_status_of(route.error().code)), true;
  if (may(*caller, access_of(**route, request, *sources_.commands))) return false;
  const Error error{ErrorCode::denied, caller->name + " may not change anything", "role",
                    "give it the role write"};
  return deny(request, response, error, forbidden), true;
}

void ApiServer::handle(const HttpRequest& request, HttpResponse& response) {
  const auto caller = callers()->identify(request);  // again: a reload may have come between
  if (!caller) return deny(request, response, caller.error(), unauthorized);
  if (request.path == "/metrics") {
    response.type = "text/plain; version=0.0.4; charset=utf-8";
    response.body = sources_.metrics();
    return;
  }
  if (request.path == "/v1/openapi.json") {
    response.body = openapi_document().dump();
    return;
  }
  const auto route = find_route(request.method, request.path);
  if (!route) return fill_error(response, route.error(), http_status_of(route.error().code));
  const auto call = call_of(**route, request);
  if (!call) return fill_error(response, call.error(), http_status_of(call.error().code));
  run(*caller, *call, request, response);
}

void ApiServer::run(const Caller& caller, const ApiCall& call, const HttpRequest& request,
                    HttpResponse& response) {
  const auto result = sources_.commands->run(
      caller.role == config::ApiRole::write ? control::Access::write : control::Access::read,
      call.command, call.arguments);
  if (sources_.commands->changes(call.command)) {
    sources_.audit({wall_now(), caller.name, request.peer, call.command, told_of(call.arguments),
                    result ? "done" : result.error().text()});
  }
  (result ? done_ : failed_).fetch_add(1, std::memory_order_relaxed);
  if (!result) return fill_error(response, result.error(), http_status_of(result.error().code));
  response.body = result->dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace pharos::controlplane
