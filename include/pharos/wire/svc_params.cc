#include "pharos/wire/svc_params.hh"

#include "pharos/base/ip_address.hh"

#include <sodium.h>

#include <array>
#include <charconv>

namespace pharos::dns {
namespace {

constexpr std::array<std::string_view, 9> names = {"mandatory", "alpn",     "no-default-alpn",
                                                   "port",      "ipv4hint", "ech",
                                                   "ipv6hint",  "dohpath",  "ohttp"};
constexpr std::size_t head_bytes = 4;  // key and length

void append16(std::vector<std::byte>& out, std::size_t value) {
  const Be16 in_order(static_cast<std::uint16_t>(value));
  const auto bytes = object_bytes(in_order);
  out.insert(out.end(), bytes.begin(), bytes.end());
}

// Takes the next parameter off `rest`; false where none is whole.
[[nodiscard]] bool take_param(ConstBytes& rest, std::uint16_t& key, ConstBytes& value) noexcept {
  if (rest.size() < head_bytes) return false;
  key = load<Be16>(rest.data());
  const std::size_t bytes = load<Be16>(rest.data() + 2);
  if (rest.size() - head_bytes < bytes) return false;
  value = rest.subspan(head_bytes, bytes);
  rest = rest.subspan(head_bytes + bytes);
  return true;
}

[[nodiscard]] bool has_key(ConstBytes list, std::uint16_t wanted) noexcept {
  std::uint16_t key = 0;
  ConstBytes value;
  while (take_param(list, key, value)) {
    if (key == wanted) return true;
  }
  return false;
}

// RFC 9460, 8: keys in order, each once, not 'mandatory' itself, each one there.
[[nodiscard]] std::string mandatory_fault(ConstBytes value, ConstBytes list) {
  if (value.empty() || value.size() % 2 != 0) return "'mandatory' is no list of keys";
  int last = 0;  // 'mandatory' itself
  for (std::size_t at = 0; at < value.size(); at += 2) {
    const std::uint16_t key = load<Be16>(value.data() + at);
    if (key == svc_param::mandatory) return "'mandatory' lists itself";
    if (key == last) return "'mandatory' lists '" + svc_param_name(key) + "' twice";
    if (key < last) return "the keys of 'mandatory' are out of order";
    if (!has_key(list, key)) {
      return "the mandatory parameter '" + svc_param_name(key) + "' is not there";
    }
    last = key;
  }
  return {};
}

// RFC 9460, 7.1.1: protocol ids, each behind its length, none empty.
[[nodiscard]] bool is_alpn_list(ConstBytes value) noexcept {
  if (value.empty()) return false;
  while (!value.empty()) {
    const auto bytes = std::to_integer<std::size_t>(value[0]);
    if (bytes == 0 || bytes >= value.size()) return false;
    value = value.subspan(1 + bytes);
  }
  return true;
}

[[nodiscard]] std::string value_fault(std::uint16_t key, ConstBytes value, ConstBytes list) {
  const auto unless = [&](bool good, const char* form) {
    return good ? std::string() : "'" + svc_param_name(key) + "' " + form;
  };
  switch (key) {
    case svc_param::mandatory:
      return mandatory_fault(value, list);
    case svc_param::alpn:
      return unless(is_alpn_list(value), "is no list of protocols");
    case svc_param::no_default_alpn:
      if (!value.empty()) return "'no-default-alpn' takes no value";
      return unless(has_key(list, svc_param::alpn), "needs 'alpn'");
    case svc_param::ohttp:
      return unless(value.empty(), "takes no value");
    case svc_param::port:
      return unless(value.size() == 2, "is no port");
    case svc_param::ipv4hint:
      return unless(!value.empty() && value.size() % 4 == 0, "is no list of IPv4 addresses");
    case svc_param::ipv6hint:
      return unless(!value.empty() && value.size() % 16 == 0, "is no list of IPv6 addresses");
    case svc_param::ech:
    case svc_param::dohpath:
      return unless(!value.empty(), "has no value");
    case svc_param::invalid:
      return "key65535 is reserved";
    default:
      return {};
  }
}

// A character-string as it may stand in a zone file without quotes; commas and backslashes of list items are
// escaped twice (RFC 9460, appendix A.1).
[[nodiscard]] std::string escaped(std::string_view text, bool list_item) {
  std::string out;
  for (const char c : text) {
    const auto octet = static_cast<unsigned char>(c);
    if (list_item && (c == ',' || c == '\\')) out += "\\\\";
    if (c == '\\' || c == '"' || c == ';' || c == '(' || c == ')') {
      out += '\\';
      out += c;
    } else if (octet <= ' ' || octet >= 0x7f) {
      const auto digits = std::to_string(octet);
      out += "\\" + std::string(3 - digits.size(), '0') + digits;
    } else {
      out += c;
    }
  }
  return out;
}

[[nodiscard]] std::string base64(ConstBytes bytes) {
  constexpr int variant = sodium_base64_VARIANT_ORIGINAL;
  std::string text(sodium_base64_ENCODED_LEN(bytes.size(), variant), '\0');
  sodium_bin2base64(text.data(), text.size(), reinterpret_cast<const unsigned char*>(bytes.data()),
                    bytes.size(), variant);
  text.pop_back();  // its NUL
  return text;
}

[[nodiscard]] std::string addresses_text(ConstBytes value, std::size_t each) {
  std::string text;
  for (std::size_t at = 0; at + each <= value.size(); at += each) {
    IpAddress address;
    if (each == 4) {
      address = IpAddress::from_ipv4(load<Be32>(value.data() + at));
    } else {
      std::memcpy(address.bytes.data(), value.data() + at, each);
    }
    text += (at == 0 ? "" : ",") + address.text();
  }
  return text;
}

[[nodiscard]] std::string value_text(std::uint16_t key, ConstBytes value) {
  std::string text;
  switch (key) {
    case svc_param::mandatory:
      for (std::size_t at = 0; at < value.size(); at += 2) {
        text += (at == 0 ? "" : ",") + svc_param_name(load<Be16>(value.data() + at));
      }
      return text;
    case svc_param::alpn:
      for (ConstBytes rest = value; !rest.empty();) {
        const auto bytes = std::to_integer<std::size_t>(rest[0]);
        text += (text.empty() ? "" : ",") + escaped(as_text(rest.subspan(1, bytes)), true);
        rest = rest.subspan(1 + bytes);
      }
      return text;
    case svc_param::port:
      return std::to_string(load<Be16>(value.data()));
    case svc_param::ipv4hint:
      return addresses_text(value, 4);
    case svc_param::ipv6hint:
      return addresses_text(value, 16);
    case svc_param::ech:
      return base64(value);
    default:
      return escaped(as_text(value), false);
  }
}

}  // namespace

std::optional<std::uint16_t> svc_param_of(std::string_view name) noexcept {
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (names[i] == name) return static_cast<std::uint16_t>(i);
  }
  constexpr std::string_view prefix = "key";
  if (!name.starts_with(prefix)) return std::nullopt;
  name.remove_prefix(prefix.size());
  std::uint16_t key = 0;
  const auto [end, code] = std::from_chars(name.data(), name.data() + name.size(), key);
  const bool whole = code == std::errc{} && end == name.data() + name.size();
  if (!whole || (name.size() > 1 && name[0] == '0')) return std::nullopt;
  return key;
}

