// From frames to queries. Workers call it; all state is the burst's.
//
// Bounds: every header is read only after its last byte is known to lie in the frame, every inner
// length is compared with the outer one in the function that reads it.
#include "pharos/base/assert.hh"
#include "pharos/dataplane/packet/frame_burst.hh"
#include "pharos/dataplane/packet/ip_rules.hh"
#include "pharos/dataplane/packet/local_reply.hh"
#include "pharos/shared/spsc_ring.hh"
#include "pharos/wire/checksum.hh"
#include "pharos/wire/frame.hh"

#include <immintrin.h>

namespace pharos::dataplane {

namespace {

// A frame's first two lines hold all headers and a common query; this many frames ahead they are
// asked for.
constexpr unsigned prefetch_frames = 6;

constexpr std::uint16_t beacon_bytes_max = ring_record_bytes_max - sizeof(BeaconArrival);

// One frame on its way. `to_us`: the destination MAC is ours, not a group.
struct Place {
  const Interface& interface;
  FrameBurst& burst;
  Frame& frame;
  unsigned index;
  bool to_us;

  [[nodiscard]] std::byte* ip() const noexcept { return frame.data + frame.ip_offset; }
  [[nodiscard]] unsigned ip_bytes() const noexcept {
    return unsigned{frame.length} - frame.ip_offset;
  }
  // What becomes of traffic that is not ours to answer.
  [[nodiscard]] Verdict others(Verdict drop) const noexcept {
    return interface.exception_port ? Verdict::exception : drop;
  }
};

[[nodiscard]] IpAddress address_of(const frame::Ipv4& ip) noexcept {
  IpAddress address;
  address.bytes[10] = address.bytes[11] = 0xff;
  store(address.bytes.data() + 12, load<std::uint32_t>(ip.source.data()));
  return address;
}
[[nodiscard]] IpAddress address_of(const frame::Ipv6& ip) noexcept {
  return {ip.source};
}

template <typename Ip>
void add_query(const Place& place, const Ip& ip, const frame::Udp& udp, std::byte* payload,
               unsigned bytes) noexcept {
  FrameBurst& burst = place.burst;
  const auto offset = static_cast<unsigned>(payload - place.frame.data);
  Query& query = burst.query_slots[burst.query_count];
  query.message = payload;
  query.length = static_cast<std::uint16_t>(bytes);
  query.capacity =
      static_cast<std::uint16_t>(place.frame.room > offset ? place.frame.room - offset : 0U);
  query.transport = Transport::udp;
  query.source_port = udp.source_port;
  query.source = address_of(ip);
  burst.query_frames[burst.query_count++] = static_cast<std::uint8_t>(place.index);
}

template <typename Ip>
[[nodiscard, gnu::noinline]] Verdict add_beacon(const Place& place, const Ip& ip,
                                                const frame::Udp& udp, std::byte* payload,
                                                unsigned bytes) noexcept {
  if (bytes > beacon_bytes_max) return Verdict::beacon_oversize;
  FrameBurst& burst = place.burst;
  burst.beacon_slots[burst.beacon_count++] = {address_of(ip), udp.source_port,
                                              ConstBytes(payload, bytes)};
  return Verdict::beacon_forwarded;
}

// UDP over IPv4 may come without a checksum (RFC 768); over IPv6 it must have one (RFC 8200, 8.1).
template <typename Ip>
[[nodiscard]] bool udp_checksum_holds(const Place& place, const Ip& ip, const frame::Udp& udp,
                                      unsigned bytes) noexcept {
  if (udp.checksum == 0) return std::is_same_v<Ip, frame::Ipv4>;
  if ((place.frame.receive_flags & receive_flag::udp_checksum_good) != 0) return true;
  const auto sum = pseudo_sum(ip, frame::protocol_udp, bytes) +
                   checksum::sum(reinterpret_cast<const std::byte*>(&udp), bytes);
  return checksum::fold(sum) == 0xffff;
}

// `room_bytes` of the IP packet are left for UDP. Its own length may be shorter: the surplus
// belongs to UDP options (RFC 9868), which we do not read.
template <typename Ip>
[[nodiscard, gnu::always_inline]] inline Verdict classify_udp(const Place& place, const Ip& ip,
                                                              std::byte* bytes,
                                                              unsigned room_bytes) noexcept {
  if (room_bytes < sizeof(frame::Udp)) return Verdict::drop_udp_length;
  const auto& udp = *frame::at<frame::Udp>(bytes);
  const unsigned udp_bytes = udp.length;
  if (udp_bytes < sizeof(frame::Udp) || udp_bytes > room_bytes) return Verdict::drop_udp_length;
  const std::uint16_t port = udp.destination_port;
  const bool dns = port == place.interface.dns_port;
  const bool beacon = port == place.interface.beacon_port && port != 0;
  if (!dns && !beacon) return place.others(Verdict::drop_port);
  if (is_martian(place.interface, ip)) return Verdict::drop_martian;
  if (std::uint16_t{udp.source_port} == 0)
    return Verdict::drop_port;  // nobody can be answered there
  if (!udp_checksum_holds(place, ip, udp, udp_bytes)) return Verdict::drop_udp_checksum;

  auto* payload = bytes + sizeof(frame::Udp);
  const unsigned payload_bytes = udp_bytes - unsigned{sizeof(frame::Udp)};
  if (!dns) return add_beacon(place, ip, udp, payload, payload_bytes);
  add_query(place, ip, udp, payload, payload_bytes);
  return Verdict::answered;
}

[[nodiscard]] bool ipv4_checksum_holds(const Frame& frame, const std::byte* ip,
                                       unsigned header_bytes) noexcept {
  if ((frame.receive_flags & receive_flag::ipv4_checksum_good) != 0) return true;
  std::uint64_t sum = 0;
  for (unsigned at = 0; at < header_bytes; at += 4) sum += load<std::uint32_t>(ip + at);
  return checksum::fold(sum) == 0xffff;
}

[[nodiscard, gnu::cold, gnu::noinline]] Verdict classify_other_ipv4(
    const Place& place, const frame::Ipv4& ip) noexcept {
  if (place.interface.exception_port) return Verdict::exception;
  if (ip.protocol != frame::protocol_icmp) return Verdict::drop_protocol;
  return reply_to_icmp(place.interface, place.frame, ip.total_bytes);
}

[[nodiscard, gnu::always_inline]] inline Verdict classify_ipv4(const Place& place) noexcept {
  Frame& frame = place.frame;
  if (place.ip_bytes() < sizeof(frame::Ipv4)) return Verdict::drop_frame_short;
  const auto& ip = *frame::at<frame::Ipv4>(place.ip());
  const unsigned header_bytes = (ip.version_and_words & 0x0fU) * 4;
  const unsigned total_bytes = ip.total_bytes;
  if (ip.version_and_words >> 4 != 4 || header_bytes < sizeof(frame::Ipv4) ||
      total_bytes < header_bytes || total_bytes > place.ip_bytes()) {
    return Verdict::drop_ip_header;
  }
  if (!ipv4_checksum_holds(frame, place.ip(), header_bytes)) return Verdict::drop_ip_checksum;
  if (!place.to_us || !place.interface.is_ours(load<std::uint32_t>(ip.destination.data()))) {
    return place.others(Verdict::drop_not_ours);
  }
  const bool is_udp = ip.protocol == frame::protocol_udp;
  if ((ip.fragment & frame::ipv4_fragment_mask) != 0) {
    return is_udp ? Verdict::drop_fragment : place.others(Verdict::drop_fragment);
  }
  frame.ip_header_bytes = static_cast<std::uint8_t>(header_bytes);
  if (!is_udp) return classify_other_ipv4(place, ip);
  return classify_udp(place, ip, place.ip() + header_bytes, total_bytes - header_bytes);
}

[[nodiscard]] bool is_extension_header(
    std::uint8_t next) noexcept {  // IANA: IPv6 extension header types
  return next == 0 || next == 43 || next == 44 || next == 50 || next == 51 || next == 60 ||
         next == 135 || next == 139 || next == 140;
}

[[nodiscard, gnu::cold, gnu::noinline]] Verdict classify_other_ipv6(
    const Place& place, const frame::Ipv6& ip) noexcept {
  if (place.interface.exception_port) return Verdict::exception;
  if (ip.next_header == frame::protocol_icmpv6) {
    return reply_to_icmpv6(place.interface, place.frame, ip.payload_bytes);
  }
  return is_extension_header(ip.next_header) ? Verdict::drop_extension : Verdict::drop_protocol;
}

[[nodiscard, gnu::always_inline]] inline Verdict classify_ipv6(const Place& place) noexcept {
  Frame& frame = place.frame;
  if (place.ip_bytes() < sizeof(frame::Ipv6)) return Verdict::drop_frame_short;
  const auto& ip = *frame::at<frame::Ipv6>(place.ip());
  const unsigned payload_bytes = ip.payload_bytes;
  if (ip.version_and_flow >> 28 != 6 || payload_bytes > place.ip_bytes() - sizeof(frame::Ipv6)) {
    return Verdict::drop_ip_header;
  }
  frame.transmit_flags = transmit_flag::ipv6;
  frame.ip_header_bytes = sizeof(frame::Ipv6);
  if (ip.next_header != frame::protocol_udp) return classify_other_ipv6(place, ip);
  if (!place.to_us || !place.interface.is_ours(ip.destination.data())) {
    return place.others(Verdict::drop_not_ours);
  }
  return classify_udp(place, ip, place.ip() + sizeof(frame::Ipv6), payload_bytes);
}

[[nodiscard, gnu::noinline]] Verdict classify_other_type(const Place& place,
                                                         std::uint16_t type) noexcept {
  if (place.interface.exception_port) return Verdict::exception;
  return type == frame::ether_arp ? reply_to_arp(place.interface, place.frame)
                                  : Verdict::drop_ether_type;
}

// Steps over up to two tags: sets frame.ip_offset, and `type` to what follows. False: drop_vlan.
[[nodiscard]] bool skip_tags(const Interface& interface, Frame& frame,
                             std::uint16_t& type) noexcept {
  unsigned tags = 0;
  while (type == frame::ether_vlan || type == frame::ether_qinq) {
    if (tags == frame::vlan_tags_max || frame.length < frame.ip_offset + sizeof(frame::VlanTag))
      return false;
    const auto& tag = *frame::at<frame::VlanTag>(frame.data + frame.ip_offset);
    if (tags == 0 && interface.vlan_only && (tag.control & frame::vlan_id_mask) != interface.vlan)
      return false;
    type = tag.type;
    frame.ip_offset = static_cast<std::uint8_t>(frame.ip_offset + sizeof(frame::VlanTag));
    ++tags;
  }
  return tags > 0 || !interface.vlan_only;
}

[[nodiscard, gnu::noinline]] Verdict classify_frame(const Interface& interface, FrameBurst& burst,
                                                    unsigned index) noexcept {
  Frame& frame = burst.frames[index];
  if (frame.length < sizeof(frame::Ethernet)) return Verdict::drop_frame_short;
  const auto& ethernet = *frame::at<frame::Ethernet>(frame.data);
  frame.ip_offset = sizeof(frame::Ethernet);
  frame.transmit_flags = 0;  // of the frame that had this slot before
  const bool to_us = interface.any_mac || ethernet.destination == interface.mac.bytes;
  if (!to_us && (ethernet.destination[0] & 1) == 0) return Verdict::drop_not_ours;
  // No station sends from a group; a reply to one would go to the whole link.
  if ((ethernet.source[0] & 1) != 0) return Verdict::drop_martian;
  std::uint16_t type = ethernet.type;
  if (interface.vlan_only || (type != frame::ether_ipv4 && type != frame::ether_ipv6)) {
    if (!skip_tags(interface, frame, type)) return Verdict::drop_vlan;
  }
  const Place place{interface, burst, frame, index, to_us};
  if (type == frame::ether_ipv4) return classify_ipv4(place);
  if (type == frame::ether_ipv6) return classify_ipv6(place);
  return classify_other_type(place, type);
}

// What nearly every query is: an untagged IPv4 header to us without options or fragments, UDP from a possible client to
// our port, which fills the packet. False: classify_frame has to look, which would say the same of these
// (tests/packets/frame_sweep_test.cc).
[[nodiscard, gnu::always_inline]] inline bool classify_plain(const Interface& interface,
                                                             FrameBurst& burst,
                                                             unsigned index) noexcept {
  constexpr unsigned ip_at = sizeof(frame::Ethernet);
  constexpr unsigned udp_at = ip_at + sizeof(frame::Ipv4);
  Frame& frame = burst.frames[index];
  if (frame.length < udp_at + sizeof(frame::Udp)) return false;
  const auto head = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(frame.data));
  const auto wanted =
      _mm256_load_si256(reinterpret_cast<const __m256i*>(interface.plain_head.data()));
  const auto mask =
      _mm256_load_si256(reinterpret_cast<const __m256i*>(interface.plain_mask.data()));
  if (_mm256_testz_si256(_mm256_xor_si256(head, wanted), mask) == 0) return false;

