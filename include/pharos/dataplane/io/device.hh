// The `device:` of a port, taken apart: a PCI address or a virtual device with its arguments.
//
//   "0000:3b:00.0"                          a NIC, given to DPDK with scripts/ or dpdk-devbind
//   "net_af_packet0,iface=eth1"             a kernel interface, through a memory-mapped packet socket
//   "net_af_xdp0,iface=eth1"                the same through XDP
//
// Pure text work; called by the control thread before the EAL starts.
#pragma once

#include "pharos/base/error.hh"
#include "pharos/config/model.hh"

#include <string>
#include <string_view>

namespace pharos::dataplane::io {

struct Device {
  std::string name;    // "net_af_packet0", "0000:3b:00.0": the name that the EAL knows the port by
  std::string driver;  // "net_af_packet"; "pci" for a PCI address
  // What stands behind the name, our defaults added; without the first comma.
  std::string arguments;

  [[nodiscard]] bool is_pci() const noexcept { return driver == "pci"; }
  // The value of `key=`; empty when it is not there.
  [[nodiscard]] std::string argument(std::string_view key) const;
  // "name,arguments": the value of --vdev or -a.
  [[nodiscard]] std::string eal_text() const {
    return arguments.empty() ? name : name + "," + arguments;
  }
};

// Takes `port.device` apart and adds what we know to be better than the driver's defaults, for keys that are not
// given: frame and ring sizes of AF_PACKET, the number of queues where the driver wants to be told.
// Errors: invalid (neither a PCI address nor "net_<driver><number>[,key=value]...").
[[nodiscard]] Result<Device> parse_device(const config::PortConfig& port);

}  // namespace pharos::dataplane::io
