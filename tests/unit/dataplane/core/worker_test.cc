// A worker on a real EAL and a net_ring port, whose transmit side is its receive side: what the test injects reaches
// the worker, and the worker's own replies come back to it as frames for another station.
#include "pharos/dataplane/core/worker.hh"

#include "pharos/dataplane/io/eal.hh"
#include "pharos/dataplane/io/port.hh"

#include <gtest/gtest.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <thread>

#include "packets/octets.hh"
#include "unit/dataplane/table/table_fixture.hh"

namespace pharos::dataplane {
namespace {

constexpr std::uint16_t beacon_port = 5380;
constexpr std::uint64_t ring_bytes = 1U << 14;

class WorkerTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    char name[] = "/tmp/pharos-worker-test-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    directory = name;
    config::DataplaneConfig dataplane;
    dataplane.huge_pages = config::HugePages::never;
    dataplane.memory_bytes = 64U << 20;
    dataplane.ports.resize(1);
    auto& port_config = dataplane.ports[0];
    port_config.id = "loop";
    port_config.device = "net_ring0";
    port_config.receive_descriptors = port_config.transmit_descriptors = 256;
    const auto plan = io::plan_eal(dataplane, directory, io::read_host_facts()).value();
    auto started = io::Eal::start(plan, directory);
    ASSERT_TRUE(started) << started.error().text();
    eal.emplace(std::move(*started));
    auto opened = io::Port::open(port_config, plan.devices[0]);
    ASSERT_TRUE(opened) << opened.error().text();
    port.emplace(std::move(*opened));
    pool = rte_pktmbuf_pool_create("test", 1023, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, 0);
    ASSERT_NE(pool, nullptr);
    InterfaceSettings settings;
    settings.mac = port->mac();
    settings.addresses = {*IpAddress::parse("192.0.2.1")};
    settings.beacon_port = beacon_port;
    interface = make_interface(settings).value();
  }
  static void TearDownTestSuite() {
    port.reset();
    eal.reset();
    std::filesystem::remove_all(directory);
  }

  void launch(config::IdlePolicy idle, ExceptionQueue* queue = nullptr) {
    WorkerSettings settings;
    settings.index = 0;
    settings.queues = {
        {.handle = {.port = port->number(), .frame_bytes_max = 1514, .pool = port->pool(0)},
         .interface = &interface,
         .idle = idle,
         .exceptions = queue}};
    settings.beacons.emplace(RingProducer::create(ring_bytes, "worker_test").value());
    settings.cycles_per_us = measure_cycles_per_us();
    worker = std::make_unique<Worker>(std::move(settings), published, ServeOptions{});
    ASSERT_TRUE(eal->launch(0, [this] { worker->run(); }));
  }
  void TearDown() override {
    published.stop.store(true);
    eal->join();
    interface.exception_port = false;
  }
  void launch_with_exceptions() {
    ASSERT_TRUE(lane.open());
    exceptions = ExceptionQueue::create(lane).value();
    interface.exception_port = true;
    launch(config::IdlePolicy::poll, exceptions.get());
  }

  static void inject(const packets::Octets& frame) {
    rte_mbuf* mbuf = rte_pktmbuf_alloc(pool);
    ASSERT_NE(mbuf, nullptr);
    std::memcpy(rte_pktmbuf_append(mbuf, static_cast<std::uint16_t>(frame.size())), frame.data(),
                frame.size());
    ASSERT_EQ(rte_eth_tx_burst(port->number(), 0, &mbuf, 1), 1);
  }
  static void inject_udp(std::uint16_t to_port, const packets::Octets& payload) {
    packets::FrameText text;
    text.destination = port->mac().bytes;
    inject(packets::udp_frame(text, 4242, to_port, payload));
  }
  static void inject_query() { inject_udp(53, packets::query({.name = "s1."})); }

  // Gives way until the worker has come so far; false after ten seconds.
  [[nodiscard]] static bool reached(const std::function<bool()>& condition) {
    const auto deadline = monotonic_now() + seconds(10);
    while (!condition()) {
      if (monotonic_now() > deadline) return false;
      std::this_thread::yield();
    }
    return true;
  }
  [[nodiscard]] bool counted(Verdict verdict, std::uint64_t count) const {
    return reached([&] { return worker->counters().read(verdict) >= count; });
  }

  static inline std::string directory;
  static inline std::optional<io::Eal> eal;
  static inline std::optional<io::Port> port;
  static inline rte_mempool* pool;
  static inline Interface interface;
  Published published;
  Waker lane;  // nobody's: the test stands for the lane
  std::unique_ptr<ExceptionQueue> exceptions;
  std::unique_ptr<Worker> worker;
};

[[nodiscard]] std::unique_ptr<const TableRoot> root_of(Version version) {
  auto root = make_root(nullptr, version,
                        {.catalog = share(catalog_of(version)),
                         .locale_map = share(locale_map_of(version)),
                         .ranking_base = share(base_of(version)),
                         .ranking_delta = nullptr});
  EXPECT_TRUE(root) << root.error().text();
  return std::move(*root);
}

TEST_F(WorkerTest, DropsQueriesBeforeTheFirstTablesAndAnswersAfterThem) {
  launch(config::IdlePolicy::poll);
  inject_query();
  ASSERT_TRUE(counted(Verdict::drop_no_tables, 1));
  EXPECT_EQ(worker->counters().read(Verdict::answered), 0U);

  const auto first = root_of({1, 1});
  publish_root(published, first.get());
  inject_query();
  ASSERT_TRUE(counted(Verdict::answered, 1));

  // The old root may go as soon as publish_root has returned.
  {
    const auto second = root_of({1, 2});
    publish_root(published, second.get());
    inject_query();
    ASSERT_TRUE(counted(Verdict::answered, 2));
    publish_root(published, first.get());
  }
  inject_query();
  ASSERT_TRUE(counted(Verdict::answered, 3));
  EXPECT_EQ(worker->counters().read(Counter::rcode_noerror), 3U);
  publish_root(published, nullptr);
  inject_query();
  EXPECT_TRUE(counted(Verdict::drop_no_tables, 2));
}

