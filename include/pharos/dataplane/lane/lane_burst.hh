// LaneBurst: the buffers in which requests from sockets are served, 64 at a time, and the call of serve_burst.
//
//   slot i:  | request, then reply, in place (65535) | slack (80) |
//
// One per lane, made once (4 MiB of address space, touched as far as messages need it), used by UDP and TCP in turn. Loads
// the root of the tables once a burst; the caller says quiescent() at the end of its round. The lane's thread.
#pragma once

#include "pharos/dataplane/core/counters.hh"
#include "pharos/dataplane/core/rcu.hh"
#include "pharos/dataplane/dns/serve.hh"
#include "pharos/dataplane/observe/name_sampler.hh"
#include "pharos/dataplane/observe/observer.hh"
#include "pharos/dataplane/table/root.hh"
#include "pharos/shared/spsc_ring.hh"

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>

namespace pharos::dataplane {

class LaneBurst {
 public:
  // All outlive the burst. `wall_s`: seconds since 1970, for cookies.
  LaneBurst(const RcuPointer<const TableRoot>& root, const RcuPointer<ServeState>& state,
            const std::atomic<std::uint32_t>& wall_s, CoreCounters& counters);

  void begin() noexcept { count_ = 0; }
  [[nodiscard]] bool full() const noexcept { return count_ == burst_queries_max; }

  // Where the message of slot `index` stands; message_bytes_max bytes may be written there before add_in_place().
  [[nodiscard]] std::byte* message(unsigned index) const noexcept;

  // Adds a request that the caller wrote to message(), with the number of queries before it as index.
  // `capacity`: bytes of the largest reply.
  void add_in_place(unsigned request_bytes, const IpAddress& source, std::uint16_t source_port,
                    Transport transport, unsigned capacity) noexcept;
  // The same for a request that stands elsewhere; it is copied.
  void add(ConstBytes request, const IpAddress& source, std::uint16_t source_port,
           Transport transport, unsigned capacity) noexcept;

  // What is copied of the queries, and the lane's seat there. Before the lane starts.
  void set_watch(const RcuPointer<const Watch>& watch, unsigned seat,
                 const NameSampler& names) noexcept {
    watch_ = &watch;
    observer_ = Observer(seat);
    names_ = names;
  }
  // Where demand and logged queries go; none: nowhere. Before the lane starts.
  void set_ring(RingProducer ring) { ring_.emplace(std::move(ring)); }
  // Sends what is due of them. Once a round.
  void forward() noexcept;
  // Whether something waits for its second to be over.
  [[nodiscard]] bool has_demand() const noexcept;

  // Answers all that were added; verdicts and replies stand in queries(), in the order of adding.
  void serve() noexcept;
  [[nodiscard]] std::span<Query> queries() noexcept { return {queries_.data(), count_}; }

  [[nodiscard]] CoreCounters& counters() noexcept { return counters_; }

 private:
  const RcuPointer<const TableRoot>& root_;
  const RcuPointer<ServeState>& state_;
  const std::atomic<std::uint32_t>& wall_s_;
  CoreCounters& counters_;
  const RcuPointer<const Watch>* watch_ = nullptr;  // none: nobody looks
  Observer observer_{0};
  NameSampler names_{0, 0, nullptr};
  std::optional<RingProducer> ring_;
  unsigned count_ = 0;
  std::array<Query, burst_queries_max> queries_;
  std::unique_ptr<std::byte[]> slots_;
};

[[nodiscard]] inline ConstBytes reply_of(const Query& query) noexcept {
  return {query.message, query.reply_bytes};
}

}  // namespace pharos::dataplane
