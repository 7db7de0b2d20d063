// Frames in, DNS queries out; replies in, frames out. The packet half of a worker's turn, in place.
//
//   port                       this file                 dns/serve.hh
//   receive  --frames-->  classify_burst  --queries-->  serve_burst
//   transmit <--sends---  finish_burst    <--replies--  (in the same buffers)
//                         count_sent
//
// One FrameBurst per worker, made at start-up and reused: begin(), add() for every frame, then the
// calls in the order above. Beacons and exceptions are lists for the caller to work off between
// classify and finish. Knows bytes only, no rte_*; allocates nothing. The caller keeps its buffers
// by frame index.
#pragma once

#include "pharos/base/assert.hh"
#include "pharos/base/bytes.hh"
#include "pharos/base/ip_address.hh"
#include "pharos/dataplane/core/counters.hh"
#include "pharos/dataplane/dns/serve.hh"
#include "pharos/dataplane/packet/interface.hh"

#include <array>
#include <cstdint>
#include <span>

namespace pharos::dataplane {

inline constexpr unsigned burst_frames_max = burst_queries_max;

// Frame::receive_flags: what the port has verified. Without them, software verifies.
namespace receive_flag {
inline constexpr std::uint8_t ipv4_checksum_good = 1U << 0;
inline constexpr std::uint8_t udp_checksum_good = 1U << 1;
}  // namespace receive_flag

// Frame::transmit_flags: what the port still has to do for a frame that is sent. Fewer than 8
// combinations.
namespace transmit_flag {
inline constexpr std::uint8_t ipv6 = 1U << 0;           // of the two, which the headers are
inline constexpr std::uint8_t ipv4_checksum = 1U << 1;  // the field is zero
// The field holds the sum of the pseudo header.
inline constexpr std::uint8_t udp_checksum = 1U << 2;
}  // namespace transmit_flag

struct Frame {
  // Set by add():
  std::byte* data = nullptr;  // destination MAC; contiguous
  std::uint16_t length = 0;   // received, then of the reply; without the frame check sequence
  // Bytes from `data` that a reply may take; query_slack_bytes more are writable.
  std::uint16_t room = 0;
  std::uint8_t receive_flags = 0;

  // Set by classify_burst, and by finish_burst for replies:
  std::uint8_t transmit_flags = 0;
  Verdict verdict = Verdict::exception;
  std::uint8_t ip_offset = 0;  // also the length of Ethernet header and tags
  std::uint8_t ip_header_bytes = 0;
};

struct BeaconDatagram {
  IpAddress source;
  std::uint16_t source_port = 0;  // host order
  ConstBytes bytes;               // good until the frame is released
};

struct FrameBurst {
  // Filled by add():
  unsigned frame_count = 0;
  std::array<Frame, burst_frames_max> frames;

  // Filled by classify_burst. Lists of frame indices stand beside their counts.
  unsigned query_count = 0;
  unsigned beacon_count = 0;
  unsigned exception_count = 0;
  unsigned local_reply_count = 0;
  std::array<std::uint8_t, burst_frames_max> query_frames;
  std::array<std::uint8_t, burst_frames_max> exception_frames;
  std::array<std::uint8_t, burst_frames_max> local_reply_frames;
  std::array<Query, burst_queries_max> query_slots;
  std::array<BeaconDatagram, burst_frames_max> beacon_slots;

  // Filled by finish_burst: every frame is in exactly one of sends, releases and exceptions.
  unsigned answer_count = 0;  // DNS replies come first among the sends, then local replies
  unsigned send_count = 0;
  unsigned release_count = 0;
  std::array<std::uint8_t, burst_frames_max> send_frames;
  std::array<std::uint8_t, burst_frames_max> release_frames;

  void begin() noexcept { frame_count = 0; }
  void add(std::byte* data, unsigned length, unsigned room, std::uint8_t receive_flags) noexcept {
    ASSERT(frame_count < burst_frames_max);
    ASSERT(length <= 0xffff && room <= 0xffff);
    Frame& frame = frames[frame_count++];
    frame.data = data;
    frame.length = static_cast<std::uint16_t>(length);
    frame.room = static_cast<std::uint16_t>(room);
    frame.receive_flags = receive_flags;
  }

  [[nodiscard]] std::span<Query> queries() noexcept { return {query_slots.data(), query_count}; }
  [[nodiscard]] std::span<const BeaconDatagram> beacons() const noexcept {
    return {beacon_slots.data(), beacon_count};
  }
  [[nodiscard]] std::span<const std::uint8_t> exceptions() const noexcept {
    return {exception_frames.data(), exception_count};
  }
  [[nodiscard]] std::span<const std::uint8_t> sends() const noexcept {
    return {send_frames.data(), send_count};
  }
  [[nodiscard]] std::span<const std::uint8_t> releases() const noexcept {
    return {release_frames.data(), release_count};
  }
};

// Sorts the frames of `burst` into queries(), beacons(), exceptions(), local replies (written in
// place) and drops. Counts received_packets and received_bytes, queries by family, and the verdict
// of every frame that ends here: drops and exceptions. Verdicts of beacons are the caller's, of
// queries serve_burst's.
void classify_burst(const Interface& interface, FrameBurst& burst, CoreCounters& counters) noexcept;

// Turns the answered queries into frames to send and makes the lists of sends and releases. `room`
// bounds every reply. Beacons are among the releases: push them before freeing.
void finish_burst(const Interface& interface, FrameBurst& burst) noexcept;

// Counts what the port took of sends(), which it takes in order: answered, local_reply,
// sent_packets, sent_bytes for the first `taken`, drop_tx_full for the rest.
void count_sent(const FrameBurst& burst, unsigned taken, CoreCounters& counters) noexcept;

}  // namespace pharos::dataplane
