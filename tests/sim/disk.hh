// The disk of a simulated control plane: what Store keeps, under a disk that takes its time.
//
// Writes become durable in their order, each some time after it was made; a crash loses those that are not yet, as
// SQLite's log does (store/store.cc: one thread, one transaction at a time). A failing disk forgets what it is given.
#pragma once

#include "pharos/base/clock.hh"
#include "pharos/controlplane/store/store.hh"

#include <deque>
#include <functional>
#include <map>
#include <string>
#include <utility>

namespace pharos::sim {

class Disk {
 public:
  using Write = std::function<void(controlplane::Remembered&)>;

  // Durable at `when`, not before what was written earlier.
  void write(Instant when, Write change, std::function<void()> done = {}) {
    if (!queue_.empty()) when = std::max(when, queue_.back().when);
    queue_.push_back({when, std::move(change), std::move(done)});
  }
  // Makes durable what is due.
  void settle(Instant now) {
    while (!queue_.empty() && queue_.front().when <= now) {
      auto write = std::move(queue_.front());
      queue_.pop_front();
      write.change(kept_);
      kept_.lost = kept_.version == Version{};
      if (write.done) write.done();
    }
  }
  void crash(Instant now) {
    settle(now);
    queue_.clear();
  }
  // The file is gone: a new disk, or a damaged database that was moved aside.
  void lose() {
    queue_.clear();
    kept_ = {};
    kept_.lost = true;
  }
  // In force after settle().
  [[nodiscard]] const controlplane::Remembered& kept() const noexcept { return kept_; }
  [[nodiscard]] Instant due() const noexcept {
    return queue_.empty() ? controlplane::never : queue_.front().when;
  }

 private:
  struct Queued {
    Instant when;
    Write change;
    std::function<void()> done;
  };
  std::deque<Queued> queue_;
  controlplane::Remembered kept_ = [] {
    controlplane::Remembered fresh;
    fresh.lost = true;
    return fresh;
  }();
};

}  // namespace pharos::sim
