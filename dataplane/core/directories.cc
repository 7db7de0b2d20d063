#include "pharos/dataplane/core/directories.hh"

#include "pharos/dataplane/core/privileges.hh"

#include <fcntl.h>
#include <sys/file.h>

#include <cerrno>

namespace pharos::dataplane {

Status give_directories(const std::string& run_directory, const std::string& state_directory,
                        const Account& account) {
  if (auto ok = share_directory(run_directory, account, true); !ok) return ok;
  if (auto ok = share_directory(state_directory, account, false); !ok) return ok;
  if (auto ok = give_tree(state_directory + "/tables", account); !ok) return ok;
  if (auto ok = give_tree(run_directory + "/dpdk", account); !ok) return ok;
  for (const char* name :
       {"tables.sock", "dataplane.read.sock", "dataplane.write.sock", "dataplane.lock"}) {
    if (auto ok = give_file(run_directory, name, account); !ok) return ok;
  }
  return {};
}

Result<UniqueFd> lock_instance(const std::string& run_directory) {
  const auto path = run_directory + "/dataplane.instance.lock";
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0640));
  if (!fd && errno == ELOOP)
    return fail(ErrorCode::denied, "is a symbolic link", path, "remove it");
  if (!fd) return fail_errno("open", path);
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return fail_errno("lock", path);
    char pid[16] = {};
    const auto length = ::pread(fd.get(), pid, sizeof pid - 1, 0);
    std::string holder(pid, length > 0 ? static_cast<std::size_t>(length) : 0);
    while (!holder.empty() && holder.back() == '\n') holder.pop_back();
    return fail(ErrorCode::conflict,
                "another pharos-dataplane runs here" + (holder.empty() ? "" : ", pid " + holder),
                path, "stop it, or give this one a run_directory of its own");
  }
  const auto pid = std::to_string(::getpid()) + "\n";
  if (::ftruncate(fd.get(), 0) != 0 || ::pwrite(fd.get(), pid.data(), pid.size(), 0) < 0) {
    return fail_errno("write", path);
  }
  return fd;
}

}  // namespace pharos::dataplane
