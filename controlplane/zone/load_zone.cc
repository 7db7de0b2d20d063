#include "pharos/controlplane/zone/load_zone.hh"

#include "pharos/controlplane/zone/rdata_text.hh"
#include "pharos/controlplane/zone/zone_scanner.hh"
#include "pharos/wire/name.hh"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <memory>

namespace pharos::controlplane {
namespace {

using dns::Type;

constexpr unsigned include_depth_max = 16;
constexpr std::uint64_t file_bytes_max = std::uint64_t{1} << 32;
constexpr std::uint64_t generated_records_max = 1U << 20;  // of one $GENERATE
constexpr unsigned generate_width_max = 255;

struct CloseFile {
  void operator()(std::FILE* file) const noexcept { std::fclose(file); }
};

[[nodiscard]] Result<std::string> read_whole_file(const std::string& path) {
  const std::unique_ptr<std::FILE, CloseFile> file(std::fopen(path.c_str(), "re"));
  if (!file) {
    if (errno == ENOENT) {
      return fail(ErrorCode::not_found, "there is no such file", path,
                  "check the path of the zone file");
    }
    return fail_errno("open", path);
  }
  std::string text;
  std::array<char, 1U << 16> chunk;
  while (std::feof(file.get()) == 0 && std::ferror(file.get()) == 0) {
    text.append(chunk.data(), std::fread(chunk.data(), 1, chunk.size(), file.get()));
    if (text.size() > file_bytes_max) {
      return fail(ErrorCode::exhausted, "the file is larger than 4 GiB", path,
                  "split it with $INCLUDE");
    }
  }
  if (std::ferror(file.get()) != 0) return fail_errno("read", path);
  return text;
}

[[nodiscard]] bool equal_ignoring_case(std::string_view a, std::string_view b) noexcept {
  return std::ranges::equal(a, b, [](char x, char y) {
    return dns::fold_byte(static_cast<std::byte>(x)) == dns::fold_byte(static_cast<std::byte>(y));
  });
}

[[nodiscard]] std::string_view unquoted(std::string_view token) noexcept {
  if (token.size() >= 2 && token.front() == '"' && token.back() == '"') {
    token.remove_prefix(1);
    token.remove_suffix(1);
  }
  return token;
}

// The numbers of a $GENERATE: "1-254" or "0-100/2".
struct GenerateRange {
  std::uint32_t first = 0, last = 0, step = 1;
};
[[nodiscard]] Result<GenerateRange> parse_range(std::string_view text) {
  GenerateRange range;
  const char* at = text.data();
  const char* end = at + text.size();
  const auto take = [&](std::uint32_t& value) {
    const auto [behind, code] = std::from_chars(at, end, value);
    at = behind;
    return code == std::errc{};
  };
  const auto skip = [&](char c) {
    if (at == end || *at != c) return false;
    ++at;
    return true;
  };
  bool good = take(range.first) && skip('-') && take(range.last);
  if (good && skip('/')) good = take(range.step);
  if (!good || at != end || range.last < range.first || range.step == 0) {
    return fail(ErrorCode::invalid, fmt::format("'{}' is not a range", text), {},
                "write 1-254 or 0-100/2");
  }
  if ((range.last - range.first) / range.step >= generated_records_max) {
    return fail(ErrorCode::exhausted, fmt::format("$GENERATE {} makes more than {} records", text,
                                                  generated_records_max));
  }
  return range;
}

// The number for "${offset,width,base}"; `at` stands behind "${" and is moved behind "}".
[[nodiscard]] Result<std::string> modified_number(std::string_view text, std::size_t& at,
                                                  std::uint32_t number) {
  const auto close = text.find('}', at);
  const auto wrong = [&] {
    return fail(ErrorCode::invalid, fmt::format("'{}' has a bad ${{...}}", text), {},
                "write ${offset,width,base} with base d, o, x, X, n or N");
  };
  if (close == std::string_view::npos) return wrong();
  const std::string_view inside = text.substr(at, close - at);
  at = close + 1;
  std::int64_t offset = 0;
  unsigned width = 0;
  char base = 'd';
  const auto comma = inside.find(',');
  const auto second = comma == std::string_view::npos ? comma : inside.find(',', comma + 1);
  const auto whole = [](std::string_view part, auto& value) {
    const auto [end, code] = std::from_chars(part.data(), part.data() + part.size(), value);
    return code == std::errc{} && end == part.data() + part.size();
  };
  if (!whole(inside.substr(0, comma), offset)) return wrong();
  if (comma != std::string_view::npos) {
    const auto length = second == std::string_view::npos ? second : second - comma - 1;
    if (!whole(inside.substr(comma + 1, length), width) || width > generate_width_max)
      return wrong();
  }
  if (second != std::string_view::npos) {
    if (inside.size() != second + 2) return wrong();
    base = inside[second + 1];
  }
  const std::int64_t value = number + offset;
  if (value < 0 || value > 0xffffffffLL) return wrong();
  switch (base) {
    case 'd':
      return fmt::format("{:0{}}", value, width);
    case 'o':
      return fmt::format("{:0{}o}", value, width);
    case 'x':
      return fmt::format("{:0{}x}", value, width);
    case 'X':
      return fmt::format("{:0{}X}", value, width);
    case 'n':
    case 'N': {  // nibbles from the lowest on, as for ip6.arpa; the width counts dots as well
      std::string text_of;
      auto rest = static_cast<std::uint64_t>(value);
      do {
        if (!text_of.empty()) text_of += '.';
        text_of += fmt::format(fmt::runtime(base == 'n' ? "{:x}" : "{:X}"), rest & 15);
        rest >>= 4;
      } while (rest != 0 || text_of.size() + 1 < width);
      return text_of;
    }
    default:
      return wrong();
  }
}

// `text` with every "$" replaced by the number; "\$" stays a dollar sign.
[[nodiscard]] Result<std::string> substituted(std::string_view text, std::uint32_t number) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const char c = text[at++];
    if (c == '\\' && at < text.size()) {
      if (text[at] != '$') out += c;
      out += text[at++];
    } else if (c != '$') {
      out += c;
    } else if (at < text.size() && text[at] == '{') {
      ++at;
      auto made = modified_number(text, at, number);
      if (!made) return std::unexpected(made.error());
      out += *made;
    } else {
      out += std::to_string(number);
    }
  }
  return out;
}

