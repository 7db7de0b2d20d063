// TcpStream: the bytes of one TCP connection as DNS messages, both ways (RFC 1035, 4.2.2). Pure: no socket, no clock.
//
//   received bytes --> | length (2) | message | length (2) | message ... --> next(), one whole message at a time
//   reply()        --> | length (2) | reply   | ...                      --> output(), as far as the peer takes it
//
// Segments may hold any part of any number of messages. Both buffers are bounded: room() says how much may be received,
// and there is none, nor a next message, while replies wait for the peer (backpressure). A connection with nothing
// under way holds no buffer at all, so that ten thousand idle ones cost nothing. One thread.
#pragma once

#include "pharos/base/bytes.hh"
#include "pharos/wire/dns.hh"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace pharos::dataplane {

class TcpStream {
 public:
  static constexpr std::size_t prefix_bytes = 2;
  // Holds at least one whole message, so that a stream can always go on.
  static constexpr std::size_t input_bytes_max = 2 * (prefix_bytes + dns::message_bytes_max);
  // What one burst's replies are meant to stay within; see burst_messages().
  static constexpr std::size_t burst_bytes_max = 128U << 10;

  // ---- input ----

  // Bytes that may be received now.
  [[nodiscard]] std::size_t room() const noexcept;
  // Appends what came; at most room() bytes.
  void receive(ConstBytes segment);

  enum class Next : std::uint8_t {
    message,  // taken
    none,     // none is whole, or replies wait for the peer
    broken,   // shorter than a header: what follows cannot be trusted, close
  };
  // Takes the next message; its bytes are good until the next call of receive() or settle().
  [[nodiscard]] Next next(ConstBytes& message) noexcept;

  // Gives the memory of taken messages back. Once a burst, when their bytes are no longer in use.
  void settle();

  // Whether a message waits that next() would take, but for replies that wait.
  [[nodiscard]] bool has_message() const noexcept;
  // Whether a message has begun and is not whole.
  [[nodiscard]] bool is_partial() const noexcept;

  // How many messages to take before replying, at most `burst_max`: as many as the largest reply so far lets
  // stay within burst_bytes_max, and at least one.
  [[nodiscard]] unsigned burst_messages(unsigned burst_max) const noexcept;

  // ---- output ----

  // Appends a reply of at most 65535 bytes.
  void reply(ConstBytes message);
  // What the peer has not taken yet, and how much of it went.
  [[nodiscard]] ConstBytes output() const noexcept;
  void sent(std::size_t bytes) noexcept;

  // Memory in buffers.
  [[nodiscard]] std::size_t held_bytes() const noexcept {
    return input_.capacity() + output_.capacity();
  }

 private:
  [[nodiscard]] std::size_t pending_bytes() const noexcept { return input_.size() - taken_; }
  [[nodiscard]] std::size_t announced_bytes() const noexcept;

  std::vector<std::byte> input_;
  std::size_t taken_ = 0;  // of input_, by next()
  std::vector<std::byte> output_;
  std::size_t sent_ = 0;  // of output_
  std::size_t reply_bytes_seen_max_ = dns::udp_payload_default_bytes;
};

}  // namespace pharos::dataplane
