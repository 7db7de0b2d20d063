// What the packet path knows of one port: our addresses on it and what its hardware does for us.
//
// Made once at start-up by the I/O layer, constant after that, read by every worker of the port.
#pragma once

#include "pharos/base/bytes.hh"
#include "pharos/base/error.hh"
#include "pharos/base/ip_address.hh"

#include <immintrin.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace pharos::dataplane {

struct MacAddress {
  std::array<std::uint8_t, 6> bytes{};
  friend constexpr auto operator<=>(const MacAddress&, const MacAddress&) = default;
  [[nodiscard]] std::string text() const;  // "02:00:5e:00:53:01"
};

// IPv6 addresses count the link-local one that is made from the MAC.
inline constexpr unsigned interface_addresses_max = 64;  // of each family
inline constexpr std::uint16_t vlan_id_max = 4094;       // IEEE 802.1Q, 9.6

struct InterfaceSettings {
  MacAddress mac;
  std::vector<IpAddress> addresses;  // ours; the IPv6 link-local address of the MAC is added
  // Only frames whose outer tag has this id; none: any, or no tag.
  std::optional<std::uint16_t> vlan;
  std::uint16_t dns_port = 53;
  std::uint16_t beacon_port = 0;  // 0: none
  bool any_mac = false;           // take frames to every MAC (promiscuous ports, captures)
  // Traffic that is not ours to answer goes there, ARP and echo included.
  bool exception_port = false;
  bool transmit_ipv4_checksum = false;  // the port computes them; see Frame::transmit_flags
  bool transmit_udp_checksum = false;
};

struct Interface {
  MacAddress mac;
  bool any_mac = false;
  bool exception_port = false;
  bool transmit_ipv4_checksum = false;
  bool transmit_udp_checksum = false;
  bool vlan_only = false;
  std::uint16_t vlan = 0;  // host order
  std::uint16_t dns_port = 53;
  std::uint16_t beacon_port = 0;

  // How plain frames to us begin (classify.cc): 32 bytes of a frame, and which of their bits count.
  alignas(32) std::array<std::uint8_t, 32> plain_head{};
  alignas(32) std::array<std::uint8_t, 32> plain_mask{};

  // In network order as loaded from a header.
  unsigned ipv4_count = 0;
  unsigned ipv6_count = 0;
  alignas(32) std::array<std::uint32_t, interface_addresses_max> ipv4{};
  alignas(32) std::array<std::array<std::uint8_t, 16>, interface_addresses_max> ipv6{};

  // Hot. The address as loaded from a header, in network order.
  [[nodiscard]] bool is_ours(std::uint32_t address) const noexcept {
    const auto wanted = _mm256_set1_epi32(static_cast<int>(address));
    for (unsigned at = 0; at < ipv4_count; at += 8) {
      const auto some = _mm256_load_si256(reinterpret_cast<const __m256i*>(ipv4.data() + at));
      const auto equal = _mm256_castsi256_ps(_mm256_cmpeq_epi32(some, wanted));
      const auto mask = static_cast<unsigned>(_mm256_movemask_ps(equal));
      // Places behind the last address hold 0, which 0.0.0.0 would match.
      if (mask != 0 && at + static_cast<unsigned>(__builtin_ctz(mask)) < ipv4_count) return true;
    }
    return false;
  }
  // The 16 bytes of an IPv6 address.
  [[nodiscard]] bool is_ours(const void* address) const noexcept {
    const auto wanted = _mm_loadu_si128(static_cast<const __m128i*>(address));
    for (unsigned at = 0; at < ipv6_count; ++at) {
      const auto one = _mm_load_si128(reinterpret_cast<const __m128i*>(ipv6[at].data()));
      if (_mm_movemask_epi8(_mm_cmpeq_epi8(one, wanted)) == 0xffff) return true;
    }
    return false;
  }
};

// Errors: invalid (an address that no host can have, a VLAN id or ports out of range), exhausted
// (too many).
[[nodiscard]] Result<Interface> make_interface(const InterfaceSettings& settings);

// EUI-64 link-local address of a MAC (RFC 4291, appendix A).
[[nodiscard]] IpAddress link_local_of(const MacAddress& mac) noexcept;

// The multicast MACs that the port must let through: all nodes and the solicited-node groups of our
// IPv6 addresses (RFC 4291, 2.7.1; RFC 2464, 7). Sorted, without doubles.
[[nodiscard]] std::vector<MacAddress> multicast_macs(const Interface& interface);

}  // namespace pharos::dataplane
