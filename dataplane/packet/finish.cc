// From replies back to frames, in place. Workers call it; all state is the burst's.
//
// The headers of the request become those of the reply: addresses and ports swap, tags stay,
// lengths and checksums are written anew. IP options of the request are overwritten with zeros (end
// of option list), so that nothing has to move and no one can have us send his options.
#include "pharos/base/assert.hh"
#include "pharos/dataplane/packet/frame_burst.hh"
#include "pharos/dataplane/packet/ip_rules.hh"
#include "pharos/wire/checksum.hh"
#include "pharos/wire/frame.hh"

#include <immintrin.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstring>
#include <utility>

namespace pharos::dataplane {

namespace {

constexpr std::uint8_t reply_hop_limit = 64;

[[gnu::cold, gnu::noinline]] void clear_options(frame::Ipv4& ip, unsigned header_bytes) noexcept {
  std::memset(reinterpret_cast<std::byte*>(&ip) + sizeof(frame::Ipv4), 0,
              header_bytes - sizeof(frame::Ipv4));
}

// Don't Fragment with id 0: an atomic datagram (RFC 6864, 4.1), and no answer of ours is worth a fragment. In three
// stores; returns the sum of both addresses.
std::uint64_t write_ipv4(frame::Ipv4& ip, unsigned header_bytes, unsigned udp_bytes,
                         bool port_sums) noexcept {
  static_assert(offsetof(frame::Ipv4, ttl) == 8 && offsetof(frame::Ipv4, source) == 12);
  // As they stand in memory: version and words, traffic class 0 | length (2) | id 0 (2) | fragment (2); hop limit,
  // protocol, checksum (2); source and destination, which change places.
  const auto length = byte_swap(static_cast<std::uint16_t>(header_bytes + udp_bytes));
  constexpr std::uint64_t fragment = byte_swap(frame::ipv4_dont_fragment);
  constexpr std::uint32_t limit_protocol = reply_hop_limit | frame::protocol_udp << 8;
  const auto addresses = std::rotl(load<std::uint64_t>(ip.source.data()), 32);
  const std::uint64_t address_sum = (addresses & 0xffffffff) + (addresses >> 32);
  const std::uint64_t sum = address_sum + ip.version_and_words + length + fragment + limit_protocol;
  const std::uint32_t field = port_sums ? 0U : checksum::field_of(sum);
  store(&ip, ip.version_and_words | std::uint64_t{length} << 16 | fragment << 48);
  store(&ip.ttl, limit_protocol | field << 16);
  store(ip.source.data(), addresses);
  if (header_bytes != sizeof(frame::Ipv4)) clear_options(ip, header_bytes);
  return address_sum;
}

// The pseudo header of IPv4 (RFC 768) without the addresses.
[[nodiscard]] std::uint64_t pseudo_rest(unsigned udp_bytes) noexcept {
  return std::uint64_t{byte_swap(std::uint16_t{frame::protocol_udp})} +
         byte_swap(static_cast<std::uint16_t>(udp_bytes));
}

void write_ipv6(frame::Ipv6& ip, unsigned udp_bytes) noexcept {
  ip.version_and_flow = 0x60000000;
  ip.payload_bytes = static_cast<std::uint16_t>(udp_bytes);
  ip.hop_limit = reply_hop_limit;
  std::swap(ip.source, ip.destination);
}

// `pseudo` is the sum of the pseudo header for `udp_bytes`.
void write_udp(frame::Udp& udp, unsigned udp_bytes, std::uint64_t pseudo, std::uint16_t message_sum,
               bool port_sums) noexcept {
  // Both ports in one load and one store: two halves written and then read as one would wait for the store.
  const std::uint32_t ports = std::rotl(load<std::uint32_t>(&udp), 16);
  store(&udp, ports);
  udp.length = static_cast<std::uint16_t>(udp_bytes);
  const std::uint64_t length = byte_swap(static_cast<std::uint16_t>(udp_bytes));
  store(&udp.checksum,
        port_sums ? checksum::fold(pseudo)
                  : checksum::udp_field_of(pseudo + std::uint64_t{ports} + length + message_sum));
}

// The source becomes the destination, `from_us` with our MAC at its place the source. All 16 bytes in one load and store:
// what follows the addresses stays.
void turn_ethernet(std::byte* data, __m128i from_us) noexcept {
  static_assert(offsetof(frame::Ethernet, source) == 6);
  const auto swap = _mm_setr_epi8(6, 7, 8, 9, 10, 11, -1, -1, -1, -1, -1, -1, 12, 13, 14, 15);
  auto* header = reinterpret_cast<__m128i*>(data);
  _mm_storeu_si128(header, _mm_or_si128(_mm_shuffle_epi8(_mm_loadu_si128(header), swap), from_us));
}

[[nodiscard]] __m128i source_of(const MacAddress& mac) noexcept {
  alignas(16) std::array<std::uint8_t, 16> bytes{};
  std::ranges::copy(mac.bytes, bytes.begin() + offsetof(frame::Ethernet, source));
  return _mm_load_si128(reinterpret_cast<const __m128i*>(bytes.data()));
}

[[gnu::always_inline]] inline void finish_reply(const Interface& interface, __m128i from_us,
                                                Frame& frame, const Query& query) noexcept {
  turn_ethernet(frame.data, from_us);

  const unsigned udp_bytes = unsigned{sizeof(frame::Udp)} + query.reply_bytes;
  auto* ip = frame.data + frame.ip_offset;
  auto& udp = *frame::at<frame::Udp>(ip + frame.ip_header_bytes);
  std::uint8_t flags =
      interface.transmit_udp_checksum ? transmit_flag::udp_checksum : std::uint8_t{0};
  std::uint64_t pseudo = 0;
  if ((frame.transmit_flags & transmit_flag::ipv6) == 0) {
    auto& ipv4 = *frame::at<frame::Ipv4>(ip);
    pseudo = write_ipv4(ipv4, frame.ip_header_bytes, udp_bytes, interface.transmit_ipv4_checksum) +
             pseudo_rest(udp_bytes);
    if (interface.transmit_ipv4_checksum) flags |= transmit_flag::ipv4_checksum;
  } else {
    auto& ipv6 = *frame::at<frame::Ipv6>(ip);
    write_ipv6(ipv6, udp_bytes);
    pseudo = pseudo_sum(ipv6, frame::protocol_udp, udp_bytes);
    flags |= transmit_flag::ipv6;
  }
  write_udp(udp, udp_bytes, pseudo, query.reply_checksum, interface.transmit_udp_checksum);
  frame.transmit_flags = flags;
  frame.length = static_cast<std::uint16_t>(frame.ip_offset + frame.ip_header_bytes + udp_bytes);
  ASSERT(frame.length <= frame.room);
}

}  // namespace

void finish_burst(const Interface& interface, FrameBurst& burst) noexcept {
  burst.send_count = burst.release_count = 0;
  const __m128i from_us = source_of(interface.mac);
  for (unsigned i = 0; i < burst.query_count; ++i) {
    const std::uint8_t index = burst.query_frames[i];
    const Query& query = burst.query_slots[i];
    Frame& frame = burst.frames[index];
    frame.verdict = query.verdict;
    if (query.verdict != Verdict::answered) continue;
    finish_reply(interface, from_us, frame, query);
    burst.send_frames[burst.send_count++] = index;
  }
  burst.answer_count = burst.send_count;
  for (unsigned i = 0; i < burst.local_reply_count; ++i) {
    burst.send_frames[burst.send_count++] = burst.local_reply_frames[i];
  }
  if (burst.send_count + burst.exception_count == burst.frame_count) return;
  for (unsigned i = 0; i < burst.frame_count; ++i) {
    const Verdict verdict = burst.frames[i].verdict;
    const bool stays = verdict == Verdict::answered || verdict == Verdict::local_reply ||
                       verdict == Verdict::exception;
    burst.release_frames[burst.release_count] = static_cast<std::uint8_t>(i);
    burst.release_count += stays ? 0 : 1;
  }
}

void count_sent(const FrameBurst& burst, unsigned taken, CoreCounters& counters) noexcept {
  ASSERT(taken <= burst.send_count);
  std::uint64_t bytes = 0;
  for (unsigned i = 0; i < taken; ++i) bytes += burst.frames[burst.send_frames[i]].length;
  const unsigned answers = taken < burst.answer_count ? taken : burst.answer_count;
  counters.count(Verdict::answered, answers);
  counters.count(Verdict::local_reply, taken - answers);
  counters.count(Verdict::drop_tx_full, burst.send_count - taken);
  counters.count(Counter::sent_packets, taken);
  counters.count(Counter::sent_bytes, bytes);
}

}  // namespace pharos::dataplane
