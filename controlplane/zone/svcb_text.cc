#include "pharos/controlplane/zone/svcb_text.hh"

#include "pharos/base/ip_address.hh"
#include "pharos/wire/name_text.hh"
#include "pharos/wire/svc_params.hh"

#include <sodium.h>

#include <algorithm>
#include <charconv>
#include <optional>

namespace pharos::controlplane {
namespace {

using Value =
    std::optional<std::string>;  // in wire form; nothing where the text is not of its form

[[nodiscard]] std::optional<std::uint16_t> number_in(std::string_view text) noexcept {
  std::uint16_t value = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = code == std::errc{} && end == text.data() + text.size();
  return whole ? std::optional(value) : std::nullopt;
}

[[nodiscard]] std::string wire16(std::uint16_t value) {
  return std::string(as_text(object_bytes(Be16(value))));
}

// A character-string without its quotes, `\DDD` and `\X` resolved (RFC 1035, 5.1).
[[nodiscard]] Value unescaped(std::string_view text) {
  if (text.size() >= 2 && text.front() == '"' && text.back() == '"') {
    text = text.substr(1, text.size() - 2);
  }
  std::string out;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] != '\\') {
      out += text[at];
    } else if (at + 1 == text.size()) {
      return std::nullopt;
    } else if (text[at + 1] < '0' || text[at + 1] > '9') {
      out += text[++at];
    } else {
      const auto octet = at + 3 < text.size() ? number_in(text.substr(at + 1, 3)) : std::nullopt;
      if (!octet || *octet > 255) return std::nullopt;
      out += static_cast<char>(*octet);
      at += 3;
    }
  }
  return out;
}

// Items between commas; a comma or backslash of an item stands behind a backslash (RFC 9460, A.1). Nothing where one
// is empty.
[[nodiscard]] std::optional<std::vector<std::string>> items_of(std::string_view list) {
  std::vector<std::string> items(1);
  for (std::size_t at = 0; at < list.size(); ++at) {
    if (list[at] == ',') {
      items.emplace_back();
      continue;
    }
    if (list[at] == '\\') ++at;
    if (at == list.size()) return std::nullopt;
    items.back() += list[at];
  }
  if (std::ranges::any_of(items, &std::string::empty)) return std::nullopt;
  return items;
}

[[nodiscard]] Value alpn_value(const std::vector<std::string>& items) {
  std::string wire;
  for (const auto& item : items) {
    if (item.size() > 255) return std::nullopt;
    wire += static_cast<char>(item.size());
    wire += item;
  }
  return wire;
}

[[nodiscard]] Value mandatory_value(const std::vector<std::string>& items) {
  std::vector<std::uint16_t> keys;
  for (const auto& item : items) {
    const auto key = dns::svc_param_of(item);
    if (!key) return std::nullopt;
    keys.push_back(*key);
  }
  std::ranges::sort(keys);
  std::string wire;
  for (const auto key : keys) wire += wire16(key);
  return wire;
}

[[nodiscard]] Value hint_value(const std::vector<std::string>& items, bool ipv4) {
  std::string wire;
  for (const auto& item : items) {
    const auto address = IpAddress::parse(item);
    if (!address || address->is_ipv4() != ipv4 || item.contains(':') == ipv4) return std::nullopt;
    wire += as_text(address->wire());
  }
  return wire;
}

[[nodiscard]] Value base64_value(std::string_view text) {
  std::string bytes(text.size(), '\0');
  std::size_t used = 0;
  if (sodium_base642bin(reinterpret_cast<unsigned char*>(bytes.data()), bytes.size(), text.data(),
                        text.size(), nullptr, &used, nullptr,
                        sodium_base64_VARIANT_ORIGINAL) != 0) {
    return std::nullopt;
  }
  bytes.resize(used);
  return bytes;
}

[[nodiscard]] Value list_value(std::uint16_t key, std::string_view text) {
  const auto items = items_of(text);
  if (!items) return std::nullopt;
  if (key == dns::svc_param::alpn) return alpn_value(*items);
  if (key == dns::svc_param::mandatory) return mandatory_value(*items);
  return hint_value(*items, key == dns::svc_param::ipv4hint);
}

[[nodiscard]] Value value_of(std::uint16_t key, bool by_number, std::string_view text) {
  Value plain = unescaped(text);
  if (!plain || by_number) return plain;
  switch (key) {
    case dns::svc_param::mandatory:
    case dns::svc_param::alpn:
    case dns::svc_param::ipv4hint:
    case dns::svc_param::ipv6hint:
      return list_value(key, *plain);
    case dns::svc_param::port: {
      const auto port = number_in(*plain);
      return port ? Value(wire16(*port)) : std::nullopt;
    }
    case dns::svc_param::ech:
      return base64_value(*plain);
    default:
      return plain;
  }
}

[[nodiscard]] Status add_param(std::string_view token, dns::SvcParams& params) {
  const auto equals = token.find('=');
  const std::string_view name = token.substr(0, equals);
  const auto key = dns::svc_param_of(name);
  const auto bad = [](std::string what) { return fail(ErrorCode::invalid, std::move(what)); };
  if (!key) return bad("'" + std::string(name) + "' is no parameter");
  Value value = std::string();
  if (equals != std::string_view::npos) {
    value = value_of(*key, name.starts_with("key"), token.substr(equals + 1));
  }
  if (!value || value->size() > 0xffff) {
    return bad("'" + std::string(token) + "' is no value of that parameter");
  }
  if (!params.emplace(*key, std::move(*value)).second) {
    return bad("the parameter '" + std::string(name) + "' stands there twice");
  }
  return {};
}

}  // namespace

Result<std::vector<std::byte>> read_service_binding(std::span<const std::string_view> tokens,
                                                    ConstBytes origin) {
  const auto priority = tokens.size() < 2 ? std::nullopt : number_in(tokens[0]);
  if (!priority) {
    return fail(ErrorCode::invalid, "there is no priority from 0 to 65535 and a target", {},
                "write: 1 svc.example.com. alpn=h2");
  }
  const auto target = dns::parse_name(tokens[1], origin);
  if (!target) return std::unexpected(target.error());
  dns::SvcParams params;
  for (const auto token : tokens.subspan(2)) {
    if (auto added = add_param(token, params); !added) return std::unexpected(added.error());
  }
  const auto list = dns::svc_params_wire(params);
  if (auto fault = dns::svc_params_fault(list); !fault.empty()) {
    return fail(ErrorCode::invalid, std::move(fault), {}, "see RFC 9460, 7 and 8");
  }
  std::vector<std::byte> rdata(sizeof(Be16));
  store(rdata.data(), Be16(*priority));
  rdata.insert(rdata.end(), target->view().begin(), target->view().end());
  rdata.insert(rdata.end(), list.begin(), list.end());
  return rdata;
}

}  // namespace pharos::controlplane
