#include "pharos/controlplane/image/ranking_builder.hh"

#include "pharos/base/assert.hh"
#include "pharos/controlplane/image/cell_encoder.hh"
#include "pharos/controlplane/image/content_store.hh"
#include "pharos/controlplane/image/records_writer.hh"
#include "pharos/shared/locale_image.hh"
#include "pharos/shared/ranking_image.hh"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <optional>
#include <unordered_map>

namespace pharos::controlplane {
namespace {

using ranking::Ref;
using Id = ContentStore::Id;

// Of a pool in a delta, beside its row: room that is made at once. Only a guess.
constexpr std::uint64_t delta_answer_bytes_expected = 1024;

// Everything that one build wants to make true once it is acknowledged.
struct Pending {
  bool is_base = false;
  Version version;
  std::uint64_t image_bytes = 0;
  unsigned segment = 0;              // where it stands; those from there on are gone
  std::vector<std::uint32_t> pools;  // of a delta: whose rows it holds
  std::vector<std::uint64_t> cells;  // of a delta: which ones it writes; a base has all, in order
  std::vector<Id> ids;               // one use of each
  std::vector<Ref> refs;
  // What the image is written from:
  ranking::Summary summary{};
  std::vector<ranking::RowEntry> rows;
  std::vector<std::byte> records, names;
};

// A base or delta that is committed.
struct Segment {
  Version version;
  std::uint64_t image_bytes = 0;
  std::vector<std::uint32_t> pools;  // of a delta: whose rows it was made with
  std::uint32_t row_count = 0;       // those of them that no later one holds
};

[[nodiscard]] std::vector<std::byte> names_section(std::span<const std::string> names) {
  std::vector<std::byte> section;
  for (const std::string_view name : names) {
    const auto bytes = as_bytes(name.substr(0, 255));
    section.push_back(static_cast<std::byte>(bytes.size()));
    section.insert(section.end(), bytes.begin(), bytes.end());
  }
  return section;
}

}  // namespace

struct RankingBuilder::State {
  // Constant:
  std::vector<std::string> pool_names;
  std::vector<std::string> locale_names;
  std::uint64_t content_id;
  RankingLimits limits;

  // What set() wants, and what the data plane has; cell = pool * locale count + locale.
  ContentStore store;
  CellEncoder encoder;
  std::vector<Id> current;    // one use of each
  std::vector<Id> committed;  // one use of each
  std::vector<Ref> committed_refs;
  std::vector<std::uint32_t> dirty_cells_of_pool;
  std::vector<std::uint32_t> dirty_pools;  // each pool with dirty cells once, and some without
  std::vector<bool> is_listed;             // in dirty_pools
  std::uint64_t dirty_cells = 0;

  Version committed_version;
  std::vector<Segment> segments;           // the base first
  std::vector<std::uint8_t> row_segments;  // by pool: where its row lies
  std::uint64_t build = 0;                 // number of the last build
  std::optional<Pending> pending;

  [[nodiscard]] std::uint32_t locale_count() const {
    return static_cast<std::uint32_t>(locale_names.size());
  }
  [[nodiscard]] std::uint32_t pool_count() const {
    return static_cast<std::uint32_t>(pool_names.size());
  }
  [[nodiscard]] std::uint64_t cell_of(std::uint32_t pool, std::uint32_t locale) const {
    return std::uint64_t{pool} * locale_count() + locale;
  }
  [[nodiscard]] std::span<const Id> row_of(std::uint32_t pool) const {
    return std::span(current).subspan(cell_of(pool, 0), locale_count());
  }
  [[nodiscard]] bool is_dirty(std::uint64_t cell) const { return current[cell] != committed[cell]; }

  template <typename Content>
  [[nodiscard]] Status set(std::uint32_t pool, std::span<const std::uint16_t> locales,
                           const Content& content);
  void note(std::uint32_t pool, std::uint32_t dirtied, std::uint32_t cleaned);
  void note_all();

