// Kernel sockets of the lane, bound and set up: UDP and TCP on one address. Control thread, at start-up and on reload.
#pragma once

#include "pharos/base/error.hh"
#include "pharos/base/fd.hh"
#include "pharos/config/model.hh"

#include <sys/socket.h>

#include <cstdint>

namespace pharos::dataplane {

// Requests longer than this over UDP are dropped, and no reply over UDP is longer.
inline constexpr unsigned udp_message_bytes_max = 4096;

struct Listener {
  config::SocketAddress address;
  UniqueFd udp;
  UniqueFd tcp;
  // Of a reply over UDP, by the MTU of the interface that has the address; for a wildcard by the smallest of all.
  unsigned udp_reply_bytes_max = 0;
};

// An exception interface's address may be bound before it is there.
enum class Bind : std::uint8_t { existing, anywhere };

// Both sockets, non-blocking, listening. Port 0 takes a free one, the same for both, which is then in `address`.
// Errors: unavailable (with the address, and what to do about a taken port or a missing right).
[[nodiscard]] Result<Listener> open_listener(const config::SocketAddress& address, Bind bind);

// A socket address of either family from the kernel, as one of ours.
[[nodiscard]] config::SocketAddress socket_address_of(const sockaddr_storage& address) noexcept;
// The other way: returns its length.
[[nodiscard]] socklen_t to_sockaddr(const config::SocketAddress& address,
                                    sockaddr_storage& to) noexcept;

[[nodiscard]] std::string text_of(const config::SocketAddress& address);

}  // namespace pharos::dataplane
