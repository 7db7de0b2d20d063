// The commands of `pharosctl capture`: capture-start, capture-read, capture-stop. All of them are write access, since frames say
// more than any other command; arguments and results stand in controlplane/ctl/README.md. Called by the control thread.
#pragma once

#include "pharos/dataplane/core/capture_session.hh"

#include <nlohmann/json_fwd.hpp>

#include <span>

namespace pharos::control {
class Server;
}

namespace pharos::dataplane {

class Daemon;

// A port that can be captured.
struct CapturePort {
  std::string id;
  std::uint16_t number = 0;
};

// What `arguments` ask for. Errors: invalid, not_found (and which ports there are).
[[nodiscard]] Result<CaptureOrder> capture_order_of(const nlohmann::json& arguments,
                                                    std::span<const CapturePort> ports);

// `daemon` outlives the server.
void add_capture_commands(control::Server& server, Daemon& daemon);

}  // namespace pharos::dataplane
