// How much of the clients of an endpoint that drains has moved, from the query stream. Pure; owned by the engine thread.
//
// When a drain begins, every cell that the endpoint leads is noted with its rate of answers r and its TTL t: about r * t
// resolvers hold an answer with the endpoint. Each of them asks once more when its answer ends, and
// is told another one. So a cell has moved to min(1, answers since / (r * t)), and the whole to the mean of its
// cells by the demand that the endpoint led there. Resolvers that stretch TTLs stay unseen:
// what the endpoint still reports of its requests shows them.
#pragma once

#include "pharos/base/clock.hh"

#include <cstdint>
#include <optional>
#include <vector>

namespace pharos::controlplane {

struct DrainCell {
  std::uint32_t pool = 0;
  std::uint16_t locale = 0;
  std::uint32_t ttl_s = 0;
  double share = 0;  // of the cell's clients that the endpoint led
  double rate = 0;   // answers per second before the drain
  double total = 0;  // answers until its beginning
};

struct Drain {
  Instant began;
  std::vector<DrainCell> cells;
  std::optional<double> requests_rps;  // of the endpoint, as reported before
};

// Answers of a cell until now, as DrainCell::total counts them.
using AnswersUntilNow = double (*)(const void* of, std::uint32_t pool, std::uint16_t locale);

// From 0 to 1. A cell without demand has moved when its TTL is over; without any cell, the drain is done.
[[nodiscard]] double moved_share(const Drain& drain, Instant now, AnswersUntilNow answers,
                                 const void* of);

}  // namespace pharos::controlplane
