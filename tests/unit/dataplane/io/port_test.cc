// Ports of a real EAL: net_ring (what is sent comes back), net_null, net_pcap. One EAL per process, so all
// tests share what main() of the environment has started.
#include "pharos/dataplane/io/port.hh"

#include "pharos/dataplane/io/burst.hh"
#include "pharos/dataplane/io/eal.hh"
#include "pharos/dataplane/io/eal_log.hh"

#include <unistd.h>

#include <gtest/gtest.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <optional>

namespace pharos::dataplane::io {
namespace {

[[nodiscard]] config::PortConfig port_config(const std::string& id, const std::string& device,
                                             unsigned queues = 1) {
  config::PortConfig port;
  port.id = id;
  port.device = device;
  port.queues = queues;
  port.receive_descriptors = 256;
  port.transmit_descriptors = 256;
  port.addresses = {*IpAddress::parse("192.0.2.53")};
  return port;
}

class PortTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    char name[] = "/tmp/pharos-port-test-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    directory = name;
    config::DataplaneConfig dataplane;
    dataplane.huge_pages = config::HugePages::never;
    dataplane.memory_bytes = 192U << 20;
    dataplane.ports = {port_config("loop", "net_ring0"), port_config("sink", "net_null0", 2),
                       port_config("one", "net_ring1")};
    plan = plan_eal(dataplane, directory, read_host_facts()).value();
    auto started = Eal::start(plan, directory);
    ASSERT_TRUE(started) << started.error().text();
    eal.emplace(std::move(*started));
    auto loop = Port::open(port_config("loop", "net_ring0"), plan.devices[0]);
    ASSERT_TRUE(loop) << loop.error().text();
    loop_port.emplace(std::move(*loop));
  }
  static void TearDownTestSuite() {
    loop_port.reset();
    eal.reset();
    std::filesystem::remove_all(directory);
  }

  static inline std::string directory;
  static inline EalPlan plan;
  static inline std::optional<Eal> eal;
  static inline std::optional<Port> loop_port;  // closing a virtual device removes it: opened once

  // One queue of the port that hears what it sends, at 192.0.2.53, with all that a turn of the loop needs.
  const Interface interface = interface_at(loop_port->mac());
  const QueueHandle handle{.port = loop_port->number(),
                           .queue = 0,
                           .receive_checksum = false,
                           .frame_bytes_max = 1514,
                           .pool = loop_port->pool(0)};
  const std::unique_ptr<FrameBurst> frames = std::make_unique<FrameBurst>();
  const std::unique_ptr<MbufBurst> mbufs = std::make_unique<MbufBurst>();
  const std::unique_ptr<CoreCounters> counters = std::make_unique<CoreCounters>();

 private:
  static Interface interface_at(const MacAddress& mac) {
    InterfaceSettings settings;
    settings.mac = mac;
    settings.addresses = {*IpAddress::parse("192.0.2.53")};
    return make_interface(settings).value();
  }
};

// Sends `frame` out of a net_ring port as a driver would, from a pool of the test's own.
void inject(std::uint16_t port, ConstBytes frame, std::uint64_t mbuf_flags = 0) {
  static rte_mempool* pool =
      rte_pktmbuf_pool_create("test", 511, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, 0);
  ASSERT_NE(pool, nullptr);
  rte_mbuf* mbuf = rte_pktmbuf_alloc(pool);
  ASSERT_NE(mbuf, nullptr);
  std::memcpy(rte_pktmbuf_append(mbuf, static_cast<std::uint16_t>(frame.size())), frame.data(),
              frame.size());
  mbuf->ol_flags = mbuf_flags;
  ASSERT_EQ(rte_eth_tx_burst(port, 0, &mbuf, 1), 1);
}

[[nodiscard]] std::vector<std::byte> arp_request(const MacAddress& sender,
                                                 const std::array<std::uint8_t, 4>& target) {
  std::vector<std::uint8_t> frame(60, 0);
  std::fill_n(frame.begin(), 6, 0xff);
  std::ranges::copy(sender.bytes, frame.begin() + 6);
  const std::uint8_t arp[] = {0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1};
  std::ranges::copy(arp, frame.begin() + 12);
  std::ranges::copy(sender.bytes, frame.begin() + 22);
  const std::uint8_t source[] = {192, 0, 2, 1};
  std::ranges::copy(source, frame.begin() + 28);
  std::ranges::copy(target, frame.begin() + 38);
  const auto bytes = std::as_bytes(std::span(frame));
  return {bytes.begin(), bytes.end()};
}

TEST_F(PortTest, CountsMbufsForEveryPlaceThatHoldsThem) {
  EXPECT_EQ(mbufs_for_queue(1024, 1024), 8191U);
  for (const unsigned descriptors : {64U, 1024U, 4096U, 32768U}) {
    const auto count = mbufs_for_queue(descriptors, descriptors);
    EXPECT_GT(count, 2 * descriptors + 2 * 2048);
    EXPECT_EQ((count + 1) & count, 0U);
  }
}

