#include "pharos/base/turns.hh"

#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

namespace pharos {
namespace {

// What the kernel takes, VER0; glibc 2.36 has no name for it.
struct SchedulingWish {
  std::uint32_t size_bytes = sizeof(SchedulingWish);
  std::uint32_t policy = SCHED_OTHER;
  std::uint64_t flags = 0;
  std::int32_t nice = 0;
  std::uint32_t priority = 0;
  std::uint64_t turn_ns = 0;  // 0: as long as the system's
  std::uint64_t deadline_ns = 0;
  std::uint64_t period_ns = 0;
};
static_assert(sizeof(SchedulingWish) == 48);

// Short enough to be let in before a default turn (0.7 ms and more), long enough for a whole round of the engine.
constexpr std::uint64_t short_turn_ns = 200'000;
constexpr int background_nice = 10;

void wish(int nice, std::uint64_t turn_ns) noexcept {
  SchedulingWish wanted;
  wanted.nice = nice;
  wanted.turn_ns = turn_ns;
  ::syscall(SYS_sched_setattr, 0, &wanted, 0U);
}

// Of the calling thread: Linux keeps one for each.
int own_nice() noexcept {
  return ::getpriority(PRIO_PROCESS, 0);
}

}  // namespace

void prefer_short_turns() noexcept {
  // A policy that somebody chose for us stays.
  if (::sched_getscheduler(0) == SCHED_OTHER) wish(own_nice(), short_turn_ns);
}

void work_in_background() noexcept {
  const int nice = own_nice();
  if (::sched_getscheduler(0) == SCHED_OTHER)
    wish(nice < background_nice ? background_nice : nice, 0);
}

}  // namespace pharos
