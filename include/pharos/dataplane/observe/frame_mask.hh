// Whole frames on their way to a capture: who they are from or to, and how they are masked.
//
// Frames here are copies, and may be cut short. Pure; serving threads call it while a capture runs.
#pragma once

#include "pharos/base/bytes.hh"
#include "pharos/base/ip_address.hh"
#include "pharos/dataplane/observe/client_mask.hh"

#include <cstdint>
#include <optional>

namespace pharos::dataplane {

enum class Direction : std::uint8_t { in, out };

// Where the headers of a frame are. Offsets count from its start and lie within it.
struct FrameLayout {
  enum class Network : std::uint8_t { none, arp, ipv4, ipv6 };
  Network network = Network::none;
  unsigned network_offset = 0;
  std::uint8_t protocol = 0;      // of IP: what follows its header
  unsigned transport_offset = 0;  // of IP: behind its header
  unsigned packet_end = 0;        // of IP: behind the packet, which padding may follow
  bool fragment = false;          // of IPv4: not the whole datagram
};
// Reads Ethernet, up to two VLAN tags, and the header of ARP, IPv4 or IPv6. What is not there whole is `none`.
[[nodiscard]] FrameLayout layout_of(ConstBytes frame) noexcept;

// The address at the other end: source of what came in, destination of what goes out. Of ARP, sender and target.
[[nodiscard]] std::optional<IpAddress> peer_of(ConstBytes frame, const FrameLayout& layout,
                                               Direction direction) noexcept;

// Masks a frame in place and returns how many of its bytes may leave. DNS over UDP (at `dns_port`) stays whole, with its message
// masked and its checksums right; of everything else only headers stay, since anything may be behind them.
[[nodiscard]] unsigned mask_frame(Bytes frame, Direction direction, std::uint16_t dns_port,
                                  const ClientMask& mask) noexcept;

}  // namespace pharos::dataplane
