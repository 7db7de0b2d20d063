// What a host owes its link: ARP, neighbour discovery, echo.
#include "frame_table.hh"

namespace pharos::dataplane {

using namespace packets;  // NOLINT

namespace {

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

Octets advertisement(const FrameText& text, const std::string& target, std::uint32_t flags) {
  Octets out = hex("88 00 0000");
  put32(out, flags);
  put(out, address_octets(target));
  put(out, hex("02 01"));
  for (const auto b : server_mac) put8(out, b);
  return ip_frame(text, summed(text, out, 2));
}

}  // namespace

std::vector<FrameRow> local_rows() {
  std::vector<FrameRow> rows;
  rows.push_back({"ARP request", arp(broadcast, 1, "192.0.2.9", "192.0.2.1"), Verdict::local_reply,
                  arp_reply("192.0.2.1", "192.0.2.9")});
  rows.push_back({"ARP probe (RFC 5227)", arp(broadcast, 1, "0.0.0.0", "192.0.2.2"),
                  Verdict::local_reply, arp_reply("192.0.2.2", "0.0.0.0")});
  rows.push_back(
      {"ARP for another", arp(broadcast, 1, "192.0.2.9", "192.0.2.7"), Verdict::drop_not_ours});
  rows.push_back(
      {"ARP reply", arp(server_mac, 2, "192.0.2.9", "192.0.2.1"), Verdict::drop_not_ours});
  auto row = FrameRow{"ARP with addresses of another size",
                      arp(broadcast, 1, "192.0.2.9", "192.0.2.1"), Verdict::drop_local};
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
  row = FrameRow{"solicitation with a wrong checksum",
                 solicitation(asked, ipv6_address, source_link), Verdict::drop_local};
  row.frame[56] ^= std::byte{1};
  rows.push_back(row);
  row = FrameRow{"no room for the advertisement", solicitation(asked, ipv6_address, {}),
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
  row = FrameRow{"echo with a wrong checksum", echo(v4(), 8, 56), Verdict::drop_local};
  row.frame[50] ^= std::byte{1};
  rows.push_back(row);
  row = FrameRow{"echo without room", echo(v4(), 8, 56), Verdict::drop_no_room};
  row.room = 97;
  rows.push_back(row);
  return rows;
}

}  // namespace pharos::dataplane
