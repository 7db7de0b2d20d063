// SIGTERM, SIGINT and SIGHUP for the control thread's poll set.
//
// Until watch() they do what they would do to any program that starts: TERM and INT end it at once, since a driver may
// wait for ever inside the EAL's start (virtio_user in server mode waits for its peer), and HUP is ignored. After it
// they are only noted. A handler and an eventfd, not a signalfd: that would need the signals blocked in
// all threads, also those that the EAL makes, from before its start.
#pragma once

#include "pharos/base/error.hh"

namespace pharos::dataplane::signals {

// Installs the handlers. Before the first thread is made. Errors: unavailable.
[[nodiscard]] Status install();

// From now on signals are noted; returns the descriptor that gets readable then.
[[nodiscard]] int watch() noexcept;

struct Noted {
  bool stop = false;
  bool reload = false;
};
// What has come since the last call. Control thread.
[[nodiscard]] Noted take() noexcept;

}  // namespace pharos::dataplane::signals
