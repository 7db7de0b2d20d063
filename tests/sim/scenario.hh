// From a seed to a world and its misfortunes: sites, locales, services, the network, and how often what goes wrong.
#pragma once

#include "pharos/config/model.hh"

#include <cstdint>
#include <string>
#include <string_view>
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
  Duration operator_plans, operator_drains, operator_numbers, operator_draft, operator_rollback;
  Duration backup;  // is made, and later put back, or a rival control plane starts from it
  Duration surge, growth, attack;
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

// What a history is about.
enum class Kind : std::uint8_t {
  usual,  // some sites, a minute, every kind of misfortune
  large,  // hundreds of sites
  settling,  // losses and surges, then calm that lasts until every resolver knows: nobody may stay overloaded
  hour,  // an hour of flapping and lies: how often traffic turns round
};
[[nodiscard]] std::string_view name_of(Kind kind) noexcept;
// The kind that a seed has by itself.
[[nodiscard]] Kind kind_of(std::uint64_t seed) noexcept;

struct Scenario {
  std::uint64_t seed = 0;
  Kind kind = Kind::usual;
  config::Config config;
  Rates rates;
  Network network;
  std::vector<Demand> demands;  // by locale; index 0 is "default"
  // A simulated day is short, so that a history of a minute sees the curve move.
  Duration day = seconds(120);
  unsigned resolvers = 2;           // large ones, of each locale
  double behind_large = 1;          // share of the demand that comes through these
  std::vector<double> behind_one;   // by locale: requests per second behind a small resolver
  unsigned send_copies = 1;         // of each beacon
  double stretching = 0;            // share of resolvers that keep answers longer than they may
  Duration disk_delay_max;          // a write is durable within this
  Duration troubled = seconds(30);  // misfortunes end after this ...
  Duration calm = seconds(30);      // ... and by the end of this all must be well
};

[[nodiscard]] Scenario make_scenario(std::uint64_t seed, Kind kind);

// How long it takes until everybody has followed a change, where nothing else happens: silence, assignment, demand that
// is averaged, and answers that are kept.
[[nodiscard]] Duration settling_time(const config::Config& config);

[[nodiscard]] config::Policy some_policy(Random& random);
// Policies within the policies of some services (scenario_groups.cc): endpoints in groups, and groups in groups.
void add_groups(Random& random, config::Config& config, double share);
[[nodiscard]] std::string site_id(unsigned index);
[[nodiscard]] std::string service_id(unsigned index);

// Addresses of scenario.cc carry whose they are: service << 16 | site.
using Place = std::uint32_t;
[[nodiscard]] Place place_of(const IpAddress& address) noexcept;
[[nodiscard]] constexpr std::uint32_t site_of(Place place) noexcept {
  return place & 0xffff;
}
[[nodiscard]] constexpr std::uint32_t service_of(Place place) noexcept {
  return place >> 16;
}

}  // namespace pharos::sim
