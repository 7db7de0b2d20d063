// Which source addresses no client can have, and sums of pseudo headers. Shared by the files of
// packet/.
#pragma once

#include "pharos/dataplane/packet/interface.hh"
#include "pharos/wire/checksum.hh"
#include "pharos/wire/frame.hh"

namespace pharos::dataplane {

// Sources that only a forger sends: 0/8, 127/8, 224/4 and 240/4 (RFC 6890), and ourselves, which
// would let two servers answer each other forever.
[[nodiscard]] inline bool is_martian(const Interface& interface, const frame::Ipv4& ip) noexcept {
  const unsigned first = ip.source[0];
  return first == 0 || first == 127 || first >= 224 ||
         interface.is_ours(load<std::uint32_t>(ip.source.data()));
}

// ::/96 (with :: and ::1 in it, and the long dead IPv4-compatible addresses), ::ffff:0:0/96,
// ff00::/8, ourselves.
[[nodiscard]] inline bool is_martian(const Interface& interface, const frame::Ipv6& ip) noexcept {
  const auto high = load<std::uint64_t>(ip.source.data());
  const auto middle = load<std::uint32_t>(ip.source.data() + 8);
  const bool low_block = high == 0 && (middle == 0 || middle == 0xffff0000U);
  return low_block || ip.source[0] == 0xff || interface.is_ours(ip.source.data());
}

// Sums of the pseudo header (RFC 768; RFC 8200, 8.1), as native words; the same in both directions.
[[nodiscard]] inline std::uint64_t pseudo_sum(const frame::Ipv4& ip, std::uint8_t protocol,
                                              unsigned bytes) noexcept {
  return std::uint64_t{load<std::uint32_t>(ip.source.data())} +
         load<std::uint32_t>(ip.destination.data()) + byte_swap(std::uint16_t{protocol}) +
         byte_swap(static_cast<std::uint16_t>(bytes));
}
[[nodiscard]] inline std::uint64_t pseudo_sum(const frame::Ipv6& ip, std::uint8_t protocol,
                                              unsigned bytes) noexcept {
  std::uint64_t total = byte_swap(std::uint16_t{protocol});
  total += byte_swap(static_cast<std::uint16_t>(bytes));
  for (unsigned at = 0; at < 16; at += 4) {
    total += load<std::uint32_t>(ip.source.data() + at);
    total += load<std::uint32_t>(ip.destination.data() + at);
  }
  return total;
}

}  // namespace pharos::dataplane
