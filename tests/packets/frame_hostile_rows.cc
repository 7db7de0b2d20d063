// Frames that nobody sends by accident: stacked tags, source routes, extension headers, group addresses, jumbograms,
// other link layers. Each ends in its own verdict; none is answered where the answer would go to a group or to ourselves.
#include <algorithm>
#include <utility>

#include "frame_table.hh"

namespace pharos::dataplane {

using namespace packets;  // NOLINT

namespace {

Octets plain(const FrameText& text) {
  return udp_frame(text, 40000, 53, question);
}

void tag_rows(std::vector<FrameRow>& rows) {
  for (const unsigned count : {3U, 4U, 8U, 60U}) {
    auto text = v4();
    text.tags.assign(count, {0x8100, 7});
    rows.push_back({"stacked VLAN tags", plain(text), Verdict::drop_vlan});
    text.tags.assign(count, {0x88a8, 7});
    rows.push_back({"stacked service tags", plain(text), Verdict::drop_vlan});
  }
  auto text = v4();
  text.tags = {{0x9100, 7}};
  rows.push_back({"a tag type from before 802.1ad", plain(text), Verdict::drop_ether_type});
  text.tags = {{0x8100, 7}, {0x8847, 7}};
  rows.push_back({"MPLS behind a tag", plain(text), Verdict::drop_ether_type});
  Octets frame = plain({.tags = {{0x8100, 7}}});
  frame.resize(17);
  rows.push_back({"a tag cut off", frame, Verdict::drop_vlan});
  frame.resize(18);
  rows.push_back({"nothing behind a tag", frame, Verdict::drop_frame_short});
}

void link_rows(std::vector<FrameRow>& rows) {
  for (const unsigned type : {0x0000U, 0x002eU, 0x05dcU, 0x0600U, 0x8035U, 0x8847U, 0x8863U,
                              0x8864U, 0x888eU, 0x88ccU, 0x88f7U, 0xffffU}) {
    Octets frame = plain(v4());
    frame[12] = static_cast<std::byte>(type >> 8);
    frame[13] = static_cast<std::byte>(type & 0xff);
    rows.push_back({"another link protocol", frame, Verdict::drop_ether_type});
  }
  rows.push_back(broken("IPv4 said to be IPv6", Verdict::drop_ip_header, v4(), [](Octets& frame) {
    frame[12] = std::byte{0x86};
    frame[13] = std::byte{0xdd};
  }));
  rows.push_back(broken("IPv6 said to be IPv4", Verdict::drop_ip_header, v6(), [](Octets& frame) {
    frame[12] = std::byte{0x08};
    frame[13] = std::byte{0x00};
  }));
  for (const Mac& source : {broadcast, Mac{0x01, 0, 0x5e, 0, 0, 1}, Mac{0x33, 0x33, 0, 0, 0, 1}}) {
    rows.push_back({"from a group MAC", plain({.source = source}), Verdict::drop_martian});
    auto text = v6();
    text.source = source;
    rows.push_back({"from a group MAC over IPv6", plain(text), Verdict::drop_martian});
    Octets request = arp(broadcast, 1, "192.0.2.9", "192.0.2.1");
    std::ranges::copy(std::as_bytes(std::span(source)), request.begin() + 6);
    rows.push_back({"ARP from a group MAC", request, Verdict::drop_martian});
  }
}

void group_rows(std::vector<FrameRow>& rows) {
  const Mac ipv4_group{0x01, 0x00, 0x5e, 0, 0, 0xfb};
  const Mac ipv6_group{0x33, 0x33, 0, 0, 0, 0xfb};
  for (const char* group :
       {"224.0.0.1", "224.0.0.251", "239.1.2.3", "255.255.255.255", "192.0.2.255", "192.0.2.0"}) {
    for (const Mac& mac : {server_mac, ipv4_group, broadcast}) {
      auto text = to(v4(), group);
      text.destination = mac;
      rows.push_back(
          {"to an IPv4 group or broadcast address", plain(text), Verdict::drop_not_ours});
    }
  }
  for (const char* group : {"ff02::1", "ff02::fb", "ff05::2", "ff02::1:ff00:53", "ff0e::1"}) {
    for (const Mac& mac : {server_mac, ipv6_group, broadcast}) {
      auto text = to(v6(), group);
      text.destination = mac;
      rows.push_back({"to an IPv6 group", plain(text), Verdict::drop_not_ours});
    }
  }
  for (const FrameText& unicast : {v4(), v6()}) {
    for (const Mac& mac : {ipv4_group, ipv6_group, broadcast}) {
      auto text = unicast;
      text.destination = mac;
      rows.push_back({"to our address at a group MAC", plain(text), Verdict::drop_not_ours});
    }
  }
}

void option_rows(std::vector<FrameRow>& rows) {
  const std::pair<const char*, const char*> options[] = {
      {"loose source route", "83 07 04 c6336401 01"},
      {"strict source route", "89 07 04 c6336401 01"},
      {"record route", "07 07 04 00000000 01"},
      {"timestamp", "44 08 05 00 00000000"},
      {"router alert", "94 04 0000"},
      {"option of length 0", "07 00 0101"},
      {"option of length 1", "07 01 0101"},
      {"option beyond the header", "07 ff 0101"},
      {"option without a length", "01 01 01 07"},
  };
  for (const auto& [what, bytes] : options) {
    auto text = v4();
    text.ip_options = hex(bytes);
    rows.push_back(answered(what, text));  // cleared in the reply, and sent back straight
  }
  // A header that claims options which the packet then uses for UDP.
  rows.push_back(broken("a header of 60 bytes in a packet of 40", Verdict::drop_ip_header, v4(),
                        [](Octets& frame) {
                          ipv4_field(0, 0x4f)(frame);
                          ipv4_field(3, 40)(frame);
                        }));
}

Octets behind(const FrameText& text, const Octets& headers) {
  Octets content = headers;
  put(content, udp(v6(), 40000, 53, question));
  return ip_frame(text, content);
}

void extension_rows(std::vector<FrameRow>& rows) {
  const std::pair<const char*, std::pair<std::uint8_t, const char*>> headers[] = {
      {"hop-by-hop options before UDP", {0, "11 00 01 04 00000000"}},
      {"a jumbogram", {0, "11 00 c2 04 00010000"}},
      {"routing header type 0", {43, "11 02 00 01 00000000 20010db8000000000000000000000001"}},
      {"an atomic fragment", {44, "11 00 0000 00000001"}},
      {"a first fragment", {44, "11 00 0001 00000001"}},
      {"a later fragment", {44, "11 00 0008 00000001"}},
      {"destination options before UDP", {60, "11 00 01 04 00000000"}},
      {"hop-by-hop options of every length", {0, "11 ff 01 04 00000000"}},
      {"a header that names itself", {60, "3c 00 01 04 00000000"}},
      {"authentication header", {51, "11 01 0000 00000001 00000001"}},
      {"mobility header", {135, "3b 00 00 00 0000 0000"}},
  };
  for (const auto& [what, header] : headers) {
    auto text = v6();
    text.protocol = header.first;
    rows.push_back({what, behind(text, hex(header.second)), Verdict::drop_extension});
  }
  auto text = v6();
  text.protocol = 59;
  rows.push_back({"no next header", ip_frame(text, {}), Verdict::drop_protocol});
  rows.push_back(broken("IPv6 payload length 0", Verdict::drop_udp_length, v6(),
                        [](Octets& frame) { frame[18] = frame[19] = std::byte{0}; }));
  rows.push_back(broken("UDP length 0 over IPv6", Verdict::drop_udp_length, v6(),
                        [](Octets& frame) { frame[58] = frame[59] = std::byte{0}; }));
  rows.push_back(broken("UDP length 0 over IPv4", Verdict::drop_udp_length, v4(),
                        [](Octets& frame) { frame[38] = frame[39] = std::byte{0}; }));
}

void fragment_rows(std::vector<FrameRow>& rows) {
  for (const unsigned fragment : {0x2000U, 0x2001U, 0x0001U, 0x1fffU, 0x3fffU, 0x6000U, 0xa000U}) {
    auto text = v4();
    text.fragment = static_cast<std::uint16_t>(fragment);
    rows.push_back({"an IPv4 fragment", plain(text), Verdict::drop_fragment});
  }
  auto text = v4();
  text.fragment = 0x8000;  // RFC 3514
  rows.push_back(answered("the evil bit alone", text));
}

void port_rows(std::vector<FrameRow>& rows) {
  for (const FrameText& text : {v4(), v6()}) {
    rows.push_back({"from port 0", udp_frame(text, 0, 53, question), Verdict::drop_port});
    rows.push_back({"to port 0", udp_frame(text, 40000, 0, question), Verdict::drop_port});
    rows.push_back({"from port 0 to port 0", udp_frame(text, 0, 0, question), Verdict::drop_port});
    rows.push_back(
        {"to the port of mDNS", udp_frame(text, 5353, 5353, question), Verdict::drop_port});
    rows.push_back(answered("from port 1", text, 1));
    rows.push_back(answered("from the last port", text, 65535));
  }
  rows.push_back({"from port 53 of ourselves", udp_frame(from(v4(), "192.0.2.1"), 53, 53, question),
                  Verdict::drop_martian});
  rows.push_back({"from port 53 of our other address",
                  udp_frame(from(v4(), "192.0.2.2"), 53, 53, question), Verdict::drop_martian});
  rows.push_back({"from port 53 of ourselves over IPv6",
                  udp_frame(from(v6(), ipv6_address.c_str()), 53, 53, question),
                  Verdict::drop_martian});
}

}  // namespace

std::vector<FrameRow> hostile_rows() {
  std::vector<FrameRow> rows;
  tag_rows(rows);
  link_rows(rows);
  group_rows(rows);
  option_rows(rows);
  extension_rows(rows);
  fragment_rows(rows);
  port_rows(rows);
  return rows;
}

}  // namespace pharos::dataplane
