// ClientMask: what may leave the packet path of a client's address, in the packet's source and inside of messages.
//
//   truncated   198.18.3.10 -> 198.18.3.0             2001:db8:3::10 -> 2001:db8:3::
//   keyed       198.18.3.10 -> 240.0.0.0/4            2001:db8:3::10 -> fd00::/8       by SipHash-2-4 of the address
//
// Pseudonyms lie where no client's address can (the packet path drops 240/4 and nobody routes fd00::/8), so that they are never
// taken for somebody's. Of 28 bits: among 100,000 clients, one in 2,700 shares its pseudonym. Messages carry client
// addresses as well: EDNS client subnets (RFC 7871), and whatever else software puts into options. Those are cut to the
// prefix lengths in either mode, and options that we do not know are emptied. Pure; serving threads call it.
#pragma once

#include "pharos/base/bytes.hh"
#include "pharos/base/ip_address.hh"
#include "pharos/dataplane/dns/cookie.hh"

#include <cstdint>
#include <optional>

namespace pharos::dataplane {

struct ClientMask {
  std::uint8_t ipv4_prefix_bits = 24;
  std::uint8_t ipv6_prefix_bits = 56;
  std::optional<CookieSecret> key = std::nullopt;  // keyed; none: truncated

  // What leaves of `client`.
  [[nodiscard]] IpAddress apply(const IpAddress& client) const noexcept;
  // Its first bits, whatever the mode.
  [[nodiscard]] IpAddress truncate(const IpAddress& client) const noexcept;

  [[nodiscard]] unsigned prefix_bits(bool ipv4) const noexcept {
    return ipv4 ? ipv4_prefix_bits : ipv6_prefix_bits;
  }
};

// Takes out of a DNS message, in place, what says more of a client than `mask` lets through. False: the message cannot be
// read to its end, so that nobody knows what is in it, and it must not leave.
[[nodiscard]] bool mask_message(Bytes message, const ClientMask& mask) noexcept;

}  // namespace pharos::dataplane
