// Frames in, frames or verdicts out: the packet half of a worker's turn, as a table. Every row says which counters
// moved; all others must have stood still.
#include <gtest/gtest.h>

#include <algorithm>

#include "frame_table.hh"

namespace pharos::dataplane {
namespace {

using namespace packets;  // NOLINT

class FrameTest : public testing::TestWithParam<FrameRow> {};

// Every verdict that the row does not name, and every counter beside those of all frames, must be zero.
void expect_counters(const CoreCounters& counters, const FrameRow& row) {
  for (std::size_t i = 0; i < verdict_count; ++i) {
    EXPECT_EQ(counters.verdicts[i], i == static_cast<std::size_t>(row.verdict) ? 1U : 0U)
        << verdict_texts[i].name;
  }
  const bool dns = row.verdict == Verdict::answered;
  const bool sent = !row.reply.empty();
  const bool ipv6 = sent && row.reply.size() > 14 && row.what != nullptr &&
                    (row.reply[12] == std::byte{0x86} || row.reply[16] == std::byte{0x86});
  EXPECT_EQ(counters.read(Counter::received_packets), 1U);
  EXPECT_EQ(counters.read(Counter::received_bytes), row.frame.size());
  EXPECT_EQ(counters.read(Counter::sent_packets), sent ? 1U : 0U);
  EXPECT_EQ(counters.read(Counter::sent_bytes), row.reply.size());
  EXPECT_EQ(counters.read(Counter::queries_ipv4), dns && !ipv6 ? 1U : 0U);
  EXPECT_EQ(counters.read(Counter::queries_ipv6), dns && ipv6 ? 1U : 0U);
}

TEST_P(FrameTest, EndsInItsVerdict) {
  const FrameRow& row = GetParam();
  Turn turn(row.interface, row.frame, row.room, row.receive_flags);
  turn.answer();
  expect_counters(turn.counters, row);
  EXPECT_EQ(turn.burst.frames[0].verdict, row.verdict)
      << verdict_texts[static_cast<std::size_t>(turn.burst.frames[0].verdict)].name;
  EXPECT_EQ(turn.burst.send_count, row.reply.empty() ? 0U : 1U);
  EXPECT_EQ(turn.burst.release_count, row.reply.empty() ? 1U : 0U);
  if (!row.reply.empty() && turn.burst.send_count == 1) {
    EXPECT_EQ(hex_text(turn.sent()), hex_text(row.reply));
  }
}

INSTANTIATE_TEST_SUITE_P(Dns, FrameTest, testing::ValuesIn(dns_rows()));
INSTANTIATE_TEST_SUITE_P(Broken, FrameTest, testing::ValuesIn(broken_rows()));
INSTANTIATE_TEST_SUITE_P(Local, FrameTest, testing::ValuesIn(local_rows()));
INSTANTIATE_TEST_SUITE_P(Hostile, FrameTest, testing::ValuesIn(hostile_rows()));

TEST(FrameBurstTest, EveryTruncationOfAValidFrameIsDropped) {
  for (const Octets& frame :
       {udp_frame(v4(), 40000, 53, question), udp_frame(v6(), 40000, 53, question),
        udp_frame({.tags = {{0x88a8, 1}, {0x8100, 2}}}, 40000, 53, question), echo(v4(), 8, 20),
        echo(v6(), 128, 20), arp(broadcast, 1, "192.0.2.9", "192.0.2.1"),
        solicitation(icmp6(ipv6_client, our_group), ipv6_address, source_link)}) {
    for (std::size_t length = 0; length < frame.size(); ++length) {
      Turn turn(frame_settings(),
                Octets(frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(length)),
                room_bytes, 0);
      EXPECT_EQ(turn.burst.query_count + turn.burst.local_reply_count, 0U) << length;
      finish_burst(turn.interface, turn.burst);
      EXPECT_EQ(turn.burst.release_count, 1U);
    }
  }
}

TEST(FrameBurstTest, BeaconsAreHandedOverWithTheirSource) {
  const Octets beacon = hex("00112233445566778899");
  Turn turn(frame_settings(), udp_frame(v4(), 4000, beacon_port, beacon), room_bytes, 0);
  ASSERT_EQ(turn.burst.beacons().size(), 1U);
  const auto& datagram = turn.burst.beacons()[0];
  EXPECT_EQ(datagram.source.text(), "198.51.100.7");
  EXPECT_EQ(datagram.source_port, 4000);
  EXPECT_EQ(Octets(datagram.bytes.begin(), datagram.bytes.end()), beacon);
  finish_burst(turn.interface, turn.burst);
  EXPECT_EQ(turn.burst.release_count, 1U);
  for (const auto count : turn.counters.verdicts) EXPECT_EQ(count, 0U);
}

TEST(FrameBurstTest, ABeaconLongerThanARingRecordIsDropped) {
  Turn turn(frame_settings(), udp_frame(v6(), 4000, beacon_port, Octets(2017)), 4000, 0);
  EXPECT_EQ(turn.burst.beacons().size(), 0U);
  EXPECT_EQ(turn.counters.read(Verdict::beacon_oversize), 1U);
  Turn fits(frame_settings(), udp_frame(v6(), 4000, beacon_port, Octets(2016)), 4000, 0);
  EXPECT_EQ(fits.burst.beacons().size(), 1U);
}

TEST(FrameBurstTest, AnExceptionPortTakesWhatIsNotDns) {
  auto s = frame_settings();
  s.exception_port = true;
  for (const Octets& frame :
       {arp(broadcast, 1, "192.0.2.9", "192.0.2.1"), echo(v4(), 8, 20), echo(v6(), 128, 20),
        solicitation(icmp6(ipv6_client, our_group), ipv6_address, source_link),
        udp_frame(v4(), 40000, 22, question), udp_frame(to(v4(), "192.0.2.9"), 1, 53, question),
        ip_frame({.protocol = 6}, Octets(20)),
        ip_frame({.protocol = 6, .fragment = 0x2000}, Octets(20))}) {
    Turn turn(s, frame, room_bytes, 0);
    EXPECT_EQ(turn.burst.exceptions().size(), 1U) << hex_text(frame);
    finish_burst(turn.interface, turn.burst);
    EXPECT_EQ(turn.burst.send_count + turn.burst.release_count, 0U);
    EXPECT_EQ(turn.counters.read(Verdict::exception), 1U);
    EXPECT_EQ(turn.sent(), frame) << "untouched";
  }
  Turn query(s, udp_frame(v4(), 40000, 53, question), room_bytes, 0);
  EXPECT_EQ(query.burst.query_count, 1U);
  Turn foreign(s, udp_frame({.destination = {0x02, 9, 9, 9, 9, 9}}, 40000, 53, question),
               room_bytes, 0);
  EXPECT_EQ(foreign.counters.read(Verdict::drop_not_ours), 1U);
}

TEST(FrameBurstTest, WritesTheLengthsOfAReplyThatIsNotAsLongAsItsRequest) {
  for (const int change : {-7, -1, 1, 2, 300}) {
    for (const FrameText& text : {v4(), v6()}) {
      SCOPED_TRACE(change);
      Turn turn(frame_settings(), udp_frame(text, 40000, 53, question), room_bytes, 0);
      turn.answer(change);
      Octets reply = turned(question);
      const auto bytes = static_cast<std::ptrdiff_t>(reply.size()) + change;
      reply.resize(static_cast<std::size_t>(bytes), std::byte{0xa5});
      EXPECT_EQ(hex_text(turn.sent()), hex_text(udp_frame(answering(text), 53, 40000, reply)));
    }
  }
}

TEST(FrameBurstTest, LeavesChecksumsToAPortThatComputesThem) {
  auto s = frame_settings();
  s.transmit_ipv4_checksum = s.transmit_udp_checksum = true;
  for (const FrameText& text : {v4(), v6()}) {
    Turn turn(s, udp_frame(text, 40000, 53, question), room_bytes, 0);
    turn.answer();
    const bool ipv6 = text.to == ipv6_address;
    const unsigned expected =
        transmit_flag::udp_checksum | (ipv6 ? transmit_flag::ipv6 : transmit_flag::ipv4_checksum);
    EXPECT_EQ(turn.burst.frames[0].transmit_flags, expected);
    EXPECT_EQ(turn.burst.frames[0].ip_offset, 14);
    EXPECT_EQ(turn.burst.frames[0].ip_header_bytes, ipv6 ? 40 : 20);
    // Done as a port does it: the sum over the UDP part, with what the field holds, is right.
    Octets frame = turn.sent();
    const std::size_t udp_at = ipv6 ? 54 : 34;
    if (!ipv6) {
      EXPECT_EQ(frame[24], std::byte{0});
      EXPECT_EQ(frame[25], std::byte{0});
      ipv4_field(0, 0x45)(frame);
    }
    unsigned sum =
        ~internet_sum(Octets(frame.begin() + static_cast<std::ptrdiff_t>(udp_at), frame.end())) &
        0xffff;
    if (sum == 0) sum = 0xffff;
    frame[udp_at + 6] = static_cast<std::byte>(sum >> 8);
    frame[udp_at + 7] = static_cast<std::byte>(sum & 0xff);
    EXPECT_EQ(hex_text(frame), hex_text(udp_frame(answering(text), 53, 40000, turned(question))));
  }
}

// The burst is the same one turn after turn, and each queue's of a worker. A port that were told to sum an ARP reply
// would write into its addresses, or refuse it.
TEST(FrameBurstTest, ALocalReplyAsksThePortForNoSumsWhateverItsSlotHeldBefore) {
  auto s = frame_settings();
  s.transmit_ipv4_checksum = s.transmit_udp_checksum = true;
  for (const FrameText& text : {v4(), v6()}) {
    for (Octets frame :
         {arp(broadcast, 1, "192.0.2.9", "192.0.2.1"), echo(v4(), 8, 20), echo(v6(), 128, 20),
          solicitation(icmp6(ipv6_client, our_group), ipv6_address, source_link)}) {
      Turn turn(s, udp_frame(text, 40000, 53, question), room_bytes, 0);
      turn.answer();
      const auto length = static_cast<unsigned>(frame.size());
      frame.resize(room_bytes + query_slack_bytes);
      turn.burst.begin();
      turn.burst.add(frame.data(), length, room_bytes, 0);
      classify_burst(turn.interface, turn.burst, turn.counters);
      finish_burst(turn.interface, turn.burst);
      ASSERT_EQ(turn.burst.send_count, 1U);
      EXPECT_EQ(turn.burst.frames[0].verdict, Verdict::local_reply);
      EXPECT_EQ(turn.burst.frames[0].transmit_flags &
                    (transmit_flag::ipv4_checksum | transmit_flag::udp_checksum),
                0);
    }
  }
}

TEST(FrameBurstTest, SortsAMixedBurstAndCountsWhatThePortTook) {
  const std::vector<Octets> frames = {
      udp_frame(v4(), 40000, 53, question), arp(broadcast, 1, "192.0.2.9", "192.0.2.1"),
      udp_frame(v6(), 40001, 53, question), udp_frame(v4(), 0, 53, question),
      udp_frame(v4(), 40002, 53, question), udp_frame(v4(), 4000, beacon_port, question)};
  const auto interface = *make_interface(frame_settings());
  FrameBurst burst;
  CoreCounters counters;
  std::vector<Octets> buffers;
  burst.begin();
  for (const auto& frame : frames) {
    buffers.emplace_back(frame).resize(room_bytes + query_slack_bytes);
  }
  for (std::size_t i = 0; i < frames.size(); ++i) {
    burst.add(buffers[i].data(), static_cast<unsigned>(frames[i].size()), room_bytes, 0);
  }
  classify_burst(interface, burst, counters);
  ASSERT_EQ(burst.query_count, 3U);
  for (Query& query : burst.queries()) query.reply_bytes = query.length;
  burst.queries()[1].verdict = Verdict::drop_policy;
  burst.queries()[0].verdict = burst.queries()[2].verdict = Verdict::answered;
  finish_burst(interface, burst);

  const auto list = [](std::span<const std::uint8_t> indices) {
    return std::vector<int>(indices.begin(), indices.end());
  };
  EXPECT_EQ(list(burst.sends()), (std::vector<int>{0, 4, 1}));
  EXPECT_EQ(list(burst.releases()), (std::vector<int>{2, 3, 5}));
  count_sent(burst, 2, counters);
  EXPECT_EQ(counters.read(Verdict::answered), 2U);
  EXPECT_EQ(counters.read(Verdict::local_reply), 0U);
  EXPECT_EQ(counters.read(Verdict::drop_tx_full), 1U);
  EXPECT_EQ(counters.read(Counter::sent_packets), 2U);
  EXPECT_EQ(counters.read(Counter::sent_bytes), frames[0].size() + frames[4].size());
}

}  // namespace
}  // namespace pharos::dataplane
