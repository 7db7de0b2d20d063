// The reply that is one prepared answer and at most a plain OPT: a few fixed-width copies, and the sum of all from the
// sums of its parts. Shared by the plain hit (serve.cc) and the plain denial (deny.cc); not for callers.
#pragma once

#include "pharos/base/assert.hh"
#include "pharos/dataplane/dns/serve_state.hh"
#include "pharos/wire/checksum.hh"

#include <immintrin.h>

#include <cstdint>

namespace pharos::dataplane {

// In whole vectors: reads into the image's tail or next record, writes into the buffer's slack.
[[gnu::always_inline]] inline void copy_body(std::byte* to, const std::byte* from,
                                             unsigned bytes) noexcept {
  unsigned at = 0;
  do {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + at),
                        _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + at)));
    at += 32;
  } while (at < bytes);
}

// Where the parts of a plain reply end.
struct PlainEnds {
  unsigned body;
  unsigned message;
};
[[nodiscard, gnu::always_inline]] inline PlainEnds plain_ends(const Request& request,
                                                              const Answer& answer) noexcept {
  const unsigned body = request.question_end + unsigned{answer.body_bytes};
  return {body, body + (request.edns != 0 ? opt_fixed_bytes : 0)};
}

// No EDNS options, and it fits whole. 512 bytes are never too many for a client, nor for us.
[[nodiscard, gnu::always_inline]] inline bool is_plain(const ServeState::Impl& state,
                                                       const Query& query, const Request& request,
                                                       PlainEnds ends) noexcept {
  constexpr unsigned plain_bytes_max =
      254 * 11;  // no more records than one octet counts, OPT included
  if ((request.edns & edns_flag::options) != 0 || ends.message > query.capacity) return false;
  if (ends.message <= dns::udp_payload_min_bytes) [[likely]]
    return true;
  return ends.message <= plain_bytes_max && ends.message <= reply_limit(state, query, request);
}

// OPT and header around a body that stands behind the question. `moved_sum` is what the sum of the body has gained
// since it was prepared. Authoritative; `rcode` below 16.
[[gnu::always_inline]] inline void close_plain(const ServeState::Impl& state, Query& query,
                                               const Request& request, const Answer& answer,
                                               PlainEnds ends, dns::Rcode rcode,
                                               std::uint64_t moved_sum) noexcept {
  std::byte* message = query.message;
  // As they stand in memory: QDCOUNT 1 | ANCOUNT | NSCOUNT | ARCOUNT, of which the lower octet, in the upper bits here,
  // counts OPT as well.
  static_assert(offsetof(Answer, additional_count) == offsetof(Answer, answer_count) + 4);
  auto counts = load<std::uint64_t>(&answer.answer_count) << 16 | 0x0100;
  std::uint64_t sum =
      request.question_sum + checksum::at_offset(answer.checksum, request.question_end) + moved_sum;
  if (request.edns != 0) {
    const PlainOpt& opt = state.plain_opt[(request.edns & edns_flag::dnssec_ok) != 0 ? 1 : 0];
    _mm_storeu_si128(reinterpret_cast<__m128i*>(message + ends.body),
                     _mm_load_si128(reinterpret_cast<const __m128i*>(opt.bytes.data())));
    sum += checksum::at_offset(opt.sum, ends.body);
    counts += std::uint64_t{1} << 56;
  }
  // id, as it came | QR and AA, RD as it came | RCODE, all else 0.
  const std::uint32_t head = (load<std::uint32_t>(message) & 0x0001'ffff) | 0x0084'0000 |
                             static_cast<std::uint32_t>(rcode) << 24;
  store(message, head);
  store(message + 4, counts);
  // Words beside each other in a number count alike once it is folded. Nothing is lost at the top: an ARCOUNT is at most
  // 255, all else together below 2^55.
  sum += counts + head;

  query.verdict = Verdict::answered;
  query.reply_bytes = static_cast<std::uint16_t>(ends.message);
  query.reply_checksum = checksum::fold(sum);
  ASSERT(checksum::same(query.reply_checksum,
                        checksum::fold(checksum::scalar::sum(message, ends.message))));
}

}  // namespace pharos::dataplane
