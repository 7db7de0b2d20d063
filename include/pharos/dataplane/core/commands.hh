// The commands of the data plane's control sockets; their results are written down in controlplane/ctl/README.md.
// Called by the control thread.
#pragma once

namespace pharos::control {
class Server;
}

namespace pharos::dataplane {

class Daemon;

// Adds status, stats, ports, generations, dnstap, names, policies, version, log-level and reload. `daemon` outlives the server.
void add_commands(control::Server& server, Daemon& daemon);

}  // namespace pharos::dataplane
