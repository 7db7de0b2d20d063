// Where the programs write what they have to say: standard error, one line a message, in one form.
#pragma once

#include <string>
#include <string_view>

namespace pharos {

// Makes the default logger. Under systemd the journal knows the time already; elsewhere a line starts with it:
// "2026-01-02T03:04:05.678 info: ...". Called once, first thing, by the main thread.
void start_log(const char* program);

// Text from outside as it may stand in a line of a log or on a terminal: control characters, which could begin a line of
// their own or steer the terminal, become '?'.
[[nodiscard]] std::string harmless(std::string_view text);

}  // namespace pharos
