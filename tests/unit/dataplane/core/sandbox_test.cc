// A child enters the sandbox as each kind of thread and tries what it must not do, and what it must be able to do.
#include "pharos/dataplane/core/sandbox.hh"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <string>
#include <thread>

namespace pharos::dataplane {
namespace {

constexpr std::array kinds = {ThreadKind::worker, ThreadKind::control, ThreadKind::lane,
                              ThreadKind::saver,  ThreadKind::helper,  ThreadKind::dnstap};

// What the call set errno to; 0 where it worked.
int error_of(int result) {
  return result == -1 ? errno : 0;
}
int error_of(ssize_t result) {
  return result == -1 ? errno : 0;
}
int error_of(const void* mapping) {
  return mapping == MAP_FAILED ? errno : 0;
}

struct End {
  int code;    // of exit; -1 where a signal ended it
  int signal;  // 0: none
};

// `body` in a child that has entered the sandbox as `kind`; its result is the exit code.
End confined(ThreadKind kind, const std::function<int()>& body, const SandboxNeeds& needs = {}) {
  const pid_t child = ::fork();
  if (child == 0) {
    if (!prepare_sandbox(needs)) ::_exit(200);
    if (enter_sandbox_raw(kind) != 0) ::_exit(201);
    ::_exit(body());
  }
  int status = 0;
  if (::waitpid(child, &status, 0) != child) return {-1, -1};
  if (WIFSIGNALED(status)) return {-1, WTERMSIG(status)};
  return {WEXITSTATUS(status), 0};
}

class SandboxTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!sandbox_is_possible()) GTEST_SKIP() << "sanitizers make calls of their own";
  }
};

void expect_refused(ThreadKind kind, const char* what, const std::function<int()>& body) {
  const End end = confined(kind, body);
  EXPECT_EQ(end.signal, 0) << name_of(kind) << ": " << what;
  EXPECT_EQ(end.code, EPERM) << name_of(kind) << ": " << what;
}
void expect_allowed(ThreadKind kind, const char* what, const std::function<int()>& body) {
  const End end = confined(kind, body);
  EXPECT_EQ(end.signal, 0) << name_of(kind) << ": " << what;
  EXPECT_EQ(end.code, 0) << name_of(kind) << ": " << what;
}

TEST_F(SandboxTest, NoThreadKindExecutesAProgramOrReadsAnotherProcess) {
  for (const ThreadKind kind : kinds) {
    const auto deadly = [&](const char* what, const std::function<int()>& body) {
      const End end = confined(kind, body);
      EXPECT_EQ(end.signal, SIGSYS) << name_of(kind) << ": " << what;
    };
    deadly("execve", [] {
      char* const arguments[] = {nullptr};
      return error_of(::execve("/bin/true", arguments, arguments));
    });
    deadly("ptrace", [] { return error_of(::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr)); });
    deadly("process_vm_readv", [] {
      iovec nothing{};
      return error_of(::process_vm_readv(::getppid(), &nothing, 1, &nothing, 1, 0));
    });
    deadly("init_module",
           [] { return error_of(static_cast<int>(::syscall(SYS_init_module, nullptr, 0, ""))); });
  }
}

