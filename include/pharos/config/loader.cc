// load(): the main file and its includes through the key tables, then the checks across them.
#include "pharos/base/fd.hh"
#include "pharos/config/keys.hh"

#include <fcntl.h>
#include <glob.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <exception>
#include <filesystem>
#include <memory>
#include <set>
#include <string>

namespace pharos::config {

namespace {

constexpr std::size_t files_max = 1000;
constexpr unsigned include_depth_max = 8;

// A list of the main file or of an included one: appended to what is there.
template <typename T>
Key section(std::string name, std::vector<T> Config::* member, std::string description) {
  return key_into<Config>(std::move(name), list_of(object<T>()), std::move(description), {},
                          [member](Reader&, const Node&, Config& to, std::vector<T> values) {
                            auto& all = to.*member;
                            std::ranges::move(values, std::back_inserter(all));
                          });
}

Key include_key() {
  Key key;
  key.name = "include";
  key.description =
      "files, or patterns of files, relative to this one. They may hold `sites`, `locales`, "
      "`zones`, `zone_files`, `services`, `policies`, `maintenance` and `include`; the lists are "
      "joined";
  key.example = "[services/*.yaml]";
  key.shape = one_or_more(file_path()).shape;
  key.read = [](Reader& reader, const Node& node, void*) { reader.include(reader, node); };
  return key;
}

Key zone_files_key() {
  Key key;
  key.name = "zone_files";
  key.description =
      "zone files, patterns of them, or directories (of each its `*.zone`), relative to this file: "
      "each is a zone with the name of its file, less `.zone`, `.db` or `.txt`; the lists are "
      "joined";
  key.example = "zones/*.zone";
  key.shape = one_or_more(file_path()).shape;
  key.read = [](Reader& reader, const Node& node, void*) { reader.zone_files(reader, node); };
  return key;
}

std::vector<Key> list_keys() {
  return {section("sites", &Config::sites, "see below"),
          section("locales", &Config::locales, "see below"),
          section("zones", &Config::zones, "see below"),
          zone_files_key(),
          section("services", &Config::services, "see below"),
          section("policies", &Config::policies, "see below"),
          section("maintenance", &Config::maintenance, "see below"),
          include_key()};
}

const Table& included_table() {
  static const Table table{"an included file", "", list_keys(), {}, true};
  return table;
}

bool is_pattern(const std::string& path) {
  return path.find_first_of("*?[") != std::string::npos;
}

// The files that a pattern matches, sorted; none is fine.
std::vector<std::string> files_matching(const std::string& pattern) {
  glob_t found{};
  const int code = ::glob(pattern.c_str(), 0, nullptr, &found);
  std::vector<std::string> files(found.gl_pathv, found.gl_pathv + (code == 0 ? found.gl_pathc : 0));
  ::globfree(&found);
  return files;
}

// What the name of a zone file says that its zone is called: "zones/example.com.zone" holds "example.com".
std::string zone_name_of(const std::filesystem::path& file) {
  const auto extension = file.extension();
  const bool of_files = extension == ".zone" || extension == ".db" || extension == ".txt";
  return (of_files ? file.stem() : file.filename()).string();
}

}  // namespace

Result<std::string> read_text(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return fail_errno("the file cannot be opened", path);
  struct stat info{};
  if (::fstat(fd.get(), &info) != 0) return fail_errno("the file cannot be read", path);
  if (!S_ISREG(info.st_mode)) return fail(ErrorCode::invalid, "this is not a file", path);
  std::string text;
  std::array<char, 64U << 10> buffer;
  while (text.size() <= file_bytes_max) {
    const auto got = ::read(fd.get(), buffer.data(), buffer.size());
    if (got < 0) return fail_errno("the file cannot be read", path);
    if (got == 0) break;
    text.append(buffer.data(), static_cast<std::size_t>(got));
  }
  return text;
}

namespace {

class Loader {
 public:
  explicit Loader(Reading reading) : reader_(mistakes_) {
    reader_.secrets = reading == Reading::everything;
    reader_.include = [this](Reader&, const Node& node) {
      each_path(node, [this](const Node& path) { include_pattern(path); });
    };
    reader_.zone_files = [this](Reader&, const Node& node) {
      each_path(node, [this](const Node& path) { add_zones(path); });
    };
  }

  std::expected<Config, Mistakes> run(std::string_view text, const std::string& file) {
    config_.file = file;
    (void)is_new_file(file);
    read_document(text, file, *table_of<Config>());
    return finish();
  }

  std::expected<Config, Mistakes> refuse(const std::string& file, const Error& error) {
    mistakes_.add({&file, 0}, error.what);
    return std::unexpected(mistakes_.take());
  }

 private:
  void read_document(std::string_view text, const std::string& file, const Table& table) {
    auto document = Document::parse(text, file, mistakes_);
    if (document == nullptr) return;
    config_.files.push_back(file);
    documents_.push_back(std::move(document));
    const Node& root = documents_.back()->root();
    values_ += root.weight;
    if (values_ > nodes_max)
      return mistakes_.add(root.place, "all files together hold too many values");
    if (root.kind != Node::Kind::nothing) read_keys(reader_, root, table, &config_);
  }

