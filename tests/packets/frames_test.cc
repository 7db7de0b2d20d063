// Frames in, frames or verdicts out: the packet half of a worker's turn, as a table. Every row says which counters
// moved; all others must have stood still.
#include "pharos/dataplane/packet/frame_burst.hh"
#include "pharos/dataplane/packet/local_reply.hh"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <memory>
#include <ostream>

#include "octets.hh"

namespace pharos::dataplane {
namespace {

using namespace packets;  // NOLINT

constexpr unsigned room_bytes = 1600;
constexpr std::uint16_t beacon_port = 5380;
const std::string ipv6_address = "2001:db8::53";
const std::string ipv6_client = "2001:db8:7::9";

InterfaceSettings settings() {
  InterfaceSettings s;
  s.mac = MacAddress{server_mac};
  s.addresses = {*IpAddress::parse("192.0.2.1"), *IpAddress::parse("192.0.2.2"),
                 *IpAddress::parse(ipv6_address)};
  s.beacon_port = beacon_port;
  return s;
}

// One frame in a buffer of exactly the bytes that the contract allows to touch.
struct Turn {
  Interface interface;
  FrameBurst burst;
  CoreCounters counters;
  std::unique_ptr<std::byte[]> buffer;

  // Receives one frame; classify_burst has run.
  Turn(const InterfaceSettings& s, const Octets& frame, unsigned room, std::uint8_t flags)
      : interface(*make_interface(s)),
        buffer(std::make_unique<std::byte[]>(std::max<std::size_t>(room, frame.size()) +
                                             query_slack_bytes)) {
    std::ranges::copy(frame, buffer.get());
    burst.begin();
    burst.add(buffer.get(), static_cast<unsigned>(frame.size()), room, flags);
    classify_burst(interface, burst, counters);
  }

  // Answers each query with the same message turned: QR set. `change` bytes longer (0xa5) or shorter.
  void answer(int change = 0) {
    for (Query& query : burst.queries()) {
      query.message[2] |= std::byte{0x80};
      query.verdict = Verdict::answered;
      query.reply_bytes = static_cast<std::uint16_t>(query.length + change);
      for (unsigned i = query.length; i < query.reply_bytes; ++i) query.message[i] = std::byte{0xa5};
      const Octets message(query.message, query.message + query.reply_bytes);
      query.reply_checksum = byte_swap(static_cast<std::uint16_t>(internet_sum(message)));
    }
    finish_burst(interface, burst);
    count_sent(burst, burst.send_count, counters);
  }

