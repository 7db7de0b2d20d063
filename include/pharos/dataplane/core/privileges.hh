// Giving up rights: user, capabilities, no_new_privs. Control thread, at the end of the start, when every port and every
// privileged socket is open.
//
// Credentials belong to threads, and the EAL has threads of its own by then. So a signal runs the same few system calls
// in every thread, as the C library does for setuid. Threads of ours start later, and confine themselves; lcores wait as
// helpers until they are workers.
//
//   thread            user      effective  permitted                                           filter
//   control           `user`    none       what closing the ports needs (NET_ADMIN, BPF)       control
//   workers, lane...  `user`    none       none                                                their own
//   EAL helpers       `user`    none       none                                                helper
#pragma once

#include "pharos/base/directory.hh"
#include "pharos/base/error.hh"
#include "pharos/dataplane/core/sandbox.hh"

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace pharos::dataplane {

// The user to become, with its primary group only. Errors: not_found (no such user on this host).
[[nodiscard]] Result<Account> account_of(unsigned uid);

struct PrivilegePlan {
  std::optional<Account> become;  // none: the user stays
  std::uint64_t closing_capabilities =
      0;  // bits 1 << CAP_*; permitted to the control thread, not in effect
};

// Every thread of the process becomes `become`, loses all capabilities and can never gain any; all but the calling one
// enter the sandbox as helpers. None may have entered it before. Returns the threads ("name tid") that could not be
// reached since they block all signals. Errors: denied, unavailable; then the process must end.
[[nodiscard]] Result<std::vector<std::string>> drop_privileges(const PrivilegePlan& plan);

// The calling thread, started after drop_privileges() or known to it, before it serves: gives up what it inherited and enters the sandbox.
void confine_this_thread(ThreadKind kind) noexcept;

// Puts `closing_capabilities` into effect in the calling thread; for the control thread, when ports are closed.
void raise_closing_capabilities() noexcept;

// A directory tree of ours (tables, DPDK's sockets) to `account`: directories, regular files with one name, sockets;
// links are neither followed nor changed. What is absent is fine. Errors: denied, unavailable.
[[nodiscard]] Status give_tree(const std::string& path, const Account& account);
// One file or socket in a directory, on the same terms.
[[nodiscard]] Status give_file(const std::string& directory, const std::string& name,
                               const Account& account);
// A directory that others share (run, state): its group becomes the account's, which may enter, and where `writable`,
// make files; the sticky bit keeps each from removing the other's.
[[nodiscard]] Status share_directory(const std::string& path, const Account& account,
                                     bool writable);

}  // namespace pharos::dataplane
