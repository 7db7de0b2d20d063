#include "pharos/base/thread.hh"

#include <pthread.h>
#include <signal.h>

#include <system_error>

namespace pharos {

Result<std::thread> start_quiet_thread(std::function<void()> on_start, std::function<void()> body,
                                       std::string where) {
  // A thread begins with the mask of the one that starts it: no signal comes between its start and its first line.
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  Result<std::thread> thread;
  try {
    thread = std::thread([on_start = std::move(on_start), body = std::move(body)] {
      if (on_start) on_start();
      body();
    });
  } catch (const std::system_error& error) {
    thread = fail(ErrorCode::unavailable, std::string("thread: ") + error.what(), std::move(where));
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return thread;
}

}  // namespace pharos
