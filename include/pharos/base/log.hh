// Where the programs write what they have to say: standard error, one line a message, in one form.
#pragma once

namespace pharos {

// Makes the default logger. Under systemd the journal knows the time already; elsewhere a line starts with it:
// "2026-01-02T03:04:05.678 info: ...". Called once, first thing, by the main thread.
void start_log(const char* program);

}  // namespace pharos
