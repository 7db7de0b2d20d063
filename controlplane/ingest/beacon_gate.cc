// The gate's state: an open-addressed table of site tags over a vector of sites. See beacon_gate.hh
// for the rules.
#include "pharos/controlplane/ingest/beacon_gate.hh"

#include "pharos/base/assert.hh"

#include <sodium.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <optional>

namespace pharos::controlplane {

namespace {

struct SiteKey {
  std::uint8_t id;
  beacon::MacKey key;
};

// What the least delayed beacon of a site says of its two clocks, against our monotonic clock. Its sequence is the second
// clock: it moves by one interval with each beacon, and no step of the wall clock moves it.
struct ClockAnchor {
  std::int64_t offset_ns;  // sent - received
  std::int64_t lag_ns;     // received - time by sequence
  std::int64_t
      by_sequence_ns;  // time by sequence of the newest beacon, counted from the first of this chain
  std::uint32_t interval_ms;  // of the newest beacon
  Instant at;
};

struct Site {
  std::string id;
  std::uint64_t tag = 0;
  std::vector<SiteKey> keys;
  std::uint64_t boot_epoch = 0;  // of the last accepted beacon; 0, 0: none yet
  std::uint64_t sequence = 0;
  std::optional<ClockAnchor> anchor;
};

// Clocks that nobody disciplines drift by up to some 100 ppm; the anchor gives that way, and no
// attacker gains more.
constexpr std::int64_t anchor_drift_ppm = 200;
// Milliseconds whose nanoseconds still fit 64 bits, until the year 2255.
constexpr std::int64_t sent_wall_ms_max = 9'000'000'000'000;

bool within(std::int64_t a, std::int64_t b, Duration window) noexcept {
  std::int64_t difference = 0;
  if (__builtin_sub_overflow(a, b, &difference)) return false;
  return difference <= window.ns && difference >= -window.ns;
}

// One of the site's keys is still the one that a former chain was made under.
bool shares_key(const Site& site, std::span<const std::uint64_t> fingerprints) {
  return std::ranges::any_of(site.keys, [&](const SiteKey& k) {
    return std::ranges::find(fingerprints, k.key.fingerprint()) != fingerprints.end();
  });
}

std::vector<std::uint64_t> fingerprints_of(const Site& site) {
  std::vector<std::uint64_t> all;
  all.reserve(site.keys.size());
  for (const auto& k : site.keys) all.push_back(k.key.fingerprint());
  return all;
}

void move_forward(Site& site, std::uint64_t boot_epoch, std::uint64_t sequence) {
  if (std::pair(boot_epoch, sequence) <= std::pair(site.boot_epoch, site.sequence)) return;
  site.boot_epoch = boot_epoch;
  site.sequence = sequence;
}

// Beacons that a site may have sent unheard for its sequence to go on as a clock.
constexpr std::uint64_t sequence_steps_max = 1U << 20;

struct Sent {
  std::uint64_t boot_epoch;
  std::uint64_t sequence;
  std::int64_t wall_ns;
  std::uint32_t interval_ms;
};

// Checks the window and, where the beacon passes, returns the anchor as it stands after it. A beacon that either clock of its
// site proves timely is timely; the other clock is then set by it, with the delay that the first one measured, so
// that an attacker who holds beacons back gains nothing by a step.
std::optional<ClockAnchor> check_window(const Site& site, const Sent& sent, Instant received,
                                        WallTime wall, Duration window) noexcept {
  ClockAnchor next{sent.wall_ns - received.ns, received.ns, 0, sent.interval_ms, received};
  if (site.anchor) {
    const auto& anchor = *site.anchor;
    const auto elapsed_ns = std::max<std::int64_t>(received.ns - anchor.at.ns, 0);
    const auto drift_ns = elapsed_ns / 1'000'000 * anchor_drift_ppm;
    const auto steps = sent.sequence - site.sequence;
    const bool same_chain = sent.boot_epoch == site.boot_epoch && steps <= sequence_steps_max;
    if (same_chain) {
      const auto interval_ms = std::min(sent.interval_ms, anchor.interval_ms);
      const auto moved_ms = static_cast<std::int64_t>(steps) * interval_ms;
      next.by_sequence_ns = anchor.by_sequence_ns + moved_ms * 1'000'000;
    }
    next.lag_ns = received.ns - next.by_sequence_ns;
    next.at = std::max(received, anchor.at);
    const auto expected_ns = anchor.offset_ns - drift_ns;
    if (within(next.offset_ns, expected_ns, window)) {
      const auto delay_ns = std::max<std::int64_t>(expected_ns - next.offset_ns, 0);
      next.offset_ns = std::max(next.offset_ns, expected_ns);
      next.lag_ns -= delay_ns;
      return next;
    }
    const auto allowed_ns = anchor.lag_ns + drift_ns;
    if (same_chain && next.lag_ns - allowed_ns <= window.ns) {
      next.offset_ns += std::max<std::int64_t>(next.lag_ns - allowed_ns, 0);
      next.lag_ns = std::min(next.lag_ns, allowed_ns);
      return next;
    }
  }
  if (!within(sent.wall_ns, wall.ns, window)) return std::nullopt;
  next.at = received;
  return next;
}

}  // namespace

struct BeaconSites::State {
  struct Slot {
    std::uint64_t tag = 0;
    std::uint32_t site = 0;
    bool taken = false;
  };
  std::uint64_t set = 0;
  std::vector<Site> sites;
  std::vector<Slot> slots{
      1};  // a power of two, at most half full; tags are digests, so they spread by themselves

