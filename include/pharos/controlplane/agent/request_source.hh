// Where the request load comes from: a counter file, a command, or statsd datagrams; all end in one RequestMeter.
// One thread, in the agent's loop.
#pragma once

#include "pharos/base/error.hh"
#include "pharos/base/fd.hh"
#include "pharos/controlplane/agent/agent_config.hh"
#include "pharos/controlplane/agent/command.hh"
#include "pharos/controlplane/agent/poller.hh"
#include "pharos/controlplane/agent/request_meter.hh"

#include <string>

namespace pharos::agent {

// The sockets that services send statsd to. Removes its unix socket's file when it goes.
class StatsdSockets {
 public:
  StatsdSockets() = default;
  // Errors: unavailable, conflict (the unix path is in use, or no socket).
  [[nodiscard]] static Result<StatsdSockets> open(const StatsdConfig& config);
  StatsdSockets(StatsdSockets&&) noexcept = default;
  StatsdSockets& operator=(StatsdSockets&&) noexcept;
  ~StatsdSockets();

  [[nodiscard]] int udp() const noexcept { return udp_.get(); }
  [[nodiscard]] int local() const noexcept { return local_.get(); }

 private:
  void remove_file() noexcept;
  UniqueFd udp_, local_;
  std::string path_;
};

class RequestSource {
 public:
  // `sockets`: open where the configuration names statsd. `interval`: of the beacons.
  RequestSource(Poller& poller, RequestsConfig config, std::vector<std::string> endpoints,
                StatsdSockets sockets, Duration interval);
  ~RequestSource();
  RequestSource(RequestSource&&) = delete;

  [[nodiscard]] const RequestsConfig& config() const noexcept { return config_; }
  // Stops watching the sockets and hands them on.
  [[nodiscard]] StatsdSockets release_sockets();
  [[nodiscard]] Status watch();

  // Brings the meter up to `at` and fills the metrics.
  void sample(Instant at, SiteMetrics& metrics);
  [[nodiscard]] std::optional<float> endpoint_rate(const std::string& name) const {
    return meter_.endpoint_rate(name);
  }

  [[nodiscard]] Instant next_time() const noexcept;
  void on_time(Instant at);

 private:
  void receive(int socket);
  void take(std::string_view text, const std::string& from);
  void report(const std::string& problem);

  Poller& poller_;
  RequestsConfig config_;
  Duration command_interval_;
  Instant next_command_;
  RequestMeter meter_;
  StatsdSockets sockets_;
  Command command_;
  std::string problem_;  // the last one reported: each is said once
};

}  // namespace pharos::agent
