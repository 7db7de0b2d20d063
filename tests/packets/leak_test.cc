// No byte of old buffer memory ever leaves, no reply needs a fragment, and no two servers talk to each other.
//
// Every request, sound or broken, runs twice from frame to frame in buffers that differ in all bytes behind the
// request: if one byte of the reply came from there, the two replies would differ in it. Buffers are exactly as large
// as the contract allows, so that sanitizers see a read or write beyond.
#include "pharos/dataplane/packet/frame_burst.hh"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <memory>
#include <random>

#include "query_table.hh"

namespace pharos::dataplane {
namespace {

using namespace packets;  // NOLINT

constexpr unsigned ethernet_bytes = 14;

Interface our_interface() {
  InterfaceSettings settings;
  settings.mac = MacAddress{server_mac};
  settings.addresses = {*IpAddress::parse("192.0.2.1"), *IpAddress::parse("2001:db8::53")};
  return *make_interface(settings);
}

enum class Fill : unsigned char { ascending, random };

// The way of one frame through a worker's turn. `mtu`: of the port.
struct Passage {
  Octets reply;  // empty: none
  Verdict verdict = Verdict::exception;

  Passage(ServeState& state, const Octets& frame, unsigned mtu, Fill fill, unsigned seed) {
    static const Interface interface = our_interface();
    const unsigned room = mtu + ethernet_bytes;
    const std::size_t bytes = std::max<std::size_t>(room, frame.size()) + query_slack_bytes;
    const auto buffer = std::make_unique<std::byte[]>(bytes);
    std::minstd_rand random(seed);
    for (std::size_t i = 0; i < bytes; ++i) {
      buffer[i] = static_cast<std::byte>(fill == Fill::ascending ? i : random() >> 7);
    }
    std::ranges::copy(frame, buffer.get());
    FrameBurst burst;
    CoreCounters counters;
    burst.begin();
    burst.add(buffer.get(), static_cast<unsigned>(frame.size()), room, 0);
    classify_burst(interface, burst, counters);
    serve_burst(state, query_tables(), burst.queries(), counters);
    finish_burst(interface, burst);
    verdict = burst.frames[0].verdict;
    if (burst.send_count == 1)
      reply.assign(burst.frames[0].data, burst.frames[0].data + burst.frames[0].length);
  }
};

FrameText text_of(bool ipv6) {
  if (ipv6) return {.from = "2001:db8:7::9", .to = "2001:db8::53"};
  return {};
}

// What anyone may do to a message: flip, set, cut, grow, swap a stretch for another request's.
Octets mutated(Octets message, const std::vector<Octets>& others, std::mt19937& random) {
  const unsigned changes = static_cast<unsigned>(random() % 4);
  for (unsigned i = 0; i < changes && !message.empty(); ++i) {
    const auto at = random() % message.size();
    const auto offset = static_cast<std::ptrdiff_t>(at);
    switch (random() % 6) {
      case 0:
        message[at] ^= std::byte{1} << static_cast<int>(random() % 8);
        break;
      case 1:
        message[at] = static_cast<std::byte>(random());
        break;
      case 2:
        message.resize(at);
        break;
      case 3:
        message.resize(message.size() + random() % 40, static_cast<std::byte>(random()));
        break;
      case 4:
        message.insert(message.begin() + offset, static_cast<std::byte>(random()));
        break;
      default: {
        const Octets& other = others[random() % others.size()];
        for (std::size_t j = at; j < message.size() && j < other.size(); ++j) message[j] = other[j];
      }
    }
  }
  return message;
}

std::vector<Octets> all_requests() {
  std::vector<Octets> requests;
  for (const QueryRow& row : all_query_rows()) requests.push_back(row.request);
  return requests;
}

class LeakTest : public testing::TestWithParam<unsigned> {};

TEST_P(LeakTest, NoReplyDependsOnWhatTheBufferHeldBefore) {
  std::mt19937 random(GetParam());
  const auto requests = all_requests();
  ServeState state(query_options());
  state.set_time(wall_s, {});
  unsigned replies = 0;
  for (int i = 0; i < 4000; ++i) {
    const Octets message = mutated(requests[random() % requests.size()], requests, random);
    const bool ipv6 = random() % 2 == 0;
    FrameText text = text_of(ipv6);
    if (!ipv6 && random() % 8 == 0) text.ip_options = Octets(4 * (1 + random() % 10), std::byte{7});
    if (random() % 8 == 0) text.tags = {{0x8100, 5}};
    if (random() % 4 == 0) text.padding = Octets(random() % 60, std::byte{0x5a});
    const unsigned mtu = random() % 3 == 0 ? 68 + static_cast<unsigned>(random() % 1500) : 1500;
    const Octets frame = udp_frame(text, 40000, 53, message);
    const Passage one(state, frame, mtu, Fill::ascending, 0);
    const Passage other(state, frame, mtu, Fill::random, static_cast<unsigned>(i) + 1);
    ASSERT_EQ(one.verdict, other.verdict) << hex_text(message);
    ASSERT_EQ(hex_text(one.reply), hex_text(other.reply)) << hex_text(message);
    if (!one.reply.empty()) {
      ++replies;
      // With tags the frame may be longer than MTU and header; we do not use that.
      ASSERT_LE(one.reply.size(), mtu + ethernet_bytes) << "needs a fragment";
    }
  }
  EXPECT_GT(replies, 1500U);
}

INSTANTIATE_TEST_SUITE_P(Seeds, LeakTest, testing::Range(1U, 6U));

// A row's request against every MTU: the reply is whole, or truncated, or none; and it says Don't Fragment.
TEST(FragmentTest, NoReplyIsLongerThanTheMtuAndNoneMayBeFragmented) {
  ServeState state(query_options());
  state.set_time(wall_s, {});
  const Edns large{.payload = 4096};
  for (const auto& message : {ask("big.example", type_a, large), ask("mxs.example", type_mx, large),
                              ask("huge.example", type_txt, large),
                              ask("nothing.example", type_a, large), ask("www.example", type_a)}) {
    for (const bool ipv6 : {false, true}) {
      const Octets frame = udp_frame(text_of(ipv6), 40000, 53, message);
      for (unsigned mtu = 28; mtu <= 1500; ++mtu) {
        const Passage passage(state, frame, mtu, Fill::random, mtu);
        if (passage.reply.empty()) {
          ASSERT_EQ(passage.verdict, Verdict::drop_no_room);
          continue;
        }
        ASSERT_LE(passage.reply.size(), mtu + ethernet_bytes);
        if (!ipv6) {
          EXPECT_EQ(passage.reply[20], std::byte{0x40}) << "Don't Fragment";
          EXPECT_EQ(passage.reply[21], std::byte{0}) << "no fragment";
        } else {
          EXPECT_EQ(passage.reply[20], std::byte{17}) << "no fragment header";
        }
      }
    }
  }
}

// The reply of one server, sent to another from port 53 to port 53, ends there.
TEST(TwoServersTest, AReplyOfOneIsNoQueryToTheOther) {
  std::mt19937 random(7);
  const auto requests = all_requests();
  ServeState state(query_options());
  state.set_time(wall_s, {});
  std::array<unsigned, 16> rcodes{};
  const auto exchange = [&](const Octets& message) {
    for (const bool ipv6 : {false, true}) {
      FrameText text = text_of(ipv6);
      const Passage first(state, udp_frame(text, 53, 53, message), 1500, Fill::random, 1);
      if (first.reply.empty()) continue;
      const std::size_t dns_at = ethernet_bytes + (ipv6 ? 40U : 20U) + 8;
      const Octets reply(first.reply.begin() + static_cast<std::ptrdiff_t>(dns_at),
                         first.reply.end());
      ++rcodes[std::to_integer<unsigned>(reply[3]) & 15U];
      const Passage second(state, udp_frame(text, 53, 53, reply), 1500, Fill::random, 1);
      ASSERT_EQ(second.verdict, Verdict::drop_dns_response) << hex_text(message);
      ASSERT_TRUE(second.reply.empty());
    }
  };
  for (const Octets& request : requests) exchange(request);
  for (int i = 0; i < 4000; ++i) {
    exchange(mutated(requests[random() % requests.size()], requests, random));
  }
  for (const unsigned rcode : {0U, 1U, 3U, 4U, 5U, 6U}) EXPECT_GT(rcodes[rcode], 0U) << rcode;
}

// Whatever the other 15 header bits say: QR alone decides, and what has it is never answered.
TEST(TwoServersTest, EveryHeaderWithQrIsDropped) {
  ServeState state(query_options());
  state.set_time(wall_s, {});
  for (unsigned flags = 0; flags <= 0xffff; ++flags) {
    const Octets message = ask("www.example", type_a, 1, flags);
    const Passage passage(state, udp_frame(text_of(false), 53, 53, message), 600, Fill::ascending,
                          0);
    const bool response = (flags & 0x8000U) != 0;
    ASSERT_EQ(passage.verdict, response ? Verdict::drop_dns_response : Verdict::answered) << flags;
  }
}

}  // namespace
}  // namespace pharos::dataplane