  [[nodiscard]] std::size_t first_slot(std::uint64_t tag) const noexcept {
    return tag & (slots.size() - 1);
  }
  [[nodiscard]] std::size_t next_slot(std::size_t at) const noexcept {
    return (at + 1) & (slots.size() - 1);
  }

  // The index of a site with keys, or nothing.
  [[nodiscard]] std::optional<std::uint32_t> find(std::uint64_t tag) const noexcept {
    for (auto at = first_slot(tag); slots[at].taken; at = next_slot(at)) {
      if (slots[at].tag == tag) return slots[at].site;
    }
    return std::nullopt;
  }
  void insert(std::uint64_t tag, std::uint32_t site) {
    auto at = first_slot(tag);
    while (slots[at].taken) at = next_slot(at);
    slots[at] = {tag, site, true};
  }
};

BeaconSites::BeaconSites() noexcept = default;
BeaconSites::BeaconSites(BeaconSites&&) noexcept = default;
BeaconSites& BeaconSites::operator=(BeaconSites&&) noexcept = default;
BeaconSites::~BeaconSites() = default;

Result<BeaconSites> BeaconSites::make(std::span<const config::SiteConfig> sites,
                                      std::uint64_t set) {
  REQUIRE(sodium_init() >= 0);
  BeaconSites result;
  result.state_ = std::make_unique<State>();
  auto& state = *result.state_;
  state.set = set;
  state.slots.resize(std::bit_ceil(sites.size() * 2 + 1));
  for (const auto& config : sites) {
    Site site{.id = config.id, .tag = beacon::site_tag(config.id), .keys = {}, .anchor = {}};
    for (const auto& key : config.keys) {
      if (std::ranges::find(site.keys, key.id, &SiteKey::id) != site.keys.end()) {
        return fail(ErrorCode::conflict, "two keys have the id " + std::to_string(key.id),
                    "site " + config.id, "give each live key of a site an id of its own");
      }
      site.keys.push_back({key.id, beacon::MacKey(key.secret)});
    }
    const auto index = static_cast<std::uint32_t>(state.sites.size());
    if (!site.keys.empty()) {
      if (const auto other = state.find(site.tag)) {
        return fail(ErrorCode::conflict, "has the same tag as site " + state.sites[*other].id,
                    "site " + config.id,
                    "rename one of them: their beacons could not be told apart");
      }
      state.insert(site.tag, index);
    }
    state.sites.push_back(std::move(site));
  }
  return result;
}

BeaconGate::BeaconGate(BeaconSites sites, Duration window)
    : state_(sites.state_ ? std::move(sites.state_) : std::make_unique<BeaconSites::State>()),
      window_(window) {}
BeaconGate::BeaconGate(BeaconGate&&) noexcept = default;
BeaconGate& BeaconGate::operator=(BeaconGate&&) noexcept = default;
BeaconGate::~BeaconGate() = default;

BeaconVerdict BeaconGate::admit(ConstBytes datagram, Instant received, WallTime wall,
                                AcceptedBeacon& out) {
  const auto claim = beacon::claim_of(datagram);
  if (!claim) return BeaconVerdict::malformed;
  const auto index = state_->find(claim->site_tag);
  if (!index) return BeaconVerdict::unknown_site;
  Site& site = state_->sites[*index];
  const auto key = std::ranges::find(site.keys, claim->key_id, &SiteKey::id);
  if (key == site.keys.end()) return BeaconVerdict::unknown_key;
  if (!beacon::authentic(datagram, key->key)) return BeaconVerdict::bad_mac;

  const auto stamp = beacon::stamp_of(datagram);
  if (stamp.boot_epoch < site.boot_epoch) return BeaconVerdict::stale_epoch;
  if (stamp.boot_epoch == site.boot_epoch && stamp.sequence <= site.sequence) {
    return stamp.sequence == site.sequence ? BeaconVerdict::duplicate : BeaconVerdict::replayed;
  }
  if (!beacon::decode(datagram, out.report)) return BeaconVerdict::invalid;
  if (stamp.sent_wall_ms < 0 || stamp.sent_wall_ms > sent_wall_ms_max)
    return BeaconVerdict::outside_window;
  const Sent sent{stamp.boot_epoch, stamp.sequence, stamp.sent_wall_ms * 1'000'000,
                  out.report.interval_ms};
  const auto anchor = check_window(site, sent, received, wall, window_);
  if (!anchor) return BeaconVerdict::outside_window;

  site.boot_epoch = stamp.boot_epoch;
  site.sequence = stamp.sequence;
  site.anchor = anchor;
  out.site = *index;
  out.site_set = state_->set;
  out.received = received;
  out.boot_epoch = stamp.boot_epoch;
  out.sequence = stamp.sequence;
  return BeaconVerdict::accepted;
}

void BeaconGate::replace(BeaconSites sites, Duration window) {
  auto fresh = sites.state_ ? std::move(sites.state_) : std::make_unique<BeaconSites::State>();
  for (const auto& old : state_->sites) {
    const auto index = fresh->find(old.tag);
    if (!index) continue;
    auto& site = fresh->sites[*index];
    site.anchor = old.anchor;
    if (shares_key(site, fingerprints_of(old))) move_forward(site, old.boot_epoch, old.sequence);
  }
  state_ = std::move(fresh);
  window_ = window;
}

std::vector<SiteFreshness> BeaconGate::freshness() const {
  std::vector<SiteFreshness> all;
  for (const auto& site : state_->sites) {
    if (site.boot_epoch == 0 && site.sequence == 0) continue;
    all.push_back({site.id, site.boot_epoch, site.sequence, fingerprints_of(site)});
  }
  return all;
}

void BeaconGate::import_freshness(std::span<const SiteFreshness> stored) {
  for (const auto& record : stored) {
    const auto index = state_->find(beacon::site_tag(record.site_id));
    if (!index) continue;
    auto& site = state_->sites[*index];
    if (shares_key(site, record.key_fingerprints))
      move_forward(site, record.boot_epoch, record.sequence);
  }
}

}  // namespace pharos::controlplane
