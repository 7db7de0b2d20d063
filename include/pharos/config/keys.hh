// The declarative table of keys: one entry per key drives reading, the JSON schema and the
// reference.
//
// A Type<T> knows how a value of the file becomes a T, how a default is written, and its Shape:
// what the schema and the reference say of it. A Table lists the keys of one struct. Nothing else
// knows a key, so that loader, schema and reference cannot drift apart. The tables stand in
// *_keys.cc; the agent has tables of its own. Others go through model.hh.
#pragma once

#include "pharos/config/reader.hh"
#include "pharos/config/scalars.hh"

#include <functional>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace pharos::config {

struct Table;

// What a value may be.
struct Shape {
  enum class Kind { boolean, integer, number, text, choice, list, map, object, either };
  Kind kind = Kind::text;
  std::string word = {};                             // for people: "duration", "IP address"
  std::string pattern = {};                          // of text
  std::optional<double> minimum = {}, maximum = {};  // of numbers
  std::vector<std::string> choices = {};
  std::vector<Shape> parts = {};          // list, map: of one value; either: of each
  const Table* (*table)() = nullptr;      // object
  unsigned count_min = 0, count_max = 0;  // list; 0: any
};

struct Key {
  std::string name;
  std::string description;
  std::string example;
  std::string default_text;  // empty: none
  Shape shape;
  bool required = false;
  std::function<void(Reader&, const Node&, void*)> read;  // void*: the struct that holds it
};

struct Table {
  std::string name;  // "services[]": for the reference
  std::string description;
  std::vector<Key> keys;
  // What holds between the keys of one object; runs once they are read.
  std::function<void(Reader&, const Node&, void*)> check = {};
  bool extensions = false;  // keys that begin with "x-" are taken and ignored: a place for anchors
};

template <typename T>
struct Type {
  Shape shape;
  std::function<bool(Reader&, const Node&, T&)> read;  // false: reported, the value is untouched
  std::function<std::string(const T&)> write;          // a default, as in the file
};

// Keys of `services` and their endpoints that say how SRV, SVCB and HTTPS are answered, and their check.
[[nodiscard]] std::vector<Key> service_record_keys();
[[nodiscard]] std::vector<Key> endpoint_record_keys();
void check_service_records(Reader& reader, const Node& node, const ServiceConfig& service);

// Keys of `services` that say how demand is shared out and what happens when an endpoint comes back; and the check.
[[nodiscard]] std::vector<Key> service_steering_keys();
void check_service_steering(Reader& reader, const Node& node, const ServiceConfig& service);

// `groups` of services, `group` of endpoints, and the check of both.
[[nodiscard]] Key groups_key();
[[nodiscard]] Key endpoint_group_key();
void check_groups(Reader& reader, const Node& node, const ServiceConfig& service);

// Reads the keys of `node` into `object`; unknown, missing and mistyped ones are reported.
void read_keys(Reader& reader, const Node& node, const Table& table, void* object);

// The table of a struct; each stands in the *_keys.cc of its section, the root in loader.cc.
template <typename T>
[[nodiscard]] const Table* table_of();
template <>
const Table* table_of<Config>();
template <>
const Table* table_of<DataplaneConfig>();
template <>
const Table* table_of<PortConfig>();
template <>
const Table* table_of<RateLimitConfig>();
template <>
const Table* table_of<RateClassConfig>();
template <>
const Table* table_of<CookiesConfig>();
template <>
const Table* table_of<CookieSecretConfig>();
template <>
const Table* table_of<TcpConfig>();
template <>
const Table* table_of<DnstapConfig>();
template <>
const Table* table_of<ControlplaneConfig>();
template <>
const Table* table_of<HealthConfig>();
template <>
const Table* table_of<ScoreConfig>();
template <>
const Table* table_of<ApiConfig>();
template <>
const Table* table_of<ApiTokenConfig>();
template <>
const Table* table_of<ApiClientConfig>();
template <>
const Table* table_of<HistoryConfig>();
template <>
const Table* table_of<AssignConfig>();
template <>
const Table* table_of<MaintenanceConfig>();
template <>
const Table* table_of<SiteConfig>();
template <>
const Table* table_of<KeyConfig>();
template <>
const Table* table_of<LocaleConfig>();
template <>
const Table* table_of<CsvSelect>();
template <>
const Table* table_of<MmdbSelect>();
template <>
const Table* table_of<ZoneConfig>();
template <>
const Table* table_of<ServiceConfig>();
template <>
const Table* table_of<EndpointConfig>();
template <>
const Table* table_of<GroupConfig>();
template <>
const Table* table_of<NamePolicyConfig>();

