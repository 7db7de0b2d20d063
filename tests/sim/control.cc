#include "control.hh"

#include "pharos/controlplane/engine/engine_copy.hh"
#include "pharos/controlplane/engine/plan.hh"
#include "pharos/controlplane/engine/shrink.hh"

#include <algorithm>

namespace pharos::sim {
namespace {

using controlplane::AcceptedBeacon;
using controlplane::BeaconGate;
using controlplane::BeaconSites;
using controlplane::BeaconVerdict;
using controlplane::Engine;
using controlplane::never;
using controlplane::Remembered;
using controlplane::SiteState;

// As Ingest::Options::queue_beacons.
constexpr std::size_t queue_beacons_max = 8192;
// Beyond what the gate may take for timely: its window, and some for rounding and drift.
constexpr Duration window_slack = seconds(2);
// Younger than this, a beacon is timely by any clock.
constexpr Duration timely_max = seconds(10);
// Silence shorter than this share of what takes a site down is no silence.
constexpr double silence_share_min = 0.85;
// ... and from this share on a site counts as silent for the check of mass silence.
constexpr double silence_share_sure = 1.25;

BeaconGate make_gate(const config::Config& config, std::uint64_t set, const Remembered& kept) {
  BeaconGate gate(*BeaconSites::make(config.sites, set), config.controlplane.beacon_window);
  gate.import_freshness(kept.freshness);
  return gate;
}

Duration silence_of(const controlplane::World& world, std::uint32_t site, double share) {
  const auto intervals = world.config->controlplane.health.down_intervals * share;
  return Duration{static_cast<std::int64_t>(
      intervals * static_cast<double>(world.site(site).beacon_interval.ns))};
}

std::shared_ptr<Expected> blank(const controlplane::Tables& tables) {
  auto cells = std::make_shared<Expected>();
  cells->world = tables.world;
  cells->pools_id = tables.pools_id();
  cells->locales_id = tables.locales_id();
  cells->cells.resize(tables.world->pools.size() * tables.world->locales.size());
  return cells;
}

[[nodiscard]] dataplane::SharedImage damaged(const Mapping& image, Random& random) {
  std::vector<std::byte, ImageAllocator<std::byte>> bytes(image.bytes().begin(),
                                                          image.bytes().end());
  bytes[random.below(bytes.size())] ^= static_cast<std::byte>(random.from_to(1, 255));
  const auto fd = seal_in_memfd(bytes, "sim");
  return std::make_shared<const Mapping>(*map_sealed(fd->get()));
}

}  // namespace

ControlPlane::ControlPlane(Parts parts, std::shared_ptr<const controlplane::Tables> tables,
                           Instant now)
    : parts_(std::move(parts)),
      gate_(make_gate(*tables->world->config, site_set_, parts_.disk.kept())),
      engine_(tables->world,
              {parts_.disk.kept().overrides,
               parts_.disk.kept().weights,
               parts_.disk.kept().exponents,
               parts_.disk.kept().maintenance},
              parts_.disk.kept().down_sites, now),
      publication_(tables, parts_.disk.kept().version, parts_.disk.kept().lost),
      checks_(tables->world),
      began_(now) {
  cells_ = blank(*tables);
  last_unrest_ = now;
  last_accepted_.assign(tables->world->config->sites.size(), Instant{});
  last_verdicts_.assign(last_accepted_.size(), BeaconVerdict::malformed);
  for (const auto& site : parts_.disk.kept().freshness) {
    accepted_[site.site_id] = {site.boot_epoch, site.sequence};
  }
}

Instant ControlPlane::durable_at(Instant now) {
  return now + parts_.random.between(microseconds(100), parts_.disk_delay_max);
}

bool ControlPlane::receive(const Datagram& datagram, Now now) {
  AcceptedBeacon beacon;
  const auto verdict = gate_.admit(datagram.bytes, now.monotonic, now.wall, beacon);
  check_acceptance(datagram, verdict, now);
  last_verdicts_[datagram.site] = verdict;
  if (verdict != BeaconVerdict::accepted) return false;
  ++parts_.witness.figures.beacons_accepted;
  const auto& id = engine_.world().site(beacon.site).id;
  accepted_[id] = {beacon.boot_epoch, beacon.sequence};
  accepted_epoch_[id] = beacon.boot_epoch;
  const auto delay = now.monotonic - datagram.sent;
  auto& least = least_delay_.try_emplace(id, delay).first->second;
  least = std::min(least, delay);
  if (queue_.size() < queue_beacons_max) queue_.push_back(std::move(beacon));
  return true;
}

// Promise 10, against what the network knows of the datagram.
void ControlPlane::check_acceptance(const Datagram& datagram, BeaconVerdict verdict, Now now) {
  if (verdict != BeaconVerdict::accepted) return check_refusal(datagram, verdict, now);
  auto& witness = parts_.witness;
  if (datagram.origin == Datagram::Origin::forged)
    witness.violated(now.monotonic, "promise 10", "a forged beacon was accepted");
  const auto& id = engine_.world().site(datagram.site).id;
  const auto at = accepted_.find(id);
  if (at != accepted_.end() && std::pair(datagram.boot_epoch, datagram.sequence) <= at->second) {
    witness.violated(now.monotonic, "promise 10", "a replayed beacon of " + id + " was accepted");
  }
  // It measures by the least delayed beacon that it has heard of the site; where there is none since it started, by two
  // wall clocks, whatever they say.
  const auto measure = least_delay_.find(id);
  const auto late =
      measure != least_delay_.end()
          ? now.monotonic - datagram.sent - measure->second
          : now.wall - WallTime{beacon::stamp_of(datagram.bytes).sent_wall_ms * 1'000'000};
  if (datagram.origin == Datagram::Origin::held_back &&
      late > engine_.world().config->controlplane.beacon_window + window_slack) {
    witness.violated(
        now.monotonic, "promise 10",
        "a beacon held back for " + std::to_string(late.seconds()) + " s was accepted");
  }
}

// A site that was believed is believed again while its agent lives, whatever becomes of its wall clock or ours.
void ControlPlane::check_refusal(const Datagram& datagram, BeaconVerdict verdict, Now now) {
  const auto& id = engine_.world().site(datagram.site).id;
  const auto here = accepted_epoch_.find(id);
  if (datagram.origin != Datagram::Origin::site || here == accepted_epoch_.end() ||
      here->second != datagram.boot_epoch || verdict != BeaconVerdict::outside_window)
    return;
  const auto& window = engine_.world().config->controlplane.beacon_window;
  if (now.monotonic - datagram.sent < std::min(timely_max, window / 2))
    parts_.witness.violated(now.monotonic, "clocks", "a timely beacon of " + id + " was refused");
}

void ControlPlane::set_override(const std::string& service, const std::string& endpoint,
                                config::Override value, Instant now, std::function<void()> kept) {
  const auto found = engine_.world().find_endpoint(service, endpoint);
  if (!found) return;
  last_unrest_ = now;
  engine_.set_override(*found, value, now);
  parts_.disk.write(
      durable_at(now), [=](Remembered& disk) { disk.overrides[{service, endpoint}] = value; },
      std::move(kept));
}

void ControlPlane::set_weight(const std::string& service, const std::string& endpoint,
                              std::optional<double> weight, Instant now) {
  const auto found = engine_.world().find_endpoint(service, endpoint);
  if (!found) return;
  last_unrest_ = now;
  engine_.set_weight(*found, weight, now);
  parts_.disk.write(durable_at(now), [=](Remembered& disk) {
    if (weight) {
      disk.weights[{service, endpoint}] = *weight;
    } else {
      disk.weights.erase({service, endpoint});
    }
  });
}

void ControlPlane::set_exponents(std::optional<config::ScoreConfig> exponents, Instant now) {
  engine_.set_exponents(exponents, now);
  parts_.disk.write(durable_at(now), [=](Remembered& disk) { disk.exponents = exponents; });
}

// As Store::save_maintenance: what is over by the wall clock is forgotten.
void ControlPlane::set_maintenance(const config::MaintenanceConfig& work, Now now,
                                   std::function<void()> kept) {
  last_unrest_ = now.monotonic;
  engine_.set_maintenance(work);
  parts_.disk.write(
      durable_at(now.monotonic),
      [=](Remembered& disk) {
        std::erase_if(disk.maintenance, [&](const auto& other) {
          return other.id == work.id || other.to <= now.wall;
        });
        if (!work.sites.empty()) disk.maintenance.push_back(work);
      },
      std::move(kept));
}

// As plan_text() of the commands; that it leaves no trace is checked.
std::vector<std::string> ControlPlane::overloads_of_plan(
    std::shared_ptr<const config::Config> config, Instant now) {
  const auto former = publication_.shared_tables();
  const auto version = publication_.last();
  std::string broken_zone;
  const auto tables = controlplane::build_tables(
      std::move(config), {}, {version.epoch, version.generation + 1},
      {.former = former.get(), .except = {}, .none = false}, broken_zone);
  if (!tables) return {tables.error().text()};
  const auto work = engine_.work().pools_ranked;
  const auto due = std::pair(engine_.next_deadline(), engine_.assign_deadline());
  Engine::Copy copy;
  static_cast<void>(copy.go_on(engine_, [] { return false; }));
  const auto before = copy.take();
  const auto after = controlplane::planned(before, (*tables)->world, now);
  if (work != engine_.work().pools_ranked ||
      due != std::pair(engine_.next_deadline(), engine_.assign_deadline()))
    parts_.witness.violated(now, "plans", "a plan changed what is in force");
  const auto plan = controlplane::plan_of(before, after);
  if (plan.moved_share < -1e-9 || plan.moved_share > 1 + 1e-9)
    parts_.witness.violated(now, "plans",
                            "a plan moves " + std::to_string(plan.moved_share) + " of the clients");
  return controlplane::overloads_of(plan);
}

bool ControlPlane::reload(std::shared_ptr<const config::Config> config, Instant now) {
  const auto former = publication_.shared_tables();
  const auto version = publication_.last();
  std::string broken_zone;
  auto tables = controlplane::build_tables(config, {}, {version.epoch, version.generation + 1},
                                           {.former = former.get(), .except = {}, .none = false},
                                           broken_zone);
  if (!tables) return false;
  if (controlplane::differences(*former, **tables).empty()) return true;
  const auto limit = config->controlplane.shrink_limit;
  if (!controlplane::check_shrink(*former, **tables, limit) ||
      !controlplane::check_endpoint_shrink(*former->world, *(*tables)->world, limit))
    return false;
  auto sites = BeaconSites::make(config->sites, site_set_ + 1);
  if (!sites) return false;
  ++site_set_;
  std::vector<Instant> last(config->sites.size(), Instant{});
  for (std::size_t s = 0; s < last.size(); ++s) {
    for (std::uint32_t f = 0; f < engine_.world().config->sites.size(); ++f) {
      if (engine_.world().site(f).id == config->sites[s].id) last[s] = last_accepted_[f];
    }
  }
  last_accepted_ = std::move(last);
  engine_.replace_world((*tables)->world, now);
  publication_.replace_tables(*tables);
  gate_.replace(std::move(*sites), config->controlplane.beacon_window);
  checks_ = AnswerChecks((*tables)->world);
  cells_ = blank(**tables);
  last_unrest_ = now;
  takers_.clear();
  solving_former_world_ = solving_.has_value();
  return true;
}

void ControlPlane::keep(Instant now) {
  parts_.disk.write(durable_at(now), [freshness = gate_.freshness()](Remembered& disk) {
    for (const auto& site : freshness) {
      std::erase_if(disk.freshness, [&](const auto& kept) { return kept.site_id == site.site_id; });
      disk.freshness.push_back(site);
    }
  });
}

void ControlPlane::drain() {
  while (!queue_.empty()) {
    const auto beacon = std::move(queue_.front());
    queue_.pop_front();
    if (beacon.site_set != site_set_) continue;
    last_accepted_[beacon.site] = std::max(last_accepted_[beacon.site], beacon.received);
    if (beacon.report.leaving) left_.insert(beacon.site);
    std::uint64_t up = 0;
    for (const auto& endpoint : beacon.report.endpoints) up = up << 1 | (endpoint.up ? 1U : 0U);
    // What is up again has to behave for a while, and counts as unrest then as well.
    if (std::exchange(endpoints_up_[beacon.site], up) != up) last_unrest_ = beacon.received;
    engine_.heard(beacon.site, beacon.report, beacon.boot_epoch, beacon.sequence, beacon.received);
  }
  // As EngineLoop::drain_demand.
  const auto& tables = publication_.tables();
  for (const auto& heard : std::exchange(demand_, {})) {
    if (heard.pools_id == tables.pools_id() && heard.locales_id == tables.locales_id())
      engine_.heard_demand(heard.pool, heard.locale, heard.count);
  }
}

void ControlPlane::heard_demand(std::vector<DemandHeard> demand) {
  demand_.insert(demand_.end(), demand.begin(), demand.end());
}

Instant ControlPlane::next_deadline() const {
  const auto next = std::min(engine_.next_deadline(), engine_.assign_deadline());
  return solving_ ? std::min(next, solving_->done) : next;
}

void ControlPlane::take_channel() {
  while (!inbox_.empty()) {
    const auto message = inbox_.front();
    inbox_.pop_front();
    if (const auto* hello = std::get_if<table_channel::Hello>(&message)) {
      publication_.connected(*hello);
      engine_.restart_demand();
    } else if (const auto* answer = std::get_if<table_channel::Acknowledge>(&message)) {
      publication_.acknowledged(*answer);
    } else {
      publication_.disconnected();
    }
  }
}

// Nobody falls without silence, and not when most are silent at once (promise 7).
void ControlPlane::check_falls(const controlplane::Round& round, Instant now) {
  const auto& health = engine_.health();
  const auto& world = engine_.world();
  auto& fallen = fallen_;
  fallen.clear();
  for (const auto s : round.site_changes) {
    const auto& site = health.site(s);
    // One that said goodbye and came back before this turn is down without silence.
    if (site.state != SiteState::down || site.leaving || left_.contains(s)) continue;
    fallen.push_back(s);
    const auto heard = std::max(last_accepted_[s], began_);
    ++parts_.witness.figures.falls;
    if (now - heard < silence_of(world, s, silence_share_min)) {
      parts_.witness.violated(now, "health",
                              world.site(s).id + " was taken down after a silence of " +
                                  std::to_string((now - heard).ms()) + " ms");
    }
  }
  if (fallen.empty()) return;
  unsigned alive = 0;
  unsigned silent = 0;
  for (std::uint32_t s = 0; s < health.site_count(); ++s) {
    const auto& site = health.site(s);
    const bool fell_now = std::ranges::find(fallen, s) != fallen.end();
    if (!site.keyed || (site.state == SiteState::down && !fell_now)) continue;
    ++alive;
    silent += fell_now ||
              now - std::max(last_accepted_[s], began_) >= silence_of(world, s, silence_share_sure);
  }
  const auto share = world.config->controlplane.health.mass_silence_share;
  if (alive >= 3 && silent > share * alive) {
    parts_.witness.violated(now, "promise 7",
                            std::to_string(silent) + " of " + std::to_string(alive) +
                                " sites are silent, and " + world.site(fallen[0]).id +
                                " is taken down");
  }
}

void ControlPlane::keep_cells(const controlplane::Round& round, Instant now) {
  const auto locale_count = engine_.world().locales.size();
  if (!round.changes.empty()) ranked_at_ = now;
  for (const auto& change : round.changes) {
    const auto cell = std::make_shared<const Cell>(read_cell(round.answers_of(change)));
    note_loss(change.pool, round.locales_of(change).front(), *cell, round, now);
    for (const auto locale : round.locales_of(change)) {
      cells_->cells[std::size_t{change.pool} * locale_count + locale] = cell;
    }
  }
  if (auto wrong = checks_.check(engine_, round); !wrong.empty())
    parts_.witness.violated(now, "ranking", wrong);
}

// As EngineLoop::remember.
void ControlPlane::remember(const controlplane::Round& round, Instant now) {
  for (const auto s : round.site_changes) {
    const auto state = engine_.health().site(s).state;
    if (state == SiteState::suspect) continue;
    const auto id = engine_.world().site(s).id;
    parts_.disk.write(durable_at(now), [id, down = state == SiteState::down](Remembered& disk) {
      if (down) {
        disk.down_sites.insert(id);
      } else {
        disk.down_sites.erase(id);
      }
    });
  }
}

void ControlPlane::send(const controlplane::Outgoing& outgoing, Instant now) {
  PublishMessage message;
  message.version = outgoing.version;
  message.kinds = outgoing.kinds;
  for (const int fd : outgoing.fds) {
    message.images.push_back(std::make_shared<const Mapping>(*map_sealed(fd)));
    parts_.witness.digest(read_image_header(message.images.back()->bytes())->checksum);
  }
  message.expected = std::make_shared<const Expected>(*cells_);
  if (std::exchange(corrupt_next_, false)) {
    message.corrupted = true;
    message.images.back() = damaged(*message.images.back(), parts_.random);
  }
  ++parts_.witness.figures.publishes;
  parts_.witness.digest(static_cast<std::uint64_t>(now.ns));
  parts_.send(std::move(message));
}

void ControlPlane::turn(Now clock, Step until) {
  const auto now = clock.monotonic;
  ++parts_.witness.figures.turns;
  engine_.set_clock(clock);
  if (until == Step::drain) return;
  drain();
  take_solution(now);
  if (until == Step::assign) return;
  assign_demand(now);
  if (until == Step::channel) return;
  take_channel();
  if (until == Step::rank) return;
  const auto round = engine_.step(now);
  check_falls(round, now);
  left_.clear();
  note_unrest(round, now);
  keep_cells(round, now);
  if (last_unrest_ < now) check_assignment(now);
  take_assigned(round, now);
  if (until == Step::apply) return;
  if (auto applied = publication_.apply(round); !applied)
    parts_.witness.violated(now, "publication", applied.error().text());
  if (until == Step::remember) return;
  remember(round, now);
  if (until == Step::build) return;
  const auto outgoing = publication_.next(now);
  if (!outgoing) {
    parts_.witness.violated(now, "publication", outgoing.error().text());
    return;
  }
  if (!*outgoing || until == Step::send) return;
  send(**outgoing, now);
  if (until == Step::save) return;
  parts_.disk.write(durable_at(now),
                    [version = (*outgoing)->version](Remembered& disk) { disk.version = version; });
}

}  // namespace pharos::sim
