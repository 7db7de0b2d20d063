// What goes on while one looks: `pharosctl watch` and `pharosctl top`. Both ask the daemons again and again for what the
// other commands show, and compare; the daemons keep nothing for them.
//
// One thread. A daemon that is absent, or goes away and comes back, is an event, and not the end.
#pragma once

#include "pharos/base/clock.hh"
#include "pharos/base/error.hh"
#include "pharos/controlplane/ctl/terminal.hh"

#include <nlohmann/json.hpp>

#include <functional>
#include <string>
#include <vector>

namespace pharos::controlplane::ctl {

// What both daemons said at one moment: {"dataplane": {"status", "stats", "ports"} or null, "controlplane": {"status",
// "sites", "services", "endpoints", "generations"} or null}.
using Snapshot = nlohmann::json;

struct Event {
  std::string kind;  // "daemon", "port", "site", "service", "endpoint", "generation" or "alarm"
  std::string text;  // "site fra: up -> suspect"
  Colour colour = Colour::none;
};

// What has happened between two snapshots, in the order of the daemons and of their lists. Shapes that are not known
// yield nothing. Pure.
[[nodiscard]] std::vector<Event> events_between(const Snapshot& before, const Snapshot& after);

// One screen of `top`: rates since `before`, sites, endpoints by rank, services and the newest tables; at most `rows` rows of
// each. Pure.
[[nodiscard]] std::string top_frame(const Snapshot& before, const Snapshot& after, Duration between,
                                    unsigned rows, bool colours);

using AskDaemon = std::function<Result<nlohmann::json>(const char* daemon, const char* command)>;
struct LiveSource {
  AskDaemon ask;
  std::function<void(Duration)> pause;
  std::function<Instant()> now;
};
// With this machine's clock.
[[nodiscard]] LiveSource by_the_clock(AskDaemon ask);

struct LiveOptions {
  Duration interval = seconds(1);
  unsigned rounds = 0;  // 0: until something ends the process
  unsigned rows = 12;
  bool as_json = false;  // watch: an object a line
  bool screen = false;   // top: each frame in place of the one before
};

// Errors: unavailable (no daemon answers at the start), io (the output is closed).
[[nodiscard]] Status watch(const LiveSource& source, const LiveOptions& options,
                           const Terminal& terminal);
[[nodiscard]] Status top(const LiveSource& source, const LiveOptions& options,
                         const Terminal& terminal);

}  // namespace pharos::controlplane::ctl
