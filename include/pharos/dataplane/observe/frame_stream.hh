// FrameStream: frames to a reader over a unix socket or TCP, by the Frame Streams protocol (libfstrm), in both directions:
//
//   READY ->   <- ACCEPT   START ->   frames ->   STOP ->   <- FINISH
//
// Frames gather in a buffer and leave when it is full or flushed: a system call for many. Every wait has an end: a
// reader that neither reads nor goes away is given up. Owned by one thread.
#pragma once

#include "pharos/base/bytes.hh"
#include "pharos/base/clock.hh"
#include "pharos/base/error.hh"
#include "pharos/config/model.hh"

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

namespace pharos::dataplane {

struct FrameTarget {
  std::string path;  // of a unix socket; empty: `address`
  config::SocketAddress address;
  [[nodiscard]] std::string text() const;  // "unix:/run/dnstap.sock", "tcp:127.0.0.1:6000"
};

class FrameStream {
 public:
  // Connects and shakes hands. `stopping` makes every wait short from when it is true; it outlives the stream. Errors:
  // unavailable (nobody there, or nobody who takes `content_type`).
  [[nodiscard]] static Result<FrameStream> open(const FrameTarget& target,
                                                const std::string& content_type,
                                                const std::atomic<bool>& stopping);
  FrameStream(FrameStream&&) noexcept;
  FrameStream& operator=(FrameStream&&) noexcept;
  // Sends what waits, and an orderly end where the reader still listens.
  ~FrameStream();

  // Errors: unavailable; the stream is then of no more use.
  [[nodiscard]] Status write(ConstBytes frame);
  [[nodiscard]] Status flush();
  // Whether the reader has closed its end.
  [[nodiscard]] bool is_closed_by_peer() noexcept;
  [[nodiscard]] std::uint64_t sent_bytes() const noexcept;

 private:
  struct State;
  explicit FrameStream(std::unique_ptr<State> state) noexcept;
  std::unique_ptr<State> state_;
};

}  // namespace pharos::dataplane
