// Frames between a port's queue and a FrameBurst, with the mbufs that carry them. The only place where the packet
// path touches DPDK; called by workers, once per queue and turn, so that core/ needs no rte_*.
//
// An mbuf has one owner: the port until receive_burst, the MbufBurst until transmit_burst, which gives every one of
// them back, to the port or to its pool.
#pragma once

#include "pharos/base/bytes.hh"
#include "pharos/dataplane/core/counters.hh"
#include "pharos/dataplane/packet/frame_burst.hh"

#include <array>
#include <cstdint>

struct rte_mbuf;
struct rte_mempool;

namespace pharos::dataplane::io {

// Bounded: a port that takes nothing after this many tries has its frames dropped and counted (drop_tx_full). A
// try takes about 100 ns; the rings of NICs drain 64 frames within 10 tries at 10 Gbit/s.
inline constexpr unsigned transmit_tries_max = 16;

// One queue of a port, as its worker sees it. Constant after start.
struct QueueHandle {
  std::uint16_t port = 0;
  std::uint16_t queue = 0;
  bool receive_checksum = false;
  std::uint16_t frame_bytes_max = 0;  // MTU and Ethernet header: bound of every reply
  rte_mempool* pool = nullptr;        // of this queue, for frames that are not replies
};

// The mbufs of a FrameBurst, by frame index.
struct MbufBurst {
  std::array<rte_mbuf*, burst_frames_max> mbufs;
};

// Begins `frames` and fills it with what the queue has, up to burst_frames_max. Returns their number.
unsigned receive_burst(const QueueHandle& queue, FrameBurst& frames, MbufBurst& mbufs) noexcept;

// Sends sends() in order, frees the rest, counts with count_sent(). Every frame of the burst is consumed.
void transmit_burst(const QueueHandle& queue, FrameBurst& frames, MbufBurst& mbufs,
                    CoreCounters& counters) noexcept;

// Frames that are not replies, on their way out of a queue: copied into mbufs of its own pool. A worker, on its stack.
class OutgoingBurst {
 public:
  explicit OutgoingBurst(const QueueHandle& queue) noexcept : queue_(queue) {}
  ~OutgoingBurst() { (void)send(); }
  OutgoingBurst(const OutgoingBurst&) = delete;
  OutgoingBurst& operator=(const OutgoingBurst&) = delete;

  [[nodiscard]] bool full() const noexcept { return count_ == mbufs_.size(); }
  // False: longer than the port takes, or the pool is empty. Not when full().
  [[nodiscard]] bool add(ConstBytes frame) noexcept;
  // Sends what was added; returns how many frames the port took, the others are freed.
  [[nodiscard]] unsigned send() noexcept;

 private:
  const QueueHandle& queue_;
  unsigned count_ = 0;
  std::array<rte_mbuf*, 32> mbufs_;
};

}  // namespace pharos::dataplane::io
