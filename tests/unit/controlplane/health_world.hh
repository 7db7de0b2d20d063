// A health board in simulated time: sites that beacon at their times, with jitter and loss. Tests only.
#pragma once

#include "pharos/controlplane/health/health_board.hh"

#include <algorithm>
#include <random>
#include <vector>

namespace pharos::controlplane::health_world {

inline constexpr Duration interval = milliseconds(200);
inline constexpr Instant start{1'000'000'000'000};

// Runs a board from event to event: beacons at their times, ticks exactly at the board's own
// deadlines.
class World {
 public:
  explicit World(unsigned sites, config::HealthConfig config = {}) : board(config) {
    for (unsigned s = 0; s < sites; ++s) board.add_site(true, interval, false, start);
    next_beacon.assign(sites, never);
    for (unsigned s = 0; s < sites; ++s) next_beacon[s] = start + milliseconds(10 + 17 * s);
  }

  void run_until(Instant end) {
    for (;;) {
      const auto due = std::ranges::min_element(next_beacon);
      const Instant next = std::min(*due, board.next_deadline());
      if (next > end) break;
      now = next;
      std::vector<std::uint32_t> changed;
      if (*due <= board.next_deadline()) {
        const auto site = static_cast<std::uint32_t>(due - next_beacon.begin());
        if (chance(generator) >= loss) board.heard(site, report, now, changed);
        const auto wait =
            std::uniform_int_distribution<std::int64_t>(-jitter.ns, jitter.ns)(generator);
        *due = *due + interval + Duration{wait};
      } else {
        board.tick(now, changed);
        for (const auto site : changed) {
          if (board.site(site).state == SiteState::down) ++falls;
        }
      }
    }
    now = end;
  }
  void run_for(Duration time) { run_until(now + time); }
  void kill(std::uint32_t site) { next_beacon[site] = never; }
  void revive(std::uint32_t site) { next_beacon[site] = now + milliseconds(1); }
  [[nodiscard]] SiteState state(std::uint32_t site) const { return board.site(site).state; }

  HealthBoard board;
  SiteReport report{.metrics = {}, .interval_ms = 200, .leaving = false, .endpoints = {}};
  std::vector<Instant> next_beacon;
  Instant now = start;
  Duration jitter{};
  double loss = 0;
  unsigned falls = 0;
  std::mt19937_64 generator{42};
  std::uniform_real_distribution<double> chance{0, 1};
};

}  // namespace pharos::controlplane::health_world
