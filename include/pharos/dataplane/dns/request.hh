// A DNS request as parsed: header, the one question, and what EDNS asked for. Nothing else is looked at.
//
// parse_request reads every byte with care and says what the request deserves; serve.cc parses plain requests
// by itself, in a few vector steps, and comes here with all others. Pure; workers call it.
#pragma once

#include "pharos/base/bytes.hh"
#include "pharos/base/ip_address.hh"
#include "pharos/dataplane/dns/cookie.hh"
#include "pharos/dataplane/match/name_lookup.hh"
#include "pharos/wire/dns.hh"

#include <array>
#include <cstdint>

namespace pharos::dataplane {

// Records of the additional section that are scanned for OPT: OPT itself, and room for TSIG and strays.
inline constexpr unsigned additional_records_max = 4;
// Options of an OPT record; with more it is malformed. Nobody needs a tenth of them, and each costs a step.
inline constexpr unsigned edns_options_max = 32;

inline constexpr unsigned client_cookie_bytes = 8;  // RFC 7873, 4
inline constexpr unsigned server_cookie_bytes_min = 8;
inline constexpr unsigned server_cookie_bytes_max = 32;

// Request::edns: what the request's OPT record says. No bit: there is none.
namespace edns_flag {
inline constexpr std::uint8_t present = 1U << 0;
inline constexpr std::uint8_t dnssec_ok = 1U << 1;  // RFC 3225: copied into the reply
inline constexpr std::uint8_t nsid = 1U << 2;
inline constexpr std::uint8_t client_subnet = 1U << 3;
inline constexpr std::uint8_t cookie = 1U << 4;
inline constexpr std::uint8_t tcp_keepalive = 1U << 5;  // RFC 7828: answered over TCP only
// The client subnet names someone and decides who is answered. Its options flag stays where a service ignores it.
inline constexpr std::uint8_t subnet_used = 1U << 6;
inline constexpr std::uint8_t options = nsid | client_subnet | cookie | tcp_keepalive;
}  // namespace edns_flag

struct Request {
  std::uint16_t type = 0;            // host order
  std::uint16_t question_end = 0;    // offset behind the question; header_bytes while none is known
  std::uint16_t client_payload = 0;  // the client's UDP size; means something with EDNS only
  std::uint8_t name_bytes = 0;       // of the QNAME, 1-255
  std::uint8_t edns = 0;
  std::uint64_t question_sum = 0;  // sum of the question as native words, for the checksum
};

// Valid where the flags of Request::edns say so; copied out, because the reply overwrites the request's OPT.
struct EdnsOptions {
  IpAddress subnet;                 // family 1 as IPv4, bits behind the source length are zero
  std::uint16_t subnet_family = 0;  // as received: 0, 1 or 2
  std::uint8_t subnet_length = 0;   // SOURCE PREFIX-LENGTH
  std::uint8_t server_cookie_bytes = 0;
  CookieState cookie_state =
      CookieState::absent;  // set by whoever parsed the cookie, before a reply
  std::array<std::byte, client_cookie_bytes> client_cookie{};
  std::array<std::byte, server_cookie_bytes_max> server_cookie{};
};

enum class Parsed : std::uint8_t {
  lookup,  // a question of class IN for a type that tables answer; ANY included
  chaos,   // a question of class CH
  formerr,
  notimp,
  refused,  // zone transfers, other classes
  badvers,
  response,   // QR is set: never answered
  too_short,  // no header
};

// Parses `length` bytes of `message`. `request` and `options` are set as far as parsing got: question_end stays
// header_bytes where no question could be read, edns has `present` where one whole OPT was found. `labels` are those
// of the name, where it could be read.
[[nodiscard]] Parsed parse_request(const std::byte* message, unsigned length, Request& request,
                                   EdnsOptions& options, LabelMap& labels) noexcept;

// The options of an OPT record: `length` bytes at `data`. Sets flags in `request.edns`. False where any is malformed
// (RFC 7871, 7.1.2 and 6; RFC 7873, 5.2.2): FORMERR. Unknown options are passed over; of a repeated one the first
// counts.
[[nodiscard]] bool parse_edns_options(const std::byte* data, unsigned length, Request& request,
                                      EdnsOptions& options) noexcept;

// Bytes of the uncompressed name at `name`, or 0 where none ends within `available` bytes and 255.
// Maps its labels. Reads up to 7 bytes behind what is available: the slack of a query.
[[nodiscard]] unsigned name_bytes_at(const std::byte* name, unsigned available,
                                     LabelMap& labels) noexcept;

// Bytes that an owner name takes where it stands, compressed or not; 0 where it is broken or does not end within
// `available` bytes.
[[nodiscard]] unsigned owner_bytes_at(const std::byte* name, unsigned available) noexcept;

}  // namespace pharos::dataplane
