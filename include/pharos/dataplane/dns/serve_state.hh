// The working memory of one core's serve_burst, shared by the files of dataplane/dns/. Not for callers.
#pragma once

#include "pharos/dataplane/dns/cookie.hh"
#include "pharos/dataplane/dns/request.hh"
#include "pharos/dataplane/dns/serve.hh"
#include "pharos/dataplane/match/name_lookup.hh"
#include "pharos/dataplane/match/steer.hh"
#include "pharos/shared/demand_record.hh"

#include <array>
#include <string>

namespace pharos::dataplane {

inline constexpr unsigned opt_fixed_bytes = 11;  // an OPT record without options (RFC 6891, 6.1.2)

// An OPT record without options, ready to store in one go; and its sum from an even offset.
struct alignas(16) PlainOpt {
  std::array<std::byte, 16> bytes{};
  std::uint16_t sum = 0;
};

// One query between stages: one line of the caches.
struct alignas(64) Work {
  Request request;
  bool careful = false;    // the name is whole: parse_request, or a look at its labels, says so
  bool absent = false;     // no node has the name: no need to look again
  bool steered = false;    // set by resolve: `node` answered from `pool` at `cell`
  std::uint8_t scope = 0;  // of ECS
  // Rate class that a name policy put the query in: index of dataplane.rate_limit.classes plus 1; 0: none.
  std::uint8_t rate_class = 0;
  // What the reply counts as, and for what: see AnswerClass.
  AnswerClass answer_class = AnswerClass::positive;
  std::uint8_t locale_scope = 0;  // of `cell`
  catalog::EcsMode ecs{};         // of `pool`
  std::uint32_t pool = 0;
  std::uint64_t hash =
      0;  // of the folded name; behind `resolve`, of what the limit of the reply is for
  const catalog::Node* node = nullptr;  // a candidate, then the proven one
  const Answer* answer = nullptr;
  const ranking::Ref* cell = nullptr;  // of the pool, for the client's locale

  void set_place(const CellPlace& place) noexcept {
    cell = place.cell;
    locale_scope = place.locale_scope;
  }
  [[nodiscard]] CellPlace place() const noexcept { return {cell, locale_scope}; }
};
static_assert(sizeof(Work) == 64);

// Texts of names that are scanned together: a burst of ordinary names. The last may be as long as a name can be.
inline constexpr unsigned policy_lines_bytes = 4096 + policy_text_bytes_max;

// Queries for the log, taken by policies.
struct PolicySamples {
  std::array<PolicySample, 8> records;
  unsigned count = 0;
  unsigned taken = 0;  // in this second
  std::uint32_t second = 0;
};

// The closest encloser of the last name that had no node: floods of made-up names stay below one. A hint, of which only
// the catalog is certain: who uses it compares names.
struct EncloserHint {
  catalog::Ref node = 0;  // 0: none
  Version version;
  std::uint64_t catalog_checksum = 0;
};

// Samples of demand that wait to be sent (demand.hh).
struct DemandBatch {
  bool on = true;
  DemandHead head{};
  std::array<DemandEntry, demand_entries_max> entries;
  unsigned count = 0;
  std::uint32_t second = 0;   // of the first entry
  std::uint64_t pending = 0;  // answers since the last entry
  Version version{};          // of the tables that `head` names
  std::uint64_t random = 0x9e3779b97f4a7c15;
  std::uint32_t sent_second = 0;
  unsigned sent = 0;  // records in it
};

struct ServeState::Impl {
  Impl(const RateLimitOptions& limits, std::span<const IpPrefix> resolvers)
      : ecs_resolvers(resolvers), limit(limits) {}

  // Constant after start:
  std::uint16_t udp_payload_max_bytes = 0;
  unsigned seat = 0;
  // Bits of Request::edns that count: client subnets only where enabled.
  std::uint8_t edns_heard = 0xff;
  PrefixSet ecs_resolvers;                   // whose client subnets pools of EcsMode::listed go by
  std::vector<CookieSecret> cookie_secrets;  // at least one
  std::uint16_t tcp_keepalive_ds = 0;
  std::string nsid;
  std::string version_text;
  std::string server_id;
  std::array<PlainOpt, 2> plain_opt;  // without and with DO

  // Owned by the core:
  std::uint32_t wall_s = 0;
  Instant now;
  RateLimit limit;
  std::array<Work, burst_queries_max> work;
  std::array<dns::FoldedName, burst_queries_max> names;
  std::array<EdnsOptions, burst_queries_max> options;
  std::array<Steering, burst_queries_max> steering;
  std::array<LabelMap, burst_queries_max>
      labels;  // of names that were walked: careful, or not found
  std::array<char, policy_lines_bytes> policy_lines;
  unsigned policy_texts_alone = 0;  // bursts left of which texts are scanned one by one
  PolicySamples samples;
  EncloserHint encloser_hint;
  DemandBatch demand;
};

// Who is answered: the subnet of ECS where it names anyone and is used, else the packet's source (RFC 7871, 7.2.1).
[[nodiscard]] inline const IpAddress& client_of(const Query& query, const Request& request,
                                                const EdnsOptions& options) noexcept {
  return (request.edns & edns_flag::subnet_used) != 0 ? options.subnet : query.source;
}

// A pool that does not go by all client subnets: forgets that of the request, which has one, where it may not be used.
void weigh_subnet(const ServeState::Impl& state, const Query& query, Request& request,
                  catalog::EcsMode mode, CoreCounters& counters) noexcept;

// The same for any pool and request, before client_of(): one comparison for the usual pool, two where there is no subnet.
[[gnu::always_inline]] inline void choose_client(const ServeState::Impl& state, const Query& query,
                                                 Request& request, catalog::EcsMode mode,
                                                 CoreCounters& counters) noexcept {
  if (mode != catalog::EcsMode::all && (request.edns & edns_flag::subnet_used) != 0) [[unlikely]]
    weigh_subnet(state, query, request, mode, counters);
}

// What a reply may take, everything counted. A client without EDNS takes 512 bytes.
[[nodiscard]] inline unsigned reply_limit(const ServeState::Impl& state, const Query& query,
                                          const Request& request) noexcept {
  unsigned limit = query.capacity;
  if (query.transport == Transport::tcp) return limit;
  unsigned wanted = request.edns != 0 ? request.client_payload : dns::udp_payload_min_bytes;
  if (wanted > state.udp_payload_max_bytes) wanted = state.udp_payload_max_bytes;
  return wanted < limit ? wanted : limit;
}

// A slot of the node for this type, or nullptr. ANY takes the first: one RRset, as RFC 8482, 4.1 suggests; at a
// delegation none, since all but DS is the other side's.
[[nodiscard]] inline const catalog::RrsetSlot* find_slot(const catalog::Node& node,
                                                         std::uint16_t type) noexcept {
  for (const auto& slot : catalog::slots_of(node)) {
    if (slot.type == type) return &slot;
    if (type == static_cast<std::uint16_t>(dns::Type::any))
      return (node.flags & catalog::node_flag::cut) == 0 ? &slot : nullptr;
  }
  return nullptr;
}

}  // namespace pharos::dataplane
