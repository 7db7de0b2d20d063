#include "pharos/dataplane/dns/deny.hh"

namespace pharos::dataplane {

namespace {

void resolve_later(Burst& burst, std::uint8_t index) noexcept {
  burst.state.work[index].node = nullptr;
  burst.resolve[burst.resolve_count++] = index;
}

// RFC 2308, 2: the SOA of the zone of `work.node`, which lies at or above the name.
void deny(Burst& burst, std::uint8_t index, AnswerClass answer_class) noexcept {
  Work& work = burst.state.work[index];
  work.answer_class = answer_class;
  work.hash = work.node->zone;
  __builtin_prefetch(&burst.root.catalog.zones()[work.node->zone]);
  burst.moved[burst.moved_count++] = index;
}

// RFC 4592, 3.3: the wildcard below the encloser stands for the name. Aliases and pools are resolved.
void take_wildcard(Burst& burst, std::uint8_t index, const catalog::Node& encloser) noexcept {
  const catalog::View& catalog = burst.root.catalog;
  Work& work = burst.state.work[index];
  const catalog::Node& wildcard = *catalog.node(encloser.wildcard_child);
  const auto* slot = find_slot(wildcard, work.request.type);
  const bool plain = slot != nullptr ? slot->kind == catalog::SlotKind::fixed
                                     : (wildcard.flags & catalog::node_flag::cname) == 0;
  if (!plain) return resolve_later(burst, index);
  burst.counters.count(Counter::answers_wildcard);
  if (slot == nullptr) {
    work.node = &encloser;
    return deny(burst, index, AnswerClass::nodata);
  }
  work.node = &wildcard;
  work.answer = catalog.answer(slot->value);
  work.answer_class = AnswerClass::wildcard;
  work.hash = encloser.zone;
  burst.moved[burst.moved_count++] = index;
}

// `encloser` is the closest one of the name, which has no node itself.
[[gnu::always_inline]] inline void take_encloser(Burst& burst, std::uint8_t index,
                                                 const catalog::Node& encloser) noexcept {
  const bool hidden = encloser.covering != 0 && (encloser.flags & catalog::node_flag::apex) == 0;
  if (hidden || encloser.zone == catalog::no_zone ||
      (encloser.flags & catalog::node_flag::dname) != 0) {
    resolve_later(burst, index);
  } else if (encloser.wildcard_child != 0) {
    take_wildcard(burst, index, encloser);
  } else {
    burst.state.work[index].node = &encloser;
    deny(burst, index, AnswerClass::nxdomain);
  }
}

// Where the parent's name begins in a name that has a label, or 0 where the name is not one.
[[nodiscard]] unsigned parent_offset(const dns::FoldedName& name) noexcept {
  const auto octets = std::to_integer<unsigned>(name.bytes[0]);
  return octets <= dns::label_bytes_max && octets + 1 < name.length ? octets + 1 : 0;
}

void prefetch_bucket(const catalog::View& catalog, std::uint64_t hash) noexcept {
  const auto buckets = catalog.buckets();
  __builtin_prefetch(
      &buckets[catalog::bucket_of(hash, static_cast<std::uint32_t>(buckets.size()))]);
}

[[nodiscard]] const catalog::Bucket& bucket_at(const catalog::View& catalog,
                                               std::uint64_t hash) noexcept {
  const auto buckets = catalog.buckets();
  return buckets[catalog::bucket_of(hash, static_cast<std::uint32_t>(buckets.size()))];
}

// The encloser that was found last, if these are still the tables that it was found in.
[[nodiscard]] const catalog::Node* hinted_encloser(const Burst& burst) noexcept {
  const EncloserHint& hint = burst.state.encloser_hint;
  const bool here = hint.node != 0 && hint.version == burst.root.version &&
                    hint.catalog_checksum == burst.root.catalog.header().checksum;
  return here ? burst.root.catalog.node(hint.node) : nullptr;
}

// The name ends in the encloser's, more than one label further down. If the label right below the encloser is not
// there, neither is anything between.
[[nodiscard]] bool look_below(Burst& burst, std::uint8_t index,
                              const catalog::Node& encloser) noexcept {
  Work& work = burst.state.work[index];
  const dns::FoldedName& name = burst.state.names[index];
  if (name.length <= encloser.name_bytes) return false;
  const unsigned at = name.length - encloser.name_bytes;
  if (!is_name_of(encloser, name.bytes.data() + at, encloser.name_bytes)) return false;
  if (!is_whole(burst, index)) return false;
  work.careful = true;
  const LabelMap& labels = burst.state.labels[index];
  if (labels.count <= encloser.label_count) return false;
  const unsigned label = labels.count - encloser.label_count;
  if (labels.offsets[label] != at) return false;  // the same octets, but not labels
  const unsigned child = labels.offsets[label - 1];
  const catalog::View& catalog = burst.root.catalog;
  work.hash =
      dns::hash_name(name.bytes.data() + child, name.length - child, catalog.summary().hash_key);
  prefetch_bucket(catalog, work.hash);
  burst.below[burst.below_count++] = index;
  return true;
}

// The parent of a missing name is its likely encloser; the encloser of the last name, the likely parent. A name that ends
// in the name of a node behind its first label is a whole one.
void parent_stage(Burst& burst, const catalog::Node* hint) noexcept {
  const catalog::View& catalog = burst.root.catalog;
  const auto& key = catalog.summary().hash_key;
  unsigned kept = 0;
  for (unsigned n = 0; n < burst.miss_count; ++n) {
    const std::uint8_t i = burst.miss[n];
    Work& work = burst.state.work[i];
    const dns::FoldedName& name = burst.state.names[i];
    const unsigned parent = parent_offset(name);
    if (parent == 0) {
      resolve_later(burst, i);
      continue;
    }
    if (hint != nullptr) {
      if (is_name_of(*hint, name.bytes.data() + parent, name.length - parent)) {
        take_encloser(burst, i, *hint);
        continue;
      }
      if (look_below(burst, i, *hint)) continue;
    }
    work.hash = dns::hash_name(name.bytes.data() + parent, name.length - parent, key);
    prefetch_bucket(catalog, work.hash);
    burst.miss[kept++] = i;
  }
  burst.miss_count = kept;
}

void below_stage(Burst& burst, const catalog::Node* hint) noexcept {
  for (unsigned n = 0; n < burst.below_count; ++n) {
    const std::uint8_t i = burst.below[n];
    const std::uint64_t hash = burst.state.work[i].hash;
    const catalog::Bucket& bucket = bucket_at(burst.root.catalog, hash);
    const bool absent = tag_matches(bucket, catalog::tag_of(hash)) == 0 && bucket.overflow == 0;
    if (absent) {
      take_encloser(burst, i, *hint);
    } else {
      resolve_later(burst, i);
    }
  }
}

void parent_match_stage(Burst& burst) noexcept {
  const catalog::View& catalog = burst.root.catalog;
  unsigned kept = 0;
  for (unsigned n = 0; n < burst.miss_count; ++n) {
    const std::uint8_t i = burst.miss[n];
    Work& work = burst.state.work[i];
    const catalog::Bucket& bucket = bucket_at(catalog, work.hash);
    const std::uint32_t matches = tag_matches(bucket, catalog::tag_of(work.hash));
    if (matches == 0) {
      resolve_later(burst, i);
      continue;
    }
    work.node = catalog.node(first_match(bucket, matches));
    const auto* lines = reinterpret_cast<const std::byte*>(work.node);
    __builtin_prefetch(lines);
    __builtin_prefetch(lines + 64);
    burst.miss[kept++] = i;
  }
  burst.miss_count = kept;
}

void encloser_stage(Burst& burst) noexcept {
  const catalog::Node* found = nullptr;
  for (unsigned n = 0; n < burst.miss_count; ++n) {
    const std::uint8_t i = burst.miss[n];
    const catalog::Node& node = *burst.state.work[i].node;
    const dns::FoldedName& name = burst.state.names[i];
    const unsigned parent = parent_offset(name);
    if (is_name_of(node, name.bytes.data() + parent, name.length - parent)) {
      found = &node;
      take_encloser(burst, i, node);
    } else {
      resolve_later(burst, i);
    }
  }
  if (found != nullptr) remember_encloser(burst, *found);
}

}  // namespace

bool is_whole(Burst& burst, std::uint8_t index) noexcept {
  const Work& work = burst.state.work[index];
  if (work.careful) return true;
  const unsigned bytes = work.request.name_bytes;
  return name_bytes_at(burst.queries[index].message + dns::header_bytes, bytes,
                       burst.state.labels[index]) == bytes;
}

void deny_type(Burst& burst, std::uint8_t index) noexcept {
  const catalog::Node& node = *burst.state.work[index].node;
  if (node.covering == 0 && node.zone != catalog::no_zone &&
      (node.flags & catalog::node_flag::cname) == 0) {
    deny(burst, index, AnswerClass::nodata);
  } else {
    burst.resolve[burst.resolve_count++] = index;
  }
}

void enclose_stages(Burst& burst) noexcept {
  const catalog::Node* hint = hinted_encloser(burst);
  parent_stage(burst, hint);
  if (burst.below_count != 0) below_stage(burst, hint);
  if (burst.miss_count == 0) return;
  parent_match_stage(burst);
  encloser_stage(burst);
}

void remember_encloser(Burst& burst, const catalog::Node& encloser) noexcept {
  const catalog::View& catalog = burst.root.catalog;
  const auto* first = reinterpret_cast<const std::byte*>(catalog.node(0));
  const auto bytes = reinterpret_cast<const std::byte*>(&encloser) - first;
  EncloserHint& hint = burst.state.encloser_hint;
  hint.node = static_cast<catalog::Ref>(bytes / catalog::ref_unit_bytes);
  hint.version = burst.root.version;
  hint.catalog_checksum = catalog.header().checksum;
}

}  // namespace pharos::dataplane
