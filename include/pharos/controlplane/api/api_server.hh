// The API: callers, limits and paths in front of the commands of the control socket (controlplane/api/README.md).
//
//   HttpDoor -> who calls? -> not too often? -> which route? -> may they? -> control::Server::run -> JSON
//
// Requests run on the door's workers, commands one at a time. What changes something, and what is denied, goes to the
// audit log.
#pragma once

#include "pharos/base/clock.hh"
#include "pharos/base/error.hh"
#include "pharos/controlplane/api/audit.hh"
#include "pharos/controlplane/api/callers.hh"
#include "pharos/controlplane/api/http_door.hh"
#include "pharos/controlplane/api/routes.hh"
#include "pharos/shared/control_protocol.hh"

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace pharos::controlplane {

struct ApiCounters {
  HttpCounters http;
  std::uint64_t denied = 0;   // 401 and 403
  std::uint64_t limited = 0;  // 429
  std::uint64_t failed = 0;   // commands that gave an error
  std::uint64_t done = 0;
};

class ApiServer {
 public:
  struct Sources {
    control::Server* commands = nullptr;   // outlives us
    std::function<std::string()> metrics;  // text of /metrics
    std::function<void(const AuditEntry&)> audit;
  };
  // Errors: as of HttpDoor::open().
  [[nodiscard]] static Result<std::unique_ptr<ApiServer>> open(const config::ApiConfig& config,
                                                               Sources sources);

  // Takes over all but where it listens; what is for loopback only is judged by where it does. Errors: of the
  // certificates, conflict (no TLS, while it listens beyond loopback); the former ones stay, callers are the new ones.
  [[nodiscard]] Status reconfigure(config::ApiConfig config);
  [[nodiscard]] std::vector<config::SocketAddress> listening() const { return door_->listening(); }
  [[nodiscard]] ApiCounters counters() const;

 private:
  ApiServer(const config::ApiConfig& config, Sources sources);
  [[nodiscard]] std::shared_ptr<Callers> callers() const;
  [[nodiscard]] bool admit(const HttpRequest& request, HttpResponse& response);
  void handle(const HttpRequest& request, HttpResponse& response);
  void deny(const HttpRequest& request, HttpResponse& response, const Error& error, int status);
  void run(const Caller& caller, const ApiCall& call, const HttpRequest& request,
           HttpResponse& response);

  Sources sources_;
  mutable std::mutex mutex_;  // guards callers_
  std::shared_ptr<Callers> callers_;
  // relaxed: counters that are only shown
  std::atomic<std::uint64_t> denied_{0}, limited_{0}, failed_{0}, done_{0};
  std::unique_ptr<HttpDoor> door_;  // last: its workers use all of the above
};

// The dashboard: one page without resources from elsewhere, and the policy that holds its browser to that.
[[nodiscard]] const std::string& dashboard_page();
[[nodiscard]] const std::string& dashboard_policy();

}  // namespace pharos::controlplane
