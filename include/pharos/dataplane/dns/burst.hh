// What the stages of one serve_burst share. Not for callers.
#pragma once

#include "pharos/dataplane/dns/serve_state.hh"

#include <array>
#include <cstdint>
#include <span>

namespace pharos::dataplane {

// Indices of queries that wait for the stage of that name.
using List = std::array<std::uint8_t, burst_queries_max>;

struct Burst {
  Burst(ServeState::Impl& s, const TableRoot& r, std::span<Query> q, CoreCounters& c) noexcept
      : state(s), root(r), queries(q), counters(c) {}

  ServeState::Impl& state;
  const TableRoot& root;
  std::span<Query> queries;
  CoreCounters& counters;

  unsigned careful_count = 0;
  unsigned match_count = 0;
  unsigned node_count = 0;
  unsigned policed_count = 0;
  unsigned typeless_count = 0;
  unsigned pool_count = 0;
  unsigned reply_count = 0;
  unsigned ranked_count = 0;  // of them, answered from the ranking
  unsigned long_count = 0;
  unsigned miss_count = 0;
  unsigned below_count = 0;
  unsigned moved_count = 0;
  unsigned resolve_count = 0;
  List careful;  // requests that parse_plain does not answer for: with options, or not plain
  List match;
  std::array<const catalog::Bucket*, burst_queries_max> bucket;  // of each in `match`
  List node;
  List policed;   // known names with a verdict of the policies
  List typeless;  // names that have nothing of the type
  List pool;
  List reply;
  List long_reply;  // with EDNS options, or longer than plain ones
  List miss;
  List below;  // names without a node, more than one label below the encloser of the last one
  List moved;  // replies whose answer stands under another name than it was made for
  List resolve;
};

// What replies of one kind count, in registers; added once a burst.
struct Tally {
  std::uint32_t edns = 0, tcp = 0, a = 0, aaaa = 0, replies = 0;

  [[gnu::always_inline]] void add(const Query& query, const Request& request) noexcept {
    edns += request.edns != 0 ? 1 : 0;
    static_assert(static_cast<unsigned>(Transport::tcp) == 1);
    tcp += static_cast<std::uint32_t>(query.transport);
    a += request.type == static_cast<std::uint16_t>(dns::Type::a) ? 1 : 0;
    aaaa += request.type == static_cast<std::uint16_t>(dns::Type::aaaa) ? 1 : 0;
    ++replies;
  }
  // All but the RCODE.
  void count(CoreCounters& counters) const noexcept {
    counters.count(Counter::queries_edns, edns);
    counters.count(Counter::queries_tcp, tcp);
    counters.count(Counter::type_a, a);
    counters.count(Counter::type_aaaa, aaaa);
    counters.count(Counter::type_other, replies - a - aaaa);
  }
};

}  // namespace pharos::dataplane
