// Places nodes and their answers in the records section of a catalog, and enters them into its buckets.
//
// Used by build_catalog alone. Each node's answers follow it at once, and a small record starts a new cache line
// where it would otherwise touch one more than it needs.
#pragma once

#include "pharos/shared/catalog_image.hh"
#include "pharos/wire/name.hh"

#include <cstdint>
#include <span>
#include <vector>

namespace pharos::controlplane {

// Answers of a node to be: one behind the other, each at a multiple of catalog::ref_unit_bytes.
class AnswerBatch {
 public:
  void clear() noexcept { bytes_.clear(); }
  // Where the next answer goes; the caller appends it to bytes().
  [[nodiscard]] std::uint32_t next() {
    bytes_.resize(round_up<std::size_t>(bytes_.size(), catalog::ref_unit_bytes));
    return static_cast<std::uint32_t>(bytes_.size());
  }
  [[nodiscard]] std::vector<std::byte>& bytes() noexcept { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
};

class CatalogRecords {
 public:
  explicit CatalogRecords(const dns::NameHashKey& key);

  // Puts a node and its batch in place. `node` needs zone, covering, referral and flags; referral and the values of
  // fixed slots are offsets in the batch, plus one so that none is 0, and are turned into refs. 0: the section is full.
  [[nodiscard]] catalog::Ref add(catalog::Node node, ConstBytes name,
                                 std::span<catalog::RrsetSlot> slots, AnswerBatch& batch);

  // The ref of an answer of the batch placed last.
  [[nodiscard]] catalog::Ref ref_in_last_batch(std::uint32_t offset) const noexcept;

  [[nodiscard]] catalog::Node& node(catalog::Ref ref) noexcept;
  [[nodiscard]] ConstBytes bytes() const noexcept { return bytes_; }
  [[nodiscard]] std::uint64_t node_count() const noexcept { return entries_.size(); }
  [[nodiscard]] std::uint32_t label_count_max() const noexcept { return label_count_max_; }

  // All nodes in a table in which each is within reach. Empty where none can be made.
  [[nodiscard]] std::vector<catalog::Bucket> buckets() const;

 private:
  struct Entry {
    std::uint64_t hash;
    catalog::Ref ref;
  };
  [[nodiscard]] std::uint64_t place_for(std::uint64_t size_bytes) const noexcept;
  [[nodiscard]] bool fill(std::span<catalog::Bucket> buckets) const;

  dns::NameHashKey key_;
  std::vector<std::byte> bytes_;
  std::vector<Entry> entries_;
  std::uint64_t last_batch_ = 0;
  std::uint32_t label_count_max_ = 0;
};

}  // namespace pharos::controlplane
