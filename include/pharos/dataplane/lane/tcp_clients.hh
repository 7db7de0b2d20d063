// How many connections each client has. A client is an IPv4 address or an IPv6 /56, which is what one subscriber gets
// (RFC 6177). The table is keyed by SipHash with a random key: who chooses addresses cannot choose their places.
// One entry a client with a connection, so that the limit on connections bounds it. The lane's thread.
#pragma once

#include "pharos/base/ip_address.hh"
#include "pharos/dataplane/dns/cookie.hh"

#include <cstddef>
#include <unordered_map>

namespace pharos::dataplane {

inline constexpr std::uint8_t client_prefix_ipv6_bits = 56;

// The address that stands for all of its client's.
[[nodiscard]] IpAddress client_prefix_of(const IpAddress& address) noexcept;

class TcpClients {
 public:
  explicit TcpClients(const CookieSecret& hash_key) : counts_(0, Hash{hash_key}) {}

  // Counts a connection of the client; false, and not counted, where it has `limit` already.
  [[nodiscard]] bool add(const IpAddress& client_prefix, unsigned limit);
  void remove(const IpAddress& client_prefix);
  [[nodiscard]] std::size_t size() const noexcept { return counts_.size(); }

 private:
  struct Hash {
    CookieSecret key;
    std::size_t operator()(const IpAddress& address) const noexcept {
      return siphash_2_4(std::as_bytes(std::span(address.bytes)), key);
    }
  };
  std::unordered_map<IpAddress, unsigned, Hash> counts_;
};

}  // namespace pharos::dataplane
