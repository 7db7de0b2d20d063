#include "pharos/config/document.hh"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <exception>
#include <sstream>
#include <tuple>
#include <unordered_map>

namespace pharos::config {

void MistakeList::add(const Place& place, std::string what, std::string hint) {
  if (errors_.size() >= mistakes_max) {
    overflowed_ = true;
    return;
  }
  auto source = place.source();
  auto where = source.line > 0 ? source.text() : source.file;
  errors_.emplace_back(std::move(source), Error{ErrorCode::invalid, std::move(what),
                                                std::move(where), std::move(hint)});
}

Mistakes MistakeList::take() {
  std::ranges::stable_sort(
      errors_, {}, [](const auto& entry) { return std::tie(entry.first.file, entry.first.line); });
  Mistakes result;
  for (auto& [source, error] : errors_) {
    // What an alias repeats is mended once.
    const bool repeated = !result.errors.empty() && result.errors.back().where == error.where &&
                          result.errors.back().what == error.what;
    if (!repeated) result.errors.push_back(std::move(error));
  }
  if (overflowed_) {
    result.errors.push_back({ErrorCode::exhausted,
                             "there are more mistakes than " + std::to_string(mistakes_max),
                             {},
                             "mend these first"});
  }
  errors_.clear();
  return result;
}

const Member* Node::find(std::string_view key) const noexcept {
  const auto found = std::ranges::find(members, key, &Member::key);
  return found == members.end() ? nullptr : &*found;
}

std::string_view Node::kind_text() const noexcept {
  switch (kind) {
    case Kind::nothing:
      return "nothing";
    case Kind::scalar:
      return "a single value";
    case Kind::list:
      return "a list";
    case Kind::map:
      return "keys and values";
  }
  return "something else";
}

// A limit is reached, or a rule broken that leaves no tree: ends the parse.
struct ParseStop final : std::exception {};

class DocumentBuilder final : public YAML::EventHandler {
 public:
  DocumentBuilder(Document& document, MistakeList& mistakes)
      : document_(document), mistakes_(mistakes) {}

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    close(make(mark, Node::Kind::nothing), anchor);
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    Node& node = make(mark, Node::Kind::scalar);
    node.scalar = value;
    node.plain = tag == "?";
    // yaml-cpp gives "" and "~" as null events, the other spellings as scalars.
    if (node.plain && (value == "null" || value == "Null" || value == "NULL")) {
      node.kind = Node::Kind::nothing;
    }
    close(node, anchor);
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto found = anchors_.find(anchor);
    if (found == anchors_.end()) stop(place(mark), "an alias stands inside of its own anchor");
    attach(found->second);
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(make(mark, Node::Kind::list), anchor);
  }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(make(mark, Node::Kind::map), anchor);
  }
  void OnSequenceEnd() override { close_collection(); }
  void OnMapEnd() override {
    merge_defaults(*open_.back().node);
    close_collection();
  }

  [[nodiscard]] const Node* root() const noexcept { return root_; }

 private:
  struct Open {
    Node* node;
    YAML::anchor_t anchor;
    const Node* key = nullptr;  // of a map, waiting for its value
  };

  [[noreturn]] void stop(const Place& at, std::string what, std::string hint = {}) {
    mistakes_.add(at, std::move(what), std::move(hint));
    throw ParseStop{};
  }

  [[nodiscard]] Place place(const YAML::Mark& mark) const {
    return {&document_.file_, mark.line + 1};
  }

  Node& make(const YAML::Mark& mark, Node::Kind kind) {
    if (document_.nodes_.size() >= nodes_max) stop(place(mark), "the file holds too many values");
    Node& node = document_.nodes_.emplace_back();
    node.kind = kind;
    node.place = place(mark);
    return node;
  }

  void open(Node& node, YAML::anchor_t anchor) {
    if (open_.size() >= depth_max) {
      stop(node.place, "values nest deeper than " + std::to_string(depth_max));
    }
    open_.push_back({&node, anchor, nullptr});
  }

  void close_collection() {
    const Open done = open_.back();
    open_.pop_back();
    close(*done.node, done.anchor);
  }

  // An anchor is known only once its node is whole, so that no cycle can be made.
  void close(Node& node, YAML::anchor_t anchor) {
    if (anchor != YAML::NullAnchor) anchors_.insert_or_assign(anchor, &node);
    attach(&node);
  }

  void attach(const Node* node) {
    if (open_.empty()) {
      root_ = node;
      return;
    }
    Open& parent = open_.back();
    parent.node->weight += node->weight;
    if (parent.node->weight > nodes_max) {
      stop(node->place, "aliases expand to too many values", "write fewer, or use includes");
    }
    if (parent.node->kind == Node::Kind::list) {
      parent.node->items.push_back(node);
    } else if (parent.key == nullptr) {
      parent.key = node;
    } else {
      add_member(*parent.node, *parent.key, node);
      parent.key = nullptr;
    }
  }

  void add_member(Node& map, const Node& key, const Node* value) {
    if (key.kind != Node::Kind::scalar) {
      mistakes_.add(key.place,
                    "a key must be a single value, but this is " + std::string(key.kind_text()));
      return;
    }
    auto& seen = keys_[&map];
    const auto [earlier, fresh] = seen.emplace(key.scalar, key.place.line);
    if (!fresh) {
      mistakes_.add(key.place, "key '" + key.scalar + "' stands here a second time",
                    "the first one is in line " + std::to_string(earlier->second));
      return;
    }
    map.members.push_back({key.scalar, key.place, value});
  }

  // "<<: *defaults": members of those maps that this one does not have itself.
  void merge_defaults(Node& map) {
    auto own = keys_.extract(&map);
    const auto found = std::ranges::find(map.members, "<<", &Member::key);
    if (found == map.members.end()) return;
    const Node* value = found->value;
    const Place place = found->place;
    map.members.erase(found);
    std::vector<const Node*> from = value->items;
    if (value->kind == Node::Kind::map) from = {value};
    if (from.empty() ||
        std::ranges::any_of(from, [](const Node* node) { return node->kind != Node::Kind::map; })) {
      mistakes_.add(place, "'<<' takes an alias of keys and values", "<<: *defaults");
      return;
    }
    for (const Node* defaults : from) {
      for (const Member& member : defaults->members) {
        if (own.mapped().emplace(member.key, member.place.line).second) {
          map.members.push_back(member);
        }
      }
    }
  }

  Document& document_;
  MistakeList& mistakes_;
  std::vector<Open> open_;
  std::unordered_map<YAML::anchor_t, const Node*> anchors_;
  std::unordered_map<const Node*, std::unordered_map<std::string, int>> keys_;  // of open maps
  const Node* root_ = nullptr;
};

