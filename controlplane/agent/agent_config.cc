// Loading of the agent's configuration: the file first, then the command line as a second, small document.
#include "pharos/controlplane/agent/agent_config.hh"

#include <sys/stat.h>

#include <exception>
#include <fstream>
#include <memory>
#include <set>
#include <sstream>
#include <system_error>

#include "agent_keys.hh"

namespace pharos::agent {

namespace {

constexpr std::size_t file_bytes_max = 8U << 20;  // some 80 thousand lines of probes

// A YAML scalar in double quotes, in which nothing of `text` has a meaning.
std::string quoted(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    if (static_cast<unsigned char>(c) >= 0x20) result += c;
  }
  return result + "\"";
}

// The options as a document of the same format.
std::string document_of(const AgentOptions& options, const config::KeyConfig& key) {
  std::string text;
  const auto add = [&](const char* name, const std::string& value) {
    if (!value.empty()) text += std::string(name) + ": " + quoted(value) + "\n";
  };
  add("site", options.site);
  add("interval", options.interval);
  add("state_directory", options.state_directory);
  add("override_file", options.override_file);
  add("log_level", options.log_level);
  if (!options.key_file.empty()) {
    const auto id = options.key_id.empty() ? std::to_string(key.id) : options.key_id;
    text += "key: {id: " + quoted(id) + ", file: " + quoted(options.key_file) + "}\n";
  }
  if (!options.responders.empty()) text += "responders:\n";
  for (const auto& responder : options.responders)
    text += "  - beacon: " + quoted(responder) + "\n";
  return text;
}

Result<std::string> read_text(const std::string& path) {
  std::error_code code;
  std::ifstream file(path, std::ios::binary);
  struct stat info{};
  if (!file || ::stat(path.c_str(), &info) != 0) return fail_errno("the file cannot be opened");
  if (!S_ISREG(info.st_mode)) return fail(ErrorCode::invalid, "this is not a file");
  std::string text(file_bytes_max + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (text.size() > file_bytes_max)
    return fail(ErrorCode::invalid, "the file is larger than 8 MiB");
  return text;
}

// The first that is named twice.
template <typename Named>
void check_names(const std::vector<Named>& all, const char* what, const config::Place& place,
                 config::MistakeList& mistakes) {
  std::set<std::pair<std::string_view, std::string_view>> seen;
  for (const auto& one : all) {
    if (seen.emplace(one.service, one.id).second) continue;
    mistakes.add(place, std::string(what) + " '" + one.id + "' of service '" + one.service +
                            "' is listed twice");
  }
}

void check_complete(const AgentConfig& config, const config::Place& place, bool has_key,
                    config::MistakeList& mistakes) {
  if (config.site.empty()) mistakes.add(place, "there is no `site`", "site: fra");
  if (!has_key) mistakes.add(place, "there is no `key`", "key: {id: 1, file: /etc/pharos/fra.key}");
  if (config.responders.empty())
    mistakes.add(place, "there are no `responders`",
                 "responders: [{beacon: 192.0.2.53:5380, dns: 53}]");
  check_names(config.endpoints, "endpoint", place, mistakes);
  check_names(config.probes, "probe of endpoint", place, mistakes);
}

std::expected<AgentConfig, config::Mistakes> load_all(const AgentOptions& options,
                                                      config::Reading reading) {
  config::MistakeList mistakes;
  config::Reader reader(mistakes);
  reader.secrets = reading == config::Reading::everything;
  AgentConfig result;
  result.file = options.file;
  bool has_key = !options.key_file.empty();
  const auto take = [&](const config::Document* document) {
    if (document == nullptr || document->root().kind == config::Node::Kind::nothing) return;
    has_key = has_key || document->root().find("key") != nullptr;
    config::read_keys(reader, document->root(), *config::table_of<AgentConfig>(), &result);
  };
  const std::string name = options.file.empty() ? "command line" : options.file;
  std::unique_ptr<config::Document> file, command_line;
  if (!options.file.empty()) {
    const auto text = read_text(options.file);
    if (!text) return std::unexpected(config::Mistakes{{Error(text.error()).in(options.file)}});
    file = config::Document::parse(*text, options.file, mistakes);
    take(file.get());
  }
  if (const auto text = document_of(options, result.key); !text.empty()) {
    command_line = config::Document::parse(text, "command line", mistakes);
    take(command_line.get());
  }
  if (mistakes.empty()) check_complete(result, {&name, 1}, has_key, mistakes);
  if (!mistakes.empty()) return std::unexpected(mistakes.take());
  return result;
}

void append_table(const config::Table& table, std::string& out) {
  out += "\n" + table.name + ": " + table.description + "\n";
  for (const auto& key : table.keys) {
    out += "  " + key.name + " (" + key.shape.word + ")  " + key.description;
    if (!key.default_text.empty()) out += "; default: " + key.default_text;
    if (!key.example.empty()) out += "; example: " + key.example;
    out += "\n";
  }
}

}  // namespace

std::expected<AgentConfig, config::Mistakes> load(const AgentOptions& options,
                                                  config::Reading reading) {
  try {
    return load_all(options, reading);
  } catch (const std::exception& thrown) {  // memory may run out, and libraries may have surprises
    return std::unexpected(
        config::Mistakes{{Error{ErrorCode::exhausted,
                                std::string("the configuration cannot be read: ") + thrown.what(),
                                options.file,
                                {}}}});
  }
}

std::string reference() {
  std::string out;
  append_table(*config::table_of<AgentConfig>(), out);
  append_table(*config::table_of<config::KeyConfig>(), out);
  append_table(*config::table_of<ResponderConfig>(), out);
  append_table(*config::table_of<RequestsConfig>(), out);
  append_table(*config::table_of<StatsdConfig>(), out);
  append_table(*config::table_of<EndpointConfig>(), out);
  append_table(*config::table_of<ProbeConfig>(), out);
  append_table(*config::table_of<CheckConfig>(), out);
  return out;
}

}  // namespace pharos::agent
