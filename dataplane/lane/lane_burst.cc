#include "pharos/dataplane/lane/lane_burst.hh"

#include "pharos/base/assert.hh"
#include "pharos/base/clock.hh"
#include "pharos/dataplane/dns/demand.hh"

#include <cstring>

namespace pharos::dataplane {

namespace {

constexpr std::size_t slot_bytes =
    round_up<std::size_t>(dns::message_bytes_max + query_slack_bytes, 64);

}  // namespace

LaneBurst::LaneBurst(const RcuPointer<const TableRoot>& root, const RcuPointer<ServeState>& state,
                     const std::atomic<std::uint32_t>& wall_s, CoreCounters& counters)
    : root_(root),
      state_(state),
      wall_s_(wall_s),
      counters_(counters),
      slots_(std::make_unique_for_overwrite<std::byte[]>(slot_bytes * burst_queries_max)) {}

std::byte* LaneBurst::message(unsigned index) const noexcept {
  return slots_.get() + index * slot_bytes;
}

void LaneBurst::add_in_place(unsigned request_bytes, const IpAddress& source,
                             std::uint16_t source_port, Transport transport,
                             unsigned capacity) noexcept {
  ASSERT(!full() && request_bytes <= dns::message_bytes_max && capacity <= dns::message_bytes_max);
  Query& query = queries_[count_];
  query = Query{};
  query.message = message(count_++);
  query.length = static_cast<std::uint16_t>(request_bytes);
  query.capacity = static_cast<std::uint16_t>(capacity);
  query.transport = transport;
  query.source = source;
  query.source_port = source_port;
  counters_.count(source.is_ipv4() ? Counter::queries_ipv4 : Counter::queries_ipv6);
}

void LaneBurst::add(ConstBytes request, const IpAddress& source, std::uint16_t source_port,
                    Transport transport, unsigned capacity) noexcept {
  std::memcpy(message(count_), request.data(), request.size());
  add_in_place(static_cast<unsigned>(request.size()), source, source_port, transport, capacity);
}

void LaneBurst::serve() noexcept {
  if (count_ == 0) return;
  const TableRoot* root = root_.load();
  if (root == nullptr) {
    for (auto& query : queries()) query.verdict = Verdict::drop_no_tables;
    counters_.count(Verdict::drop_no_tables, count_);
    return;
  }
  ServeState& state = *state_.load();
  // relaxed: a second late is as good
  state.set_time(wall_s_.load(std::memory_order_relaxed), monotonic_now());
  const Watch* watch = watch_ == nullptr ? nullptr : watch_->load();
  if (watch != nullptr) observer_.before(*watch, queries(), counters_);
  serve_burst(state, *root, queries(), counters_);
  if (watch != nullptr) observer_.after(*watch, queries(), counters_);
  names_.note(queries(), wall_s_.load(std::memory_order_relaxed));  // relaxed: as above
  if (ring_) forward_to_control_plane(state, *ring_);
}

void LaneBurst::forward() noexcept {
  if (!ring_) return;
  ServeState& state = *state_.load();
  // relaxed: as in serve()
  state.set_time(wall_s_.load(std::memory_order_relaxed), monotonic_now());
  forward_to_control_plane(state, *ring_);
}

bool LaneBurst::has_demand() const noexcept {
  return ring_ && state_.load()->impl().demand.count != 0;
}

}  // namespace pharos::dataplane
