// Plain patterns of name policies, and the text form of names that all patterns match.
//
//   www.example.com    this name              ads.*             names that begin with "ads."
//   *.example.com      all names below it     *tracker*         names with this in them
//   .example.com       it and all below it    *                 every name
//
// The text of a name is its presentation form (RFC 1035, 5.1) in lower case without the last dot, "." for the root. Case
// of patterns does not matter, nor does a last dot; `\*` is a star that stands for itself. Pure; not for the packet path.
#pragma once

#include "pharos/base/error.hh"
#include "pharos/wire/name_text.hh"

#include <string>
#include <string_view>

namespace pharos::config {

inline constexpr std::size_t pattern_bytes_max = 4096;

struct NamePattern {
  // The names that it takes: `name` itself, all below `name`, both, or those whose text `expression` matches.
  enum class Kind { exact, below, at_or_below, expression };
  Kind kind = Kind::exact;
  dns::WireName name;      // folded
  std::string expression;  // a regular expression that looks anywhere in the text, for folded names
};

// Errors: invalid.
[[nodiscard]] Result<NamePattern> parse_name_pattern(std::string_view text);

// What can be said of a regular expression without compiling it. Errors: invalid.
[[nodiscard]] Status check_regex(std::string_view text);

// The text of a whole sound name in wire form.
[[nodiscard]] std::string policy_text(ConstBytes wire);

}  // namespace pharos::config
