// Every value of every field that decides what becomes of a frame, one field at a time, against a rule written down
// beside it. The other fields are those of a sound query.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <set>

#include "frame_table.hh"

namespace pharos::dataplane {
namespace {

using namespace packets;  // NOLINT

constexpr std::size_t ip_at = 14;

Verdict verdict_of(const Octets& frame, const InterfaceSettings& settings = frame_settings()) {
  Turn turn(settings, frame, room_bytes, 0);
  turn.answer();
  return turn.burst.frames[0].verdict;
}

void put_at(Octets& frame, std::size_t at, unsigned value) {
  frame[at] = static_cast<std::byte>(value >> 8 & 0xff);
  frame[at + 1] = static_cast<std::byte>(value & 0xff);
}

// All values of the 16 bits at `at` of a query by `text`; where the IPv4 header holds them its checksum is made right.
void sweep16(const FrameText& text, std::size_t at, const std::function<Verdict(unsigned)>& rule) {
  const Octets sound = udp_frame(text, 40000, 53, question);
  const bool ipv4_header = text.to.find(':') == std::string::npos && at >= ip_at && at < ip_at + 20;
  for (unsigned value = 0; value <= 0xffff; ++value) {
    Octets frame = sound;
    put_at(frame, at, value);
    if (ipv4_header)
      ipv4_field(at - ip_at, value >> 8)(frame);  // writes what is there already, and the checksum
    const Verdict verdict = verdict_of(frame);
    ASSERT_EQ(verdict, rule(value)) << "field at " << at << ", value " << value << ": "
                                    << verdict_texts[static_cast<std::size_t>(verdict)].name;
  }
}

TEST(FrameSweepTest, EveryIpv4TotalLength) {
  const auto sound = static_cast<unsigned>(28 + question.size());
  sweep16(v4(), ip_at + 2, [&](unsigned value) {
    if (value < 20 || value > sound) return Verdict::drop_ip_header;
    return value < sound ? Verdict::drop_udp_length : Verdict::answered;
  });
}

TEST(FrameSweepTest, EveryIpv6PayloadLength) {
  const auto sound = static_cast<unsigned>(8 + question.size());
  sweep16(v6(), ip_at + 4, [&](unsigned value) {
    if (value > sound) return Verdict::drop_ip_header;
    return value < sound ? Verdict::drop_udp_length : Verdict::answered;
  });
}

TEST(FrameSweepTest, EveryUdpLength) {
  const auto sound = static_cast<unsigned>(8 + question.size());
  const auto rule = [&](unsigned value) {
    if (value < 8 || value > sound) return Verdict::drop_udp_length;
    return value < sound ? Verdict::drop_udp_checksum : Verdict::answered;
  };
  sweep16(v4(), ip_at + 20 + 4, rule);
  sweep16(v6(), ip_at + 40 + 4, rule);
}

TEST(FrameSweepTest, EveryIpv4FragmentField) {
  sweep16(v4(), ip_at + 6, [](unsigned value) {
    return (value & 0x3fffU) != 0 ? Verdict::drop_fragment : Verdict::answered;
  });
}

TEST(FrameSweepTest, EveryEtherType) {
  sweep16(v4(), 12, [](unsigned value) {
    switch (value) {
      case 0x0800:
        return Verdict::answered;
      case 0x0806:
        return Verdict::drop_local;  // an IPv4 header is no ARP packet
      case 0x8100:
      case 0x88a8:
        return Verdict::drop_ether_type;  // 4500 is read as a tag, and a length as a type
      case 0x86dd:
        return Verdict::drop_ip_header;
      default:
        return Verdict::drop_ether_type;
    }
  });
}

TEST(FrameSweepTest, EveryDestinationPort) {
  const auto sweep = [](const FrameText& text) {
    for (unsigned port = 0; port <= 0xffff; ++port) {
      const Verdict verdict = verdict_of(udp_frame(text, 40000, port, question));
      const Verdict expected = port == 53            ? Verdict::answered
                               : port == beacon_port ? Verdict::beacon_forwarded
                                                     : Verdict::drop_port;
      ASSERT_EQ(verdict, expected) << port;
    }
  };
  sweep(v4());
  sweep(v6());
}

TEST(FrameSweepTest, EverySourcePortButZeroIsAnswered) {
  for (unsigned port = 0; port <= 0xffff; ++port) {
    ASSERT_EQ(verdict_of(udp_frame(v4(), port, 53, question)),
              port == 0 ? Verdict::drop_port : Verdict::answered)
        << port;
  }
}

TEST(FrameSweepTest, EveryIpv4Protocol) {
  for (unsigned protocol = 0; protocol < 256; ++protocol) {
    Octets frame = udp_frame(v4(), 40000, 53, question);
    ipv4_field(9, protocol)(frame);
    EXPECT_EQ(verdict_of(frame), protocol == 17 ? Verdict::answered : Verdict::drop_protocol);
  }
}

TEST(FrameSweepTest, EveryIpv6NextHeader) {
  const std::set<unsigned> extensions{0, 43, 44, 50, 51, 60, 135, 139, 140};
  for (unsigned next = 0; next < 256; ++next) {
    Octets frame = udp_frame(v6(), 40000, 53, question);
    frame[ip_at + 6] = static_cast<std::byte>(next);
    const Verdict expected = next == 17                  ? Verdict::answered
                             : extensions.contains(next) ? Verdict::drop_extension
                                                         : Verdict::drop_protocol;
    EXPECT_EQ(verdict_of(frame), expected) << next;
  }
}

TEST(FrameSweepTest, EveryIpv4VersionAndHeaderLength) {
  for (unsigned value = 0; value < 256; ++value) {
    Octets frame = udp_frame(v4(), 40000, 53, question);
    frame[ip_at] = static_cast<std::byte>(value);
    if (value >> 4 == 4 && (value & 15U) > 5) {
      // The longer header swallows what was UDP; its checksum does not hold.
      EXPECT_EQ(verdict_of(frame), Verdict::drop_ip_checksum) << value;
    } else {
      EXPECT_EQ(verdict_of(frame), value == 0x45 ? Verdict::answered : Verdict::drop_ip_header);
    }
  }
}

TEST(FrameSweepTest, EveryOtherBitOfTheChecksumsMatters) {
  for (const FrameText& text : {v4(), v6()}) {
    const std::size_t udp_at = ip_at + (text.to == ipv6_address ? 40 : 20);
    const Octets sound = udp_frame(text, 40000, 53, question);
    for (std::size_t bit = 0; bit < 8 * (8 + question.size()); ++bit) {
      Octets frame = sound;
      frame[udp_at + bit / 8] ^= std::byte{1} << static_cast<int>(bit % 8);
      EXPECT_NE(verdict_of(frame), Verdict::answered) << bit;
    }
  }
}

// A reply whose sum comes out as zero says 0xffff: zero would mean that there is none (RFC 768).
TEST(FrameSweepTest, AReplyNeverSaysThatItHasNoChecksum) {
  unsigned all_ones = 0;
  for (const FrameText& text : {v4(), v6()}) {
    const std::size_t udp_at = ip_at + (text.to == ipv6_address ? 40 : 20);
    for (unsigned id = 0; id <= 0xffff; ++id) {
      Octets message = question;
      put_at(message, 0, id);
      Turn turn(frame_settings(), udp_frame(text, 40000, 53, message), room_bytes, 0);
      turn.answer();
      const Octets sent = turn.sent();
      ASSERT_FALSE(sent[udp_at + 6] == std::byte{0} && sent[udp_at + 7] == std::byte{0}) << id;
      all_ones +=
          sent[udp_at + 6] == std::byte{0xff} && sent[udp_at + 7] == std::byte{0xff} ? 1 : 0;
    }
  }
  EXPECT_GE(all_ones, 2U);  // each family has its id
}

// With an exception port, whatever is not DNS goes there; forged and broken packets for our ports do not.
TEST(FrameSweepTest, TheExceptionPortGetsWhatTheKernelOwns) {
  auto settings = frame_settings();
  settings.exception_port = true;
  for (unsigned protocol = 0; protocol < 256; ++protocol) {
    Octets frame = udp_frame(v4(), 40000, 53, question);
    ipv4_field(9, protocol)(frame);
    EXPECT_EQ(verdict_of(frame, settings), protocol == 17 ? Verdict::answered : Verdict::exception);
    frame = udp_frame(v6(), 40000, 53, question);
    frame[ip_at + 6] = static_cast<std::byte>(protocol);
    EXPECT_EQ(verdict_of(frame, settings), protocol == 17 ? Verdict::answered : Verdict::exception);
  }
  EXPECT_EQ(verdict_of(udp_frame(from(v4(), "127.0.0.1"), 40000, 53, question), settings),
            Verdict::drop_martian);
  EXPECT_EQ(verdict_of(udp_frame({.source = broadcast}, 40000, 53, question), settings),
            Verdict::drop_martian);
}

// The tables hold a row for every verdict that classification can end in.
TEST(FrameSweepTest, EveryVerdictOfClassificationHasARow) {
  std::set<Verdict> seen;
  for (const auto& rows : {dns_rows(), broken_rows(), local_rows(), hostile_rows()}) {
    for (const FrameRow& row : rows) seen.insert(row.verdict);
  }
  for (const Verdict verdict :
       {Verdict::answered, Verdict::local_reply, Verdict::drop_frame_short,
        Verdict::drop_ether_type, Verdict::drop_vlan, Verdict::drop_not_ours,
        Verdict::drop_ip_header, Verdict::drop_ip_checksum, Verdict::drop_fragment,
        Verdict::drop_extension, Verdict::drop_protocol, Verdict::drop_martian,
        Verdict::drop_udp_length, Verdict::drop_udp_checksum, Verdict::drop_local,
        Verdict::drop_port}) {
    EXPECT_TRUE(seen.contains(verdict)) << verdict_texts[static_cast<std::size_t>(verdict)].name;
  }
}

}  // namespace
}  // namespace pharos::dataplane
