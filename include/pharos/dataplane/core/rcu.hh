// Grace periods from liburcu QSBR, and the pointers that they guard.
//
// A reader thread lives inside an RcuReader, loads an RcuPointer once a burst, and says quiescent() once a turn, where
// it holds none of them. The control thread exchanges, waits with synchronize_rcu(), and frees. The control
// thread is no reader: it is the only writer.
//
// Pointers are std::atomic and not rcu_dereference(): liburcu's macros cast through void*, which C++ refuses for
// pointers to const, and an acquire load is the same plain load on x86. ThreadSanitizer does not see into liburcu's
// futex code, so quiescent() and synchronize_rcu() tell it what they order; other builds compile that away.
#pragma once

#include <urcu/urcu-qsbr.h>

#include <atomic>

#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif

namespace pharos::dataplane {

namespace detail {
#if defined(__SANITIZE_THREAD__)
inline char rcu_order;
inline void rcu_leave() noexcept {
  __tsan_release(&rcu_order);
}
inline void rcu_waited() noexcept {
  __tsan_acquire(&rcu_order);
}
#else
inline void rcu_leave() noexcept {}
inline void rcu_waited() noexcept {}
#endif
}  // namespace detail

template <typename T>
class RcuPointer {
 public:
  explicit RcuPointer(T* first = nullptr) noexcept : pointer_(first) {}

  // Reader: good until its next quiescent(). Acquire: pairs with the release in store() and exchange(), so that what
  // the pointer names is whole.
  [[nodiscard]] T* load() const noexcept { return pointer_.load(std::memory_order_acquire); }

  // Writer. Release: see load(). The former one may be freed after synchronize_rcu().
  void store(T* next) noexcept { pointer_.store(next, std::memory_order_release); }
  [[nodiscard]] T* exchange(T* next) noexcept {
    return pointer_.exchange(next, std::memory_order_acq_rel);
  }

 private:
  std::atomic<T*> pointer_;
};

// Waits until every reader has been quiescent since the call, or is offline or gone. Never on a reader's thread.
inline void synchronize_rcu() noexcept {
  urcu_qsbr_synchronize_rcu();
  detail::rcu_waited();
}

// Registers the calling thread as a reader for its scope.
class RcuReader {
 public:
  RcuReader() noexcept { urcu_qsbr_register_thread(); }
  ~RcuReader() {
    detail::rcu_leave();
    urcu_qsbr_unregister_thread();
  }
  RcuReader(const RcuReader&) = delete;
  RcuReader& operator=(const RcuReader&) = delete;

  // No RCU pointer is held here.
  void quiescent() noexcept {
    detail::rcu_leave();
    urcu_qsbr_quiescent_state();
  }
  // Around sleep: grace periods do not wait for this thread.
  void offline() noexcept {
    detail::rcu_leave();
    urcu_qsbr_thread_offline();
  }
  void online() noexcept { urcu_qsbr_thread_online(); }
};

}  // namespace pharos::dataplane
