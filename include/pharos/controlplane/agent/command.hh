// A shell command that runs beside the agent: started, watched, and killed with all its children at its deadline.
// One thread; never blocks.
#pragma once

#include "pharos/base/clock.hh"
#include "pharos/base/error.hh"
#include "pharos/controlplane/agent/poller.hh"

#include <functional>
#include <memory>
#include <string>

namespace pharos::agent {

class Command {
 public:
  static constexpr std::size_t output_bytes_max = 64U << 10;  // more is thrown away

  struct Outcome {
    bool succeeded = false;  // exit status 0 before the deadline
    std::string output;      // of its standard output
    std::string reason;      // why not, for people
  };
  using Done = std::function<void(Outcome)>;

  explicit Command(Poller& poller);
  ~Command();  // kills what still runs
  Command(Command&&) = delete;

  // Starts `shell_command` under /bin/sh; `done` is called once, from the poller or from on_time(). Errors: unavailable,
  // conflict (the former run is not done).
  [[nodiscard]] Status start(const std::string& shell_command, Instant deadline, Done done);
  [[nodiscard]] bool running() const noexcept;
  // When on_time() wants to be called: the deadline while running.
  [[nodiscard]] Instant next_time() const noexcept;
  void on_time(Instant at);

 private:
  struct Run;
  void read_output();
  void finish(std::string reason);

  Poller& poller_;
  std::unique_ptr<Run> run_;
};

}  // namespace pharos::agent
