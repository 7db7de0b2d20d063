#include "pharos/controlplane/engine/assigner.hh"

#include "pharos/base/assert.hh"

#include <pthread.h>

#include <utility>

namespace pharos::controlplane {

void Assigner::start() {
  thread_ = std::thread([this] { run(); });
  ::pthread_setname_np(thread_.native_handle(), "assigner");
}

void Assigner::stop() noexcept {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

bool Assigner::busy() const {
  const std::lock_guard lock(mutex_);
  return busy_;
}

void Assigner::give(AssignTask task) {
  {
    const std::lock_guard lock(mutex_);
    REQUIRE(!busy_);
    busy_ = true;
    task_.emplace(std::move(task));
  }
  wake_.notify_all();
}

void Assigner::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [&] { return stopping_ || task_.has_value(); });
    if (stopping_) return;
    AssignTask task = std::move(*task_);
    task_.reset();
    lock.unlock();
    auto assignment = assign(task.problem);
    done_(std::move(task), std::move(assignment));
    lock.lock();
    busy_ = false;
  }
}

}  // namespace pharos::controlplane
