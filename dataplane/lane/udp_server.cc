#include "pharos/dataplane/lane/udp_server.hh"

#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace pharos::dataplane {

namespace {

// A received IP_PKTINFO says where the datagram went to and came in; the same message sent says where to send from. The
// interface is left to routing, but for link-local addresses, which mean nothing without one.
void turn_packet_info(msghdr& header) noexcept {
  cmsghdr* info = CMSG_FIRSTHDR(&header);
  if (info == nullptr) return;
  if (info->cmsg_level == IPPROTO_IP && info->cmsg_type == IP_PKTINFO) {
    in_pktinfo v4{};
    std::memcpy(&v4, CMSG_DATA(info), sizeof v4);
    v4.ipi_spec_dst = v4.ipi_addr;
    v4.ipi_ifindex = 0;
    std::memcpy(CMSG_DATA(info), &v4, sizeof v4);
  } else if (info->cmsg_level == IPPROTO_IPV6 && info->cmsg_type == IPV6_PKTINFO) {
    in6_pktinfo v6{};
    std::memcpy(&v6, CMSG_DATA(info), sizeof v6);
    if (!IN6_IS_ADDR_LINKLOCAL(&v6.ipi6_addr)) v6.ipi6_ifindex = 0;
    std::memcpy(CMSG_DATA(info), &v6, sizeof v6);
  }
}

}  // namespace

UdpServer::UdpServer(LaneBurst& burst) : burst_(burst) {}

void UdpServer::prepare_receive() noexcept {
  for (unsigned i = 0; i < burst_queries_max; ++i) {
    vectors_[i] = {.iov_base = burst_.message(i), .iov_len = udp_message_bytes_max};
    headers_[i] = {};
    headers_[i].msg_hdr = {.msg_name = &peers_[i],
                           .msg_namelen = sizeof peers_[i],
                           .msg_iov = &vectors_[i],
                           .msg_iovlen = 1,
                           .msg_control = &controls_[i],
                           .msg_controllen = sizeof controls_[i],
                           .msg_flags = 0};
  }
}

unsigned UdpServer::serve(const Listener& listener) noexcept {
  prepare_receive();
  const int received =
      ::recvmmsg(listener.udp.get(), headers_.data(), burst_queries_max, MSG_DONTWAIT, nullptr);
  if (received <= 0)
    return 0;  // nothing there, or an error of an earlier reply, which this has cleared
  burst_.begin();
  for (unsigned i = 0; i < static_cast<unsigned>(received); ++i) {
    const auto from = socket_address_of(peers_[i]);
    // What is longer than our buffer was cut: as a query it is read as malformed.
    burst_.add_in_place(headers_[i].msg_len, from.address, from.port, Transport::udp,
                        listener.udp_reply_bytes_max);
    turn_packet_info(headers_[i].msg_hdr);
  }
  burst_.serve();
  send(listener.udp.get());
  return static_cast<unsigned>(received);
}

void UdpServer::send(int socket) noexcept {
  unsigned count = 0;
  for (unsigned i = 0; i < burst_.queries().size(); ++i) {
    const Query& query = burst_.queries()[i];
    if (query.verdict != Verdict::answered) continue;
    vectors_[i].iov_len = query.reply_bytes;
    headers_[i].msg_hdr.msg_flags = 0;
    headers_[count++] = headers_[i];
  }
  unsigned sent = 0, lost = 0;
  while (sent + lost < count) {
    const int taken =
        ::sendmmsg(socket, headers_.data() + sent + lost, count - sent - lost, MSG_DONTWAIT);
    if (taken > 0) {
      sent += static_cast<unsigned>(taken);
    } else if (taken < 0 && errno == EINTR) {
      continue;
    } else {
      ++lost;  // this one: no route, refused before, no room; the next may go
    }
  }
  burst_.counters().count(Verdict::answered, sent);
  burst_.counters().count(Verdict::drop_tx_full, lost);
}

}  // namespace pharos::dataplane