// Reads one zone file with all that it includes.
class ZoneReader {
 public:
  ZoneReader(ZoneData& zone, const dns::WireName& origin, ZoneReport& report)
      : zone_(zone), report_(report), origin_(origin), rdata_(origin) {}

  void read_file(const std::string& path, unsigned depth) {
    auto text = read_whole_file(path);
    if (!text) {
      report_.errors.push_back(std::move(text.error()));
      return;
    }
    const std::uint16_t outer_file = file_;
    file_ = zone_.add_file(path);
    read_text(*text, depth);
    file_ = outer_file;
  }

  // Text without a folder: nothing can be included from it.
  void read_alone(std::string_view text, const std::string& name) {
    file_ = zone_.add_file(name);
    read_text(text, include_depth_max);
  }

 private:
  void read_text(std::string_view text, unsigned depth) {
    ZoneScanner scanner(text);
    ZoneEntry entry;
    for (;;) {
      const auto more = scanner.next(entry);
      line_ = more ? entry.line : scanner.line();
      if (!more) {
        complain(more.error());
        continue;
      }
      if (!*more) return;
      if (Status status = read_entry(entry, depth); !status) complain(status.error());
    }
  }

  [[nodiscard]] std::string here() const {
    return zone_.files()[file_] + ":" + std::to_string(line_);
  }
  void complain(Error error) {
    report_.error(std::move(error.what), here(), std::move(error.hint));
  }

