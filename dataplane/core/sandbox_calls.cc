#include "sandbox_calls.hh"

#include <fcntl.h>
#include <linux/sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include <array>

namespace pharos::dataplane {

namespace {

constexpr std::uint64_t all_bits = 0xffff'ffff;
constexpr std::uint64_t low_byte_of_family = 0xff00;  // of an ioctl request: its family

constexpr AllowedCall when(int number, unsigned argument, std::uint64_t mask, std::uint64_t value) {
  return {.number = number,
          .condition = CallCondition{.argument = argument, .mask = mask, .value = value}};
}
constexpr AllowedCall read_only(int number, unsigned flags_argument) {
  return when(number, flags_argument, O_ACCMODE | O_CREAT | O_TRUNC | (O_TMPFILE & ~O_DIRECTORY),
              0);
}
constexpr AllowedCall ioctl_family(std::uint64_t family) {
  return when(SCMP_SYS(ioctl), 1, low_byte_of_family, family << 8);
}
constexpr AllowedCall ioctl_request(std::uint64_t request) {
  return when(SCMP_SYS(ioctl), 1, all_bits, request);
}
constexpr AllowedCall socket_of(std::uint64_t family) {
  return when(SCMP_SYS(socket), 0, all_bits, family);
}

// Locks, clocks, memory that is not executable, the C library's own, and the way out. Signals that reach another process
// are no one's: tgkill is allowed for abort(), see sandbox.cc.
constexpr std::array basic = {
    AllowedCall{SCMP_SYS(futex)},
    AllowedCall{SCMP_SYS(clock_gettime)},
    AllowedCall{SCMP_SYS(clock_getres)},
    AllowedCall{SCMP_SYS(gettimeofday)},
    AllowedCall{SCMP_SYS(time)},
    AllowedCall{SCMP_SYS(getcpu)},
    AllowedCall{SCMP_SYS(clock_nanosleep)},
    AllowedCall{SCMP_SYS(nanosleep)},
    AllowedCall{SCMP_SYS(sched_yield)},
    AllowedCall{SCMP_SYS(sched_getaffinity)},
    AllowedCall{SCMP_SYS(membarrier)},
    AllowedCall{SCMP_SYS(restart_syscall)},
    AllowedCall{SCMP_SYS(rt_sigreturn)},
    AllowedCall{SCMP_SYS(rt_sigprocmask)},
    AllowedCall{SCMP_SYS(rt_sigaction)},
    AllowedCall{SCMP_SYS(sigaltstack)},
    AllowedCall{SCMP_SYS(getpid)},
    AllowedCall{SCMP_SYS(gettid)},
    AllowedCall{SCMP_SYS(exit)},
    AllowedCall{SCMP_SYS(exit_group)},
    AllowedCall{SCMP_SYS(munmap)},
    AllowedCall{SCMP_SYS(madvise)},
    AllowedCall{SCMP_SYS(brk)},
    AllowedCall{SCMP_SYS(mremap)},
    when(SCMP_SYS(mmap), 2, PROT_EXEC, 0),
    when(SCMP_SYS(mprotect), 2, PROT_EXEC, 0),
    AllowedCall{SCMP_SYS(rseq)},
    AllowedCall{SCMP_SYS(set_robust_list)},
    AllowedCall{SCMP_SYS(getrandom)},
    when(SCMP_SYS(prctl), 0, all_bits, PR_SET_TIMERSLACK),
    when(SCMP_SYS(prctl), 0, all_bits, PR_SET_NAME),
    AllowedCall{SCMP_SYS(read)},
    AllowedCall{SCMP_SYS(write)},
    AllowedCall{SCMP_SYS(poll)},
    AllowedCall{SCMP_SYS(ppoll)},
};

// Of receive, transmit and wait, by driver: af_packet sendto, poll; af_xdp sendto, recvfrom, poll; tap readv, writev;
// pcap lseek, fstat of its file, recvmsg; memif and virtio-user read and write their event descriptors. getsockopt takes
// the error off a socket whose link went down.
constexpr std::array packets = {
    AllowedCall{SCMP_SYS(sendto)},     AllowedCall{SCMP_SYS(recvfrom)},
    AllowedCall{SCMP_SYS(recvmsg)},    AllowedCall{SCMP_SYS(readv)},
    AllowedCall{SCMP_SYS(writev)},     AllowedCall{SCMP_SYS(getsockopt)},
    AllowedCall{SCMP_SYS(lseek)},      AllowedCall{SCMP_SYS(fstat)},
    AllowedCall{SCMP_SYS(newfstatat)},
};

// Descriptors that are there, and connections that come in.
constexpr std::array descriptors = {
    AllowedCall{SCMP_SYS(close)},       AllowedCall{SCMP_SYS(fcntl)},
    AllowedCall{SCMP_SYS(accept)},      AllowedCall{SCMP_SYS(accept4)},
    AllowedCall{SCMP_SYS(sendmsg)},     AllowedCall{SCMP_SYS(shutdown)},
    AllowedCall{SCMP_SYS(setsockopt)},  AllowedCall{SCMP_SYS(getsockname)},
    AllowedCall{SCMP_SYS(getpeername)}, AllowedCall{SCMP_SYS(epoll_wait)},
    AllowedCall{SCMP_SYS(epoll_pwait)}, AllowedCall{SCMP_SYS(epoll_pwait2)},
    AllowedCall{SCMP_SYS(epoll_ctl)},   AllowedCall{SCMP_SYS(timerfd_settime)},
};

// Reading files: the configuration, the state of links in /sys.
constexpr std::array files = {
    read_only(SCMP_SYS(openat), 2),   read_only(SCMP_SYS(open), 1),
    AllowedCall{SCMP_SYS(statx)},     AllowedCall{SCMP_SYS(stat)},
    AllowedCall{SCMP_SYS(lstat)},     AllowedCall{SCMP_SYS(fstatfs)},
    AllowedCall{SCMP_SYS(statfs)},    AllowedCall{SCMP_SYS(access)},
    AllowedCall{SCMP_SYS(faccessat)}, AllowedCall{SCMP_SYS(faccessat2)},
    AllowedCall{SCMP_SYS(readlink)},  AllowedCall{SCMP_SYS(readlinkat)},
    AllowedCall{SCMP_SYS(getcwd)},    AllowedCall{SCMP_SYS(getdents64)},
    AllowedCall{SCMP_SYS(pread64)},   AllowedCall{SCMP_SYS(fadvise64)},
    AllowedCall{SCMP_SYS(uname)},     AllowedCall{SCMP_SYS(sysinfo)},
    AllowedCall{SCMP_SYS(prlimit64)}, AllowedCall{SCMP_SYS(getuid)},
    AllowedCall{SCMP_SYS(geteuid)},   AllowedCall{SCMP_SYS(getgid)},
    AllowedCall{SCMP_SYS(getegid)},
};

// Drivers ask the kernel about links and, while closing, put interfaces back: by ioctl on a datagram socket, or by
// netlink. 0x89 sockets, 0x3b VFIO, 0xaf vhost, 0x1b InfiniBand verbs; of 'T' the requests of TUN, not those that type
// into a terminal.
constexpr std::array devices = {
    socket_of(AF_UNIX),
    socket_of(AF_NETLINK),
    when(SCMP_SYS(socket), 0, all_bits, AF_INET),
    AllowedCall{SCMP_SYS(bind)},
    AllowedCall{SCMP_SYS(connect)},
    ioctl_family(0x89),
    ioctl_family(0x3b),
    ioctl_family(0xaf),
    ioctl_family(0x1b),
    ioctl_request(0x5401),      // TCGETS: is a stream a terminal?
    ioctl_request(0x541b),      // FIONREAD
    ioctl_request(0x5421),      // FIONBIO
    ioctl_request(0x400454c9),  // TUNSETNOCSUM
    ioctl_request(0x400454ca),  // TUNSETIFF
    ioctl_request(0x400454cb),  // TUNSETPERSIST
    ioctl_request(0x400454d9),  // TUNSETQUEUE
    ioctl_request(0x800454d2),  // TUNGETIFF
    ioctl_request(0x800454cf),  // TUNGETFEATURES
    AllowedCall{SCMP_SYS(sched_setaffinity)},
    AllowedCall{SCMP_SYS(timerfd_create)},
    AllowedCall{SCMP_SYS(eventfd2)},
    AllowedCall{SCMP_SYS(pipe2)},
    AllowedCall{SCMP_SYS(epoll_create1)},
    // The EAL's interrupt thread, whenever a device comes or goes; it aborts the process where it cannot.
    AllowedCall{SCMP_SYS(epoll_create)},
};

// Sockets and the lock of an orderly end; rights are raised once more for closing ports.
constexpr std::array ending = {
    AllowedCall{SCMP_SYS(unlink)}, AllowedCall{SCMP_SYS(unlinkat)}, AllowedCall{SCMP_SYS(rmdir)},
    AllowedCall{SCMP_SYS(flock)},  AllowedCall{SCMP_SYS(capget)},   AllowedCall{SCMP_SYS(capset)},
    AllowedCall{SCMP_SYS(dup)},    AllowedCall{SCMP_SYS(fsync)},
};

// A thread of the same process, nothing else. clone3 hides its flags behind a pointer: the C library falls back when it
// is told ENOSYS (sandbox.cc).
constexpr std::array threads = {
    when(SCMP_SYS(clone), 0, CLONE_THREAD, CLONE_THREAD),
    AllowedCall{SCMP_SYS(rt_sigtimedwait)},
    // Lcores wait as helpers until they are workers: a further filter, and rights given up.
    AllowedCall{SCMP_SYS(seccomp)},
    when(SCMP_SYS(prctl), 0, all_bits, PR_SET_NO_NEW_PRIVS),
    AllowedCall{SCMP_SYS(capset)},
    AllowedCall{SCMP_SYS(setpriority)},
};

constexpr std::array saving = {
    AllowedCall{SCMP_SYS(openat)},    AllowedCall{SCMP_SYS(open)},
    AllowedCall{SCMP_SYS(close)},     AllowedCall{SCMP_SYS(writev)},
    AllowedCall{SCMP_SYS(pwrite64)},  AllowedCall{SCMP_SYS(lseek)},
    AllowedCall{SCMP_SYS(fstat)},     AllowedCall{SCMP_SYS(newfstatat)},
    AllowedCall{SCMP_SYS(fsync)},     AllowedCall{SCMP_SYS(fdatasync)},
    AllowedCall{SCMP_SYS(ftruncate)}, AllowedCall{SCMP_SYS(fallocate)},
    AllowedCall{SCMP_SYS(rename)},    AllowedCall{SCMP_SYS(renameat)},
    AllowedCall{SCMP_SYS(renameat2)}, AllowedCall{SCMP_SYS(link)},
    AllowedCall{SCMP_SYS(linkat)},    AllowedCall{SCMP_SYS(unlink)},
    AllowedCall{SCMP_SYS(unlinkat)},  AllowedCall{SCMP_SYS(fcntl)},
    AllowedCall{SCMP_SYS(flock)},     AllowedCall{SCMP_SYS(mkdir)},
    AllowedCall{SCMP_SYS(mkdirat)},   AllowedCall{SCMP_SYS(fchmod)},
};

constexpr std::array sockets = {
    AllowedCall{SCMP_SYS(recvmmsg)}, AllowedCall{SCMP_SYS(sendmmsg)},
    ioctl_request(0x541b),  // FIONREAD
};

// Addresses that a reload adds.
constexpr std::array listening = {
    socket_of(AF_INET6),
    AllowedCall{SCMP_SYS(listen)},
};

constexpr std::array bpf = {AllowedCall{SCMP_SYS(bpf)}};

// UIO and VFIO: a NIC's interrupts and its right to reach memory are bits of its configuration space, which the EAL writes
// through a descriptor that it has had from the start. No thread with this list can open a file for writing.
constexpr std::array pci = {AllowedCall{SCMP_SYS(pwrite64)}};

constexpr std::array shared_memory = {
    AllowedCall{SCMP_SYS(memfd_create)},
    AllowedCall{SCMP_SYS(ftruncate)},
    AllowedCall{SCMP_SYS(listen)},
    AllowedCall{SCMP_SYS(unlink)},
};

constexpr std::array deadly = {
    SCMP_SYS(execve),           SCMP_SYS(execveat),          SCMP_SYS(ptrace),
    SCMP_SYS(process_vm_readv), SCMP_SYS(process_vm_writev), SCMP_SYS(init_module),
    SCMP_SYS(finit_module),     SCMP_SYS(kexec_load),        SCMP_SYS(kexec_file_load),
};

// To the dnstap reader, and away again.
constexpr std::array connecting = {
    socket_of(AF_UNIX),
    socket_of(AF_INET),
    socket_of(AF_INET6),
    AllowedCall{SCMP_SYS(connect)},
    AllowedCall{SCMP_SYS(close)},
    AllowedCall{SCMP_SYS(sendto)},
    AllowedCall{SCMP_SYS(recvfrom)},
    AllowedCall{SCMP_SYS(getsockopt)},
};

using List = std::span<const AllowedCall>;
constexpr std::array worker_lists = {List(basic), List(packets)};
constexpr std::array control_lists = {List(basic),   List(packets), List(descriptors), List(files),
                                      List(devices), List(ending),  List(listening)};
constexpr std::array lane_lists = {List(basic), List(packets), List(descriptors), List(sockets)};
constexpr std::array saver_lists = {List(basic), List(files), List(saving)};
// More than any kind whose threads may have been helpers before: workers and lanes.
constexpr std::array helper_lists = {List(basic),   List(packets), List(descriptors), List(files),
                                     List(devices), List(threads), List(sockets)};
constexpr std::array dnstap_lists = {List(basic), List(connecting)};

}  // namespace

std::span<const std::span<const AllowedCall>> allowed_calls(ThreadKind kind) noexcept {
  switch (kind) {
    case ThreadKind::worker:
      return worker_lists;
    case ThreadKind::control:
      return control_lists;
    case ThreadKind::lane:
      return lane_lists;
    case ThreadKind::saver:
      return saver_lists;
    case ThreadKind::helper:
      return helper_lists;
    case ThreadKind::dnstap:
      return dnstap_lists;
  }
  return worker_lists;
}
std::span<const AllowedCall> xdp_calls() noexcept {
  return bpf;
}
std::span<const AllowedCall> pci_calls() noexcept {
  return pci;
}
std::span<const AllowedCall> shared_memory_calls() noexcept {
  return shared_memory;
}
std::span<const int> deadly_calls() noexcept {
  return deadly;
}

}  // namespace pharos::dataplane
