// The audit log's entries: every change of what runs, whichever door it came by, and who was denied one. Reads leave none.
//
//   door     caller                            peer
//   api      "token ops", "certificate ..."    address
//   socket   "uid 0"                           "pid 4711"      pharosctl, and whoever else opens the write socket
//   signal   "uid 0"                           "pid 4711"      SIGHUP
#pragma once

#include "pharos/base/clock.hh"

#include <nlohmann/json.hpp>

#include <string>

namespace pharos::controlplane {

struct AuditEntry {
  WallTime at;
  std::string caller;  // empty: not known, or without the right
  std::string peer;
  std::string command;
  std::string arguments;  // as of told_of()
  std::string outcome;    // "done", or what was wrong
  std::string door = "api";
};

// Arguments as they stand in the log, as JSON: a configuration, which may hold secrets, and whatever else is long is its
// size there.
[[nodiscard]] std::string told_of(nlohmann::json arguments);

}  // namespace pharos::controlplane
