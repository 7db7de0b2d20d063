// RecordRing: records of any length from one thread to another of the same process, through memory of fixed size.
//
//   producer: reserve(n) -> write n bytes -> commit()            consumer: front() -> read -> pop()
//
//   | u32 length | bytes, padded to 8 | u32 length | bytes ... |        a record never wraps: where it would, a filler
//                                                                       takes the rest of the turn
//
// One producer, one consumer, each from a thread of its own. The producer never waits and calls nothing: what has no room is
// counted and lost. Unlike shared/spsc_ring.hh, nothing crosses to another process: records are read where they lie.
#pragma once

#include "pharos/base/bytes.hh"

#include <atomic>
#include <cstdint>
#include <memory>

namespace pharos::dataplane {

class RecordRing {
 public:
  // A power of two of at least 64. All of the memory is taken and touched here.
  explicit RecordRing(std::uint64_t capacity_bytes);
  RecordRing(const RecordRing&) = delete;
  RecordRing& operator=(const RecordRing&) = delete;

  // Longest record that always fits an empty ring.
  [[nodiscard]] std::uint64_t record_bytes_max() const noexcept { return capacity_bytes_ / 2 - 8; }

  // ---- producer ----
  // Room for a record, aligned to 8; nullptr where there is none, which is counted. A reserved record that is not
  // committed does not exist.
  [[nodiscard]] std::byte* reserve(std::uint64_t bytes) noexcept;
  // Hands over the record that was reserved last; or its first `bytes`.
  void commit() noexcept { commit(length_); }
  void commit(std::uint64_t bytes) noexcept;

  // ---- consumer ----
  // The oldest record, good until pop(); nothing where there is none. Records of length 0 do not show.
  [[nodiscard]] ConstBytes front() noexcept;
  void pop() noexcept;

  // ---- any thread ----
  [[nodiscard]] std::uint64_t dropped() const noexcept {
    // relaxed: a statistic
    return dropped_.load(std::memory_order_relaxed);
  }

 private:
  // Constant after start.
  std::uint64_t capacity_bytes_;
  std::unique_ptr<std::byte[]> memory_;

  // The producer's.
  alignas(128) std::uint64_t filler_bytes_ = 0;  // in front of the reserved record
  std::uint64_t record_bytes_ = 0;               // of the reserved record, all told
  std::uint32_t length_ = 0;
  std::uint64_t consumed_seen_ = 0;        // read again only when the ring looks full
  std::atomic<std::uint64_t> dropped_{0};  // relaxed: one writer, a statistic

  // Both count bytes since the start and never wrap.
  alignas(128) std::atomic<std::uint64_t> produced_{0};  // release in commit(), acquire in front()
  alignas(128) std::atomic<std::uint64_t> consumed_{0};  // release in pop(), acquire in reserve()
};

}  // namespace pharos::dataplane
