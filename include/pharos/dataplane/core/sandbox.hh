// The sandbox: what each kind of thread may still ask of the kernel once the data plane serves.
//
//   start, with all rights            prepare_sandbox   filters made, no thread has one yet
//   each thread of ours, first thing  enter_sandbox     its own filter, for good; threads that it starts inherit it
//   EAL's helper threads              confine_threads   (privileges.hh) makes them enter by a signal
//
// Lists by thread kind stand in sandbox_calls.cc. A call that is not on the list fails with EPERM and is counted: a call
// that we forgot costs a feature and raises an alarm, not the service. Calls that only an intruder makes (execve, ptrace,
// reading another process's memory, loading a kernel module) end the process at once.
//
// Lists look at numbers and flags, never at memory: a filter cannot follow pointers. So no thread kind but `saver` may
// open a file for writing, and none may map or make memory executable.
#pragma once

#include "pharos/base/error.hh"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace pharos::dataplane {

enum class ThreadKind : std::uint8_t {
  worker,   // polls ports: rings, a wake-up of the driver, a wait
  control,  // adopts tables, answers commands, reads the configuration again, closes ports
  lane,     // serves sockets that were opened before it entered
  saver,    // writes tables to the state directory
  helper,   // EAL's own: interrupts, telemetry
  dnstap,   // sends copies of messages to the dnstap reader
};
inline constexpr unsigned thread_kind_count = 6;
[[nodiscard]] std::string_view name_of(ThreadKind kind) noexcept;

// What the ports of this configuration need beyond the lists.
struct SandboxNeeds {
  bool xdp = false;  // closing an AF_XDP port detaches its program: bpf(2)
  bool pci = false;  // interrupts of a NIC are switched through its configuration space: pwrite
  bool shared_memory = false;  // memif, vhost, virtio-user: peers connect later, in a helper thread
};

// Builds with sanitizers make calls of their own: there every call below does nothing, and the start says so.
[[nodiscard]] bool sandbox_is_possible() noexcept;

// Makes the filters and takes SIGSYS. Once, before any thread enters. Errors: unavailable (the kernel has no seccomp
// filters), exhausted.
[[nodiscard]] Status prepare_sandbox(const SandboxNeeds& needs);

// The calling thread gets the filter of `kind`, on top of what it has, and can never gain privileges again. Does nothing
// without prepare_sandbox(). Async-signal-safe. Errors: errno's number; 0 is success.
[[nodiscard]] int enter_sandbox_raw(ThreadKind kind) noexcept;
// The same for a thread's first lines: a failure is logged.
void enter_sandbox(ThreadKind kind) noexcept;

// The kind that this thread has entered as; `entered` false: none yet.
struct SandboxPlace {
  ThreadKind kind = ThreadKind::helper;
  bool entered = false;
};
[[nodiscard]] SandboxPlace sandbox_place() noexcept;

struct RefusedCall {
  ThreadKind kind;
  int number;
  std::string name;  // "openat"
  std::uint64_t count;
};
// Every distinct call that was refused since the start. Any thread.
[[nodiscard]] std::vector<RefusedCall> refused_calls();

}  // namespace pharos::dataplane