  Status read_entry(const ZoneEntry& entry, unsigned depth) {
    const std::string_view first = entry.tokens[0];
    if (entry.blank_owner || first[0] != '$') return read_record(entry);
    if (equal_ignoring_case(first, "$ORIGIN")) return set_origin(entry);
    if (equal_ignoring_case(first, "$TTL")) return set_ttl(entry);
    if (equal_ignoring_case(first, "$INCLUDE")) return include(entry, depth);
    if (equal_ignoring_case(first, "$GENERATE")) return generate(entry);
    return fail(ErrorCode::invalid, fmt::format("'{}' is not a directive", first), {},
                "known are $ORIGIN, $TTL, $INCLUDE and $GENERATE");
  }

  Status set_origin(const ZoneEntry& entry) {
    if (entry.tokens.size() != 2) return fail(ErrorCode::invalid, "$ORIGIN takes one name");
    const auto name = dns::parse_name(entry.tokens[1], origin_.view());
    if (!name) return std::unexpected(name.error());
    origin_ = *name;
    rdata_.set_origin(origin_);
    return {};
  }

  Status set_ttl(const ZoneEntry& entry) {
    if (entry.tokens.size() != 2) return fail(ErrorCode::invalid, "$TTL takes one period of time");
    const auto ttl = parse_ttl(entry.tokens[1]);
    if (!ttl) {
      return fail(ErrorCode::invalid, fmt::format("'{}' is not a TTL", entry.tokens[1]), {},
                  "write seconds, or 1h30m");
    }
    if (auto status = check_ttl(*ttl, entry.tokens[1]); !status) return status;
    default_ttl_s_ = ttl;
    return {};
  }

  static Status check_ttl(std::uint32_t ttl_s, std::string_view text) {
    if (ttl_s <= dns::ttl_max_s) return {};
    return fail(ErrorCode::invalid, fmt::format("TTL {} is larger than 2147483647", text));
  }

  // The included file starts with our origin, or the one given; ours and the last owner are as before afterwards.
  Status include(const ZoneEntry& entry, unsigned depth) {
    if (entry.tokens.size() < 2 || entry.tokens.size() > 3) {
      return fail(ErrorCode::invalid, "$INCLUDE takes a file and maybe an origin");
    }
    if (depth >= include_depth_max || zone_.files().size() >= 0xffff) {
      return fail(ErrorCode::exhausted,
                  fmt::format("files include each other more than {} deep", include_depth_max));
    }
    const dns::WireName outer_origin = origin_;
    const auto outer_owner = owner_;
    if (entry.tokens.size() == 3) {
      const auto name = dns::parse_name(entry.tokens[2], origin_.view());
      if (!name) return std::unexpected(name.error());
      origin_ = *name;
      rdata_.set_origin(origin_);
    }
    const auto folder = std::filesystem::path(zone_.files()[file_]).parent_path();
    const auto outer_line = line_;
    read_file((folder / unquoted(entry.tokens[1])).string(), depth + 1);
    line_ = outer_line;
    origin_ = outer_origin;
    owner_ = outer_owner;
    rdata_.set_origin(origin_);
    return {};
  }

  Status generate(const ZoneEntry& entry) {
    if (entry.tokens.size() < 4) {
      return fail(ErrorCode::invalid, "$GENERATE takes a range, a name, a type and data", {},
                  "$GENERATE 1-254 host$ A 192.0.2.$");
    }
    const auto range = parse_range(entry.tokens[1]);
    if (!range) return std::unexpected(range.error());
    const std::span<const std::string_view> pattern = std::span(entry.tokens).subspan(2);
    for (std::uint64_t number = range->first; number <= range->last; number += range->step) {
      std::vector<std::string> words;
      ZoneEntry made;
      made.line = entry.line;
      for (const auto word : pattern) {
        auto text = substituted(word, static_cast<std::uint32_t>(number));
        if (!text) return std::unexpected(text.error());
        words.push_back(std::move(*text));
      }
      made.tokens.assign(words.begin(), words.end());
      if (auto status = read_record(made); !status) return status;
    }
    return {};
  }

