// epoll behind a map of actions; see poller.hh.
#include "pharos/controlplane/agent/poller.hh"

#include <algorithm>
#include <cerrno>
#include <utility>

namespace pharos::agent {

Result<Poller> Poller::open() {
  UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) return fail_errno("epoll_create1");
  return Poller(std::move(epoll));
}

Status Poller::add(int fd, std::uint32_t events, std::function<void()> action) {
  epoll_event event{.events = events, .data = {.fd = fd}};
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) return fail_errno("epoll_ctl");
  actions_[fd] = std::make_shared<std::function<void()>>(std::move(action));
  return {};
}

void Poller::remove(int fd) noexcept {
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
  actions_.erase(fd);
}

void Poller::wait_until(Instant deadline) {
  epoll_event events[32];
  const auto rest = std::clamp(deadline - monotonic_now(), Duration{}, seconds(3600));
  const timespec timeout{rest.ns / 1'000'000'000, rest.ns % 1'000'000'000};
  const int count = ::epoll_pwait2(epoll_.get(), events, std::size(events), &timeout, nullptr);
  for (int i = 0; i < count; ++i) {
    // An earlier action of this round may have removed it, and the copy keeps this one alive while it runs.
    const auto found = actions_.find(events[i].data.fd);
    if (found == actions_.end()) continue;
    const auto action = found->second;
    (*action)();
  }
}

}  // namespace pharos::agent
