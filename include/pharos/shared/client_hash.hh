// Which slot of a slotted answer a client gets: a keyed hash of its address block. Both planes call it: the packet
// path to answer, the control plane to explain. Pure.
#pragma once

#include "pharos/base/bytes.hh"
#include "pharos/base/ip_address.hh"
#include "pharos/shared/ranking_image.hh"

#include <immintrin.h>

#include <array>
#include <cstdint>

namespace pharos::ranking {

using ClientHashKey = std::array<std::byte, 16>;

// The same for all addresses of a /24 or /56. The slot is `hash & (slot_count - 1)`. Three AES rounds spread every
// bit of the block over all of the hash.
[[nodiscard]] inline std::uint32_t client_hash(const IpAddress& client,
                                               const ClientHashKey& key) noexcept {
  static_assert(slot_prefix_ipv4_bits == 24 && slot_prefix_ipv6_bits == 56);
  const auto ipv4_mask = _mm_set_epi64x(0x00ffffffffffffff, -1);  // 15 bytes: ::ffff:a.b.c
  const auto ipv6_mask = _mm_set_epi64x(0, 0x00ffffffffffffff);   // 7 bytes
  const auto address = _mm_loadu_si128(reinterpret_cast<const __m128i*>(client.bytes.data()));
  const auto block = _mm_and_si128(address, client.is_ipv4() ? ipv4_mask : ipv6_mask);
  const auto secret = _mm_loadu_si128(reinterpret_cast<const __m128i*>(key.data()));
  auto state = _mm_xor_si128(block, secret);
  for (int round = 0; round < 3; ++round) state = _mm_aesenc_si128(state, secret);
  return static_cast<std::uint32_t>(_mm_cvtsi128_si32(state));
}

}  // namespace pharos::ranking
