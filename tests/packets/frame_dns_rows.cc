// DNS over UDP: whom we answer, and who only pretends; what is broken at each layer.
#include <algorithm>

#include "frame_table.hh"

namespace pharos::dataplane {

using namespace packets;  // NOLINT

std::vector<FrameRow> dns_rows() {
  std::vector<FrameRow> rows;
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
                    auto s = frame_settings();
                    s.beacon_port = 0;
                    return s;
                  }()});
  return rows;
}

std::vector<FrameRow> broken_rows() {
  std::vector<FrameRow> rows;
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

}  // namespace pharos::dataplane
