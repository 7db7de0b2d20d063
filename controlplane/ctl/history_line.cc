#include "history_line.hh"

#include "pharos/base/clock.hh"
#include "pharos/base/fd.hh"
#include "pharos/controlplane/store/database.hh"

#include <fcntl.h>
#include <sys/file.h>

#include <filesystem>
#include <fstream>
#include <sstream>

namespace pharos::controlplane::ctl {

using control::Access;
using nlohmann::json;

HistoryLine::HistoryLine(CLI::App& app, CLI::App* config, LineHooks hooks)
    : hooks_(std::move(hooks)) {
  add_looks(app, config);
  add_plans(app, config);
  add_ways_back(app);
}

void HistoryLine::add_looks(CLI::App& app, CLI::App* config) {
  auto* history = hooks_.add(&app, "history", "what was decided and why, newest first", [this] {
    json arguments = {{"limit", limit_}};
    for (const auto& [name, value] : {std::pair("service", &service_),
                                      {"locale", &locale_},
                                      {"since", &since_},
                                      {"until", &until_}}) {
      if (!value->empty()) arguments[name] = *value;
    }
    return hooks_.ask(Access::read, "history", arguments);
  });
  history->add_option("service", service_, "only of this one, or of this pool (www/A)");
  history->add_option("--locale", locale_, "only of this one");
  history->add_option("--since", since_, "2026-11-20T13:05:00Z, seconds since 1970, or -10m");
  history->add_option("--until", until_, "the same");
  history->add_option("--limit", limit_, "so many")
      ->check(CLI::Range(1, 10'000))
      ->capture_default_str();
  auto* past = hooks_.add(
      config, "history", "configurations that were in force, newest first",
      [this] { return hooks_.ask(Access::read, "configurations", {{"limit", limit_}}); });
  past->add_option("--limit", limit_, "so many")
      ->check(CLI::Range(1, 10'000))
      ->capture_default_str();
  auto* audit =
      hooks_.add(&app, "audit", "who changed what, by whichever door, and who was denied",
                 [this] { return hooks_.ask(Access::write, "audit", {{"limit", limit_}}); });
  audit->add_option("--limit", limit_, "so many")
      ->check(CLI::Range(1, 10'000))
      ->capture_default_str();
}

Status HistoryLine::ask_with_file(const std::string& command) {
  const std::ifstream file(file_, std::ios::binary);
  std::ostringstream text;
  if (file) text << file.rdbuf();
  if (!file || !text) return fail(ErrorCode::unavailable, "the file cannot be read", file_);
  return hooks_.ask(Access::write, command, {{"text", text.str()}, {"force", force_}});
}

void HistoryLine::add_plans(CLI::App& app, CLI::App* config) {
  const auto add_file = [this](CLI::App* command) {
    command
        ->add_option("file", file_,
                     "a configuration; its includes are relative to the one in force")
        ->required();
  };
  auto* plan =
      hooks_.add(&app, "plan", "what a configuration would change; refused where it overloads",
                 [this] { return ask_with_file("plan"); });
  add_file(plan);
  plan->add_flag("--force", force_, "show it even where it is refused");
  auto* begin = hooks_.add(config, "begin", "hand a configuration in as a draft",
                           [this] { return ask_with_file("draft-begin"); });
  add_file(begin);
  begin->add_flag("--force", force_, "in place of the draft that is there");
  hooks_.add(config, "diff", "what the draft would change",
             [this] { return hooks_.ask(Access::write, "draft-diff", json::object()); });
  auto* commit =
      hooks_.add(config, "commit", "put the draft in place of the file, and reload",
                 [this] { return hooks_.ask(Access::write, "draft-commit", {{"force", force_}}); });
  commit->add_flag("--force", force_, "even where it overloads, or removes many names");
  hooks_.add(config, "abort", "forget the draft",
             [this] { return hooks_.ask(Access::write, "draft-abort", json::object()); });
}

void HistoryLine::add_ways_back(CLI::App& app) {
  auto* rollback = hooks_.add(
      &app, "rollback", "put the files of a former configuration back, and reload", [this] {
        return hooks_.ask(Access::write, "rollback",
                          {{"id", id_}, {"dry_run", dry_run_}, {"force", force_}});
      });
  rollback->add_option("id", id_, "as pharosctl config history shows it")->required();
  rollback->add_flag("--dry-run", dry_run_, "only show what would change");
  rollback->add_flag("--force", force_, "allow the removal of many names");
  auto* backup =
      hooks_.add(&app, "backup", "copies of the databases, while everything goes on", [this] {
        return hooks_.ask(Access::write, "backup",
                          {{"directory", std::filesystem::absolute(directory_).string()}});
      });
  backup->add_option("directory", directory_, "where there are none yet")->required();
  auto* restore_command =
      hooks_.add(&app, "restore", "take databases of a backup; the daemon is stopped",
                 [this] { return restore(); });
  restore_command->add_option("directory", directory_, "of the backup")->required();
  restore_command->add_option("--state-directory", state_directory_, "of the configuration")
      ->capture_default_str();
}

Status HistoryLine::restore() const {
  const auto lock_path = hooks_.run_directory() + "/controlplane.lock";
  const UniqueFd lock(::open(lock_path.c_str(), O_RDWR | O_CLOEXEC));
  if (lock && ::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    return fail(ErrorCode::conflict, "pharos-controlplane runs", lock_path,
                "stop it first: systemctl stop pharos-controlplane");
  }
  json result = {{"files", json::array()}};
  for (const auto& [name, kind] :
       {std::pair("controlplane.db", &store_kind), {"history.db", &history_kind}}) {
    const auto from = directory_ + "/" + name;
    if (!std::filesystem::exists(from)) continue;
    const auto to = state_directory_ + "/" + name;
    if (auto done = restore_database(from, to, *kind, wall_now()); !done) return done;
    result["files"].push_back(to);
  }
  if (result["files"].empty())
    return fail(ErrorCode::not_found, "no database of Pharos is there", directory_);
  hooks_.print("restore", result);
  return {};
}

}  // namespace pharos::controlplane::ctl
