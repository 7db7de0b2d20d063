// The subcommands of pharosctl about the past and about configurations to come. Private to this folder.
#pragma once

#include "pharos/base/error.hh"
#include "pharos/shared/control_protocol.hh"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <functional>
#include <string>

namespace pharos::controlplane::ctl {

struct LineHooks {
  std::function<CLI::App*(CLI::App*, const char*, const char*, std::function<Status()>)> add;
  // Asks the control plane, and prints what it says.
  std::function<Status(control::Access, const std::string&, const nlohmann::json&)> ask;
  // Prints a result as that of the command.
  std::function<void(const std::string&, const nlohmann::json&)> print;
  std::function<std::string()> run_directory;
};

class HistoryLine {
 public:
  // `config`: the group of subcommands about the configuration.
  HistoryLine(CLI::App& app, CLI::App* config, LineHooks hooks);

 private:
  void add_looks(CLI::App& app, CLI::App* config);
  void add_plans(CLI::App& app, CLI::App* config);
  void add_ways_back(CLI::App& app);
  // The text of the file, as an argument.
  [[nodiscard]] Status ask_with_file(const std::string& command);
  [[nodiscard]] Status restore() const;

  LineHooks hooks_;
  std::string service_, locale_, since_, until_, file_, directory_;
  std::string state_directory_ = "/var/lib/pharos";
  unsigned limit_ = 50;
  std::int64_t id_ = 0;
  bool force_ = false, dry_run_ = false;
};

}  // namespace pharos::controlplane::ctl