TEST_F(PortTest, OpensAPortAndTellsWhatItIs) {
  auto port = Port::open(port_config("sink", "net_null0", 2), plan.devices[1]);
  ASSERT_TRUE(port) << port.error().text();
  EXPECT_EQ(port->id(), "sink");
  EXPECT_EQ(port->queue_count(), 2U);
  EXPECT_EQ(port->mtu_bytes(), 1500U);
  EXPECT_TRUE(port->link_up());
  EXPECT_EQ(port->stats().received_packets, 0U);
  EXPECT_EQ(port->driver(), "net_null");
}

TEST_F(PortTest, SaysWhichDeviceIsMissing) {
  Device device;
  device.name = "net_ring7";
  device.driver = "net_ring";
  const auto port = Port::open(port_config("ghost", "net_ring7"), device);
  ASSERT_FALSE(port);
  EXPECT_EQ(port.error().code, ErrorCode::unavailable);
  EXPECT_NE(port.error().text().find("net_ring7"), std::string::npos);
  EXPECT_NE(port.error().where.find("ghost"), std::string::npos);
}

TEST_F(PortTest, RefusesMoreQueuesThanTheDeviceHasAndClosesIt) {
  const auto many = Port::open(port_config("one", "net_ring1", 64), plan.devices[2]);
  ASSERT_FALSE(many);
  EXPECT_EQ(many.error().code, ErrorCode::invalid);
  EXPECT_NE(many.error().what.find("64 queues"), std::string::npos);
}

TEST_F(PortTest, SendsFramesThatAreNoRepliesAndGivesEveryMbufBack) {
  const unsigned free_before = rte_mempool_avail_count(loop_port->pool(0));
  const std::vector<std::byte> frame(1518, std::byte{0x5a});
  OutgoingBurst burst(handle);
  EXPECT_FALSE(burst.add(std::vector<std::byte>(1519)));
  while (!burst.full()) ASSERT_TRUE(burst.add(frame));
  EXPECT_EQ(burst.send(), 32U);
  EXPECT_EQ(burst.send(), 0U);
  ASSERT_EQ(receive_burst(handle, *frames, *mbufs), 32U);
  for (unsigned i = 0; i < 32; ++i) {
    const Frame& one = frames->frames[i];
    EXPECT_TRUE(std::ranges::equal(ConstBytes(one.data, one.length), frame));
    frames->release_frames[i] = static_cast<std::uint8_t>(i);
  }
  frames->release_count = 32;
  frames->send_count = frames->exception_count = 0;
  transmit_burst(handle, *frames, *mbufs, *counters);
  EXPECT_EQ(rte_mempool_avail_count(loop_port->pool(0)), free_before);
}

TEST_F(PortTest, CarriesFramesInRepliesOutAndGivesEveryMbufBack) {
  EXPECT_EQ(receive_burst(handle, *frames, *mbufs), 0U);

  // One that is answered in place, one for another station, one cut short.
  const MacAddress client{{2, 0, 0, 0, 0, 9}};
  inject(handle.port, arp_request(client, {192, 0, 2, 53}));
  inject(handle.port, arp_request(client, {192, 0, 2, 99}));
  inject(handle.port, ConstBytes(arp_request(client, {192, 0, 2, 53})).first(10));
  ASSERT_EQ(receive_burst(handle, *frames, *mbufs), 3U);
  for (unsigned i = 0; i < 3; ++i) {
    EXPECT_LE(frames->frames[i].room, 1514);
    EXPECT_EQ(frames->frames[i].receive_flags, 0);
  }
  EXPECT_EQ(frames->frames[2].length, 10);
  classify_burst(interface, *frames, *counters);
  finish_burst(interface, *frames);
  transmit_burst(handle, *frames, *mbufs, *counters);
  EXPECT_EQ(counters->read(Verdict::local_reply), 1U);
  EXPECT_EQ(counters->read(Counter::sent_packets), 1U);
  EXPECT_EQ(counters->read(Counter::received_packets), 3U);
  EXPECT_EQ(counters->read(Verdict::drop_frame_short), 1U);

  // The ring brings our own reply back: to the client, from us.
  ASSERT_EQ(receive_burst(handle, *frames, *mbufs), 1U);
  const auto* reply = reinterpret_cast<const std::uint8_t*>(frames->frames[0].data);
  EXPECT_TRUE(std::equal(client.bytes.begin(), client.bytes.end(), reply));
  EXPECT_TRUE(std::equal(loop_port->mac().bytes.begin(), loop_port->mac().bytes.end(), reply + 6));
  EXPECT_EQ(reply[21], 2);  // ARP reply
  classify_burst(interface, *frames, *counters);
  finish_burst(interface, *frames);
  transmit_burst(handle, *frames, *mbufs, *counters);
  EXPECT_EQ(rte_mempool_in_use_count(rte_mempool_lookup("test")), 0U);
}

