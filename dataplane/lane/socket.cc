#include "pharos/dataplane/lane/socket.hh"

#include "pharos/wire/dns.hh"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

namespace pharos::dataplane {

namespace {

constexpr unsigned mtu_default = 1500;
constexpr int backlog = 4096;  // bounded by net.core.somaxconn
constexpr int udp_buffer_bytes = 1 << 20;

[[nodiscard]] bool is_wildcard(const IpAddress& address) {
  return address == IpAddress{} || address == IpAddress::from_ipv4(0);
}

[[nodiscard]] unsigned mtu_of(int socket, const char* interface) {
  ifreq request{};
  std::strncpy(request.ifr_name, interface, IFNAMSIZ - 1);
  if (::ioctl(socket, SIOCGIFMTU, &request) != 0 || request.ifr_mtu <= 0) return mtu_default;
  return static_cast<unsigned>(request.ifr_mtu);
}

// The MTU of the interface that has `address`, or the smallest of all.
[[nodiscard]] unsigned mtu_at(int socket, const IpAddress& address) {
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return mtu_default;
  const std::unique_ptr<ifaddrs, void (*)(ifaddrs*)> owned(list, ::freeifaddrs);
  unsigned smallest = 0xffff;
  for (const auto* at = list; at != nullptr; at = at->ifa_next) {
    if (at->ifa_addr == nullptr || (at->ifa_flags & IFF_UP) == 0) continue;
    const int family = at->ifa_addr->sa_family;
    if (family != AF_INET && family != AF_INET6) continue;
    sockaddr_storage storage{};
    std::memcpy(&storage, at->ifa_addr,
                family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6));
    const unsigned mtu = mtu_of(socket, at->ifa_name);
    if (socket_address_of(storage).address == address) return mtu;
    smallest = std::min(smallest, mtu);
  }
  return is_wildcard(address) ? smallest : mtu_default;
}

[[nodiscard]] bool set(int socket, int level, int name, int value) {
  return ::setsockopt(socket, level, name, &value, sizeof value) == 0;
}

// Replies leave with Don't Fragment, and the interface's MTU bounds them. PROBE and not DO: what ICMP says of the path
// is not believed, so that a forged "fragmentation needed" changes nothing.
[[nodiscard]] bool set_up_udp(int socket, bool ipv4) {
  (void)set(socket, SOL_SOCKET, SO_RCVBUF, udp_buffer_bytes);  // as much as the system allows
  (void)set(socket, SOL_SOCKET, SO_SNDBUF, udp_buffer_bytes);
  if (ipv4) {
    return set(socket, IPPROTO_IP, IP_PKTINFO, 1) &&
           set(socket, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE);
  }
  return set(socket, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1) &&
         set(socket, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE);
}

[[nodiscard]] std::unexpected<Error> not_bound(const config::SocketAddress& address,
                                               const char* protocol) {
  const int number = errno;
  auto error = fail_errno(std::string("bind, ") + protocol, text_of(address)).error();
  if (number == EADDRINUSE) error.hint = "another program, or another line here, has this port";
  if (number == EADDRNOTAVAIL) error.hint = "no interface has this address";
  if (number == EACCES) {
    error.hint =
        "ports below 1024 need CAP_NET_BIND_SERVICE, which a running daemon has given up: restart "
        "it";
  }
  return std::unexpected(std::move(error));
}

[[nodiscard]] Result<UniqueFd> open_socket(const config::SocketAddress& address, int type,
                                           Bind bind) {
  const bool ipv4 = address.address.is_ipv4();
  const bool udp = type == SOCK_DGRAM;
  const char* protocol = udp ? "UDP" : "TCP";
  UniqueFd socket(::socket(ipv4 ? AF_INET : AF_INET6, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const auto failed = [&](const char* call) {
    return fail_errno(std::string(call) + ", " + protocol, text_of(address));
  };
  if (!socket) return failed("socket");
  // For TCP: connections of a former process may still be in TIME_WAIT. For UDP it would let two share a port.
  if (!udp && !set(socket.get(), SOL_SOCKET, SO_REUSEADDR, 1)) return failed("SO_REUSEADDR");
  if (!ipv4 && !set(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, 1)) return failed("IPV6_V6ONLY");
  if (bind == Bind::anywhere && !(ipv4 ? set(socket.get(), IPPROTO_IP, IP_FREEBIND, 1)
                                       : set(socket.get(), IPPROTO_IPV6, IPV6_FREEBIND, 1))) {
    return failed("FREEBIND");
  }
  if (udp ? !set_up_udp(socket.get(), ipv4)
          : !set(socket.get(), IPPROTO_TCP, TCP_NODELAY, 1)) {  // accepted sockets inherit it
    return failed("setsockopt");
  }
  sockaddr_storage storage{};
  const auto length = to_sockaddr(address, storage);
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&storage), length) != 0) {
    return not_bound(address, protocol);
  }
  if (!udp && ::listen(socket.get(), backlog) != 0) return failed("listen");
  return socket;
}

}  // namespace

