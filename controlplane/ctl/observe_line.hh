// The subcommands of pharosctl that look at traffic: dnstap. Private to this folder.
#pragma once

#include "pharos/base/error.hh"
#include "pharos/shared/control_protocol.hh"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <functional>
#include <string>

namespace pharos::controlplane::ctl {

struct ObserveHooks {
  std::function<CLI::App*(CLI::App*, const char*, const char*, std::function<Status()>)> add;
  // Asks a daemon.
  std::function<Result<nlohmann::json>(const char*, control::Access, const std::string&,
                                       const nlohmann::json&)>
      ask;
  // Prints a result as that of the command.
  std::function<void(const std::string&, const nlohmann::json&)> print;
};

class ObserveLine {
 public:
  ObserveLine(CLI::App& app, ObserveHooks hooks);

 private:
  ObserveHooks hooks_;
};

}  // namespace pharos::controlplane::ctl