std::string svc_param_name(std::uint16_t key) {
  return key < names.size() ? std::string(names[key]) : "key" + std::to_string(key);
}

std::vector<std::byte> svc_params_wire(const SvcParams& params) {
  std::vector<std::byte> wire;
  for (const auto& [key, value] : params) {
    append16(wire, key);
    append16(wire, value.size());
    const auto bytes = as_bytes(value);
    wire.insert(wire.end(), bytes.begin(), bytes.end());
  }
  return wire;
}

std::string svc_params_fault(ConstBytes wire) {
  int last = -1;
  for (ConstBytes rest = wire; !rest.empty();) {
    std::uint16_t key = 0;
    ConstBytes value;
    if (!take_param(rest, key, value)) return "the last parameter is cut short";
    if (key == last) return "the parameter '" + svc_param_name(key) + "' stands there twice";
    if (key < last) return "the parameters are out of order";
    last = key;
    if (auto fault = value_fault(key, value, wire); !fault.empty()) return fault;
  }
  return {};
}

std::string svc_params_text(ConstBytes wire) {
  std::string text;
  const bool sound = svc_params_fault(wire).empty();
  std::uint16_t key = 0;
  ConstBytes value;
  while (sound && take_param(wire, key, value)) {
    text += " " + svc_param_name(key);
    if (!value.empty()) text += "=" + value_text(key, value);
  }
  constexpr std::string_view digits = "0123456789abcdef";
  if (!sound) text += " ";
  for (std::size_t i = 0; !sound && i < wire.size(); ++i) {
    text += digits[std::to_integer<unsigned>(wire[i]) >> 4];
    text += digits[std::to_integer<unsigned>(wire[i]) & 15];
  }
  return text;
}

}  // namespace pharos::dns
