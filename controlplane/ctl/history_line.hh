// The subcommands of pharosctl about the past and about configurations to come. Private to this folder.
#pragma once

#include <string>

#include "line_hooks.hh"

namespace pharos::controlplane::ctl {

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
