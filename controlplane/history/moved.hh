// Why a decision differs from the one before it, in words. Private to this folder; pure.
#pragma once

#include <nlohmann/json.hpp>

#include <cstdint>
#include <string>
#include <string_view>

namespace pharos::controlplane {

// What moved in the first round after the start, or of a pool that is new.
inline constexpr std::string_view first_ranking = "first ranking";

// A pool as a round found it: who answers for it (empty: it is the first round since the start), and the facts of those (no
// array: they were not kept).
struct PoolThen {
  std::string answered_by;
  bool panic = false;
  nlohmann::json members;
};
// What a cell was told, and the facts of who answered it then.
struct CellThen {
  std::int64_t ttl_s = 0;
  nlohmann::json content, members;
};

// What of the pool is another now: states, factors and weights of members, who answers for it. Empty: nothing worth a word.
[[nodiscard]] std::string facts_moved(const PoolThen& former, const PoolThen& now);
// What became of it: whose clients went where; where nobody's did, the order behind them, or the TTL. Empty where the
// facts of either time were not kept.
[[nodiscard]] std::string clients_moved(const CellThen& before, const CellThen& after);

}  // namespace pharos::controlplane
