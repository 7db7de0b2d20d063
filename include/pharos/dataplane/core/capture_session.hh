// A capture that runs: its seats, and who reads it. The control thread's.
//
// One at a time. A reader that has not asked for ten seconds is taken for gone: then the capture ends by itself, so that a
// pharosctl that was killed costs the packet path nothing for long. Reloads and new tables do not touch it.
#pragma once

#include "pharos/base/clock.hh"
#include "pharos/dataplane/observe/capture.hh"

#include <cstdint>
#include <functional>
#include <string>

namespace pharos::dataplane {

inline constexpr Duration capture_reader_patience = seconds(10);

// What is asked for.
struct CaptureOrder {
  std::string port_id;
  std::uint16_t port = 0;  // DPDK's number of it
  std::uint16_t dns_port = 53;
  CaptureFilter filter;
  std::optional<ClientMask> mask;
  unsigned frame_bytes_max = capture_frame_bytes_max;
  std::uint64_t ring_bytes = 4U << 20;  // of each worker, a power of two
};

class CaptureSession {
 public:
  CaptureSession(std::uint64_t id, CaptureOrder order, unsigned seat_count, Instant now);

  [[nodiscard]] std::uint64_t id() const noexcept { return id_; }
  [[nodiscard]] const CaptureOrder& order() const noexcept { return order_; }
  [[nodiscard]] CaptureWatch watch() const;

  // Gives what waits to `take`, seat by seat, up to about `bytes_max` of frames. True: there is more.
  using Take = std::function<void(const CapturedHead&, ConstBytes frame)>;
  bool read(std::uint64_t bytes_max, Instant now, const Take& take);

  [[nodiscard]] std::uint64_t frames() const noexcept { return frames_; }  // given out
  [[nodiscard]] std::uint64_t dropped() const;
  [[nodiscard]] bool is_forsaken(Instant now) const noexcept {
    return now - last_read_ > capture_reader_patience;
  }

 private:
  std::uint64_t id_;
  CaptureOrder order_;
  std::shared_ptr<const std::vector<std::unique_ptr<CaptureSeat>>> seats_;
  Instant last_read_;
  std::uint64_t frames_ = 0;
};

}  // namespace pharos::dataplane
