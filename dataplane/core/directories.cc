#include "pharos/dataplane/core/directories.hh"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <cerrno>

namespace pharos::dataplane {

namespace {

[[nodiscard]] Status make_parents(const std::string& path) {
  for (auto slash = path.find('/', 1); slash != std::string::npos;
       slash = path.find('/', slash + 1)) {
    const auto parent = path.substr(0, slash);
    if (::mkdir(parent.c_str(), 0755) != 0 && errno != EEXIST) return fail_errno("mkdir", parent);
  }
  return {};
}

[[nodiscard]] Status check_owner(int fd, const std::string& path) {
  struct stat info{};
  if (::fstat(fd, &info) != 0) return fail_errno("stat", path);
  if (info.st_uid != 0 && info.st_uid != ::geteuid()) {
    return fail(ErrorCode::denied, "belongs to user " + std::to_string(info.st_uid), path,
                "it must belong to root or to the user that we run as");
  }
  if ((info.st_mode & S_IWOTH) != 0) {
    return fail(ErrorCode::denied, "everyone may write there", path, "chmod 0750 " + path);
  }
  return {};
}

}  // namespace

Status prepare_directory(const std::string& given) {
  auto path = given;
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  if (path.empty() || path.front() != '/') {
    return fail(ErrorCode::invalid, "'" + given + "' is not an absolute path");
  }
  if (auto ok = make_parents(path); !ok) return ok;
  if (::mkdir(path.c_str(), 0750) != 0 && errno != EEXIST) return fail_errno("mkdir", path);
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd && (errno == ELOOP || errno == ENOTDIR)) {
    return fail(ErrorCode::denied, "is a symbolic link or no directory", path,
                "remove it, or name another one");
  }
  if (!fd) return fail_errno("open", path);
  return check_owner(fd.get(), path);
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