  const auto& ip = *frame::at<frame::Ipv4>(frame.data + ip_at);
  const auto& udp = *frame::at<frame::Udp>(frame.data + udp_at);
  const unsigned udp_bytes = udp.length;
  const bool fills = udp_bytes >= sizeof(frame::Udp) &&
                     ip.total_bytes == udp_bytes + sizeof(frame::Ipv4) &&
                     udp_at + udp_bytes <= frame.length;
  const bool ports = udp.destination_port == interface.dns_port && load<std::uint16_t>(&udp) != 0;
  if (!fills || !ports || !interface.is_ours(load<std::uint32_t>(ip.destination.data())) ||
      is_martian(interface, ip))
    return false;
  const Place place{interface, burst, frame, index, true};
  if (!ipv4_checksum_holds(frame, frame.data + ip_at, sizeof(frame::Ipv4)) ||
      !udp_checksum_holds(place, ip, udp, udp_bytes))
    return false;
  frame.transmit_flags = 0;
  frame.ip_offset = ip_at;
  frame.ip_header_bytes = sizeof(frame::Ipv4);
  add_query(place, ip, udp, frame.data + udp_at + sizeof(frame::Udp),
            udp_bytes - unsigned{sizeof(frame::Udp)});
  return true;
}

void prefetch_frame(const Frame& frame) noexcept {
  __builtin_prefetch(frame.data, 1);
  __builtin_prefetch(frame.data + 64, 1);
}

// Keeps what is not a query or a beacon, which have their lists already.
void keep(FrameBurst& burst, unsigned index, Verdict verdict, CoreCounters& counters) noexcept {
  const auto i = static_cast<std::uint8_t>(index);
  if (verdict == Verdict::local_reply) {
    burst.local_reply_frames[burst.local_reply_count++] = i;
    return;
  }
  if (verdict == Verdict::exception) burst.exception_frames[burst.exception_count++] = i;
  counters.count(verdict);
}

}  // namespace

