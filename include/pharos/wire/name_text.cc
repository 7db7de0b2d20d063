#include "pharos/wire/name_text.hh"

#include "pharos/wire/name.hh"

#include <algorithm>
#include <utility>

namespace pharos::dns {
namespace {

[[nodiscard]] std::uint8_t octet(ConstBytes bytes, std::size_t at) noexcept {
  return static_cast<std::uint8_t>(bytes[at]);
}

[[nodiscard]] bool is_digit(char c) noexcept {
  return c >= '0' && c <= '9';
}

[[nodiscard]] std::unexpected<Error> bad_name(std::string_view text, std::string_view why) {
  std::string shown(text.substr(0, 300));
  return fail(ErrorCode::invalid, "'" + shown + "' is not a domain name: " + std::string(why));
}

// Collects labels of a name that grows from the left.
struct NameWriter {
  WireName name;
  unsigned used = 1;         // the first length octet
  unsigned label_start = 0;  // of the open label

  [[nodiscard]] unsigned label_bytes() const noexcept { return used - label_start - 1; }
  // False: the label or the name is too long.
  [[nodiscard]] bool put(std::byte b) noexcept {
    if (label_bytes() == label_bytes_max || used + 1 >= name_bytes_max) return false;
    name.bytes[used++] = b;
    return true;
  }
  void close_label() noexcept {
    name.bytes[label_start] = static_cast<std::byte>(label_bytes());
    label_start = used++;
  }
};

// Reads one possibly escaped octet at `at` and moves behind it; -1 for a bad escape.
[[nodiscard]] int take_octet(std::string_view text, std::size_t& at) noexcept {
  if (text[at] != '\\') return static_cast<unsigned char>(text[at++]);
  ++at;
  if (at == text.size()) return -1;
  if (!is_digit(text[at])) return static_cast<unsigned char>(text[at++]);
  if (at + 3 > text.size() || !is_digit(text[at + 1]) || !is_digit(text[at + 2])) return -1;
  const int value = (text[at] - '0') * 100 + (text[at + 1] - '0') * 10 + (text[at + 2] - '0');
  at += 3;
  return value <= 255 ? value : -1;
}

// Starts of the labels of a sound name, the leftmost first.
struct Labels {
  std::array<std::uint8_t, labels_max> starts;
  unsigned count = 0;
  explicit Labels(ConstBytes name) noexcept {
    for (unsigned at = 0; octet(name, at) != 0; at += 1U + octet(name, at)) {
      starts[count++] = static_cast<std::uint8_t>(at);
    }
  }
};

[[nodiscard]] int compare_labels(ConstBytes a, ConstBytes b) noexcept {
  const auto shorter = std::min(a.size(), b.size());
  for (std::size_t i = 0; i < shorter; ++i) {
    const auto x = fold_byte(a[i]);
    const auto y = fold_byte(b[i]);
    if (x != y) return x < y ? -1 : 1;
  }
  if (a.size() == b.size()) return 0;
  return a.size() < b.size() ? -1 : 1;
}

[[nodiscard]] ConstBytes label_at(ConstBytes name, unsigned start) noexcept {
  return name.subspan(start + 1U, octet(name, start));
}

}  // namespace

Result<WireName> parse_name(std::string_view text, ConstBytes origin) {
  NameWriter out;
  if (text.empty()) return bad_name(text, "it is empty");
  if (text == ".") return out.name;
  std::size_t at = 0;
  if (text == "@" && !origin.empty()) at = 1;
  bool absolute = false;
  while (at < text.size()) {
    if (text[at] == '.') {
      if (out.label_bytes() == 0) return bad_name(text, "a label is empty");
      out.close_label();
      absolute = ++at == text.size();
      continue;
    }
    const int value = take_octet(text, at);
    if (value < 0) return bad_name(text, "an escape is neither \\X nor \\000 to \\255");
    if (!out.put(static_cast<std::byte>(value))) {
      return bad_name(text, "a label is longer than 63 octets or the name longer than 255");
    }
  }
  if (absolute) {
    out.name.bytes[out.label_start] = std::byte{0};
    out.name.length = static_cast<std::uint8_t>(out.used);
    return out.name;
  }
  if (origin.empty()) return bad_name(text, "it does not end with a dot");
  if (out.label_bytes() > 0) out.close_label();
  if (out.label_start + origin.size() > name_bytes_max) {
    return bad_name(text, "with the origin it is longer than 255 octets");
  }
  std::ranges::copy(origin, out.name.bytes.begin() + out.label_start);
  out.name.length = static_cast<std::uint8_t>(out.label_start + origin.size());
  return out.name;
}

std::string name_text(ConstBytes wire) {
  if (wire.size() <= 1) return ".";
  std::string text;
  for (unsigned at = 0; octet(wire, at) != 0; at += 1U + octet(wire, at)) {
    for (const auto b : label_at(wire, at)) {
      const auto c = static_cast<unsigned char>(b);
      if (c <= ' ' || c >= 0x7f) {
        text += '\\';
        text += static_cast<char>('0' + c / 100);
        text += static_cast<char>('0' + c / 10 % 10);
        text += static_cast<char>('0' + c % 10);
      } else {
        if (std::string_view(".\\\"();@$").contains(static_cast<char>(c))) text += '\\';
        text += static_cast<char>(c);
      }
    }
    text += '.';
  }
  return text;
}

unsigned name_bytes_at(ConstBytes wire) noexcept {
  for (unsigned at = 0; at < wire.size() && at < name_bytes_max; at += 1U + octet(wire, at)) {
    if (octet(wire, at) == 0) return at + 1;
    if (octet(wire, at) > label_bytes_max) return 0;
  }
  return 0;
}

bool name_is_sound(ConstBytes wire) noexcept {
  return !wire.empty() && name_bytes_at(wire) == wire.size();
}

unsigned label_count(ConstBytes wire) noexcept {
  return Labels(wire).count;
}

bool names_equal(ConstBytes a, ConstBytes b) noexcept {
  return a.size() == b.size() && compare_labels(a, b) == 0;
}

bool is_at_or_below(ConstBytes name, ConstBytes suffix) noexcept {
  while (name.size() > suffix.size()) name = parent_of(name);
  return names_equal(name, suffix);
}

int compare_canonical(ConstBytes a, ConstBytes b) noexcept {
  const Labels x(a);
  const Labels y(b);
  const unsigned shorter = std::min(x.count, y.count);
  for (unsigned i = 1; i <= shorter; ++i) {
    const int order =
        compare_labels(label_at(a, x.starts[x.count - i]), label_at(b, y.starts[y.count - i]));
    if (order != 0) return order;
  }
  if (x.count == y.count) return 0;
  return x.count < y.count ? -1 : 1;
}

unsigned canonical_key(ConstBytes name, CanonicalKey& key) noexcept {
  const Labels labels(name);
  unsigned used = 0;
  for (unsigned i = labels.count; i-- > 0;) {
    for (const auto b : label_at(name, labels.starts[i])) {
      const auto folded = fold_byte(b);
      if (folded <= std::byte{1}) key[used++] = std::byte{1};  // 0 and 1: as 1 1 and 1 2
      key[used++] =
          folded <= std::byte{1} ? static_cast<std::byte>(1 + static_cast<int>(folded)) : folded;
    }
    key[used++] = std::byte{0};
  }
  return used;
}

std::string type_text(std::uint16_t type) {
  static constexpr std::array<std::pair<Type, std::string_view>, 22> names{{
      {Type::a, "A"},       {Type::ns, "NS"},         {Type::cname, "CNAME"},
      {Type::soa, "SOA"},   {Type::ptr, "PTR"},       {Type::hinfo, "HINFO"},
      {Type::mx, "MX"},     {Type::txt, "TXT"},       {Type::aaaa, "AAAA"},
      {Type::srv, "SRV"},   {Type::naptr, "NAPTR"},   {Type::dname, "DNAME"},
      {Type::opt, "OPT"},   {Type::ds, "DS"},         {Type::rrsig, "RRSIG"},
      {Type::nsec, "NSEC"}, {Type::dnskey, "DNSKEY"}, {Type::nsec3, "NSEC3"},
      {Type::svcb, "SVCB"}, {Type::https, "HTTPS"},   {Type::caa, "CAA"},
      {Type::any, "ANY"},
  }};
  for (const auto& [value, text] : names) {
    if (static_cast<std::uint16_t>(value) == type) return std::string(text);
  }
  return "TYPE" + std::to_string(type);
}

}  // namespace pharos::dns
