#include "pharos/dataplane/core/sandbox.hh"

#include "pharos/base/fd.hh"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/ucontext.h>
#include <unistd.h>

#include <spdlog/spdlog.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <memory>
#include <utility>

#include "sandbox_calls.hh"

namespace pharos::dataplane {

namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool sanitized = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
constexpr bool sanitized = true;
#else
constexpr bool sanitized = false;
#endif
#else
constexpr bool sanitized = false;
#endif

constexpr int cause_seccomp =
    1;  // SYS_SECCOMP of asm-generic/siginfo.h, which the C library does not name
constexpr int call_numbers = 512;  // x86-64 has fewer; what is above counts as the last

using Filter = std::vector<sock_filter>;

// Constant after prepare_sandbox(), which runs before any thread enters.
std::array<Filter, thread_kind_count> filters;
std::atomic<bool> prepared{false};

// Written by the SIGSYS handler of any thread.
std::array<std::array<std::atomic<std::uint32_t>, call_numbers>, thread_kind_count> refused;
static_assert(std::atomic<std::uint32_t>::is_always_lock_free);

thread_local SandboxPlace place;

// Makes the refused call return -EPERM, and counts it.
void on_refused(int /*signal*/, siginfo_t* info, void* context) {
  if (info->si_code != cause_seccomp) return;
  const int number = info->si_syscall;
  const auto at =
      static_cast<std::size_t>(number >= 0 && number < call_numbers ? number : call_numbers - 1);
  // relaxed: a count, read without order
  refused[std::to_underlying(place.kind)][at].fetch_add(1, std::memory_order_relaxed);
  static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RAX] = -EPERM;
}

using Context = std::unique_ptr<void, decltype(&seccomp_release)>;

[[nodiscard]] Status refused_rule(int number, int code) {
  char* name = ::seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, number);
  const std::string text = name == nullptr ? std::to_string(number) : name;
  std::free(name);  // NOLINT: libseccomp's contract
  return fail(ErrorCode::unavailable, "libseccomp takes no rule for " + text, {},
              "error " + std::to_string(-code) + "; dataplane.sandbox: off goes without");
}

[[nodiscard]] Status allow(scmp_filter_ctx context, const AllowedCall& call) {
  int code = 0;
  if (call.condition) {
    const auto& [argument, mask, value] = *call.condition;
    const scmp_arg_cmp comparison{argument, SCMP_CMP_MASKED_EQ, mask, value};
    code = ::seccomp_rule_add_array(context, SCMP_ACT_ALLOW, call.number, 1, &comparison);
  } else {
    code = ::seccomp_rule_add_array(context, SCMP_ACT_ALLOW, call.number, 0, nullptr);
  }
  // A call that another list has with the same condition.
  return code == 0 || code == -EEXIST ? Status{} : refused_rule(call.number, code);
}

