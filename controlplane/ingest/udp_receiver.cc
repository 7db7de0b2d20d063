// recvmmsg, and the socket's own count of what was dropped: asked for now and then (SO_MEMINFO), since a control message with
// each datagram (SO_RXQ_OVFL) would cost each of them a tenth of its time.
#include "pharos/controlplane/ingest/udp_receiver.hh"

#include "pharos/controlplane/ingest/socket_address.hh"
#include "pharos/wire/beacon.hh"

#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string>
#include <utility>

namespace pharos::controlplane {

namespace {

// One byte more than a beacon, so that a longer datagram is seen to be longer.
constexpr std::size_t slot_bytes = beacon::datagram_bytes_max + 1;
// The count of drops is looked at after so many datagrams, and whenever a socket has been emptied.
constexpr unsigned drops_interval_datagrams = 1024;

}  // namespace

struct UdpReceiver::Buffers {
  std::array<std::array<std::byte, slot_bytes>, batch_datagrams> slots;
  std::array<iovec, batch_datagrams> vectors;
  std::array<mmsghdr, batch_datagrams> messages;
  std::array<ConstBytes, batch_datagrams> datagrams;

  // The kernel writes lengths and flags only, since neither names nor control messages are asked for.
  Buffers() noexcept {
    for (unsigned i = 0; i < batch_datagrams; ++i) {
      vectors[i] = {slots[i].data(), slot_bytes};
      messages[i] = {};
      messages[i].msg_hdr.msg_iov = &vectors[i];
      messages[i].msg_hdr.msg_iovlen = 1;
    }
  }
};

UdpReceiver::UdpReceiver(UniqueFd fd, config::SocketAddress address)
    : fd_(std::move(fd)), address_(address), buffers_(std::make_unique<Buffers>()) {}
UdpReceiver::UdpReceiver(UdpReceiver&&) noexcept = default;
UdpReceiver& UdpReceiver::operator=(UdpReceiver&&) noexcept = default;
UdpReceiver::~UdpReceiver() = default;

Result<UdpReceiver> UdpReceiver::open(const config::SocketAddress& address, int buffer_bytes) {
  const bool v4 = address.address.is_ipv4();
  const std::string where = "beacon socket " + text_of(address);
  UniqueFd fd(::socket(v4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return fail_errno("socket", where);
  const int on = 1;
  if (!v4) ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  // Without the right to force it, the kernel cuts the wish to net.core.rmem_max; a smaller buffer
  // still works.
  if (::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUFFORCE, &buffer_bytes, sizeof buffer_bytes) != 0) {
    ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &buffer_bytes, sizeof buffer_bytes);
  }
  sockaddr_storage system{};
  auto length = to_system(address, system);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&system), length) != 0)
    return fail_errno("bind", where);
  if (::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&system), &length) != 0) {
    return fail_errno("getsockname", where);
  }
  return UdpReceiver(std::move(fd), from_system(system));
}

// Datagrams dropped since the last look.
std::uint32_t UdpReceiver::new_drops() noexcept {
  unseen_ = 0;
  std::array<std::uint32_t, SK_MEMINFO_VARS> info{};
  socklen_t length = sizeof info;
  if (::getsockopt(fd_.get(), SOL_SOCKET, SO_MEMINFO, info.data(), &length) != 0) return 0;
  const auto total = info[SK_MEMINFO_DROPS];
  return total - std::exchange(dropped_total_, total);  // wraps as the kernel's count does
}

UdpReceiver::Batch UdpReceiver::receive() noexcept {
  auto& b = *buffers_;
  Batch batch;
  const int count =
      ::recvmmsg(fd_.get(), b.messages.data(), batch_datagrams, MSG_DONTWAIT, nullptr);
  if (count < 0) {
    batch.failed = errno != EAGAIN && errno != EINTR;
    if (unseen_ > 0) batch.dropped = new_drops();
    return batch;
  }
  std::size_t whole = 0;
  for (unsigned i = 0; i < static_cast<unsigned>(count); ++i) {
    if (b.messages[i].msg_len > beacon::datagram_bytes_max) {
      ++batch.truncated;
    } else {
      b.datagrams[whole++] = ConstBytes(b.slots[i]).first(b.messages[i].msg_len);
    }
  }
  unseen_ += static_cast<unsigned>(count);
  if (unseen_ >= drops_interval_datagrams) batch.dropped = new_drops();
  batch.datagrams = std::span(b.datagrams).first(whole);
  batch.more = static_cast<unsigned>(count) == batch_datagrams;
  return batch;
}

}  // namespace pharos::controlplane
