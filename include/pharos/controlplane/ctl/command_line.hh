// pharosctl as a function: arguments in, exit status out. main() and the tests call it.
//
// 0: it really worked, and its output was written. 1: a daemon is absent, refused or failed, or a file is not sound.
// 2: a wrong command line.
#pragma once

#include "pharos/controlplane/ctl/terminal.hh"

#include <string>
#include <vector>

namespace pharos::controlplane::ctl {

inline constexpr int exit_worked = 0;
inline constexpr int exit_failed = 1;
inline constexpr int exit_usage = 2;

[[nodiscard]] int run_command_line(int count, const char* const* arguments,
                                   const Terminal& terminal);

// All subcommands, those of subcommands as "endpoints drain": what the completion script must know.
[[nodiscard]] std::vector<std::string> subcommand_names();

}  // namespace pharos::controlplane::ctl
