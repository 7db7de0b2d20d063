#include "pharos/dataplane/observe/frame_mask.hh"

#include "pharos/dataplane/packet/ip_rules.hh"
#include "pharos/wire/checksum.hh"
#include "pharos/wire/frame.hh"

#include <algorithm>

namespace pharos::dataplane {

namespace {

using Network = FrameLayout::Network;

constexpr std::uint8_t protocol_tcp = 6;
constexpr unsigned tcp_fixed_bytes = 20;

// The address field at the other end's place, of whichever header there is.
[[nodiscard]] Bytes peer_field(Bytes frame, const FrameLayout& layout,
                               Direction direction) noexcept {
  auto* network = frame.data() + layout.network_offset;
  const bool in = direction == Direction::in;
  const auto bytes_of = [](auto& field) { return std::as_writable_bytes(std::span(field)); };
  switch (layout.network) {
    case Network::arp: {
      auto& arp = *frame::at<frame::Arp>(network);
      return bytes_of(in ? arp.sender_ip : arp.target_ip);
    }
    case Network::ipv4: {
      auto& ip = *frame::at<frame::Ipv4>(network);
      return bytes_of(in ? ip.source : ip.destination);
    }
    case Network::ipv6: {
      auto& ip = *frame::at<frame::Ipv6>(network);
      return bytes_of(in ? ip.source : ip.destination);
    }
    case Network::none:
      break;
  }
  return {};
}

[[nodiscard]] IpAddress address_of(ConstBytes field) noexcept {
  IpAddress address = field.size() == 4 ? IpAddress::from_ipv4(0) : IpAddress{};
  auto to = std::as_writable_bytes(std::span(address.bytes));
  std::ranges::copy(field, to.last(field.size()).begin());
  return address;
}

// Options of IPv4 may name hosts on the way; the header's checksum is made anew.
void finish_ipv4(Bytes frame, const FrameLayout& layout) noexcept {
  auto header =
      frame.subspan(layout.network_offset, layout.transport_offset - layout.network_offset);
  std::ranges::fill(header.subspan(sizeof(frame::Ipv4)), std::byte{0});
  auto& ip = *frame::at<frame::Ipv4>(header.data());
  ip.checksum = 0;
  store(&ip.checksum, checksum::field_of(checksum::scalar::sum(
                          header.data(), static_cast<unsigned>(header.size()))));
}

// How much of what is no DNS stays: the headers.
[[nodiscard]] unsigned headers_end(const FrameLayout& layout) noexcept {
  unsigned transport_bytes = 0;
  if (!layout.fragment && layout.protocol == protocol_tcp) transport_bytes = tcp_fixed_bytes;
  if (!layout.fragment && layout.protocol == frame::protocol_udp)
    transport_bytes = sizeof(frame::Udp);
  const bool icmp =
      layout.protocol == frame::protocol_icmp || layout.protocol == frame::protocol_icmpv6;
  if (!layout.fragment && icmp) transport_bytes = sizeof(frame::Icmp);
  return std::min(layout.transport_offset + transport_bytes, layout.packet_end);
}

// UDP that is whole, with DNS at our end. Its message, or nothing.
[[nodiscard]] Bytes dns_message(Bytes frame, const FrameLayout& layout, Direction direction,
                                std::uint16_t dns_port) noexcept {
  const unsigned room = layout.packet_end - layout.transport_offset;
  if (layout.fragment || layout.protocol != frame::protocol_udp || room < sizeof(frame::Udp))
    return {};
  const auto& udp = *frame::at<frame::Udp>(frame.data() + layout.transport_offset);
  const unsigned udp_bytes = udp.length;
  const std::uint16_t port = direction == Direction::in ? udp.destination_port : udp.source_port;
  if (port != dns_port || udp_bytes < sizeof(frame::Udp) || udp_bytes > room) return {};
  return frame.subspan(layout.transport_offset + sizeof(frame::Udp),
                       udp_bytes - sizeof(frame::Udp));
}

void finish_udp(Bytes frame, const FrameLayout& layout) noexcept {
  auto* network = frame.data() + layout.network_offset;
  auto& udp = *frame::at<frame::Udp>(frame.data() + layout.transport_offset);
  if (udp.checksum == 0) return;  // none, over IPv4
  const unsigned udp_bytes = udp.length;
  const auto pseudo =
      layout.network == Network::ipv4
          ? pseudo_sum(*frame::at<frame::Ipv4>(network), frame::protocol_udp, udp_bytes)
          : pseudo_sum(*frame::at<frame::Ipv6>(network), frame::protocol_udp, udp_bytes);
  udp.checksum = 0;
  store(&udp.checksum,
        checksum::udp_field_of(
            pseudo + checksum::scalar::sum(frame.data() + layout.transport_offset, udp_bytes)));
}

}  // namespace

FrameLayout layout_of(ConstBytes frame) noexcept {
  FrameLayout layout;
  unsigned at = sizeof(frame::Ethernet);
  if (frame.size() < at) return layout;
  unsigned type = load<frame::Ethernet>(frame.data()).type;
  for (unsigned tags = 0; type == frame::ether_vlan || type == frame::ether_qinq; ++tags) {
    if (tags == frame::vlan_tags_max || frame.size() - at < sizeof(frame::VlanTag)) return layout;
    type = load<frame::VlanTag>(frame.data() + at).type;
    at += sizeof(frame::VlanTag);
  }
  const auto room = static_cast<unsigned>(frame.size() - at);
  layout.network_offset = at;
  if (type == frame::ether_arp && room >= sizeof(frame::Arp)) {
    layout.network = Network::arp;
  } else if (type == frame::ether_ipv4 && room >= sizeof(frame::Ipv4)) {
    const auto ip = load<frame::Ipv4>(frame.data() + at);
    const unsigned header_bytes = (ip.version_and_words & 0x0fU) * 4;
    if (header_bytes < sizeof(frame::Ipv4) || header_bytes > room) return layout;
    layout.network = Network::ipv4;
    layout.protocol = ip.protocol;
    layout.transport_offset = at + header_bytes;
    layout.packet_end =
        at + std::clamp(unsigned{std::uint16_t{ip.total_bytes}}, header_bytes, room);
    layout.fragment = (ip.fragment & frame::ipv4_fragment_mask) != 0;
  } else if (type == frame::ether_ipv6 && room >= sizeof(frame::Ipv6)) {
    const auto ip = load<frame::Ipv6>(frame.data() + at);
    layout.network = Network::ipv6;
    layout.protocol = ip.next_header;
    layout.transport_offset = at + unsigned{sizeof(frame::Ipv6)};
    layout.packet_end = at + std::min(unsigned{sizeof(frame::Ipv6)} + ip.payload_bytes, room);
  }
  return layout;
}

std::optional<IpAddress> peer_of(ConstBytes frame, const FrameLayout& layout,
                                 Direction direction) noexcept {
  // Only read, whatever the type says.
  const Bytes bytes(const_cast<std::byte*>(frame.data()), frame.size());
  const auto field = peer_field(bytes, layout, direction);
  if (field.empty()) return std::nullopt;
  return address_of(field);
}

unsigned mask_frame(Bytes frame, Direction direction, std::uint16_t dns_port,
                    const ClientMask& mask) noexcept {
  const auto layout = layout_of(frame);
  if (layout.network == Network::none)
    return std::min<unsigned>(layout.network_offset, static_cast<unsigned>(frame.size()));
  const auto field = peer_field(frame, layout, direction);
  const auto masked = mask.apply(address_of(field));
  std::ranges::copy(std::as_bytes(std::span(masked.bytes)).last(field.size()), field.begin());
  if (layout.network == Network::arp) return layout.network_offset + unsigned{sizeof(frame::Arp)};
  if (layout.network == Network::ipv4) finish_ipv4(frame, layout);
  const auto message = dns_message(frame, layout, direction, dns_port);
  if (message.empty() || !mask_message(message, mask)) return headers_end(layout);
  finish_udp(frame, layout);
  return layout.packet_end;
}

}  // namespace pharos::dataplane
