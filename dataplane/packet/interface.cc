#include "pharos/dataplane/packet/interface.hh"

#include "pharos/wire/frame.hh"

#include <algorithm>
#include <cstddef>
#include <cstdio>

namespace pharos::dataplane {

std::string MacAddress::text() const {
  char buffer[18];
  std::snprintf(buffer, sizeof buffer, "%02x:%02x:%02x:%02x:%02x:%02x", bytes[0], bytes[1],
                bytes[2], bytes[3], bytes[4], bytes[5]);
  return buffer;
}

IpAddress link_local_of(const MacAddress& mac) noexcept {
  IpAddress address;
  auto& b = address.bytes;
  b[0] = 0xfe;
  b[1] = 0x80;
  b[8] = static_cast<std::uint8_t>(mac.bytes[0] ^ 0x02);
  b[9] = mac.bytes[1];
  b[10] = mac.bytes[2];
  b[11] = 0xff;
  b[12] = 0xfe;
  b[13] = mac.bytes[3];
  b[14] = mac.bytes[4];
  b[15] = mac.bytes[5];
  return address;
}

namespace {

// Whether a host can have this address: no wildcard, loopback, multicast or reserved one.
[[nodiscard]] bool is_host_address(const IpAddress& address) {
  if (address.is_ipv4()) {
    const unsigned first = address.bytes[12];
    return first != 0 && first != 127 && first < 224;
  }
  if (address.bytes[0] == 0xff) return false;
  const IpAddress unspecified;
  IpAddress loopback;
  loopback.bytes[15] = 1;
  return address != unspecified && address != loopback;
}

[[nodiscard]] Status add_address(Interface& interface, const IpAddress& address) {
  if (!is_host_address(address)) {
    return fail(ErrorCode::invalid, "'" + address.text() + "' is no address that a port can have",
                "addresses", "write a unicast address such as 192.0.2.1 or 2001:db8::1");
  }
  const auto wire = address.wire();
  const bool v4 = address.is_ipv4();
  if (v4 ? interface.is_ours(load<std::uint32_t>(wire.data())) : interface.is_ours(wire.data()))
    return {};
  unsigned& count = v4 ? interface.ipv4_count : interface.ipv6_count;
  if (count == interface_addresses_max) {
    return fail(ErrorCode::exhausted, "more than 64 addresses of one family on a port", "addresses",
                "spread them over several ports");
  }
  if (v4) {
    interface.ipv4[count++] = load<std::uint32_t>(wire.data());
  } else {
    interface.ipv6[count++] = address.bytes;
  }
  return {};
}

// To our MAC from no group, untagged IPv4 without options or fragments, UDP. Where every frame has to be looked at, what no
// frame is.
void set_plain_frame(Interface& interface) {
  const auto want = [&](std::size_t at, unsigned octet, unsigned bits = 0xff) {
    interface.plain_head[at] = static_cast<std::uint8_t>(octet);
    interface.plain_mask[at] = static_cast<std::uint8_t>(bits);
  };
  constexpr std::size_t ip_at = sizeof(frame::Ethernet);
  if (!interface.any_mac) {
    for (std::size_t i = 0; i < interface.mac.bytes.size(); ++i) want(i, interface.mac.bytes[i]);
  }
  want(offsetof(frame::Ethernet, source), 0, 1);
  want(offsetof(frame::Ethernet, type), frame::ether_ipv4 >> 8);
  want(offsetof(frame::Ethernet, type) + 1, frame::ether_ipv4 & 0xff);
  want(ip_at, 4U << 4 | sizeof(frame::Ipv4) / 4);
  want(ip_at + offsetof(frame::Ipv4, fragment), 0, frame::ipv4_fragment_mask >> 8);
  want(ip_at + offsetof(frame::Ipv4, fragment) + 1, 0, frame::ipv4_fragment_mask & 0xff);
  want(ip_at + offsetof(frame::Ipv4, protocol), frame::protocol_udp);
  if (interface.vlan_only) interface.plain_head[ip_at] = 0;  // no tag: not for us
}

}  // namespace

Result<Interface> make_interface(const InterfaceSettings& settings) {
  Interface interface;
  if ((settings.mac.bytes[0] & 1) != 0 || settings.mac == MacAddress{}) {
    return fail(ErrorCode::invalid,
                "'" + settings.mac.text() + "' is no MAC address that a port can have", "mac",
                "the first octet must be even, and not all may be zero");
  }
  if (settings.dns_port == 0 || settings.dns_port == settings.beacon_port) {
    return fail(ErrorCode::invalid,
                "DNS port " + std::to_string(settings.dns_port) + " is 0 or the beacon port",
                "dns_port", "use 53, and another port for beacons");
  }
  if (settings.vlan && (*settings.vlan == 0 || *settings.vlan > vlan_id_max)) {
    return fail(ErrorCode::invalid, "VLAN id " + std::to_string(*settings.vlan) + " does not exist",
                "vlan", "ids run from 1 to 4094");
  }
  interface.mac = settings.mac;
  interface.any_mac = settings.any_mac;
  interface.exception_port = settings.exception_port;
  interface.transmit_ipv4_checksum = settings.transmit_ipv4_checksum;
  interface.transmit_udp_checksum = settings.transmit_udp_checksum;
  interface.vlan_only = settings.vlan.has_value();
  interface.vlan = settings.vlan.value_or(0);
  interface.dns_port = settings.dns_port;
  interface.beacon_port = settings.beacon_port;
  for (const auto& address : settings.addresses) {
    if (auto added = add_address(interface, address); !added) return std::unexpected(added.error());
  }
  if (auto added = add_address(interface, link_local_of(settings.mac)); !added) {
    return std::unexpected(added.error());
  }
  set_plain_frame(interface);
  return interface;
}

std::vector<MacAddress> multicast_macs(const Interface& interface) {
  std::vector<MacAddress> macs{MacAddress{{0x33, 0x33, 0x00, 0x00, 0x00, 0x01}}};
  for (unsigned i = 0; i < interface.ipv6_count; ++i) {
    const auto& b = interface.ipv6[i];
    macs.push_back(MacAddress{{0x33, 0x33, 0xff, b[13], b[14], b[15]}});
  }
  std::ranges::sort(macs);
  const auto doubles = std::ranges::unique(macs);
  macs.erase(doubles.begin(), doubles.end());
  return macs;
}

}  // namespace pharos::dataplane
