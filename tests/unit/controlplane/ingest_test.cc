// Ingest: rings and sockets through the gate to the engine's queue; by hand, and with its thread.
#include "pharos/controlplane/ingest/ingest.hh"

#include "pharos/controlplane/ingest/beacon_queue.hh"
#include "pharos/controlplane/ingest/socket_address.hh"
#include "pharos/shared/spsc_ring.hh"

#include <poll.h>
#include <sys/socket.h>

#include <gtest/gtest.h>

#include <thread>

#include "beacon_builder.hh"

namespace pharos::controlplane {
namespace {

using testing::BeaconSpec;
using testing::datagram_of;
using testing::key_of;
using testing::site_of;

BeaconSites two_sites(std::uint64_t set = 1) {
  const std::vector<config::SiteConfig> all = {site_of("fra1", {key_of(1, 0x11)}),
                                               site_of("ams1", {key_of(1, 0x33)})};
  auto sites = BeaconSites::make(all, set);
  EXPECT_TRUE(sites);
  return std::move(*sites);
}

Ingest open_ingest(Ingest::Options options) {
  auto ingest = Ingest::open(std::move(options), two_sites());
  EXPECT_TRUE(ingest) << ingest.error().text();
  return std::move(*ingest);
}

Ingest::Options listening_at(const char* address) {
  Ingest::Options options;
  options.listen = {{*IpAddress::parse(address), 0}};
  return options;
}

class Sender {
 public:
  explicit Sender(const config::SocketAddress& to) {
    sockaddr_storage system{};
    const auto length = to_system(to, system);
    fd_ = UniqueFd(::socket(system.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&system), length), 0);
  }
  void send(ConstBytes bytes) const {
    EXPECT_EQ(::send(fd_.get(), bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
  }

 private:
  UniqueFd fd_;
};

RingProducer make_ring() {
  auto ring = RingProducer::create(1U << 16, "ingest-test");
  EXPECT_TRUE(ring) << ring.error().text();
  return std::move(*ring);
}

std::vector<UniqueFd> fds_of(const RingProducer& ring) {
  std::vector<UniqueFd> fds;
  fds.emplace_back(::dup(ring.fd()));
  return fds;
}

bool push(RingProducer& ring, ConstBytes datagram, Instant received) {
  const BeaconArrival arrival{
      .received_ns = received.ns, .source = {}, .source_port = 1, .worker = 0, .reserved = 0};
  return ring.push(RingRecordKind::beacon, object_bytes(arrival), datagram);
}

BeaconSpec fresh(std::uint64_t sequence, bool leaving = false) {
  BeaconSpec spec{.sequence = sequence, .sent = wall_now()};
  spec.report.leaving = leaving;
  return spec;
}

bool readable(int fd, int timeout_ms) {
  pollfd wanted{.fd = fd, .events = POLLIN, .revents = 0};
  return ::poll(&wanted, 1, timeout_ms) == 1;
}

// ---- the queue ----

TEST(BeaconQueueTest, KeepsOrderAndRefusesWhatDoesNotFit) {
  BeaconQueue queue(4);
  AcceptedBeacon beacon;
  for (std::uint64_t turn = 0; turn < 3; ++turn) {
    for (std::uint64_t i = 0; i < 4; ++i) {
      beacon.sequence = turn * 4 + i;
      ASSERT_TRUE(queue.push(beacon));
    }
    beacon.sequence = 999;
    ASSERT_FALSE(queue.push(beacon));
    EXPECT_EQ(beacon.sequence, 999U) << "a refused beacon stays with its owner";
    for (std::uint64_t i = 0; i < 4; ++i) {
      ASSERT_TRUE(queue.pop(beacon));
      EXPECT_EQ(beacon.sequence, turn * 4 + i);
    }
    EXPECT_FALSE(queue.pop(beacon));
  }
}

TEST(BeaconQueueTest, HandsEveryBeaconFromThreadToThreadInOrder) {
  constexpr std::uint64_t count = 200'000;
  BeaconQueue queue(64);
  std::jthread producer([&] {
    AcceptedBeacon beacon;
    for (std::uint64_t i = 1; i <= count; ++i) {
      beacon.sequence = i;
      beacon.report.endpoints.assign(i % 4, {i, true, {}});
      while (!queue.push(beacon)) std::this_thread::yield();
    }
  });
  AcceptedBeacon beacon;
  for (std::uint64_t i = 1; i <= count; ++i) {
    while (!queue.pop(beacon)) std::this_thread::yield();
    ASSERT_EQ(beacon.sequence, i);
    ASSERT_EQ(beacon.report.endpoints.size(), i % 4);
  }
}

// ---- by hand ----

TEST(IngestTest, TakesBeaconsFromKernelSocketsOfBothFamilies) {
  for (const char* address : {"127.0.0.1", "::1"}) {
    auto ingest = open_ingest(listening_at(address));
    ASSERT_EQ(ingest.listening().size(), 1U);
    ASSERT_NE(ingest.listening()[0].port, 0);
    const Sender sender(ingest.listening()[0]);
    sender.send(datagram_of(fresh(1)));
    const auto at = now();
    EXPECT_EQ(ingest.turn(at), 1U);
    ASSERT_TRUE(readable(ingest.wake_fd(), 0));
    ingest.begin_drain();
    EXPECT_FALSE(readable(ingest.wake_fd(), 0));
    AcceptedBeacon beacon;
    ASSERT_TRUE(ingest.pop(beacon));
    EXPECT_EQ(beacon.site, 0U);
    EXPECT_EQ(beacon.received, at.monotonic);
    EXPECT_FALSE(ingest.pop(beacon));
  }
}

TEST(IngestTest, CountsWhatIsNoBeaconAndHandsNothingOn) {
  auto ingest = open_ingest(listening_at("127.0.0.1"));
  const Sender sender(ingest.listening()[0]);
  const std::vector<std::byte> longest(beacon::datagram_bytes_max),
      longer(beacon::datagram_bytes_max + 1);
  sender.send(longest);
  sender.send(longer);
  sender.send({});
  auto forged = datagram_of(fresh(1));
  forged.back() ^= std::byte{1};
  sender.send(forged);
  EXPECT_EQ(ingest.turn(now()), 4U);
  const auto counters = ingest.counters();
  EXPECT_EQ(counters.of(BeaconVerdict::malformed), 2U);
  EXPECT_EQ(counters.of(BeaconVerdict::bad_mac), 1U);
  EXPECT_EQ(counters.of(IngestCounter::socket_truncated), 1U);
  EXPECT_EQ(counters.of(IngestCounter::datagrams_socket), 4U);
  EXPECT_FALSE(readable(ingest.wake_fd(), 0));
}

TEST(IngestTest, TakesBeaconsFromRingsWithTheirTimeOfArrival) {
  auto ingest = open_ingest({});
  auto ring = make_ring();
  ASSERT_TRUE(ingest.replace_rings(fds_of(ring)));
  const auto at = now();
  const auto received = at.monotonic - milliseconds(40);
  ASSERT_TRUE(push(ring, datagram_of(fresh(1)), received));
  EXPECT_EQ(ingest.turn(at), 1U);
  AcceptedBeacon beacon;
  ASSERT_TRUE(ingest.pop(beacon));
  EXPECT_EQ(beacon.received, received);
}

TEST(IngestTest, TrustsNoTimeOfArrivalFromTheFuture) {
  auto ingest = open_ingest({});
  auto ring = make_ring();
  ASSERT_TRUE(ingest.replace_rings(fds_of(ring)));
  const auto at = now();
  ASSERT_TRUE(push(ring, datagram_of(fresh(1)), at.monotonic + seconds(3600)));
  ingest.turn(at);
  AcceptedBeacon beacon;
  ASSERT_TRUE(ingest.pop(beacon));
  EXPECT_EQ(beacon.received, at.monotonic);
}

TEST(IngestTest, CountsForeignRecordsOfARing) {
  auto ingest = open_ingest({});
  auto ring = make_ring();
  ASSERT_TRUE(ingest.replace_rings(fds_of(ring)));
  const std::vector<std::byte> stump(sizeof(BeaconArrival) - 1);
  ASSERT_TRUE(ring.push(RingRecordKind::beacon, {}, stump));
  ASSERT_TRUE(ring.push(RingRecordKind::query_sample, {}, stump));
  ASSERT_TRUE(push(ring, {}, monotonic_now()));
  EXPECT_EQ(ingest.turn(now()), 3U);
  EXPECT_EQ(ingest.counters().of(IngestCounter::ring_foreign), 2U);
  EXPECT_EQ(ingest.counters().of(BeaconVerdict::malformed), 1U);
}

TEST(IngestTest, TakesSamplesOfDemandThatAreWhole) {
  auto ingest = open_ingest({});
  auto ring = make_ring();
  ASSERT_TRUE(ingest.replace_rings(fds_of(ring)));
  const std::array<DemandEntry, 2> entries{
      {{.pool = 3, .node = 8, .locale = 4, .reserved = 0, .weight = 64},
       {.pool = 5, .node = 9, .locale = 0, .reserved = 0, .weight = 1}}};
  const DemandHead head{
      .pools_id = 7, .locales_id = 9, .catalog_id = 11, .entry_count = 2, .reserved = 0};
  const auto bytes = std::as_bytes(std::span(entries));
  ASSERT_TRUE(ring.push(RingRecordKind::demand, object_bytes(head), bytes));
  // One byte less and one more, no head, more entries than a record holds.
  ASSERT_TRUE(ring.push(RingRecordKind::demand, object_bytes(head), bytes.first(bytes.size() - 1)));
  const std::vector<std::byte> longer(bytes.size() + 1);
  ASSERT_TRUE(ring.push(RingRecordKind::demand, object_bytes(head), longer));
  ASSERT_TRUE(ring.push(RingRecordKind::demand, {}, bytes.first(sizeof head - 1)));
  const DemandHead huge{
      .pools_id = 7, .locales_id = 9, .catalog_id = 11, .entry_count = 0xffffffff, .reserved = 0};
  ASSERT_TRUE(ring.push(RingRecordKind::demand, object_bytes(huge), bytes));
  ingest.turn(now());
  EXPECT_EQ(ingest.counters().of(IngestCounter::ring_foreign), 4U);
  EXPECT_EQ(ingest.counters().of(IngestCounter::demand_samples), 2U);
  std::vector<DemandSample> taken;
  ingest.take_demand(taken);
  ASSERT_EQ(taken.size(), 2U);
  EXPECT_EQ(taken[0].pools_id, 7U);
  EXPECT_EQ(taken[0].locales_id, 9U);
  EXPECT_EQ(taken[0].catalog_id, 11U);
  EXPECT_EQ(taken[0].entry.pool, 3U);
  EXPECT_EQ(taken[0].entry.node, 8U);
  EXPECT_EQ(taken[0].entry.weight, 64U);
  EXPECT_EQ(taken[1].entry.pool, 5U);
  ingest.take_demand(taken);
  EXPECT_EQ(taken.size(), 2U) << "each once";
}

TEST(IngestTest, ReadsFormerRingsToTheirEndBeforeItTakesNewOnes) {
  auto ingest = open_ingest({});
  auto first = make_ring();
  auto second = make_ring();
  ASSERT_TRUE(ingest.replace_rings(fds_of(first)));
  for (std::uint64_t i = 1; i <= 200; ++i)
    ASSERT_TRUE(push(first, datagram_of(fresh(i)), monotonic_now()));
  ASSERT_TRUE(ingest.replace_rings(fds_of(second)));
  EXPECT_EQ(ingest.counters().of(BeaconVerdict::accepted), 200U);
  ASSERT_TRUE(push(second, datagram_of(fresh(201)), monotonic_now()));
  ingest.turn(now());
  EXPECT_EQ(ingest.counters().of(BeaconVerdict::accepted), 201U);
}

TEST(IngestTest, KeepsItsRingsWhenNewOnesAreNone) {
  auto ingest = open_ingest({});
  auto ring = make_ring();
  ASSERT_TRUE(ingest.replace_rings(fds_of(ring)));
  std::vector<UniqueFd> wrong;
  wrong.emplace_back(::memfd_create("not a ring", MFD_CLOEXEC));
  EXPECT_FALSE(ingest.replace_rings(std::move(wrong)));
  ASSERT_TRUE(push(ring, datagram_of(fresh(1)), monotonic_now()));
  EXPECT_EQ(ingest.turn(now()), 1U);
}

TEST(IngestTest, LetsNoSourceStarveAnother) {
  auto ingest = open_ingest(listening_at("127.0.0.1"));
  auto flooded = make_ring();
  auto quiet = make_ring();
  auto fds = fds_of(flooded);
  fds.push_back(std::move(fds_of(quiet)[0]));
  ASSERT_TRUE(ingest.replace_rings(std::move(fds)));
  const std::vector<std::byte> garbage(100);
  while (push(flooded, garbage, monotonic_now())) {
  }
  ASSERT_TRUE(push(quiet, datagram_of(fresh(1)), monotonic_now()));
  Sender(ingest.listening()[0])
      .send(datagram_of(BeaconSpec{.site = "ams1", .key = key_of(1, 0x33), .sent = wall_now()}));
  EXPECT_LT(ingest.turn(now()), 100U) << "a turn is bounded";
  AcceptedBeacon beacon;
  EXPECT_TRUE(ingest.pop(beacon));
  EXPECT_TRUE(ingest.pop(beacon));
  // The one that did not fit the flooded ring.
  EXPECT_EQ(ingest.counters().of(IngestCounter::ring_dropped), 1U);
}

TEST(IngestTest, CountsWhatTheKernelDroppedBecauseItsSocketWasFull) {
  auto options = listening_at("127.0.0.1");
  options.socket_buffer_bytes = 16 << 10;
  auto ingest = open_ingest(std::move(options));
  const Sender sender(ingest.listening()[0]);
  constexpr std::uint64_t datagrams = 2'000;
  const std::vector<std::byte> garbage(600);
  std::uint64_t sent = 0;
  // What loopback takes is in the socket, or dropped there, when send() returns.
  for (; sent < datagrams; ++sent) sender.send(garbage);
  while (ingest.turn(now()) != 0) {
  }
  const auto counters = ingest.counters();
  EXPECT_GT(counters.of(IngestCounter::socket_dropped), datagrams / 2);
  EXPECT_EQ(
      counters.of(IngestCounter::socket_dropped) + counters.of(IngestCounter::datagrams_socket),
      sent);
  EXPECT_EQ(counters.of(BeaconVerdict::malformed), counters.of(IngestCounter::datagrams_socket));
  sender.send(garbage);
  while (ingest.turn(now()) != 0) {
  }
  EXPECT_EQ(ingest.counters().of(IngestCounter::socket_dropped),
            counters.of(IngestCounter::socket_dropped))
      << "counted once";
}

TEST(IngestTest, NeverLosesALeavingBeaconToAFullQueue) {
  auto options = listening_at("127.0.0.1");
  options.queue_beacons = 4;
  auto ingest = open_ingest(std::move(options));
  const Sender sender(ingest.listening()[0]);
  for (std::uint64_t i = 1; i <= 6; ++i) sender.send(datagram_of(fresh(i)));
  sender.send(datagram_of(fresh(7, true)));
  // A second one of the same site takes the first one's place.
  sender.send(datagram_of(fresh(8, true)));
  EXPECT_EQ(ingest.turn(now()), 8U);
  EXPECT_EQ(ingest.counters().of(IngestCounter::queue_full), 2U);
  AcceptedBeacon beacon;
  for (std::uint64_t i = 1; i <= 4; ++i) {
    ASSERT_TRUE(ingest.pop(beacon));
    EXPECT_EQ(beacon.sequence, i);
  }
  ASSERT_FALSE(ingest.pop(beacon));
  ingest.begin_drain();
  sender.send(datagram_of(fresh(9)));
  ingest.turn(now());
  EXPECT_TRUE(readable(ingest.wake_fd(), 0));
  ASSERT_TRUE(ingest.pop(beacon));
  EXPECT_EQ(beacon.sequence, 8U);
  EXPECT_TRUE(beacon.report.leaving);
  ASSERT_TRUE(ingest.pop(beacon));
  EXPECT_EQ(beacon.sequence, 9U) << "what came later comes later";
  EXPECT_FALSE(beacon.report.leaving);
}

TEST(IngestTest, CarriesFreshnessOverARestart) {
  std::vector<SiteFreshness> stored;
  {
    auto ingest = open_ingest(listening_at("127.0.0.1"));
    Sender(ingest.listening()[0]).send(datagram_of(fresh(5)));
    ingest.turn(now());
    stored = ingest.freshness();
  }
  auto ingest = open_ingest(listening_at("127.0.0.1"));
  ingest.import_freshness(stored);
  const Sender sender(ingest.listening()[0]);
  sender.send(datagram_of(fresh(4)));
  sender.send(datagram_of(fresh(6)));
  ingest.turn(now());
  EXPECT_EQ(ingest.counters().of(BeaconVerdict::replayed), 1U);
  EXPECT_EQ(ingest.counters().of(BeaconVerdict::accepted), 1U);
}

TEST(IngestTest, RefusesASocketThatIsTaken) {
  auto first = open_ingest(listening_at("127.0.0.1"));
  Ingest::Options options;
  options.listen = first.listening();
  const auto second = Ingest::open(std::move(options), two_sites());
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::unavailable);
  EXPECT_NE(second.error().where.find("127.0.0.1"), std::string::npos);
}

// ---- with its thread ----

TEST(IngestTest, WakesTheEngineAndTakesNewSitesWhileItRuns) {
  auto ingest = open_ingest(listening_at("127.0.0.1"));
  ASSERT_TRUE(ingest.start());
  const Sender sender(ingest.listening()[0]);
  AcceptedBeacon beacon;
  for (std::uint64_t i = 1; i <= 20; ++i) {
    sender.send(datagram_of(fresh(i)));
    ASSERT_TRUE(readable(ingest.wake_fd(), 10'000));
    ingest.begin_drain();
    ASSERT_TRUE(ingest.pop(beacon));
    ASSERT_EQ(beacon.sequence, i);
    ASSERT_EQ(beacon.site_set, i <= 10 ? 1U : 2U);
    if (i == 10) ingest.replace_sites(two_sites(2), seconds(30));
  }
  EXPECT_EQ(ingest.freshness().at(0).sequence, 20U);
  ingest.stop();
  EXPECT_EQ(ingest.freshness().at(0).sequence, 20U) << "calls work without the thread, too";
}

TEST(IngestTest, FindsBeaconsInRingsThatNobodySignals) {
  auto ingest = open_ingest({});
  ASSERT_TRUE(ingest.start());
  auto ring = make_ring();
  ASSERT_TRUE(ingest.replace_rings(fds_of(ring)));
  AcceptedBeacon beacon;
  for (std::uint64_t i = 1; i <= 20; ++i) {
    ASSERT_TRUE(push(ring, datagram_of(fresh(i)), monotonic_now()));
    ASSERT_TRUE(readable(ingest.wake_fd(), 10'000));
    ingest.begin_drain();
    ASSERT_TRUE(ingest.pop(beacon));
    ASSERT_EQ(beacon.sequence, i);
  }
}

TEST(IngestTest, StopsAndStartsAgain) {
  auto ingest = open_ingest(listening_at("127.0.0.1"));
  AcceptedBeacon beacon;
  for (std::uint64_t i = 1; i <= 3; ++i) {
    ASSERT_TRUE(ingest.start());
    Sender(ingest.listening()[0]).send(datagram_of(fresh(i)));
    ASSERT_TRUE(readable(ingest.wake_fd(), 10'000));
    ingest.begin_drain();
    ASSERT_TRUE(ingest.pop(beacon));
    ingest.stop();
  }
}

TEST(IngestTest, RefusesACoreThatIsNotThere) {
  Ingest::Options options;
  options.core = 100'000;
  auto ingest = open_ingest(std::move(options));
  const auto started = ingest.start();
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().code, ErrorCode::unavailable);
}

}  // namespace
}  // namespace pharos::controlplane
