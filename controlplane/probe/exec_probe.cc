// A program as a probe: without a shell, in a process group of its own, with nothing of our environment but PATH.
// The probe waits at one descriptor, an epoll set of the pidfd and the pipe of standard output. Whoever drops the probe at
// its deadline kills the whole group.
#include "pharos/controlplane/probe/child_process.hh"

#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>

#include "probes.hh"

namespace pharos::probe {
namespace {

const std::array<std::string, 2> environment = {
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"};

class ExecProbe final : public Probe {
 public:
  explicit ExecProbe(const Target& target) : Probe(target) {
    if (auto begun = begin(); !begun) conclude(false, begun.error().text());
  }

  void ready() override {
    std::array<epoll_event, 2> events;
    const int count = ::epoll_wait(fd_.get(), events.data(), static_cast<int>(events.size()), 0);
    for (int i = 0; i < count && !outcome_; ++i) {
      if (events[static_cast<std::size_t>(i)].data.fd == program_.output_fd()) read_output();
    }
    for (int i = 0; i < count && !outcome_; ++i) {
      if (events[static_cast<std::size_t>(i)].data.fd == program_.exit_fd()) judge();
    }
  }

 private:
  [[nodiscard]] Status begin() {
    fd_ = UniqueFd(::epoll_create1(EPOLL_CLOEXEC));
    if (!fd_) return fail_errno("epoll_create1");
    auto program = ChildProcess::start(target_.program, environment, ErrorOutput::nowhere);
    if (!program) return std::unexpected(std::move(program).error());
    program_ = std::move(*program);
    for (const int fd : {program_.exit_fd(), program_.output_fd()}) {
      epoll_event event{.events = EPOLLIN, .data = {.fd = fd}};
      if (::epoll_ctl(fd_.get(), EPOLL_CTL_ADD, fd, &event) != 0) return fail_errno("epoll_ctl");
    }
    events_ = EPOLLIN;
    return {};
  }

  void read_output() {
    std::array<char, 4096> buffer;
    for (;;) {
      const auto count = ::read(program_.output_fd(), buffer.data(), buffer.size());
      if (count < 0) return;
      if (count == 0) {  // all writers are gone; the pidfd tells of the end
        static_cast<void>(::epoll_ctl(fd_.get(), EPOLL_CTL_DEL, program_.output_fd(), nullptr));
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
    // WNOWAIT: ChildProcess reaps, and until then the group's number is nobody else's.
    if (::waitid(P_PID, static_cast<id_t>(program_.pid()), &info, WEXITED | WNOHANG | WNOWAIT) !=
            0 ||
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

  ChildProcess program_;  // killed with this probe
  std::string text_;
};

}  // namespace

std::unique_ptr<Probe> start_exec(const Target& target) {
  return std::make_unique<ExecProbe>(target);
}

}  // namespace pharos::probe
