// Between our socket addresses and the kernel's. Pure; any thread.
#pragma once

#include "pharos/config/model.hh"

#include <sys/socket.h>

namespace pharos::controlplane {

// Fills `to`; returns its length for bind(2) and connect(2).
[[nodiscard]] socklen_t to_system(const config::SocketAddress& from, sockaddr_storage& to) noexcept;
// The address in `from`, which is of family AF_INET or AF_INET6.
[[nodiscard]] config::SocketAddress from_system(const sockaddr_storage& from) noexcept;

// "192.0.2.1:5380" or "[2001:db8::1]:5380".
[[nodiscard]] std::string text_of(const config::SocketAddress& address);

}  // namespace pharos::controlplane
