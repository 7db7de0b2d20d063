// A single-producer, single-consumer ring of byte records in shared memory: beacon datagrams and query
// samples on their way from a worker core to the control plane.
//
// Neither side trusts the other. Each keeps its own position privately and only reads the other's from
// the shared page, bounded before use: a broken peer costs records, never memory safety. A full ring
// drops the new record and counts it; nobody ever waits.
//
//   0          64          128         192                 capacity_bytes (a power of two)
//   +----------+-----------+-----------+--------------------------------------------+
//   | identity | produced  | consumed  | records: u32 length, u32 kind, bytes, pad 8 |
//   | (fixed)  | + dropped |           |                                            |
//   +----------+-----------+-----------+--------------------------------------------+
//
// A record never wraps: where it would, a filler of kind 0 takes the rest of the turn.
#pragma once

#include "pharos/base/bytes.hh"
#include "pharos/base/error.hh"
#include "pharos/base/fd.hh"

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>

namespace pharos {

struct RingHeader {
  std::uint64_t magic;
  std::uint32_t format_version;
  std::uint32_t reserved0;
  std::uint64_t capacity_bytes;
  std::byte pad0[40];
  std::atomic<std::uint64_t> produced_bytes;   // release by the producer, acquire by the consumer
  std::atomic<std::uint64_t> dropped_records;  // relaxed: a statistic
  std::byte pad1[48];
  std::atomic<std::uint64_t> consumed_bytes;  // release by the consumer, acquire by the producer
  std::byte pad2[56];
};
static_assert(sizeof(RingHeader) == 192 && std::atomic<std::uint64_t>::is_always_lock_free);
static_assert(offsetof(RingHeader, produced_bytes) == 64 &&
              offsetof(RingHeader, consumed_bytes) == 128);

inline constexpr std::uint64_t ring_magic = 0x474e495253524850;  // "PHRSRING"
inline constexpr std::uint32_t ring_format_version = 1;
inline constexpr std::uint32_t ring_record_bytes_max = 2048;
inline constexpr std::uint64_t ring_capacity_bytes_min = 1U << 14;
inline constexpr std::uint64_t ring_capacity_bytes_max = 1U << 28;

struct RingRecordHeader {
  std::uint32_t length;  // of the bytes behind this header
  std::uint32_t kind;    // 0: filler
};
static_assert(sizeof(RingRecordHeader) == 8);

// `frame` never leaves its process: the rings between a worker and its exception interface.
enum class RingRecordKind : std::uint32_t {
  filler = 0,
  beacon = 1,
  query_sample = 2,
  frame = 3,
  demand = 4
};

// In front of the datagram in a beacon record.
struct BeaconArrival {
  std::int64_t received_ns;   // CLOCK_MONOTONIC of the burst that brought it
  std::uint8_t source[16];    // IpAddress bytes
  std::uint16_t source_port;  // host order
  std::uint16_t worker;
  std::uint32_t reserved;
};
static_assert(sizeof(BeaconArrival) == 32);

class RingProducer {
 public:
  // Makes a ring in a new memfd, sealed in its size. capacity_bytes: a power of two within the limits.
  // Errors: unavailable, invalid.
  [[nodiscard]] static Result<RingProducer> create(std::uint64_t capacity_bytes, const char* name);

  [[nodiscard]] int fd() const noexcept { return fd_.get(); }  // for the consumer, over SCM_RIGHTS

  // Appends head and body as one record; false (and counted) when there is no room, or together they are longer
  // than ring_record_bytes_max. Hot: no calls, no waiting.
  bool push(RingRecordKind kind, ConstBytes head, ConstBytes body) noexcept;
  // Whether half of the ring is free: for what must leave room to others.
  [[nodiscard]] bool is_half_free() noexcept { return make_room(capacity_bytes_ / 2); }

 private:
  [[nodiscard]] bool make_room(std::uint64_t needed_bytes) noexcept;

  UniqueFd fd_;
  Mapping mapping_;
  RingHeader* header_ = nullptr;
  std::byte* records_ = nullptr;
  std::uint64_t capacity_bytes_ = 0;
  std::uint64_t produced_bytes_ = 0;       // ours; the shared one only mirrors it
  std::uint64_t consumed_bytes_seen_ = 0;  // read again only when the ring looks full
  std::uint64_t dropped_records_ = 0;
};

class RingConsumer {
 public:
  // Attaches to a producer's memfd; proves identity and size, and that it cannot shrink under us. Continues behind
  // what the last consumer released. Errors: invalid, unsupported, unavailable.
  [[nodiscard]] static Result<RingConsumer> attach(UniqueFd fd);

  struct Record {
    RingRecordKind kind;
    // A private copy, which the producer cannot change; good until the next pop().
    ConstBytes bytes;
  };
  // The next record, or nothing. A record that breaks the format counts as one fault and skips all that the ring
  // holds. It is copied out of the shared memory, so that what is verified is what is used.
  [[nodiscard]] std::optional<Record> pop() noexcept;
  // Whether nothing waits behind the last record popped. A hint: the producer may push meanwhile.
  [[nodiscard]] bool empty() const noexcept {
    // acquire: pairs with the producer's store in push()
    return header_->produced_bytes.load(std::memory_order_acquire) == consumed_bytes_;
  }
  // Gives the space of all popped records back. Once per batch.
  void release() noexcept;

  [[nodiscard]] std::uint64_t dropped_records() const noexcept {
    // relaxed: a statistic, ordered with nothing
    return header_->dropped_records.load(std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t faults() const noexcept { return faults_; }

 private:
  std::nullopt_t fault(std::uint64_t produced_bytes) noexcept;

  UniqueFd fd_;
  Mapping mapping_;
  RingHeader* header_ = nullptr;
  const std::byte* records_ = nullptr;
  std::uint64_t capacity_bytes_ = 0;
  // Behind the last record popped; the shared one follows at release().
  std::uint64_t consumed_bytes_ = 0;
  std::uint64_t faults_ = 0;
  std::array<std::byte, ring_record_bytes_max> record_{};  // the record that pop() gave out
};

}  // namespace pharos
