// Tap: a tap device whose kernel side is the port as hosts know it. It has the port's MAC and addresses, so that the kernel
// answers ARP, neighbour discovery and echo, and TCP connections to the port end in sockets of ours.
//
// The device is not persistent: it goes with its descriptor, also after a kill. Routes go with it. Only the rules that lead
// packets from the port's addresses to its own routing table stay behind a kill; they are removed before they are made, and
// mean nothing while the table is empty. Control thread; afterwards the lane reads and writes the descriptor.
#pragma once

#include "pharos/base/error.hh"
#include "pharos/base/fd.hh"
#include "pharos/base/ip_address.hh"
#include "pharos/dataplane/packet/interface.hh"

#include <string>
#include <vector>

namespace pharos::dataplane {

struct TapSettings {
  std::string name;
  MacAddress mac;
  unsigned mtu_bytes = 1500;
  std::vector<IpAddress> addresses;
  std::vector<IpAddress> gateways;  // at most one of each family; without: everyone is a neighbour
  std::vector<IpPrefix> networks;   // reached without the gateway
  // The kernel interface whose frames the port takes a copy of (AF_PACKET); empty: the kernel does not see them.
  std::string shadow;
};

class Tap {
 public:
  // Makes the device and sets it up. Errors: invalid (an address that the kernel refuses), unavailable (the name is
  // taken, no right to make it, the shadow interface cannot be silenced).
  [[nodiscard]] static Result<Tap> open(const TapSettings& settings);
  Tap(Tap&& other) noexcept = default;
  Tap& operator=(Tap&&) = delete;
  ~Tap();  // removes device, routes and rules

  // One frame a read(2) and write(2), without preamble and checksum; non-blocking.
  [[nodiscard]] int fd() const noexcept { return fd_.get(); }
  [[nodiscard]] const std::string& name() const noexcept { return name_; }

 private:
  Tap(UniqueFd fd, std::string name) : fd_(std::move(fd)), name_(std::move(name)) {}
  [[nodiscard]] Status set_up(const TapSettings& settings);
  [[nodiscard]] Status set_mac(const MacAddress& mac);
  [[nodiscard]] Status route(const TapSettings& settings);

  UniqueFd fd_;
  std::string name_;
};

// The routing table of an exception interface: above the 255 that people number, the same at every start.
[[nodiscard]] unsigned routing_table_of(const std::string& interface) noexcept;

}  // namespace pharos::dataplane
