// The agent: measures this site and sends signed beacons to every responder, at a steady rhythm.
//
// One thread, one event loop. The beacon timer is absolute (timerfd), so that work never shifts the rhythm; measuring
// happens right before sending. Sequence numbers grow by one for each beacon of the agent; all responders get the same
// number, and differ in the round-trip time. Copies repeat a datagram as it is: the gate takes the first that comes.
#pragma once

#include "pharos/base/clock.hh"
#include "pharos/base/error.hh"
#include "pharos/controlplane/agent/agent_config.hh"

#include <cstdint>
#include <functional>
#include <memory>

namespace pharos::agent {

class Agent {
 public:
  // Takes the state directory and its next boot epoch, opens sockets. Errors: what of it failed.
  [[nodiscard]] static Result<Agent> open(AgentConfig config);
  Agent(Agent&&) noexcept;
  Agent& operator=(Agent&&) noexcept;
  ~Agent();

  // Takes a new configuration over; epoch and sequence go on. On an error the former stays. A changed state directory
  // needs a restart. Errors: what of it failed.
  [[nodiscard]] Status reload(AgentConfig config);

  // Runs `action` in the loop whenever `fd` is readable: for signals.
  [[nodiscard]] Status watch(int fd, std::function<void()> action);
  // Waits for events and timers, at most until `deadline`, and does what is due.
  void turn(Instant deadline);

  // Tells every responder that the site leaves in order: three copies each, 10 ms apart.
  void leave();

  [[nodiscard]] std::uint64_t boot_epoch() const noexcept;
  [[nodiscard]] std::uint64_t sequence() const noexcept;  // of the newest beacon
  [[nodiscard]] std::string status() const;               // one line, for the service manager

 private:
  struct State;
  explicit Agent(std::unique_ptr<State> state) noexcept;
  std::unique_ptr<State> state_;
};

}  // namespace pharos::agent
