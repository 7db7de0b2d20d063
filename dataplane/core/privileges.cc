#include "pharos/dataplane/core/privileges.hh"

#include "pharos/base/clock.hh"
#include "pharos/base/fd.hh"

#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <memory>

namespace pharos::dataplane {

namespace {

constexpr std::size_t threads_max = 4096;
constexpr auto answer_time = seconds(2);
constexpr int last_capability = 63;

// Set before the signals go out, constant while they are handled.
struct Order {
  bool become = false;
  Account account{};
};
Order order;
std::uint64_t closing_capabilities = 0;  // of the control thread; its own

// Filled by the handler, one place a thread.
std::array<std::atomic<pid_t>, threads_max> answered;
std::atomic<std::size_t> answered_count{0};
std::atomic<int> worst_errno{0};

[[nodiscard]] int drop_number() noexcept {
  return SIGRTMIN + 7;
}

void note_failure() noexcept {
  int none = 0;
  // relaxed: read after answered_count says that all are done
  worst_errno.compare_exchange_strong(none, errno, std::memory_order_relaxed);
}

[[nodiscard]] int set_capabilities(std::uint64_t effective, std::uint64_t permitted) noexcept {
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  __user_cap_data_struct data[2]{};
  for (unsigned half = 0; half < 2; ++half) {
    data[half].effective = static_cast<std::uint32_t>(effective >> (32 * half));
    data[half].permitted = static_cast<std::uint32_t>(permitted >> (32 * half));
  }
  return static_cast<int>(::syscall(SYS_capset, &header, data));
}

// All rights of this thread but `permitted`. Raw system calls: the C library's would reach for the other threads, and
// are no business of a signal handler.
void give_up(std::uint64_t permitted) noexcept {
  // Without CAP_SETPCAP the bounding set stays; it means nothing where nobody may execute a program.
  for (int capability = 0; capability <= last_capability; ++capability)
    ::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
  ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  if (order.become) {
    const auto& [uid, gid] = order.account;
    if (permitted != 0) ::prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0);
    if (::syscall(SYS_setgroups, 1, &gid) != 0 || ::syscall(SYS_setresgid, gid, gid, gid) != 0 ||
        ::syscall(SYS_setresuid, uid, uid, uid) != 0)
      note_failure();
  }
  if (set_capabilities(0, permitted) != 0) note_failure();
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) note_failure();
}

void on_order(int /*number*/) {
  const int saved = errno;
  give_up(0);
  if (enter_sandbox_raw(ThreadKind::helper) != 0) note_failure();
  // relaxed: places are taken by counting
  const auto at = answered_count.fetch_add(1, std::memory_order_relaxed);
  // release: partner is the acquire in has_answered()
  if (at < threads_max) answered[at].store(::gettid(), std::memory_order_release);
  errno = saved;
}

[[nodiscard]] bool has_answered(pid_t thread) noexcept {
  return std::ranges::any_of(answered, [&](const auto& one) {
    // acquire: partner is the release in on_order()
    return one.load(std::memory_order_acquire) == thread;
  });
}

[[nodiscard]] std::vector<pid_t> other_threads() {
  std::vector<pid_t> threads;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task", ignored)) {
    const auto name = entry.path().filename().string();
    pid_t thread = 0;
    std::from_chars(name.data(), name.data() + name.size(), thread);
    if (thread != ::gettid()) threads.push_back(thread);
  }
  return threads;
}

[[nodiscard]] std::string description_of(pid_t thread) {
  std::string name;
  std::getline(std::ifstream("/proc/self/task/" + std::to_string(thread) + "/comm"), name);
  return name + " " + std::to_string(thread);
}

// Signals each thread that has not answered, until all have, and none is new. The rest at the end of `answer_time`.
[[nodiscard]] std::vector<std::string> order_all() {
  const auto until = monotonic_now() + answer_time;
  std::vector<pid_t> asked;
  for (;;) {
    auto waiting = other_threads();
    std::erase_if(waiting, has_answered);
    if (waiting.empty()) return {};
    for (const pid_t thread : waiting) {
      if (std::ranges::find(asked, thread) != asked.end()) continue;
      ::tgkill(::getpid(), thread, drop_number());
      asked.push_back(thread);
    }
    if (monotonic_now() > until) {
      std::vector<std::string> deaf;
      for (const pid_t thread : waiting) deaf.push_back(description_of(thread));
      return deaf;
    }
    ::usleep(200);
  }
}

struct CloseDirectory {
  void operator()(DIR* directory) const noexcept { ::closedir(directory); }
};
using Directory = std::unique_ptr<DIR, CloseDirectory>;

[[nodiscard]] Status give_entries(int directory, const std::string& path, const Account& account);

