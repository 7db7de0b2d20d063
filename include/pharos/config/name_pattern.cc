#include "pharos/config/name_pattern.hh"

#include "pharos/wire/name.hh"

#include <algorithm>

namespace pharos::config {
namespace {

[[nodiscard]] std::unexpected<Error> bad(std::string_view text, std::string_view why,
                                         std::string hint = {}) {
  return fail(
      ErrorCode::invalid,
      "'" + std::string(text.substr(0, 120)) + "' is not a name pattern: " + std::string(why), {},
      std::move(hint));
}

void fold(dns::WireName& name) noexcept {
  std::ranges::transform(name.bytes, name.bytes.begin(), dns::fold_byte);
}

// Whether the character at `at` is escaped.
[[nodiscard]] bool is_escaped(std::string_view text, std::size_t at) noexcept {
  std::size_t backslashes = 0;
  while (backslashes < at && text[at - 1 - backslashes] == '\\') ++backslashes;
  return backslashes % 2 == 1;
}

[[nodiscard]] std::size_t find_star(std::string_view text) noexcept {
  auto at = text.find('*');
  while (at != std::string_view::npos && is_escaped(text, at)) at = text.find('*', at + 1);
  return at;
}

Result<NamePattern> named(NamePattern::Kind kind, std::string_view name, std::string_view whole) {
  NamePattern pattern;
  pattern.kind = kind;
  auto parsed = dns::parse_name(name == "." ? "." : std::string(name) + ".");
  if (!parsed) return bad(whole, parsed.error().what);
  pattern.name = *parsed;
  fold(pattern.name);
  return pattern;
}

// Literal text as an expression.
void put_literal(std::string& out, std::string_view text) {
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
    if (!plain) out += '\\';
    out += c;
  }
}

// Stars anywhere. The pieces between them are checked as names, whose text then is the canonical one.
Result<NamePattern> with_stars(std::string_view text) {
  NamePattern pattern;
  pattern.kind = NamePattern::Kind::expression;
  std::string& out = pattern.expression;
  out = "^";
  std::string_view rest = text;
  for (;;) {
    const auto star = find_star(rest);
    auto piece = rest.substr(0, star);
    const bool starts = piece.starts_with('.'), ends = piece.size() > 1 && piece.ends_with('.') &&
                                                       !is_escaped(piece, piece.size() - 1);
    const auto inner =
        piece.substr(starts ? 1 : 0, piece.size() - (starts ? 1 : 0) - (ends ? 1 : 0));
    if (starts) out += "\\.";
    if (!inner.empty()) {
      const auto name = dns::parse_name(std::string(inner) + ".");
      if (!name) return bad(text, name.error().what);
      put_literal(out, policy_text(name->view()));
    }
    if (ends) out += "\\.";
    if (star == std::string_view::npos) break;
    out += ".*";
    rest.remove_prefix(star + 1);
  }
  out += '$';
  // What is left open at an end needs no anchor there.
  if (out.starts_with("^.*")) out.erase(0, 3);
  if (out.ends_with(".*$")) out.erase(out.size() - 3);
  return pattern;
}

}  // namespace

std::string policy_text(ConstBytes wire) {
  auto text = dns::name_text(wire);
  if (text.size() > 1) text.pop_back();
  std::ranges::transform(text, text.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
  });
  return text;
}

Result<NamePattern> parse_name_pattern(std::string_view text) {
  const auto whole = text;
  if (text.empty()) return bad(whole, "it is empty");
  if (text.size() > pattern_bytes_max) return bad(whole, "it is longer than 4096 bytes");
  if (std::ranges::any_of(text, [](unsigned char c) { return c <= ' ' || c >= 0x7f; })) {
    return bad(whole, "it holds a character that names are not written with",
               "write \\DDD for such an octet, and other scripts as xn--...");
  }
  if (text.size() > 1 && text.ends_with('.') && !is_escaped(text, text.size() - 1))
    text.remove_suffix(1);
  if (text == "*") return named(NamePattern::Kind::at_or_below, ".", whole);
  if (find_star(text) == std::string_view::npos) {
    if (text.size() > 1 && text.starts_with('.'))
      return named(NamePattern::Kind::at_or_below, text.substr(1), whole);
    return named(NamePattern::Kind::exact, text, whole);
  }
  if (text.starts_with("*.") && text.size() > 2 &&
      find_star(text.substr(2)) == std::string_view::npos) {
    return named(NamePattern::Kind::below, text.substr(2), whole);
  }
  if (std::ranges::all_of(text, [](char c) { return c == '*' || c == '.'; }))
    return bad(whole, "it is made of stars and dots only", "write * for every name");
  return with_stars(text);
}

Status check_regex(std::string_view text) {
  if (text.empty()) return fail(ErrorCode::invalid, "the regular expression is empty");
  if (text.size() > pattern_bytes_max)
    return fail(ErrorCode::invalid, "the regular expression is longer than 4096 bytes");
  if (std::ranges::any_of(text, [](unsigned char c) { return c < ' ' || c >= 0x7f; })) {
    return fail(ErrorCode::invalid,
                "the regular expression holds characters that no name is written with", {},
                "names are matched as text of ASCII characters: other octets stand there as \\DDD");
  }
  return {};
}

}  // namespace pharos::config
