// What a port is asked to do by itself: checksums of received and sent frames, and spreading clients over its queues.
// Pure arithmetic on what the driver says of the device; called by the control thread when it opens a port.
#pragma once

#include "pharos/config/model.hh"

#include <cstdint>

struct rte_eth_dev_info;

namespace pharos::dataplane::io {

struct PortFeatures {
  bool receive_ipv4_checksum = false;  // the port verifies them and says so per frame
  bool receive_udp_checksum = false;
  bool transmit_ipv4_checksum = false;  // the port writes them
  bool transmit_udp_checksum = false;
  bool rss = false;  // the port spreads frames over its queues by a hash of addresses and ports

  friend bool operator==(const PortFeatures&, const PortFeatures&) = default;
};

// Bits of DPDK (RTE_ETH_RX_OFFLOAD_ and so on) that make `features` true.
struct OffloadPlan {
  PortFeatures features;
  std::uint64_t receive = 0;
  std::uint64_t transmit = 0;
  std::uint64_t rss_fields = 0;
};

// Takes what the device has, each kind for itself: many have UDP and no IPv4 (virtio, vmxnet3). Nothing is taken that
// would be done in software, or that the port's exception interface could not bear; the reasons stand at the definition.
[[nodiscard]] OffloadPlan plan_offloads(const config::PortConfig& port, unsigned queues,
                                        const rte_eth_dev_info& info) noexcept;

}  // namespace pharos::dataplane::io