  // [owner] [TTL] [class] type data, TTL and class in any order.
  Status read_record(const ZoneEntry& entry) {
    std::span<const std::string_view> rest = entry.tokens;
    if (!entry.blank_owner) {
      const auto owner = dns::parse_name(rest[0], origin_.view());
      if (!owner) return std::unexpected(owner.error());
      owner_ = *owner;
      rest = rest.subspan(1);
    }
    if (!owner_) {
      return fail(ErrorCode::invalid, "the first record of a file has no owner", {},
                  "an entry that starts with a space has the owner of the one before");
    }
    std::optional<std::uint32_t> ttl;
    bool has_class = false;
    for (; !rest.empty(); rest = rest.subspan(1)) {
      if (!has_class && equal_ignoring_case(rest[0], "IN")) {
        has_class = true;
      } else if (const auto value = parse_ttl(rest[0]); value && !ttl) {
        if (auto status = check_ttl(*value, rest[0]); !status) return status;
        ttl = value;
      } else {
        break;
      }
    }
    if (rest.empty()) return fail(ErrorCode::invalid, "the record has no type");
    const auto type = parse_type(rest[0]);
    if (!type) {
      return fail(ErrorCode::invalid,
                  fmt::format("'{}' is neither a record type nor the class IN", rest[0]), {},
                  "types without a name here are written TYPE65280 \\# 3 010203 (RFC 3597)");
    }
    const auto rdata = rdata_.read(*type, rest.subspan(1));
    if (!rdata) return std::unexpected(rdata.error());
    const auto effective = effective_ttl(ttl, *type, *rdata);
    if (!effective) return std::unexpected(effective.error());
    return zone_.add(owner_->view(), *type, *effective, *rdata, file_, line_);
  }

  // RFC 2308, 4: $TTL; before that, RFC 1035, 5.1: the last one given. A SOA alone may fall back on its MINIMUM.
  Result<std::uint32_t> effective_ttl(std::optional<std::uint32_t> given, std::uint16_t type,
                                      ConstBytes rdata) {
    if (given) {
      last_ttl_s_ = given;
      return *given;
    }
    if (default_ttl_s_) return *default_ttl_s_;
    if (last_ttl_s_) return *last_ttl_s_;
    if (type == std::to_underlying(Type::soa)) {
      last_ttl_s_ =
          std::min<std::uint32_t>(load<Be32>(rdata.data() + rdata.size() - 4), dns::ttl_max_s);
      return *last_ttl_s_;
    }
    return fail(ErrorCode::invalid, "the record has no TTL", {}, "start the file with $TTL 3600");
  }

  ZoneData& zone_;
  ZoneReport& report_;
  dns::WireName origin_;
  RdataReader rdata_;
  std::optional<dns::WireName> owner_;
  std::optional<std::uint32_t> default_ttl_s_;
  std::optional<std::uint32_t> last_ttl_s_;
  std::uint16_t file_ = 0;
  std::uint32_t line_ = 0;
};

// ---- zones made from the fields of the configuration ----

constexpr std::uint32_t made_serial = 1;
constexpr std::uint32_t made_refresh_s = 3600, made_retry_s = 600, made_expire_s = 604800;

[[nodiscard]] std::uint32_t whole_seconds(Duration duration) noexcept {
  return static_cast<std::uint32_t>(
      std::clamp<std::int64_t>(duration.ns / seconds(1).ns, 0, dns::ttl_max_s));
}

void append(std::vector<std::byte>& to, ConstBytes bytes) {
  to.insert(to.end(), bytes.begin(), bytes.end());
}

