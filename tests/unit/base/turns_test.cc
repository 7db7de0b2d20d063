#include "pharos/base/turns.hh"

#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <thread>

namespace pharos {
namespace {

struct Scheduling {
  int nice = 0;
  std::uint64_t turn_ns = 0;  // 0: the kernel does not tell
};

Scheduling scheduling_of_this_thread() {
  std::array<std::uint8_t, 48> attributes{};  // struct sched_attr, VER0
  EXPECT_EQ(::syscall(SYS_sched_getattr, 0, attributes.data(), attributes.size(), 0U), 0);
  Scheduling found{::getpriority(PRIO_PROCESS, 0), 0};
  std::memcpy(&found.turn_ns, attributes.data() + 24, sizeof found.turn_ns);
  return found;
}

template <typename Body>
void on_a_thread(Body body) {
  std::thread(body).join();
}

TEST(TurnsTest, WhoPrefersShortTurnsKeepsItsShareOfTheCore) {
  on_a_thread([] {
    ASSERT_EQ(::setpriority(PRIO_PROCESS, 0, ::getpriority(PRIO_PROCESS, 0) + 1), 0);
    const auto before = scheduling_of_this_thread();
    prefer_short_turns();
    const auto after = scheduling_of_this_thread();
    EXPECT_EQ(after.nice, before.nice);
    EXPECT_EQ(::sched_getscheduler(0), SCHED_OTHER);
    // Kernels before 6.12 tell nothing, and change nothing.
    if (before.turn_ns != 0) {
      EXPECT_EQ(after.turn_ns, 200'000U);
    } else {
      EXPECT_EQ(after.turn_ns, 0U);
    }
  });
}

TEST(TurnsTest, ThreadsStartedByOneInAHurryAreInAHurry) {
  on_a_thread([] {
    prefer_short_turns();
    const auto own = scheduling_of_this_thread();
    on_a_thread([own] { EXPECT_EQ(scheduling_of_this_thread().turn_ns, own.turn_ns); });
  });
}

TEST(TurnsTest, WhoWorksInTheBackgroundGivesWayAndTakesLongTurns) {
  on_a_thread([] {
    const auto before = scheduling_of_this_thread();
    prefer_short_turns();
    work_in_background();
    const auto after = scheduling_of_this_thread();
    EXPECT_EQ(after.nice, before.nice < 10 ? 10 : before.nice);
    EXPECT_EQ(after.turn_ns, before.turn_ns);
  });
}

TEST(TurnsTest, WhoIsBehindTheBackgroundStaysThere) {
  on_a_thread([] {
    ASSERT_EQ(::setpriority(PRIO_PROCESS, 0, 15), 0);
    work_in_background();
    EXPECT_EQ(scheduling_of_this_thread().nice, 15);
  });
}

TEST(TurnsTest, APolicyThatWasChosenStays) {
  on_a_thread([] {
    const sched_param none{};
    ASSERT_EQ(::sched_setscheduler(0, SCHED_BATCH, &none), 0);
    prefer_short_turns();
    work_in_background();
    EXPECT_EQ(::sched_getscheduler(0), SCHED_BATCH);
  });
}

}  // namespace
}  // namespace pharos
