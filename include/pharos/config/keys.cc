#include "pharos/config/keys.hh"

#include <pwd.h>

#include <algorithm>
#include <filesystem>

namespace pharos::config {

namespace {

constexpr const char* duration_pattern = "^(0|([0-9.]+(ns|us|ms|s|m|h|d))+)$";
constexpr const char* size_pattern = "^[0-9.]+([KMGT]iB|[kMGT]B|B)?$";
constexpr const char* ratio_pattern = "^[0-9.]+%$";
constexpr const char* rate_pattern = "^[0-9.]+[kMG]?(/s)?$";
constexpr const char* identifier_pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$";

Shape text_shape(std::string word, std::string pattern = {}) {
  return {.kind = Shape::Kind::text, .word = std::move(word), .pattern = std::move(pattern)};
}

// A number, or text of `pattern`.
Shape number_or_text(const std::string& word, Shape number, std::string pattern) {
  return {.kind = Shape::Kind::either,
          .word = word,
          .parts = {std::move(number), text_shape(word, std::move(pattern))}};
}

// A type whose text `parse` turns into a value or an error.
template <typename T, typename Parse, typename Write>
Type<T> parsed(Shape shape, const Parse& parse, Write write) {
  auto word = shape.word;
  return {std::move(shape),
          [word, parse](Reader& reader, const Node& node, T& to) {
            const auto* text = scalar_of(reader, node, word);
            if (text == nullptr) return false;
            Result<T> value = parse(std::string_view(*text));
            if (!value) {
              reader.mistake(node, value.error());
              return false;
            }
            to = std::move(*value);
            return true;
          },
          write};
}

// What `next` makes of the value of `result`, or its error.
template <typename T, typename Next>
auto then(Result<T> result, Next next) -> decltype(next(std::move(*result))) {
  if (!result) return std::unexpected(std::move(result.error()));
  return next(std::move(*result));
}

// `value` where it lies within the limits, or what they are.
template <typename T, typename Write>
Result<T> within(T value, T minimum, T maximum, std::string_view word, const Write& write) {
  if (value >= minimum && value <= maximum) return value;
  return fail(ErrorCode::invalid, std::string(word) + " " + write(value) + " is out of range", {},
              "write one from " + write(minimum) + " to " + write(maximum));
}

bool is_identifier(std::string_view text) {
  const auto alphanumeric = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  };
  return !text.empty() && text.size() <= 63 && alphanumeric(text.front()) &&
         std::ranges::all_of(
             text, [&](char c) { return alphanumeric(c) || c == '-' || c == '_' || c == '.'; });
}

Result<std::string> check_text(std::string_view text, std::string_view word,
                               std::size_t bytes_max) {
  if (text.size() > bytes_max) {
    return fail(ErrorCode::invalid,
                std::string(word) + " is longer than " + std::to_string(bytes_max) + " bytes");
  }
  if (std::ranges::any_of(text, [](unsigned char c) { return c < 0x20 || c == 0x7f; })) {
    return fail(ErrorCode::invalid, std::string(word) + " holds a control character");
  }
  return std::string(text);
}

Result<unsigned> find_user(std::string_view text) {
  if (const auto number = parse_unsigned(text)) {
    return then(number, [](std::uint64_t uid) -> Result<unsigned> {
      if (uid < 0xffffffff) return static_cast<unsigned>(uid);
      return fail(ErrorCode::invalid, "there is no user with so large a number");
    });
  }
  const std::string name(text.substr(0, 64));
  passwd entry{};
  passwd* found = nullptr;
  std::vector<char> buffer(16384);
  if (::getpwnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found) == 0 &&
      found != nullptr) {
    return static_cast<unsigned>(entry.pw_uid);
  }
  return fail(ErrorCode::invalid, "this system has no user '" + name + "'", {},
              "write a user's name or number");
}

void report_unknown(Reader& reader, const Member& member, const Table& table) {
  std::vector<std::string> names;
  for (const auto& key : table.keys) names.push_back(key.name);
  const auto near = nearest(member.key, names);
  std::string all;
  for (const auto& name : names) all += (all.empty() ? "" : ", ") + name;
  reader.mistakes.add(member.place,
                      "unknown key '" + member.key.substr(0, 64) + "' in " + table.name,
                      near.empty() ? "known are: " + all : "did you mean '" + near + "'?");
}

}  // namespace

