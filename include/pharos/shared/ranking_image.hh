// The ranking images: for each (pool, locale) the prepared answers, one per slot.
//
// A base image holds all rows. A delta holds the rows of the pools that changed since the version it follows.
// The reader stacks up to `segments_max` of them; a ref names its segment, so rows of a delta may point at
// answers of older segments. Cost of a delta: what it touches.
//
// A delta stands at the segment that its summary names: on top, or in the place of the newest segments from there
// on, whose rows it then holds all. So segments are merged as they add up, and a base is seldom built. It follows the
// version of the segment below it; where deltas are loaded from a disk one after another, each fits as it did then.
//
//   ref (u32):  | segment (5) | slotted (1) | offset in units of 16 bytes (26) |       0 = no answer
//
//   directory[pool] -> row: u32 cell[locale_count] -> Answer                    (one answer for all clients)
//                                                 \-> SlotTable -> Answer       (slotted: one per slot)
//
// A cell of a delta must either lie in the delta itself, or be equal to the cell that the reader already has for
// the same pool and locale, in a segment below. The same holds for a slot of a delta's slot table: it names an answer
// in the delta, or is equal to the same slot of the table that the reader has in that cell (of as many slots), below.
// That one rule makes carried-over refs as proven as they were before.
//
// Records (rows, slot tables, answers) never overlap. They may be shared, but a row or slot table of a delta that
// carries refs over belongs to one pool or cell only.
//
// content_id: of the base, a digest of pool list and locale list; a delta carries its base's.
#pragma once

#include "pharos/shared/answer.hh"
#include "pharos/shared/image.hh"

#include <array>
#include <cstdint>

namespace pharos::ranking {

using Ref = std::uint32_t;
inline constexpr unsigned ref_unit_bytes = 16;
// Base and 31 deltas; the builder compacts before that.
inline constexpr unsigned segments_max = 32;
inline constexpr unsigned segment_shift = 27;
inline constexpr Ref slotted_bit = 1U << 26;
inline constexpr Ref offset_mask = slotted_bit - 1;
inline constexpr std::uint32_t pools_max = 1U << 20;

[[nodiscard]] constexpr unsigned segment_of(Ref ref) noexcept {
  return ref >> segment_shift;
}
[[nodiscard]] constexpr bool is_slotted(Ref ref) noexcept {
  return (ref & slotted_bit) != 0;
}
[[nodiscard]] constexpr std::uint64_t offset_bytes_of(Ref ref) noexcept {
  return std::uint64_t{ref & offset_mask} * ref_unit_bytes;
}
[[nodiscard]] constexpr Ref make_ref(unsigned segment, std::uint64_t offset_bytes,
                                     bool slotted) noexcept {
  return static_cast<Ref>(segment << segment_shift) | (slotted ? slotted_bit : 0U) |
         static_cast<Ref>(offset_bytes / ref_unit_bytes);
}

// Answers of one cell by slot. A client prefix always hashes to the same slot: slot = hash & (count - 1).
struct SlotTable {
  std::uint16_t slot_count_log2;  // 0-10
  std::uint16_t reserved;
  // followed by Ref answers[1 << slot_count_log2], none slotted, none 0
  [[nodiscard]] const Ref* answers() const noexcept {
    return reinterpret_cast<const Ref*>(this + 1);
  }
};
static_assert(sizeof(SlotTable) == 4);
inline constexpr unsigned slot_count_log2_max = 10;
// Client prefixes that pick a slot, and therefore the ECS scope of slotted answers, in bits.
inline constexpr unsigned slot_prefix_ipv4_bits = 24;
inline constexpr unsigned slot_prefix_ipv6_bits = 56;

struct RowEntry {
  std::uint32_t pool;
  Ref row;  // in this image's own segment, not slotted; cells: Ref[locale_count]
};
static_assert(sizeof(RowEntry) == 8);

struct Summary {  // exactly one
  std::uint32_t pool_count;
  std::uint32_t locale_count;
  std::uint32_t segment;  // 0: base; delta: its place, at most the number of segments there are
  std::uint32_t reserved;
  Version base;  // base: its own version; delta: that of the base it stacks on
  // Delta: the version of the segment below, which must be in place; base: its own.
  Version follows;
};
static_assert(sizeof(Summary) == 48);

// `names` (base only, may be empty): pool names, each behind its length octet, for people.
enum class Section : std::uint32_t { summary = 1, rows = 2, records = 3, names = 4 };
[[nodiscard]] std::span<const SectionRule> layout_of() noexcept;

// The stack of a base and its deltas, as the packet path reads it. Segments are borrowed, the directory is owned.
class View {
 public:
  // Proves a base image alone. Errors: invalid, unsupported.
  [[nodiscard]] static Result<View> prove_base(ConstBytes bytes);

  // This view with a delta; `this` stays as it is. Errors: invalid, unsupported, conflict (the delta follows
  // another version or base, or its segment cannot be had).
  [[nodiscard]] Result<View> prove_delta(ConstBytes bytes) const;

  [[nodiscard]] Version version() const noexcept { return version_; }  // of the newest segment
  [[nodiscard]] Version base_version() const noexcept { return base_; }
  [[nodiscard]] std::uint64_t content_id() const noexcept { return content_id_; }
  [[nodiscard]] std::uint32_t pool_count() const noexcept {
    return static_cast<std::uint32_t>(directory_.size());
  }
  [[nodiscard]] std::uint32_t locale_count() const noexcept { return locale_count_; }
  [[nodiscard]] unsigned segment_count() const noexcept { return segment_count_; }
  // Of a segment that is in use.
  [[nodiscard]] Version version_of(unsigned segment) const noexcept { return versions_[segment]; }

  // Hot, in the order of use; each returns what the next stage should prefetch.
  [[nodiscard]] const Ref* row(std::uint32_t pool) const noexcept {
    return reinterpret_cast<const Ref*>(at(directory_[pool]));
  }
  [[nodiscard]] Ref row_ref(std::uint32_t pool) const noexcept { return directory_[pool]; }
  [[nodiscard]] const std::byte* at(Ref ref) const noexcept {
    return segments_[segment_of(ref)] + offset_bytes_of(ref);
  }
  // The answer of a cell for a client hash; nullptr where the pool answers nothing (cell is 0).
  [[nodiscard]] const Answer* answer(Ref cell, std::uint32_t client_hash) const noexcept {
    if (cell == 0) return nullptr;
    if (is_slotted(cell)) {
      const auto* table = reinterpret_cast<const SlotTable*>(at(cell));
      cell = table->answers()[client_hash & ((1U << table->slot_count_log2) - 1)];
    }
    return reinterpret_cast<const Answer*>(at(cell));
  }

 private:
  std::array<const std::byte*, segments_max> segments_{};  // start of each records section
  std::vector<Ref> directory_;
  std::uint32_t locale_count_ = 0;
  unsigned segment_count_ = 0;
  Version version_;
  Version base_;
  std::uint64_t content_id_ = 0;
  std::array<Version, segments_max> versions_{};  // by segment
};

// The content_id of a base made for these pools (a catalog's content_id) and locales (a locale map's).
[[nodiscard]] std::uint64_t content_id_for(std::uint64_t pools_id,
                                           std::uint64_t locales_id) noexcept;

[[nodiscard]] std::string dump(ConstBytes proven_base_or_delta);

}  // namespace pharos::ranking
