// A child process whose end and output the agent's poller watches; see command.hh.
#include "pharos/controlplane/agent/command.hh"

#include "pharos/controlplane/probe/child_process.hh"

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <utility>

namespace pharos::agent {

struct Command::Run {
  ChildProcess shell;
  Instant deadline;
  std::string text;
  Done done;
};

Command::Command(Poller& poller) : poller_(poller) {}

Command::~Command() {
  if (!run_) return;
  run_->done = nullptr;
  finish("stopped");
}

bool Command::running() const noexcept {
  return run_ != nullptr;
}
Instant Command::next_time() const noexcept {
  return run_ ? run_->deadline : never;
}

Status Command::start(const std::string& shell_command, Instant deadline, Done done) {
  if (run_) return fail(ErrorCode::conflict, "the former run is not done", shell_command);
  const std::array<std::string, 3> words = {"/bin/sh", "-c", shell_command};
  auto shell = ChildProcess::start(words, {}, ErrorOutput::ours);
  if (!shell) return std::unexpected(std::move(shell).error());
  run_ = std::make_unique<Run>(std::move(*shell), deadline, std::string(), std::move(done));
  // Where epoll has no room, the deadline ends the run: nothing is left behind.
  (void)poller_.add(run_->shell.exit_fd(), EPOLLIN, [this] { finish({}); });
  (void)poller_.add(run_->shell.output_fd(), EPOLLIN, [this] { read_output(); });
  return {};
}

void Command::read_output() {
  std::array<char, 4096> buffer;
  constexpr unsigned reads_max = 16;  // one that never stops writing must not hold the loop
  for (unsigned i = 0; i < reads_max; ++i) {
    const auto count = ::read(run_->shell.output_fd(), buffer.data(), buffer.size());
    if (count <= 0) {
      if (count == 0)
        poller_.remove(
            run_->shell.output_fd());  // all writers are gone; the pidfd tells of the end
      return;
    }
    if (run_->text.size() < output_bytes_max)
      run_->text.append(buffer.data(), static_cast<std::size_t>(count));
  }
}

void Command::on_time(Instant at) {
  if (run_ && at >= run_->deadline) finish("no end before its deadline");
}

// Ends the run: by itself where `reason` is empty, else by force.
void Command::finish(std::string reason) {
  if (reason.empty()) read_output();
  poller_.remove(run_->shell.exit_fd());
  poller_.remove(run_->shell.output_fd());
  const int status = run_->shell.end();  // with it where it still runs, and what it left behind
  const auto run = std::move(run_);
  Outcome outcome{.succeeded = reason.empty() && WIFEXITED(status) && WEXITSTATUS(status) == 0,
                  .output = std::move(run->text),
                  .reason = std::move(reason)};
  if (!outcome.succeeded && outcome.reason.empty()) {
    outcome.reason = WIFEXITED(status) ? "exit status " + std::to_string(WEXITSTATUS(status))
                                       : "signal " + std::to_string(WTERMSIG(status));
  }
  if (run->done) run->done(std::move(outcome));
}

}  // namespace pharos::agent
