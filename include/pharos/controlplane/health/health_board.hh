// The health of all sites and endpoints, from beacons, their silence, and the operator.
//
//             silence that 1 % of loss explains        silence > down_intervals, or `leaving`
//             once in a million times at most
//   unknown --> up ------------------------> suspect ------------------------------------> down
//   (grace) |    ^ <------ beacon ------------- |                                            |
//           |    +---------------- good for `rise` and `rise_beacons` ----------------------+
//           +-- grace over, others heard --> down
//
// Pure: every time comes in. Owned by the engine thread. Nothing here polls: `next_deadline()`
// tells when silence alone changes a state. All functions that may change something append the
// sites concerned to `changed`.
#pragma once

#include "pharos/config/model.hh"
#include "pharos/controlplane/health/metric_trends.hh"
#include "pharos/controlplane/health/rhythm.hh"
#include "pharos/wire/site_report.hh"

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pharos::controlplane {

inline constexpr Instant never{std::numeric_limits<std::int64_t>::max()};

enum class SiteState : std::uint8_t { unknown, up, suspect, down };
[[nodiscard]] std::string_view name_of(SiteState state) noexcept;

// A ratio that has to stay high for `fall` to count as too high, and low for `rise` to be good again. What is relieved for
// it may well be low for that reason alone: `rise` doubles with each time beyond the second (as rise_needed).
class Overload {
 public:
  void observe(std::optional<float> ratio, double high, double low, Duration fall, Duration rise,
               Instant now) noexcept;
  [[nodiscard]] bool active() const noexcept { return active_; }

 private:
  bool active_ = false;
  bool pending_ = false;  // on the other side of its threshold since `pending_since_`
  Instant pending_since_;
  double unrest_ = 0;  // how often it became too high, as of `began_`
  Instant began_;      // when it did so last
};

// What is known of one site.
struct SiteHealth {
  explicit SiteHealth(Duration interval) noexcept : rhythm(interval) {}

  bool keyed = true;  // beacons are expected
  SiteState state = SiteState::unknown;
  bool leaving = false;   // down because the site said so
  bool degraded = false;  // cpu or memory too high for too long
  Instant since;          // of the state
  Rhythm rhythm;
  unsigned copies = 1;         // that it sends of each beacon, itself included
  Instant silence_base;        // silence counts from here: the last beacon, or a later excuse
  SiteMetrics metrics;         // smoothed
  MetricTrends trends;         // how restless they are
  double rtt_base_us = 0;      // least responder round trip, slowly forgetting; 0: none yet
  double latency_base_us = 0;  // the same of requests
  unsigned doubt = 0;          // steps of confidence lost since the site was suspected
  Instant rise_began;
  unsigned rise_count = 0;
  Instant fell_silent;  // when silence took it down; `never` otherwise
  double flaps = 0;     // falls, each counting half after `flap_half_life`
  Instant flaps_at;
  double unrest = 0;  // the same with `unrest_half_life`: how long it has to behave to rise
  Overload cpu, memory;

  // Whether its endpoints may be answered: everything but down.
  [[nodiscard]] bool usable() const noexcept { return state != SiteState::down; }
};

// What a site's agent says of one endpoint.
struct EndpointHealth {
  bool reported = false;  // the last beacon spoke of it
  bool up = true;
  Instant rise_began;
  unsigned rise_count = 0;
  std::optional<float> requests_rps;
  std::uint16_t notices_ds = 0;  // EndpointReport
};

// What is known of a silent site grows old: from its suspicion on, each interval takes a twentieth of the confidence in its metrics
// (score/README.md). One such step is less than the margin of any order (rank/order.hh); a site that may stay silent for longer
// before it is down is left step by step.
inline constexpr double doubt_step = 0.95;
inline constexpr unsigned doubt_max = 20;
[[nodiscard]] double confidence_of(const SiteHealth& site) noexcept;

inline constexpr Duration flap_half_life = seconds(120);
[[nodiscard]] double flaps_at(const SiteHealth& site, Instant now) noexcept;
// A site that falls again and again has to be good for longer each time (as BGP's route flap damping, RFC 2439): `rise` doubles
// with every fall beyond the first two, up to rise_max. Keeps a flapping site to some 20 falls an hour (tests/sim).
inline constexpr Duration unrest_half_life = seconds(900);
inline constexpr double unrest_free_falls = 2;
inline constexpr Duration rise_max = seconds(300);
[[nodiscard]] Duration rise_needed(const SiteHealth& site, Duration rise, Instant now) noexcept;

// A receiver that runs late blames itself first (Lifeguard; Dadgar, Phillips and Currey 2018): what its own steps came too late
// by is added to every silence that it allows, and halves in this time.
inline constexpr Duration lag_half_life = seconds(5);

class HealthBoard {
 public:
  explicit HealthBoard(config::HealthConfig config) noexcept : config_(config) {}

  // Adds a site; indices count up from 0. `down` restores what was known before a restart: such a
  // site has to rise again, where an unknown one counts as up until its grace is over.
  void add_site(bool keyed, Duration expected_interval, bool down, Instant now);
  // Carries a site over from a former board (reload), timers and all; `keyed` and interval may have
  // changed.
  void add_site(const SiteHealth& former, bool keyed, Duration expected_interval, Instant now);

  // A beacon arrived at `received`, so many intervals of its sender after the last one that was heard (0: not known).
  // Freshness has been checked.
  void heard(std::uint32_t site, const SiteReport& report, Instant received,
             std::vector<std::uint32_t>& changed, std::uint64_t steps = 0);
  // One endpoint's part of that beacon: down at once, up again when good for `rise` and
  // `rise_beacons`. An endpoint that a beacon does not mention keeps its last word. True when its
  // state changed.
  [[nodiscard]] bool heard(EndpointHealth& endpoint, const EndpointReport& report,
                           Instant received) const;

  // Lets time pass. Call at next_deadline(), or at any time before.
  void tick(Instant now, std::vector<std::uint32_t>& changed);
  // When silence next changes a state; `never` when nothing will.
  [[nodiscard]] Instant next_deadline() const noexcept;

  // We ourselves were away until now (stopped, or starved): nobody is blamed for a silence that we
  // may have slept through. Every site that counts as alive gets one more interval.
  void excuse(Instant now) noexcept;
  // A step of ours came so late.
  void lagged(Duration late, Instant now) noexcept;
  // By how much silences are longer for it.
  [[nodiscard]] Duration lag() const noexcept { return lag_; }

  [[nodiscard]] const SiteHealth& site(std::uint32_t index) const noexcept { return sites_[index]; }
  [[nodiscard]] std::size_t site_count() const noexcept { return sites_.size(); }
  // How long a site that is up may be silent before it is down, by what is measured now.
  [[nodiscard]] Duration down_silence(std::uint32_t index) const noexcept {
    return down_silence_of(sites_[index], config_.down_intervals);
  }
  // Most sites fell silent at once: the receiver suspects itself, and silence takes no site down.
  [[nodiscard]] bool suspects_itself() const noexcept { return mass_silence_; }
  // No site was heard since the start, although some should have been.
  [[nodiscard]] bool deaf() const noexcept { return deaf_; }

 private:
  [[nodiscard]] Duration suspect_silence_of(const SiteHealth& site) const noexcept;
  [[nodiscard]] Duration down_silence_of(const SiteHealth& site, double intervals) const noexcept;
  [[nodiscard]] Instant suspect_at(const SiteHealth& site) const noexcept;
  [[nodiscard]] Instant down_at(const SiteHealth& site) const noexcept;
  [[nodiscard]] Instant doubted_at(const SiteHealth& site, unsigned step) const noexcept;
  [[nodiscard]] bool grow_doubt(SiteHealth& site, Instant now) const noexcept;
  [[nodiscard]] bool silence_is_shared(Instant now, Duration window) const noexcept;
  void enter(SiteHealth& site, SiteState state, Instant now) noexcept;
  void fall(SiteHealth& site, bool leaving, Instant now) noexcept;
  void rise(SiteHealth& site, Duration gap, Instant now) noexcept;
  void judge_load(SiteHealth& site, const SiteMetrics& metrics, Instant now) noexcept;
  void end_grace(Instant now, std::vector<std::uint32_t>& changed);
  void lift_mass_silence(Instant now) noexcept;

  config::HealthConfig config_;
  std::vector<SiteHealth> sites_;
  Duration lag_;
  Instant lag_at_;
  bool any_heard_ = false;
  bool mass_silence_ = false;
  bool deaf_ = false;
};

}  // namespace pharos::controlplane
