// NameSampler: one serving thread's samples of the names that are asked for, for the hottest of them.
//
// So many a second, and no more: each second's samples stand for the queries of that second, one of `every`, where `every`
// follows the rate of the second before, and doubles within one that has had its samples: a flood behind a quiet second, or
// behind the start, is not sampled whole. A sample's weight is its `every`, so that weights add up to the number of queries. No
// client is in it. Cost where nothing is sampled: a few instructions a burst. No allocation, lock or system call.
#pragma once

#include "pharos/dataplane/dns/serve.hh"
#include "pharos/dataplane/observe/record_ring.hh"
#include "pharos/dataplane/observe/sampler.hh"

#include <algorithm>
#include <cstdint>
#include <span>

namespace pharos::dataplane {

// In front of the name, in wire form and as it was asked, in a record.
struct NameSampleHead {
  std::uint32_t weight = 1;  // queries that it stands for
  std::uint8_t rcode = 0;    // of the reply's header
  bool answered = false;     // false: dropped
  std::uint16_t reserved = 0;
};
static_assert(sizeof(NameSampleHead) == 8);

class NameSampler {
 public:
  // `ring` outlives it; nullptr: nothing is sampled.
  NameSampler(unsigned seat, unsigned samples_per_second, RecordRing* ring) noexcept
      : sampler_(seat + 0x100), per_second_(std::max(samples_per_second, 1U)), ring_(ring) {}

  // The queries of a burst, served, in this second of any clock.
  void note(std::span<const Query> queries, std::uint32_t second) noexcept {
    if (ring_ == nullptr) return;
    if (second != second_) [[unlikely]]
      follow(second);
    passed_ += queries.size();
    if (passed_ > std::uint64_t{every_} * per_second_) [[unlikely]]
      every_ *= 2;
    sampler_.pass(static_cast<unsigned>(queries.size()), every_,
                  [&](unsigned index) { take(queries[index]); });
  }

 private:
  void follow(std::uint32_t second) noexcept;
  void take(const Query& query) noexcept;

  Sampler sampler_;
  unsigned per_second_;
  unsigned every_ = 1;
  RecordRing* ring_;
  std::uint32_t second_ = 0;
  std::uint64_t passed_ = 0;  // queries of this second
};

}  // namespace pharos::dataplane
