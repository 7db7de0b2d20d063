// DNS on the wire: header, numbers, limits (RFC 1035, 6891, 7871, 7873, 8914).
#pragma once

#include "pharos/base/bytes.hh"

#include <cstdint>
#include <type_traits>

namespace pharos::dns {

//                                 1  1  1  1  1  1
//   0  1  2  3  4  5  6  7  8  9  0  1  2  3  4  5
// +--+--+--+--+--+--+--+--+--+--+--+--+--+--+--+--+
// |                      ID                       |
// |QR|   Opcode  |AA|TC|RD|RA| Z|AD|CD|   RCODE   |
// |      QDCOUNT, ANCOUNT, NSCOUNT, ARCOUNT       |
// +--+--+--+--+--+--+--+--+--+--+--+--+--+--+--+--+
struct Header {
  Be16 id;
  Be16 flags;
  Be16 question_count;
  Be16 answer_count;
  Be16 authority_count;
  Be16 additional_count;
};
static_assert(sizeof(Header) == 12 && alignof(Header) == 1 && std::is_trivially_copyable_v<Header>);

inline constexpr unsigned header_bytes = 12;
inline constexpr unsigned name_bytes_max = 255;  // RFC 1035, 2.3.4, root octet included
inline constexpr unsigned label_bytes_max = 63;
inline constexpr unsigned labels_max = 127;
inline constexpr unsigned question_tail_bytes = 4;      // QTYPE and QCLASS behind the QNAME
inline constexpr unsigned udp_payload_min_bytes = 512;  // without EDNS
inline constexpr unsigned udp_payload_default_bytes = 1232;
inline constexpr unsigned message_bytes_max = 65535;
inline constexpr std::uint32_t ttl_max_s = 0x7fffffff;  // RFC 2181, section 8

namespace flag {
inline constexpr std::uint16_t qr = 0x8000;
inline constexpr std::uint16_t opcode_mask = 0x7800;
inline constexpr std::uint16_t aa = 0x0400;
inline constexpr std::uint16_t tc = 0x0200;
inline constexpr std::uint16_t rd = 0x0100;
inline constexpr std::uint16_t ra = 0x0080;
inline constexpr std::uint16_t z = 0x0040;
inline constexpr std::uint16_t ad = 0x0020;
inline constexpr std::uint16_t cd = 0x0010;
inline constexpr std::uint16_t rcode_mask = 0x000f;
}  // namespace flag

enum class Rcode : std::uint16_t {
  noerror = 0,
  formerr = 1,
  servfail = 2,
  nxdomain = 3,
  notimp = 4,
  refused = 5,
  yxdomain = 6,
  badvers = 16,
  badcookie = 23,
};

enum class Type : std::uint16_t {
  a = 1,
  ns = 2,
  cname = 5,
  soa = 6,
  ptr = 12,
  hinfo = 13,
  mx = 15,
  txt = 16,
  aaaa = 28,
  srv = 33,
  naptr = 35,
  dname = 39,
  opt = 41,
  ds = 43,
  rrsig = 46,
  nsec = 47,
  dnskey = 48,
  nsec3 = 50,
  svcb = 64,
  https = 65,
  tkey = 249,
  tsig = 250,
  ixfr = 251,
  axfr = 252,
  mailb = 253,
  maila = 254,
  any = 255,
  caa = 257,
};

enum class Class : std::uint16_t { in = 1, ch = 3, none = 254, any = 255 };

namespace option {
inline constexpr std::uint16_t nsid = 3;             // RFC 5001
inline constexpr std::uint16_t client_subnet = 8;    // RFC 7871
inline constexpr std::uint16_t cookie = 10;          // RFC 7873
inline constexpr std::uint16_t tcp_keepalive = 11;   // RFC 7828
inline constexpr std::uint16_t padding = 12;         // RFC 7830
inline constexpr std::uint16_t extended_error = 15;  // RFC 8914
}  // namespace option

// A compression pointer to `offset` (RFC 1035, 4.1.4); offset < 0x4000.
[[nodiscard]] constexpr std::uint16_t pointer_to(unsigned offset) noexcept {
  return static_cast<std::uint16_t>(0xc000U | offset);
}

}  // namespace pharos::dns
