// The proof of ranking images: View::prove_base and prove_delta. See ranking_image.hh.
//
// Linear in the image, whatever its bytes say: every record is proven where it is first met, and claims its
// bytes. Records that overlap, or that two rows read as different things, are refused, so no byte of an image is
// looked at more than a few times and a ref to a proven record costs one look-up.
#include "pharos/shared/ranking_image.hh"

#include "pharos/shared/locale_image.hh"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <bit>

namespace pharos::ranking {
namespace {

enum SectionIndex : std::size_t { summary_index, rows_index, records_index, names_index };

// 1 GiB.
constexpr std::uint64_t records_bytes_max = std::uint64_t{offset_mask + 1} * ref_unit_bytes;

constexpr std::array<SectionRule, 4> layout = {{
    {static_cast<std::uint32_t>(Section::summary), "summary", sizeof(Summary), 1},
    {static_cast<std::uint32_t>(Section::rows), "rows", sizeof(RowEntry), pools_max},
    {static_cast<std::uint32_t>(Section::records), "records", 1, records_bytes_max},
    {static_cast<std::uint32_t>(Section::names), "names", 1, std::uint64_t{pools_max} * 256},
}};

// What stands at a unit of the records section, as far as refs have told.
enum class Claim : std::uint8_t {
  unclaimed = 0,
  inside,  // of a record that starts before
  answer,
  slot_table,              // all of its answers lie in this segment, ...
  row,                     // ... all of its cells do: proven for whoever refers to it
  slot_table_of_one_cell,  // with carried refs, proven against what that cell held before, ...
  row_of_one_pool,         // ... against that pool's row before: nobody else may use it
};

std::unexpected<Error> refuse(std::string what, std::string where) {
  return fail(ErrorCode::invalid, std::move(what), std::move(where));
}

// What a cell held before, for the rule of carried refs. A base has no past: both are empty.
struct Former {
  Ref cell = 0;
  const SlotTable* slots = nullptr;  // where `cell` is slotted
};

class Prover {
 public:
  Prover(unsigned segment, std::uint32_t locale_count, SectionView records)
      : segment_(segment),
        locale_count_(locale_count),
        records_(records),
        claims_((records.count + ref_unit_bytes - 1) / ref_unit_bytes) {}

  // `former(locale)` tells what the reader has for a cell of this pool.
  template <typename FormerOf>
  [[nodiscard]] Status prove_row(const RowEntry& entry, FormerOf&& former_of) {
    const auto where = [&] { return fmt::format("row of pool {}", entry.pool); };
    const std::uint64_t row_bytes = std::uint64_t{locale_count_} * sizeof(Ref);
    if (!is_own(entry.row) || is_slotted(entry.row) || !has(entry.row, row_bytes)) {
      return refuse(fmt::format("ref {:#x} does not lie in this image's records", entry.row),
                    where());
    }
    if (claim_at(entry.row) == Claim::row) return {};
    if (!claim(entry.row, row_bytes, Claim::row)) {
      return refuse(fmt::format("ref {:#x} overlaps another record", entry.row), where());
    }
    const auto* cells = reinterpret_cast<const Ref*>(at(entry.row));
    for (std::uint32_t locale = 0; locale < locale_count_; ++locale) {
      if (const char* fault = prove_cell(cells[locale], former_of(locale)); fault != nullptr) {
        return refuse(fmt::format("ref {:#x}: {}", cells[locale], fault),
                      fmt::format("{}, locale {}", where(), locale));
      }
      if (is_carried(cells[locale])) claim_at(entry.row) = Claim::row_of_one_pool;
    }
    return {};
  }

