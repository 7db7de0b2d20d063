// What a new configuration means for a running data plane: what changes at once, and what only a restart changes.
// Pure; called by the control thread.
#pragma once

#include "pharos/config/model.hh"
#include "pharos/dataplane/dns/serve.hh"

#include <string>
#include <vector>

namespace pharos::dataplane {

struct ConfigChanges {
  std::vector<std::string> live;     // keys that take effect now: "dataplane.nsid"
  std::vector<std::string> restart;  // keys that differ and need a restart
};
[[nodiscard]] ConfigChanges compare(const config::Config& running, const config::Config& next);

// Copies into `running` what compare() calls live.
void apply_live(config::Config& running, const config::Config& next);

// The options of the packet path; secrets are the caller's.
[[nodiscard]] ServeOptions serve_options(const config::Config& config);

}  // namespace pharos::dataplane