TEST_F(WorkerTest, CopiesBeaconsIntoItsRingAndDropsThemWhenNobodyReads) {
  launch(config::IdlePolicy::adaptive);
  UniqueFd copy(::dup(worker->beacon_ring_fd()));
  auto ring = RingConsumer::attach(std::move(copy)).value();
  const packets::Octets beacon(700, std::byte{0x5a});
  const auto before = monotonic_now();
  inject_udp(beacon_port, beacon);
  ASSERT_TRUE(counted(Verdict::beacon_forwarded, 1));
  const auto record = ring.pop();
  ASSERT_TRUE(record);
  EXPECT_EQ(record->kind, RingRecordKind::beacon);
  ASSERT_EQ(record->bytes.size(), sizeof(BeaconArrival) + beacon.size());
  const auto arrival = load<BeaconArrival>(record->bytes.data());
  EXPECT_EQ(arrival.source_port, 4242);
  EXPECT_GE(arrival.received_ns, before.ns);
  IpAddress source;
  std::ranges::copy(arrival.source, source.bytes.begin());
  EXPECT_EQ(source.text(), "198.51.100.7");
  EXPECT_TRUE(std::ranges::equal(record->bytes.subspan(sizeof(BeaconArrival)), beacon));
  ring.release();

  // 16 KiB hold 22 of these; the rest is dropped and counted, and DNS goes on.
  for (int i = 0; i < 40; ++i) inject_udp(beacon_port, beacon);
  ASSERT_TRUE(reached([&] {
    return worker->counters().read(Verdict::beacon_forwarded) +
               worker->counters().read(Verdict::beacon_ring_full) ==
           41;
  }));
  EXPECT_GT(worker->counters().read(Verdict::beacon_ring_full), 0U);
  inject_query();
  EXPECT_TRUE(counted(Verdict::drop_no_tables, 1));
}

TEST_F(WorkerTest, HandsExceptionsToTheLaneAndSendsWhatTheKernelSends) {
  launch_with_exceptions();
  packets::FrameText ping;
  ping.destination = port->mac().bytes;
  ping.protocol = 1;
  const auto frame = packets::ip_frame(ping, packets::hex("0800 f7ff 0000 0000"));
  lane.will_sleep();
  inject(frame);
  ASSERT_TRUE(counted(Verdict::exception, 1));
  ASSERT_TRUE(reached([&] { return exceptions->has_worker_frames(); }));
  const auto taken = exceptions->take_from_worker();
  ASSERT_TRUE(taken);
  EXPECT_TRUE(std::ranges::equal(*taken, frame));
  EXPECT_EQ(worker->counters().read(Verdict::local_reply), 0U);

  // The port's transmit side is its receive side: what the kernel sends comes back, to another station.
  packets::FrameText reply;
  reply.destination = packets::client_mac;
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(exceptions->give_to_worker(packets::ip_frame(reply, packets::Octets(100))));
  }
  exceptions->wake_worker();
  ASSERT_TRUE(reached([&] { return worker->counters().read(Counter::exception_sent) == 100; }));
  EXPECT_TRUE(counted(Verdict::drop_not_ours, 100));
  EXPECT_EQ(worker->counters().read(Counter::exception_lost), 0U);
}

TEST_F(WorkerTest, LosesExceptionsThatTheLaneDoesNotTakeAndServesOn) {
  launch_with_exceptions();
  packets::FrameText tcp;
  tcp.destination = port->mac().bytes;
  tcp.protocol = 6;
  const auto frame = packets::ip_frame(tcp, packets::Octets(1400));
  std::uint64_t sent = 0;
  while (worker->counters().read(Counter::exception_lost) == 0) {
    inject(frame);
    ASSERT_TRUE(counted(Verdict::exception, ++sent));
    ASSERT_LT(sent, 1000U);
  }
  inject_query();
  EXPECT_TRUE(counted(Verdict::drop_no_tables, 1));
}

TEST_F(WorkerTest, SleepsOnAnIdleAdaptivePortAndWakesForAFrame) {
  launch(config::IdlePolicy::adaptive);
  ASSERT_TRUE(reached([&] { return worker->counters().read(Counter::sleeps) > 20; }));
  inject_query();
  EXPECT_TRUE(counted(Verdict::drop_no_tables, 1));
  EXPECT_LT(worker->busy_cycles(), worker->total_cycles());
}

TEST_F(WorkerTest, NeverSleepsOnAPolledPort) {
  launch(config::IdlePolicy::poll);
  ASSERT_TRUE(reached([&] { return worker->counters().read(Counter::loops) > 100'000; }));
  EXPECT_EQ(worker->counters().read(Counter::sleeps), 0U);
}

TEST_F(WorkerTest, TakesNewOptionsWhileItRuns) {
  launch(config::IdlePolicy::poll);
  const auto root = root_of({1, 1});
  publish_root(published, root.get());
  for (std::uint64_t round = 1; round <= 20; ++round) {
    ServeOptions options;
    options.nsid = "round " + std::to_string(round);
    const auto former = worker->exchange_options(options);
    synchronize_rcu();
    inject_query();
    ASSERT_TRUE(counted(Verdict::answered, round));
  }
  publish_root(published, nullptr);
}

}  // namespace
}  // namespace pharos::dataplane
