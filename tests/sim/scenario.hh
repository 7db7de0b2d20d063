// From a seed to a world and its misfortunes: sites, locales, services, the network, and how often what goes wrong.
#pragma once

#include "pharos/config/model.hh"

#include <cstdint>
#include <string>
#include <vector>

#include "random.hh"

namespace pharos::sim {

// Everything starts here on the simulated monotonic clock, and here on the wall.
inline constexpr Instant start{1'000'000'000'000};
inline constexpr WallTime start_wall{1'700'000'000'000'000'000};

// How often something happens, as mean time between two of its kind; 0: never in this history.
struct Rates {
  Duration site_crash, site_leaves, site_partition, site_flaps, site_lies, site_clock_step,
      region_fails;
  Duration deaf, loss_burst;
  Duration control_crash, control_stall, control_clock_step, control_disk_lost;
  Duration dataplane_crash, corrupt_publish;
  Duration operator_override, operator_weight, operator_exponents, reload, bad_reload;
  Duration surge, attack;
};

struct Network {
  double loss = 0;
  double duplicate = 0;
  double spike = 0;  // share of datagrams held up for up to `spike_max`
  Duration spike_max = milliseconds(500);
  Duration delay_min, delay_max;  // each site has its own, between these
  Duration jitter;                // mean, exponential
};

struct Demand {
  double base_rps = 0;   // mean over a day, of a locale
  double amplitude = 0;  // of the day curve, [0, 1)
  double phase = 0;      // [0, 1) of a day
};
// A simulated day is short, so that a history of a minute sees the curve move.
inline constexpr Duration day = seconds(120);

struct Scenario {
  std::uint64_t seed = 0;
  bool large = false;
  config::Config config;
  Rates rates;
  Network network;
  std::vector<Demand> demands;      // by locale; index 0 is "default"
  unsigned resolvers = 2;           // of each locale
  unsigned send_copies = 1;         // of each beacon
  double stretching = 0;            // share of resolvers that keep answers longer than they may
  Duration disk_delay_max;          // a write is durable within this
  Duration troubled = seconds(30);  // misfortunes end after this ...
  Duration calm = seconds(30);      // ... and by the end of this all must be well
};

[[nodiscard]] Scenario make_scenario(std::uint64_t seed);

[[nodiscard]] std::string site_id(unsigned index);
[[nodiscard]] std::string service_id(unsigned index);

}  // namespace pharos::sim
