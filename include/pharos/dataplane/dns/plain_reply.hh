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

// No EDNS options, and it fits whole.
[[nodiscard, gnu::always_inline]] inline bool is_plain(const ServeState::Impl& state,
                                                       const Query& query, const Request& request,
                                                       const Answer& answer) noexcept {
  const unsigned end =
      request.question_end + answer.body_bytes + (request.edns != 0 ? opt_fixed_bytes : 0);
  return (request.edns & edns_flag::options) == 0 && end <= reply_limit(state, query, request);
}

// OPT and header around a body that stands behind the question. `moved_sum` is what the sum of the body has gained
// since it was prepared. Authoritative; `rcode` below 16.
[[gnu::always_inline]] inline void close_plain(const ServeState::Impl& state, Query& query,
                                               const Request& request, const Answer& answer,
                                               dns::Rcode rcode, std::uint64_t moved_sum) noexcept {
  std::byte* message = query.message;
  const bool edns = request.edns != 0;
  const unsigned body_at = request.question_end;
  const unsigned opt_at = body_at + answer.body_bytes;
  const unsigned end = opt_at + (edns ? opt_fixed_bytes : 0);
  std::uint64_t sum = std::uint64_t{request.question_sum} +
                      checksum::at_offset(answer.checksum, body_at) + moved_sum;
  if (edns) {
    const PlainOpt& opt = state.plain_opt[(request.edns & edns_flag::dnssec_ok) != 0 ? 1 : 0];
    _mm_storeu_si128(reinterpret_cast<__m128i*>(message + opt_at),
                     _mm_load_si128(reinterpret_cast<const __m128i*>(opt.bytes.data())));
    sum += checksum::at_offset(opt.sum, opt_at);
  }
  // As they stand in memory: QR and AA, RD as it came; all else 0 but the RCODE.
  const auto id = load<std::uint16_t>(message);
  const auto rd = static_cast<std::uint16_t>(std::to_integer<unsigned>(message[2]) & 0x01);
  const auto flags = static_cast<std::uint16_t>(0x0084 | rd | static_cast<unsigned>(rcode) << 8);
  const auto counts = load<std::uint32_t>(&answer.answer_count);
  const auto additional =
      byte_swap(static_cast<std::uint16_t>(answer.additional_count + (edns ? 1U : 0U)));
  store(message + 2, flags);
  store(message + 6, counts);
  store(message + 10, additional);
  constexpr std::uint16_t one_question = 0x0100;
  sum += std::uint64_t{id} + flags + one_question + counts + additional;

  query.verdict = Verdict::answered;
  query.reply_bytes = static_cast<std::uint16_t>(end);
  query.reply_checksum = checksum::fold(sum);
  ASSERT(checksum::same(query.reply_checksum, checksum::fold(checksum::scalar::sum(message, end))));
}

}  // namespace pharos::dataplane