 private:
  [[nodiscard]] bool is_own(Ref ref) const noexcept {
    return ref != 0 && segment_of(ref) == segment_;
  }
  [[nodiscard]] const std::byte* at(Ref own) const noexcept {
    return records_.data + offset_bytes_of(own);
  }
  [[nodiscard]] std::uint64_t bytes_from(Ref own) const noexcept {
    return records_.count - std::min(records_.count, offset_bytes_of(own));
  }
  [[nodiscard]] bool has(Ref own, std::uint64_t size_bytes) const noexcept {
    return bytes_from(own) >= size_bytes;
  }
  [[nodiscard]] Claim& claim_at(Ref own) noexcept {
    return claims_[offset_bytes_of(own) / ref_unit_bytes];
  }

  // Whether what a proven cell refers to is proven for this pool and locale only.
  [[nodiscard]] bool is_carried(Ref cell) noexcept {
    return cell != 0 && (!is_own(cell) || claim_at(cell) == Claim::slot_table_of_one_cell);
  }

  [[nodiscard]] bool claim(Ref own, std::uint64_t size_bytes, Claim as) noexcept {
    const auto first = offset_bytes_of(own) / ref_unit_bytes;
    const auto units =
        std::span(claims_).subspan(first, (size_bytes + ref_unit_bytes - 1) / ref_unit_bytes);
    if (std::ranges::any_of(units, [](Claim c) { return c != Claim::unclaimed; })) return false;
    std::ranges::fill(units, Claim::inside);
    units.front() = as;
    return true;
  }

  // These return what is wrong, or nullptr.
  [[nodiscard]] const char* prove_cell(Ref cell, const Former& former) noexcept {
    if (cell == 0) return nullptr;
    if (!is_own(cell)) {
      return cell == former.cell && segment_of(cell) < segment_
                 ? nullptr
                 : "names another segment, and is not what stands there now below this one";
    }
    return is_slotted(cell) ? prove_slots(cell, former) : prove_answer(cell);
  }

  [[nodiscard]] const char* prove_answer(Ref own) noexcept {
    if (!has(own, sizeof(Answer))) return "answer lies outside of the records";
    if (claim_at(own) == Claim::answer) return nullptr;
    const auto* answer = reinterpret_cast<const Answer*>(at(own));
    const auto size_bytes = answer_record_bytes(answer->body_bytes, answer->relocation_count);
    if (!has(own, size_bytes)) return "answer reaches out of the records";
    // Claimed before it is walked: that is what keeps the whole proof linear.
    if (!claim(own, size_bytes, Claim::answer)) return "answer overlaps another record";
    return answer_is_sound(answer, bytes_from(own)) ? nullptr : "answer is not sound";
  }

  [[nodiscard]] const char* prove_slots(Ref own, const Former& former) noexcept {
    if (!has(own, sizeof(SlotTable))) return "slot table lies outside of the records";
    if (claim_at(own) == Claim::slot_table) return nullptr;
    const auto* table = reinterpret_cast<const SlotTable*>(at(own));
    if (table->slot_count_log2 > slot_count_log2_max || table->reserved != 0)
      return "slot table is not sound";
    const auto slot_count = std::uint32_t{1} << table->slot_count_log2;
    const auto size_bytes = sizeof(SlotTable) + slot_count * sizeof(Ref);
    if (!has(own, size_bytes)) return "slot table reaches out of the records";
    if (!claim(own, size_bytes, Claim::slot_table)) return "slot table overlaps another record";

    const bool comparable =
        former.slots != nullptr && former.slots->slot_count_log2 == table->slot_count_log2;
    for (std::uint32_t slot = 0; slot < slot_count; ++slot) {
      const Ref ref = table->answers()[slot];
      if (is_own(ref) && !is_slotted(ref)) {
        if (const char* fault = prove_answer(ref); fault != nullptr) return fault;
      } else {
        if (!comparable || ref != former.slots->answers()[slot] || segment_of(ref) >= segment_) {
          return "a slot names no answer of this segment, nor the one that stands there now";
        }
        claim_at(own) = Claim::slot_table_of_one_cell;
      }
    }
    return nullptr;
  }

