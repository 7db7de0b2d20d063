#include "pharos/dataplane/observe/frame_mask.hh"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "packets/octets.hh"

namespace pharos::dataplane {
namespace {

using packets::FrameText;
using packets::Octets;
using packets::Tag;

constexpr std::uint16_t dns_port = 53;
const ClientMask usual;

struct Masked {
  Octets frame;
  unsigned kept;
};

Masked masked(Octets frame, Direction direction, const ClientMask& mask = usual) {
  const unsigned kept = mask_frame(frame, direction, dns_port, mask);
  EXPECT_LE(kept, frame.size());
  frame.resize(std::min<std::size_t>(kept, frame.size()));
  return {frame, kept};
}

Octets subnet(const char* digits) {
  Octets data;
  packets::put16(data, 1);
  packets::put8(data, 32);
  packets::put8(data, 0);
  packets::put(data, packets::hex(digits));
  return packets::query({.name = "www.example."}, {.options = packets::option(8, data)});
}

TEST(FrameMaskTest, AQueryKeepsAllButTheClientAndItsChecksumsAreRight) {
  for (const auto& [from, cut] : {std::pair("198.51.100.77", "198.51.100.0"),
                                  std::pair("2001:db8:1:2ff::77", "2001:db8:1:200::")}) {
    FrameText text;
    text.from = from;
    if (std::string(from).find(':') != std::string::npos) text.to = "2001:db8::53";
    auto expected = text;
    expected.from = cut;
    EXPECT_EQ(masked(packets::udp_frame(text, 4242, 53, subnet("c6120a63")), Direction::in).frame,
              packets::udp_frame(expected, 4242, 53, subnet("c6120a00")));
  }
}

TEST(FrameMaskTest, AReplyIsMaskedAtItsDestinationBehindAnyTags) {
  for (const auto& tags : {std::vector<Tag>{}, {{0x8100, 100}}, {{0x88a8, 7}, {0x8100, 100}}}) {
    FrameText text;
    text.tags = tags;
    text.from = "192.0.2.1";
    text.to = "198.51.100.77";
    auto expected = text;
    expected.to = "198.51.100.0";
    EXPECT_EQ(masked(packets::udp_frame(text, 53, 4242, subnet("c6120a63")), Direction::out).frame,
              packets::udp_frame(expected, 53, 4242, subnet("c6120a00")));
  }
}

TEST(FrameMaskTest, PaddingAndIpOptionsDoNotLeave) {
  FrameText text;
  text.from = "198.51.100.77";
  text.ip_options = packets::hex("07070405c6336400");  // record route
  text.padding = packets::hex("c63364 4d c633644d");
  auto expected = text;
  expected.from = "198.51.100.0";
  expected.ip_options = Octets(8);
  expected.padding.clear();
  const auto query = packets::query({.name = "www.example."});
  EXPECT_EQ(masked(packets::udp_frame(text, 4242, 53, query), Direction::in).frame,
            packets::udp_frame(expected, 4242, 53, query));
}

TEST(FrameMaskTest, OfWhatIsNoReadableDnsOnlyHeadersLeave) {
  FrameText text;
  text.from = "198.51.100.77";
  const auto payload = packets::hex("c633644d c633644d c633644d c633644d c633644d c633644d");
  const unsigned ip_end = 14 + 20;
  const auto cut = [&](const Octets& frame) { return masked(frame, Direction::in); };
  EXPECT_EQ(cut(packets::udp_frame(text, 4242, 5380, payload)).kept, ip_end + 8) << "a beacon";
  EXPECT_EQ(cut(packets::udp_frame(text, 4242, 53, payload)).kept, ip_end + 8) << "no DNS";
  text.protocol = 6;
  EXPECT_EQ(cut(packets::ip_frame(text, Octets(60))).kept, ip_end + 20) << "TCP";
  text.protocol = 1;
  EXPECT_EQ(cut(packets::ip_frame(text, payload)).kept, ip_end + 8)
      << "ICMP, with what it is about";
  text.protocol = 47;
  EXPECT_EQ(cut(packets::ip_frame(text, payload)).kept, ip_end) << "a tunnel";
  text.protocol = 17;
  text.fragment = 0x2000;
  EXPECT_EQ(cut(packets::ip_frame(text, payload)).kept, ip_end) << "a fragment";
  const auto frame = cut(packets::ip_frame(text, payload)).frame;
  EXPECT_TRUE(std::ranges::search(frame, packets::hex("c633644d")).empty());
}

TEST(FrameMaskTest, ArpIsMaskedAtTheOtherEnd) {
  const auto arp = [](const char* sender, const char* target) {
    return packets::hex(
        std::string("020000000001020000000002 0806 0001080006040001 020000000002 ") + sender +
        " 000000000000 " + target);
  };
  EXPECT_EQ(masked(arp("c633644d", "c0000201"), Direction::in).frame, arp("c6336400", "c0000201"));
  EXPECT_EQ(masked(arp("c0000201", "c633644d"), Direction::out).frame, arp("c0000201", "c6336400"));
}

TEST(FrameMaskTest, OfAnUnknownProtocolTheEthernetHeaderLeaves) {
  EXPECT_EQ(masked(packets::hex("020000000001020000000002 88cc c633644d"), Direction::in).kept,
            14U);
  EXPECT_EQ(masked(packets::hex("0200000000"), Direction::in).kept, 0U);
}

TEST(FrameMaskTest, NoTruncatedFrameKeepsABitOfTheClient) {
  FrameText text;
  text.from = "198.51.100.77";
  const auto whole = packets::udp_frame(text, 4242, 53, subnet("c633644d"));
  const auto address = packets::hex("c633644d");
  for (std::size_t bytes = 0; bytes <= whole.size(); ++bytes) {
    const auto some =
        masked(Octets(whole.begin(), whole.begin() + static_cast<long>(bytes)), Direction::in);
    EXPECT_TRUE(std::ranges::search(some.frame, address).empty()) << bytes;
  }
}

TEST(FrameMaskTest, NoAddressOfOddKindsConfusesIt) {
  FrameText text;
  text.from = "::ffff:198.51.100.77";
  text.to = "2001:db8::53";
  auto frame = packets::udp_frame({.from = "2001:db8::1", .to = "2001:db8::53"}, 1, 53,
                                  packets::query({.name = "a."}));
  const auto mapped = packets::hex("00000000000000000000ffffc633644d");
  std::ranges::copy(mapped, frame.begin() + 14 + 8);
  const auto some = masked(frame, Direction::in).frame;
  EXPECT_TRUE(std::ranges::search(some, packets::hex("c633644d")).empty());
}

TEST(FrameMaskTest, KnowsThePeerInBothDirections) {
  FrameText text;
  text.from = "198.51.100.77";
  const auto frame = packets::udp_frame(text, 4242, 53, packets::query({.name = "a."}));
  const auto layout = layout_of(frame);
  EXPECT_EQ(peer_of(frame, layout, Direction::in)->text(), "198.51.100.77");
  EXPECT_EQ(peer_of(frame, layout, Direction::out)->text(), "192.0.2.1");
  EXPECT_FALSE(peer_of({}, layout_of({}), Direction::in));
}

}  // namespace
}  // namespace pharos::dataplane
