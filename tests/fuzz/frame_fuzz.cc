// Any bytes as a frame: classified, answered, finished. First byte: what port it came in on; the rest: the frame.
//
// Every frame must end in exactly one list and one verdict, no reply may be longer than its room, and what is sent must
// be a frame that another host would take: it is read again by the same rules, from the other side.
#include "pharos/base/assert.hh"
#include "pharos/dataplane/packet/frame_burst.hh"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>

#include "packets/octets.hh"

namespace {

using namespace pharos;             // NOLINT
using namespace pharos::dataplane;  // NOLINT

constexpr unsigned room_bytes = 2000;

enum : std::uint8_t {
  any_mac = 1,
  exception_port = 2,
  vlan_only = 4,
  trusted = 8,
  offload = 16,
  no_room = 32
};

Interface interface_of(std::uint8_t how) {
  InterfaceSettings settings;
  settings.mac = MacAddress{packets::server_mac};
  settings.addresses = {*IpAddress::parse("192.0.2.1"), *IpAddress::parse("2001:db8::53")};
  settings.beacon_port = 5380;
  settings.any_mac = (how & any_mac) != 0;
  settings.exception_port = (how & exception_port) != 0;
  if ((how & vlan_only) != 0) settings.vlan = 100;
  settings.transmit_ipv4_checksum = settings.transmit_udp_checksum = (how & offload) != 0;
  return *make_interface(settings);
}

std::uint64_t verdicts_of(const CoreCounters& counters) {
  std::uint64_t sum = 0;
  for (const auto count : counters.verdicts) sum += count;
  return sum;
}

// The reply to a query, seen by the client: turned round once more, it must be taken as a query to it.
void check_reply(const Frame& sent, const Interface& interface) {
  packets::Octets frame(sent.data, sent.data + sent.length);
  const std::size_t at = sent.ip_offset;
  const bool ipv6 = (sent.transmit_flags & transmit_flag::ipv6) != 0;
  const std::size_t addresses = at + (ipv6 ? 8 : 12);
  const std::size_t bytes = ipv6 ? 16 : 4;
  for (std::size_t i = 0; i < 6; ++i) std::swap(frame[i], frame[6 + i]);
  for (std::size_t i = 0; i < bytes; ++i)
    std::swap(frame[addresses + i], frame[addresses + bytes + i]);
  const std::size_t udp = at + sent.ip_header_bytes;
  for (std::size_t i = 0; i < 2; ++i) std::swap(frame[udp + i], frame[udp + 2 + i]);
  const std::size_t length = frame.size();
  frame.resize(length + query_slack_bytes);
  FrameBurst burst;
  CoreCounters counters;
  burst.begin();
  burst.add(frame.data(), static_cast<unsigned>(length), static_cast<unsigned>(length), 0);
  classify_burst(interface, burst, counters);
  REQUIRE(burst.query_count == 1);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0 || size > room_bytes) return 0;
  const std::uint8_t how = data[0];
  const Interface interface = interface_of(how);
  const auto length = static_cast<unsigned>(size - 1);
  const unsigned room = (how & no_room) != 0 ? length : room_bytes;
  const auto buffer = std::make_unique<std::byte[]>(room + query_slack_bytes);
  std::memcpy(buffer.get(), data + 1, length);
  const std::uint8_t flags =
      (how & trusted) != 0 ? receive_flag::ipv4_checksum_good | receive_flag::udp_checksum_good : 0;

  FrameBurst burst;
  CoreCounters counters;
  burst.begin();
  burst.add(buffer.get(), length, room, flags);
  classify_burst(interface, burst, counters);
  for (Query& query : burst.queries()) {
    REQUIRE(query.message + query.length <= buffer.get() + length);
    query.verdict = Verdict::answered;
    query.reply_bytes = std::min(query.length, query.capacity);
    packets::Octets message(query.message, query.message + query.reply_bytes);
    query.reply_checksum = byte_swap(static_cast<std::uint16_t>(packets::internet_sum(message)));
  }
  finish_burst(interface, burst);
  REQUIRE(burst.send_count + burst.release_count + burst.exception_count == 1);
  for (const auto i : burst.sends()) {
    REQUIRE(burst.frames[i].length <= room);
    if (burst.answer_count == 1 && (how & offload) == 0) check_reply(burst.frames[i], interface);
  }
  count_sent(burst, burst.send_count, counters);
  REQUIRE(verdicts_of(counters) + burst.beacon_count == 1);
  return 0;
}
