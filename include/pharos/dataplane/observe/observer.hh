// Observer: one serving thread's copies of queries and responses for dnstap.
//
//   before()  in front of serve_burst: draws the samples of the burst, copies their requests
//   after()   behind it: copies the replies to them
//
// Copies go to the thread's own ring with the client's address masked (client_mask.hh): no address leaves the packet path
// otherwise. No allocation, lock or system call; a full ring costs the message, counted as dnstap_dropped.
#pragma once

#include "pharos/dataplane/core/counters.hh"
#include "pharos/dataplane/observe/sampler.hh"
#include "pharos/dataplane/observe/watch.hh"

#include <array>
#include <cstdint>
#include <span>

namespace pharos::dataplane {

class Observer {
 public:
  explicit Observer(unsigned seat) noexcept : seat_(seat), sampler_(seat + 1) {}

  void before(const Watch& watch, std::span<const Query> queries, CoreCounters& counters) noexcept;
  // The same watch and queries, served.
  void after(const Watch& watch, std::span<const Query> queries, CoreCounters& counters) noexcept;

 private:
  void copy(const DnstapWatch& watch, const Query& query, CopyHead head, std::uint32_t bytes,
            CoreCounters& counters) noexcept;

  unsigned seat_;
  Sampler sampler_;
  unsigned sampled_count_ = 0;  // of this burst
  std::array<std::uint8_t, burst_queries_max> sampled_;
  std::int64_t query_ns_ = 0;
};

}  // namespace pharos::dataplane
