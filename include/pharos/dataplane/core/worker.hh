// A worker: one core's poll loop over its queues.
//
//   for each queue: receive -> classify -> beacons and exceptions to their rings -> serve -> finish -> transmit -> count
//                   and, with an exception interface, the kernel's frames from its ring to the port
//   then:           mailbox (new options, wall time) -> one quiescent state -> idle policy
//
// The control thread makes it, launches run() on the worker's core, and from then on touches only what is marked
// shared. After start-up a turn makes no allocation, no lock and, but for the sleep of the adaptive policy and what
// the port's driver does, no system call.
#pragma once

#include "pharos/config/model.hh"
#include "pharos/dataplane/core/counters.hh"
#include "pharos/dataplane/core/idle.hh"
#include "pharos/dataplane/core/rcu.hh"
#include "pharos/dataplane/dns/serve.hh"
#include "pharos/dataplane/io/burst.hh"
#include "pharos/dataplane/lane/exception_queue.hh"
#include "pharos/dataplane/observe/name_sampler.hh"
#include "pharos/dataplane/observe/observer.hh"
#include "pharos/dataplane/packet/frame_burst.hh"
#include "pharos/dataplane/packet/interface.hh"
#include "pharos/dataplane/table/root.hh"
#include "pharos/shared/spsc_ring.hh"

#include <poll.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

namespace pharos::dataplane {

// What the control thread tells all workers. One per process, RCU-published or atomic.
struct Published {
  RcuPointer<const TableRoot> root;  // workers load it once a burst
  RcuPointer<const Watch> watch;     // as well; null: nobody looks
  // Read by workers once a turn; relaxed: a stop or a second seen one turn later is as good.
  std::atomic<bool> stop{false};
  std::atomic<std::uint32_t> wall_s{0};
};

// Makes `next` what workers load, and returns when none of them can hold the former one. Control thread.
void publish_root(Published& published, const TableRoot* next) noexcept;

// A queue with all that a worker needs to serve it. Constant after start.
struct ServedQueue {
  io::QueueHandle handle;
  const Interface* interface = nullptr;  // outlives the worker
  config::IdlePolicy idle = config::IdlePolicy::poll;
  int doorbell = -1;  // adaptive: where to wait for frames; -1: sleep and look
  // To and from the port's exception interface; nullptr: it has none. Outlives the worker.
  ExceptionQueue* exceptions = nullptr;
};

struct WorkerSettings {
  unsigned index = 0;
  unsigned core = 0;
  std::vector<ServedQueue> queues;  // at least one
  // Takes beacons, demand, and queries that policies want logged. None: none of them is taken.
  std::optional<RingProducer> beacons;
  double cycles_per_us = 1000.0;  // of the time stamp counter
  // Where samples of names go, and how many a second; nullptr: nowhere. Outlives the worker.
  RecordRing* names = nullptr;
  unsigned name_samples_per_second = 0;
};

class Worker {
 public:
  Worker(WorkerSettings settings, const Published& published, const ServeOptions& options);
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // The loop; returns after Published::stop. On the worker's own core.
  void run() noexcept;

  // ---- control thread ----
  [[nodiscard]] unsigned index() const noexcept { return settings_.index; }
  [[nodiscard]] unsigned core() const noexcept { return settings_.core; }
  [[nodiscard]] const std::vector<ServedQueue>& queues() const noexcept { return settings_.queues; }
  [[nodiscard]] const CoreCounters& counters() const noexcept { return counters_; }
  [[nodiscard]] int beacon_ring_fd() const noexcept {
    return settings_.beacons ? settings_.beacons->fd() : -1;
  }
  // Time stamp cycles spent in turns that received something, and in all turns; relaxed: statistics.
  [[nodiscard]] std::uint64_t busy_cycles() const noexcept {
    return busy_cycles_.load(std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t total_cycles() const noexcept {
    return total_cycles_.load(std::memory_order_relaxed);
  }

  // Puts a serve state with `options` in place and returns the former one: free it after a grace period.
  [[nodiscard]] std::unique_ptr<ServeState> exchange_options(const ServeOptions& options);

 private:
  unsigned turn() noexcept;
  unsigned serve_queue(const ServedQueue& queue, ServeState& state) noexcept;
  void forward_beacons() noexcept;
  void forward_exceptions(ExceptionQueue& exceptions) noexcept;
  unsigned send_kernel_frames(const ServedQueue& queue) noexcept;
  [[nodiscard]] bool kernel_frames_wait() noexcept;
  void account(unsigned received) noexcept;
  void sleep(RcuReader& reader, std::uint32_t sleep_us) noexcept;
  void wait_at_doorbells() noexcept;

  // Constant after start.
  WorkerSettings settings_;  // but for the ring producer, which is the worker's own
  const Published& published_;
  double ns_per_cycle_;
  bool may_sleep_;
  std::vector<pollfd> doorbells_;  // of all queues, or of none

  // RCU: exchanged by the control thread, freed after a grace period.
  RcuPointer<ServeState> serve_state_;

  // The worker's own.
  FrameBurst frames_;
  io::MbufBurst mbufs_{};
  IdleGovernor idle_;
  std::uint64_t turn_started_cycles_ = 0;
  Observer observer_;
  NameSampler names_;

  // Written by the worker, read by the control thread.
  CoreCounters counters_;
  std::atomic<std::uint64_t> busy_cycles_{0};
  std::atomic<std::uint64_t> total_cycles_{0};
};

// Time stamp cycles in a microsecond, measured over a few milliseconds. At start-up.
[[nodiscard]] double measure_cycles_per_us();

}  // namespace pharos::dataplane
