// Frames between worker, lane and kernel: rings, tags, wakers, and a tap device in a network namespace of its own.
#include "pharos/dataplane/lane/exception_interface.hh"

#include <ifaddrs.h>
#include <poll.h>
#include <sched.h>

#include <gtest/gtest.h>

#include <cstring>
#include <thread>

#include "packets/octets.hh"

namespace pharos::dataplane {
namespace {

using packets::hex;
using packets::Octets;

constexpr MacAddress our_mac{{0x02, 0, 0, 0, 0, 0x01}};

TEST(TagTest, TakesOffTheTagOfThePortsVlanAndNoOther) {
  const Octets plain = hex("020000000001 020000000002 0800 45 00");
  Octets tagged = hex("020000000001 020000000002 8100 6064 0800 45 00");
  const auto shorter = untag(tagged, 100);
  EXPECT_EQ(Octets(shorter.begin(), shorter.end()), plain);
  for (const char* text :
       {"020000000001 020000000002 8100 6065 0800 45 00",
        "020000000001 020000000002 0800 0064 0800 45 00", "020000000001 020000000002 8100 00"}) {
    Octets other = hex(text);
    const auto same = untag(other, 100);
    EXPECT_EQ(Octets(same.begin(), same.end()), hex(text));
  }
}

TEST(TagTest, PutsATagInFrontOfTheType) {
  Octets buffer = hex("00000000 020000000001 020000000002 0800 45 00");
  const auto longer = tag(buffer.data(), buffer.size() - 4, 100);
  EXPECT_EQ(Octets(longer.begin(), longer.end()),
            hex("020000000001 020000000002 8100 0064 0800 45 00"));
  Octets stub = hex("00000000 0200");
  const auto same = tag(stub.data(), 2, 100);
  EXPECT_EQ(Octets(same.begin(), same.end()), hex("0200"));
}

TEST(ExceptionQueueTest, CarriesFramesBothWaysAndLosesWhatDoesNotFit) {
  Waker lane;
  ASSERT_TRUE(lane.open());
  const auto queue = ExceptionQueue::create(lane).value();
  EXPECT_FALSE(queue->has_worker_frames());
  const Octets frame(1514, std::byte{7});
  unsigned taken = 0;
  while (queue->give(frame)) ++taken;
  EXPECT_GT(taken, 150U);
  EXPECT_TRUE(queue->has_worker_frames());
  EXPECT_FALSE(queue->has_kernel_frames());
  for (unsigned i = 0; i < taken; ++i) {
    const auto got = queue->take_from_worker();
    ASSERT_TRUE(got);
    ASSERT_TRUE(std::ranges::equal(*got, frame));
  }
  EXPECT_FALSE(queue->take_from_worker());
  queue->release_from_worker();
  EXPECT_TRUE(queue->give(frame)) << "there is room again";
  EXPECT_FALSE(queue->give(Octets(ring_record_bytes_max + 1)));
  EXPECT_TRUE(queue->give_to_worker(frame));
  EXPECT_TRUE(queue->has_kernel_frames());
  EXPECT_TRUE(queue->take_from_kernel());
}

[[nodiscard]] bool rings(const Waker& waker) {
  pollfd ready{.fd = waker.fd(), .events = POLLIN, .revents = 0};
  return ::poll(&ready, 1, 0) == 1;
}

TEST(WakerTest, RingsForWhoSleepsOnceAndForNobodyElse) {
  Waker waker;
  ASSERT_TRUE(waker.open());
  waker.wake();
  EXPECT_FALSE(rings(waker)) << "nobody sleeps";
  waker.will_sleep();
  waker.wake();
  waker.wake();
  EXPECT_TRUE(rings(waker));
  waker.woke();
  EXPECT_FALSE(rings(waker));
  waker.will_sleep();
  waker.woke();
  waker.wake();
  EXPECT_FALSE(rings(waker));
}

// Sleeps until `counter` is more than `done`; false where nobody rang in ten seconds.
[[nodiscard]] bool await(Waker& waker, const std::atomic<unsigned>& counter, unsigned done) {
  while (counter.load(std::memory_order_relaxed) == done) {
    waker.will_sleep();
    if (counter.load(std::memory_order_relaxed) == done) {
      pollfd ready{.fd = waker.fd(), .events = POLLIN, .revents = 0};
      if (::poll(&ready, 1, 10'000) != 1) return false;
    }
    waker.woke();
  }
  return true;
}

TEST(WakerTest, LetsNoWorkBeSleptOver) {
  Waker ping, pong;
  ASSERT_TRUE(ping.open());
  ASSERT_TRUE(pong.open());
  std::atomic<unsigned> pings{0}, pongs{0};  // relaxed: the wakers order them
  constexpr unsigned rounds = 500;
  std::thread answerer([&] {
    for (unsigned done = 0; done < rounds; ++done) {
      ASSERT_TRUE(await(ping, pings, done)) << done;
      pongs.store(done + 1, std::memory_order_relaxed);
      pong.wake();
    }
  });
  for (unsigned done = 0; done < rounds; ++done) {
    pings.store(done + 1, std::memory_order_relaxed);
    ping.wake();
    ASSERT_TRUE(await(pong, pongs, done)) << done;
  }
  answerer.join();
}

// The next frame of that type, within ten seconds.
[[nodiscard]] Octets read_frame(int fd, const Octets& type) {
  for (;;) {
    pollfd ready{.fd = fd, .events = POLLIN, .revents = 0};
    if (::poll(&ready, 1, 10'000) != 1) return {};
    Octets frame(2048);
    const auto got = ::read(fd, frame.data(), frame.size());
    if (got <= 0) return {};
    frame.resize(static_cast<std::size_t>(got));
    if (std::equal(type.begin(), type.end(), frame.begin() + 12)) return frame;
  }
}

void write_frame(int fd, const Octets& frame) {
  EXPECT_EQ(::write(fd, frame.data(), frame.size()), static_cast<ssize_t>(frame.size()));
}

// In a namespace of its own, which ends with the thread.
void use_a_tap() {
  TapSettings settings;
  settings.name = "x0";
  settings.mac = our_mac;
  settings.mtu_bytes = 1400;
  settings.addresses = {*IpAddress::parse("192.0.2.1"), *IpAddress::parse("2001:db8::1")};
  settings.gateways = {*IpAddress::parse("198.51.100.1")};
  settings.networks = {*IpPrefix::parse("198.51.100.0/24")};
  auto tap = Tap::open(settings);
  ASSERT_TRUE(tap) << tap.error().text();

  ifaddrs* list = nullptr;
  ASSERT_EQ(::getifaddrs(&list), 0);
  unsigned ipv4 = 0;
  for (const auto* at = list; at != nullptr; at = at->ifa_next) {
    if (at->ifa_addr != nullptr && at->ifa_addr->sa_family == AF_INET) ++ipv4;
  }
  ::freeifaddrs(list);
  EXPECT_EQ(ipv4, 1U);

  // It announces its addresses.
  const auto announced = read_frame(tap->fd(), hex("0806"));
  ASSERT_GE(announced.size(), 42U);
  EXPECT_EQ(Octets(announced.begin(), announced.begin() + 12), hex("ffffffffffff 020000000001"));
  EXPECT_EQ(Octets(announced.begin() + 28, announced.begin() + 32), hex("c0000201"));

  // ARP and echo are the kernel's, with the port's MAC.
  write_frame(tap->fd(),
              hex("ffffffffffff 020000000002 0806 0001 0800 06 04 0001 020000000002 c6336407 "
                  "000000000000 c0000201"));
  const auto arp = read_frame(tap->fd(), hex("0806"));
  ASSERT_GE(arp.size(), 42U);
  EXPECT_EQ(Octets(arp.begin(), arp.begin() + 42),
            hex("020000000002 020000000001 0806 0001 0800 06 04 0002 020000000001 c0000201 "
                "020000000002 c6336407"));
  packets::FrameText echo;
  echo.protocol = 1;
  write_frame(tap->fd(), packets::ip_frame(echo, hex("0800 f7ff 0000 0000")));
  const auto reply = read_frame(tap->fd(), hex("0800"));
  ASSERT_GE(reply.size(), 42U);
  EXPECT_EQ(Octets(reply.begin(), reply.begin() + 12), hex("020000000002 020000000001"));
  EXPECT_EQ(Octets(reply.begin() + 26, reply.begin() + 35), hex("c0000201 c6336407 00"));
  // A client that is no neighbour is reached through the gateway.
  echo.from = "203.0.113.9";
  write_frame(tap->fd(), packets::ip_frame(echo, hex("0800 f7ff 0000 0000")));
  const auto question = read_frame(tap->fd(), hex("0806"));
  ASSERT_GE(question.size(), 42U);
  EXPECT_EQ(Octets(question.begin() + 38, question.begin() + 42), hex("c6336401"));
}

// A port of VLAN 100: tagged frames of the worker are plain ones for the kernel, and its replies are tagged again.
void use_an_interface_in_a_vlan() {
  TapSettings settings;
  settings.name = "x1";
  settings.mac = our_mac;
  settings.addresses = {*IpAddress::parse("192.0.2.1")};
  auto tap = Tap::open(settings);
  ASSERT_TRUE(tap) << tap.error().text();
  Waker lane;
  ASSERT_TRUE(lane.open());
  std::vector<std::unique_ptr<ExceptionQueue>> queues;
  queues.push_back(ExceptionQueue::create(lane).value());
  CoreCounters counters;
  ExceptionInterface interface(std::move(*tap), std::move(queues), 100, counters);
  auto& queue = interface.queue(0);
  ASSERT_TRUE(
      queue.give(hex("ffffffffffff 020000000002 8100 0064 0806 0001 0800 06 04 0001 "
                     "020000000002 c6336407 000000000000 c0000201")));
  EXPECT_TRUE(interface.has_worker_frames());
  interface.to_kernel();
  EXPECT_FALSE(interface.has_worker_frames());
  const Octets expected = hex("020000000002 020000000001 8100 0064 0806 0001 0800 06 04 0002");
  for (bool found = false; !found;) {
    pollfd ready{.fd = interface.fd(), .events = POLLIN, .revents = 0};
    ASSERT_EQ(::poll(&ready, 1, 10'000), 1) << "no ARP reply";
    interface.from_kernel();
    while (const auto frame = queue.take_from_kernel()) {
      found |= frame->size() >= expected.size() &&
               std::equal(expected.begin(), expected.end(), frame->begin());
    }
    queue.release_from_kernel();
  }
  EXPECT_EQ(counters.read(Counter::exception_lost), 0U);
}

TEST(TapTest, MakesTheKernelAHostWithThePortsAddresses) {
  bool isolated = false;
  std::thread([&] {
    isolated = ::unshare(CLONE_NEWNET) == 0;
    if (isolated) {
      use_a_tap();
      use_a_tap();  // nothing of the first is left
      use_an_interface_in_a_vlan();
    }
  }).join();
  if (!isolated) GTEST_SKIP() << "network namespaces need root";
}

TEST(TapTest, HasARoutingTableThatNobodyNumbersByHand) {
  EXPECT_EQ(routing_table_of("pharos0"), routing_table_of("pharos0"));
  EXPECT_NE(routing_table_of("pharos0"), routing_table_of("pharos1"));
  EXPECT_GT(routing_table_of("pharos0"), 255U);
}

}  // namespace
}  // namespace pharos::dataplane
