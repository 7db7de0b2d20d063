#include "pharos/base/directory.hh"

#include "pharos/base/fd.hh"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace pharos {

namespace {

[[nodiscard]] Status make_parents(const std::string& path) {
  for (auto slash = path.find('/', 1); slash != std::string::npos;
       slash = path.find('/', slash + 1)) {
    const auto parent = path.substr(0, slash);
    if (::mkdir(parent.c_str(), 0755) != 0 && errno != EEXIST) return fail_errno("mkdir", parent);
  }
  return {};
}

[[nodiscard]] Status check_owner(int fd, const std::string& path,
                                 std::span<const Account> trusted) {
  struct stat info{};
  if (::fstat(fd, &info) != 0) return fail_errno("stat", path);
  const auto any = [&](auto matches) { return std::ranges::any_of(trusted, matches); };
  if (info.st_uid != 0 && info.st_uid != ::geteuid() &&
      !any([&](const Account& account) { return account.uid == info.st_uid; })) {
    return fail(ErrorCode::denied, "belongs to user " + std::to_string(info.st_uid), path,
                "it must belong to root or to the user that we run as");
  }
  if ((info.st_mode & S_IWOTH) != 0) {
    return fail(ErrorCode::denied, "everyone may write there", path, "chmod o-w " + path);
  }
  const bool own_group = info.st_gid == 0 || info.st_gid == ::getegid() ||
                         any([&](const Account& account) { return account.gid == info.st_gid; });
  // With the sticky bit, members make files of their own and touch no one else's.
  if ((info.st_mode & S_IWGRP) != 0 && (info.st_mode & S_ISVTX) == 0 && !own_group) {
    return fail(ErrorCode::denied, "group " + std::to_string(info.st_gid) + " may write there",
                path, "chmod g-w " + path);
  }
  return {};
}

}  // namespace

Status prepare_directory(const std::string& given, mode_t mode, std::span<const Account> trusted) {
  auto path = given;
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  if (path.empty() || path.front() != '/') {
    return fail(ErrorCode::invalid, "'" + given + "' is not an absolute path");
  }
  if (auto ok = make_parents(path); !ok) return ok;
  if (::mkdir(path.c_str(), mode) != 0 && errno != EEXIST) return fail_errno("mkdir", path);
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd && (errno == ELOOP || errno == ENOTDIR)) {
    return fail(ErrorCode::denied, "is a symbolic link or no directory", path,
                "remove it, or name another one");
  }
  if (!fd) return fail_errno("open", path);
  return check_owner(fd.get(), path, trusted);
}

Status check_regular_or_absent(const std::string& path) {
  struct stat info{};
  if (::lstat(path.c_str(), &info) != 0)
    return errno == ENOENT ? Status{} : fail_errno("stat", path);
  if (S_ISREG(info.st_mode)) return {};
  return fail(ErrorCode::denied, "is a symbolic link or no file", path, "remove it");
}

}  // namespace pharos
