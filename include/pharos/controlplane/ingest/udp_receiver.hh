// A kernel UDP socket that is read in batches (recvmmsg). One thread; never blocks; its buffers are
// made once.
#pragma once

#include "pharos/base/bytes.hh"
#include "pharos/base/error.hh"
#include "pharos/base/fd.hh"
#include "pharos/config/model.hh"

#include <cstdint>
#include <memory>
#include <span>

namespace pharos::controlplane {

class UdpReceiver {
 public:
  static constexpr unsigned batch_datagrams = 64;

  struct Batch {
    std::span<const ConstBytes> datagrams;  // valid until the next receive()
    unsigned truncated = 0;                 // longer than a beacon can be; not among `datagrams`
    std::uint32_t dropped =
        0;  // by the kernel because the buffer was full, since the last look at its count
    bool failed = false;  // the call failed for another reason than having nothing
    bool more = false;    // the batch was full: there may be more
  };

  // Binds `address` (port 0: any). IPv6 sockets take IPv6 only, so that 0.0.0.0 and :: can both be
  // listed. Errors: unavailable.
  [[nodiscard]] static Result<UdpReceiver> open(const config::SocketAddress& address,
                                                int buffer_bytes);
  UdpReceiver(UdpReceiver&&) noexcept;
  UdpReceiver& operator=(UdpReceiver&&) noexcept;
  ~UdpReceiver();

  [[nodiscard]] Batch receive() noexcept;
  [[nodiscard]] int fd() const noexcept { return fd_.get(); }
  [[nodiscard]] config::SocketAddress address() const noexcept { return address_; }

 private:
  struct Buffers;
  UdpReceiver(UniqueFd fd, config::SocketAddress address);
  [[nodiscard]] std::uint32_t new_drops() noexcept;

  UniqueFd fd_;
  config::SocketAddress address_;
  std::uint32_t dropped_total_ = 0;
  unsigned unseen_ = 0;  // datagrams since the last look at the count of drops
  std::unique_ptr<Buffers> buffers_;
};

}  // namespace pharos::controlplane
