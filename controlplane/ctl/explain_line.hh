// The subcommands of pharosctl that say why and how long: explain, demand, failover-time. Private to this folder.
#pragma once

#include <string>

#include "line_hooks.hh"

namespace pharos::controlplane::ctl {

class ExplainLine {
 public:
  ExplainLine(CLI::App& app, LineHooks hooks);

 private:
  void add_explain(CLI::App& app);
  void add_demand(CLI::App& app);
  void add_failover(CLI::App& app);

  LineHooks hooks_;
  std::string name_, client_, at_, type_ = "A";
  unsigned rows_ = 12;
  double resolver_ttl_min_s_ = 0;
};

}  // namespace pharos::controlplane::ctl