void classify_burst(const Interface& interface, FrameBurst& burst,
                    CoreCounters& counters) noexcept {
  ASSERT(burst.frame_count <= burst_frames_max);
  burst.query_count = burst.beacon_count = burst.exception_count = burst.local_reply_count = 0;
  const unsigned count = burst.frame_count;
  for (unsigned i = 0; i < count && i < prefetch_frames; ++i) prefetch_frame(burst.frames[i]);

  std::uint64_t bytes = 0;
  std::uint64_t ipv6_queries = 0;
  for (unsigned i = 0; i < count; ++i) {
    if (i + prefetch_frames < count) prefetch_frame(burst.frames[i + prefetch_frames]);
    Frame& frame = burst.frames[i];
    bytes += frame.length;
    frame.verdict = classify_plain(interface, burst, i) ? Verdict::answered
                                                        : classify_frame(interface, burst, i);
    if (frame.verdict == Verdict::answered) {
      ipv6_queries += frame.transmit_flags & transmit_flag::ipv6;
    } else if (frame.verdict != Verdict::beacon_forwarded) {
      keep(burst, i, frame.verdict, counters);
    }
  }
  static_assert(transmit_flag::ipv6 == 1, "added up above");
  counters.count(Counter::received_packets, count);
  counters.count(Counter::received_bytes, bytes);
  counters.count(Counter::queries_ipv6, ipv6_queries);
  counters.count(Counter::queries_ipv4, burst.query_count - ipv6_queries);
}

}  // namespace pharos::dataplane
