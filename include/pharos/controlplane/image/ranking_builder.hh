// Keeps the answers of every (pool, locale) in wire form and turns them into ranking images.
//
// Owned by the engine thread. It remembers what the data plane acknowledged last, so that a delta
// holds only what differs from that:
//
//   set() ... set() -> build_delta(version) -> publish -> commit()     adopted: the next delta
//   follows it
//                   \  build_base(version) /          \-> rollback()   refused: as if never built
//
// set() may go on between a build and its commit: such changes belong to the next build. Equal
// calls in equal order give equal bytes (DESIGN, promise 12).
#pragma once

#include "pharos/base/error.hh"
#include "pharos/base/ip_address.hh"
#include "pharos/controlplane/image/cell_answers.hh"
#include "pharos/controlplane/image/record_targets.hh"
#include "pharos/shared/image.hh"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace pharos::controlplane {

// The answers of one pool to one locale.
struct CellContent {
  std::uint16_t type = 0;  // host order
  std::uint32_t ttl_s = 0;
  // One list of addresses, best first, per slot: 1 slot, or a power of two up to 1024. No slots, or
  // nothing but empty lists: no answer. A mix of empty and other lists is an error.
  std::vector<std::vector<IpAddress>> slots = {};
  // The same of SRV, SVCB and HTTPS, in place of addresses; their targets.
  std::vector<std::vector<RankedRecord>> records = {};
  std::shared_ptr<const std::vector<RecordTarget>> targets = {};
};

struct RankingLimits {
  unsigned delta_segments_max =
      24;                        // deltas on one base, at most ranking::segments_max - 1; 0: none
  double delta_share_max = 0.5;  // bytes of all deltas on a base, by the base's bytes
  std::uint64_t delta_bytes_free = 1U << 20;  // ... which never forbids this much
  // Rows of former deltas that one takes in at the most while there is room for more deltas: changes do not wait for
  // them to be written again. What is left to merge is untidy().
  std::uint32_t merged_rows_max = ~0U;
};

class RankingBuilder {
 public:
  // Pools and locales in the order of their indices; the ids are the content_ids of the catalog and
  // the locale map. All cells start without an answer. REQUIREs at least one locale and at most
  // ranking::pools_max pools and locale_map::locales_max locales.
  RankingBuilder(std::vector<std::string> pool_names, std::vector<std::string> locale_names,
                 std::uint64_t pools_id, std::uint64_t locales_id, RankingLimits limits = {});
  ~RankingBuilder();
  RankingBuilder(RankingBuilder&&) noexcept;
  RankingBuilder& operator=(RankingBuilder&&) noexcept;

  // Puts an answer in place; only bytes that differ from what is committed make anything dirty.
  // On error nothing changes. Errors: not_found (no such pool or locale), invalid (slot count,
  // mixed empty slots, family, TTL), exhausted (too many records for one message).
  [[nodiscard]] Status set(std::uint32_t pool, std::uint16_t locale, const CellContent& content);
  // The same for several locales of a pool (at least one) that are answered alike.
  [[nodiscard]] Status set(std::uint32_t pool, std::span<const std::uint16_t> locales,
                           const CellAnswers& answers);

  // Whether a build would publish anything new: always true before the first commit.
  [[nodiscard]] bool dirty() const noexcept;
  [[nodiscard]] std::uint64_t dirty_cell_count() const noexcept;  // against what is committed

  // All rows. Equal answers, slot tables and rows are stored once. Errors: conflict (version not
  // newer than what is committed, or another build is neither committed nor rolled back),
  // exhausted.
  [[nodiscard]] Result<ImageBuffer> build_base(Version version);
  // The same, to be written where it is wanted: a draft borrows from the builder until commit() or rollback().
  [[nodiscard]] Result<ImageDraft> draft_base(Version version);

  // The rows of the pools that differ from what is committed, and of newer deltas that it takes in. Errors:
  // as above; exhausted also when there is no committed base, or the deltas outgrow their share: build a base.
  [[nodiscard]] Result<ImageBuffer> build_delta(Version version);
  [[nodiscard]] Result<ImageDraft> draft_delta(Version version);

  // Whether more than half of the deltas that there may be are there, and some of them could be one: to be made where
  // nobody waits, by a delta that takes in as many former ones as add up. Errors: as above.
  [[nodiscard]] bool untidy() const noexcept;
  [[nodiscard]] Result<ImageDraft> draft_merged(Version version);

  // The outcome of the last build; each build is followed by exactly one of the two (REQUIREd).
  void commit();
  void rollback();

  [[nodiscard]] std::uint32_t pool_count() const noexcept;
  [[nodiscard]] std::uint32_t locale_count() const noexcept;
  [[nodiscard]] Version committed_version() const noexcept;  // 0.0 before the first commit
  [[nodiscard]] unsigned segment_count() const noexcept;     // base and deltas that are committed

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace pharos::controlplane
