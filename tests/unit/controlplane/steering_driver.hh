// An engine in simulated time, with beacons and demand: what the tests of steering drive. Tests only.
#pragma once

#include "pharos/config/wall_time.hh"
#include "pharos/controlplane/engine/engine.hh"
#include "pharos/wire/beacon.hh"

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "small_world.hh"

namespace pharos::controlplane {

inline const WallTime wall_start = *config::parse_wall_time("2026-11-20T12:00:00Z");

// An engine with beacons of three sites, queries of three locales, and its own deadlines.
class Driver {
 public:
  explicit Driver(const config::Config& config, Decisions decisions = {})
      : world_(
            *make_world(std::make_shared<const config::Config>(config), {"default", "eu", "us"})),
        engine(world_, std::move(decisions), {}, start) {
    for (std::uint32_t s = 0; s < 3; ++s) next_beacon[s] = start + milliseconds(20 + 60 * s);
    report.fill({.metrics = {}, .interval_ms = 200, .leaving = false, .endpoints = {}});
    step();
  }

  void step() {
    engine.set_clock({now, {wall_start.ns + (now - start).ns}});
    if (now >= engine.assign_deadline()) engine.assign_in_place(now);
    const auto round = engine.step(now);
    for (const auto& change : round.changes) changes += round.locales_of(change).size();
  }

  void run_for(Duration time) {
    const Instant end = now + time;
    for (;;) {
      const auto due = std::ranges::min_element(next_beacon);
      const Instant next = std::max(
          now, std::min({*due, engine.next_deadline(), engine.assign_deadline(), next_query}));
      if (next > end) break;
      now = next;
      if (now >= next_query) {
        for (const auto& [cell, rate] : queries) engine.heard_demand(cell.first, cell.second, rate);
        next_query = next_query + seconds(1);
      }
      if (*due <= now) {
        const auto site = static_cast<std::uint32_t>(due - next_beacon.begin());
        engine.heard(site, report[site], 1, ++sequence, now);
        *due = *due + milliseconds(200);
      }
      step();
    }
    now = end;
  }

  // Of the clients of a locale, the share whose answers begin with each site's endpoint.
  [[nodiscard]] std::array<double, 3> leads(std::uint32_t pool, std::uint16_t locale) const {
    const auto shares = engine.lead_shares(pool, locale);
    std::array<double, 3> result{};
    std::ranges::copy(shares, result.begin());
    return result;
  }
  // Requests per second that the answers send to each site.
  [[nodiscard]] std::array<double, 3> loads(std::uint32_t pool) const {
    std::array<double, 3> result{};
    for (const auto& [cell, rate] : queries) {
      if (cell.first != pool) continue;
      const auto shares = leads(pool, cell.second);
      for (std::size_t s = 0; s < 3; ++s) result[s] += shares[s] * rate;
    }
    return result;
  }
  [[nodiscard]] std::uint32_t ttl(std::uint32_t pool) const { return engine.view_pool(pool).ttl_s; }
  // A site falls silent for long enough, and is back for so long.
  void fall_and_return(std::uint32_t site, Duration back) {
    kill(site);
    run_for(seconds(2));
    revive(site);
    run_for(back);
  }
  void kill(std::uint32_t site) { next_beacon[site] = never; }
  void revive(std::uint32_t site) { next_beacon[site] = now + milliseconds(1); }

 private:
  std::shared_ptr<const World> world_;

 public:
  Engine engine;
  std::array<Instant, 3> next_beacon{};
  std::array<SiteReport, 3> report;
  std::map<std::pair<std::uint32_t, std::uint16_t>, std::uint32_t> queries;  // per second
  Instant next_query = start + milliseconds(500);
  Instant now = start;
  std::uint64_t sequence = 0;
  std::size_t changes = 0;
};

inline config::Config limited_config(double fra_rps, double nyc_rps, double sin_rps) {
  auto config = small_config();
  config.sites[fra].capacity_rps = fra_rps;
  config.sites[nyc].capacity_rps = nyc_rps;
  config.sites[sin].capacity_rps = sin_rps;
  return config;
}

}  // namespace pharos::controlplane