Status make_from_fields(const config::ZoneConfig& config, ZoneData& zone) {
  const ConstBytes origin = zone.origin();
  const std::uint32_t ttl_s = whole_seconds(config.ttl);
  const auto line = static_cast<std::uint32_t>(std::max(config.source.line, 0));
  const std::uint16_t file = zone.add_file(config.source.file);
  const auto primary = dns::parse_name(config.primary, origin);
  if (!primary) return std::unexpected(primary.error());
  const auto contact = dns::parse_name(config.contact, origin);
  if (!contact) return std::unexpected(contact.error());
  std::vector<std::byte> soa;
  append(soa, primary->view());
  append(soa, contact->view());
  for (const std::uint32_t number : {made_serial, made_refresh_s, made_retry_s, made_expire_s,
                                     whole_seconds(config.negative_ttl)}) {
    append(soa, object_bytes(Be32(number)));
  }
  if (auto status = zone.add(origin, std::to_underlying(Type::soa), ttl_s, soa, file, line);
      !status) {
    return status;
  }
  for (const auto& server : config.nameservers) {
    const auto name = dns::parse_name(server, origin);
    if (!name) return std::unexpected(name.error());
    if (auto status =
            zone.add(origin, std::to_underlying(Type::ns), ttl_s, name->view(), file, line);
        !status) {
      return status;
    }
  }
  for (const auto& [host, addresses] : config.hosts) {
    const auto name = dns::parse_name(host, origin);
    if (!name) return std::unexpected(name.error());
    for (const auto& address : addresses) {
      const auto type = address.is_ipv4() ? Type::a : Type::aaaa;
      if (auto status =
              zone.add(name->view(), std::to_underlying(type), ttl_s, address.wire(), file, line);
          !status) {
        return status;
      }
    }
  }
  return {};
}

// Reads and checks a zone as far as it goes.
[[nodiscard]] ZoneData read_zone(const config::ZoneConfig& config, ZoneReport& report) {
  const auto origin = dns::parse_name(config.id);
  if (!origin) {
    report.error(origin.error().what, config.source.text(),
                 "a zone's id is its origin, such as example.com.");
    return ZoneData(dns::WireName{});
  }
  ZoneData zone(*origin);
  if (config.file.empty()) {
    if (auto status = make_from_fields(config, zone); !status) {
      report.error(std::move(status.error().what), config.source.text(),
                   std::move(status.error().hint));
    }
  } else {
    ZoneReader(zone, *origin, report).read_file(config.file, 0);
  }
  // With records missing, everything else that could be said would mislead.
  if (report.errors.empty()) report = zone.finish();
  return zone;
}

// The zone, or its first mistake and how many more there are.
[[nodiscard]] Result<LoadedZone> zone_or_mistake(ZoneData zone, ZoneReport report) {
  if (report.errors.empty()) return LoadedZone{std::move(zone), std::move(report)};
  Error error = std::move(report.errors.front());
  if (const auto more = report.errors.size() - 1 + report.more_errors; more > 0) {
    error.what +=
        fmt::format("; the zone has {} more {}", more, more == 1 ? "mistake" : "mistakes");
  }
  return std::unexpected(std::move(error));
}

}  // namespace

Result<LoadedZone> load_zone(const config::ZoneConfig& config) {
  ZoneReport report;
  ZoneData zone = read_zone(config, report);
  return zone_or_mistake(std::move(zone), std::move(report));
}

Result<LoadedZone> parse_zone(const dns::WireName& origin, std::string_view text,
                              const std::string& name) {
  ZoneReport report;
  ZoneData zone(origin);
  ZoneReader(zone, origin, report).read_alone(text, name);
  if (report.errors.empty()) report = zone.finish();
  return zone_or_mistake(std::move(zone), std::move(report));
}

ZoneReport check_zone(const config::ZoneConfig& config) {
  ZoneReport report;
  static_cast<void>(read_zone(config, report));
  return report;
}

}  // namespace pharos::controlplane
