// One YAML file as a tree of bounded size: what the loader reads its values from.
//
// Built from yaml-cpp's events and not from its nodes, so that depth, number of nodes and what
// aliases expand to are limited while parsing, and every key and value knows its line. Aliases
// share nodes; merge keys (<<) are resolved. Immutable once parsed. Private to
// include/pharos/config.
#pragma once

#include "pharos/config/model.hh"

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace pharos::config {

inline constexpr std::size_t file_bytes_max = 64U << 20;
inline constexpr unsigned depth_max = 32;
inline constexpr std::uint64_t nodes_max = 4'000'000;  // aliases expanded: billion laughs end here
inline constexpr std::size_t mistakes_max = 100;       // people fix the first ones first

// Where something stands; the file name is owned by its Document.
struct Place {
  const std::string* file = nullptr;
  int line = 0;
  [[nodiscard]] Source source() const { return {file == nullptr ? std::string() : *file, line}; }
};

// Collects what is wrong, up to `mistakes_max`.
class MistakeList {
 public:
  void add(const Place& place, std::string what, std::string hint = {});
  [[nodiscard]] bool empty() const noexcept { return errors_.empty(); }
  // In order of file and line; the list is empty afterwards.
  [[nodiscard]] Mistakes take();

 private:
  std::vector<std::pair<Source, Error>> errors_;
  bool overflowed_ = false;
};

struct Node;
struct Member {
  std::string key;
  Place place;  // of the key
  const Node* value = nullptr;
};

struct Node {
  enum class Kind { nothing, scalar, list, map };
  Kind kind = Kind::nothing;
  bool plain = false;  // a scalar without quotes
  Place place;
  std::string scalar;
  std::vector<const Node*> items;
  std::vector<Member> members;  // in order, keys unique
  std::uint64_t weight = 1;     // nodes below and with this one, aliases expanded

  [[nodiscard]] const Member* find(std::string_view key) const noexcept;
  [[nodiscard]] std::string_view kind_text() const noexcept;  // "a list": for messages
};

class Document {
 public:
  // Parses `text`; what is wrong goes to `mistakes`. Null where there is no tree to go on with.
  // Never throws.
  [[nodiscard]] static std::unique_ptr<Document> parse(std::string_view text, std::string file,
                                                       MistakeList& mistakes);

  [[nodiscard]] const Node& root() const noexcept { return *root_; }
  [[nodiscard]] const std::string& file() const noexcept { return file_; }

 private:
  friend class DocumentBuilder;
  std::string file_;
  std::deque<Node> nodes_;  // addresses are stable
  const Node* root_ = nullptr;
};

}  // namespace pharos::config