TEST_F(PortTest, BelievesSumsThatThePortCallsGoodOrUnfinishedAndNoOthers) {
  struct Row {
    std::uint64_t mbuf;
    std::uint8_t expected;
  };
  constexpr std::uint8_t both = receive_flag::ipv4_checksum_good | receive_flag::udp_checksum_good;
  const std::array rows = {
      Row{0, 0},
      Row{RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_L4_CKSUM_GOOD, both},
      Row{RTE_MBUF_F_RX_IP_CKSUM_GOOD, receive_flag::ipv4_checksum_good},
      Row{RTE_MBUF_F_RX_L4_CKSUM_NONE, receive_flag::udp_checksum_good},  // virtio, same machine
      Row{RTE_MBUF_F_RX_IP_CKSUM_NONE, receive_flag::ipv4_checksum_good},
      Row{RTE_MBUF_F_RX_IP_CKSUM_BAD | RTE_MBUF_F_RX_L4_CKSUM_BAD, 0},
      Row{RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_L4_CKSUM_BAD,
          receive_flag::ipv4_checksum_good},
  };
  const auto frame = arp_request({{2, 0, 0, 0, 0, 9}}, {192, 0, 2, 53});
  for (const bool offload : {true, false}) {
    QueueHandle queue = handle;
    queue.receive_checksum = offload;
    for (const auto& row : rows) inject(queue.port, frame, row.mbuf);
    ASSERT_EQ(receive_burst(queue, *frames, *mbufs), rows.size());
    for (unsigned i = 0; i < rows.size(); ++i) {
      EXPECT_EQ(frames->frames[i].receive_flags, offload ? rows[i].expected : 0) << "row " << i;
    }
    rte_pktmbuf_free_bulk(mbufs->mbufs.data(), rows.size());
  }
  EXPECT_EQ(rte_mempool_in_use_count(rte_mempool_lookup("test")), 0U);
}

TEST_F(PortTest, DropsAndCountsWhatAFullPortDoesNotTake) {
  const auto request = arp_request({{2, 0, 0, 0, 0, 9}}, {192, 0, 2, 53});
  for (int i = 0; i < 8; ++i) inject(handle.port, request);
  ASSERT_EQ(receive_burst(handle, *frames, *mbufs), 8U);
  classify_burst(interface, *frames, *counters);
  finish_burst(interface, *frames);

  // Fill the ring from another pool until three places are left.
  rte_mempool* filler = rte_pktmbuf_pool_create("filler", 4095, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, 0);
  ASSERT_NE(filler, nullptr);
  std::vector<rte_mbuf*> sent;
  for (rte_mbuf* mbuf = rte_pktmbuf_alloc(filler); mbuf != nullptr;
       mbuf = rte_pktmbuf_alloc(filler)) {
    if (rte_eth_tx_burst(handle.port, 0, &mbuf, 1) != 1) {
      rte_pktmbuf_free(mbuf);
      break;
    }
    sent.push_back(mbuf);
  }
  std::array<rte_mbuf*, 3> back{};
  ASSERT_EQ(rte_eth_rx_burst(handle.port, 0, back.data(), 3), 3);
  rte_pktmbuf_free_bulk(back.data(), 3);
  ASSERT_LT(sent.size(), 4095U) << "the ring never filled";

  transmit_burst(handle, *frames, *mbufs, *counters);
  EXPECT_EQ(counters->read(Verdict::local_reply), 3U);
  EXPECT_EQ(counters->read(Verdict::drop_tx_full), 5U);
  EXPECT_EQ(counters->read(Counter::sent_packets), 3U);

  for (std::array<rte_mbuf*, 32> rest{};;) {
    const auto count = rte_eth_rx_burst(handle.port, 0, rest.data(), 32);
    if (count == 0) break;
    rte_pktmbuf_free_bulk(rest.data(), count);
  }
  EXPECT_EQ(rte_mempool_in_use_count(filler), 0U);
  EXPECT_EQ(rte_mempool_in_use_count(rte_mempool_lookup("test")), 0U);
}

TEST_F(PortTest, RunsABodyOnEachWorkersOwnCore) {
  ASSERT_FALSE(plan.worker_cores.empty());
  unsigned core = ~0U;
  ASSERT_TRUE(eal->launch(0, [&core] { core = static_cast<unsigned>(::sched_getcpu()); }));
  eal->join();
  EXPECT_EQ(core, plan.worker_cores[0]);
}

}  // namespace
}  // namespace pharos::dataplane::io