std::unique_ptr<Document> Document::parse(std::string_view text, std::string file,
                                          MistakeList& mistakes) {
  auto document = std::make_unique<Document>();
  document->file_ = std::move(file);
  const Place start{&document->file_, 0};
  if (text.size() > file_bytes_max) {
    mistakes.add(start, "file is larger than 64 MiB", "split it, and use 'include'");
    return nullptr;
  }
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    DocumentBuilder builder(*document, mistakes);
    parser.HandleNextDocument(builder);
    document->root_ = builder.root();
    DocumentBuilder rest(*document, mistakes);
    if (document->root_ != nullptr && parser.HandleNextDocument(rest) && rest.root() != nullptr) {
      mistakes.add(rest.root()->place, "a second YAML document begins here",
                   "put one document into a file");
    }
  } catch (const ParseStop&) {
    return nullptr;
  } catch (const YAML::Exception& thrown) {
    mistakes.add({&document->file_, std::max(thrown.mark.line, 0) + 1},
                 "not valid YAML: " + thrown.msg);
    return nullptr;
  } catch (const std::exception& thrown) {
    mistakes.add(start, std::string("not valid YAML: ") + thrown.what());
    return nullptr;
  }
  if (document->root_ == nullptr) {  // an empty file: a document without anything in it
    Node& nothing = document->nodes_.emplace_back();
    nothing.place = {&document->file_, 1};
    document->root_ = &nothing;
  }
  return document;
}

}  // namespace pharos::config
