#include "pharos/controlplane/image/catalog_records.hh"

#include "pharos/wire/name_text.hh"

#include <algorithm>
#include <iterator>

namespace pharos::controlplane {
namespace {

using catalog::Bucket;
using catalog::Node;
using catalog::Ref;

constexpr std::uint64_t cache_line_bytes = 64;
// Of the lines that a common hit touches: node and answer of a short RRset.
constexpr std::uint64_t compact_bytes = 2 * cache_line_bytes;
// Six of ten slots: one bucket in 23 overflows, against one in ten with seven.
constexpr std::uint64_t entries_per_bucket = 6;
constexpr unsigned table_attempts_max = 64;
constexpr std::size_t fill_ahead = 16;  // entries whose buckets are on their way from memory
constexpr std::uint64_t refs_max = 0xffffffff;

[[nodiscard]] Node& node_at(std::byte* records, Ref ref) noexcept {
  return *reinterpret_cast<Node*>(records + std::uint64_t{ref} * catalog::ref_unit_bytes);
}

void move_refs(Node& node, Ref by) noexcept {
  for (Ref* ref : {&node.covering, &node.wildcard_child, &node.referral}) {
    if (*ref != 0) *ref += by;
  }
  auto* slots = reinterpret_cast<catalog::RrsetSlot*>(reinterpret_cast<std::byte*>(&node) +
                                                      catalog::slots_offset(node.name_bytes));
  for (unsigned i = 0; i < node.rrset_count; ++i) {
    if (slots[i].kind == catalog::SlotKind::fixed) slots[i].value += by;
  }
}

}  // namespace

CatalogRecords::CatalogRecords(const dns::NameHashKey& key)
    : key_(key), bytes_(catalog::ref_unit_bytes) {}

std::uint64_t CatalogRecords::place_for(std::uint64_t record_bytes) const noexcept {
  const std::uint64_t next = round_up<std::uint64_t>(used_bytes(), catalog::ref_unit_bytes);
  const std::uint64_t together = std::min(record_bytes, compact_bytes);
  const std::uint64_t lines =
      (next % cache_line_bytes + together + cache_line_bytes - 1) / cache_line_bytes;
  const std::uint64_t lines_needed = (together + cache_line_bytes - 1) / cache_line_bytes;
  return lines > lines_needed ? round_up(next, cache_line_bytes) : next;
}

Ref CatalogRecords::add(Node node, ConstBytes name, std::span<catalog::RrsetSlot> slots,
                        AnswerBatch& batch) {
  node.name_bytes = static_cast<std::uint8_t>(name.size());
  node.label_count = static_cast<std::uint8_t>(dns::label_count(name));
  node.rrset_count = static_cast<std::uint16_t>(slots.size());
  const std::uint64_t node_bytes = round_up<std::uint64_t>(
      catalog::node_record_bytes(node.name_bytes, node.rrset_count), catalog::ref_unit_bytes);
  const std::uint64_t start = place_for(node_bytes + batch.bytes().size());
  const std::uint64_t end = start + node_bytes + batch.bytes().size();
  if (end / catalog::ref_unit_bytes >= refs_max) return 0;

  last_batch_ = start + node_bytes;
  for (auto& slot : slots) {
    if (slot.kind == catalog::SlotKind::fixed) slot.value = ref_in_last_batch(slot.value - 1);
  }
  if (node.referral != 0) node.referral = ref_in_last_batch(node.referral - 1);
  const auto ref = static_cast<Ref>(start / catalog::ref_unit_bytes);
  if ((node.flags & catalog::node_flag::cut) != 0) node.covering = ref;

  bytes_.resize(end - taken_bytes_);
  std::byte* at = bytes_.data() + (start - taken_bytes_);
  store(at, node);
  std::ranges::transform(name, at + sizeof(Node), dns::fold_byte);
  if (!slots.empty()) {
    std::memcpy(at + catalog::slots_offset(node.name_bytes), slots.data(), slots.size_bytes());
  }
  std::ranges::copy(batch.bytes(), at + node_bytes);

  dns::FoldedName folded;
  dns::scalar::fold_name(name.data(), node.name_bytes, folded);
  entries_.push_back({dns::hash_name(folded.bytes.data(), folded.length, key_), ref});
  return ref;
}

Ref CatalogRecords::start_zone() {
  bytes_.resize(section_bytes() - taken_bytes_);
  return static_cast<Ref>(used_bytes() / catalog::ref_unit_bytes);
}

std::uint64_t CatalogRecords::bytes_since(Ref first) const noexcept {
  return used_bytes() - std::uint64_t{first} * catalog::ref_unit_bytes;
}

bool CatalogRecords::take_over(const TakenZone& zone) {
  const Ref moved = start_zone() - zone.former_first;
  if ((used_bytes() + zone.records.size()) / catalog::ref_unit_bytes >= refs_max) return false;
  taken_.push_back({zone, bytes_.size(), entries_.size(), moved});
  // Whole lines, so that what is ours stays aligned beside it.
  taken_bytes_ += round_up<std::uint64_t>(zone.records.size(), cache_line_bytes);
  std::ranges::transform(zone.entries, std::back_inserter(entries_), [moved](CatalogEntry entry) {
    entry.ref += moved;
    return entry;
  });
  return true;
}

Ref CatalogRecords::ref_in_last_batch(std::uint32_t offset) const noexcept {
  return static_cast<Ref>((last_batch_ + offset) / catalog::ref_unit_bytes);
}

Node& CatalogRecords::node(Ref ref) noexcept {
  return node_at(bytes_.data() - taken_bytes_, ref);
}

std::uint64_t CatalogRecords::section_bytes() const noexcept {
  return round_up<std::uint64_t>(used_bytes(), cache_line_bytes);
}

void CatalogRecords::write(Bytes out) const {
  std::uint64_t done = 0;   // of our own bytes
  std::uint64_t taken = 0;  // bytes taken over up to here
  for (const Taken& run : taken_) {
    std::ranges::copy(std::span(bytes_).subspan(done, run.own_before - done),
                      out.begin() + static_cast<std::ptrdiff_t>(done + taken));
    done = run.own_before;
    std::ranges::copy(run.zone.records, out.begin() + static_cast<std::ptrdiff_t>(done + taken));
    adapt(run, out);
    taken += round_up<std::uint64_t>(run.zone.records.size(), cache_line_bytes);
  }
  std::ranges::copy(std::span(bytes_).subspan(done),
                    out.begin() + static_cast<std::ptrdiff_t>(done + taken));
}

// All refs of a node point into its own zone, but that of the cut above an apex, which its outer zone knows.
void CatalogRecords::adapt(const Taken& run, Bytes out) const {
  const auto& zone = run.zone;
  if (run.moved != 0 || zone.former_index != zone.index) {
    for (const auto& entry : entries().subspan(run.first_entry, zone.entries.size())) {
      Node& node = node_at(out.data(), entry.ref);
      node.zone = zone.index;
      move_refs(node, run.moved);
    }
  }
  node_at(out.data(), zone.former_apex + run.moved).covering = zone.cut_above;
}

// Every entry into its own bucket or one of those behind it, with the way there marked.
bool CatalogRecords::fill(std::span<Bucket> buckets) const {
  const auto count = static_cast<std::uint32_t>(buckets.size());
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    if (i + fill_ahead < entries_.size())
      __builtin_prefetch(&buckets[catalog::bucket_of(entries_[i + fill_ahead].hash, count)], 1);
    const CatalogEntry& entry = entries_[i];
    auto index = catalog::bucket_of(entry.hash, count);
    bool placed = false;
    for (unsigned hops = 0; hops <= catalog::overflow_buckets_max && !placed; ++hops) {
      Bucket& bucket = buckets[index];
      const auto free = std::ranges::find(bucket.tags, 0);
      if (free != bucket.tags.end()) {
        *free = catalog::tag_of(entry.hash);
        bucket.refs[static_cast<std::size_t>(free - bucket.tags.begin())] = entry.ref;
        placed = true;
      } else {
        bucket.overflow = 1;
        index = index + 1 == count ? 0 : index + 1;
      }
    }
    if (!placed) return false;
  }
  unsigned in_row = 0;
  for (std::uint64_t i = 0; i < std::uint64_t{count} + catalog::overflow_buckets_max + 1; ++i) {
    in_row = buckets[i % count].overflow != 0 ? in_row + 1 : 0;
    if (in_row > catalog::overflow_buckets_max) return false;
  }
  return true;
}

std::vector<Bucket> CatalogRecords::buckets() const {
  std::uint64_t count =
      std::max<std::uint64_t>(1, (entries_.size() + entries_per_bucket - 1) / entries_per_bucket);
  for (unsigned attempt = 0; attempt < table_attempts_max && count <= 0xffffffff; ++attempt) {
    std::vector<Bucket> table(count);
    if (fill(table)) return table;
    count += count / 8 + 1;
  }
  return {};
}

}  // namespace pharos::controlplane
