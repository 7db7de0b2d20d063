// Directories that daemons keep sockets and state in: made, or accepted as they are only where no other user can plant
// anything. Start-up.
#pragma once

#include "pharos/base/error.hh"

#include <sys/types.h>

#include <span>
#include <string>

namespace pharos {

// A user and its primary group.
struct Account {
  uid_t uid;
  gid_t gid;
};

// Makes `path` with `mode` and missing parents with 0755, or accepts what is there: a directory, not a symbolic link,
// owned by root, us or one of `trusted`; not writable for everyone, nor for a group but root's, ours or theirs. Errors:
// invalid (not absolute), denied, unavailable.
[[nodiscard]] Status prepare_directory(const std::string& path, mode_t mode = 0750,
                                       std::span<const Account> trusted = {});

// Errors: denied, where something that is no regular file stands at `path`: a symbolic link, a device. Absent is fine.
[[nodiscard]] Status check_regular_or_absent(const std::string& path);

}  // namespace pharos
