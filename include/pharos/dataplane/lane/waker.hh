// Waker: wakes a thread that sleeps in poll or epoll, and costs no system call while that thread is awake.
//
//   sleeper                                     waker
//     will_sleep()                                makes work visible
//     looks for work once more                    wake()
//     sleeps at fd() unless there is any
//     woke()
//
// Whichever of will_sleep() and wake() comes first: the other side sees it, so that no work is slept over.
#pragma once

#include "pharos/base/error.hh"
#include "pharos/base/fd.hh"

#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>

namespace pharos::dataplane {

class Waker {
 public:
  // Errors: unavailable.
  [[nodiscard]] Status open() {
    fd_ = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!fd_) return fail_errno("eventfd");
    return {};
  }
  [[nodiscard]] int fd() const noexcept { return fd_.get(); }

  // acq_rel here and in wake(): the two are read-modify-writes of one variable, so that one comes first; what the
  // waker did before it is then seen by the sleeper behind it, or the waker sees the flag.
  void will_sleep() noexcept { asleep_.exchange(true, std::memory_order_acq_rel); }
  void woke() noexcept {
    if (asleep_.exchange(false, std::memory_order_acq_rel)) return;  // nobody rang
    std::uint64_t rings = 0;
    [[maybe_unused]] const auto got = ::read(fd_.get(), &rings, sizeof rings);
  }

  void wake() noexcept {
    if (!asleep_.exchange(false, std::memory_order_acq_rel)) return;
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto written = ::write(fd_.get(), &one, sizeof one);
  }

 private:
  UniqueFd fd_;
  std::atomic<bool> asleep_{false};
};

}  // namespace pharos::dataplane
