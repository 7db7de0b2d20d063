// UdpServer: one burst of datagrams from a socket, answered. Replies leave from the address that was asked, so that a
// wildcard socket works on machines with many. The lane's thread.
#pragma once

#include "pharos/dataplane/lane/lane_burst.hh"
#include "pharos/dataplane/lane/socket.hh"

#include <netinet/in.h>

#include <array>

namespace pharos::dataplane {

class UdpServer {
 public:
  explicit UdpServer(LaneBurst& burst);
  UdpServer(const UdpServer&) = delete;
  UdpServer& operator=(const UdpServer&) = delete;

  // Receives at most burst_queries_max datagrams, answers them and sends the replies. Never waits. Counts `answered` for
  // what the socket took, drop_tx_full for the rest. Returns how many came.
  unsigned serve(const Listener& listener) noexcept;

 private:
  // Room for IP_PKTINFO or IPV6_PKTINFO.
  union alignas(cmsghdr) Control {
    std::array<std::byte, CMSG_SPACE(sizeof(in6_pktinfo))> bytes;
  };

  void prepare_receive() noexcept;
  void send(int socket) noexcept;

  LaneBurst& burst_;
  std::array<mmsghdr, burst_queries_max> headers_{};
  std::array<iovec, burst_queries_max> vectors_{};
  std::array<sockaddr_storage, burst_queries_max> peers_{};
  std::array<Control, burst_queries_max> controls_{};
};

}  // namespace pharos::dataplane
