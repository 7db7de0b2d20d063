// Which offloads a port is asked for, by what devices of the common families say that they can.
#include "pharos/dataplane/io/offloads.hh"

#include <gtest/gtest.h>
#include <rte_ethdev.h>

#include <string>

namespace pharos::dataplane::io {
namespace {

constexpr std::uint64_t receive_both = RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_UDP_CKSUM;
constexpr std::uint64_t transmit_both =
    RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM;

[[nodiscard]] rte_eth_dev_info device(const char* driver, std::uint64_t receive,
                                      std::uint64_t transmit, std::uint64_t rss = 0) {
  rte_eth_dev_info info{};
  info.driver_name = driver;
  info.rx_offload_capa = receive;
  info.tx_offload_capa = transmit;
  info.flow_type_rss_offloads = rss;
  return info;
}

TEST(OffloadsTest, TakesBothChecksumsInBothDirectionsAndNothingElse) {
  const auto info =
      device("net_ice", receive_both | RTE_ETH_RX_OFFLOAD_TCP_CKSUM | RTE_ETH_RX_OFFLOAD_VLAN_STRIP,
             transmit_both | RTE_ETH_TX_OFFLOAD_TCP_TSO | RTE_ETH_TX_OFFLOAD_MULTI_SEGS);
  const auto plan = plan_offloads({}, 1, info);
  EXPECT_EQ(plan.features, (PortFeatures{true, true, true, true, false}));
  EXPECT_EQ(plan.receive, receive_both);
  EXPECT_EQ(plan.transmit, transmit_both);
}

TEST(OffloadsTest, TakesUdpWhereADeviceHasNoIpv4) {
  for (const char* driver : {"net_virtio", "net_vmxnet3"}) {
    const auto plan = plan_offloads(
        {}, 1, device(driver, RTE_ETH_RX_OFFLOAD_UDP_CKSUM, RTE_ETH_TX_OFFLOAD_UDP_CKSUM));
    EXPECT_EQ(plan.features, (PortFeatures{false, true, false, true, false})) << driver;
    EXPECT_EQ(plan.receive, RTE_ETH_RX_OFFLOAD_UDP_CKSUM);
    EXPECT_EQ(plan.transmit, RTE_ETH_TX_OFFLOAD_UDP_CKSUM);
  }
}

TEST(OffloadsTest, DeclinesWhatWouldBeSummedInSoftware) {
  for (const char* driver : {"net_tap", "net_virtio_user"}) {
    const auto plan = plan_offloads({}, 1, device(driver, receive_both, transmit_both));
    EXPECT_EQ(plan.features, PortFeatures{}) << driver;
    EXPECT_EQ(plan.receive | plan.transmit, 0U);
  }
  rte_eth_dev_info nameless = device(nullptr, 0, 0);
  EXPECT_EQ(plan_offloads({}, 1, nameless).features, PortFeatures{});
}

TEST(OffloadsTest, LeavesUnfinishedSumsOutsideWhereTheKernelWouldSeeThem) {
  config::PortConfig port;
  port.exception_interface = "front0";
  const auto virtio =
      device("net_virtio", RTE_ETH_RX_OFFLOAD_UDP_CKSUM, RTE_ETH_TX_OFFLOAD_UDP_CKSUM);
  EXPECT_EQ(plan_offloads(port, 1, virtio).features,
            (PortFeatures{false, false, false, true, false}));
  const auto other = device("net_ice", receive_both, transmit_both);
  EXPECT_EQ(plan_offloads(port, 1, other).features, (PortFeatures{true, true, true, true, false}));
}

TEST(OffloadsTest, IsSwitchedOffByTheConfigurationButForWhatCostsNothing) {
  config::PortConfig port;
  port.checksum_offload = false;
  const auto info =
      device("net_ice", receive_both, transmit_both | RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE,
             RTE_ETH_RSS_NONFRAG_IPV4_UDP);
  const auto plan = plan_offloads(port, 4, info);
  EXPECT_EQ(plan.features, (PortFeatures{false, false, false, false, true}));
  EXPECT_EQ(plan.transmit, RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE);
}

TEST(OffloadsTest, SpreadsSeveralQueuesByTheFieldsThatTheDeviceHas) {
  const std::uint64_t own = RTE_ETH_RSS_IPV4 | RTE_ETH_RSS_IPV6;
  const auto info = device("net_vmxnet3", 0, 0, own | RTE_ETH_RSS_NONFRAG_IPV4_TCP);
  EXPECT_EQ(plan_offloads({}, 2, info).rss_fields, own);
  EXPECT_TRUE(plan_offloads({}, 2, info).features.rss);
  EXPECT_FALSE(plan_offloads({}, 1, info).features.rss);
  EXPECT_EQ(plan_offloads({}, 1, info).rss_fields, 0U);
  const auto none = device("net_af_packet", 0, 0, RTE_ETH_RSS_NONFRAG_IPV4_TCP);
  EXPECT_FALSE(plan_offloads({}, 2, none).features.rss);
}

}  // namespace
}  // namespace pharos::dataplane::io