config::SocketAddress socket_address_of(const sockaddr_storage& address) noexcept {
  config::SocketAddress result;
  if (address.ss_family == AF_INET) {
    sockaddr_in v4{};
    std::memcpy(&v4, &address, sizeof v4);
    return {IpAddress::from_ipv4(ntohl(v4.sin_addr.s_addr)), ntohs(v4.sin_port)};
  }
  if (address.ss_family == AF_INET6) {
    sockaddr_in6 v6{};
    std::memcpy(&v6, &address, sizeof v6);
    std::memcpy(result.address.bytes.data(), &v6.sin6_addr, sizeof v6.sin6_addr);
    result.port = ntohs(v6.sin6_port);
  }
  return result;
}

socklen_t to_sockaddr(const config::SocketAddress& address, sockaddr_storage& to) noexcept {
  to = {};
  if (address.address.is_ipv4()) {
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_port = htons(address.port);
    v4.sin_addr.s_addr = htonl(address.address.ipv4());
    std::memcpy(&to, &v4, sizeof v4);
    return sizeof v4;
  }
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(address.port);
  std::memcpy(&v6.sin6_addr, address.address.bytes.data(), sizeof v6.sin6_addr);
  std::memcpy(&to, &v6, sizeof v6);
  return sizeof v6;
}

std::string text_of(const config::SocketAddress& address) {
  const auto text = address.address.text();
  const auto port = std::to_string(address.port);
  return address.address.is_ipv4() ? text + ":" + port : "[" + text + "]:" + port;
}

Result<Listener> open_listener(const config::SocketAddress& address, Bind bind) {
  Listener listener;
  listener.address = address;
  auto tcp = open_socket(address, SOCK_STREAM, bind);
  if (!tcp) return std::unexpected(tcp.error());
  listener.tcp = std::move(*tcp);
  sockaddr_storage bound{};
  socklen_t length = sizeof bound;
  if (::getsockname(listener.tcp.get(), reinterpret_cast<sockaddr*>(&bound), &length) != 0) {
    return fail_errno("getsockname", text_of(address));
  }
  listener.address.port = socket_address_of(bound).port;
  auto udp = open_socket(listener.address, SOCK_DGRAM, bind);
  if (!udp) return std::unexpected(udp.error());
  listener.udp = std::move(*udp);
  const unsigned header_bytes = address.address.is_ipv4() ? 28 : 48;  // IP and UDP
  const unsigned mtu = mtu_at(listener.udp.get(), address.address);
  listener.udp_reply_bytes_max = std::clamp(mtu, header_bytes + dns::udp_payload_min_bytes,
                                            header_bytes + udp_message_bytes_max) -
                                 header_bytes;
  return listener;
}

}  // namespace pharos::dataplane
