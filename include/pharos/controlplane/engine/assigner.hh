// A thread that solves assignments, one at a time, so that the engine's rounds never wait for one.
//
// The engine's loop gives a task while it is idle; the solution goes to `done`, on the assigner's thread.
#pragma once

#include "pharos/controlplane/assign/grouping.hh"

#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>

namespace pharos::controlplane {

class Assigner {
 public:
  using Done = std::function<void(AssignTask, Assignment)>;
  explicit Assigner(Done done) : done_(std::move(done)) {}
  ~Assigner() { stop(); }
  Assigner(const Assigner&) = delete;
  Assigner& operator=(const Assigner&) = delete;

  void start();
  // Lets a task that is being solved come to its end, and hands no more on. May be called twice.
  void stop() noexcept;

  // From give() until `done` has returned.
  [[nodiscard]] bool busy() const;
  // Only while it is not busy.
  void give(AssignTask task);

 private:
  void run();

  const Done done_;
  mutable std::mutex mutex_;  // guards the next
  std::condition_variable wake_;
  std::optional<AssignTask> task_;
  bool busy_ = false;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace pharos::controlplane
