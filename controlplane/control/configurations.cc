#include "pharos/controlplane/engine/engine_copy.hh"
#include "pharos/controlplane/engine/plan.hh"
#include "pharos/controlplane/engine/shrink.hh"
#include "pharos/controlplane/history/history.hh"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <spdlog/spdlog.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <mutex>
#include <sstream>

#include "handlers.hh"

// Configurations: what one would change, a draft on its way to be one, and the way back.

namespace pharos::controlplane {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t diff_lines_max = 2000;  // of each side, between what both begin and end with

Result<std::string> content_of(const std::string& path) {
  const std::ifstream file(path, std::ios::binary);
  if (!file) return fail(ErrorCode::unavailable, "the file cannot be read", path);
  std::ostringstream text;
  text << file.rdbuf();
  return std::move(text).str();
}

// The whole file or nothing of it, on the disk when this returns; owner and mode stay. Where `name` is a symbolic link
// it stays, too.
Status write_whole(const std::string& name, const std::string& content) {
  std::error_code unresolved;
  auto path = fs::weakly_canonical(name, unresolved).string();
  if (unresolved) path = name;
  struct stat former{};
  const bool there = ::stat(path.c_str(), &former) == 0;
  const auto folder = fs::path(path).parent_path().string();
  std::string temporary = path + ".new-XXXXXX";
  UniqueFd fd(::mkostemp(temporary.data(), O_CLOEXEC));
  if (!fd) return fail_errno("mkostemp", path);
  const auto give_up = [&](const char* call) {
    auto error = fail_errno(call, path);
    ::unlink(temporary.c_str());
    return error;
  };
  for (std::size_t at = 0; at < content.size();) {
    const auto put = ::write(fd.get(), content.data() + at, content.size() - at);
    if (put < 0) return give_up("write");
    at += static_cast<std::size_t>(put);
  }
  if (::fchmod(fd.get(), there ? former.st_mode & 07777 : 0640) != 0) return give_up("fchmod");
  // Only root may give a file away; as anybody else it is ours already, or we could not replace it.
  if (there && ::geteuid() == 0 && ::fchown(fd.get(), former.st_uid, former.st_gid) != 0)
    return give_up("fchown");
  if (::fsync(fd.get()) != 0) return give_up("fsync");
  if (::rename(temporary.c_str(), path.c_str()) != 0) return give_up("rename");
  const UniqueFd directory(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory || ::fsync(directory.get()) != 0) return fail_errno("fsync", folder);
  return {};
}

// Files in place of others, all or none.
class FileChange {
 public:
  ~FileChange() {
    if (!kept_) undo();
  }
  Status put(const std::string& path, const std::string& content) {
    auto former = content_of(path);
    former_.emplace_back(path, former ? std::optional(std::move(*former)) : std::nullopt);
    return write_whole(path, content);
  }
  // Out of the way of patterns such as *.yaml.
  Status move_aside(const std::string& path) {
    const auto aside = path + ".aside-" + std::to_string(wall_now().ns / 1'000'000'000);
    if (::rename(path.c_str(), aside.c_str()) != 0) return fail_errno("rename", path);
    moved_.emplace_back(path, aside);
    return {};
  }
  void keep() { kept_ = true; }

 private:
  void undo() {
    for (const auto& [path, content] : former_) {
      if (content) {
        if (auto back = write_whole(path, *content); !back)
          spdlog::error("cannot be put back: {}", back.error().text());
      } else {
        ::unlink(path.c_str());
      }
    }
    for (const auto& [path, aside] : moved_) ::rename(aside.c_str(), path.c_str());
  }
  std::vector<std::pair<std::string, std::optional<std::string>>> former_;
  std::vector<std::pair<std::string, std::string>> moved_;
  bool kept_ = false;
};

// ---- plans ----

std::string_view source_text(LoadSource source) {
  switch (source) {
    case LoadSource::none:
      return "none";
    case LoadSource::sites:
      return "sites";
    case LoadSource::demand:
      return "demand";
  }
  return "none";
}

Json plan_row(const Plan& plan) {
  Json sites = Json::array();
  for (const auto& site : plan.sites) {
    Json row = {{"site", site.id},
                {"share", site.share_before},
                {"planned_share", site.share_after},
                {"overloaded", site.overloaded}};
    if (site.load_before_rps) row["load_rps"] = *site.load_before_rps;
    if (plan.load_source != LoadSource::none) row["planned_rps"] = site.load_after_rps;
    if (site.capacity_rps) row["capacity_rps"] = *site.capacity_rps;
    sites.push_back(std::move(row));
  }
  Json services = Json::array();
  for (const auto& [service, moved] : plan.moved_by_service) {
    if (moved > 0) services.push_back({{"service", service}, {"moved_share", moved}});
  }
  return {{"sites", std::move(sites)},         {"moved_share", plan.moved_share},
          {"services", std::move(services)},   {"ttl_exposure_s", plan.ttl_exposure_s},
          {"exposed_pool", plan.exposed_pool}, {"load_source", source_text(plan.load_source)},
          {"overloads", overloads_of(plan)}};
}

// What would be published of this text, ranked by the health of now: without a trace in the engine.
Result<Json> plan_text(Daemon& daemon, const std::string& text, bool force) {
  const auto candidate = daemon.candidate(text);
  if (!candidate) return std::unexpected(candidate.error());
  Engine::Copy copy;
  std::shared_ptr<const Tables> former;
  Instant now;
  daemon.loop().ask_in_slices([&](EngineSide& side, const Slice& slice) {
    if (slice.fresh()) copy = {};
    if (!copy.go_on(side.engine, [&] { return slice.over(); })) return false;
    former = side.publication.shared_tables();
    now = side.now;
    return true;
  });
  const auto before = copy.take();
  const auto after = planned(before, (*candidate)->world, now);
  const auto plan = plan_of(before, after);
  auto result = plan_row(plan);
  result["changed"] = differences(*former, **candidate);
  if (force) return result;
  if (auto overloads = overloads_of(plan); !overloads.empty()) {
    std::string all;
    for (const auto& one : overloads) all += (all.empty() ? "" : "; ") + one;
    return fail(ErrorCode::conflict, all, "plan", "give the sites room, or use force");
  }
  const double limit = (*candidate)->world->config->controlplane.shrink_limit;
  if (auto shrunk = check_shrink(*former, **candidate, limit); !shrunk)
    return std::unexpected(std::move(shrunk).error());
  if (auto shrunk = check_endpoint_shrink(*former->world, *(*candidate)->world, limit); !shrunk)
    return std::unexpected(std::move(shrunk).error());
  return result;
}

// ---- drafts ----

struct Draft {
  bool open = false;
  std::string text;
  std::array<std::uint8_t, 32> base{};  // hash of the file that it began with
  WallTime begun;
};
struct GuardedDraft {
  std::mutex mutex;  // held by who uses it
  Draft draft;
};

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

// "-old", "+new": by the longest common subsequence, between what both begin and end with.
Json diff_of(const std::string& former, const std::string& next) {
  auto a = lines_of(former);
  auto b = lines_of(next);
  std::size_t begin = 0;
  while (begin < a.size() && begin < b.size() && a[begin] == b[begin]) ++begin;
  while (a.size() > begin && b.size() > begin && a.back() == b.back()) {
    a.pop_back();
    b.pop_back();
  }
  a.erase(a.begin(), a.begin() + static_cast<std::ptrdiff_t>(begin));
  b.erase(b.begin(), b.begin() + static_cast<std::ptrdiff_t>(begin));
  Json diff = Json::array();
  const auto at = [&](std::size_t line) { return std::to_string(begin + line + 1) + ": "; };
  if (a.size() > diff_lines_max || b.size() > diff_lines_max) {
    diff.push_back("lines " + std::to_string(begin + 1) + " to " +
                   std::to_string(begin + a.size()) + " become " + std::to_string(b.size()) +
                   " others");
    return diff;
  }
  std::vector<std::vector<std::uint16_t>> common(a.size() + 1,
                                                 std::vector<std::uint16_t>(b.size() + 1, 0));
  for (std::size_t i = a.size(); i-- > 0;) {
    for (std::size_t j = b.size(); j-- > 0;) {
      common[i][j] = a[i] == b[j] ? static_cast<std::uint16_t>(common[i + 1][j + 1] + 1)
                                  : std::max(common[i + 1][j], common[i][j + 1]);
    }
  }
  for (std::size_t i = 0, j = 0; i < a.size() || j < b.size();) {
    if (i < a.size() && j < b.size() && a[i] == b[j]) {
      ++i, ++j;
    } else if (j == b.size() || (i < a.size() && common[i + 1][j] >= common[i][j + 1])) {
      diff.push_back("-" + at(i) + a[i]);
      ++i;
    } else {
      diff.push_back("+" + at(j) + b[j]);
      ++j;
    }
  }
  return diff;
}

Result<Json> begin_draft(Daemon& daemon, Draft& draft, const Json& arguments) {
  if (draft.open && !flag_argument(arguments, "force"))
    return fail(ErrorCode::conflict, "there is a draft already", {},
                "commit or abort it, or begin with force");
  const auto text = text_argument(arguments, "text");
  if (!text) return std::unexpected(text.error());
  const auto candidate = daemon.candidate(*text);
  if (!candidate) return std::unexpected(candidate.error());
  const auto base = content_of(daemon.config_file());
  if (!base) return std::unexpected(base.error());
  draft = {true, *text, hash_of_content(*base), wall_now()};
  return Json{{"lines", diff_of(*base, *text)}};
}

Result<Json> need_draft(const Draft& draft) {
  if (draft.open) return Json();
  return fail(ErrorCode::not_found, "there is no draft", {}, "pharosctl config begin FILE");
}

Result<Json> show_draft(Daemon& daemon, const Draft& draft) {
  if (auto open = need_draft(draft); !open) return open;
  const auto base = content_of(daemon.config_file());
  if (!base) return std::unexpected(base.error());
  auto planned = plan_text(daemon, draft.text, true);
  if (!planned) return planned;
  (*planned)["lines"] = diff_of(*base, draft.text);
  (*planned)["stale"] = hash_of_content(*base) != draft.base;
  return planned;
}

Result<Json> commit_draft(Daemon& daemon, Draft& draft, const Json& arguments) {
  if (auto open = need_draft(draft); !open) return open;
  const bool force = flag_argument(arguments, "force");
  const auto base = content_of(daemon.config_file());
  if (!base) return std::unexpected(base.error());
  if (hash_of_content(*base) != draft.base && !force) {
    return fail(ErrorCode::conflict, "the file has changed since the draft began",
                daemon.config_file(), "begin again with what is there now, or use force");
  }
  if (auto planned = plan_text(daemon, draft.text, force); !planned) return planned;
  FileChange change;
  if (auto put = change.put(daemon.config_file(), draft.text); !put)
    return std::unexpected(std::move(put).error());
  ReloadRequest request;
  request.force = force;
  const auto report = daemon.reload(request);
  if (!report) return std::unexpected(report.error());
  change.keep();
  draft = {};
  return Json{{"changed", report->changed}, {"version", json_of(report->version)}};
}

// ---- the way back ----

struct Rollback {
  std::vector<PastFile> files;     // to be written
  std::vector<std::string> aside;  // to be moved away
};

Result<Rollback> rollback_to(Daemon& daemon, History& history, std::int64_t id) {
  auto files = history.files_of(id);
  if (!files) return std::unexpected(std::move(files).error());
  const auto config =
      daemon.loop().ask([](EngineSide& side) { return side.engine.world().config; });
  Rollback rollback;
  for (const auto& path : files_of(*config)) {
    const bool then = std::ranges::any_of(*files, [&](const auto& f) { return f.path == path; });
    if (!then) rollback.aside.push_back(path);
  }
  for (auto& file : *files) {
    if (const auto now = read_file(file.path); now && now->hash == file.hash) continue;
    if (!file.content) {
      return fail(ErrorCode::unavailable,
                  "the file was too large to keep, and is another now: " + file.path, "rollback",
                  "put it back by hand, then reload");
    }
    rollback.files.push_back(std::move(file));
  }
  return rollback;
}

Result<Json> roll_back(Daemon& daemon, const Json& arguments) {
  auto* history = daemon.history();
  if (history == nullptr)
    return fail(ErrorCode::unavailable, "no history is kept", "controlplane.history.on");
  const auto at = arguments.find("id");
  if (at == arguments.end() || !at->is_number_integer())
    return fail(ErrorCode::invalid, "argument 'id' is missing, or no number", "arguments",
                "`pharosctl config history` lists them");
  if (auto written = history->sync(); !written) return std::unexpected(written.error());
  const auto rollback = rollback_to(daemon, *history, at->get<std::int64_t>());
  if (!rollback) return std::unexpected(rollback.error());
  Json result = {{"files", Json::array()}, {"aside", rollback->aside}};
  for (const auto& file : rollback->files) {
    const auto now = content_of(file.path);
    result["files"].push_back(
        {{"path", file.path}, {"lines", diff_of(now.value_or(""), *file.content)}});
  }
  if (flag_argument(arguments, "dry_run")) return result;
  FileChange change;
  for (const auto& file : rollback->files) {
    if (auto put = change.put(file.path, *file.content); !put)
      return std::unexpected(std::move(put).error());
  }
  for (const auto& path : rollback->aside) {
    if (auto moved = change.move_aside(path); !moved)
      return std::unexpected(std::move(moved).error());
  }
  ReloadRequest request;
  request.force = flag_argument(arguments, "force");
  const auto report = daemon.reload(request);
  if (!report) return std::unexpected(report.error());
  change.keep();
  result["changed"] = report->changed;
  result["version"] = json_of(report->version);
  return result;
}

Result<Json> back_up(Daemon& daemon, const Json& arguments) {
  const auto directory = text_argument(arguments, "directory");
  if (!directory) return std::unexpected(directory.error());
  if (!directory->starts_with('/'))
    return fail(ErrorCode::invalid, "the directory is not absolute", "directory");
  std::error_code error;
  if (!fs::is_directory(*directory, error))
    return fail(ErrorCode::not_found, "there is no such directory", *directory);
  Json files = Json::array({*directory + "/controlplane.db"});
  if (auto copied = daemon.store().backup(*directory + "/controlplane.db"); !copied)
    return std::unexpected(std::move(copied).error());
  if (auto* history = daemon.history()) {
    if (auto copied = history->backup(*directory + "/history.db"); !copied)
      return std::unexpected(std::move(copied).error());
    files.push_back(*directory + "/history.db");
  }
  return Json{{"files", std::move(files)}};
}

}  // namespace

void add_config_commands(control::Server& server, Daemon& daemon) {
  using control::Access;
  using control::Pace;
  server.add({"plan", Access::write,
              "what a configuration would change: load, clients, TTL; refused where it overloads",
              [&daemon](const Json& arguments) -> Result<Json> {
                const auto text = text_argument(arguments, "text");
                if (!text) return std::unexpected(text.error());
                return plan_text(daemon, *text, flag_argument(arguments, "force"));
              },
              Pace::lengthy, false});
  // Those that change files, or the draft, come one after the other.
  const auto draft = std::make_shared<GuardedDraft>();
  const auto in_turn = [&](const char* name, const char* summary, auto handler,
                           bool changes = true) {
    server.add({name, Access::write, summary,
                [draft, handler](const Json& arguments) -> Result<Json> {
                  const std::lock_guard one_at_a_time(draft->mutex);
                  return handler(draft->draft, arguments);
                },
                Pace::lengthy, changes});
  };
  in_turn(
      "draft-begin", "takes a configuration as a draft",
      [&daemon](Draft& own, const Json& arguments) { return begin_draft(daemon, own, arguments); });
  in_turn(
      "draft-diff", "what the draft would change",
      [&daemon](Draft& own, const Json&) { return show_draft(daemon, own); }, false);
  in_turn("draft-commit", "puts the draft in place of the file, and reloads",
          [&daemon](Draft& own, const Json& arguments) {
            return commit_draft(daemon, own, arguments);
          });
  in_turn("draft-abort", "forgets the draft", [](Draft& own, const Json&) -> Result<Json> {
    if (auto open = need_draft(own); !open) return open;
    own = {};
    return Json{{"lines", Json::array()}};
  });
  in_turn("rollback", "puts the files of a former configuration back, and reloads",
          [&daemon](Draft&, const Json& arguments) { return roll_back(daemon, arguments); });
  server.add({"backup", Access::write, "copies of the databases, while everything goes on",
              [&daemon](const Json& arguments) { return back_up(daemon, arguments); },
              Pace::lengthy});
}

}  // namespace pharos::controlplane
