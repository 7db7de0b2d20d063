// posix_spawn without a shell, a pidfd for the end and a pipe for the output; see child_process.hh.
#include "pharos/controlplane/probe/child_process.hh"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <array>
#include <utility>
#include <vector>

namespace pharos {
namespace {

// Pointers into copies of `words`, null at the end: what exec() takes, and may write to.
class WordList {
 public:
  explicit WordList(std::span<const std::string> words) : copies_(words.begin(), words.end()) {
    pointers_.reserve(copies_.size() + 1);
    for (auto& word : copies_) pointers_.push_back(word.data());
    pointers_.push_back(nullptr);
  }
  [[nodiscard]] char* const* data() const noexcept { return pointers_.data(); }

 private:
  std::vector<std::string> copies_;
  std::vector<char*> pointers_;
};

// The number of the program, which writes to `output`.
Result<pid_t> spawn(std::span<const std::string> words, std::span<const std::string> environment,
                    ErrorOutput error_output, int output) {
  posix_spawn_file_actions_t files;
  ::posix_spawn_file_actions_init(&files);
  ::posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&files, output, 1);
  if (error_output == ErrorOutput::nowhere)
    ::posix_spawn_file_actions_addopen(&files, 2, "/dev/null", O_WRONLY, 0);
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
  const WordList arguments(words), given(environment);
  pid_t pid = -1;
  const int code = ::posix_spawn(&pid, words.front().c_str(), &files, &attributes, arguments.data(),
                                 environment.empty() ? environ : given.data());
  ::posix_spawn_file_actions_destroy(&files);
  ::posix_spawnattr_destroy(&attributes);
  if (code == 0) return pid;
  errno = code;
  return fail_errno("posix_spawn", words.front());
}

}  // namespace

Result<ChildProcess> ChildProcess::start(std::span<const std::string> words,
                                         std::span<const std::string> environment,
                                         ErrorOutput error_output) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return fail_errno("pipe2", words.front());
  ChildProcess child;
  child.output_ = UniqueFd(ends[0]);
  const UniqueFd input(ends[1]);
  ::fcntl(child.output_.get(), F_SETFL, O_NONBLOCK);
  const auto pid = spawn(words, environment, error_output, input.get());
  if (!pid) return std::unexpected(pid.error());
  child.pid_ = *pid;
  child.exit_ = UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, *pid, 0)));
  if (!child.exit_) return fail_errno("pidfd_open", words.front());
  return child;
}

ChildProcess::ChildProcess(ChildProcess&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      exit_(std::move(other.exit_)),
      output_(std::move(other.output_)) {}

ChildProcess& ChildProcess::operator=(ChildProcess&& other) noexcept {
  if (this == &other) return *this;
  end();
  pid_ = std::exchange(other.pid_, -1);
  exit_ = std::move(other.exit_);
  output_ = std::move(other.output_);
  return *this;
}

int ChildProcess::end() noexcept {
  if (pid_ < 0) return 0;
  // Until it is reaped the number of its group is nobody else's.
  ::kill(-pid_, SIGKILL);
  int status = 0;
  ::waitpid(pid_, &status, 0);
  pid_ = -1;
  return status;
}

}  // namespace pharos