  [[nodiscard]] Octets sent() const {
    const Frame& frame = burst.frames[0];
    return {frame.data, frame.data + frame.length};
  }
};

Octets turned(Octets message) {
  message[2] |= std::byte{0x80};
  return message;
}

const Octets question = query({.name = "www.example.com"});

struct Row {
  const char* what;
  Octets frame;
  Verdict verdict;
  Octets reply = {};  // empty: nothing is sent
  InterfaceSettings interface = settings();
  unsigned room = room_bytes;
  std::uint8_t receive_flags = 0;
};
void PrintTo(const Row& row, std::ostream* out) {
  *out << row.what;
}

FrameText v4() {
  return {};
}
FrameText v6() {
  return {.from = ipv6_client, .to = ipv6_address};
}

Row answered(const char* what, const FrameText& text, std::uint16_t from_port = 40000) {
  return {what, udp_frame(text, from_port, 53, question), Verdict::answered,
          udp_frame(answering(text), 53, from_port, turned(question))};
}

// A well-formed query frame, with one thing done to it.
Row broken(const char* what, Verdict verdict, const FrameText& text,
           const std::function<void(Octets&)>& breakage) {
  Octets frame = udp_frame(text, 40000, 53, question);
  breakage(frame);
  return {what, frame, verdict};
}

// Changes a byte of the IPv4 header and makes its checksum right again.
std::function<void(Octets&)> ipv4_field(std::size_t at, unsigned value) {
  return [=](Octets& frame) {
    frame[14 + at] = static_cast<std::byte>(value);
    frame[24] = frame[25] = std::byte{0};
    const unsigned sum = ~internet_sum(Octets(frame.begin() + 14, frame.begin() + 34));
    frame[24] = static_cast<std::byte>(sum >> 8 & 0xff);
    frame[25] = static_cast<std::byte>(sum & 0xff);
  };
}
std::function<void(Octets&)> set_byte(std::size_t at, unsigned value) {
  return [=](Octets& frame) { frame[at] = static_cast<std::byte>(value); };
}

FrameText from(FrameText text, const char* source) {
  text.from = source;
  return text;
}
FrameText to(FrameText text, const char* destination) {
  text.to = destination;
  return text;
}

std::vector<Row> dns_rows() {
  std::vector<Row> rows;
  rows.push_back(answered("IPv4", v4()));
  rows.push_back(answered("IPv6", v6()));
  rows.push_back(answered("second address of ours", to(v4(), "192.0.2.2")));
  rows.push_back(
      answered("IPv6 link-local address of the MAC", to(from(v6(), "fe80::9"), "fe80::ff:fe00:1")));
  rows.push_back(answered("a resolver that sends from port 53", v4(), 53));
  auto text = v4();
  text.tags = {{0x8100, 0x0064}};
  rows.push_back(answered("one VLAN tag, kept", text));
  text.tags = {{0x88a8, 0xe00a}, {0x8100, 0x0064}};
  rows.push_back(answered("two VLAN tags with priority, kept", text));
  text.tags.push_back({0x8100, 1});
  rows.push_back({"three VLAN tags", udp_frame(text, 40000, 53, question), Verdict::drop_vlan});
  text = v6();
  text.tags = {{0x8100, 5}};
  rows.push_back(answered("IPv6 behind a tag", text));
  text = v4();
  text.ip_options = hex("01 83 03 04");
  rows.push_back(answered("IPv4 options are cleared", text));
  text.ip_options = Octets(40, std::byte{0x01});
  rows.push_back(answered("the longest IPv4 header", text));
  text = v4();
  text.padding = Octets(7, std::byte{0xaa});
  rows.push_back(answered("Ethernet padding behind the packet", text));
  text = v4();
  text.fragment = 0x4000;
  rows.push_back(answered("Don't Fragment is no fragment", text));

  auto row = answered("no UDP checksum over IPv4", v4());
  row.frame[40] = row.frame[41] = std::byte{0};
  rows.push_back(row);
  row = answered("wrong checksums that the port says are good", v4());
  row.frame[24] ^= std::byte{1};
  row.frame[40] ^= std::byte{1};
  row.receive_flags = receive_flag::ipv4_checksum_good | receive_flag::udp_checksum_good;
  rows.push_back(row);
  row = answered("UDP shorter than its IP packet: options (RFC 9868)", v4());
  row.frame = ip_frame(v4(), [] {
    Octets datagram = udp(v4(), 40000, 53, question);
    put(datagram, hex("01 02 03 00"));
    return datagram;
  }());
  rows.push_back(row);

  row = answered("our VLAN", v4());
  row.interface.vlan = 100;
  row.frame = udp_frame({.tags = {{0x8100, 0x6064}}}, 40000, 53, question);
  row.reply = udp_frame(answering({.tags = {{0x8100, 0x6064}}}), 53, 40000, turned(question));
  rows.push_back(row);
  row.what = "another VLAN";
  row.frame = udp_frame({.tags = {{0x8100, 0x0065}}}, 40000, 53, question);
  row.verdict = Verdict::drop_vlan;
  row.reply.clear();
  rows.push_back(row);
  row.what = "no tag where a VLAN is set";
  row.frame = udp_frame(v4(), 40000, 53, question);
  rows.push_back(row);

  row = answered("any MAC on a promiscuous port", {.destination = {0x02, 9, 9, 9, 9, 9}});
  row.interface.any_mac = true;
  row.reply = udp_frame(answering(v4()), 53, 40000, turned(question));
  rows.push_back(row);
  rows.push_back({"another MAC",
                  udp_frame({.destination = {0x02, 9, 9, 9, 9, 9}}, 40000, 53, question),
                  Verdict::drop_not_ours});
  rows.push_back(
      {"DNS to the broadcast MAC",
       udp_frame({.destination = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff}}, 40000, 53, question),
       Verdict::drop_not_ours});
  rows.push_back({"another IPv4 address", udp_frame(to(v4(), "192.0.2.3"), 40000, 53, question),
                  Verdict::drop_not_ours});
  rows.push_back({"IPv4 address zero", udp_frame(to(v4(), "0.0.0.0"), 40000, 53, question),
                  Verdict::drop_not_ours});
  rows.push_back({"another IPv6 address", udp_frame(to(v6(), "2001:db8::54"), 40000, 53, question),
                  Verdict::drop_not_ours});
  for (const char* source : {"0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "239.255.255.255",
                             "240.0.0.1", "255.255.255.255", "192.0.2.1", "192.0.2.2"}) {
    rows.push_back({"IPv4 martian", udp_frame(from(v4(), source), 40000, 53, question),
                    Verdict::drop_martian});
  }
  for (const char* source :
       {"::", "::1", "::127.0.0.1", "ff02::1", "ff0e::7", "2001:db8::53", "fe80::ff:fe00:1"}) {
    rows.push_back({"IPv6 martian", udp_frame(from(v6(), source), 40000, 53, question),
                    Verdict::drop_martian});
  }
  rows.push_back(
      broken("an IPv4-mapped source over IPv6", Verdict::drop_martian, v6(), [](Octets& frame) {
        const Octets mapped = hex("00000000000000000000ffff c6336407");
        std::ranges::copy(mapped, frame.begin() + 22);
      }));
  for (const char* source : {"1.0.0.1", "126.255.255.255", "128.0.0.1", "223.255.255.255"}) {
    rows.push_back(answered("next to a martian", from(v4(), source)));
  }
  rows.push_back({"source port 0", udp_frame(v4(), 0, 53, question), Verdict::drop_port});
  rows.push_back({"another port", udp_frame(v4(), 40000, 54, question), Verdict::drop_port});
  rows.push_back({"UDP to port 0", udp_frame(v4(), 40000, 0, question), Verdict::drop_port, {}, [] {
                    auto s = settings();
                    s.beacon_port = 0;
                    return s;
                  }()});
  return rows;
}

std::vector<Row> broken_rows() {
  std::vector<Row> rows;
  rows.push_back(
      broken("wrong IPv4 header checksum", Verdict::drop_ip_checksum, v4(), set_byte(24, 0xee)));
  rows.push_back(broken("IPv4 version 5", Verdict::drop_ip_header, v4(), ipv4_field(0, 0x55)));
  rows.push_back(
      broken("IPv4 header of 16 bytes", Verdict::drop_ip_header, v4(), ipv4_field(0, 0x44)));
  rows.push_back(broken("IPv4 total length beyond the frame", Verdict::drop_ip_header, v4(),
                        ipv4_field(3, 62)));
  rows.push_back(broken("IPv4 total length below its header", Verdict::drop_ip_header, v4(),
                        ipv4_field(3, 19)));
  rows.push_back(broken("IPv4 total length without room for UDP", Verdict::drop_udp_length, v4(),
                        ipv4_field(3, 27)));
  rows.push_back(broken("more fragments", Verdict::drop_fragment, v4(), ipv4_field(6, 0x20)));
  rows.push_back(broken("a later fragment", Verdict::drop_fragment, v4(), ipv4_field(7, 0x01)));
  rows.push_back(broken("TCP", Verdict::drop_protocol, v4(), ipv4_field(9, 6)));
  rows.push_back(
      broken("UDP length beyond the packet", Verdict::drop_udp_length, v4(), set_byte(39, 42)));
  rows.push_back(
      broken("UDP length below its header", Verdict::drop_udp_length, v4(), set_byte(39, 7)));
  rows.push_back(
      broken("wrong UDP checksum", Verdict::drop_udp_checksum, v4(), set_byte(40, 0xee)));
  rows.push_back(
      broken("a flipped bit of the payload", Verdict::drop_udp_checksum, v4(), set_byte(60, 0x99)));
  rows.push_back(
      broken("wrong UDP checksum over IPv6", Verdict::drop_udp_checksum, v6(), set_byte(60, 0xee)));
  rows.push_back(broken("no UDP checksum over IPv6", Verdict::drop_udp_checksum, v6(),
                        [](Octets& frame) { frame[60] = frame[61] = std::byte{0}; }));
  rows.push_back(broken("IPv6 version 7", Verdict::drop_ip_header, v6(), set_byte(14, 0x70)));
  rows.push_back(
      broken("IPv6 payload beyond the frame", Verdict::drop_ip_header, v6(), set_byte(19, 42)));
  for (const unsigned next : {0U, 43U, 44U, 50U, 51U, 60U, 135U, 139U, 140U}) {
    rows.push_back(
        broken("IPv6 extension header", Verdict::drop_extension, v6(), set_byte(20, next)));
  }
  rows.push_back(broken("TCP over IPv6", Verdict::drop_protocol, v6(), set_byte(20, 6)));
  rows.push_back(broken("another EtherType", Verdict::drop_ether_type, v4(), set_byte(13, 0x42)));
  return rows;
}

// ---- what a host owes its link ----

const FrameText no_ip = {};
Octets arp(const Mac& destination, unsigned operation, const std::string& sender,
           const std::string& target) {
  Octets out;
  for (const auto b : destination) put8(out, b);
  for (const auto b : client_mac) put8(out, b);
  put(out, hex("0806 0001 0800 06 04"));
  put16(out, operation);
  for (const auto b : client_mac) put8(out, b);
  put(out, address_octets(sender));
  put(out, hex("000000000000"));
  put(out, address_octets(target));
  return out;
}
Octets arp_reply(const std::string& ours, const std::string& theirs) {
  Octets out;
  for (const auto b : client_mac) put8(out, b);
  for (const auto b : server_mac) put8(out, b);
  put(out, hex("0806 0001 0800 06 04 0002"));
  for (const auto b : server_mac) put8(out, b);
  put(out, address_octets(ours));
  for (const auto b : client_mac) put8(out, b);
  put(out, address_octets(theirs));
  return out;
}
constexpr Mac broadcast{0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

FrameText icmp6(const std::string& from, const std::string& to, std::uint8_t hop_limit = 255) {
  return {.destination = {0x33, 0x33, 0xff, 0, 0, 0x53},
          .from = from,
          .to = to,
          .protocol = 58,
          .hop_limit = hop_limit};
}
Octets solicitation(const FrameText& text, const std::string& target, const Octets& options) {
  Octets out = hex("87 00 0000 00000000");
  put(out, address_octets(target));
  put(out, options);
  return ip_frame(text, summed(text, out, 2));
}
Octets advertisement(const FrameText& text, const std::string& target, std::uint32_t flags) {
  Octets out = hex("88 00 0000");
  put32(out, flags);
  put(out, address_octets(target));
  put(out, hex("02 01"));
  for (const auto b : server_mac) put8(out, b);
  return ip_frame(text, summed(text, out, 2));
}
const Octets source_link = hex("01 01 020000000002");
const std::string our_group = "ff02::1:ff00:53";

Octets echo(FrameText text, unsigned type, unsigned bytes) {
  Octets out;
  put8(out, type);
  put(out, hex("00 0000 beef 0007"));
  for (unsigned i = 0; i < bytes; ++i) put8(out, i & 0xff);
  text.protocol = text.to.find(':') == std::string::npos ? 1 : 58;
  if (text.protocol == 58) return ip_frame(text, summed(text, out, 2));
  const unsigned sum = ~internet_sum(out);
  out[2] = static_cast<std::byte>(sum >> 8 & 0xff);
  out[3] = static_cast<std::byte>(sum & 0xff);
  return ip_frame(text, out);
}

std::vector<Row> local_rows() {
  std::vector<Row> rows;
  rows.push_back({"ARP request", arp(broadcast, 1, "192.0.2.9", "192.0.2.1"), Verdict::local_reply,
                  arp_reply("192.0.2.1", "192.0.2.9")});
  rows.push_back({"ARP probe (RFC 5227)", arp(broadcast, 1, "0.0.0.0", "192.0.2.2"),
                  Verdict::local_reply, arp_reply("192.0.2.2", "0.0.0.0")});
  rows.push_back(
      {"ARP for another", arp(broadcast, 1, "192.0.2.9", "192.0.2.7"), Verdict::drop_not_ours});
  rows.push_back(
      {"ARP reply", arp(server_mac, 2, "192.0.2.9", "192.0.2.1"), Verdict::drop_not_ours});
  auto row = Row{"ARP with addresses of another size", arp(broadcast, 1, "192.0.2.9", "192.0.2.1"),
                 Verdict::drop_local};
  row.frame[18] = std::byte{8};
  rows.push_back(row);

  const auto asked = icmp6(ipv6_client, our_group);
  auto reply = answering(icmp6(ipv6_client, ipv6_address));
  reply.hop_limit = 255;
  rows.push_back({"neighbour solicitation", solicitation(asked, ipv6_address, source_link),
                  Verdict::local_reply, advertisement(reply, ipv6_address, 0x60000000)});
  rows.push_back({"neighbour solicitation without options", solicitation(asked, ipv6_address, {}),
                  Verdict::local_reply, advertisement(reply, ipv6_address, 0x60000000)});
  auto probe = icmp6("::", our_group);
  auto probe_reply = icmp6(ipv6_address, "ff02::1");
  probe_reply.destination = {0x33, 0x33, 0, 0, 0, 1};
  probe_reply.source = server_mac;
  rows.push_back({"duplicate address detection", solicitation(probe, ipv6_address, {}),
                  Verdict::local_reply, advertisement(probe_reply, ipv6_address, 0x20000000)});
  rows.push_back({"duplicate address detection with a source link address",
                  solicitation(probe, ipv6_address, source_link), Verdict::drop_local});
  rows.push_back({"duplicate address detection to us alone",
                  solicitation(icmp6("::", ipv6_address), ipv6_address, {}), Verdict::drop_local});
  rows.push_back({"solicitation from beyond a router",
                  solicitation(icmp6(ipv6_client, our_group, 254), ipv6_address, {}),
                  Verdict::drop_local});
  rows.push_back({"solicitation for another", solicitation(asked, "2001:db8::54", {}),
                  Verdict::drop_not_ours});
  rows.push_back(
      {"solicitation for a group", solicitation(asked, "ff02::1", {}), Verdict::drop_local});
  rows.push_back({"solicitation from a group",
                  solicitation(icmp6("ff02::9", our_group), ipv6_address, {}),
                  Verdict::drop_martian});
  rows.push_back({"option of length 0",
                  solicitation(asked, ipv6_address, hex("01 00 020000000002")),
                  Verdict::drop_local});
  rows.push_back({"option beyond the packet",
                  solicitation(asked, ipv6_address, hex("01 02 020000000002")),
                  Verdict::drop_local});
  row = Row{"solicitation with a wrong checksum", solicitation(asked, ipv6_address, source_link),
            Verdict::drop_local};
  row.frame[56] ^= std::byte{1};
  rows.push_back(row);
  row = Row{"no room for the advertisement", solicitation(asked, ipv6_address, {}),
            Verdict::drop_no_room};
  row.room = 85;
  rows.push_back(row);

  for (const unsigned bytes : {0U, 1U, 56U, 1400U}) {
    rows.push_back(
        {"echo", echo(v4(), 8, bytes), Verdict::local_reply, echo(answering(v4()), 0, bytes)});
    rows.push_back({"echo over IPv6", echo(v6(), 128, bytes), Verdict::local_reply,
                    echo(answering(v6()), 129, bytes)});
  }
  auto text = v4();
  text.ip_options = hex("07 07 04 00000000 00");
  rows.push_back({"echo with IPv4 options", echo(text, 8, 56), Verdict::local_reply,
                  echo(answering(text), 0, 56)});
  rows.push_back({"echo reply", echo(v4(), 0, 56), Verdict::drop_protocol});
  rows.push_back({"echo over IPv6 to a group", echo(icmp6(ipv6_client, "ff02::1"), 128, 56),
                  Verdict::drop_not_ours});
  rows.push_back(
      {"echo from a martian", echo(from(v4(), "224.0.0.1"), 8, 56), Verdict::drop_martian});
  rows.push_back(
      {"echo over IPv6 from a martian", echo(from(v6(), "::1"), 128, 56), Verdict::drop_martian});
  rows.push_back({"echo longer than a frame", echo(v4(), 8, local_request_bytes_max - 41),
                  Verdict::drop_local});
  row = Row{"echo with a wrong checksum", echo(v4(), 8, 56), Verdict::drop_local};
  row.frame[50] ^= std::byte{1};
  rows.push_back(row);
  row = Row{"echo without room", echo(v4(), 8, 56), Verdict::drop_no_room};
  row.room = 97;
  rows.push_back(row);
  return rows;
}

class FrameTest : public testing::TestWithParam<Row> {};

// Every verdict that the row does not name, and every counter beside those of all frames, must be zero.
void expect_counters(const CoreCounters& counters, const Row& row) {
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
  const Row& row = GetParam();
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

TEST(FrameBurstTest, EveryTruncationOfAValidFrameIsDropped) {
  for (const Octets& frame :
       {udp_frame(v4(), 40000, 53, question), udp_frame(v6(), 40000, 53, question),
        udp_frame({.tags = {{0x88a8, 1}, {0x8100, 2}}}, 40000, 53, question), echo(v4(), 8, 20),
        echo(v6(), 128, 20), arp(broadcast, 1, "192.0.2.9", "192.0.2.1"),
        solicitation(icmp6(ipv6_client, our_group), ipv6_address, source_link)}) {
    for (std::size_t length = 0; length < frame.size(); ++length) {
      Turn turn(settings(),
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
  Turn turn(settings(), udp_frame(v4(), 4000, beacon_port, beacon), room_bytes, 0);
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
  Turn turn(settings(), udp_frame(v6(), 4000, beacon_port, Octets(2017)), 4000, 0);
  EXPECT_EQ(turn.burst.beacons().size(), 0U);
  EXPECT_EQ(turn.counters.read(Verdict::beacon_oversize), 1U);
  Turn fits(settings(), udp_frame(v6(), 4000, beacon_port, Octets(2016)), 4000, 0);
  EXPECT_EQ(fits.burst.beacons().size(), 1U);
}

TEST(FrameBurstTest, AnExceptionPortTakesWhatIsNotDns) {
  auto s = settings();
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
      Turn turn(settings(), udp_frame(text, 40000, 53, question), room_bytes, 0);
      turn.answer(change);
      Octets reply = turned(question);
      reply.resize(static_cast<std::size_t>(static_cast<int>(reply.size()) + change), std::byte{0xa5});
      EXPECT_EQ(hex_text(turn.sent()), hex_text(udp_frame(answering(text), 53, 40000, reply)));
    }
  }
}

TEST(FrameBurstTest, LeavesChecksumsToAPortThatComputesThem) {
  auto s = settings();
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

TEST(FrameBurstTest, SortsAMixedBurstAndCountsWhatThePortTook) {
  const std::vector<Octets> frames = {
      udp_frame(v4(), 40000, 53, question), arp(broadcast, 1, "192.0.2.9", "192.0.2.1"),
      udp_frame(v6(), 40001, 53, question), udp_frame(v4(), 0, 53, question),
      udp_frame(v4(), 40002, 53, question), udp_frame(v4(), 4000, beacon_port, question)};
  const auto interface = *make_interface(settings());
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
