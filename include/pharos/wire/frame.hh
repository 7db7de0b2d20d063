// Headers below DNS, as they stand on the wire: Ethernet, VLAN tags, ARP, IPv4, IPv6, UDP, ICMP,
// ND.
//
// Structs of Be16/Be32 and bytes only, so that each can be laid over any byte of a frame. IPv4
// addresses are kept as loaded (network order) where they are only compared, copied or summed.
#pragma once

#include "pharos/base/bytes.hh"

#include <array>
#include <cstdint>
#include <type_traits>

namespace pharos::frame {

inline constexpr std::uint16_t ether_ipv4 = 0x0800;
inline constexpr std::uint16_t ether_arp = 0x0806;
inline constexpr std::uint16_t ether_vlan = 0x8100;  // IEEE 802.1Q, customer tag
inline constexpr std::uint16_t ether_qinq = 0x88a8;  // IEEE 802.1ad, service tag
inline constexpr std::uint16_t ether_ipv6 = 0x86dd;
inline constexpr unsigned vlan_tags_max = 2;
inline constexpr std::uint16_t vlan_id_mask = 0x0fff;

inline constexpr std::uint8_t protocol_icmp = 1;
inline constexpr std::uint8_t protocol_udp = 17;
inline constexpr std::uint8_t protocol_icmpv6 = 58;

using MacBytes = std::array<std::uint8_t, 6>;
using Ipv6Bytes = std::array<std::uint8_t, 16>;

struct Ethernet {
  MacBytes destination;
  MacBytes source;
  Be16 type;
};
static_assert(sizeof(Ethernet) == 14 && alignof(Ethernet) == 1);

struct VlanTag {
  Be16 control;  // priority (3), drop eligible (1), id (12)
  Be16 type;     // of what follows
};
static_assert(sizeof(VlanTag) == 4 && alignof(VlanTag) == 1);

struct Arp {  // RFC 826, for Ethernet and IPv4
  Be16 hardware_type;
  Be16 protocol_type;
  std::uint8_t hardware_bytes;
  std::uint8_t protocol_bytes;
  Be16 operation;
  MacBytes sender_mac;
  std::array<std::uint8_t, 4> sender_ip;
  MacBytes target_mac;
  std::array<std::uint8_t, 4> target_ip;
};
static_assert(sizeof(Arp) == 28 && alignof(Arp) == 1);
inline constexpr std::uint16_t arp_ethernet = 1;
inline constexpr std::uint16_t arp_request = 1;
inline constexpr std::uint16_t arp_reply = 2;

struct Ipv4 {                      // RFC 791
  std::uint8_t version_and_words;  // header length in 4-byte words in the low half
  std::uint8_t traffic_class;
  Be16 total_bytes;
  Be16 id;
  Be16 fragment;
  std::uint8_t ttl;
  std::uint8_t protocol;
  Be16 checksum;
  std::array<std::uint8_t, 4> source;
  std::array<std::uint8_t, 4> destination;
};
static_assert(sizeof(Ipv4) == 20 && alignof(Ipv4) == 1);
inline constexpr std::uint16_t ipv4_dont_fragment = 0x4000;
inline constexpr std::uint16_t ipv4_fragment_mask = 0x3fff;  // more fragments, or an offset

struct Ipv6 {  // RFC 8200
  Be32 version_and_flow;
  Be16 payload_bytes;
  std::uint8_t next_header;
  std::uint8_t hop_limit;
  Ipv6Bytes source;
  Ipv6Bytes destination;
};
static_assert(sizeof(Ipv6) == 40 && alignof(Ipv6) == 1);

struct Udp {  // RFC 768
  Be16 source_port;
  Be16 destination_port;
  Be16 length;
  Be16 checksum;
};
static_assert(sizeof(Udp) == 8 && alignof(Udp) == 1);

struct Icmp {  // RFC 792 and RFC 4443; `rest` is id and sequence of an echo, reserved in ND
  std::uint8_t type;
  std::uint8_t code;
  Be16 checksum;
  Be32 rest;
};
static_assert(sizeof(Icmp) == 8 && alignof(Icmp) == 1);
inline constexpr std::uint8_t icmp_echo_reply = 0;
inline constexpr std::uint8_t icmp_echo_request = 8;
inline constexpr std::uint8_t icmpv6_echo_request = 128;
inline constexpr std::uint8_t icmpv6_echo_reply = 129;
inline constexpr std::uint8_t icmpv6_neighbor_solicitation = 135;
inline constexpr std::uint8_t icmpv6_neighbor_advertisement = 136;

struct Neighbor {  // solicitation and advertisement: RFC 4861, 4.3 and 4.4
  Icmp icmp;
  Ipv6Bytes target;
};
static_assert(sizeof(Neighbor) == 24 && alignof(Neighbor) == 1);
inline constexpr std::uint32_t neighbor_solicited = 0x40000000;
inline constexpr std::uint32_t neighbor_override = 0x20000000;

struct LinkAddressOption {  // RFC 4861, 4.6.1
  std::uint8_t type;
  std::uint8_t length;  // in units of 8 bytes
  MacBytes mac;
};
static_assert(sizeof(LinkAddressOption) == 8 && alignof(LinkAddressOption) == 1);
inline constexpr std::uint8_t option_source_link_address = 1;
inline constexpr std::uint8_t option_target_link_address = 2;

// A header laid over bytes that the caller has bounded.
template <typename Header>
[[nodiscard]] Header* at(std::byte* bytes) noexcept {
  static_assert(alignof(Header) == 1 && std::is_trivially_copyable_v<Header>);
  return reinterpret_cast<Header*>(bytes);
}

}  // namespace pharos::frame
