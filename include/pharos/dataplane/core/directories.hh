// The run and state directories once another user is to own them, and the lock that keeps a second instance out. Start-up, control thread.
#pragma once

#include "pharos/base/directory.hh"
#include "pharos/base/error.hh"
#include "pharos/base/fd.hh"

#include <string>

namespace pharos::dataplane {

// Before we become `account`: it may enter both directories and make sockets in the first; tables on disk, DPDK's
// sockets and those that a former run left are its own. Errors: denied, unavailable.
[[nodiscard]] Status give_directories(const std::string& run_directory,
                                      const std::string& state_directory, const Account& account);

// Takes <run_directory>/dataplane.instance.lock for the life of the descriptor; the kernel gives it back at any death.
// Errors: conflict (another instance holds it; says its pid), unavailable, denied (a symbolic link).
[[nodiscard]] Result<UniqueFd> lock_instance(const std::string& run_directory);

}  // namespace pharos::dataplane
