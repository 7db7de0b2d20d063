#include "pharos/dataplane/io/doorbell.hh"

#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <string>

namespace pharos::dataplane::io {

namespace {

[[nodiscard]] int family_of(int fd) {
  int family = -1;
  socklen_t length = sizeof family;
  return ::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &length) == 0 ? family : -1;
}

[[nodiscard]] bool is_packet_socket_of(int fd, unsigned interface_index) {
  sockaddr_ll address{};
  socklen_t length = sizeof address;
  return family_of(fd) == AF_PACKET &&
         ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) == 0 &&
         address.sll_ifindex == static_cast<int>(interface_index);
}

[[nodiscard]] bool is_tap_of(int fd, const std::string& interface) {
  std::error_code ignored;
  const auto target = std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd), ignored);
  ifreq request{};
  return target == "/dev/net/tun" && ::ioctl(fd, TUNGETIFF, &request) == 0 &&
         interface == request.ifr_name;
}

void sleep_us(std::uint32_t us) noexcept {
  const timespec pause{.tv_sec = us / 1'000'000,
                       .tv_nsec = static_cast<long>(us % 1'000'000) * 1000};
  ::clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, nullptr);
}

}  // namespace

std::vector<int> open_descriptors() {
  std::vector<int> fds;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd", ignored)) {
    const auto name = entry.path().filename().string();
    int fd = -1;
    std::from_chars(name.data(), name.data() + name.size(), fd);
    fds.push_back(fd);
  }
  std::erase_if(fds, [](int fd) { return ::fcntl(fd, F_GETFD) < 0; });  // the iterator's own
  std::ranges::sort(fds);
  return fds;
}

std::vector<int> find_doorbells(const Device& device, unsigned queues,
                                const std::vector<int>& before) {
  const auto interface = device.argument("iface");
  std::vector<int> found;
  for (const int fd : open_descriptors()) {
    const bool is_new = !std::ranges::binary_search(before, fd);
    bool ours = false;
    if (device.driver == "net_af_packet") {
      ours = is_packet_socket_of(fd, ::if_nametoindex(interface.c_str()));
    } else if (device.driver == "net_af_xdp") {
      ours = is_new && family_of(fd) == AF_XDP;
    } else if (device.driver == "net_tap") {
      // The driver's keep-alive descriptor is older. An interface that is not named cannot be told.
      ours = is_new && !interface.empty() && is_tap_of(fd, interface);
    }
    if (ours) found.push_back(fd);
  }
  // TAP has a receive and a transmit descriptor for each queue, next to each other; either rings.
  if (found.empty() || found.size() % queues != 0) return {};
  const auto each = found.size() / queues;
  std::vector<int> doorbells;
  for (unsigned queue = 0; queue < queues; ++queue) doorbells.push_back(found[queue * each]);
  return doorbells;
}

void wait_at(std::span<pollfd> doorbells, std::uint32_t error_sleep_us) noexcept {
  const timespec longest{.tv_sec = 0, .tv_nsec = static_cast<long>(doorbell_wait_us) * 1000};
  const int count = ::ppoll(doorbells.data(), doorbells.size(), &longest, nullptr);
  if (count <= 0) return;
  for (const auto& doorbell : doorbells) {
    if ((doorbell.revents & POLLIN) != 0) return;
  }
  for (const auto& doorbell : doorbells) {
    int error = 0;
    socklen_t length = sizeof error;
    ::getsockopt(doorbell.fd, SOL_SOCKET, SO_ERROR, &error, &length);  // clears it
  }
  sleep_us(error_sleep_us);
}

}  // namespace pharos::dataplane::io
