#include "pharos/dataplane/match/name_lookup.hh"

#include "pharos/base/assert.hh"

namespace pharos::dataplane {

const catalog::Node* find_node(const catalog::View& catalog, const std::byte* folded,
                               unsigned bytes, std::uint64_t hash) noexcept {
  const auto buckets = catalog.buckets();
  const auto bucket_count = static_cast<std::uint32_t>(buckets.size());
  const std::uint16_t tag = catalog::tag_of(hash);
  std::uint32_t at = catalog::bucket_of(hash, bucket_count);
  for (;;) {
    const catalog::Bucket& bucket = buckets[at];
    for (std::uint32_t matches = tag_matches(bucket, tag); matches != 0;) {
      const auto* node = catalog.node(first_match(bucket, matches));
      if (is_name_of(*node, folded, bytes)) return node;
      matches &= matches - 1;  // both bits of the slot
      matches &= matches - 1;
    }
    if (bucket.overflow == 0) return nullptr;
    at = at + 1 == bucket_count ? 0 : at + 1;
  }
}

const catalog::Node* find_node(const catalog::View& catalog, const std::byte* folded,
                               unsigned bytes) noexcept {
  return find_node(catalog, folded, bytes,
                   dns::hash_name(folded, bytes, catalog.summary().hash_key));
}

void map_labels(const std::byte* name, LabelMap& labels, unsigned known) noexcept {
  unsigned at = known == 0 ? 0 : labels.offsets[known];
  unsigned count = known;
  for (;;) {
    labels.offsets[count] = static_cast<std::uint8_t>(at);
    const auto octet = static_cast<unsigned>(name[at]);
    if (octet == 0) break;
    at += 1 + octet;
    ++count;
    ASSERT(count <= dns::labels_max && at < dns::name_bytes_max);
  }
  labels.count = count;
}

namespace {

// Longer names that are not there are mostly made up from end to end: their parents are not there either.
constexpr unsigned parent_first_labels_max = 8;
constexpr unsigned near_root_labels = 4;

}  // namespace

Encloser find_closest_encloser(const catalog::View& catalog, const dns::FoldedName& name,
                               const LabelMap& labels) noexcept {
  const auto suffix_node = [&](unsigned label) {
    const unsigned offset = labels.offsets[label];
    return find_node(catalog, name.bytes.data() + offset, name.length - offset);
  };
  // Suffixes from `exists` on have a node, those before `absent + 1` have none.
  unsigned exists = labels.count;
  const catalog::Node* node = catalog.node(catalog.summary().root);
  const unsigned label_count_max = catalog.summary().label_count_max;
  unsigned absent = labels.count > label_count_max ? labels.count - label_count_max - 1 : 0;
  if (absent == 0 && labels.count > 1 && labels.count <= parent_first_labels_max) {
    if (const auto* parent = suffix_node(1)) return {parent, labels.offsets[1], 1};
    absent = 1;
  }
  // Zones begin near the root: of a long name, what lies this near is asked for first, and mostly ends the search there.
  unsigned middle = exists - absent > 2 * near_root_labels ? exists - near_root_labels
                                                           : absent + (exists - absent) / 2;
  for (; exists - absent > 1; middle = absent + (exists - absent) / 2) {
    if (const auto* found = suffix_node(middle)) {
      node = found;
      exists = middle;
    } else {
      absent = middle;
    }
  }
  return {node, labels.offsets[exists], exists};
}

}  // namespace pharos::dataplane
