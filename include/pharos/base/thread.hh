// Threads of a process whose signals are read by one thread alone: all others take none.
#pragma once

#include "pharos/base/error.hh"

#include <functional>
#include <string>
#include <thread>

namespace pharos {

// Starts a thread with every signal blocked, so that none is lost to it: `on_start` (may be empty), then `body`. The
// caller's own mask is as before when this returns. `where` says in errors what it is for. Errors: unavailable.
[[nodiscard]] Result<std::thread> start_quiet_thread(std::function<void()> on_start,
                                                     std::function<void()> body, std::string where);

}  // namespace pharos
