// Server cookies (RFC 7873), in the interoperable form of RFC 9018: all servers of an anycast set that share a
// secret take each other's. Pure: time and secret come in.
//
//   | version 1 | reserved (3) | timestamp, s (4) | SipHash-2-4 of all before and the client's address (8) |
#pragma once

#include "pharos/base/bytes.hh"
#include "pharos/base/ip_address.hh"

#include <array>
#include <cstdint>
#include <span>

namespace pharos::dataplane {

using CookieSecret = std::array<std::byte, 16>;
inline constexpr unsigned server_cookie_bytes = 16;
using ServerCookie = std::array<std::byte, server_cookie_bytes>;

inline constexpr std::uint32_t cookie_age_max_s = 3600;  // RFC 9018, 4.3
inline constexpr std::uint32_t cookie_future_max_s = 300;
inline constexpr std::uint32_t cookie_renew_s = 1800;

// SipHash-2-4 (Aumasson and Bernstein, 2012), 64 bits, as it stands in memory.
[[nodiscard]] std::uint64_t siphash_2_4(ConstBytes bytes, const CookieSecret& key) noexcept;

// `client_cookie` is 8 bytes.
[[nodiscard]] ServerCookie make_server_cookie(const std::byte* client_cookie,
                                              const IpAddress& client, std::uint32_t wall_s,
                                              const CookieSecret& secret) noexcept;

enum class CookieState : std::uint8_t {
  absent,
  good,
  ageing,
  bad
};  // ageing: good, yet time for a new one

// Judges a server cookie of any length.
[[nodiscard]] CookieState check_server_cookie(ConstBytes server_cookie,
                                              const std::byte* client_cookie,
                                              const IpAddress& client, std::uint32_t wall_s,
                                              const CookieSecret& secret) noexcept;
// The same with several secrets. Cookies of the first are good; of the others, ageing: so a secret is rolled without
// a cookie lost (RFC 9018, 5).
[[nodiscard]] CookieState check_server_cookie_of_any(
    ConstBytes server_cookie, const std::byte* client_cookie, const IpAddress& client,
    std::uint32_t wall_s, std::span<const CookieSecret> secrets) noexcept;

}  // namespace pharos::dataplane
