// What other tables would change, before they do: load of each site, clients that move, and how long answers given now
// live on.
//
// Demand is what the sites report: each answer of a site is taken to carry an equal part of its measured requests, and
// takes it along to where it would go. Pure; the caller's thread. A name that clients reach over A and AAAA counts twice,
// before and after alike.
#pragma once

#include "pharos/controlplane/engine/engine.hh"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace pharos::controlplane {

struct SitePlan {
  std::string id;
  double share_before = 0, share_after = 0;  // of the answers, by what they carry
  std::optional<double> load_before_rps;     // measured; empty: nobody reports it
  double load_after_rps = 0;
  std::optional<double> capacity_rps;
  bool overloaded = false;  // above its capacity, and fuller than before
};

struct Plan {
  std::vector<SitePlan>
      sites;  // of both, in the order of the new configuration, those that leave behind them
  double moved_share = 0;  // of the clients, by what they carry
  std::map<std::string, double> moved_by_service;
  std::uint32_t ttl_exposure_s = 0;  // longest TTL of an answer that would change
  std::string exposed_pool;
  bool load_known = false;
};

// `after` has ranked everything.
[[nodiscard]] Plan plan_of(const Engine& before, const Engine& after);
// Where it is more than a site bears, in words; empty: nowhere.
[[nodiscard]] std::vector<std::string> overloads_of(const Plan& plan);

// Share of the answers that each site is first in. Of a large world about `share_cells_max` cells are looked at: the
// engine thread may call it.
inline constexpr std::size_t share_cells_max = 4096;
[[nodiscard]] std::map<std::string, double> answer_shares(const Engine& engine);

}  // namespace pharos::controlplane
