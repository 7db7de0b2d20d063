// The subcommands of pharosctl about zones and name policies. Private to this folder.
#pragma once

#include "pharos/controlplane/ctl/terminal.hh"

#include <string>
#include <vector>

#include "line_hooks.hh"

namespace pharos::controlplane::ctl {

class ZoneLine {
 public:
  // The terminal outlives us.
  ZoneLine(LineHooks hooks, const Terminal& terminal);

 private:
  void add_zones();
  void add_policies();

  LineHooks hooks_;
  const Terminal& terminal_;
  std::string name_;
  std::vector<std::string> files_;
};

}  // namespace pharos::controlplane::ctl
