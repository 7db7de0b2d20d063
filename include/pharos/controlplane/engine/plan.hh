// What other tables would change, before they do: load of each site, clients that move, and how long answers given now
// live on.
//
// What an answer carries is what the data plane's counters say of its (pool, locale), in requests behind it
// (controlplane/assign/README.md). Where they have counted nothing yet, each answer of a site is taken to carry an equal
// part of the requests that the site reports; a name that clients reach over A and AAAA counts twice then, before and after
// alike. Pure; the caller's thread.
#pragma once

#include "pharos/controlplane/engine/engine.hh"
#include "pharos/controlplane/pieces.hh"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace pharos::controlplane {

struct SitePlan {
  std::string id;
  double share_before = 0, share_after = 0;  // of the answers, by what they carry
  std::optional<double> load_before_rps;     // as reported, else by demand; empty: neither is known
  double load_after_rps = 0;
  std::optional<double> capacity_rps;
  bool overloaded = false;  // above its capacity, and fuller than before
};

enum class LoadSource { none, sites, demand };

struct Plan {
  std::vector<SitePlan>
      sites;  // of both, in the order of the new configuration, those that leave behind them
  double moved_share = 0;  // of the clients, by what they carry
  std::map<std::string, double> moved_by_service;
  std::uint32_t ttl_exposure_s = 0;  // longest TTL of an answer that would change
  std::string exposed_pool;
  LoadSource load_source = LoadSource::none;
};

// The engine as it would be with another world, demand assigned to it: without a trace in `engine`.
[[nodiscard]] Engine planned(const Engine& engine, std::shared_ptr<const World> world, Instant now);
// `after` has ranked everything.
[[nodiscard]] Plan plan_of(const Engine& before, const Engine& after);
// Where it is more than a site bears, in words; empty: nowhere.
[[nodiscard]] std::vector<std::string> overloads_of(const Plan& plan);

// Share of the answers that each site is first in, each cell alike. Of a large world pools at even distances are looked at,
// about `share_cells_max` cells.
inline constexpr std::size_t share_cells_max = 4096;
class AnswerShares {
 public:
  explicit AnswerShares(const World& world);
  // Looks at the next cells until time is up; true: at all of them. The same world in each piece.
  [[nodiscard]] bool go_on(const Engine& engine, const Over& over);
  [[nodiscard]] std::map<std::string, double> by_site(const World& world) const;

 private:
  void look_at(const Engine& engine, std::uint32_t pool, std::uint16_t locale);

  std::uint32_t stride_ = 1, next_pool_ = 0;
  std::uint16_t next_locale_ = 0;
  std::vector<double> leads_;  // by site
};

}  // namespace pharos::controlplane
