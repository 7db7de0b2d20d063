// The commands of the control plane's sockets: arguments in, JSON out (contract:
// controlplane/ctl/README.md).
//
// Handlers run on the control thread. They look at the engine only inside of EngineLoop::ask(), so
// that what one command shows belongs to one moment; what a command sets is in the database before
// it is answered.
#pragma once

#include "pharos/shared/control_protocol.hh"

namespace pharos::controlplane {

class Daemon;

// `daemon` outlives the server's handlers.
void add_commands(control::Server& server, Daemon& daemon);

}  // namespace pharos::controlplane
