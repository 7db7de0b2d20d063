// Names in wire form: fold case, hash, compare. The kernels of the name table; both planes call them.
//
// A name is its labels with their length octets and the root octet (RFC 1035, 3.1), 1 to 255 bytes.
// Length octets (0-63) lie outside of 'A'-'Z' (65-90), so folding runs over all bytes alike (RFC 4343).
// The hash is keyed, because attackers choose the names: AES rounds over 16-byte blocks, the key from
// the catalog image. Each kernel has a scalar twin in `scalar::`; a test holds them equal.
//
// Readable slack: the vector kernels read up to 31 bytes behind the name they are given, and use none
// of them. Query buffers, FoldedName and images all have that slack.
#pragma once

#include "pharos/base/assert.hh"
#include "pharos/base/bytes.hh"
#include "pharos/wire/dns.hh"

#include <immintrin.h>

#include <array>
#include <cstdint>

namespace pharos::dns {

inline constexpr unsigned name_slack_bytes = 32;

// A folded name with the slack that the kernels need.
struct alignas(32) FoldedName {
  std::array<std::byte, 256 + name_slack_bytes> bytes;
  std::uint32_t length;  // bytes, root octet included
};

struct NameHashKey {
  std::array<std::byte, 32> bytes{};
  friend bool operator==(const NameHashKey&, const NameHashKey&) = default;
};

namespace detail {
// 32 bytes of ones, then 32 of zeros: loading at (32 - n) gives a mask of the first n bytes.
alignas(64) inline constexpr auto head_masks = [] {
  std::array<std::uint8_t, 64> masks{};
  for (unsigned i = 0; i < 32; ++i) masks[i] = 0xff;
  return masks;
}();

[[nodiscard]] inline __m256i head_mask(unsigned count) noexcept {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(head_masks.data() + 32 - count));
}
[[nodiscard]] inline __m128i head_mask_16(unsigned count) noexcept {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(head_masks.data() + 32 - count));
}
[[nodiscard]] inline __m256i fold_32(__m256i v) noexcept {
  const auto above = _mm256_cmpgt_epi8(v, _mm256_set1_epi8('A' - 1));
  const auto below = _mm256_cmpgt_epi8(_mm256_set1_epi8('Z' + 1), v);
  const auto upper = _mm256_and_si256(above, below);
  return _mm256_or_si256(v, _mm256_and_si256(upper, _mm256_set1_epi8(0x20)));
}
}  // namespace detail

// Writes the lower-case form of `length` bytes at `name`, zero-filled to the next multiple of 32.
inline void fold_name(const std::byte* name, unsigned length, FoldedName& out) noexcept {
  ASSERT(length >= 1 && length <= name_bytes_max);
  out.length = length;
  for (unsigned at = 0; at < length; at += 32) {
    const unsigned rest = length - at;
    auto v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(name + at));
    v = _mm256_and_si256(detail::fold_32(v), detail::head_mask(rest < 32 ? rest : 32));
    _mm256_store_si256(reinterpret_cast<__m256i*>(out.bytes.data() + at), v);
  }
}

// Hash of `length` already folded bytes. Any suffix of a FoldedName may be passed.
[[nodiscard]] inline std::uint64_t hash_name(const std::byte* name, unsigned length,
                                             const NameHashKey& key) noexcept {
  const auto* key_words = reinterpret_cast<const __m128i*>(key.bytes.data());
  const __m128i key0 = _mm_loadu_si128(key_words);
  const __m128i key1 = _mm_loadu_si128(key_words + 1);
  __m128i state = _mm_xor_si128(key0, _mm_cvtsi32_si128(static_cast<int>(length)));
  unsigned at = 0;
  for (; at + 16 <= length; at += 16) {
    const auto block = _mm_loadu_si128(reinterpret_cast<const __m128i*>(name + at));
    state = _mm_aesenc_si128(_mm_xor_si128(state, block), key1);
  }
  const auto tail = _mm_and_si128(_mm_loadu_si128(reinterpret_cast<const __m128i*>(name + at)),
                                  detail::head_mask_16(length - at));
  state = _mm_aesenc_si128(_mm_xor_si128(state, tail), key1);
  state = _mm_aesenc_si128(state, key0);
  state = _mm_aesenc_si128(state, key1);
  return static_cast<std::uint64_t>(_mm_cvtsi128_si64(state));
}

