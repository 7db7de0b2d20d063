#include "pharos/dataplane/packet/local_reply.hh"

#include "pharos/dataplane/packet/ip_rules.hh"
#include "pharos/wire/checksum.hh"
#include "pharos/wire/frame.hh"

#include <cstring>
#include <utility>

namespace pharos::dataplane {

namespace {

constexpr std::uint8_t reply_hop_limit = 64;
// RFC 4861, 7.1.1: proves that no router lies between.
constexpr std::uint8_t neighbor_hop_limit = 255;

void swap_macs(const Interface& interface, Frame& frame) noexcept {
  auto* ethernet = frame::at<frame::Ethernet>(frame.data);
  ethernet->destination = ethernet->source;
  ethernet->source = interface.mac.bytes;
}

[[nodiscard]] bool is_multicast(const frame::Ipv6Bytes& address) noexcept {
  return address[0] == 0xff;
}

// ff02::1:ffXX:XXXX of `target` (RFC 4291, 2.7.1).
[[nodiscard]] bool is_solicited_node_group(const frame::Ipv6Bytes& group,
                                           const frame::Ipv6Bytes& target) noexcept {
  const frame::Ipv6Bytes expected{0xff, 2, 0, 0, 0,    0,          0,          0,
                                  0,    0, 0, 1, 0xff, target[13], target[14], target[15]};
  return group == expected;
}

// Whether the options of a solicitation have lengths that add up; and whether one gives a source
// link address.
[[nodiscard]] bool options_are_sound(const std::byte* options, unsigned bytes,
                                     bool& has_source_link) noexcept {
  for (unsigned at = 0; at < bytes;) {
    if (bytes - at < 2) return false;
    const auto type = static_cast<std::uint8_t>(options[at]);
    const unsigned length = static_cast<unsigned>(options[at + 1]) * 8;
    if (length == 0 || length > bytes - at) return false;
    has_source_link |= type == frame::option_source_link_address;
    at += length;
  }
  return true;
}

// RFC 4861, 7.1.1, but for the ICMPv6 checksum, which the caller has checked.
[[nodiscard]] bool solicitation_is_valid(const frame::Ipv6& ip, std::byte* icmp,
                                         unsigned icmp_bytes) noexcept {
  if (ip.hop_limit != neighbor_hop_limit || icmp_bytes < sizeof(frame::Neighbor)) return false;
  const auto& neighbor = *frame::at<frame::Neighbor>(icmp);
  if (neighbor.icmp.code != 0 || is_multicast(neighbor.target)) return false;
  bool has_source_link = false;
  if (!options_are_sound(icmp + sizeof(frame::Neighbor),
                         icmp_bytes - unsigned{sizeof(frame::Neighbor)}, has_source_link)) {
    return false;
  }
  const bool unspecified = ip.source == frame::Ipv6Bytes{};
  return !unspecified ||
         (!has_source_link && is_solicited_node_group(ip.destination, neighbor.target));
}

// The advertisement for our address `target` (RFC 4861, 4.4 and 7.2.4), to all nodes where the
// asker has none yet.
[[nodiscard]] Verdict advertise(const Interface& interface, Frame& frame) noexcept {
  constexpr unsigned icmp_bytes = sizeof(frame::Neighbor) + sizeof(frame::LinkAddressOption);
  const unsigned length = frame.ip_offset + unsigned{sizeof(frame::Ipv6)} + icmp_bytes;
  if (length > frame.room) return Verdict::drop_no_room;
  auto& ip = *frame::at<frame::Ipv6>(frame.data + frame.ip_offset);
  auto* icmp = frame.data + frame.ip_offset + sizeof(frame::Ipv6);
  auto& neighbor = *frame::at<frame::Neighbor>(icmp);
  const bool solicited = ip.source != frame::Ipv6Bytes{};

  swap_macs(interface, frame);
  if (!solicited) {
    frame::at<frame::Ethernet>(frame.data)->destination = {0x33, 0x33, 0, 0, 0, 1};
    ip.source = {0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
  }
  ip.version_and_flow = 0x60000000;
  ip.payload_bytes = static_cast<std::uint16_t>(icmp_bytes);
  ip.hop_limit = neighbor_hop_limit;
  ip.destination = ip.source;
  ip.source = neighbor.target;

  neighbor.icmp.type = frame::icmpv6_neighbor_advertisement;
  neighbor.icmp.checksum = 0;
  neighbor.icmp.rest = frame::neighbor_override | (solicited ? frame::neighbor_solicited : 0U);
  auto& option = *frame::at<frame::LinkAddressOption>(icmp + sizeof(frame::Neighbor));
  option = {frame::option_target_link_address, 1, interface.mac.bytes};
  const auto sum =
      pseudo_sum(ip, frame::protocol_icmpv6, icmp_bytes) + checksum::scalar::sum(icmp, icmp_bytes);
  store(&neighbor.icmp.checksum, checksum::field_of(sum));
  frame.length = static_cast<std::uint16_t>(length);
  return Verdict::local_reply;
}

// Turns the type of an echo and its checksum (RFC 1624, equation 3: the type is the first byte of
// its word).
void turn_echo(frame::Icmp& icmp, std::uint8_t reply_type) noexcept {
  const auto field = load<std::uint16_t>(&icmp.checksum);
  const std::uint64_t sum = std::uint64_t{static_cast<std::uint16_t>(~field)} +
                            static_cast<std::uint16_t>(~std::uint16_t{icmp.type}) + reply_type;
  icmp.type = reply_type;
  store(&icmp.checksum, checksum::field_of(sum));
}

}  // namespace

Verdict reply_to_arp(const Interface& interface, Frame& frame) noexcept {
  if (frame.length < frame.ip_offset + sizeof(frame::Arp)) return Verdict::drop_frame_short;
  auto& arp = *frame::at<frame::Arp>(frame.data + frame.ip_offset);
  if (arp.hardware_type != frame::arp_ethernet || arp.protocol_type != frame::ether_ipv4 ||
      arp.hardware_bytes != 6 || arp.protocol_bytes != 4) {
    return Verdict::drop_local;
  }
  if (arp.operation != frame::arp_request ||
      !interface.is_ours(load<std::uint32_t>(arp.target_ip.data()))) {
    return Verdict::drop_not_ours;
  }
  swap_macs(interface, frame);
  arp.operation = frame::arp_reply;
  arp.target_mac = std::exchange(arp.sender_mac, interface.mac.bytes);
  std::swap(arp.sender_ip, arp.target_ip);
  frame.length = static_cast<std::uint16_t>(frame.ip_offset + sizeof(frame::Arp));
  return Verdict::local_reply;
}

Verdict reply_to_icmp(const Interface& interface, Frame& frame, unsigned ip_bytes) noexcept {
  auto& ip = *frame::at<frame::Ipv4>(frame.data + frame.ip_offset);
  const unsigned icmp_bytes = ip_bytes - frame.ip_header_bytes;
  const unsigned length = frame.ip_offset + ip_bytes;
  if (icmp_bytes < sizeof(frame::Icmp) || length > local_request_bytes_max)
    return Verdict::drop_local;
  auto* bytes = frame.data + frame.ip_offset + frame.ip_header_bytes;
  auto& icmp = *frame::at<frame::Icmp>(bytes);
  if (icmp.type != frame::icmp_echo_request || icmp.code != 0) return Verdict::drop_protocol;
  if (checksum::fold(checksum::scalar::sum(bytes, icmp_bytes)) != 0xffff)
    return Verdict::drop_local;
  if (is_martian(interface, ip)) return Verdict::drop_martian;
  if (length > frame.room) return Verdict::drop_no_room;

  turn_echo(icmp, frame::icmp_echo_reply);
  swap_macs(interface, frame);
  std::swap(ip.source, ip.destination);
  ip.ttl = reply_hop_limit;
  ip.id = 0;
  ip.fragment = frame::ipv4_dont_fragment;
  std::memset(frame.data + frame.ip_offset + sizeof(frame::Ipv4), 0,
              frame.ip_header_bytes - sizeof(frame::Ipv4));
  ip.checksum = 0;
  store(&ip.checksum, checksum::field_of(checksum::scalar::sum(frame.data + frame.ip_offset,
                                                               frame.ip_header_bytes)));
  frame.length = static_cast<std::uint16_t>(length);
  return Verdict::local_reply;
}

Verdict reply_to_icmpv6(const Interface& interface, Frame& frame, unsigned icmp_bytes) noexcept {
  auto& ip = *frame::at<frame::Ipv6>(frame.data + frame.ip_offset);
  auto* bytes = frame.data + frame.ip_offset + sizeof(frame::Ipv6);
  const unsigned length = frame.ip_offset + unsigned{sizeof(frame::Ipv6)} + icmp_bytes;
  if (icmp_bytes < sizeof(frame::Icmp) || length > local_request_bytes_max)
    return Verdict::drop_local;
  auto& icmp = *frame::at<frame::Icmp>(bytes);
  const bool solicitation = icmp.type == frame::icmpv6_neighbor_solicitation;
  if (!solicitation && (icmp.type != frame::icmpv6_echo_request || icmp.code != 0))
    return Verdict::drop_protocol;
  const auto sum =
      pseudo_sum(ip, frame::protocol_icmpv6, icmp_bytes) + checksum::scalar::sum(bytes, icmp_bytes);
  if (checksum::fold(sum) != 0xffff) return Verdict::drop_local;

  if (solicitation) {
    if (is_multicast(ip.source)) return Verdict::drop_martian;
    if (!solicitation_is_valid(ip, bytes, icmp_bytes)) return Verdict::drop_local;
    if (!interface.is_ours(frame::at<frame::Neighbor>(bytes)->target.data()))
      return Verdict::drop_not_ours;
    return advertise(interface, frame);
  }
  if (!interface.is_ours(ip.destination.data())) return Verdict::drop_not_ours;
  if (is_martian(interface, ip)) return Verdict::drop_martian;
  if (length > frame.room) return Verdict::drop_no_room;
  turn_echo(icmp, frame::icmpv6_echo_reply);
  swap_macs(interface, frame);
  std::swap(ip.source, ip.destination);
  ip.version_and_flow = 0x60000000;
  ip.hop_limit = reply_hop_limit;
  frame.length = static_cast<std::uint16_t>(length);
  return Verdict::local_reply;
}

}  // namespace pharos::dataplane
