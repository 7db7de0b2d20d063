// Simulated time: what happens next, in the order of time; what falls on the same instant, in the order in which it was
// planned. Nothing else moves the clock.
#pragma once

#include "pharos/base/clock.hh"

#include <algorithm>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

namespace pharos::sim {

class Events {
 public:
  explicit Events(Instant begin) noexcept : now_(begin) {}

  [[nodiscard]] Instant now() const noexcept { return now_; }

  // What lies in the past happens next.
  void at(Instant when, std::function<void()> action) {
    heap_.push_back({std::max(when, now_), order_++, std::move(action)});
    std::ranges::push_heap(heap_, later);
  }
  void in(Duration time, std::function<void()> action) { at(now_ + time, std::move(action)); }

  // Lets the next event happen, if it is due until then. False: none is.
  bool run_next(Instant until) {
    if (heap_.empty() || heap_.front().when > until) {
      now_ = std::max(now_, until);
      return false;
    }
    std::ranges::pop_heap(heap_, later);
    auto event = std::move(heap_.back());
    heap_.pop_back();
    now_ = event.when;
    event.action();
    return true;
  }

 private:
  struct Event {
    Instant when;
    std::uint64_t order;
    std::function<void()> action;
  };
  static bool later(const Event& a, const Event& b) noexcept {
    return a.when != b.when ? a.when > b.when : a.order > b.order;
  }

  Instant now_;
  std::uint64_t order_ = 0;
  std::vector<Event> heap_;
};

}  // namespace pharos::sim
