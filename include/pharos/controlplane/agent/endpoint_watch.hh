// Whether one endpoint is up: by a probe from outside or a command, again and again. Without a check it is up. One thread;
// never blocks. Probes run in the agent's prober, commands here. What it says counts `rise` and `fall` in a row; the
// control plane has hysteresis of its own.
#pragma once

#include "pharos/base/clock.hh"
#include "pharos/controlplane/agent/agent_config.hh"
#include "pharos/controlplane/agent/command.hh"
#include "pharos/controlplane/agent/poller.hh"
#include "pharos/controlplane/probe/prober.hh"

#include <optional>
#include <string>

namespace pharos::agent {

class EndpointWatch {
 public:
  // `prober` outlives it.
  EndpointWatch(Poller& poller, probe::Prober& prober, EndpointConfig config, Instant first_check);
  EndpointWatch(EndpointWatch&&) = delete;

  [[nodiscard]] const EndpointConfig& config() const noexcept { return config_; }
  // Absent until the first check is done.
  [[nodiscard]] std::optional<bool> up() const;
  // EndpointReport::notices_ds of its check.
  [[nodiscard]] std::uint16_t notices_ds() const noexcept;
  // When on_time() wants to be called for a command.
  [[nodiscard]] Instant next_time() const noexcept;
  void on_time(Instant at);

 private:
  void start(Instant at);
  void conclude(bool up, const std::string& reason);
  void report(const std::string& reason);

  EndpointConfig config_;
  probe::Prober& prober_;
  std::optional<std::size_t> target_;  // of the prober; absent: a command, or no check
  std::optional<bool> up_;             // by commands
  std::uint16_t notices_ds_ = 0;
  unsigned streak_ = 0;           // commands that said otherwise, in a row
  std::optional<bool> reported_;  // in the log
  Instant next_check_;
  Command command_;
};

// What a check wants of the prober; of a command, only its times mean something.
[[nodiscard]] probe::Spec spec_of(const CheckConfig& check);
// EndpointReport::notices_ds: of what is looked at so.
[[nodiscard]] std::uint16_t notices_ds_of(const probe::Spec& spec) noexcept;

}  // namespace pharos::agent
