// serve_burst: the stages. What each does for one query is a short function; what is rare lies in resolve.cc,
// reply.cc and request.cc.
//
//   parse -> fold, hash -> bucket line -> tags -> node lines -> name, slot -> answer lines -> reply
//               prefetch ^       prefetch ^              prefetch ^ (pools: locale, cell, slot before)
//   A name or type that is not there takes the stages of deny.cc.
//
// All queries of the burst take one stage before any takes the next, so that each line that was asked for has the
// rest of the burst to arrive.
#include "pharos/dataplane/dns/serve.hh"

#include "pharos/base/assert.hh"
#include "pharos/dataplane/dns/burst.hh"
#include "pharos/dataplane/dns/demand.hh"
#include "pharos/dataplane/dns/deny.hh"
#include "pharos/dataplane/dns/limit.hh"
#include "pharos/dataplane/dns/plain_reply.hh"
#include "pharos/dataplane/dns/policy.hh"
#include "pharos/dataplane/dns/reply.hh"
#include "pharos/dataplane/dns/resolve.hh"
#include "pharos/dataplane/dns/serve_state.hh"
#include "pharos/wire/checksum.hh"

#include <immintrin.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace pharos::dataplane {

namespace {

// ---- parse ----

// What parse_plain finds.
enum class Plain : std::uint8_t {
  yes,
  optioned,  // with EDNS options, which are still to be parsed
  no,        // parse_request has to look
};

// The question and OPT of a plain request: opcode QUERY, one question of class IN and an ordinary type, a name of at
// most 60 bytes, nothing behind it or one OPT that ends the message.
//
// The name is taken to end at its first zero octet, without walking its labels: if the table holds these very bytes,
// they are a valid name that ends there; if it does not, parse_request has the last word.
[[nodiscard, gnu::always_inline]] inline Plain parse_plain(const std::byte* message,
                                                           unsigned length, Work& work,
                                                           dns::FoldedName& name,
                                                           const dns::NameHashKey& key) noexcept {
  constexpr unsigned name_bytes_plain = 60;  // with its type and class within two vectors
  constexpr unsigned name_bytes_short = 28;  // within one
  Request& request = work.request;
  // id (2) | flags: QR, opcode must be 0 (2) | QDCOUNT 1 | ANCOUNT 0 | NSCOUNT 0 | ARCOUNT 0 or 1
  const auto head = load<std::uint64_t>(message);
  const auto counts = load<std::uint32_t>(message + 8);
  if ((head & 0xffff'ffff'00f8'0000) != 0x0000'0100'0000'0000) return Plain::no;
  if ((counts & 0xfeff'ffff) != 0) return Plain::no;
  const auto low =
      _mm256_loadu_si256(reinterpret_cast<const __m256i*>(message + dns::header_bytes));
  const auto high =
      _mm256_loadu_si256(reinterpret_cast<const __m256i*>(message + dns::header_bytes + 32));
  const auto zero = _mm256_setzero_si256();
  const auto zeros_low =
      static_cast<std::uint32_t>(_mm256_movemask_epi8(_mm256_cmpeq_epi8(low, zero)));
  const auto zeros_high =
      static_cast<std::uint32_t>(_mm256_movemask_epi8(_mm256_cmpeq_epi8(high, zero)));
  const std::uint64_t zeros = zeros_low | std::uint64_t{zeros_high} << 32;
  const unsigned name_bytes = static_cast<unsigned>(_tzcnt_u64(zeros)) + 1;
  if (name_bytes > name_bytes_plain) return Plain::no;

  const unsigned question_end = dns::header_bytes + name_bytes + dns::question_tail_bytes;
  if (question_end > length) return Plain::no;
  const std::byte* behind = message + question_end;
  const std::uint16_t type = load<Be16>(behind - dns::question_tail_bytes);
  const auto tail = load<std::uint32_t>(behind - dns::question_tail_bytes);
  // Class IN, as it stands in memory, and no type with bit 7: 128 to 255 are for questions only (RFC 6895, 3.1).
  if ((tail & 0xffff'8000) != 0x0100'0000) return Plain::no;
  if (type == static_cast<std::uint16_t>(dns::Type::opt)) return Plain::no;

  request.type = type;
  request.name_bytes = static_cast<std::uint8_t>(name_bytes);
  request.question_end = static_cast<std::uint16_t>(question_end);
  Plain plain = Plain::yes;
  if (counts == 0) {
    if (length != question_end) return Plain::no;
    request.edns = 0;
  } else {
    // 0 | type 41 (2) | size (2) | extended RCODE | version | DO ... (2) | RDLENGTH (2)
    const auto opt = load<std::uint64_t>(behind);
    const unsigned data_bytes = load<Be16>(behind + 9);
    if ((opt & 0x00ff'0000'00ff'ffff) != 0x29'0000 ||
        length != question_end + opt_fixed_bytes + data_bytes) {
      return Plain::no;
    }
    const unsigned payload = load<Be16>(behind + 3);
    request.client_payload =
        static_cast<std::uint16_t>(std::max(payload, dns::udp_payload_min_bytes));
    static_assert(edns_flag::present == 1 && edns_flag::dnssec_ok == 2);
    request.edns = static_cast<std::uint8_t>((opt >> 63) * 2 + 1);
    if (data_bytes != 0) plain = Plain::optioned;
  }

  auto* folded = reinterpret_cast<__m256i*>(name.bytes.data());
  const auto folded_low = dns::detail::fold_32(low);
  __m256i lanes;
  if (name_bytes <= name_bytes_short) [[likely]] {
    _mm256_store_si256(folded, _mm256_and_si256(folded_low, dns::detail::head_mask(name_bytes)));
    name.length = name_bytes;
    work.hash = dns::hash_name(name, key);
    const auto question =
        _mm256_and_si256(low, dns::detail::head_mask(name_bytes + dns::question_tail_bytes));
    lanes = checksum::detail::add_words(zero, question);
  } else {
    const unsigned in_low = std::min(name_bytes, 32U);
    const auto folded_high = dns::detail::fold_32(high);
    _mm256_store_si256(folded, _mm256_and_si256(folded_low, dns::detail::head_mask(in_low)));
    _mm256_store_si256(folded + 1,
                       _mm256_and_si256(folded_high, dns::detail::head_mask(name_bytes - in_low)));
    name.length = name_bytes;
    work.hash = dns::hash_name(name, key);
    const unsigned rest_bytes = name_bytes + dns::question_tail_bytes - 32;
    const auto rest = _mm256_and_si256(high, dns::detail::head_mask(rest_bytes));
    lanes = checksum::detail::add_words(checksum::detail::add_words(zero, low), rest);
  }
  request.question_sum = checksum::detail::add_lanes(lanes);
  return plain;
}

void drop(Burst& burst, unsigned index, Verdict verdict) noexcept {
  burst.queries[index].verdict = verdict;
  burst.counters.count(verdict);
}

// Forgets options that are not heard, and says of a cookie whether it is ours.
[[gnu::noinline]] void judge_options(Burst& burst, unsigned index) noexcept {
  const ServeState::Impl& state = burst.state;
  Request& request = burst.state.work[index].request;
  request.edns &= state.edns_heard;
  if ((request.edns & edns_flag::cookie) == 0) return;
  EdnsOptions& options = burst.state.options[index];
  options.cookie_state = check_server_cookie_of_any(
      {options.server_cookie.data(), options.server_cookie_bytes}, options.client_cookie.data(),
      burst.queries[index].source, state.wall_s, std::span(state.cookie_secrets));
}

// Replies to what is no plain question. True: it is one after all, with its name folded.
[[nodiscard, gnu::cold, gnu::noinline]] bool parse_carefully(Burst& burst,
                                                             unsigned index) noexcept {
  ServeState::Impl& state = burst.state;
  Query& query = burst.queries[index];
  Work& work = state.work[index];
  EdnsOptions& options = state.options[index];
  Request& request = work.request;
  const auto error = [&](dns::Rcode rcode, std::uint16_t info_code = extended_error::none) {
    reply_error(state, query, request, options, rcode, info_code, burst.counters);
  };
  work.careful = true;
  work.answer_class = AnswerClass::error;
  work.hash = 0;
  const Parsed parsed =
      parse_request(query.message, query.length, request, options, state.labels[index]);
  judge_options(burst, index);
  switch (parsed) {
    case Parsed::lookup:
      dns::fold_name(query.message + dns::header_bytes, request.name_bytes, state.names[index]);
      work.answer_class = AnswerClass::positive;
      work.hash = dns::hash_name(state.names[index], burst.root.catalog.summary().hash_key);
      return true;
    case Parsed::chaos:
      answer_chaos(state, query, request, options, burst.counters);
      break;
    case Parsed::formerr:
      error(dns::Rcode::formerr);
      break;
    case Parsed::notimp:
      error(dns::Rcode::notimp, extended_error::not_supported);
      break;
    case Parsed::refused:
      error(dns::Rcode::refused);
      break;
    case Parsed::badvers:
      error(dns::Rcode::badvers);
      break;
    case Parsed::response:
      drop(burst, index, Verdict::drop_dns_response);
      break;
    case Parsed::too_short:
      drop(burst, index, Verdict::drop_dns_short);
      break;
  }
  return false;
}

// Its name is to be looked up.
[[gnu::always_inline]] inline void match_later(Burst& burst, unsigned index, const Work& work,
                                               std::span<const catalog::Bucket> buckets,
                                               unsigned& match_count) noexcept {
  const auto bucket_count = static_cast<std::uint32_t>(buckets.size());
  const auto* bucket = &buckets[catalog::bucket_of(work.hash, bucket_count)];
  __builtin_prefetch(bucket);
  burst.bucket[match_count] = bucket;
  burst.match[match_count++] = static_cast<std::uint8_t>(index);
}

// Stages through which nearly every query goes are functions by themselves, and call none: so that their constants and
// counts stay in registers.
[[gnu::noinline]] void parse_stage(Burst& burst) noexcept {
  ServeState::Impl& state = burst.state;
  const auto buckets = burst.root.catalog.buckets();
  const dns::NameHashKey key = burst.root.catalog.summary().hash_key;
  const auto count = static_cast<unsigned>(burst.queries.size());
  const Query* next_query = burst.queries.data();
  Work* next_work = state.work.data();
  dns::FoldedName* next_name = state.names.data();
  unsigned match_count = 0;
  unsigned careful_count = 0;
  for (unsigned i = 0; i < count; ++i) {
    const Query& query = *next_query++;
    Work& work = *next_work++;
    work.careful = work.absent = work.steered = false;
    work.scope = work.rate_class = 0;
    work.answer_class = AnswerClass::positive;
    const Plain plain = parse_plain(query.message, query.length, work, *next_name++, key);
    if (plain == Plain::yes) [[likely]] {
      match_later(burst, i, work, buckets, match_count);
    } else {
      work.careful = plain == Plain::no;
      burst.careful[careful_count++] = static_cast<std::uint8_t>(i);
    }
  }
  burst.match_count = match_count;
  burst.careful_count = careful_count;
}

[[nodiscard]] bool parse_options(Burst& burst, unsigned index) noexcept {
  const Query& query = burst.queries[index];
  Request& request = burst.state.work[index].request;
  const unsigned data_at = request.question_end + opt_fixed_bytes;
  if (!parse_edns_options(query.message + data_at, query.length - data_at, request,
                          burst.state.options[index])) {
    return false;
  }
  judge_options(burst, index);
  return true;
}

// Requests with options, and those that are not plain.
[[gnu::noinline]] void careful_stage(Burst& burst) noexcept {
  const auto buckets = burst.root.catalog.buckets();
  for (unsigned n = 0; n < burst.careful_count; ++n) {
    const std::uint8_t i = burst.careful[n];
    const bool optioned = !burst.state.work[i].careful;
    if ((optioned && parse_options(burst, i)) || parse_carefully(burst, i))
      match_later(burst, i, burst.state.work[i], buckets, burst.match_count);
  }
}

// ---- look up ----

// The first slot whose tag is right is the candidate. A bucket that has none and does not overflow proves the name absent.
[[gnu::noinline]] void match_stage(Burst& burst) noexcept {
  const catalog::View catalog = burst.root.catalog;
  auto& works = burst.state.work;
  const unsigned match_count = burst.match_count;
  unsigned node_count = 0;
  for (unsigned n = 0; n < match_count; ++n) {
    const std::uint8_t i = burst.match[n];
    Work& work = works[i];
    const catalog::Bucket& bucket = *burst.bucket[n];
    const std::uint32_t matches = tag_matches(bucket, catalog::tag_of(work.hash));
    if (matches == 0) {
      work.absent = bucket.overflow == 0;
      work.node = nullptr;
      if (work.absent) {
        burst.miss[burst.miss_count++] = i;
      } else {
        burst.resolve[burst.resolve_count++] = i;
      }
      continue;
    }
    work.node = catalog.node(first_match(bucket, matches));
    const auto* lines = reinterpret_cast<const std::byte*>(work.node);
    __builtin_prefetch(lines);
    __builtin_prefetch(lines + 64);
    burst.node[node_count++] = i;
  }
  burst.node_count = node_count;
}

// Most answers are of one record, and end with the line that they begin in: the next one would be another name's. The
// ends of longer ones are asked for where their lengths are known, in reply_stage.
void prefetch_answer(const Answer& answer) noexcept {
  constexpr unsigned reach_bytes = sizeof(Answer) + 31;
  __builtin_prefetch(&answer);
  __builtin_prefetch(reinterpret_cast<const std::byte*>(&answer) + reach_bytes);
}

// The node is the name's: what it has of the type.
[[gnu::always_inline]] inline void take_slot(Burst& burst, const catalog::View& catalog,
                                             std::uint8_t i, unsigned& reply_count) noexcept {
  Work& work = burst.state.work[i];
  const auto slots = catalog::slots_of(*work.node);
  const auto* slot = slots.data();  // most names have one, and most of the others are asked for it
  if (slots.empty() || slot->type != work.request.type)
    slot = find_slot(*work.node, work.request.type);
  if (slot == nullptr) {
    burst.typeless[burst.typeless_count++] = i;
  } else if (slot->kind == catalog::SlotKind::fixed) {
    work.answer = catalog.answer(slot->value);
    prefetch_answer(*work.answer);
    burst.reply[reply_count++] = i;
  } else {
    work.pool = slot->value;
    work.ecs = slot->ecs;
    burst.pool[burst.pool_count++] = i;
  }
}

[[gnu::noinline]] void node_stage(Burst& burst) noexcept {
  const catalog::View catalog = burst.root.catalog;
  ServeState::Impl& state = burst.state;
  const unsigned node_count = burst.node_count;
  unsigned reply_count = 0;
  for (unsigned n = 0; n < node_count; ++n) {
    const std::uint8_t i = burst.node[n];
    Work& work = state.work[i];
    if (!is_name_of(*work.node, state.names[i].bytes.data(), work.request.name_bytes)) {
      work.node = nullptr;  // another name with this tag
      burst.resolve[burst.resolve_count++] = i;
    } else if (work.node->verdict != 0) [[unlikely]] {
      burst.policed[burst.policed_count++] = i;
    } else {
      take_slot(burst, catalog, i, reply_count);
    }
  }
  burst.reply_count = reply_count;
}

// Names that have nothing of the type.
[[gnu::noinline]] void typeless_stage(Burst& burst) noexcept {
  for (unsigned n = 0; n < burst.typeless_count; ++n) deny_type(burst, burst.typeless[n]);
}

// ---- policies ----

// Policies match the text of names: what parse_plain took for a name must be one. That found in the table is.
void whole_stage(Burst& burst) noexcept {
  unsigned kept = 0;
  for (unsigned n = 0; n < burst.resolve_count; ++n) {
    const std::uint8_t i = burst.resolve[n];
    Work& work = burst.state.work[i];
    if (work.node == nullptr) {
      if (!is_whole(burst, i) && !parse_carefully(burst, i)) continue;
      work.careful = true;
    }
    burst.resolve[kept++] = i;
  }
  burst.resolve_count = kept;
  kept = 0;
  for (unsigned n = 0; n < burst.miss_count; ++n) {
    const std::uint8_t i = burst.miss[n];
    Work& work = burst.state.work[i];
    if (is_whole(burst, i)) {
      work.careful = true;
      burst.miss[kept++] = i;
    } else if (parse_carefully(burst, i)) {  // another name than the one that was looked for
      work.absent = false;
      burst.resolve[burst.resolve_count++] = i;
    }
  }
  burst.miss_count = kept;
}

// Known names that policies let through go on where node_stage left them.
[[gnu::noinline]] void policy_stages(Burst& burst) noexcept {
  if (burst.miss_count + burst.resolve_count != 0) whole_stage(burst);
  policy_stage(burst);
  for (unsigned n = 0; n < burst.policed_count; ++n)
    take_slot(burst, burst.root.catalog, burst.policed[n], burst.reply_count);
}

// ---- steer ----

[[gnu::noinline]] void client_stage(Burst& burst) noexcept {
  for (unsigned n = 0; n < burst.pool_count; ++n) {
    const std::uint8_t i = burst.pool[n];
    Work& work = burst.state.work[i];
    choose_client(burst.state, burst.queries[i], work.request, work.ecs, burst.counters);
    burst.root.locales.prefetch(client_of(burst.queries[i], work.request, burst.state.options[i]));
  }
}

void locate_stage(Burst& burst) noexcept {
  for (unsigned n = 0; n < burst.pool_count; ++n) {
    const std::uint8_t i = burst.pool[n];
    Work& work = burst.state.work[i];
    const IpAddress& client = client_of(burst.queries[i], work.request, burst.state.options[i]);
    work.set_place(locate(burst.root, work.pool, client));
    __builtin_prefetch(work.cell);
  }
}

void cell_stage(Burst& burst) noexcept {
  const auto& client_key = burst.root.catalog.summary().client_key;
  for (unsigned n = 0; n < burst.pool_count; ++n) {
    const std::uint8_t i = burst.pool[n];
    Work& work = burst.state.work[i];
    const IpAddress& client = client_of(burst.queries[i], work.request, burst.state.options[i]);
    const Steering steering = read_cell(work.place(), client, client_key);
    burst.state.steering[i] = steering;
    work.scope = steering.scope_length;
    __builtin_prefetch(burst.root.ranking.at(steering.cell & ~ranking::slotted_bit));
  }
}

void slot_stage(Burst& burst) noexcept {
  for (unsigned n = 0; n < burst.pool_count; ++n) {
    const std::uint8_t i = burst.pool[n];
    Work& work = burst.state.work[i];
    const Steering& steering = burst.state.steering[i];
    work.answer = burst.root.ranking.answer(steering.cell, steering.client_hash);
    if (work.answer == nullptr) {  // the pool answers nothing: NODATA
      burst.resolve[burst.resolve_count++] = i;
      continue;
    }
    prefetch_answer(*work.answer);
    burst.reply[burst.reply_count++] = i;
    ++burst.ranked_count;
  }
}

// ---- reply ----

// An answer with EDNS options, or one that does not fit whole. The owner is the QNAME, right where it was built for.
[[gnu::noinline]] void write_with_care(Burst& burst, unsigned index) noexcept {
  const ServeState::Impl& state = burst.state;
  const Work& work = state.work[index];
  ReplyBuilder reply(state, burst.queries[index], work.request, state.options[index]);
  reply.set_scope(work.scope);
  reply.append(*work.answer, dns::header_bytes, work.request.name_bytes);
  reply.finish(dns::Rcode::noerror, true, burst.counters);
}

// The plain hit: the body behind the question, a plain OPT, the header. False where it needs care.
[[nodiscard, gnu::always_inline]] inline bool write_plain(const ServeState::Impl& state,
                                                          Query& query, const Work& work,
                                                          Tally& tally) noexcept {
  const Request& request = work.request;
  const Answer& answer = *work.answer;
  const PlainEnds ends = plain_ends(request, answer);
  if (!is_plain(state, query, request, ends)) return false;
  copy_body(query.message + request.question_end, answer.body(), answer.body_bytes);
  close_plain(state, query, request, answer, ends, dns::Rcode::noerror, 0);
  tally.add(query, request);
  return true;
}

[[gnu::noinline]] void reply_stage(Burst& burst) noexcept {
  const ServeState::Impl& state = burst.state;
  const unsigned reply_count = burst.reply_count;
  for (unsigned n = 0; n < reply_count; ++n) {
    const Answer& answer = *state.work[burst.reply[n]].answer;
    __builtin_prefetch(answer.body() + answer.body_bytes);
  }
  const std::span queries = burst.queries;
  Tally tally;
  unsigned nodata = 0;
  unsigned long_count = 0;
  for (unsigned n = 0; n < reply_count; ++n) {
    const std::uint8_t i = burst.reply[n];
    const Work& work = state.work[i];
    nodata += work.answer->answer_count == 0
                  ? 1
                  : 0;  // a denial that stands in for an RRset: DS at an apex
    if (!write_plain(state, queries[i], work, tally)) [[unlikely]]
      burst.long_reply[long_count++] = i;
  }
  burst.long_count = long_count;
  tally.count(burst.counters);
  burst.counters.count(Counter::rcode_noerror, tally.replies);
  burst.counters.count(Counter::answers_nodata, nodata);
  burst.counters.count(Counter::answers_ranked, burst.ranked_count);
  burst.counters.count(Counter::answers_static, reply_count - burst.ranked_count - nodata);
}

// ---- resolve ----

// A name that was found is a valid one. One that was not may be anything: only now are its labels walked.
[[gnu::noinline]] void resolve_stage(Burst& burst) noexcept {
  ServeState::Impl& state = burst.state;
  for (unsigned n = 0; n < burst.resolve_count; ++n) {
    const std::uint8_t i = burst.resolve[n];
    Work& work = state.work[i];
    if (work.node == nullptr && !is_whole(burst, i)) {
      if (!parse_carefully(burst, i)) continue;
      work.absent = false;
    }
    resolve(state, burst.root, burst.queries[i], work, state.options[i], state.names[i],
            state.labels[i], burst.counters);
    if (work.answer_class == AnswerClass::nxdomain) remember_encloser(burst, *work.node);
    if (work.steered) note_demand(state, burst.root, work);
  }
}

[[nodiscard]] PlainOpt make_plain_opt(std::uint16_t payload_bytes, bool dnssec_ok) noexcept {
  PlainOpt opt;
  store(opt.bytes.data() + 1, Be16(static_cast<std::uint16_t>(dns::Type::opt)));
  store(opt.bytes.data() + 3, Be16(payload_bytes));
  if (dnssec_ok) opt.bytes[7] = std::byte{0x80};
  opt.sum = checksum::fold(checksum::scalar::sum(opt.bytes.data(), opt_fixed_bytes));
  return opt;
}

}  // namespace

ServeState::ServeState(const ServeOptions& options)
    : impl_(std::make_unique<Impl>(options.rate_limit, options.ecs_resolvers)) {
  Impl& state = *impl_;
  state.udp_payload_max_bytes =
      std::max<std::uint16_t>(options.udp_payload_max_bytes, dns::udp_payload_min_bytes);
  if (!options.ecs_enabled) {
    constexpr auto subnet = edns_flag::client_subnet | edns_flag::subnet_used;
    state.edns_heard = static_cast<std::uint8_t>(~subnet);
  }
  state.cookie_secrets = options.cookie_secrets;
  if (state.cookie_secrets.empty()) state.cookie_secrets.emplace_back();
  state.tcp_keepalive_ds = options.tcp_keepalive_ds;
  state.demand.on = options.demand_sampled;
  state.seat = options.seat;
  state.nsid = options.nsid.substr(0, nsid_bytes_max);
  state.version_text = options.version_text.substr(0, server_text_bytes_max);
  state.server_id = options.server_id.substr(0, server_text_bytes_max);
  state.plain_opt[0] = make_plain_opt(state.udp_payload_max_bytes, false);
  state.plain_opt[1] = make_plain_opt(state.udp_payload_max_bytes, true);
}

ServeState::~ServeState() = default;

void ServeState::set_time(std::uint32_t wall_s, Instant now) noexcept {
  impl_->wall_s = wall_s;
  impl_->now = now;
}

std::span<const PolicySample> ServeState::take_samples() noexcept {
  PolicySamples& samples = impl_->samples;
  return {samples.records.data(), std::exchange(samples.count, 0U)};
}

void serve_burst(ServeState& state, const TableRoot& root, std::span<Query> queries,
                 CoreCounters& counters) noexcept {
  REQUIRE(queries.size() <= burst_queries_max);
  Burst burst(state.impl(), root, queries, counters);
  parse_stage(burst);
  if (burst.careful_count != 0) careful_stage(burst);
  match_stage(burst);
  node_stage(burst);
  if (root.policies != nullptr) policy_stages(burst);
  if (burst.typeless_count != 0) typeless_stage(burst);
  if (burst.pool_count != 0) {
    client_stage(burst);
    locate_stage(burst);
    cell_stage(burst);
    slot_stage(burst);
    note_demand(burst);
  }
  reply_stage(burst);
  for (unsigned n = 0; n < burst.long_count; ++n) write_with_care(burst, burst.long_reply[n]);
  if (burst.miss_count != 0) enclose_stages(burst);
  if (burst.moved_count != 0) moved_stage(burst);
  if (burst.resolve_count != 0) resolve_stage(burst);
  if (burst.state.limit.enabled()) limit_stage(burst.state, queries, counters);
}

}  // namespace pharos::dataplane
