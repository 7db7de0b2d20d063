// Names as text and as bytes: presentation form (RFC 1035, 5.1; RFC 4343, 2.1) <-> uncompressed
// wire form.
//
// Not for the packet path. Any thread; all functions are pure. A wire name here is a whole one:
// labels with their length octets and the root octet, 1 to 255 bytes.
#pragma once

#include "pharos/base/bytes.hh"
#include "pharos/base/error.hh"
#include "pharos/wire/dns.hh"

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace pharos::dns {

// A whole name in wire form, by value. Case is kept.
struct WireName {
  std::array<std::byte, name_bytes_max> bytes{};
  std::uint8_t length = 1;  // the root name by default

  [[nodiscard]] ConstBytes view() const noexcept { return {bytes.data(), length}; }
};

// Reads a name with the escapes `\.` (any octet but a digit) and `\DDD`. A name without a dot at
// its end is relative to `origin`, or refused where that is empty; "@" is the origin. Errors:
// invalid.
[[nodiscard]] Result<WireName> parse_name(std::string_view text, ConstBytes origin = {});

// The absolute presentation form, with escapes where they are needed: "www.example.com.".
// `wire` is a whole sound name.
[[nodiscard]] std::string name_text(ConstBytes wire);

// Whether `wire` is exactly one whole uncompressed name.
[[nodiscard]] bool name_is_sound(ConstBytes wire) noexcept;

// Bytes of the whole uncompressed name at the start of `wire`; 0 where there is none.
[[nodiscard]] unsigned name_bytes_at(ConstBytes wire) noexcept;

// Labels of a sound name, the root not counted.
[[nodiscard]] unsigned label_count(ConstBytes wire) noexcept;

// Whether `name` is `suffix` or lies below it, case folded. Both sound.
[[nodiscard]] bool is_at_or_below(ConstBytes name, ConstBytes suffix) noexcept;

// The name without its first label. `wire` is sound and not the root.
[[nodiscard]] inline ConstBytes parent_of(ConstBytes wire) noexcept {
  return wire.subspan(std::size_t{1} + static_cast<std::uint8_t>(wire[0]));
}

[[nodiscard]] bool names_equal(ConstBytes a, ConstBytes b) noexcept;  // case folded

// Canonical order (RFC 4034, 6.1): <0, 0, >0. A name comes right before all that is below it.
[[nodiscard]] int compare_canonical(ConstBytes a, ConstBytes b) noexcept;

// The folded name as bytes whose order by memcmp is the canonical one; a name's key is a prefix of the
// keys of all below it. Returns the bytes used.
using CanonicalKey = std::array<std::byte, 2 * name_bytes_max>;
unsigned canonical_key(ConstBytes name, CanonicalKey& key) noexcept;

// "A", "AAAA", "SVCB"; "TYPE65280" for those that have no name here.
[[nodiscard]] std::string type_text(std::uint16_t type);

}  // namespace pharos::dns
