// The agent's event loop: descriptors with what to do when they are ready. One thread.
#pragma once

#include "pharos/base/clock.hh"
#include "pharos/base/error.hh"
#include "pharos/base/fd.hh"

#include <sys/epoll.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>

namespace pharos::agent {

inline constexpr Instant never{INT64_MAX};  // of things that wait for no time

class Poller {
 public:
  [[nodiscard]] static Result<Poller> open();

  // Watches `fd` (borrowed; EPOLLIN, EPOLLOUT) until remove(). `action` may add and remove descriptors, its own too.
  [[nodiscard]] Status add(int fd, std::uint32_t events, std::function<void()> action);
  // Before the descriptor is closed.
  void remove(int fd) noexcept;
  // Waits until something is ready or `deadline` has come, and runs what is due.
  void wait_until(Instant deadline);

 private:
  explicit Poller(UniqueFd epoll) : epoll_(std::move(epoll)) {}
  UniqueFd epoll_;
  std::map<int, std::shared_ptr<std::function<void()>>> actions_;
};

}  // namespace pharos::agent