// Reports where `node` is not a scalar; null then.
[[nodiscard]] const std::string* scalar_of(Reader& reader, const Node& node, std::string_view word);
[[nodiscard]] bool is_list(Reader& reader, const Node& node, std::string_view word);

// ---- secrets ----

// Whether the process that reads is the one that uses the secret. Of another's, a file that may not be opened is
// left to the other.
enum class SecretOwner { this_process, other_process };

// The secret that is `text`, into all of `to`. False: reported, and `to` is unspecified.
[[nodiscard]] bool read_secret(Reader& reader, const Node& node, std::string_view text,
                               std::span<std::uint8_t> to);
// The secret on the first line of a file that is closed to other users. False as above, or another's.
[[nodiscard]] bool read_secret_file(Reader& reader, const Node& node, const std::string& path,
                                    std::span<std::uint8_t> to,
                                    SecretOwner owner = SecretOwner::this_process);

// ---- single values ----

[[nodiscard]] Type<bool> boolean();
[[nodiscard]] Type<std::string> text(const std::string& word, std::size_t bytes_max = 255);
[[nodiscard]] Type<std::string> identifier(
    const std::string& word);                      // letters, digits, '-', '_', '.'
[[nodiscard]] Type<std::string> file_path();       // made absolute
[[nodiscard]] Type<std::string> directory_path();  // must be absolute
[[nodiscard]] Type<std::string> domain_name(bool wildcard);
[[nodiscard]] Type<std::uint64_t> whole(std::uint64_t minimum, std::uint64_t maximum);
[[nodiscard]] Type<int> whole_signed(int minimum, int maximum);
[[nodiscard]] Type<double> number(double minimum, double maximum);
[[nodiscard]] Type<double> ratio();
[[nodiscard]] Type<double> rate();  // more than 0
[[nodiscard]] Type<Duration> duration(Duration minimum, Duration maximum);
[[nodiscard]] Type<std::uint64_t> size(std::uint64_t minimum, std::uint64_t maximum);
[[nodiscard]] Type<IpAddress> ip_address();
[[nodiscard]] Type<IpPrefix> ip_prefix();
[[nodiscard]] Type<SocketAddress> socket_address();
[[nodiscard]] Type<unsigned> user();  // a number, or a name of the system
[[nodiscard]] Type<std::string> log_level();

// Calls `each(member)` for the keys of a map that are sound identifiers or names themselves.
template <typename Each>
void for_each_member(Reader& reader, const Node& node, std::string_view word, Each each) {
  if (node.kind != Node::Kind::map) {
    reader.mistake(node, "here belong keys and values (" + std::string(word) + "), not " +
                             std::string(node.kind_text()));
    return;
  }
  for (const auto& member : node.members) each(member);
}

// ---- made from others ----

template <typename T>
[[nodiscard]] Type<T> choice(const std::vector<std::pair<std::string, T>>& values) {
  Shape shape{.kind = Shape::Kind::choice, .word = "choice"};
  for (const auto& [name, value] : values) shape.choices.push_back(name);
  auto names = shape.choices;
  return {std::move(shape),
          [values, names](Reader& reader, const Node& node, T& to) {
            const auto* word = scalar_of(reader, node, "one word");
            if (word == nullptr) return false;
            std::string all;
            for (const auto& [name, value] : values) {
              if (name == *word) {
                to = value;
                return true;
              }
              all += (all.empty() ? "" : ", ") + name;
            }
            const auto near = nearest(*word, names);
            reader.mistake(node, "'" + *word + "' is not one of " + all,
                           near.empty() ? "" : "did you mean '" + near + "'?");
            return false;
          },
          [values](const T& value) {
            for (const auto& [name, candidate] : values) {
              if (candidate == value) return name;
            }
            return std::string();
          }};
}

// The same value in a narrower or wider integer, or any other type that converts.
template <typename To, typename From>
[[nodiscard]] Type<To> as(const Type<From>& type) {
  return {type.shape,
          [type](Reader& reader, const Node& node, To& to) {
            From value{};
            if (!type.read(reader, node, value)) return false;
            to = static_cast<To>(value);
            return true;
          },
          [type](const To& value) { return type.write(static_cast<From>(value)); }};
}

