#include "pharos/dataplane/lane/tcp_clients.hh"

#include "pharos/base/assert.hh"

namespace pharos::dataplane {

IpAddress client_prefix_of(const IpAddress& address) noexcept {
  if (address.is_ipv4()) return address;
  return IpPrefix{address, client_prefix_ipv6_bits}.masked().address;
}

bool TcpClients::add(const IpAddress& client_prefix, unsigned limit) {
  unsigned& count = counts_[client_prefix];
  if (count >= limit) return false;  // an entry that is at its limit is never a new one
  ++count;
  return true;
}

void TcpClients::remove(const IpAddress& client_prefix) {
  const auto found = counts_.find(client_prefix);
  REQUIRE(found != counts_.end());
  if (--found->second == 0) counts_.erase(found);
}

}  // namespace pharos::dataplane
