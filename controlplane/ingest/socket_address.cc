// Conversions of socket addresses; see socket_address.hh.
#include "pharos/controlplane/ingest/socket_address.hh"

#include "pharos/base/assert.hh"

#include <netinet/in.h>

#include <algorithm>

namespace pharos::controlplane {

socklen_t to_system(const config::SocketAddress& from, sockaddr_storage& to) noexcept {
  to = {};
  if (from.address.is_ipv4()) {
    auto& v4 = reinterpret_cast<sockaddr_in&>(to);
    v4.sin_family = AF_INET;
    v4.sin_port = htons(from.port);
    v4.sin_addr.s_addr = htonl(from.address.ipv4());
    return sizeof v4;
  }
  auto& v6 = reinterpret_cast<sockaddr_in6&>(to);
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(from.port);
  std::ranges::copy(from.address.bytes, v6.sin6_addr.s6_addr);
  return sizeof v6;
}

config::SocketAddress from_system(const sockaddr_storage& from) noexcept {
  if (from.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(from);
    return {IpAddress::from_ipv4(ntohl(v4.sin_addr.s_addr)), ntohs(v4.sin_port)};
  }
  REQUIRE(from.ss_family == AF_INET6);
  const auto& v6 = reinterpret_cast<const sockaddr_in6&>(from);
  config::SocketAddress address;
  std::ranges::copy(v6.sin6_addr.s6_addr, address.address.bytes.begin());
  address.port = ntohs(v6.sin6_port);
  return address;
}

std::string text_of(const config::SocketAddress& address) {
  const auto port = ":" + std::to_string(address.port);
  return address.address.is_ipv4() ? address.address.text() + port
                                   : "[" + address.address.text() + "]" + port;
}

}  // namespace pharos::controlplane
