#include "pharos/controlplane/zone/rdata_text.hh"

#include "pharos/controlplane/zone/svcb_text.hh"
#include "pharos/controlplane/zone/zone_data.hh"

#include <arpa/inet.h>

#include <ldns/ldns.h>
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <memory>
#include <utility>

namespace pharos::controlplane {
namespace {

struct FreeRecord {
  void operator()(ldns_rr* record) const noexcept { ldns_rr_free(record); }
};
using UniqueRecord = std::unique_ptr<ldns_rr, FreeRecord>;

constexpr std::uint32_t ttl_too_large = 0xffffffff;

// What most records are of: ldns looks through its list of all types.
constexpr std::array<std::pair<std::string_view, std::uint16_t>, 8> common_types{{{"A", 1},
                                                                                  {"AAAA", 28},
                                                                                  {"NS", 2},
                                                                                  {"CNAME", 5},
                                                                                  {"MX", 15},
                                                                                  {"TXT", 16},
                                                                                  {"PTR", 12},
                                                                                  {"SRV", 33}}};

// No escapes, no quotes, no "@": a name that says what it is.
[[nodiscard]] bool is_plain_name(std::string_view text) noexcept {
  return std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
  });
}

[[nodiscard]] std::optional<std::uint64_t> parse_number(std::string_view text,
                                                        int base = 10) noexcept {
  std::uint64_t value = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (code != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

[[nodiscard]] std::uint64_t unit_seconds(char unit) noexcept {
  switch (unit | 0x20) {
    case 's':
      return 1;
    case 'm':
      return 60;
    case 'h':
      return 3600;
    case 'd':
      return 86400;
    case 'w':
      return 604800;
    default:
      return 0;
  }
}

[[nodiscard]] std::string joined(std::span<const std::string_view> tokens) {
  return fmt::format("{}", fmt::join(tokens, " "));
}

// ldns lets numbers wrap around: the fields that are plain numbers are looked at before.
[[nodiscard]] Status check_numbers(std::uint16_t type, std::span<const std::string_view> tokens) {
  const auto* descriptor = ldns_rr_descript(type);
  const std::size_t fields = std::min(ldns_rr_descriptor_maximum(descriptor), tokens.size());
  for (std::size_t i = 0; i < fields; ++i) {
    std::uint64_t limit = 0;
    switch (ldns_rr_descriptor_field_type(descriptor, i)) {
      case LDNS_RDF_TYPE_INT8:
        limit = 0xff;
        break;
      case LDNS_RDF_TYPE_INT16:
        limit = 0xffff;
        break;
      case LDNS_RDF_TYPE_INT32:
        limit = 0xffffffff;
        break;
      case LDNS_RDF_TYPE_PERIOD: {
        const auto period = parse_ttl(tokens[i]);
        if (!period || *period == ttl_too_large) {
          return fail(ErrorCode::invalid, fmt::format("'{}' is not a period of time", tokens[i]),
                      {}, "write seconds, or 1h30m, up to 2147483647 seconds");
        }
        continue;
      }
      default:
        continue;
    }
    const auto value = parse_number(tokens[i]);
    if (!value || *value > limit) {
      return fail(ErrorCode::invalid,
                  fmt::format("'{}' is not a number up to {}", tokens[i], limit));
    }
  }
  return {};
}

}  // namespace

std::optional<std::uint32_t> parse_ttl(std::string_view text) noexcept {
  if (text.empty() || text[0] < '0' || text[0] > '9') return std::nullopt;
  std::uint64_t total = 0;
  while (!text.empty()) {
    std::uint64_t value = 0;
    const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (code == std::errc::invalid_argument) return std::nullopt;
    if (code == std::errc::result_out_of_range) value = ttl_too_large;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    std::uint64_t unit = 1;
    if (!text.empty()) {
      unit = unit_seconds(text[0]);
      if (unit == 0) return std::nullopt;
      text.remove_prefix(1);
    }
    total = std::min<std::uint64_t>(total + std::min<std::uint64_t>(value, ttl_too_large) * unit,
                                    ttl_too_large);
  }
  return static_cast<std::uint32_t>(total > dns::ttl_max_s ? ttl_too_large : total);
}

std::optional<std::uint16_t> parse_type(std::string_view text) {
  const auto has_prefix =
      text.size() > 4 && std::ranges::equal(text.substr(0, 4), std::string_view("type"), {},
                                            [](char c) { return c | 0x20; });
  if (has_prefix && text[4] >= '0' && text[4] <= '9') {
    const auto value = parse_number(text.substr(4));
    if (!value || *value > 0xffff) return std::nullopt;
    return static_cast<std::uint16_t>(*value);
  }
  for (const auto& [name, type] : common_types) {
    if (std::ranges::equal(text, name, {}, [](char c) { return c & ~0x20; })) return type;
  }
  const auto type = ldns_get_rr_type_by_name(std::string(text).c_str());
  if (type == 0) return std::nullopt;
  return static_cast<std::uint16_t>(type);
}

RdataReader::RdataReader(const dns::WireName& origin) {
  set_origin(origin);
}

RdataReader::~RdataReader() {
  ldns_rdf_deep_free(origin_);
}

void RdataReader::set_origin(const dns::WireName& origin) {
  if (origin_ != nullptr) ldns_rdf_deep_free(origin_);
  origin_ = ldns_rdf_new_frm_data(LDNS_RDF_TYPE_DNAME, origin.length, origin.bytes.data());
}

Result<ConstBytes> RdataReader::read(std::uint16_t type, std::span<const std::string_view> tokens) {
  rdata_.clear();
  const bool generic = !tokens.empty() && tokens[0] == "\\#";
  const Status status = generic ? read_generic(type, tokens.subspan(1)) : read_known(type, tokens);
  if (!status) return std::unexpected(status.error());
  if (!rdata_is_sound(type, rdata_)) {
    return fail(ErrorCode::invalid, fmt::format("'{}' is not the data of a {} record",
                                                joined(tokens), dns::type_text(type)));
  }
  return ConstBytes(rdata_);
}

Status RdataReader::read_generic(std::uint16_t type, std::span<const std::string_view> tokens) {
  const auto length = tokens.empty() ? std::nullopt : parse_number(tokens[0]);
  if (!length || *length > 0xffff) {
    return fail(ErrorCode::invalid, "behind \\# there is no length from 0 to 65535");
  }
  std::string digits;
  for (const auto& token : tokens.subspan(1)) digits += token;
  if (digits.size() != *length * 2) {
    return fail(ErrorCode::invalid,
                fmt::format("\\# {} is followed by {} hexadecimal digits", *length, digits.size()),
                {}, "two digits for each octet");
  }
  for (std::size_t i = 0; i < digits.size(); i += 2) {
    const auto octet = parse_number(std::string_view(digits).substr(i, 2), 16);
    if (!octet)
      return fail(ErrorCode::invalid, "there is something else than hexadecimal digits behind \\#");
    rdata_.push_back(static_cast<std::byte>(*octet));
  }
  if (ldns_rr_descript(type)->_type != type) return {};
  // A known type must have its form: read back through ldns, as a whole record of the root.
  std::vector<std::uint8_t> wire{
      0, static_cast<std::uint8_t>(type >> 8),    static_cast<std::uint8_t>(type),   0, 1, 0, 0, 0,
      0, static_cast<std::uint8_t>(*length >> 8), static_cast<std::uint8_t>(*length)};
  for (const auto b : rdata_) wire.push_back(static_cast<std::uint8_t>(b));
  ldns_rr* raw = nullptr;
  std::size_t at = 0;
  const auto status = ldns_wire2rr(&raw, wire.data(), wire.size(), &at, LDNS_SECTION_ANSWER);
  const UniqueRecord record(raw);
  if (status != LDNS_STATUS_OK || at != wire.size()) {
    return fail(
        ErrorCode::invalid,
        fmt::format("the octets behind \\# are not the data of a {} record", dns::type_text(type)));
  }
  return {};
}

// The commonest types without ldns, which takes a microsecond for each: large zones are little else. False, and
// nothing read, where anything is out of the ordinary: the long way knows it, or has the words for it.
bool RdataReader::read_plain(std::uint16_t type, std::span<const std::string_view> tokens) {
  const auto put = [&](ConstBytes bytes) {
    rdata_.insert(rdata_.end(), bytes.begin(), bytes.end());
  };
  const auto put_name = [&](std::string_view text) -> bool {  // ldns defines `false` as a number
    if (!is_plain_name(text)) return false;
    const auto name = dns::parse_name(
        text, std::as_bytes(std::span(ldns_rdf_data(origin_), ldns_rdf_size(origin_))));
    if (name) put(name->view());
    return name.has_value();
  };
  const auto put_address = [&](int family, std::size_t bytes) -> bool {
    std::array<char, INET6_ADDRSTRLEN> text{};
    std::array<std::byte, 16> address{};
    if (tokens[0].size() >= text.size()) return false;
    std::ranges::copy(tokens[0], text.begin());
    if (::inet_pton(family, text.data(), address.data()) != 1) return false;
    put(ConstBytes(address).first(bytes));
    return true;
  };
  switch (static_cast<dns::Type>(type)) {
    case dns::Type::a:
      return tokens.size() == 1 && put_address(AF_INET, 4);
    case dns::Type::aaaa:
      return tokens.size() == 1 && put_address(AF_INET6, 16);
    case dns::Type::ns:
    case dns::Type::cname:
    case dns::Type::ptr:
      return tokens.size() == 1 && put_name(tokens[0]);
    case dns::Type::mx: {
      const auto preference = tokens.size() == 2 ? parse_number(tokens[0]) : std::nullopt;
      if (!preference || *preference > 0xffff) return false;
      put(object_bytes(Be16(static_cast<std::uint16_t>(*preference))));
      if (put_name(tokens[1])) return true;
      rdata_.clear();
      return false;
    }
    default:
      return false;
  }
}

Status RdataReader::read_known(std::uint16_t type, std::span<const std::string_view> tokens) {
  if (type == std::to_underlying(dns::Type::svcb) || type == std::to_underlying(dns::Type::https)) {
    const ConstBytes origin =
        std::as_bytes(std::span(ldns_rdf_data(origin_), ldns_rdf_size(origin_)));
    auto rdata = read_service_binding(tokens, origin);
    if (!rdata) return std::unexpected(std::move(rdata).error());
    rdata_ = std::move(*rdata);
    return {};
  }
  if (read_plain(type, tokens)) return {};
  if (auto status = check_numbers(type, tokens); !status) return status;
  const char* mnemonic =
      ldns_rr_descript(type)->_type == type ? ldns_rr_descript(type)->_name : nullptr;
  if (mnemonic == nullptr) {
    return fail(
        ErrorCode::invalid, fmt::format("the text form of {} is not known", dns::type_text(type)),
        {}, fmt::format("write {} \\# and its length and octets (RFC 3597)", dns::type_text(type)));
  }
  line_ = fmt::format(". 0 IN {} {}", mnemonic, fmt::join(tokens, " "));
  ldns_rr* raw = nullptr;
  const auto status = ldns_rr_new_frm_str(&raw, line_.c_str(), 0, origin_, nullptr);
  const UniqueRecord record(raw);
  if (status != LDNS_STATUS_OK) {
    return fail(ErrorCode::invalid,
                fmt::format("'{}' is not the data of a {} record: {}", joined(tokens), mnemonic,
                            ldns_get_errorstr_by_id(status)));
  }
  for (std::size_t i = 0; i < ldns_rr_rd_count(raw); ++i) {
    const ldns_rdf* field = ldns_rr_rdf(raw, i);
    const auto bytes = std::as_bytes(std::span(ldns_rdf_data(field), ldns_rdf_size(field)));
    if (ldns_rdf_get_type(field) == LDNS_RDF_TYPE_DNAME && !dns::name_is_sound(bytes)) {
      return fail(ErrorCode::invalid,
                  fmt::format("a name in '{}' is longer than 255 octets", joined(tokens)));
    }
    rdata_.insert(rdata_.end(), bytes.begin(), bytes.end());
  }
  if (rdata_.size() > 0xffff)
    return fail(ErrorCode::invalid, "the data are longer than 65535 octets");
  return {};
}

}  // namespace pharos::controlplane
