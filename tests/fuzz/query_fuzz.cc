// Any bytes as a DNS message, answered from a world with one of everything.
//
// First byte: transport, room, limits; second: picks the source. The reply must be a message that a strict reader takes,
// carry the query's id with QR set, keep to every limit, and have the checksum that it claims.
#include "pharos/base/assert.hh"
#include "pharos/dataplane/dns/serve.hh"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>

#include "packets/example_world.hh"
#include "packets/message_text.hh"
#include "packets/octets.hh"

namespace {

using namespace pharos;             // NOLINT
using namespace pharos::dataplane;  // NOLINT

enum : std::uint8_t { over_tcp = 1, small = 2, no_subnets = 4, above_limit = 8 };

ServeOptions options(bool subnets) {
  ServeOptions o;
  o.nsid = "fuzz";
  o.version_text = "pharos";
  o.server_id = "here";
  o.ecs_enabled = subnets;
  o.ecs_resolvers = {*IpPrefix::parse("198.51.100.128/25")};  // half of those of source_of()
  return o;
}

// Limits that the second reply to anybody is above; all of those are cut short.
ServeOptions limited_options() {
  ServeOptions o = options(true);
  o.rate_limit.per_second.fill(0.01);
  o.rate_limit.slip = 1;
  o.rate_limit.memory_bytes = 64;
  o.cookie_secrets.resize(2);
  return o;
}

IpAddress source_of(std::uint8_t pick) {
  if ((pick & 1) != 0) return IpAddress{{0x20, 0x01, 0x0d, 0xb8, pick}};
  return IpAddress::from_ipv4(0xc6336400U + pick);  // 198.51.100.0/24
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2 || size > 4000) return 0;
  static const auto root = packets::example_world();
  static ServeState with_subnets(options(true));
  static ServeState without_subnets(options(false));
  with_subnets.set_time(1'700'000'000, {});

  Query query;
  query.length = static_cast<std::uint16_t>(size - 2);
  query.capacity =
      (data[0] & small) != 0 ? static_cast<std::uint16_t>(data[1] * 4) : std::uint16_t{8000};
  query.transport = (data[0] & over_tcp) != 0 ? Transport::tcp : Transport::udp;
  query.source = source_of(data[1]);
  const auto buffer =
      std::make_unique<std::byte[]>(std::max(query.length, query.capacity) + query_slack_bytes);
  std::memcpy(buffer.get(), data + 2, query.length);
  query.message = buffer.get();
  CoreCounters counters;
  if ((data[0] & above_limit) != 0) {
    ServeState limited(limited_options());
    limited.set_time(1'700'000'000, {1'000'000'000});
    CoreCounters first;
    serve_burst(limited, *root, {&query, 1}, first);
    std::memcpy(buffer.get(), data + 2, query.length);
    query.verdict = Verdict::answered;
    serve_burst(limited, *root, {&query, 1}, counters);
    const auto cut = counters.read(Counter::slipped) + counters.read(Counter::badcookies);
    REQUIRE(cut == 0 || query.reply_bytes < 3 * query.length);
  } else {
    serve_burst((data[0] & no_subnets) != 0 ? without_subnets : with_subnets, *root, {&query, 1},
                counters);
  }

  std::uint64_t verdicts = 0;
  for (const auto count : counters.verdicts) verdicts += count;
  REQUIRE(verdicts == (query.verdict == Verdict::answered ? 0 : 1));
  if (query.verdict != Verdict::answered) return 0;
  REQUIRE(query.reply_bytes >= 12 && query.reply_bytes <= query.capacity);
  const packets::Octets reply(buffer.get(), buffer.get() + query.reply_bytes);
  REQUIRE(std::memcmp(reply.data(), data + 2, 2) == 0 &&
          (reply[2] & std::byte{0x80}) != std::byte{0});
  REQUIRE(packets::internet_sum(reply) % 0xffff == byte_swap(query.reply_checksum) % 0xffffU);
  const auto lines = packets::MessageText::of(reply);
  REQUIRE(!lines.back().starts_with("BROKEN"));
  if (query.transport == Transport::udp) {
    const bool edns = counters.read(Counter::queries_edns) != 0;
    REQUIRE(query.reply_bytes <= (edns ? 1232 : 512));
  }
  return 0;
}