  // One path, or a list of them.
  template <typename Take>
  void each_path(const Node& node, const Take& take) {
    if (node.kind == Node::Kind::scalar) return take(node);
    if (!is_list(reader_, node, "path")) return;
    for (const Node* item : node.items) {
      if (scalar_of(reader_, *item, "a path") != nullptr) take(*item);
    }
  }

  void include_pattern(const Node& node) {
    const auto path = reader_.path(node);
    if (!is_pattern(path)) return include_file(node, path);
    for (const auto& file : files_matching(path)) include_file(node, file);
  }

  void add_zones(const Node& node) {
    const auto path = reader_.path(node);
    std::error_code ignored;
    if (is_pattern(path)) {
      for (const auto& file : files_matching(path)) add_zone(node, file);
    } else if (std::filesystem::is_directory(path, ignored)) {
      for (const auto& file : files_matching(path + "/*.zone")) add_zone(node, file);
    } else {
      reader_.require_file(node, path);
      add_zone(node, path);
    }
  }

  void add_zone(const Node& node, const std::string& file) {
    auto name = parse_domain_name(zone_name_of(file), false);
    if (!name) {
      return reader_.mistakes.add(
          node.place, "zone file '" + file + "' is not named like a zone: " + name.error().what,
          "rename it, or list it under 'zones' with its id");
    }
    reader_.declarations.push_back({Thing::zone, {}, *name, node.place});
    auto& zone = config_.zones.emplace_back();
    zone.id = std::move(*name);
    zone.file = file;
    zone.source = node.place.source();
  }

  void include_file(const Node& node, const std::string& path) {
    if (depth_ >= include_depth_max) return reader_.mistake(node, "includes nest too deep");
    if (seen_.size() >= files_max)
      return reader_.mistake(node, "more than 1000 files are included");
    if (!is_new_file(path))
      return reader_.mistake(node, "file '" + path + "' is included a second time");
    const auto text = read_text(path);
    if (!text) return reader_.mistake(node, "include '" + path + "': " + text.error().what);
    ++depth_;
    read_document(*text, path, included_table());
    --depth_;
  }

  bool is_new_file(const std::string& path) {
    std::error_code ignored;
    const auto canonical = std::filesystem::weakly_canonical(path, ignored);
    return seen_.insert(ignored ? path : canonical.string()).second;
  }

  std::expected<Config, Mistakes> finish() {
    check_everything(reader_, config_);
    if (!mistakes_.empty()) return std::unexpected(mistakes_.take());
    if (config_.server_name.empty()) {
      std::array<char, 256> name{};
      if (::gethostname(name.data(), name.size() - 1) == 0) config_.server_name = name.data();
    }
    if (config_.controlplane.dataplane_socket.empty()) {
      config_.controlplane.dataplane_socket = config_.run_directory + "/tables.sock";
    }
    return std::move(config_);
  }

  MistakeList mistakes_;
  Reader reader_;
  Config config_;
  std::vector<std::unique_ptr<Document>> documents_;  // places point into them
  std::set<std::string> seen_;
  std::uint64_t values_ = 0;
  unsigned depth_ = 0;
};

// Nothing of ours throws; memory may run out, and libraries may have surprises.
template <typename Run>
std::expected<Config, Mistakes> guarded(const std::string& file, Run run) {
  try {
    return run();
  } catch (const std::exception& thrown) {
    return std::unexpected(
        Mistakes{{Error{ErrorCode::exhausted,
                        std::string("the configuration cannot be read: ") + thrown.what(),
                        file,
                        {}}}});
  }
}

}  // namespace

template <>
const Table* table_of<Config>() {
  using C = Config;
  static const Table table = [] {
    Table root{
        "the configuration",
        "The main file.",
        {
            key("run_directory", &C::run_directory, directory_path(), "sockets and locks",
                "/run/pharos"),
            key("state_directory", &C::state_directory, directory_path(),
                "what survives a restart: the last good tables, weights, overrides, epochs",
                "/var/lib/pharos"),
            key("log_level", &C::log_level, log_level(),
                "`pharosctl log-level` changes it for the running daemon", "debug"),
            key("server_name", &C::server_name, text("server name"),
                "name of this machine; default: the host name", "fra-1"),
            key("control_uid", &C::control_uid, maybe(user()),
                "user that may write to the control sockets, beside root and the daemon's own",
                "operator"),
            key("dataplane", &C::dataplane, object<DataplaneConfig>(), "see below"),
            key("controlplane", &C::controlplane, object<ControlplaneConfig>(), "see below"),
        },
        {},
        true};
    std::ranges::move(list_keys(), std::back_inserter(root.keys));
    return root;
  }();
  return &table;
}

std::expected<Config, Mistakes> load_text(std::string_view text, const std::string& file,
                                          Reading reading) {
  return guarded(file, [&] { return Loader(reading).run(text, file); });
}

std::expected<Config, Mistakes> load(const std::string& file, Reading reading) {
  return guarded(file, [&] {
    const auto text = read_text(file);
    return text ? Loader(reading).run(*text, file) : Loader(reading).refuse(file, text.error());
  });
}

}  // namespace pharos::config
