// A program as a probe: posix_spawn without a shell, in a process group of its own, with nothing of our environment but PATH.
// The probe waits at one descriptor, an epoll set of the pidfd and the pipe of standard output. Whoever drops the probe at
// its deadline kills the whole group.
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <vector>

#include "probes.hh"

namespace pharos::probe {
namespace {

constexpr const char* environment_path =
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

// Standard input empty, standard error nowhere; signals as in a fresh process.
Result<pid_t> spawn(const std::vector<std::string>& words, int output) {
  posix_spawn_file_actions_t files;
  ::posix_spawn_file_actions_init(&files);
  ::posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&files, output, 1);
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
  auto copies = words;
  std::vector<char*> arguments;
  arguments.reserve(copies.size() + 1);
  for (auto& word : copies) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  std::string path = environment_path;
  std::string language = "LC_ALL=C";
  const std::array<char*, 3> environment = {path.data(), language.data(), nullptr};
  pid_t pid = -1;
  const int code = ::posix_spawn(&pid, words.front().c_str(), &files, &attributes, arguments.data(),
                                 environment.data());
  ::posix_spawn_file_actions_destroy(&files);
  ::posix_spawnattr_destroy(&attributes);
  if (code == 0) return pid;
  errno = code;
  return fail_errno("posix_spawn", words.front());
}

class ExecProbe final : public Probe {
 public:
  explicit ExecProbe(const Target& target) : Probe(target) {
    if (auto begun = begin(); !begun) conclude(false, begun.error().text());
  }
  ExecProbe(const ExecProbe&) = delete;
  ExecProbe& operator=(const ExecProbe&) = delete;
  ~ExecProbe() override { end(); }

  void ready() override {
    std::array<epoll_event, 2> events;
    const int count = ::epoll_wait(fd_.get(), events.data(), static_cast<int>(events.size()), 0);
    for (int i = 0; i < count && !outcome_; ++i) {
      if (events[static_cast<std::size_t>(i)].data.fd == output_.get()) read_output();
    }
    for (int i = 0; i < count && !outcome_; ++i) {
      if (events[static_cast<std::size_t>(i)].data.fd == exit_.get()) judge();
    }
  }

 private:
  [[nodiscard]] Status begin() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) return fail_errno("pipe2");
    output_ = UniqueFd(ends[0]);
    const UniqueFd input(ends[1]);
    ::fcntl(output_.get(), F_SETFL, O_NONBLOCK);
    fd_ = UniqueFd(::epoll_create1(EPOLL_CLOEXEC));
    if (!fd_) return fail_errno("epoll_create1");
    const auto pid = spawn(target_.program, input.get());
    if (!pid) return std::unexpected(pid.error());
    pid_ = *pid;
    exit_ = UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
    if (!exit_) return fail_errno("pidfd_open");
    for (const int fd : {exit_.get(), output_.get()}) {
      epoll_event event{.events = EPOLLIN, .data = {.fd = fd}};
      if (::epoll_ctl(fd_.get(), EPOLL_CTL_ADD, fd, &event) != 0) return fail_errno("epoll_ctl");
    }
    events_ = EPOLLIN;
    return {};
  }

  void read_output() {
    std::array<char, 4096> buffer;
    for (;;) {
      const auto count = ::read(output_.get(), buffer.data(), buffer.size());
      if (count < 0) return;
      if (count == 0) {  // all writers are gone; the pidfd tells of the end
        static_cast<void>(::epoll_ctl(fd_.get(), EPOLL_CTL_DEL, output_.get(), nullptr));
        return;
      }
      text_.append(buffer.data(), static_cast<std::size_t>(count));
      if (text_.size() > reply_bytes_max) return conclude(false, "it writes more than 64 KiB");
    }
  }

  void judge() {
    read_output();
    if (outcome_) return;
    siginfo_t info{};
    // WNOWAIT: end() reaps, and until then the group's number is nobody else's.
    if (::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
        info.si_pid == 0)
      return;
    if (info.si_code != CLD_EXITED)
      return conclude(false, "signal " + std::to_string(info.si_status));
    if (info.si_status != 0)
      return conclude(false, "exit status " + std::to_string(info.si_status));
    if (text_.find(target_.match) == std::string::npos)
      return conclude(false, "its output holds no '" + target_.match + "'");
    conclude(true);
  }

  // Kills what still runs of the group. The wait is for what has ended, or was killed just now.
  void end() noexcept {
    if (pid_ < 0) return;
    ::kill(-pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }

  pid_t pid_ = -1;
  UniqueFd exit_;    // pidfd: readable when it has ended
  UniqueFd output_;  // our end of its standard output
  std::string text_;
};

}  // namespace

std::unique_ptr<Probe> start_exec(const Target& target) {
  return std::make_unique<ExecProbe>(target);
}

}  // namespace pharos::probe
