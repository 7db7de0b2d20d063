// Places nodes and their answers in the records section of a catalog, and enters them into its buckets.
//
// Used by build_catalog alone. Each node's answers follow it at once, and a small record starts a new cache line
// where it would otherwise touch one more than it needs.
#pragma once

#include "pharos/controlplane/image/catalog_parts.hh"
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

// A zone's records in another catalog, and where it comes to be.
struct TakenZone {
  ConstBytes records;
  std::span<const CatalogEntry> entries;
  catalog::Ref former_first;  // where its records begin there
  catalog::Ref former_apex;
  std::uint32_t former_index;
  std::uint32_t index;
  catalog::Ref cut_above;  // its apex, here
};

class CatalogRecords {
 public:
  explicit CatalogRecords(const dns::NameHashKey& key);

  // Puts a node and its batch in place. `node` needs zone, covering, referral and flags; referral and the values of
  // fixed slots are offsets in the batch, plus one so that none is 0, and are turned into refs. 0: the section is full.
  [[nodiscard]] catalog::Ref add(catalog::Node node, ConstBytes name,
                                 std::span<catalog::RrsetSlot> slots, AnswerBatch& batch);

  // Lets what comes next begin on a cache line, and returns where: so the records of a zone lie among each other as
  // they would anywhere.
  [[nodiscard]] catalog::Ref start_zone();
  [[nodiscard]] std::uint64_t bytes_since(catalog::Ref first) const noexcept;

  // Puts the nodes and answers of a zone as they lie in another catalog; they begin a zone here. They are borrowed until
  // the last write(). False: the section is full.
  [[nodiscard]] bool take_over(const TakenZone& zone);

  // The ref of an answer of the batch placed last.
  [[nodiscard]] catalog::Ref ref_in_last_batch(std::uint32_t offset) const noexcept;

  // A node of the zone in hand.
  [[nodiscard]] catalog::Node& node(catalog::Ref ref) noexcept;

  // Of the section: whole cache lines.
  [[nodiscard]] std::uint64_t section_bytes() const noexcept;
  // `out`: section_bytes() of zeros.
  void write(Bytes out) const;
  [[nodiscard]] std::span<const CatalogEntry> entries() const noexcept { return entries_; }

  // All nodes in a table in which each is within reach. Empty where none can be made.
  [[nodiscard]] std::vector<catalog::Bucket> buckets() const;

 private:
  struct Taken {
    TakenZone zone;
    std::uint64_t own_before;  // bytes of our own that stand before it
    std::size_t first_entry;
    catalog::Ref moved;  // by how much its refs grow, modulo 2^32
  };
  void adapt(const Taken& run, Bytes out) const;
  [[nodiscard]] std::uint64_t used_bytes() const noexcept { return bytes_.size() + taken_bytes_; }
  [[nodiscard]] std::uint64_t place_for(std::uint64_t record_bytes) const noexcept;
  [[nodiscard]] bool fill(std::span<catalog::Bucket> buckets) const;

  dns::NameHashKey key_;
  std::vector<std::byte> bytes_;  // of nodes and answers that are new
  std::vector<Taken> taken_;
  std::uint64_t taken_bytes_ = 0;
  std::vector<CatalogEntry> entries_;
  std::uint64_t last_batch_ = 0;
};

}  // namespace pharos::controlplane
