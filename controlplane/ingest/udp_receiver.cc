// recvmmsg with SO_RXQ_OVFL, so that datagrams that the kernel dropped are counted and not just
// missing.
#include "pharos/controlplane/ingest/udp_receiver.hh"

#include "pharos/controlplane/ingest/socket_address.hh"
#include "pharos/wire/beacon.hh"

#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string>
#include <vector>

namespace pharos::controlplane {

namespace {

// One byte more than a beacon, so that a longer datagram is seen to be longer.
constexpr std::size_t slot_bytes = beacon::datagram_bytes_max + 1;

}  // namespace

struct UdpReceiver::Buffers {
  std::array<std::array<std::byte, slot_bytes>, batch_datagrams> slots;
  alignas(cmsghdr)
      std::array<std::array<char, CMSG_SPACE(sizeof(std::uint32_t))>, batch_datagrams> controls;
  std::array<iovec, batch_datagrams> vectors;
  std::array<mmsghdr, batch_datagrams> messages;
  std::array<ConstBytes, batch_datagrams> datagrams;
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
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RXQ_OVFL, &on, sizeof on);
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

UdpReceiver::Batch UdpReceiver::receive() noexcept {
  auto& b = *buffers_;
  for (unsigned i = 0; i < batch_datagrams; ++i) {
    b.vectors[i] = {b.slots[i].data(), slot_bytes};
    b.messages[i] = {};
    b.messages[i].msg_hdr.msg_iov = &b.vectors[i];
    b.messages[i].msg_hdr.msg_iovlen = 1;
    b.messages[i].msg_hdr.msg_control = b.controls[i].data();
    b.messages[i].msg_hdr.msg_controllen = b.controls[i].size();
  }
  Batch batch;
  const int count =
      ::recvmmsg(fd_.get(), b.messages.data(), batch_datagrams, MSG_DONTWAIT, nullptr);
  if (count < 0) {
    batch.failed = errno != EAGAIN && errno != EINTR;
    return batch;
  }
  std::size_t whole = 0;
  for (unsigned i = 0; i < static_cast<unsigned>(count); ++i) {
    auto& header = b.messages[i].msg_hdr;
    if (b.messages[i].msg_len > beacon::datagram_bytes_max) {
      ++batch.truncated;
    } else {
      b.datagrams[whole++] = ConstBytes(b.slots[i]).first(b.messages[i].msg_len);
    }
    for (auto* c = CMSG_FIRSTHDR(&header); c != nullptr; c = CMSG_NXTHDR(&header, c)) {
      if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SO_RXQ_OVFL) continue;
      const auto total = load<std::uint32_t>(CMSG_DATA(c));
      batch.dropped += total - dropped_total_;  // wraps as the kernel's count does
      dropped_total_ = total;
    }
  }
  batch.datagrams = std::span(b.datagrams).first(whole);
  batch.more = static_cast<unsigned>(count) == batch_datagrams;
  return batch;
}

}  // namespace pharos::controlplane
