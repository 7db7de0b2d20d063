// The Internet checksum (RFC 1071) as sums of native 16-bit words; any thread.
//
// Sums are kept unfolded in 64 bits, added up, folded once at the end. The byte order of the words
// does not matter as long as all stay native (RFC 1071, 2.B); bytes that start at an odd offset
// count swapped. The vector kernel has a scalar twin; a test holds them equal.
#pragma once

#include "pharos/base/bytes.hh"

#include <immintrin.h>

#include <bit>
#include <cstdint>

namespace pharos::checksum {

// Bytes behind the data that `sum` may read, and does not use.
inline constexpr unsigned slack_bytes = 32;

// Ones' complement sum, folded to 16 bits. 0 and 0xffff are both zero. A number and itself with its halves swapped add up
// to the sum of the halves in the upper one, the carry of the lower one included.
[[nodiscard]] constexpr std::uint16_t fold(std::uint64_t sum) noexcept {
  const auto half = static_cast<std::uint32_t>((sum + std::rotl(sum, 32)) >> 32);
  return static_cast<std::uint16_t>((half + std::rotl(half, 16)) >> 16);
}

// The field that goes on the wire, for UDP never 0 (RFC 768: 0 says "none").
[[nodiscard]] constexpr std::uint16_t field_of(std::uint64_t sum) noexcept {
  return static_cast<std::uint16_t>(~fold(sum));
}
[[nodiscard]] constexpr std::uint16_t udp_field_of(std::uint64_t sum) noexcept {
  const std::uint16_t field = field_of(sum);
  return field == 0 ? std::uint16_t{0xffff} : field;
}

// A folded sum of bytes that turn out to stand at `offset`, to be folded again: at an odd one its bytes are swapped, which
// is what shifting them by eight bits comes to.
[[nodiscard]] constexpr std::uint32_t at_offset(std::uint16_t folded, unsigned offset) noexcept {
  return std::uint32_t{folded} << (offset * 8 & 8);
}

// The same sum taken as 0 and 0xffff are: equal.
[[nodiscard]] constexpr bool same(std::uint16_t a, std::uint16_t b) noexcept {
  return a % 0xffff == b % 0xffff;
}

namespace detail {
alignas(64) inline constexpr auto tail_masks = [] {
  struct Masks {
    std::uint8_t at[64]{};
  } masks;
  for (unsigned i = 0; i < 32; ++i) masks.at[i] = 0xff;
  return masks;
}();

// 16-bit words of `v` added into the eight 32-bit lanes of `lanes`.
[[nodiscard]] inline __m256i add_words(__m256i lanes, __m256i v) noexcept {
  const auto low = _mm256_and_si256(v, _mm256_set1_epi32(0xffff));
  return _mm256_add_epi32(lanes, _mm256_add_epi32(low, _mm256_srli_epi32(v, 16)));
}
// Of two lanes of 32 bits beside each other the upper one counts 2^32 times as much, which is 1 to a sum that is folded.
// With 64 KiB added up no lane is above 2^28, and the sum of four pairs fits.
[[nodiscard]] inline std::uint64_t add_lanes(__m256i lanes) noexcept {
  const auto half =
      _mm_add_epi64(_mm256_castsi256_si128(lanes), _mm256_extracti128_si256(lanes, 1));
  return static_cast<std::uint64_t>(_mm_cvtsi128_si64(half)) +
         static_cast<std::uint64_t>(_mm_extract_epi64(half, 1));
}
}  // namespace detail

// Sum of `length` bytes (at most 64 KiB, so that no lane overflows) from an even offset; reads up
// to slack_bytes behind them. An odd last byte counts as followed by zero. Below 2^63, to be folded: equal to the scalar
// twin's by then, and not before.
[[nodiscard]] inline std::uint64_t sum(const std::byte* bytes, unsigned length) noexcept {
  auto lanes = _mm256_setzero_si256();
  unsigned at = 0;
  for (; at + 32 <= length; at += 32) {
    lanes =
        detail::add_words(lanes, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes + at)));
  }
  const auto mask = _mm256_loadu_si256(
      reinterpret_cast<const __m256i*>(detail::tail_masks.at + 32 - (length - at)));
  const auto tail = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes + at));
  lanes = detail::add_words(lanes, _mm256_and_si256(tail, mask));
  return detail::add_lanes(lanes);
}

namespace scalar {
// The same, touching nothing behind the bytes.
[[nodiscard]] inline std::uint64_t sum(const std::byte* bytes, unsigned length) noexcept {
  std::uint64_t total = 0;
  unsigned at = 0;
  for (; at + 2 <= length; at += 2) total += load<std::uint16_t>(bytes + at);
  if (at < length) total += static_cast<std::uint8_t>(bytes[at]);
  return total;
}
// Carry by carry, as RFC 1071 writes it.
[[nodiscard]] constexpr std::uint16_t fold(std::uint64_t sum) noexcept {
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(sum);
}
}  // namespace scalar

}  // namespace pharos::checksum
