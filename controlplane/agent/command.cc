// posix_spawn into a process group of its own, a pidfd for its end and a pipe for its output; see command.hh.
#include "pharos/controlplane/agent/command.hh"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <array>
#include <utility>

namespace pharos::agent {

struct Command::Run {
  pid_t pid = -1;
  UniqueFd exit;    // pidfd: readable when the shell has ended
  UniqueFd output;  // our end of its standard output
  Instant deadline;
  std::string text;
  Done done;
};

namespace {

// Starts the shell with `output` as its standard output, in its own process group, with the signal settings of a fresh
// process (ours block what the loop reads from a signalfd).
Result<pid_t> spawn(const std::string& shell_command, int output) {
  posix_spawn_file_actions_t files;
  ::posix_spawn_file_actions_init(&files);
  ::posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&files, output, 1);
  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  ::posix_spawnattr_setflags(
      &attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  ::posix_spawnattr_setpgroup(&attributes, 0);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setsigdefault(&attributes, &all);
  std::string program = "/bin/sh", option = "-c", command = shell_command;
  const std::array<char*, 4> arguments = {program.data(), option.data(), command.data(), nullptr};
  pid_t pid = -1;
  const int code = ::posix_spawn(&pid, "/bin/sh", &files, &attributes, arguments.data(), environ);
  ::posix_spawn_file_actions_destroy(&files);
  ::posix_spawnattr_destroy(&attributes);
  if (code != 0) {
    errno = code;
    return fail_errno("posix_spawn", shell_command);
  }
  return pid;
}

}  // namespace

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
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return fail_errno("pipe2", shell_command);
  UniqueFd output(ends[0]);
  UniqueFd input(ends[1]);
  ::fcntl(output.get(), F_SETFL, O_NONBLOCK);
  const auto pid = spawn(shell_command, input.get());
  if (!pid) return std::unexpected(pid.error());
  auto run = std::make_unique<Run>();
  run->pid = *pid;
  run->exit = UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, *pid, 0)));
  run->output = std::move(output);
  run->deadline = deadline;
  run->done = std::move(done);
  run_ = std::move(run);
  if (!run_->exit) {
    finish("pidfd_open failed");
    return {};
  }
  // Where epoll has no room, the deadline ends the run: nothing is left behind.
  (void)poller_.add(run_->exit.get(), EPOLLIN, [this] { finish({}); });
  (void)poller_.add(run_->output.get(), EPOLLIN, [this] { read_output(); });
  return {};
}

void Command::read_output() {
  std::array<char, 4096> buffer;
  constexpr unsigned reads_max = 16;  // one that never stops writing must not hold the loop
  for (unsigned i = 0; i < reads_max; ++i) {
    const auto count = ::read(run_->output.get(), buffer.data(), buffer.size());
    if (count <= 0) {
      if (count == 0)
        poller_.remove(run_->output.get());  // all writers are gone; the pidfd tells of the end
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
  if (run_->exit) poller_.remove(run_->exit.get());
  poller_.remove(run_->output.get());
  ::kill(-run_->pid, SIGKILL);  // the shell where it still runs, and what it left behind
  int status = 0;
  ::waitpid(run_->pid, &status, 0);  // ended, or killed just now: does not wait
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