[[nodiscard]] Status give_entry(int directory, const std::string& name, const std::string& path,
                                const Account& account) {
  struct stat info{};
  if (::fstatat(directory, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0)
    return errno == ENOENT ? Status{} : fail_errno("stat", path);
  if (S_ISDIR(info.st_mode)) {
    const UniqueFd inner(
        ::openat(directory, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!inner) return fail_errno("open", path);
    return give_entries(inner.get(), path, account);
  }
  // A file with a second name may be another's; a link's target surely is.
  const bool ours = (S_ISREG(info.st_mode) && info.st_nlink == 1) || S_ISSOCK(info.st_mode);
  if (!ours) return {};
  return ::fchownat(directory, name.c_str(), account.uid, account.gid, AT_SYMLINK_NOFOLLOW) == 0
             ? Status{}
             : fail_errno("chown", path);
}

Status give_entries(int directory, const std::string& path, const Account& account) {
  if (::fchown(directory, account.uid, account.gid) != 0) return fail_errno("chown", path);
  const int listing = ::fcntl(directory, F_DUPFD_CLOEXEC, 0);
  const Directory entries(listing < 0 ? nullptr : ::fdopendir(listing));
  if (!entries) return fail_errno("open", path);
  while (const dirent* entry = ::readdir(entries.get())) {  // NOLINT: one thread, own stream
    const std::string name = entry->d_name;
    if (name == "." || name == "..") continue;
    if (auto ok = give_entry(directory, name, path + "/" + name, account); !ok) return ok;
  }
  return {};
}

}  // namespace

Result<Account> account_of(unsigned uid) {
  std::array<char, 4096> text{};
  passwd entry{};
  passwd* found = nullptr;
  const int code = ::getpwuid_r(uid, &entry, text.data(), text.size(), &found);
  if (code != 0 || found == nullptr) {
    return fail(ErrorCode::not_found, "no user has the number " + std::to_string(uid),
                "dataplane.user", "useradd --system --user-group NAME makes one");
  }
  return Account{.uid = found->pw_uid, .gid = found->pw_gid};
}

Result<std::vector<std::string>> drop_privileges(const PrivilegePlan& plan) {
  order = {.become = plan.become.has_value(), .account = plan.become.value_or(Account{})};
  closing_capabilities = plan.closing_capabilities;

  struct sigaction action{};
  struct sigaction former{};
  action.sa_handler = on_order;
  action.sa_flags = SA_RESTART;
  sigfillset(&action.sa_mask);
  sigdelset(&action.sa_mask,
            SIGSYS);  // a thread that is in the sandbox already fails instead of dying
  if (::sigaction(drop_number(), &action, &former) != 0) return fail_errno("sigaction");
  auto deaf = order_all();
  ::sigaction(drop_number(), &former, nullptr);

  // What a service manager did not grant cannot be kept either.
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  __user_cap_data_struct held[2]{};
  if (::syscall(SYS_capget, &header, held) != 0) return fail_errno("capget");
  closing_capabilities &= held[0].permitted | std::uint64_t{held[1].permitted} << 32;
  give_up(closing_capabilities);
  // relaxed: every thread has answered, see has_answered()
  if (const int code = worst_errno.load(std::memory_order_relaxed); code != 0) {
    errno = code;
    return fail_errno("giving up rights", "dataplane.sandbox, dataplane.user");
  }
  return deaf;
}

void confine_this_thread(ThreadKind kind) noexcept {
  static_cast<void>(set_capabilities(0, 0));
  enter_sandbox(kind);
}

void raise_closing_capabilities() noexcept {
  if (closing_capabilities != 0)
    static_cast<void>(set_capabilities(closing_capabilities, closing_capabilities));
}

Status give_tree(const std::string& path, const Account& account) {
  const UniqueFd directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!directory && errno == ENOENT) return {};
  if (!directory) return fail_errno("open", path);
  return give_entries(directory.get(), path, account);
}

Status give_file(const std::string& directory, const std::string& name, const Account& account) {
  const UniqueFd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) return fail_errno("open", directory);
  return give_entry(fd.get(), name, directory + "/" + name, account);
}

Status share_directory(const std::string& path, const Account& account, bool writable) {
  const UniqueFd directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  struct stat info{};
  if (!directory || ::fstat(directory.get(), &info) != 0) return fail_errno("open", path);
  if (info.st_uid == account.uid) return {};
  const mode_t mode =
      (info.st_mode & 07777U) | S_IRGRP | S_IXGRP | (writable ? S_IWGRP | S_ISVTX : mode_t{0});
  if (::fchown(directory.get(), static_cast<uid_t>(-1), account.gid) != 0 ||
      ::fchmod(directory.get(), mode) != 0)
    return fail_errno("chown", path);
  return {};
}

}  // namespace pharos::dataplane