  [[nodiscard]] Status may_build(Version version) const;
  [[nodiscard]] std::vector<std::uint32_t> take_dirty_pools();
  [[nodiscard]] std::vector<ranking::RowEntry> write_all(RecordsWriter& records, Pending& next);
  [[nodiscard]] Ref write_changed_row(RecordsWriter& records, std::uint32_t pool, Pending& next);
  [[nodiscard]] unsigned segments_most() const;
  [[nodiscard]] unsigned choose_segment(std::size_t row_count) const;
  [[nodiscard]] unsigned merged_segment() const;
  [[nodiscard]] Result<ImageDraft> draft_delta(Version version, bool merge);
  void add_pools_from(unsigned segment, std::vector<std::uint32_t>& pools) const;
  [[nodiscard]] std::uint64_t delta_bytes_below(unsigned segment) const;
  void commit_base(Pending& next);
  void commit_delta(Pending& next);
  [[nodiscard]] ImageDraft keep(Pending&& next);
  void drop(Pending& next);
};

// Keeps the dirty counts true when so many cells of `pool` have become dirty, and clean.
void RankingBuilder::State::note(std::uint32_t pool, std::uint32_t dirtied, std::uint32_t cleaned) {
  dirty_cells += dirtied;
  dirty_cells -= cleaned;
  dirty_cells_of_pool[pool] += dirtied;
  dirty_cells_of_pool[pool] -= cleaned;
  if (dirtied == 0) return;
  if (!is_listed[pool]) dirty_pools.push_back(pool);
  is_listed[pool] = true;
}

// Cells that are answered alike are encoded once.
template <typename Content>
Status RankingBuilder::State::set(std::uint32_t pool, std::span<const std::uint16_t> locales,
                                  const Content& content) {
  const auto unknown = [&](std::uint16_t locale) { return locale >= locale_count(); };
  if (pool >= pool_count() || locales.empty() || std::ranges::any_of(locales, unknown)) {
    return fail(ErrorCode::not_found,
                "there is no pool " + std::to_string(pool) + " or no locale " +
                    std::to_string(locales.empty() ? 0 : std::ranges::max(locales)));
  }
  const auto id = encoder.encode(store, content);
  if (!id) {
    return std::unexpected(
        Error(id.error())
            .in("pool " + pool_names[pool] + ", locale " + locale_names[locales.front()]));
  }
  store.retain(*id, locales.size() - 1);
  std::uint32_t dirtied = 0, cleaned = 0;
  for (const auto locale : locales) {
    const std::uint64_t cell = cell_of(pool, locale);
    const Id former = std::exchange(current[cell], *id);
    const bool was_dirty = former != committed[cell], now_dirty = *id != committed[cell];
    dirtied += static_cast<std::uint32_t>(!was_dirty && now_dirty);
    cleaned += static_cast<std::uint32_t>(was_dirty && !now_dirty);
    store.release(former);
  }
  note(pool, dirtied, cleaned);
  return {};
}

// Counts all dirty cells anew.
void RankingBuilder::State::note_all() {
  dirty_cells = 0;
  dirty_pools.clear();
  std::ranges::fill(dirty_cells_of_pool, 0);
  is_listed.assign(is_listed.size(), false);
  for (std::uint32_t pool = 0; pool < pool_count(); ++pool) {
    std::uint32_t dirtied = 0;
    for (std::uint32_t locale = 0; locale < locale_count(); ++locale)
      dirtied += static_cast<std::uint32_t>(is_dirty(cell_of(pool, locale)));
    note(pool, dirtied, 0);
  }
}

Status RankingBuilder::State::may_build(Version version) const {
  if (pending) {
    return fail(ErrorCode::conflict,
                "the build before this one is neither committed nor rolled back");
  }
  if (version <= committed_version) {
    return fail(ErrorCode::conflict,
                "version " + std::to_string(version.epoch) + "." +
                    std::to_string(version.generation) + " is not newer than " +
                    std::to_string(committed_version.epoch) + "." +
                    std::to_string(committed_version.generation) + ", which is committed");
  }
  return {};
}

// The rows of all pools, equal ones once.
std::vector<ranking::RowEntry> RankingBuilder::State::write_all(RecordsWriter& records,
                                                                Pending& next) {
  std::vector<ranking::RowEntry> rows;
  rows.reserve(pool_count());
  std::unordered_multimap<std::uint64_t, std::uint32_t> pools_by_row;
  for (std::uint32_t pool = 0; pool < pool_count() && !records.is_full(); ++pool) {
    const auto ids = row_of(pool);
    const std::uint64_t hash = XXH3_64bits(ids.data(), ids.size_bytes());
    const auto [first, last] = pools_by_row.equal_range(hash);
    const auto same = std::find_if(first, last, [&](const auto& entry) {
      return std::ranges::equal(row_of(entry.second), ids);
    });
    if (same != last) {
      rows.push_back({pool, rows[same->second].row});
      for (std::uint32_t locale = 0; locale < locale_count(); ++locale) {
        next.refs.push_back(next.refs[cell_of(same->second, locale)]);
      }
      continue;
    }
    pools_by_row.emplace(hash, pool);
    const Ref row = records.reserve_row(locale_count());
    for (std::uint32_t locale = 0; locale < locale_count(); ++locale) {
      next.refs.push_back(records.ref_of(ids[locale]));
      records.set_cell(row, locale, next.refs.back());
    }
    rows.push_back({pool, row});
  }
  return rows;
}

// The row of one pool in a delta: cells that the data plane has in a segment below keep the very ref that it has.
Ref RankingBuilder::State::write_changed_row(RecordsWriter& records, std::uint32_t pool,
                                             Pending& next) {
  const Ref row = records.reserve_row(locale_count());
  for (std::uint32_t locale = 0; locale < locale_count(); ++locale) {
    const std::uint64_t cell = cell_of(pool, locale);
    Ref ref = committed_refs[cell];
    if (is_dirty(cell) || ranking::segment_of(ref) >= next.segment) {
      ref = records.ref_of(current[cell]);
      store.retain(current[cell]);
      next.cells.push_back(cell);
      next.ids.push_back(current[cell]);
      next.refs.push_back(ref);
    }
    records.set_cell(row, locale, ref);
  }
  return row;
}

// Where a delta of so many rows should stand: it takes in the newest deltas as long as they hold no more rows than
// it does by then. So each segment holds more rows than all above it together, there are about log2(pools) of them at
// the most, and each row is written that often again, whatever the number of deltas (the logarithmic method of
// Bentley and Saxe 1980). Large ones wait for a quiet moment (merged_segment), as long as there is a free place.
unsigned RankingBuilder::State::choose_segment(std::size_t row_count) const {
  const auto most = segments_most();
  const std::size_t rows_max = segments.size() >= most ? ~std::size_t{0} : limits.merged_rows_max;
  auto segment = static_cast<unsigned>(segments.size());
  std::size_t taken = 0;
  while (segment > 1) {
    const std::size_t rows = segments[segment - 1].row_count;
    if (segment < most && (rows > row_count + taken || taken + rows > rows_max)) break;
    --segment;
    taken += rows;
  }
  return segment;
}

// The base among them.
unsigned RankingBuilder::State::segments_most() const {
  return std::min(limits.delta_segments_max + 1, ranking::segments_max);
}

// The lowest delta that holds no more rows than all above it together; behind the last one where each holds more.
unsigned RankingBuilder::State::merged_segment() const {
  auto segment = static_cast<unsigned>(segments.size());
  std::size_t above = 0;
  for (auto i = segment; i-- > 1;) {
    if (i + 1 < segments.size() && segments[i].row_count <= above) segment = i;
    above += segments[i].row_count;
  }
  return segment;
}

// The pools whose rows lie in this segment or above, beside those that are there; in order, each once.
void RankingBuilder::State::add_pools_from(unsigned segment,
                                           std::vector<std::uint32_t>& pools) const {
  const auto count = pools.size();
  for (auto i = segment; i < segments.size(); ++i) {
    std::ranges::copy_if(segments[i].pools, std::back_inserter(pools),
                         [&](std::uint32_t pool) { return row_segments[pool] == i; });
  }
  if (pools.size() == count) return;
  std::ranges::sort(pools);
  const auto repeated = std::ranges::unique(pools);
  pools.erase(repeated.begin(), repeated.end());
}

std::uint64_t RankingBuilder::State::delta_bytes_below(unsigned segment) const {
  std::uint64_t bytes = 0;
  for (unsigned i = 1; i < segment; ++i) bytes += segments[i].image_bytes;
  return bytes;
}

// The pools with dirty cells, in order; tidies the list.
std::vector<std::uint32_t> RankingBuilder::State::take_dirty_pools() {
  std::erase_if(dirty_pools, [&](std::uint32_t pool) {
    if (dirty_cells_of_pool[pool] != 0) return false;
    is_listed[pool] = false;
    return true;
  });
  std::ranges::sort(dirty_pools);
  return dirty_pools;
}

// From here on `next` is what is pending, and stays where it is.
ImageDraft RankingBuilder::State::keep(Pending&& next) {
  using ranking::Section;
  if (next.is_base) next.names = names_section(pool_names);
  const Pending& kept = pending.emplace(std::move(next));
  ImageDraft draft(kept.is_base ? ImageKind::ranking_base : ImageKind::ranking_delta, kept.version,
                   content_id);
  const auto add = [&](Section id, auto elements) {
    draft.add({static_cast<std::uint32_t>(id), sizeof(elements[0]), std::as_bytes(elements)});
  };
  add(Section::summary, std::span(&kept.summary, 1));
  add(Section::rows, std::span(kept.rows));
  add(Section::records, std::span(kept.records));
  add(Section::names, std::span(kept.names));
  pending->image_bytes = draft.size_bytes();
  return draft;
}

void RankingBuilder::State::drop(Pending& next) {
  for (const Id id : next.ids) store.release(id);
}

RankingBuilder::RankingBuilder(std::vector<std::string> pool_names,
                               std::vector<std::string> locale_names, std::uint64_t pools_id,
                               std::uint64_t locales_id, RankingLimits limits) {
  REQUIRE(pool_names.size() <= ranking::pools_max);
  REQUIRE(!locale_names.empty() && locale_names.size() <= locale_map::locales_max);
  state_ = std::make_unique<State>();
  State& s = *state_;
  const std::size_t cells = pool_names.size() * locale_names.size();
  s.current.resize(cells);
  s.committed.resize(cells);
  s.committed_refs.resize(cells);
  s.dirty_cells_of_pool.resize(pool_names.size());
  s.is_listed.resize(pool_names.size());
  s.row_segments.resize(pool_names.size());
  s.pool_names = std::move(pool_names);
  s.locale_names = std::move(locale_names);
  s.content_id = ranking::content_id_for(pools_id, locales_id);
  s.limits = limits;
}
RankingBuilder::~RankingBuilder() = default;
RankingBuilder::RankingBuilder(RankingBuilder&&) noexcept = default;
RankingBuilder& RankingBuilder::operator=(RankingBuilder&&) noexcept = default;

Status RankingBuilder::set(std::uint32_t pool, std::uint16_t locale, const CellContent& content) {
  return state_->set(pool, {&locale, 1}, content);
}

Status RankingBuilder::set(std::uint32_t pool, std::span<const std::uint16_t> locales,
                           const CellAnswers& answers) {
  return state_->set(pool, locales, answers);
}

Result<ImageBuffer> RankingBuilder::build_base(Version version) {
  const auto draft = draft_base(version);
  if (!draft) return std::unexpected(draft.error());
  return draft->buffer();
}

Result<ImageBuffer> RankingBuilder::build_delta(Version version) {
  const auto draft = draft_delta(version);
  if (!draft) return std::unexpected(draft.error());
  return draft->buffer();
}

Result<ImageDraft> RankingBuilder::draft_base(Version version) {
  State& s = *state_;
  if (auto status = s.may_build(version); !status) return std::unexpected(status.error());
  RecordsWriter records(s.store, 0, ++s.build, RecordsWriter::bytes_max);
  records.reserve(s.store.content_bytes() +
                  std::uint64_t{s.pool_count()} * s.locale_count() * sizeof(Ref));
  Pending next;
  next.is_base = true;
  next.version = version;
  next.ids = s.current;
  next.refs.reserve(s.current.size());
  next.rows = s.write_all(records, next);
  if (records.is_full()) {
    return fail(ErrorCode::exhausted, "the answers take more than 1 GiB", "ranking base",
                "have fewer locales, services, slots or addresses in an answer");
  }
  next.summary = {s.pool_count(), s.locale_count(), 0, 0, version, version};
  next.records = std::move(records).take_bytes();
  for (const Id id : next.ids) s.store.retain(id);
  return s.keep(std::move(next));
}

Result<ImageDraft> RankingBuilder::draft_delta(Version version) {
  return state_->draft_delta(version, false);
}

bool RankingBuilder::untidy() const noexcept {
  const State& s = *state_;
  return s.segments.size() * 2 > s.segments_most() && s.merged_segment() < s.segments.size();
}

Result<ImageDraft> RankingBuilder::draft_merged(Version version) {
  return state_->draft_delta(version, true);
}

Result<ImageDraft> RankingBuilder::State::draft_delta(Version version, bool merge) {
  if (auto status = may_build(version); !status) return std::unexpected(status.error());
  if (segments.empty() || limits.delta_segments_max == 0) {
    return fail(ErrorCode::exhausted,
                segments.empty() ? "there is no base to follow" : "deltas are switched off",
                "ranking delta", "build a base");
  }
  Pending next;
  next.version = version;
  next.pools = take_dirty_pools();
  next.segment = choose_segment(next.pools.size());
  if (merge) next.segment = std::min(next.segment, merged_segment());
  add_pools_from(next.segment, next.pools);
  const auto share = static_cast<std::uint64_t>(limits.delta_share_max *
                                                static_cast<double>(segments[0].image_bytes));
  const std::uint64_t allowed = std::max(share, limits.delta_bytes_free);
  const std::uint64_t left = allowed - std::min(allowed, delta_bytes_below(next.segment));

  RecordsWriter records(store, next.segment, ++build, left);
  records.reserve(next.pools.size() * (locale_count() * sizeof(Ref) + delta_answer_bytes_expected));
  next.rows.reserve(next.pools.size());
  for (const std::uint32_t pool : next.pools) {
    next.rows.push_back({pool, write_changed_row(records, pool, next)});
    if (records.is_full()) break;
  }
  if (records.is_full()) {
    drop(next);
    return fail(ErrorCode::exhausted,
                "the deltas outgrow their share of " + std::to_string(allowed) + " bytes",
                "ranking delta", "build a base");
  }
  next.summary = {pool_count(),        locale_count(),
                  next.segment,        0,
                  segments[0].version, segments[next.segment - 1].version};
  next.records = std::move(records).take_bytes();
  return keep(std::move(next));
}

void RankingBuilder::State::commit_base(Pending& next) {
  committed.swap(next.ids);
  committed_refs.swap(next.refs);
  drop(next);
  segments.clear();
  segments.push_back({next.version, next.image_bytes, {}, pool_count()});
  row_segments.assign(row_segments.size(), 0);
  note_all();
}

void RankingBuilder::State::commit_delta(Pending& next) {
  for (std::size_t i = 0; i < next.cells.size(); ++i) {
    const std::uint64_t cell = next.cells[i];
    const bool was_dirty = is_dirty(cell);
    store.release(std::exchange(committed[cell], next.ids[i]));
    committed_refs[cell] = next.refs[i];
    const bool now_dirty = is_dirty(cell);
    note(static_cast<std::uint32_t>(cell / locale_count()),
         static_cast<std::uint32_t>(!was_dirty && now_dirty),
         static_cast<std::uint32_t>(was_dirty && !now_dirty));
  }
  for (const auto pool : next.pools) {
    --segments[row_segments[pool]].row_count;
    row_segments[pool] = static_cast<std::uint8_t>(next.segment);
  }
  segments.resize(next.segment);
  const auto rows = static_cast<std::uint32_t>(next.pools.size());
  segments.push_back({next.version, next.image_bytes, std::move(next.pools), rows});
}

void RankingBuilder::commit() {
  State& s = *state_;
  REQUIRE(s.pending.has_value());
  Pending next = std::move(*s.pending);
  s.pending.reset();
  s.committed_version = next.version;
  next.is_base ? s.commit_base(next) : s.commit_delta(next);
}

void RankingBuilder::rollback() {
  State& s = *state_;
  REQUIRE(s.pending.has_value());
  s.drop(*s.pending);
  s.pending.reset();
}

bool RankingBuilder::dirty() const noexcept {
  return state_->segments.empty() || state_->dirty_cells != 0;
}
std::uint64_t RankingBuilder::dirty_cell_count() const noexcept {
  return state_->dirty_cells;
}
std::uint32_t RankingBuilder::pool_count() const noexcept {
  return state_->pool_count();
}
std::uint32_t RankingBuilder::locale_count() const noexcept {
  return state_->locale_count();
}
Version RankingBuilder::committed_version() const noexcept {
  return state_->committed_version;
}
unsigned RankingBuilder::segment_count() const noexcept {
  return static_cast<unsigned>(state_->segments.size());
}

}  // namespace pharos::controlplane
