// What files that add subcommands to pharosctl are given by its command line. Private to this folder.
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
  // A group of subcommands, one of which is needed.
  std::function<CLI::App*(const char*, const char*)> add_group;
  // Asks the control plane, and prints what it says.
  std::function<Status(control::Access, const std::string&, const nlohmann::json&)> ask;
  // Prints a result as that of the command.
  std::function<void(const std::string&, const nlohmann::json&)> print;
  // The same of either daemon, for what only looks: "dataplane", "controlplane".
  std::function<Status(const char*, const std::string&)> show;
  // Known once the line is parsed.
  std::function<std::string()> run_directory;
  std::function<bool()> as_json;
};

}  // namespace pharos::controlplane::ctl
