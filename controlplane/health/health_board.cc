#include "pharos/controlplane/health/health_board.hh"

#include <algorithm>
#include <cmath>

namespace pharos::controlplane {
namespace {

// Intervals of silence after which a site counts as "silent as well" for the mass silence guard:
// all sites with one rhythm whose beacons stop at once have passed this when the first of them
// passes down_intervals.
constexpr double shared_silence_intervals = 1.5;
constexpr unsigned mass_silence_sites_min = 3;
// Intervals that a site which was never heard may take to speak up.
constexpr double grace_intervals = 2.0;
// So many datagrams in a row are lost once in a million times where loss is at its floor: 0.01^3. Less silence accuses nobody.
constexpr unsigned improbable_datagrams = 3;
// The copies of a beacon are spread over this part of its interval (the agent's send_copies).
constexpr double copies_spread = 0.5;

double unrest_after(double unrest, Instant since, Instant now) noexcept {
  const double lives = (now - since).seconds() / unrest_half_life.seconds();
  return unrest * std::exp2(-std::max(lives, 0.0));
}

// Twice as long for each fall beyond those that are free.
Duration damped(Duration rise, double unrest) noexcept {
  const double falls = unrest - unrest_free_falls;
  if (falls <= 0) return rise;
  const double needed = static_cast<double>(rise.ns) * std::exp2(falls);
  const auto ceiling = std::max(rise, rise_max);
  return needed >= static_cast<double>(ceiling.ns) ? ceiling
                                                   : Duration{static_cast<std::int64_t>(needed)};
}

// The least time seen, which creeps up by 1/256 of the difference a beacon, so that a new path, or another mix of
// requests, is learned.
void learn_base(double& base_us, const std::optional<float>& time_us) noexcept {
  if (!time_us) return;
  if (base_us <= 0 || *time_us < base_us) {
    base_us = *time_us;
  } else {
    base_us += (*time_us - base_us) / 256;
  }
}

}  // namespace

std::string_view name_of(SiteState state) noexcept {
  switch (state) {
    case SiteState::unknown:
      return "unknown";
    case SiteState::up:
      return "up";
    case SiteState::suspect:
      return "suspect";
    case SiteState::down:
      return "down";
  }
  return "unknown";
}

double confidence_of(const SiteHealth& site) noexcept {
  return std::pow(doubt_step, site.doubt);
}

double flaps_at(const SiteHealth& site, Instant now) noexcept {
  if (site.flaps <= 0) return 0;
  const double lives = (now - site.flaps_at).seconds() / flap_half_life.seconds();
  const double flaps = site.flaps * std::exp2(-std::max(lives, 0.0));
  return flaps < 0.01 ? 0 : flaps;
}

Duration rise_needed(const SiteHealth& site, Duration rise, Instant now) noexcept {
  return damped(rise, unrest_after(site.unrest, site.flaps_at, now));
}

void Overload::observe(std::optional<float> ratio, double high, double low, Duration fall,
                       Duration rise, Instant now) noexcept {
  const bool crossed = active_ ? !ratio || *ratio < low : ratio && *ratio > high;
  if (!crossed) {
    pending_ = false;
    return;
  }
  if (!pending_) {
    pending_ = true;
    pending_since_ = now;
  }
  const double unrest = unrest_after(unrest_, began_, now);
  if (now - pending_since_ < (active_ ? damped(rise, unrest) : fall)) return;
  active_ = !active_;
  pending_ = false;
  if (!active_) return;
  unrest_ = unrest + 1;
  began_ = now;
}

void HealthBoard::add_site(bool keyed, Duration expected_interval, bool down, Instant now) {
  SiteHealth site(expected_interval);
  site.keyed = keyed;
  site.state = !keyed ? SiteState::up : down ? SiteState::down : SiteState::unknown;
  site.since = now;
  site.silence_base = now;
  site.fell_silent = never;
  sites_.push_back(site);
}

void HealthBoard::add_site(const SiteHealth& former, bool keyed, Duration expected_interval,
                           Instant now) {
  if (keyed != former.keyed) {
    add_site(keyed, expected_interval, false, now);
    return;
  }
  sites_.push_back(former);
  if (!former.rhythm.heard()) sites_.back().rhythm.expect(expected_interval);
  any_heard_ = any_heard_ || former.rhythm.heard();
}

void HealthBoard::enter(SiteHealth& site, SiteState state, Instant now) noexcept {
  site.state = state;
  site.since = now;
}

void HealthBoard::fall(SiteHealth& site, bool leaving, Instant now) noexcept {
  // Leaving in good order and staying away is no flap; falling silent is.
  if (!leaving) {
    site.unrest = unrest_after(site.unrest, site.flaps_at, now) + 1;
    site.flaps = flaps_at(site, now) + 1;
    site.flaps_at = now;
  }
  site.leaving = leaving;
  site.fell_silent = leaving ? never : now;
  site.rise_count = 0;
  enter(site, SiteState::down, now);
}

void HealthBoard::rise(SiteHealth& site, Duration gap, Instant now) noexcept {
  const bool broken = gap > suspect_silence_of(site);
  if (site.rise_count == 0 || broken) {
    site.rise_began = now;
    site.rise_count = 1;
  } else {
    ++site.rise_count;
  }
  site.leaving = false;
  if (site.rise_count >= config_.rise_beacons &&
      now - site.rise_began >= rise_needed(site, config_.rise, now)) {
    site.fell_silent = never;
    enter(site, SiteState::up, now);
  }
}

void HealthBoard::judge_load(SiteHealth& site, const SiteMetrics& metrics, Instant now) noexcept {
  site.trends.hear(metrics, config_.smoothing, config_.metric_life, now, site.metrics);
  learn_base(site.rtt_base_us, site.metrics.responder_rtt_us);
  learn_base(site.latency_base_us, site.metrics.request_latency_us);
  site.cpu.observe(metrics.cpu_ratio, config_.cpu_high, config_.cpu_low, config_.fall, config_.rise,
                   now);
  site.memory.observe(metrics.memory_ratio, config_.memory_high, config_.memory_low, config_.fall,
                      config_.rise, now);
  site.degraded = site.cpu.active() || site.memory.active();
}

void HealthBoard::heard(std::uint32_t index, const SiteReport& report, Instant received,
                        std::vector<std::uint32_t>& changed, std::uint64_t steps) {
  auto& site = sites_[index];
  const Duration gap = received - site.rhythm.last();
  const bool first = !any_heard_;
  any_heard_ = true;
  site.rhythm.arrived(received, milliseconds(report.interval_ms), steps);
  site.copies = report.copies;
  site.silence_base = std::max(site.silence_base, received);
  site.doubt = 0;
  judge_load(site, report.metrics, received);
  if (report.leaving) {
    if (site.state != SiteState::down) {
      fall(site, true, received);
    } else {
      site.leaving = true;
      site.rise_count = 0;
    }
  } else if (site.state == SiteState::down) {
    rise(site, gap, received);
  } else if (site.state != SiteState::up) {
    enter(site, SiteState::up, received);
  }
  changed.push_back(index);
  if (first) {  // we can hear after all: those that were not heard yet get their grace from now on
    deaf_ = false;
    for (auto& other : sites_) {
      if (other.state == SiteState::unknown)
        other.silence_base = std::max(other.silence_base, received);
    }
  }
  if (mass_silence_) lift_mass_silence(received);
}

bool HealthBoard::heard(EndpointHealth& endpoint, const EndpointReport& report,
                        Instant received) const {
  const bool was_up = endpoint.up;
  endpoint.requests_rps = report.requests_rps;
  endpoint.notices_ds = report.notices_ds;
  if (!report.up) {
    endpoint.up = false;
    endpoint.rise_count = 0;
  } else if (!endpoint.up) {
    if (endpoint.rise_count++ == 0) endpoint.rise_began = received;
    endpoint.up = endpoint.rise_count >= config_.rise_beacons &&
                  received - endpoint.rise_began >= config_.rise;
  }
  endpoint.reported = true;
  return endpoint.up != was_up;
}

// Any answer that changes for a suspicion makes it one, however mild: it is as improbable as a fall. Of a site that sends each
// beacon once that takes until it is down; copies leave time between the two.
Duration HealthBoard::suspect_silence_of(const SiteHealth& site) const noexcept {
  const auto beacons = (improbable_datagrams + site.copies - 1) / site.copies;
  const auto intervals =
      site.rhythm.improbable_intervals(std::max<double>(config_.suspect_intervals, beacons));
  return site.rhythm.silence_of(intervals + (site.copies > 1 ? copies_spread : 0)) + lag_;
}

// The margin is for the beacon that is due at the end of the silence. Where beacons have copies, those of the one before are
// enough, and the margin is taken off instead: jitter then delays no death.
Duration HealthBoard::down_silence_of(const SiteHealth& site, double intervals) const noexcept {
  const auto improbable = site.rhythm.improbable_intervals(intervals);
  if (site.copies <= 1) return site.rhythm.silence_of(improbable) + lag_;
  const auto copied = site.rhythm.silence_of(improbable - (1 - copies_spread));
  return std::max(site.rhythm.span_of(improbable) - site.rhythm.margin(), copied) + lag_;
}

Instant HealthBoard::suspect_at(const SiteHealth& site) const noexcept {
  return site.silence_base + suspect_silence_of(site);
}

Instant HealthBoard::down_at(const SiteHealth& site) const noexcept {
  const double intervals = site.state == SiteState::unknown
                               ? config_.down_intervals + grace_intervals
                               : config_.down_intervals;
  return site.silence_base + down_silence_of(site, intervals);
}

// The suspicion is the first step.
Instant HealthBoard::doubted_at(const SiteHealth& site, unsigned step) const noexcept {
  return suspect_at(site) + site.rhythm.interval() * static_cast<std::int64_t>(step - 1);
}

bool HealthBoard::grow_doubt(SiteHealth& site, Instant now) const noexcept {
  const auto before = site.doubt;
  while (site.doubt < doubt_max && now >= doubted_at(site, site.doubt + 1)) ++site.doubt;
  return site.doubt != before;
}

// Sites that count as up before they were heard are alive as well: a control plane that starts while most of its sites
// are out of reach knows no more than one that was running.
bool HealthBoard::silence_is_shared(Instant now, Duration window) const noexcept {
  unsigned keyed = 0;
  unsigned alive = 0;
  unsigned silent = 0;
  for (const auto& site : sites_) {
    if (!site.keyed || (!site.rhythm.heard() && site.state != SiteState::unknown)) continue;
    ++keyed;
    const bool just_fell = site.state == SiteState::down && site.fell_silent != never &&
                           now - site.fell_silent <= window;
    if (site.state == SiteState::down && !just_fell) continue;
    ++alive;
    silent +=
        just_fell || now - site.silence_base >= site.rhythm.silence_of(shared_silence_intervals);
  }
  return keyed >= mass_silence_sites_min && alive >= 2 &&
         static_cast<double>(silent) > config_.mass_silence_share * static_cast<double>(alive);
}

void HealthBoard::lift_mass_silence(Instant now) noexcept {
  if (silence_is_shared(now, {})) return;
  mass_silence_ = false;
  // Those still silent get a full count from now, since we may have been deaf until now.
  for (auto& site : sites_) {
    if (site.keyed && site.usable()) site.silence_base = now;
  }
}

void HealthBoard::end_grace(Instant now, std::vector<std::uint32_t>& changed) {
  for (std::uint32_t i = 0; i < sites_.size(); ++i) {
    auto& site = sites_[i];
    if (site.state != SiteState::unknown || now < down_at(site)) continue;
    if (!any_heard_) {
      deaf_ = true;  // nobody at all: that is about us; nothing is taken down
      continue;
    }
    if (silence_is_shared(now, {})) {
      mass_silence_ = true;
      return;
    }
    site.rise_count = 0;
    enter(site, SiteState::down, now);
    changed.push_back(i);
  }
}

void HealthBoard::tick(Instant now, std::vector<std::uint32_t>& changed) {
  if (lag_.ns > 0) lagged({}, now);
  if (mass_silence_) return;
  end_grace(now, changed);
  if (mass_silence_) return;
  for (std::uint32_t i = 0; i < sites_.size(); ++i) {
    auto& site = sites_[i];
    if (!site.keyed || site.state == SiteState::down || site.state == SiteState::unknown) continue;
    if (now >= down_at(site)) {
      if (silence_is_shared(now, site.rhythm.silence_of(config_.down_intervals))) {
        mass_silence_ = true;
        return;
      }
      fall(site, false, now);
      changed.push_back(i);
      continue;
    }
    const bool late = site.state == SiteState::up && now >= suspect_at(site);
    if (late) enter(site, SiteState::suspect, now);
    if (grow_doubt(site, now) || late) changed.push_back(i);
  }
}

Instant HealthBoard::next_deadline() const noexcept {
  Instant next = never;
  for (const auto& site : sites_) {
    if (!site.keyed || site.state == SiteState::down) continue;
    if (site.state == SiteState::unknown) {
      if (!mass_silence_ && (any_heard_ || !deaf_)) next = std::min(next, down_at(site));
    } else if (!mass_silence_) {
      next = std::min(next, down_at(site));
      if (site.state == SiteState::up) next = std::min(next, suspect_at(site));
      if (site.doubt < doubt_max) next = std::min(next, doubted_at(site, site.doubt + 1));
    }
  }
  return next;
}

void HealthBoard::excuse(Instant now) noexcept {
  for (auto& site : sites_) {
    if (!site.keyed || !site.usable()) continue;
    site.silence_base =
        std::max(site.silence_base,
                 now - site.rhythm.silence_of(std::max(config_.down_intervals - 1.0, 0.0)));
  }
}

void HealthBoard::lagged(Duration late, Instant now) noexcept {
  const double lives = (now - lag_at_).seconds() / lag_half_life.seconds();
  lag_.ns =
      static_cast<std::int64_t>(static_cast<double>(lag_.ns) * std::exp2(-std::max(lives, 0.0)));
  if (lag_ < milliseconds(1)) lag_ = {};
  lag_ = std::max(lag_, late);
  lag_at_ = now;
}

}  // namespace pharos::controlplane
