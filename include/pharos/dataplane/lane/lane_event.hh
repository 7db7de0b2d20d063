// What an event of the lane's epoll set is about: a kind in the low bits of its 64 bits of data, and behind it a number.
#pragma once

#include <cstdint>

namespace pharos::dataplane {

inline constexpr unsigned lane_event_bits = 3;

enum class LaneEvent : std::uint8_t {
  connection = 0,  // the data is a pointer, see TcpServer
  tcp_listener,    // number: the socket
  udp_socket,      // number: the socket
  wake,
  exception,  // number: index of the exception interface
};

[[nodiscard]] constexpr std::uint64_t event_of(LaneEvent kind, unsigned number) noexcept {
  return std::uint64_t{number} << lane_event_bits | static_cast<unsigned>(kind);
}
[[nodiscard]] constexpr LaneEvent kind_of(std::uint64_t event) noexcept {
  return static_cast<LaneEvent>(event & ((1U << lane_event_bits) - 1));
}
[[nodiscard]] constexpr unsigned number_of(std::uint64_t event) noexcept {
  return static_cast<unsigned>(event >> lane_event_bits);
}

}  // namespace pharos::dataplane
