#include "pharos/dataplane/core/signals.hh"

#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>

namespace pharos::dataplane::signals {

namespace {

// Touched by the handler: lock-free atomics, which are async-signal-safe. Sequentially consistent: rare, and the
// eventfd's write must not be seen before the flag.
std::atomic<bool> watched{false};
std::atomic<bool> stop{false};
std::atomic<bool> reload{false};
std::atomic<int> event{-1};
static_assert(std::atomic<bool>::is_always_lock_free && std::atomic<int>::is_always_lock_free);

void note(int number) {
  const int saved = errno;
  if (number == SIGHUP) {
    reload = true;
  } else if (!watched) {
    ::_exit(128 + number);  // as a shell reports a death by signal
  } else {
    stop = true;
  }
  const std::uint64_t one = 1;
  // Fails only when already readable.
  [[maybe_unused]] const auto written = ::write(event, &one, sizeof one);
  errno = saved;
}

}  // namespace

Status install() {
  event = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (event < 0) return fail_errno("eventfd");
  struct sigaction action{};
  action.sa_handler = note;
  action.sa_flags = SA_RESTART;
  sigfillset(&action.sa_mask);
  for (const int number : {SIGTERM, SIGINT, SIGHUP}) {
    if (::sigaction(number, &action, nullptr) != 0) return fail_errno("sigaction");
  }
  return {};
}

int watch() noexcept {
  // What came during the start is in the configuration that was read, or will be asked for again.
  reload = false;
  watched = true;
  return event;
}

Noted take() noexcept {
  std::uint64_t count = 0;
  // Nothing there: nothing noted.
  [[maybe_unused]] const auto got = ::read(event, &count, sizeof count);
  return {.stop = stop.exchange(false), .reload = reload.exchange(false)};
}

}  // namespace pharos::dataplane::signals