template <typename T>
[[nodiscard]] Type<std::optional<T>> maybe(const Type<T>& type) {
  return {
      type.shape,
      [type](Reader& reader, const Node& node, std::optional<T>& to) {
        T value{};
        if (!type.read(reader, node, value)) return false;
        to = std::move(value);
        return true;
      },
      [type](const std::optional<T>& value) { return value ? type.write(*value) : std::string(); }};
}

template <typename T>
[[nodiscard]] std::string write_list(const Type<T>& type, const std::vector<T>& values) {
  std::string all;
  for (const auto& value : values) all += (all.empty() ? "" : ", ") + type.write(value);
  return values.empty() ? std::string() : "[" + all + "]";
}

template <typename T>
[[nodiscard]] Type<std::vector<T>> list_of(const Type<T>& type, unsigned count_min = 0,
                                           unsigned count_max = 0) {
  Shape shape{.kind = Shape::Kind::list,
              .word = "list",
              .parts = {type.shape},
              .count_min = count_min,
              .count_max = count_max};
  return {std::move(shape),
          [=](Reader& reader, const Node& node, std::vector<T>& to) {
            if (!is_list(reader, node, type.shape.word)) return false;
            std::vector<T> values;
            for (const Node* item : node.items) {
              T value{};
              if (type.read(reader, *item, value)) values.push_back(std::move(value));
            }
            if (node.items.size() < count_min) {
              reader.mistake(node,
                             "the list needs at least " + std::to_string(count_min) + " value");
            } else if (count_max != 0 && node.items.size() > count_max) {
              reader.mistake(node, "the list holds " + std::to_string(node.items.size()) +
                                       " values, and may hold " + std::to_string(count_max));
            }
            to = std::move(values);
            return true;
          },
          [type](const std::vector<T>& values) { return write_list(type, values); }};
}

// A list, or a single value in its place.
template <typename T>
[[nodiscard]] Type<std::vector<T>> one_or_more(const Type<T>& type, unsigned count_max = 0) {
  auto list = list_of(type, 1, count_max);
  Shape shape{.kind = Shape::Kind::either,
              .word = type.shape.word + " or list",
              .parts = {type.shape, list.shape}};
  return {std::move(shape),
          [type, list](Reader& reader, const Node& node, std::vector<T>& to) {
            if (node.kind != Node::Kind::scalar) return list.read(reader, node, to);
            T value{};
            if (!type.read(reader, node, value)) return false;
            to = {std::move(value)};
            return true;
          },
          list.write};
}

template <typename T>
[[nodiscard]] Type<T> object() {
  return {Shape{.kind = Shape::Kind::object, .word = "keys and values", .table = &table_of<T>},
          [](Reader& reader, const Node& node, T& to) {
            if constexpr (requires { to.source; }) to.source = node.place.source();
            read_keys(reader, node, *table_of<T>(), &to);
            return true;
          },
          [](const T&) { return std::string(); }};
}

// ---- keys ----

// A key that fills the member at `member`.
template <typename Object, typename T>
[[nodiscard]] Key key(std::string name, T Object::* member, const Type<T>& type,
                      std::string description, std::string example = {}) {
  auto default_text = type.write(Object{}.*member);
  return {std::move(name),
          std::move(description),
          std::move(example),
          std::move(default_text),
          type.shape,
          false,
          [member, type](Reader& reader, const Node& node, void* to) {
            (void)type.read(reader, node, static_cast<Object*>(to)->*member);
          }};
}

// A key whose value goes elsewhere: `store` gets the value and the node.
template <typename Object, typename T, typename Store>
[[nodiscard]] Key key_into(std::string name, const Type<T>& type, std::string description,
                           std::string example, Store store) {
  return {std::move(name),
          std::move(description),
          std::move(example),
          {},
          type.shape,
          false,
          [type, store](Reader& reader, const Node& node, void* to) {
            T value{};
            if (type.read(reader, node, value))
              store(reader, node, *static_cast<Object*>(to), std::move(value));
          }};
}

[[nodiscard]] inline Type<catalog::EcsMode> ecs_mode() {
  using Mode = catalog::EcsMode;
  return choice<Mode>({{"all", Mode::all}, {"listed", Mode::listed}, {"ignore", Mode::ignore}});
}

[[nodiscard]] inline Key required(Key key) {
  key.required = true;
  return key;
}

[[nodiscard]] Type<Policy> policy_choice();

}  // namespace pharos::config
