#include "pharos/base/thread.hh"

#include <signal.h>

#include <gtest/gtest.h>

#include <string>

namespace pharos {
namespace {

bool blocked(int signal) {
  sigset_t mask;
  ::pthread_sigmask(SIG_SETMASK, nullptr, &mask);
  return sigismember(&mask, signal) == 1;
}

TEST(ThreadTest, TakesNoSignalsFromItsFirstLineOn) {
  std::string seen;
  auto thread = start_quiet_thread(
      [&] { seen += blocked(SIGTERM) ? "start " : "signals at its start "; },
      [&] { seen += blocked(SIGHUP) ? "body" : "signals in its body"; }, "a test");
  ASSERT_TRUE(thread) << thread.error().text();
  thread->join();
  EXPECT_EQ(seen, "start body");
  EXPECT_FALSE(blocked(SIGTERM)) << "the caller's own mask stays";
}

TEST(ThreadTest, NeedsNothingToRunFirst) {
  bool ran = false;
  auto thread = start_quiet_thread({}, [&] { ran = true; }, "a test");
  ASSERT_TRUE(thread) << thread.error().text();
  thread->join();
  EXPECT_TRUE(ran);
}

}  // namespace
}  // namespace pharos