TEST_F(SandboxTest, NoThreadKindMakesMemoryExecutable) {
  for (const ThreadKind kind : kinds) {
    expect_refused(kind, "mmap", [] {
      return error_of(
          ::mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    });
    expect_refused(kind, "mprotect", [] {
      void* page = ::mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      return error_of(::mprotect(page, 4096, PROT_READ | PROT_EXEC));
    });
  }
}

TEST_F(SandboxTest, NoThreadKindStartsAProcessOrSignalsOne) {
  for (const ThreadKind kind : kinds) {
    expect_refused(kind, "kill", [] { return error_of(::kill(::getppid(), 0)); });
    expect_refused(kind, "tgkill of another", [] {
      const pid_t other = 1;
      return error_of(static_cast<int>(::syscall(SYS_tgkill, other, other, 0)));
    });
    expect_refused(kind, "clone without CLONE_THREAD", [] {
      const long child = ::syscall(SYS_clone, SIGCHLD, nullptr, nullptr, nullptr, 0);
      if (child == 0) ::_exit(0);
      return error_of(static_cast<int>(child));
    });
    for (const int number : {SYS_mount, SYS_unshare, SYS_setns, SYS_chroot, SYS_keyctl, SYS_bpf,
                             SYS_perf_event_open, SYS_io_uring_setup, SYS_userfaultfd,
                             SYS_setresuid, SYS_chmod, SYS_chown, SYS_personality}) {
      expect_refused(kind, ("call " + std::to_string(number)).c_str(), [number] {
        return error_of(static_cast<int>(::syscall(number, 0, 0, 0, 0, 0)));
      });
    }
  }
}

TEST_F(SandboxTest, OnlyTheSaverOpensAFileForWriting) {
  const std::string path = "/tmp/pharos-sandbox-" + std::to_string(::getpid());
  const auto create = [&path] { return error_of(::open(path.c_str(), O_RDWR | O_CREAT, 0600)); };
  const auto truncate = [] { return error_of(::open("/dev/null", O_WRONLY | O_TRUNC)); };
  const auto anonymous = [] { return error_of(::open("/tmp", O_TMPFILE | O_RDWR, 0600)); };
  for (const ThreadKind kind : {ThreadKind::worker, ThreadKind::control, ThreadKind::lane,
                                ThreadKind::helper, ThreadKind::dnstap}) {
    expect_refused(kind, "create", create);
    expect_refused(kind, "truncate", truncate);
    expect_refused(kind, "an anonymous file", anonymous);
    expect_refused(kind, "rename", [] { return error_of(::rename("/nothing", "/nowhere")); });
  }
  expect_allowed(ThreadKind::saver, "create", create);
  expect_allowed(ThreadKind::saver, "replace", [&path] {
    return error_of(::rename(path.c_str(), (path + ".new").c_str())) +
           error_of(::unlink((path + ".new").c_str()));
  });
}

TEST_F(SandboxTest, WorkersAndLanesOpenNothingAtAll) {
  for (const ThreadKind kind : {ThreadKind::worker, ThreadKind::lane}) {
    expect_refused(kind, "open", [] { return error_of(::open("/etc/passwd", O_RDONLY)); });
    expect_refused(kind, "socket", [] { return error_of(::socket(AF_INET, SOCK_STREAM, 0)); });
    expect_refused(kind, "connect", [] { return error_of(::connect(0, nullptr, 0)); });
    expect_refused(kind, "ioctl", [] {
      return error_of(static_cast<int>(::syscall(SYS_ioctl, 0, 0x5412, nullptr)));
    });
  }
  expect_refused(ThreadKind::saver, "socket",
                 [] { return error_of(::socket(AF_UNIX, SOCK_STREAM, 0)); });
}

TEST_F(SandboxTest, TheDnstapThreadConnectsAndNothingElse) {
  for (const int family : {AF_UNIX, AF_INET, AF_INET6}) {
    expect_allowed(ThreadKind::dnstap, "socket", [family] {
      return error_of(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    });
  }
  expect_refused(ThreadKind::dnstap, "packet socket",
                 [] { return error_of(::socket(AF_PACKET, SOCK_RAW, 0)); });
  expect_refused(ThreadKind::dnstap, "open",
                 [] { return error_of(::open("/etc/passwd", O_RDONLY)); });
  expect_refused(ThreadKind::dnstap, "bind", [] { return error_of(::bind(0, nullptr, 0)); });
  expect_refused(ThreadKind::dnstap, "listen", [] { return error_of(::listen(0, 1)); });
}

TEST_F(SandboxTest, TheControlThreadHasNoPacketsAndNoTerminal) {
  for (const ThreadKind kind : {ThreadKind::control, ThreadKind::helper}) {
    expect_refused(kind, "packet socket",
                   [] { return error_of(::socket(AF_PACKET, SOCK_RAW, 0)); });
    expect_refused(kind, "typing into a terminal", [] {
      return error_of(static_cast<int>(::syscall(SYS_ioctl, 0, 0x5412, nullptr)));  // TIOCSTI
    });
    expect_allowed(kind, "reading a file", [] { return error_of(::open("/dev/null", O_RDONLY)); });
  }
}

TEST_F(SandboxTest, TheControlThreadListensAtAddressesThatAReloadAdds) {
  expect_allowed(ThreadKind::control, "listen", [] {
    const int socket = ::socket(AF_INET6, SOCK_STREAM, 0);
    return error_of(socket) + error_of(::listen(socket, 1));
  });
  expect_refused(ThreadKind::helper, "IPv6 socket",
                 [] { return error_of(::socket(AF_INET6, SOCK_DGRAM, 0)); });
}

TEST_F(SandboxTest, EveryThreadKindWaitsLocksAllocatesAndEnds) {
  for (const ThreadKind kind : kinds) {
    expect_allowed(kind, "sleep", [] {
      const timespec moment{.tv_sec = 0, .tv_nsec = 1000};
      return ::clock_nanosleep(CLOCK_MONOTONIC, 0, &moment, nullptr);
    });
    expect_allowed(kind, "poll", [] { return error_of(::poll(nullptr, 0, 1)); });
    expect_allowed(kind, "memory", [] {
      std::string large(8U << 20, 'x');
      return large.back() == 'x' ? 0 : 1;
    });
    const End aborted = confined(kind, []() -> int { std::abort(); });
    EXPECT_EQ(aborted.signal, SIGABRT) << name_of(kind) << ": an assertion must say so";
  }
}

TEST_F(SandboxTest, AWorkerSendsAndReceives) {
  int pair[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), 0);
  expect_allowed(ThreadKind::worker, "sendto, recvfrom, writev, readv", [&pair] {
    char byte = 'x';
    iovec part{.iov_base = &byte, .iov_len = 1};
    const bool good = ::send(pair[0], &byte, 1, 0) == 1 && ::recv(pair[1], &byte, 1, 0) == 1 &&
                      ::writev(pair[0], &part, 1) == 1 && ::readv(pair[1], &part, 1) == 1;
    return good ? 0 : 1;
  });
  ::close(pair[0]);
  ::close(pair[1]);
}

TEST_F(SandboxTest, ALaneServesSocketsThatWereOpenBefore) {
  const int epoll = ::epoll_create1(0);
  const int event = ::eventfd(0, EFD_NONBLOCK);
  expect_allowed(ThreadKind::lane, "epoll", [=] {
    epoll_event interest{};
    interest.events = EPOLLIN;
    epoll_event found{};
    const std::uint64_t one = 1;
    const bool good = ::epoll_ctl(epoll, EPOLL_CTL_ADD, event, &interest) == 0 &&
                      ::write(event, &one, sizeof one) == sizeof one &&
                      ::epoll_wait(epoll, &found, 1, 0) == 1 && ::close(event) == 0;
    return good ? 0 : 1;
  });
  ::close(epoll);
  ::close(event);
}

TEST_F(SandboxTest, AHelperStartsThreadsWhichHaveItsFilter) {
  expect_allowed(ThreadKind::helper, "thread", [] {
    int error = 0;
    std::thread([&error] { error = error_of(::socket(AF_PACKET, SOCK_RAW, 0)); }).join();
    return error == EPERM ? 0 : 1;
  });
}

TEST_F(SandboxTest, ALaterFilterOnlyTakesAway) {
  expect_allowed(ThreadKind::helper, "worker on top of helper", [] {
    if (enter_sandbox_raw(ThreadKind::worker) != 0) return 1;
    if (error_of(::open("/dev/null", O_RDONLY)) != EPERM) return 2;
    return error_of(::poll(nullptr, 0, 1));
  });
}

TEST_F(SandboxTest, RefusedCallsAreCountedByThreadKindAndName) {
  expect_allowed(ThreadKind::worker, "count", [] {
    for (int i = 0; i < 3; ++i) ::close(-1);
    static_cast<void>(::open("/dev/null", O_RDONLY));
    const auto calls = refused_calls();
    const bool good = calls.size() == 2 &&
                      std::ranges::any_of(calls,
                                          [](const RefusedCall& call) {
                                            return call.kind == ThreadKind::worker &&
                                                   call.name == "close" &&
                                                   call.number == SYS_close && call.count == 3;
                                          }) &&
                      std::ranges::any_of(calls, [](const RefusedCall& call) {
                        return call.name == "openat" && call.count == 1;
                      });
    return good ? 0 : 1;
  });
}

// What PCI drivers do at the end of the process, as scripts/test-nic has it seen.
TEST_F(SandboxTest, PciPortsLetDriversWriteConfigurationSpaceAndNoWorkerAnything) {
  const int file = ::memfd_create("configuration space", MFD_CLOEXEC);
  ASSERT_GE(file, 0);
  const auto write_at = [file] { return error_of(::pwrite(file, "x", 1, 4)); };
  for (const ThreadKind kind : {ThreadKind::control, ThreadKind::helper}) {
    EXPECT_EQ(confined(kind, write_at).code, EPERM) << name_of(kind);
    EXPECT_EQ(confined(kind, write_at, {.pci = true}).code, 0) << name_of(kind);
    expect_allowed(kind, "epoll_create",
                   [] { return error_of(static_cast<int>(::syscall(SYS_epoll_create, 1))); });
  }
  for (const ThreadKind kind : {ThreadKind::worker, ThreadKind::lane})
    EXPECT_EQ(confined(kind, write_at, {.pci = true}).code, EPERM) << name_of(kind);
  ::close(file);
}

// The saver blocks all signals; a refused call must not end the process for that.
TEST_F(SandboxTest, AThreadThatBlocksSignalsIsRefusedToo) {
  const pid_t child = ::fork();
  if (child == 0) {
    sigset_t all;
    sigfillset(&all);
    ::sigprocmask(SIG_SETMASK, &all, nullptr);
    if (!prepare_sandbox({}) || enter_sandbox_raw(ThreadKind::saver) != 0) ::_exit(1);
    ::_exit(error_of(::socket(AF_UNIX, SOCK_STREAM, 0)) == EPERM ? 0 : 2);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

TEST_F(SandboxTest, WithoutPreparationNothingIsEntered) {
  const pid_t child = ::fork();
  if (child == 0) {
    const int code = enter_sandbox_raw(ThreadKind::worker);
    ::_exit(code == 0 && !sandbox_place().entered && error_of(::open("/dev/null", O_RDONLY)) == 0
                ? 0
                : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace pharos::dataplane
