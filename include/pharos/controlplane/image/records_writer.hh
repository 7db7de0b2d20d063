// Fills the records section of one ranking segment (shared/ranking_image.hh): rows, slot tables, answers.
//
// Used by RankingBuilder alone, on its thread; lives for one build. Contents stand behind the row that
// names them first, each on as few cache lines as its size allows.
#pragma once

#include "pharos/controlplane/image/content_store.hh"
#include "pharos/shared/ranking_image.hh"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace pharos::controlplane {

class RecordsWriter {
 public:
  static constexpr std::uint64_t bytes_max =
      (std::uint64_t{ranking::offset_mask} + 1) * ranking::ref_unit_bytes;

  // `build` is a number that no build before had. Past `bytes_limit` the writer is full.
  RecordsWriter(ContentStore& store, unsigned segment, std::uint64_t build,
                std::uint64_t bytes_limit);

  // True once the limit is passed. The caller then gives up: refs are good only while this is false.
  [[nodiscard]] bool is_full() const noexcept { return bytes_.size() > bytes_limit_; }
  [[nodiscard]] ConstBytes bytes() const noexcept { return bytes_; }
  [[nodiscard]] std::vector<std::byte> take_bytes() && noexcept { return std::move(bytes_); }

  // Makes room for about so much at once, so that it need not grow in steps.
  void reserve(std::uint64_t bytes) { bytes_.reserve(std::min(bytes + bytes / 8, bytes_limit_)); }

  // Room for the cells of a row, filled in with set_cell.
  [[nodiscard]] ranking::Ref reserve_row(std::uint32_t locale_count);
  void set_cell(ranking::Ref row, std::uint32_t locale, ranking::Ref cell) noexcept;

  // The ref of a content in this segment, which is written on first use; 0 for `none`.
  [[nodiscard]] ranking::Ref ref_of(ContentStore::Id id);

 private:
  [[nodiscard]] std::uint64_t take(std::uint64_t size_bytes, std::uint64_t alignment);
  [[nodiscard]] std::uint64_t take_few_lines(std::uint64_t size_bytes);
  [[nodiscard]] ranking::Ref put_answer(ContentStore::Id id);
  [[nodiscard]] ranking::Ref put_slots(ContentStore::Id id);

  ContentStore& store_;
  unsigned segment_;
  std::uint64_t build_;
  std::uint64_t bytes_limit_;
  std::vector<std::byte> bytes_;
};

}  // namespace pharos::controlplane
