// Finding a name's node in the catalog: the bucket kernel, whole lookups, and the closest encloser.
//
// Workers call it; reads proven images only, so nothing is checked again. The burst stages of dns/serve.cc use
// the parts (tag_matches, node prefetch); everything rare uses find_node.
#pragma once

#include "pharos/shared/catalog_image.hh"
#include "pharos/wire/name.hh"

#include <immintrin.h>

#include <algorithm>
#include <array>
#include <cstdint>

namespace pharos::dataplane {

// Bit 2i is set (and 2i + 1) where tag i of the bucket is `tag`: one load and one compare for all ten.
[[nodiscard]] inline std::uint32_t tag_matches(const catalog::Bucket& bucket,
                                               std::uint16_t tag) noexcept {
  static_assert(offsetof(catalog::Bucket, tags) == 0 && catalog::bucket_slots == 10);
  const auto tags = _mm256_load_si256(reinterpret_cast<const __m256i*>(&bucket));
  const auto equal = _mm256_cmpeq_epi16(tags, _mm256_set1_epi16(static_cast<short>(tag)));
  return static_cast<std::uint32_t>(_mm256_movemask_epi8(equal)) & 0xfffff;
}

namespace scalar {
[[nodiscard]] inline std::uint32_t tag_matches(const catalog::Bucket& bucket,
                                               std::uint16_t tag) noexcept {
  std::uint32_t mask = 0;
  for (unsigned i = 0; i < catalog::bucket_slots; ++i) {
    if (bucket.tags[i] == tag) mask |= 3U << (2 * i);
  }
  return mask;
}
}  // namespace scalar

[[nodiscard]] inline catalog::Ref first_match(const catalog::Bucket& bucket,
                                              std::uint32_t matches) noexcept {
  return bucket.refs[static_cast<unsigned>(__builtin_ctz(matches)) / 2];
}

// Whether the node is that of `bytes` (at least one) folded bytes at `folded`, which have slack as nodes have.
[[nodiscard]] inline bool is_name_of(const catalog::Node& node, const std::byte* folded,
                                     unsigned bytes) noexcept {
  if (node.name_bytes != bytes) return false;
  if (bytes > 32) return dns::equal_names(node.name(), folded, bytes);
  const auto theirs = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(node.name()));
  const auto ours = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(folded));
  const auto same = static_cast<unsigned>(_mm256_movemask_epi8(_mm256_cmpeq_epi8(theirs, ours)));
  return _tzcnt_u32(~same) >= bytes;  // the first that differs; 32: none
}

namespace scalar {
[[nodiscard]] inline bool is_name_of(const catalog::Node& node, const std::byte* folded,
                                     unsigned bytes) noexcept {
  return node.name_bytes == bytes && std::equal(folded, folded + bytes, node.name());
}
}  // namespace scalar

// The node of `bytes` folded bytes at `folded` whose hash is `hash`, or nullptr. Waits for memory at every step.
[[nodiscard]] const catalog::Node* find_node(const catalog::View& catalog, const std::byte* folded,
                                             unsigned bytes, std::uint64_t hash) noexcept;
[[nodiscard]] const catalog::Node* find_node(const catalog::View& catalog, const std::byte* folded,
                                             unsigned bytes) noexcept;

// Where the labels of a name begin.
struct LabelMap {
  // [0] is 0, [count] is that of the root octet.
  std::array<std::uint8_t, dns::labels_max + 1> offsets;
  unsigned count = 0;  // labels without the root
};
// The labels before `known` are mapped already, and so is where the next one begins.
void map_labels(const std::byte* name, LabelMap& labels, unsigned known = 0) noexcept;

struct Encloser {
  const catalog::Node* node;
  unsigned offset;  // in the name, where the encloser's begins
  unsigned label;   // the same as an index of the label map
};

// The longest proper suffix of `name` that has a node (RFC 4592, 3.3.1). Existence is monotone and the root always has a
// node, so the label count is halved; of short names the parent is tried first, of long ones a suffix near the root: at
// most eight lookups of a name of 127 labels, three where zones begin within four labels.
[[nodiscard]] Encloser find_closest_encloser(const catalog::View& catalog,
                                             const dns::FoldedName& name,
                                             const LabelMap& labels) noexcept;

}  // namespace pharos::dataplane
