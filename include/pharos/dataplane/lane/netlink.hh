// The few requests to the kernel's routing that an exception interface needs (rtnetlink(7)): addresses, routes in a table
// of its own, and rules that lead to it. Control thread; each request waits for the kernel's answer.
#pragma once

#include "pharos/base/error.hh"
#include "pharos/base/fd.hh"
#include "pharos/base/ip_address.hh"

#include <cstdint>
#include <optional>
#include <vector>

namespace pharos::dataplane {

class Netlink {
 public:
  // Errors: unavailable.
  [[nodiscard]] static Result<Netlink> open();

  // All errors: unavailable, with the kernel's reason.
  // `address` as the only one of its prefix, without duplicate address detection: it is ours, as the configuration says.
  [[nodiscard]] Status add_address(unsigned interface, const IpAddress& address);
  // To `destination` (length 0: everything of its family) through `gateway`, or to neighbours of the interface.
  [[nodiscard]] Status add_route(unsigned table, unsigned interface, const IpPrefix& destination,
                                 const std::optional<IpAddress>& gateway);
  // Packets from `source` are routed by `table`.
  [[nodiscard]] Status add_rule(unsigned table, const IpAddress& source);
  // Removes all rules that lead to `table`.
  void remove_rules(unsigned table, Family family);

 private:
  explicit Netlink(UniqueFd socket) : socket_(std::move(socket)) {}
  [[nodiscard]] Status request(std::vector<std::byte>& message, const char* what);

  UniqueFd socket_;
  std::uint32_t sequence_ = 0;
};

}  // namespace pharos::dataplane
