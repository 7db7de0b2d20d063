// A ring of slots with two ever-growing positions; each side caches the other's and looks again
// only at an edge.
#include "pharos/controlplane/ingest/beacon_queue.hh"

#include "pharos/base/assert.hh"

#include <bit>
#include <utility>

namespace pharos::controlplane {

BeaconQueue::BeaconQueue(std::uint32_t capacity) : slots_(capacity) {
  REQUIRE(std::has_single_bit(capacity));
}

bool BeaconQueue::push(AcceptedBeacon& beacon) noexcept {
  const auto at = pushed_.load(std::memory_order_relaxed);  // relaxed: ours
  if (at - popped_seen_ == slots_.size()) {
    popped_seen_ = popped_.load(std::memory_order_acquire);  // partner: the release in pop()
    if (at - popped_seen_ == slots_.size()) return false;
  }
  std::swap(slots_[at & (slots_.size() - 1)], beacon);
  pushed_.store(at + 1, std::memory_order_release);  // partner: the acquire in pop()
  return true;
}

bool BeaconQueue::pop(AcceptedBeacon& out) noexcept {
  const auto at = popped_.load(std::memory_order_relaxed);  // relaxed: ours
  if (at == pushed_seen_) {
    pushed_seen_ = pushed_.load(std::memory_order_acquire);  // partner: the release in push()
    if (at == pushed_seen_) return false;
  }
  std::swap(slots_[at & (slots_.size() - 1)], out);
  popped_.store(at + 1, std::memory_order_release);  // partner: the acquire in push()
  return true;
}

}  // namespace pharos::controlplane
