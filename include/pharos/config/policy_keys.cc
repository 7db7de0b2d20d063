// Keys of `policies`, and the files of patterns. Private to include/pharos/config.
#include "pharos/config/keys.hh"
#include "pharos/config/name_pattern.hh"

#include <algorithm>

namespace pharos::config {

namespace {

using catalog::PolicyAction;

constexpr std::size_t patterns_max = 1'000'000;  // of one policy

// Index of a file among those of the policy.
std::uint32_t file_index(NamePolicyConfig& policy, const std::string& file) {
  const auto at = std::ranges::find(policy.files, file);
  if (at != policy.files.end()) return static_cast<std::uint32_t>(at - policy.files.begin());
  policy.files.push_back(file);
  return static_cast<std::uint32_t>(policy.files.size() - 1);
}

// Reports a pattern that cannot be one, and keeps all others.
void take_pattern(Reader& reader, const Place& place, NamePolicyConfig& policy, std::string text,
                  bool regex) {
  Status sound;
  if (regex) {
    sound = check_regex(text);
  } else if (auto parsed = parse_name_pattern(text); !parsed) {
    sound = std::unexpected(std::move(parsed.error()));
  }
  if (!sound) return reader.mistakes.add(place, sound.error().what, sound.error().hint);
  if (policy.patterns.size() == patterns_max) {
    return reader.mistakes.add(place, "policy '" + policy.id + "' has more than 1000000 patterns",
                               "divide it into several policies");
  }
  policy.patterns.push_back({std::move(text), regex, file_index(policy, *place.file), place.line});
}

Key patterns_key(std::string name, bool regex, std::string description, std::string example) {
  Key key;
  key.name = std::move(name);
  key.description = std::move(description);
  key.example = std::move(example);
  key.shape = one_or_more(text(regex ? "regular expression" : "name pattern")).shape;
  key.read = [regex](Reader& reader, const Node& node, void* to) {
    auto& policy = *static_cast<NamePolicyConfig*>(to);
    const auto take = [&](const Node& item) {
      if (const auto* word = scalar_of(reader, item, "a pattern"))
        take_pattern(reader, item.place, policy, *word, regex);
    };
    if (node.kind == Node::Kind::scalar) return take(node);
    if (!is_list(reader, node, "pattern")) return;
    for (const Node* item : node.items) take(*item);
  };
  return key;
}

// A pattern a line: plain, or a regular expression between slashes. '#' begins a line that is a comment.
void read_pattern_file(Reader& reader, const Node& node, NamePolicyConfig& policy) {
  if (scalar_of(reader, node, "a path") == nullptr || !reader.secrets) return;
  const auto path = reader.path(node);
  const auto contents = read_text(path);
  if (!contents)
    return reader.mistake(node, "pattern file '" + path + "': " + contents.error().what);
  std::string_view rest = *contents;
  for (int line = 1; !rest.empty(); ++line) {
    const auto end = std::min(rest.find('\n'), rest.size());
    auto word = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    const auto first = word.find_first_not_of(" \t\r");
    if (first == std::string_view::npos || word[first] == '#') continue;
    word = word.substr(first, word.find_last_not_of(" \t\r") + 1 - first);
    const bool regex = word.size() >= 2 && word.front() == '/' && word.back() == '/';
    if (regex) word = word.substr(1, word.size() - 2);
    take_pattern(reader, {&path, line}, policy, std::string(word), regex);
  }
}

Key file_key() {
  Key key;
  key.name = "file";
  key.description =
      "files of patterns, one a line: plain ones, or regular expressions between slashes; lines "
      "that begin with '#' are comments";
  key.example = "blocked.txt";
  key.shape = one_or_more(file_path()).shape;
  key.read = [](Reader& reader, const Node& node, void* to) {
    auto& policy = *static_cast<NamePolicyConfig*>(to);
    if (node.kind == Node::Kind::scalar) return read_pattern_file(reader, node, policy);
    if (!is_list(reader, node, "path")) return;
    for (const Node* item : node.items) read_pattern_file(reader, *item, policy);
  };
  return key;
}

Key action_key() {
  std::vector<std::pair<std::string, PolicyAction>> actions;
  for (unsigned i = 0; i < catalog::policy_action_count; ++i) {
    const auto action = static_cast<PolicyAction>(i);
    actions.emplace_back(name_of(action), action);
  }
  auto result = key("action", &NamePolicyConfig::action, choice<PolicyAction>(actions),
                    "what happens to queries for these names", "refuse");
  result.default_text.clear();
  return required(std::move(result));
}

// An argument that one action needs, and that no other takes.
void check_argument(Reader& reader, const Node& node, const NamePolicyConfig& policy,
                    const char* name, PolicyAction action, const char* example) {
  const Member* member = node.find(name);
  if (policy.action == action && member == nullptr) {
    reader.mistake(node,
                   "policy '" + policy.id + "' has the action '" + std::string(name_of(action)) +
                       "' and no '" + name + "'",
                   std::string(name) + ": " + example);
  } else if (policy.action != action && member != nullptr) {
    reader.mistakes.add(member->place,
                        "'" + std::string(name) + "' does nothing with the action '" +
                            std::string(name_of(policy.action)) + "'",
                        "leave it out, or write action: " + std::string(name_of(action)));
  }
}

void check_policy(Reader& reader, const Node& node, void* object) {
  const auto& policy = *static_cast<NamePolicyConfig*>(object);
  if (node.find("pattern") == nullptr && node.find("regex") == nullptr &&
      node.find("file") == nullptr) {
    reader.mistake(node, "policy '" + policy.id + "' has no patterns",
                   "add pattern, regex or file");
  }
  if (node.find("action") == nullptr) return;
  check_argument(reader, node, policy, "service", PolicyAction::route, "www");
  check_argument(reader, node, policy, "rate_class", PolicyAction::limit, "slow");
}

}  // namespace

template <>
const Table* table_of<NamePolicyConfig>() {
  using C = NamePolicyConfig;
  static const Table table{
      "policies[]",
      "What happens to queries by their name. Of all policies that match a name the first one "
      "counts: by `priority`, then in the order of the files.",
      {
          required(key_into<C>("id", identifier("policy id"), "its name in counters and logs",
                               "blocked",
                               [](Reader& reader, const Node& node, C& to, std::string id) {
                                 reader.declarations.push_back({Thing::policy, {}, id, node.place});
                                 to.id = std::move(id);
                               })),
          key("priority", &C::priority, whole_signed(-1'000'000, 1'000'000), "lowest first", "10"),
          patterns_key("pattern", false,
                       "`www.example.com` is one name, `*.example.com` all below it, "
                       "`.example.com` both, `ads.*` and `*tracker*` what they look like",
                       "\"*.example.com\""),
          patterns_key("regex", true,
                       "regular expressions over the name in lower case without its last dot",
                       "'^[a-z]{20,}\\.example\\.com$'"),
          file_key(),
          action_key(),
          key_into<C>("service", identifier("service id"),
                      "action `route`: names that no zone lists are answered as its names are",
                      "tenants",
                      [](Reader& reader, const Node& node, C& to, std::string service) {
                        reader.references.push_back(
                            {Thing::service, service, "policy '" + to.id + "'", node.place});
                        to.service = std::move(service);
                      }),
          key("rate_class", &C::rate_class, identifier("rate class"),
              "action `limit`: one of `dataplane.rate_limit.classes`", "slow"),
          key("log", &C::log, boolean(),
              "samples of the queries go to the control plane's log, whatever the action", "true"),
      },
      check_policy};
  return &table;
}

}  // namespace pharos::config