// The rules of `kind` in a context of libseccomp.
[[nodiscard]] Status add_rules(scmp_filter_ctx context, ThreadKind kind,
                               const SandboxNeeds& needs) {
  std::vector<std::span<const AllowedCall>> lists(allowed_calls(kind).begin(),
                                                  allowed_calls(kind).end());
  if (needs.xdp && kind == ThreadKind::control) lists.push_back(xdp_calls());
  const bool of_drivers = kind == ThreadKind::control || kind == ThreadKind::helper;
  if (needs.pci && of_drivers) lists.push_back(pci_calls());
  if (needs.shared_memory && of_drivers) lists.push_back(shared_memory_calls());
  for (const auto& list : lists) {
    for (const AllowedCall& call : list) {
      if (auto ok = allow(context, call); !ok) return ok;
    }
  }
  // abort() and the wake-up of a driver's own threads: signals to this process only.
  const auto own = static_cast<std::uint64_t>(::getpid());
  if (auto ok = allow(
          context, {.number = SCMP_SYS(tgkill), .condition = CallCondition{0, 0xffff'ffff, own}});
      !ok)
    return ok;
  if (kind == ThreadKind::helper) {
    const int code = ::seccomp_rule_add(context, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    if (code != 0) return refused_rule(SCMP_SYS(clone3), code);
  }
  for (const int number : deadly_calls()) {
    const int code = ::seccomp_rule_add(context, SCMP_ACT_KILL_PROCESS, number, 0);
    if (code != 0) return refused_rule(number, code);
  }
  return {};
}

[[nodiscard]] Result<Filter> export_filter(scmp_filter_ctx context) {
  const UniqueFd file(::memfd_create("sandbox", MFD_CLOEXEC));
  if (!file) return fail_errno("memfd_create");
  if (const int code = ::seccomp_export_bpf(context, file.get()); code != 0)
    return fail(ErrorCode::unavailable, "libseccomp makes no filter", {}, std::to_string(-code));
  const auto bytes = ::lseek(file.get(), 0, SEEK_END);
  if (bytes <= 0 || bytes % sizeof(sock_filter) != 0) return fail_errno("lseek");
  Filter filter(static_cast<std::size_t>(bytes) / sizeof(sock_filter));
  if (::pread(file.get(), filter.data(), static_cast<std::size_t>(bytes), 0) != bytes)
    return fail_errno("pread");
  return filter;
}

[[nodiscard]] Result<Filter> make_filter(ThreadKind kind, const SandboxNeeds& needs) {
  const Context context(::seccomp_init(SCMP_ACT_TRAP), &seccomp_release);
  if (!context) return fail(ErrorCode::unavailable, "libseccomp does not start");
  // A tree instead of a list of comparisons; older versions have no such thing.
  static_cast<void>(::seccomp_attr_set(context.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2));
  if (auto ok = add_rules(context.get(), kind, needs); !ok)
    return std::unexpected(std::move(ok.error()).in(std::string(name_of(kind))));
  return export_filter(context.get());
}

}  // namespace

std::string_view name_of(ThreadKind kind) noexcept {
  constexpr std::array<std::string_view, thread_kind_count> names = {"worker", "control", "lane",
                                                                     "saver",  "helper",  "dnstap"};
  return names[std::to_underlying(kind)];
}

bool sandbox_is_possible() noexcept {
  return !sanitized;
}

Status prepare_sandbox(const SandboxNeeds& needs) {
  if (!sandbox_is_possible()) return {};
  for (unsigned kind = 0; kind < thread_kind_count; ++kind) {
    auto filter = make_filter(static_cast<ThreadKind>(kind), needs);
    if (!filter) return std::unexpected(std::move(filter.error()).in("sandbox"));
    filters[kind] = std::move(*filter);
  }
  struct sigaction action{};
  action.sa_sigaction = on_refused;
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  sigfillset(&action.sa_mask);
  if (::sigaction(SIGSYS, &action, nullptr) != 0) return fail_errno("sigaction", "SIGSYS");
  // release: partner is the acquire in enter_sandbox_raw()
  prepared.store(true, std::memory_order_release);
  return {};
}

int enter_sandbox_raw(ThreadKind kind) noexcept {
  // acquire: partner is the release in prepare_sandbox()
  if (!prepared.load(std::memory_order_acquire)) return 0;
  place = {.kind = kind, .entered = true};
  sigset_t refusal;
  sigemptyset(&refusal);
  sigaddset(&refusal, SIGSYS);  // blocked, a refused call would end the process
  ::pthread_sigmask(SIG_UNBLOCK, &refusal, nullptr);
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return errno;
  auto& filter = filters[std::to_underlying(kind)];
  sock_fprog program{.len = static_cast<unsigned short>(filter.size()), .filter = filter.data()};
  return ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0 ? 0 : errno;
}

void enter_sandbox(ThreadKind kind) noexcept {
  if (const int code = enter_sandbox_raw(kind); code != 0)
    spdlog::error("sandbox: a thread '{}' goes without, error {}", name_of(kind), code);
}

SandboxPlace sandbox_place() noexcept {
  return place;
}

std::vector<RefusedCall> refused_calls() {
  std::vector<RefusedCall> calls;
  for (unsigned kind = 0; kind < thread_kind_count; ++kind) {
    for (int number = 0; number < call_numbers; ++number) {
      // relaxed: see on_refused()
      const auto count =
          refused[kind][static_cast<std::size_t>(number)].load(std::memory_order_relaxed);
      if (count == 0) continue;
      char* name = ::seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, number);
      calls.push_back({.kind = static_cast<ThreadKind>(kind),
                       .number = number,
                       .name = name == nullptr ? "call " + std::to_string(number) : name,
                       .count = count});
      std::free(name);  // NOLINT: libseccomp's contract
    }
  }
  return calls;
}

}  // namespace pharos::dataplane