std::string_view name_of(Thing thing) noexcept {
  switch (thing) {
    case Thing::site:
      return "site";
    case Thing::locale:
      return "locale";
    case Thing::zone:
      return "zone";
    case Thing::service:
      return "service";
    case Thing::service_name:
      return "service name";
    case Thing::endpoint:
      return "endpoint";
    case Thing::policy:
      return "policy";
    case Thing::port:
      return "port";
    case Thing::device:
      return "device";
    case Thing::exception_interface:
      return "exception interface";
    case Thing::port_address:
      return "port address";
  }
  return "thing";
}

std::string Reader::path(const Node& node) const {
  namespace fs = std::filesystem;
  if (node.scalar.starts_with('/')) return node.scalar;
  const fs::path folder = fs::path(*node.place.file).parent_path();
  return (folder / node.scalar).lexically_normal().string();
}

const std::string* scalar_of(Reader& reader, const Node& node, std::string_view word) {
  if (node.kind == Node::Kind::scalar) return &node.scalar;
  reader.mistake(node, "here belongs a single value (" + std::string(word) + "), not " +
                           std::string(node.kind_text()));
  return nullptr;
}

bool is_list(Reader& reader, const Node& node, std::string_view word) {
  if (node.kind == Node::Kind::list) return true;
  reader.mistake(
      node,
      "here belongs a list (of: " + std::string(word) + "), not " + std::string(node.kind_text()),
      "write [a, b], or one '- a' a line");
  return false;
}

void read_keys(Reader& reader, const Node& node, const Table& table, void* object) {
  if (node.kind != Node::Kind::map) {
    reader.mistake(node,
                   table.name + " takes keys and values, not " + std::string(node.kind_text()));
    return;
  }
  for (const auto& key : table.keys) {
    const Member* member = node.find(key.name);
    if (member == nullptr) {
      if (key.required) {
        reader.mistake(node, table.name + " needs the key '" + key.name + "'",
                       key.example.empty() ? "" : key.name + ": " + key.example);
      }
    } else if (member->value->kind == Node::Kind::nothing) {
      if (key.shape.kind == Shape::Kind::list) continue;  // "services:" with nothing below
      reader.mistakes.add(member->place, "key '" + key.name + "' has no value",
                          key.example.empty() ? "" : key.name + ": " + key.example);
    } else {
      key.read(reader, *member->value, object);
    }
  }
  for (const auto& member : node.members) {
    if (table.extensions && member.key.starts_with("x-")) continue;
    if (std::ranges::find(table.keys, member.key, &Key::name) == table.keys.end()) {
      report_unknown(reader, member, table);
    }
  }
  if (table.check) table.check(reader, node, object);
}

Type<bool> boolean() {
  return parsed<bool>(
      Shape{.kind = Shape::Kind::boolean, .word = "true or false"},
      [](std::string_view text) -> Result<bool> {
        if (text == "true" || text == "false") return text == "true";
        return fail(ErrorCode::invalid,
                    "'" + std::string(text.substr(0, 64)) + "' is neither true nor false", {},
                    "write true or false");
      },
      [](bool value) { return std::string(value ? "true" : "false"); });
}

Type<std::string> text(const std::string& word, std::size_t bytes_max) {
  return parsed<std::string>(
      text_shape(word),
      [word, bytes_max](std::string_view text) { return check_text(text, word, bytes_max); },
      [](const std::string& value) { return value; });
}

Type<std::string> log_level() {
  return choice<std::string>({{"trace", "trace"},
                              {"debug", "debug"},
                              {"info", "info"},
                              {"warning", "warning"},
                              {"error", "error"}});
}

Type<std::string> identifier(const std::string& word) {
  return parsed<std::string>(
      text_shape(word, identifier_pattern),
      [word](std::string_view text) -> Result<std::string> {
        if (is_identifier(text)) return std::string(text);
        return fail(ErrorCode::invalid,
                    "'" + std::string(text.substr(0, 64)) + "' cannot be a " + word, {},
                    "write 1 to 63 letters, digits, '-', '_' or '.', a letter or digit first");
      },
      [](const std::string& value) { return value; });
}

Type<std::string> file_path() {
  constexpr std::size_t bytes_max = 4095;
  auto type = text("path", bytes_max);
  return {type.shape,
          [type](Reader& reader, const Node& node, std::string& to) {
            std::string checked;
            if (!type.read(reader, node, checked)) return false;
            to = checked.empty() ? checked : reader.path(node);
            return true;
          },
          type.write};
}

Type<std::string> directory_path() {
  constexpr std::size_t bytes_max = 80;  // a socket in it must fit into 107 bytes
  return parsed<std::string>(
      text_shape("absolute path", "^/"),
      [](std::string_view path) -> Result<std::string> {
        if (path.starts_with('/')) return check_text(path, "the path", bytes_max);
        return fail(ErrorCode::invalid, "the path is not absolute", {}, "begin it with '/'");
      },
      [](const std::string& value) { return value; });
}

