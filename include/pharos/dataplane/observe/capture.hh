// Capture: frames of one port, copied by the workers of its queues for a reader on the machine (pharosctl capture).
//
//   before()   behind receive: copies the burst's frames aside, since replies are made in place
//   after()    behind finish_burst: hands over those that the filter takes, and the frames that answer them
//   sent()     a frame of the kernel's on its way out
//
// A worker fills the ring of its own seat; the control thread empties all. No allocation, lock or system call; a full ring
// costs the frame, which it counts. Where no capture runs none of this is called.
#pragma once

#include "pharos/base/bytes.hh"
#include "pharos/base/ip_address.hh"
#include "pharos/dataplane/observe/frame_mask.hh"
#include "pharos/dataplane/observe/record_ring.hh"
#include "pharos/dataplane/packet/frame_burst.hh"
#include "pharos/wire/name_text.hh"

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

namespace pharos::dataplane {

// Bytes of a frame that are kept: more than any MTU that is common.
inline constexpr unsigned capture_frame_bytes_max = 2048;

// Which frames. A query that is taken takes its reply with it.
struct CaptureFilter {
  enum class Reach : std::uint8_t { name, below, name_and_below };
  std::optional<dns::WireName> name;  // of the question, whatever its case
  Reach reach = Reach::name;
  std::optional<IpPrefix> client;
  std::optional<std::uint8_t> rcode;  // of the reply, as its header has it
  // Whether it asks for what only DNS has.
  [[nodiscard]] bool dns_only() const noexcept { return name.has_value() || rcode.has_value(); }
};

// In front of the frame in a record of a capture ring.
struct CapturedHead {
  std::int64_t wall_ns = 0;
  std::uint32_t frame_bytes = 0;  // on the wire; the record may hold fewer
  Direction direction = Direction::in;
  std::array<std::uint8_t, 3> reserved{};
};
static_assert(sizeof(CapturedHead) == 16);

// What one worker needs. Made by the control thread, then the worker's own, but for the ring's other end.
struct CaptureSeat {
  explicit CaptureSeat(std::uint64_t ring_bytes)
      : ring(ring_bytes),
        copies(std::make_unique<std::byte[]>(std::size_t{burst_frames_max} *
                                             capture_frame_bytes_max)) {}
  RecordRing ring;
  std::unique_ptr<std::byte[]> copies;                    // of the frames of one burst
  std::array<std::uint16_t, burst_frames_max> lengths{};  // of the frames themselves
  std::int64_t received_ns = 0;
};

struct CaptureWatch {
  std::uint16_t port = 0;  // DPDK's number of it
  std::uint16_t dns_port = 53;
  unsigned frame_bytes_max = capture_frame_bytes_max;  // kept of each
  CaptureFilter filter;
  std::optional<ClientMask> mask;  // none: addresses as they are
  std::shared_ptr<const std::vector<std::unique_ptr<CaptureSeat>>> seats;

  void before(unsigned seat, const FrameBurst& burst) const noexcept;
  void after(unsigned seat, const FrameBurst& burst) const noexcept;
  void sent(unsigned seat, ConstBytes frame) const noexcept;

 private:
  [[nodiscard]] bool takes_client(const IpAddress& client) const noexcept;
  [[nodiscard]] bool takes(const Query& query, ConstBytes request) const noexcept;
  [[nodiscard]] bool takes_other(ConstBytes frame, Direction direction) const noexcept;
  void give(CaptureSeat& seat, ConstBytes frame, unsigned frame_bytes, Direction direction,
            std::int64_t wall_ns) const noexcept;
};

}  // namespace pharos::dataplane
