// The lock-free queue between ingest and the engine: bounded, one producer thread, one consumer
// thread.
//
// Elements travel by swap: the producer's spent beacon comes back out of a slot when it pushes, the
// consumer's when it pops. Their endpoint vectors therefore circulate, and steady traffic allocates
// nothing.
#pragma once

#include "pharos/controlplane/ingest/beacon_gate.hh"

#include <atomic>
#include <cstdint>
#include <vector>

namespace pharos::controlplane {

class BeaconQueue {
 public:
  // `capacity`: a power of two.
  explicit BeaconQueue(std::uint32_t capacity);

  // Producer. Swaps `beacon` in; false where the queue is full, and then `beacon` is as it was.
  [[nodiscard]] bool push(AcceptedBeacon& beacon) noexcept;
  // Consumer. Swaps the oldest out; false where the queue is empty.
  [[nodiscard]] bool pop(AcceptedBeacon& out) noexcept;

  [[nodiscard]] std::uint32_t capacity() const noexcept {
    return static_cast<std::uint32_t>(slots_.size());
  }

 private:
  std::vector<AcceptedBeacon> slots_;  // size constant after construction
  // Release by the producer after it has filled a slot, acquire by the consumer before it reads
  // one.
  alignas(64) std::atomic<std::uint64_t> pushed_{0};
  std::uint64_t popped_seen_ = 0;  // the producer's last look at popped_
  // Release by the consumer after it has emptied a slot, acquire by the producer before it refills
  // one.
  alignas(64) std::atomic<std::uint64_t> popped_{0};
  std::uint64_t pushed_seen_ = 0;  // the consumer's last look at pushed_
};

}  // namespace pharos::controlplane