// The same for a whole FoldedName, which is zero-filled: names below 32 bytes, nearly all, take no branch on length.
[[nodiscard]] inline std::uint64_t hash_name(const FoldedName& name,
                                             const NameHashKey& key) noexcept {
  if (name.length >= 32) return hash_name(name.bytes.data(), name.length, key);
  const auto* key_words = reinterpret_cast<const __m128i*>(key.bytes.data());
  const auto* blocks = reinterpret_cast<const __m128i*>(name.bytes.data());
  const __m128i key0 = _mm_loadu_si128(key_words);
  const __m128i key1 = _mm_loadu_si128(key_words + 1);
  const auto length = _mm_cvtsi32_si128(static_cast<int>(name.length));
  const auto first =
      _mm_aesenc_si128(_mm_xor_si128(_mm_xor_si128(key0, length), _mm_load_si128(blocks)), key1);
  const auto second = _mm_aesenc_si128(_mm_xor_si128(first, _mm_load_si128(blocks + 1)), key1);
  const auto two_blocks =
      _mm_set1_epi8(static_cast<char>(-static_cast<int>(name.length >> 4 & 1U)));
  auto state = _mm_blendv_epi8(first, second, two_blocks);
  state = _mm_aesenc_si128(state, key0);
  state = _mm_aesenc_si128(state, key1);
  return static_cast<std::uint64_t>(_mm_cvtsi128_si64(state));
}

// Whether `length` folded bytes at `a` and `b` are the same; both with slack.
[[nodiscard]] inline bool equal_names(const std::byte* a, const std::byte* b,
                                      unsigned length) noexcept {
  for (unsigned at = 0; at < length; at += 32) {
    const auto x = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(a + at));
    const auto y = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(b + at));
    const auto same = static_cast<std::uint32_t>(_mm256_movemask_epi8(_mm256_cmpeq_epi8(x, y)));
    const unsigned rest = length - at;
    const std::uint32_t wanted = rest >= 32 ? ~0U : (1U << rest) - 1;
    if ((same & wanted) != wanted) return false;
  }
  return true;
}

[[nodiscard]] constexpr std::byte fold_byte(std::byte b) noexcept {
  const auto c = static_cast<unsigned char>(b);
  return static_cast<std::byte>(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
}

namespace scalar {

inline void fold_name(const std::byte* name, unsigned length, FoldedName& out) noexcept {
  out.length = length;
  for (unsigned i = 0; i < length; ++i) out.bytes[i] = fold_byte(name[i]);
  for (unsigned i = length; i % 32 != 0; ++i) out.bytes[i] = std::byte{0};
}

// One AES round (FIPS 197, 5.1) as the aesenc instruction does it: ShiftRows, SubBytes, MixColumns, XOR.
using AesState = std::array<std::uint8_t, 16>;

[[nodiscard]] constexpr std::uint8_t aes_double(std::uint8_t x) noexcept {
  return static_cast<std::uint8_t>((x << 1) ^ ((x & 0x80) != 0 ? 0x1b : 0));
}
[[nodiscard]] constexpr std::uint8_t aes_multiply(std::uint8_t a, std::uint8_t b) noexcept {
  std::uint8_t product = 0;
  for (; b != 0; b = static_cast<std::uint8_t>(b >> 1), a = aes_double(a)) {
    if ((b & 1) != 0) product ^= a;
  }
  return product;
}
inline constexpr auto aes_sbox = [] {
  std::array<std::uint8_t, 256> box{};
  for (unsigned x = 0; x < 256; ++x) {
    std::uint8_t inverse = 1;  // x^254, which maps 0 to 0
    for (int i = 0; i < 254; ++i) inverse = aes_multiply(inverse, static_cast<std::uint8_t>(x));
    std::uint8_t s = 0x63;
    for (unsigned shift = 0; shift < 5; ++shift) {
      s ^= static_cast<std::uint8_t>(inverse << shift | inverse >> (8 - shift));
    }
    box[x] = s;
  }
  return box;
};
[[nodiscard]] inline AesState aes_round(const AesState& in, const AesState& key) noexcept {
  static const auto box = aes_sbox();
  AesState out{};
  for (unsigned column = 0; column < 4; ++column) {
    std::array<std::uint8_t, 4> s{};
    for (unsigned row = 0; row < 4; ++row) s[row] = box[in[(column * 4 + row * 5) % 16]];
    for (unsigned row = 0; row < 4; ++row) {
      const auto twice = aes_double(s[row]);
      const auto next = s[(row + 1) % 4];
      const auto thrice = static_cast<std::uint8_t>(aes_double(next) ^ next);
      out[column * 4 + row] = static_cast<std::uint8_t>(twice ^ thrice ^ s[(row + 2) % 4] ^
                                                        s[(row + 3) % 4] ^ key[column * 4 + row]);
    }
  }
  return out;
}

[[nodiscard]] inline std::uint64_t hash_name(const std::byte* name, unsigned length,
                                             const NameHashKey& key) noexcept {
  const auto key0 = load<AesState>(key.bytes.data());
  const auto key1 = load<AesState>(key.bytes.data() + 16);
  AesState state = key0;
  for (unsigned i = 0; i < 4; ++i) state[i] ^= static_cast<std::uint8_t>(length >> (8 * i));
  for (unsigned at = 0; at <= length; at += 16) {
    for (unsigned i = 0; i < 16 && at + i < length; ++i)
      state[i] ^= static_cast<std::uint8_t>(name[at + i]);
    state = aes_round(state, key1);
  }
  return load<std::uint64_t>(aes_round(aes_round(state, key0), key1).data());
}

}  // namespace scalar

}  // namespace pharos::dns
