// Whether one endpoint of the site is up: by a TCP connect or a command, again and again. Without a check it is up.
// One thread; never blocks. What it says is the last check's outcome: hysteresis is the control plane's.
#pragma once

#include "pharos/base/clock.hh"
#include "pharos/controlplane/agent/agent_config.hh"
#include "pharos/controlplane/agent/command.hh"
#include "pharos/controlplane/agent/poller.hh"

#include <optional>
#include <string>

namespace pharos::agent {

class EndpointWatch {
 public:
  EndpointWatch(Poller& poller, EndpointConfig config, Instant first_check);
  ~EndpointWatch();
  EndpointWatch(EndpointWatch&&) = delete;

  [[nodiscard]] const EndpointConfig& config() const noexcept { return config_; }
  // Absent until the first check is done.
  [[nodiscard]] std::optional<bool> up() const noexcept { return up_; }
  [[nodiscard]] Instant next_time() const noexcept;
  void on_time(Instant at);

 private:
  void start(Instant at);
  void start_tcp(Instant at);
  void tcp_ready();
  void conclude(bool up, const std::string& reason);
  void close_socket();

  Poller& poller_;
  EndpointConfig config_;
  std::optional<bool> up_;
  Instant next_check_;
  Command command_;
  UniqueFd socket_;
  Instant tcp_deadline_ = never;
};

}  // namespace pharos::agent
