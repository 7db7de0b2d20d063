// An IPv4 or IPv6 address, and prefixes of them, in text and in wire bytes.
//
// IPv4 is held in the last four of sixteen bytes behind ::ffff:0:0/96 (RFC 4291, 2.5.5.2), so that one
// comparison and one hash serve both families.
#pragma once

#include "pharos/base/bytes.hh"
#include "pharos/base/error.hh"

#include <arpa/inet.h>

#include <array>
#include <charconv>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

namespace pharos {

enum class Family : std::uint8_t { ipv4 = 4, ipv6 = 6 };

[[nodiscard]] constexpr unsigned address_bits(Family family) noexcept {
  return family == Family::ipv4 ? 32 : 128;
}

struct IpAddress {
  std::array<std::uint8_t, 16> bytes{};

  friend constexpr auto operator<=>(const IpAddress&, const IpAddress&) = default;

  [[nodiscard]] static constexpr IpAddress from_ipv4(std::uint32_t host_order) noexcept {
    IpAddress a;
    a.bytes[10] = a.bytes[11] = 0xff;
    for (unsigned i = 0; i < 4; ++i) {
      a.bytes[12 + i] = static_cast<std::uint8_t>(host_order >> (24 - 8 * i));
    }
    return a;
  }
  [[nodiscard]] constexpr Family family() const noexcept {
    for (unsigned i = 0; i < 10; ++i) {
      if (bytes[i] != 0) return Family::ipv6;
    }
    return bytes[10] == 0xff && bytes[11] == 0xff ? Family::ipv4 : Family::ipv6;
  }
  [[nodiscard]] bool is_ipv4() const noexcept { return family() == Family::ipv4; }
  [[nodiscard]] constexpr std::uint32_t ipv4() const noexcept {
    return static_cast<std::uint32_t>(bytes[12]) << 24 |
           static_cast<std::uint32_t>(bytes[13]) << 16 |
           static_cast<std::uint32_t>(bytes[14]) << 8 | bytes[15];
  }
  // The 4 or 16 bytes that go on the wire.
  [[nodiscard]] ConstBytes wire() const noexcept {
    const auto all = std::as_bytes(std::span(bytes));
    return is_ipv4() ? all.subspan(12) : all;
  }
  [[nodiscard]] std::string text() const {
    char buffer[INET6_ADDRSTRLEN];
    const bool v4 = is_ipv4();
    ::inet_ntop(v4 ? AF_INET : AF_INET6, bytes.data() + (v4 ? 12 : 0), buffer, sizeof buffer);
    return buffer;
  }
  [[nodiscard]] static Result<IpAddress> parse(std::string_view text) {
    const std::string copy(text);
    IpAddress a;
    in_addr v4{};
    if (::inet_pton(AF_INET, copy.c_str(), &v4) == 1) return from_ipv4(ntohl(v4.s_addr));
    if (::inet_pton(AF_INET6, copy.c_str(), a.bytes.data()) == 1) return a;
    return fail(ErrorCode::invalid, "'" + copy + "' is not an IP address", {},
                "write 192.0.2.1 or 2001:db8::1");
  }
};

// A block of addresses. `length` counts bits of the family's own width (0-32 or 0-128); bits behind
// it are zero.
struct IpPrefix {
  IpAddress address;
  std::uint8_t length = 0;

  friend constexpr auto operator<=>(const IpPrefix&, const IpPrefix&) = default;

  [[nodiscard]] Family family() const noexcept { return address.family(); }
  [[nodiscard]] std::string text() const { return address.text() + "/" + std::to_string(length); }

  // Takes "192.0.2.0/24", "2001:db8::/32", or a bare address. Fails where host bits are set.
  [[nodiscard]] static Result<IpPrefix> parse(std::string_view text) {
    const auto slash = text.find('/');
    auto address = IpAddress::parse(text.substr(0, slash));
    if (!address) return std::unexpected(address.error());
    IpPrefix prefix{*address, static_cast<std::uint8_t>(address_bits(address->family()))};
    if (slash != std::string_view::npos) {
      const auto digits = text.substr(slash + 1);
      unsigned length = 0;
      const auto [end, code] =
          std::from_chars(digits.data(), digits.data() + digits.size(), length);
      if (code != std::errc{} || end != digits.data() + digits.size() || length > prefix.length) {
        return fail(ErrorCode::invalid, "'" + std::string(text) + "' has no valid prefix length",
                    {}, "write 192.0.2.0/24 or 2001:db8::/32");
      }
      prefix.length = static_cast<std::uint8_t>(length);
    }
    if (prefix.masked().address != prefix.address) {
      return fail(ErrorCode::invalid,
                  "'" + std::string(text) + "' has bits set behind its prefix length", {},
                  "write " + prefix.masked().text());
    }
    return prefix;
  }
  [[nodiscard]] IpPrefix masked() const noexcept {
    IpPrefix result = *this;
    const unsigned keep = length + (family() == Family::ipv4 ? 96U : 0U);
    for (unsigned i = 0; i < 16; ++i) {
      const unsigned first = i * 8;
      if (first + 8 <= keep) continue;
      const unsigned bits = keep > first ? keep - first : 0;
      result.address.bytes[i] &= static_cast<std::uint8_t>(0xff00U >> bits);
    }
    return result;
  }
  [[nodiscard]] bool contains(const IpAddress& other) const noexcept {
    if (other.family() != family()) return false;
    return IpPrefix{other, length}.masked().address == address;
  }
};

}  // namespace pharos
