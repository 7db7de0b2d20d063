#include "pharos/base/rights.hh"

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace pharos {

Status keep_only(Capabilities kept) {
  constexpr int capabilities_max = 64;
  // Without CAP_SETPCAP the bounding set stays as it is; no_new_privs makes it idle.
  for (int capability = 0; capability < capabilities_max; ++capability) {
    if ((kept >> capability & 1U) == 0) ::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
  }
  ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);

  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  __user_cap_data_struct data[2]{};
  if (::syscall(SYS_capget, &header, data) != 0) return fail_errno("capget");
  for (unsigned half = 0; half < 2; ++half) {
    const auto bits = static_cast<std::uint32_t>(kept >> (32 * half));
    data[half].effective &= bits;
    data[half].permitted &= bits;
    data[half].inheritable = 0;
  }
  if (::syscall(SYS_capset, &header, data) != 0) return fail_errno("capset");
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return fail_errno("prctl(NO_NEW_PRIVS)");
  return {};
}

}  // namespace pharos
