// The run and state directories, and the lock that keeps a second instance out. Start-up, control thread.
#pragma once

#include "pharos/base/error.hh"
#include "pharos/base/fd.hh"

#include <string>

namespace pharos::dataplane {

// Makes `path` (mode 0750) and missing parents (0755), or accepts what is there: a directory, not a symbolic link,
// owned by root or us, not writable for others. Errors: unavailable, denied.
[[nodiscard]] Status prepare_directory(const std::string& path);

// Takes <run_directory>/dataplane.instance.lock for the life of the descriptor; the kernel gives it back at any death.
// Errors: conflict (another instance holds it; says its pid), unavailable, denied (a symbolic link).
[[nodiscard]] Result<UniqueFd> lock_instance(const std::string& run_directory);

}  // namespace pharos::dataplane
