#include "pharos/dataplane/io/offloads.hh"

#include <rte_ethdev.h>

#include <string_view>

namespace pharos::dataplane::io {

namespace {

// Each field of addresses and ports that a device can hash; it takes those that it has. Ports spread the clients of one
// resolver, addresses are left for devices without them.
constexpr std::uint64_t rss_fields = RTE_ETH_RSS_IPV4 | RTE_ETH_RSS_NONFRAG_IPV4_UDP |
                                     RTE_ETH_RSS_IPV6 | RTE_ETH_RSS_NONFRAG_IPV6_UDP;

// net_tap sums every byte in software; virtio-user's peer would. Our own sums are mostly precomputed.
[[nodiscard]] bool sums_in_software(std::string_view driver) noexcept {
  return driver == "net_tap" || driver == "net_virtio_user" || driver == "virtio_user";
}

// virtio hands frames of the same machine over with sums that nobody has finished, and a flag that they are right. Where
// the kernel gets them through an exception interface, without the flag, it would drop every TCP segment.
[[nodiscard]] bool leaves_sums_unfinished(std::string_view driver) noexcept {
  return driver == "net_virtio";
}

}  // namespace

OffloadPlan plan_offloads(const config::PortConfig& port, unsigned queues,
                          const rte_eth_dev_info& info) noexcept {
  OffloadPlan plan;
  const std::string_view driver = info.driver_name == nullptr ? "" : info.driver_name;
  if (port.checksum_offload && !sums_in_software(driver)) {
    if (port.exception_interface.empty() || !leaves_sums_unfinished(driver)) {
      plan.receive =
          info.rx_offload_capa & (RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_UDP_CKSUM);
    }
    plan.transmit =
        info.tx_offload_capa & (RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM);
  }
  plan.features.receive_ipv4_checksum = (plan.receive & RTE_ETH_RX_OFFLOAD_IPV4_CKSUM) != 0;
  plan.features.receive_udp_checksum = (plan.receive & RTE_ETH_RX_OFFLOAD_UDP_CKSUM) != 0;
  plan.features.transmit_ipv4_checksum = (plan.transmit & RTE_ETH_TX_OFFLOAD_IPV4_CKSUM) != 0;
  plan.features.transmit_udp_checksum = (plan.transmit & RTE_ETH_TX_OFFLOAD_UDP_CKSUM) != 0;
  // Each queue sends only mbufs of its own pool, with one reference: what this offload asks for.
  plan.transmit |= info.tx_offload_capa & RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE;
  if (queues > 1) plan.rss_fields = info.flow_type_rss_offloads & rss_fields;
  plan.features.rss = plan.rss_fields != 0;
  return plan;
}

}  // namespace pharos::dataplane::io
