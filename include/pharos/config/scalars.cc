#include "pharos/config/scalars.hh"

#include <sodium.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <numeric>

namespace pharos::config {

namespace {

struct Unit {
  std::string_view name;
  std::int64_t factor;
};

constexpr std::array duration_units = {Unit{"d", 86'400'000'000'000},
                                       Unit{"h", 3'600'000'000'000},
                                       Unit{"m", 60'000'000'000},
                                       Unit{"s", 1'000'000'000},
                                       Unit{"ms", 1'000'000},
                                       Unit{"us", 1'000},
                                       Unit{"ns", 1}};
constexpr std::array size_units = {Unit{"TiB", 1LL << 40},
                                   Unit{"GiB", 1LL << 30},
                                   Unit{"MiB", 1LL << 20},
                                   Unit{"KiB", 1LL << 10},
                                   Unit{"TB", 1'000'000'000'000},
                                   Unit{"GB", 1'000'000'000},
                                   Unit{"MB", 1'000'000},
                                   Unit{"kB", 1'000},
                                   Unit{"B", 1}};
constexpr std::array rate_units = {Unit{"G", 1'000'000'000}, Unit{"M", 1'000'000},
                                   Unit{"k", 1'000}};

constexpr std::int64_t largest = std::numeric_limits<std::int64_t>::max();

std::string quoted(std::string_view text) {
  constexpr std::size_t shown_bytes_max = 64;
  if (text.size() <= shown_bytes_max) return "'" + std::string(text) + "'";
  return "'" + std::string(text.substr(0, shown_bytes_max)) + "...'";
}

// The number at the front of `text`, which is moved behind it. Digits and one point: no sign,
// exponent, inf or nan.
bool take_number(std::string_view& text, double& value) {
  const auto end = text.find_first_not_of("0123456789.");
  const auto digits = text.substr(0, end);
  const auto [stop, code] = std::from_chars(digits.data(), digits.data() + digits.size(), value,
                                            std::chars_format::fixed);
  if (code != std::errc{} || stop != digits.data() + digits.size()) return false;
  text.remove_prefix(digits.size());
  return true;
}

template <typename Units>
const Unit* find_unit(const Units& units, std::string_view name) {
  const auto found = std::ranges::find(units, name, &Unit::name);
  return found == units.end() ? nullptr : &*found;
}

template <typename Integer>
bool parse_integer(std::string_view text, Integer& value) {
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  return code == std::errc{} && end == text.data() + text.size();
}

bool is_label_byte(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
         c == '/';  // RFC 2317
}

// Whether `label` of the folded name at hand is sound; the reason otherwise.
std::string label_fault(std::string_view label, bool first, bool wildcard) {
  if (label.empty()) return "has an empty label";
  if (label.size() > 63) return "has a label longer than 63 bytes";
  if (label == "*") {
    if (!wildcard) return "is a wildcard, which cannot stand here";
    return first ? "" : "has a '*' that is not its first label";
  }
  const auto bad = std::ranges::find_if_not(label, is_label_byte);
  if (bad != label.end())
    return "has a character that host names do not have: " + quoted({bad, bad + 1});
  return {};
}

unsigned edit_distance(std::string_view a, std::string_view b) {
  std::vector<unsigned> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0U);
  for (std::size_t i = 0; i < a.size(); ++i) {
    unsigned diagonal = row[0]++;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const unsigned replaced = diagonal + (a[i] == b[j] ? 0U : 1U);
      diagonal = row[j + 1];
      row[j + 1] = std::min({row[j + 1] + 1, row[j] + 1, replaced});
    }
  }
  return row.back();
}

}  // namespace

Result<Duration> parse_duration(std::string_view text) {
  constexpr const char* hint = "write a number with a unit, such as 200ms, 5s, 1m30s or 1h";
  if (text == "0") return Duration{};
  double total_ns = 0;
  auto rest = text;
  while (!rest.empty()) {
    double number = 0;
    if (!take_number(rest, number)) break;
    const auto name = rest.substr(0, rest.find_first_of("0123456789."));
    if (rest.empty()) {
      return fail(ErrorCode::invalid, "duration " + quoted(text) + " has no unit", {}, hint);
    }
    const Unit* unit = find_unit(duration_units, name);
    if (unit == nullptr) break;
    total_ns += number * static_cast<double>(unit->factor);
    rest.remove_prefix(name.size());
  }
  if (text.empty() || !rest.empty()) {
    return fail(ErrorCode::invalid, quoted(text) + " is not a duration", {}, hint);
  }
  if (total_ns >= static_cast<double>(largest)) {
    return fail(ErrorCode::invalid, "duration " + quoted(text) + " is longer than 292 years", {},
                hint);
  }
  return nanoseconds(std::llround(total_ns));
}

std::string duration_text(Duration value) {
  for (const Unit& unit : duration_units) {
    if (value.ns != 0 && value.ns % unit.factor == 0) {
      return std::to_string(value.ns / unit.factor) + std::string(unit.name);
    }
  }
  return "0";
}

Result<std::uint64_t> parse_size(std::string_view text) {
  constexpr const char* hint = "write bytes, or a number with a unit such as 64KiB, 256MiB or 1GiB";
  auto rest = text;
  double number = 0;
  if (!take_number(rest, number)) {
    return fail(ErrorCode::invalid, quoted(text) + " is not a size", {}, hint);
  }
  const Unit* unit = rest.empty() ? &size_units.back() : find_unit(size_units, rest);
  if (unit == nullptr) {
    return fail(ErrorCode::invalid,
                "size " + quoted(text) + " has the unknown unit " + quoted(rest), {}, hint);
  }
  const double bytes = number * static_cast<double>(unit->factor);
  if (bytes >= static_cast<double>(largest) || bytes != std::floor(bytes)) {
    return fail(ErrorCode::invalid, "size " + quoted(text) + " is not a whole number of bytes", {},
                hint);
  }
  return static_cast<std::uint64_t>(bytes);
}

std::string size_text(std::uint64_t bytes) {
  for (const Unit& unit : size_units) {
    const auto factor = static_cast<std::uint64_t>(unit.factor);
    if (unit.name.find('i') != std::string_view::npos && bytes >= factor && bytes % factor == 0) {
      return std::to_string(bytes / factor) + std::string(unit.name);
    }
  }
  return std::to_string(bytes);
}

Result<double> parse_ratio(std::string_view text) {
  constexpr const char* hint = "write a share from 0% to 100%, or from 0 to 1";
  auto rest = text;
  double number = 0;
  if (!take_number(rest, number) || (!rest.empty() && rest != "%")) {
    return fail(ErrorCode::invalid, quoted(text) + " is not a share", {}, hint);
  }
  const double ratio = rest == "%" ? number / 100 : number;
  if (ratio > 1) {
    return fail(ErrorCode::invalid, "share " + quoted(text) + " is more than everything", {},
                rest.empty() && number >= 2 && number <= 100
                    ? "did you mean " + std::string(text) + "%?"
                    : hint);
  }
  return ratio;
}

Result<double> parse_rate(std::string_view text) {
  constexpr const char* hint = "write a number, or one with k, M or G, such as 500 or 10k";
  auto rest = text;
  if (rest.ends_with("/s")) rest.remove_suffix(2);
  double number = 0;
  if (!take_number(rest, number)) {
    return fail(ErrorCode::invalid, quoted(text) + " is not a rate", {}, hint);
  }
  if (rest.empty()) return number;
  const Unit* unit = find_unit(rate_units, rest);
  if (unit == nullptr) return fail(ErrorCode::invalid, quoted(text) + " is not a rate", {}, hint);
  return number * static_cast<double>(unit->factor);
}

std::string rate_text(double value) {
  for (const Unit& unit : rate_units) {
    const auto factor = static_cast<double>(unit.factor);
    if (value >= factor && std::fmod(value, factor) == 0) {
      return number_text(value / factor) + std::string(unit.name);
    }
  }
  return number_text(value);
}

Result<double> parse_number(std::string_view text) {
  double value = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code != std::errc{} || end != text.data() + text.size() || !std::isfinite(value)) {
    return fail(ErrorCode::invalid, quoted(text) + " is not a number");
  }
  return value;
}

std::string number_text(double value) {
  std::array<char, 32> buffer{};
  const auto [end, code] = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value);
  return {buffer.data(), end};
}

Result<std::uint64_t> parse_unsigned(std::string_view text) {
  std::uint64_t value = 0;
  if (parse_integer(text, value)) return value;
  return fail(ErrorCode::invalid, quoted(text) + " is not a whole number");
}

Result<std::int64_t> parse_signed(std::string_view text) {
  std::int64_t value = 0;
  if (parse_integer(text, value)) return value;
  return fail(ErrorCode::invalid, quoted(text) + " is not a whole number");
}

Result<SocketAddress> parse_socket_address(std::string_view text) {
  constexpr const char* hint = "write 192.0.2.1:5380 or [2001:db8::1]:5380";
  const auto colon = text.rfind(':');
  const bool bracketed = text.starts_with('[');
  auto host = text.substr(0, colon);
  if (colon == std::string_view::npos || (bracketed ? !host.ends_with(']') : host.contains(':'))) {
    return fail(ErrorCode::invalid, quoted(text) + " is not an address with a port", {}, hint);
  }
  if (bracketed) host = host.substr(1, host.size() - 2);
  const auto address = IpAddress::parse(host);
  if (!address || address->is_ipv4() == bracketed) {
    return fail(ErrorCode::invalid, quoted(text) + " does not begin with an IP address", {}, hint);
  }
  std::uint16_t port = 0;
  if (!parse_integer(text.substr(colon + 1), port) || port == 0) {
    return fail(ErrorCode::invalid, quoted(text) + " has no port from 1 to 65535", {}, hint);
  }
  return SocketAddress{*address, port};
}

bool is_loopback(const IpAddress& address) noexcept {
  if (address.is_ipv4()) return address.ipv4() >> 24 == 127;
  IpAddress loopback;
  loopback.bytes[15] = 1;
  return address == loopback;
}

Status parse_secret(std::string_view text, std::span<std::uint8_t> to) {
  std::size_t length = 0;
  const char* end = nullptr;
  const auto whole = [&] { return length == to.size() && end == text.data() + text.size(); };
  const bool hex =
      text.size() == 2 * to.size() &&
      sodium_hex2bin(to.data(), to.size(), text.data(), text.size(), nullptr, &length, &end) == 0 &&
      whole();
  const bool base64 =
      !hex &&
      text.size() == sodium_base64_encoded_len(to.size(), sodium_base64_VARIANT_ORIGINAL) - 1 &&
      sodium_base642bin(to.data(), to.size(), text.data(), text.size(), nullptr, &length, &end,
                        sodium_base64_VARIANT_ORIGINAL) == 0 &&
      whole();
  const std::string hint = to.size() == 32 ? "pharosctl key generate makes one"
                                           : "pharosctl key generate --bytes " +
                                                 std::to_string(to.size()) + " makes one";
  if (!hex && !base64) {
    // Never with the text: messages end up in logs.
    return fail(
        ErrorCode::invalid,
        "the secret is not " + std::to_string(to.size()) + " bytes in hexadecimal or base64", {},
        hint);
  }
  if (std::ranges::all_of(to, [](std::uint8_t byte) { return byte == 0; })) {
    return fail(ErrorCode::invalid, "the secret is all zeros", {}, hint);
  }
  return {};
}

Result<std::array<std::uint8_t, 32>> parse_secret(std::string_view text) {
  std::array<std::uint8_t, 32> secret{};
  if (auto parsed = parse_secret(text, secret); !parsed)
    return std::unexpected(std::move(parsed).error());
  return secret;
}

Result<std::string> parse_domain_name(std::string_view text, bool wildcard) {
  if (text.contains('\\')) {
    return fail(
        ErrorCode::invalid,
        "name " + quoted(text) + " has an escape, which names of the configuration cannot have", {},
        "records of such names stand in zone files, where \\. and \\DDD are taken");
  }
  std::string name(text);
  for (char& c : name) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
  }
  if (name.empty())
    return fail(ErrorCode::invalid, "the name is empty", {}, "write www.example.com");
  if (name == ".") return name;
  if (!name.ends_with('.')) name += '.';
  for (std::size_t at = 0; at < name.size();) {
    const auto dot = name.find('.', at);
    const auto fault = label_fault(std::string_view(name).substr(at, dot - at), at == 0, wildcard);
    if (!fault.empty()) {
      return fail(ErrorCode::invalid, "name " + quoted(text) + " " + fault, {},
                  "write a name such as www.example.com");
    }
    at = dot + 1;
  }
  if (name.size() + 1 > 255) {
    return fail(ErrorCode::invalid,
                "name " + quoted(text) + " is longer than 255 bytes on the wire");
  }
  return name;
}

std::string nearest(std::string_view word, std::span<const std::string> known) {
  constexpr std::size_t word_bytes_max = 64;
  if (word.empty() || word.size() > word_bytes_max) return {};
  std::string best;
  // Far words are no help: at most a third of the letters may differ, or one word begins the other.
  unsigned best_distance = static_cast<unsigned>(word.size()) / 3 + 2;
  for (const auto& candidate : known) {
    if (candidate.size() > word_bytes_max) continue;
    unsigned distance = edit_distance(word, candidate);
    if (word.size() >= 4 && candidate.size() >= 4 &&
        (word.starts_with(candidate) || candidate.starts_with(word))) {
      distance = std::min(distance, 2U);
    }
    if (distance < best_distance && distance < std::max(word.size(), candidate.size())) {
      best_distance = distance;
      best = candidate;
    }
  }
  return best;
}

}  // namespace pharos::config
