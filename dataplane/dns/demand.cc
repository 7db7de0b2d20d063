#include "pharos/dataplane/dns/demand.hh"

#include <algorithm>
#include <limits>
#include <span>

namespace pharos::dataplane {

namespace {

// 7680 samples a second and thread: shares are right to 1 %, and the ring has room for ten seconds of them.
constexpr unsigned demand_records_per_second = 64;

// Samples of another catalog or locale map mean something else: they are dropped.
[[gnu::cold, gnu::noinline]] void follow(DemandBatch& demand, const TableRoot& root) noexcept {
  const auto pools_id = root.catalog.header().content_id;
  const auto locales_id = root.locales.header().content_id;
  const auto catalog_id = root.catalog.header().checksum;
  if (demand.head.pools_id != pools_id || demand.head.locales_id != locales_id ||
      demand.head.catalog_id != catalog_id) {
    demand.count = 0;
    demand.pending = 0;
  }
  demand.head.pools_id = pools_id;
  demand.head.locales_id = locales_id;
  demand.head.catalog_id = catalog_id;
  demand.version = root.version;
}

std::uint32_t ref_of(const catalog::View& catalog, const catalog::Node& node) noexcept {
  const auto* begin = reinterpret_cast<const std::byte*>(catalog.node(0));
  return static_cast<std::uint32_t>((reinterpret_cast<const std::byte*>(&node) - begin) /
                                    catalog::ref_unit_bytes);
}

void add(ServeState::Impl& state, const TableRoot& root, const Work& work) noexcept {
  DemandBatch& demand = state.demand;
  if (demand.count == demand.entries.size()) return;
  if (demand.count == 0) demand.second = state.wall_s;
  constexpr std::uint64_t weight_max = std::numeric_limits<std::uint32_t>::max();
  const auto locale = work.cell - root.ranking.row(work.pool);
  demand.entries[demand.count++] = {
      .pool = work.pool,
      .node = ref_of(root.catalog, *work.node),
      .locale = static_cast<std::uint16_t>(locale),
      .reserved = 0,
      .weight = static_cast<std::uint32_t>(std::min(demand.pending, weight_max))};
  demand.pending = 0;
}

// A batch to send: full, or of a second that is over.
[[nodiscard]] bool is_due(const ServeState::Impl& state) noexcept {
  const DemandBatch& demand = state.demand;
  if (demand.count == 0) return false;
  return demand.count == demand.entries.size() || demand.second != state.wall_s;
}

void forward_demand(ServeState::Impl& state, RingProducer& ring) noexcept {
  DemandBatch& demand = state.demand;
  if (demand.sent_second != state.wall_s) {
    demand.sent_second = state.wall_s;
    demand.sent = 0;
  }
  if (demand.sent == demand_records_per_second) return;
  ++demand.sent;
  demand.head.entry_count = demand.count;
  if (ring.is_half_free()) {
    ring.push(RingRecordKind::demand, object_bytes(demand.head),
              std::as_bytes(std::span(demand.entries).first(demand.count)));
  }
  demand.count = 0;
}

}  // namespace

void note_demand(Burst& burst) noexcept {
  DemandBatch& demand = burst.state.demand;
  if (burst.ranked_count == 0 || !demand.on) return;
  if (demand.version != burst.root.version) [[unlikely]]
    follow(demand, burst.root);
  demand.pending += burst.ranked_count;
  // Knuth's MMIX generator; the upper half picks without a division.
  demand.random = demand.random * 6364136223846793005U + 1442695040888963407U;
  const auto picked = (demand.random >> 32) * burst.pool_count >> 32;
  const Work& work = burst.state.work[burst.pool[picked]];
  add(burst.state, burst.root, work);
}

void note_demand(ServeState::Impl& state, const TableRoot& root, const Work& work) noexcept {
  if (!state.demand.on) return;
  if (state.demand.version != root.version) follow(state.demand, root);
  ++state.demand.pending;
  add(state, root, work);
}

void forward_to_control_plane(ServeState& state, RingProducer& ring) noexcept {
  for (const auto& sample : state.take_samples()) {
    ring.push(RingRecordKind::query_sample, object_bytes(sample.head),
              ConstBytes(sample.name).first(sample.head.name_bytes));
  }
  if (is_due(state.impl())) forward_demand(state.impl(), ring);
}

}  // namespace pharos::dataplane