Type<std::string> domain_name(bool wildcard) {
  return parsed<std::string>(
      text_shape("domain name"),
      [wildcard](std::string_view text) { return parse_domain_name(text, wildcard); },
      [](const std::string& value) { return value; });
}

Type<std::uint64_t> whole(std::uint64_t minimum, std::uint64_t maximum) {
  const auto write = [](std::uint64_t value) { return std::to_string(value); };
  return parsed<std::uint64_t>(
      Shape{.kind = Shape::Kind::integer,
            .word = "whole number",
            .minimum = static_cast<double>(minimum),
            .maximum = static_cast<double>(maximum)},
      [=](std::string_view text) {
        auto value = then(parse_unsigned(text), [&](std::uint64_t read) {
          return within(read, minimum, maximum, "number", write);
        });
        if (!value && value.error().hint.empty()) {
          value.error().hint = "write one from " + write(minimum) + " to " + write(maximum);
        }
        return value;
      },
      write);
}

Type<int> whole_signed(int minimum, int maximum) {
  const auto write = [](std::int64_t value) { return std::to_string(value); };
  return as<int>(parsed<std::int64_t>(
      Shape{.kind = Shape::Kind::integer,
            .word = "whole number",
            .minimum = static_cast<double>(minimum),
            .maximum = static_cast<double>(maximum)},
      [=](std::string_view text) {
        return then(parse_signed(text), [&](std::int64_t value) {
          return within<std::int64_t>(value, minimum, maximum, "number", write);
        });
      },
      write));
}

Type<double> number(double minimum, double maximum) {
  return parsed<double>(
      Shape{.kind = Shape::Kind::number, .word = "number", .minimum = minimum, .maximum = maximum},
      [=](std::string_view text) {
        return then(parse_number(text), [&](double value) {
          return within(value, minimum, maximum, "number", number_text);
        });
      },
      number_text);
}

Type<double> ratio() {
  return parsed<double>(
      number_or_text("share",
                     {.kind = Shape::Kind::number, .word = "share", .minimum = 0, .maximum = 1},
                     ratio_pattern),
      parse_ratio, [](double value) { return number_text(value * 100) + "%"; });
}

Type<double> rate() {
  return parsed<double>(
      number_or_text("rate", {.kind = Shape::Kind::number, .word = "rate", .minimum = 0},
                     rate_pattern),
      [](std::string_view text) {
        return then(parse_rate(text), [](double value) -> Result<double> {
          if (value > 0) return value;
          return fail(ErrorCode::invalid, "the rate is 0", {},
                      "leave the key out for no limit; use 'state: down' to take an endpoint out");
        });
      },
      rate_text);
}

Type<Duration> duration(Duration minimum, Duration maximum) {
  return parsed<Duration>(
      text_shape("duration", duration_pattern),
      [=](std::string_view text) {
        return then(parse_duration(text), [&](Duration value) {
          return within(value, minimum, maximum, "duration", duration_text);
        });
      },
      duration_text);
}

Type<std::uint64_t> size(std::uint64_t minimum, std::uint64_t maximum) {
  return parsed<std::uint64_t>(
      number_or_text("size", {.kind = Shape::Kind::integer, .word = "size", .minimum = 0},
                     size_pattern),
      [=](std::string_view text) {
        return then(parse_size(text), [&](std::uint64_t value) {
          return within(value, minimum, maximum, "size", size_text);
        });
      },
      size_text);
}

Type<IpAddress> ip_address() {
  return parsed<IpAddress>(text_shape("IP address"), IpAddress::parse,
                           [](const IpAddress& value) { return value.text(); });
}

Type<IpPrefix> ip_prefix() {
  return parsed<IpPrefix>(text_shape("prefix"), IpPrefix::parse,
                          [](const IpPrefix& value) { return value.text(); });
}

Type<SocketAddress> socket_address() {
  return parsed<SocketAddress>(text_shape("address:port"), parse_socket_address,
                               [](const SocketAddress& value) {
                                 const auto address = value.address.text();
                                 return (value.address.is_ipv4() ? address : "[" + address + "]") +
                                        ":" + std::to_string(value.port);
                               });
}

Type<unsigned> user() {
  return parsed<unsigned>(
      number_or_text("user", {.kind = Shape::Kind::integer, .word = "user", .minimum = 0}, ""),
      find_user, [](unsigned value) { return std::to_string(value); });
}

}  // namespace pharos::config