  unsigned segment_;
  std::uint32_t locale_count_;
  SectionView records_;
  std::vector<Claim> claims_;  // one for each unit of 16 bytes
};

// The parts of an image whose frame is sound.
struct Parts {
  ImageHeader header;
  Summary summary;
  std::span<const RowEntry> rows;
  SectionView records;
  ConstBytes names;
};

Result<Parts> read_parts(ConstBytes bytes, ImageKind kind) {
  auto sections = check_sections(bytes, kind, layout);
  if (!sections) return std::unexpected(std::move(sections).error());
  const auto& views = *sections;
  if (views[summary_index].count != 1) return refuse("is empty", "section 'summary'");
  Parts parts{load<ImageHeader>(bytes.data()),
              views[summary_index].as<Summary>().front(),
              views[rows_index].as<RowEntry>(),
              views[records_index],
              {views[names_index].data, views[names_index].size_bytes()}};
  const Summary& summary = parts.summary;
  if (summary.reserved != 0 || summary.pool_count > pools_max || summary.locale_count == 0 ||
      summary.locale_count > locale_map::locales_max) {
    return refuse(fmt::format("{} pools and {} locales", summary.pool_count, summary.locale_count),
                  "summary");
  }
  return parts;
}

// Every pool name stands behind its length octet; all or none are named.
Status check_names(const Parts& parts) {
  std::uint64_t at = 0;
  std::uint32_t count = 0;
  for (; at < parts.names.size(); ++count)
    at += 1 + std::to_integer<std::uint64_t>(parts.names[at]);
  if (at != parts.names.size() || (count != 0 && count != parts.summary.pool_count)) {
    return refuse("pool names are not one for each pool", "section 'names'");
  }
  return {};
}

}  // namespace

std::span<const SectionRule> layout_of() noexcept {
  return layout;
}

std::uint64_t content_id_for(std::uint64_t pools_id, std::uint64_t locales_id) noexcept {
  // An ordered pair to one number, by the finalizer of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
  const auto mix = [](std::uint64_t x) {
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9U;
    x = (x ^ x >> 27) * 0x94d049bb133111ebU;
    return x ^ x >> 31;
  };
  return mix(mix(pools_id + 0x9e3779b97f4a7c15U) + locales_id);
}

Result<View> View::prove_base(ConstBytes bytes) {
  auto parts = read_parts(bytes, ImageKind::ranking_base);
  if (!parts) return std::unexpected(std::move(parts).error());
  const auto& [header, summary, rows, records, names] = *parts;
  if (summary.segment != 0 || summary.base != header.version || summary.follows != header.version) {
    return refuse("a base is segment 0 and follows only itself", "summary");
  }
  if (rows.size() != summary.pool_count) {
    return refuse(fmt::format("{} rows for {} pools", rows.size(), summary.pool_count),
                  "section 'rows'");
  }
  if (auto good = check_names(*parts); !good) return std::unexpected(std::move(good).error());

  View view;
  view.directory_.reserve(rows.size());
  Prover prover(0, summary.locale_count, records);
  for (const RowEntry& entry : rows) {
    if (entry.pool != view.directory_.size()) {
      return refuse(
          fmt::format("pool {} stands where {} is due", entry.pool, view.directory_.size()),
          "section 'rows'");
    }
    auto good = prover.prove_row(entry, [](std::uint32_t) { return Former{}; });
    if (!good) return std::unexpected(std::move(good).error());
    view.directory_.push_back(entry.row);
  }
  view.segments_[0] = records.data;
  view.segment_count_ = 1;
  view.locale_count_ = summary.locale_count;
  view.version_ = view.base_ = view.versions_[0] = header.version;
  view.content_id_ = header.content_id;
  return view;
}

namespace {

std::string text_of(Version version) {
  return fmt::format("{}.{}", version.epoch, version.generation);
}

Status check_step(const Parts& delta, const View& onto) {
  const auto& summary = delta.summary;
  const auto out_of_step = [](std::string what) {
    return fail(ErrorCode::conflict, std::move(what), "ranking delta", "send a base");
  };
  if (summary.segment == 0 || summary.segment >= segments_max ||
      summary.segment > onto.segment_count()) {
    return out_of_step(fmt::format("is segment {}, where {} of {} are in use", summary.segment,
                                   onto.segment_count(), segments_max));
  }
  const Version below = onto.version_of(summary.segment - 1);
  if (summary.base != onto.base_version() || summary.follows != below) {
    return out_of_step(fmt::format("follows {} on base {}, in use is {} on {}",
                                   text_of(summary.follows), text_of(summary.base), text_of(below),
                                   text_of(onto.base_version())));
  }
  if (delta.header.content_id != onto.content_id()) {
    return out_of_step("made for other pools or locales than its base");
  }
  if (delta.header.version <= onto.version()) {
    return out_of_step(fmt::format("version {} is not newer than {}", text_of(delta.header.version),
                                   text_of(onto.version())));
  }
  if (summary.pool_count != onto.pool_count() || summary.locale_count != onto.locale_count()) {
    return refuse(
        fmt::format("{} pools and {} locales, where the base has {} and {}", summary.pool_count,
                    summary.locale_count, onto.pool_count(), onto.locale_count()),
        "summary");
  }
  return {};
}

// A delta in the place of segments holds all rows that lie in them: none is left behind. `rows` ascend by pool.
Status check_replaced(const View& onto, unsigned segment, std::span<const RowEntry> rows) {
  if (segment == onto.segment_count()) return {};
  auto next = rows.begin();
  for (std::uint32_t pool = 0; pool < onto.pool_count(); ++pool) {
    if (next != rows.end() && next->pool == pool) {
      ++next;
    } else if (segment_of(onto.row_ref(pool)) >= segment) {
      return refuse(fmt::format("the row of pool {} is missing, and its segment is replaced", pool),
                    "section 'rows'");
    }
  }
  return {};
}

}  // namespace

Result<View> View::prove_delta(ConstBytes bytes) const {
  auto parts = read_parts(bytes, ImageKind::ranking_delta);
  if (!parts) return std::unexpected(std::move(parts).error());
  if (auto good = check_step(*parts, *this); !good) return std::unexpected(std::move(good).error());
  const auto& [header, summary, rows, records, names] = *parts;
  if (!names.empty()) return refuse("a delta names no pools", "section 'names'");

  View view = *this;
  Prover prover(summary.segment, locale_count_, records);
  std::uint64_t pool_min = 0;
  for (const RowEntry& entry : rows) {
    if (entry.pool < pool_min || entry.pool >= summary.pool_count) {
      return refuse(
          fmt::format("pool {} is out of order, or not below {}", entry.pool, summary.pool_count),
          "section 'rows'");
    }
    pool_min = std::uint64_t{entry.pool} + 1;
    const Ref* former_cells = row(entry.pool);
    auto good = prover.prove_row(entry, [&](std::uint32_t locale) {
      const Ref cell = former_cells[locale];
      const bool slotted = cell != 0 && is_slotted(cell);
      return Former{cell, slotted ? reinterpret_cast<const SlotTable*>(at(cell)) : nullptr};
    });
    if (!good) return std::unexpected(std::move(good).error());
    view.directory_[entry.pool] = entry.row;
  }
  if (auto good = check_replaced(*this, summary.segment, rows); !good)
    return std::unexpected(std::move(good).error());
  view.segments_[summary.segment] = records.data;
  for (auto i = summary.segment + 1; i < view.segment_count_; ++i) view.segments_[i] = nullptr;
  view.segment_count_ = summary.segment + 1;
  view.version_ = view.versions_[summary.segment] = header.version;
  return view;
}

}  // namespace pharos::ranking
