#include "simulation.hh"

#include <algorithm>

namespace pharos::sim {
namespace {

using controlplane::SiteState;

// Sites that never come back, at most this share, so that the others are not held by the guard against mass silence.
constexpr double gone_share_max = 0.3;
// What was ranked is in use after this, where nothing goes wrong.
constexpr Duration adopted_within = seconds(1);

// A client's slot is its hash modulo their number, which is a power of two: slots that are repeated answer alike.
bool slots_alike(const controlplane::CellContent& a, const controlplane::CellContent& b) {
  if (a.slots.empty() || b.slots.empty()) return a.slots.empty() == b.slots.empty();
  for (std::size_t i = 0; i < std::max(a.slots.size(), b.slots.size()); ++i) {
    if (a.slots[i % a.slots.size()] != b.slots[i % b.slots.size()]) return false;
  }
  return true;
}

// A cell that changed and changed back before it was sent is not sent. What is not answered has no TTL.
bool answers_alike(const std::shared_ptr<const Cell>& a, const std::shared_ptr<const Cell>& b) {
  if (a == nullptr || b == nullptr || a == b) return a == b;
  return slots_alike(a->content, b->content) &&
         (a->content.slots.empty() || a->content.ttl_s == b->content.ttl_s);
}

}  // namespace

Simulation::Simulation(Scenario scenario)
    : scenario_(std::move(scenario)),
      random_(scenario_.seed ^ 0x5851f42d4c957f2d),
      events_(start),
      clients_(scenario_, events_, random_.fork(), *this),
      config_(std::make_shared<const config::Config>(scenario_.config)),
      directions_(scenario_.config.sites.size()) {
  stamped_on_arrival_ = random_.chance(0.5);
}

const Witness& Simulation::run() {
  make_sites();
  start_dataplane();
  start_control();
  clients_.begin();
  watch_loads();
  plan_misfortunes();
  const auto healed = start + scenario_.troubled;
  const auto end = healed + scenario_.calm;
  while (witness_.ok() && events_.run_next(healed)) {
  }
  if (witness_.ok()) heal();
  while (witness_.ok() && events_.run_next(end)) {
  }
  if (witness_.ok()) check_health_at_the_end();
  auto& figures = witness_.figures;
  figures.simulated_s = (events_.now() - start).seconds();
  figures.site_count = sites_.size();
  return witness_;
}

// Misfortunes end. Some sites are gone for good.
void Simulation::heal() {
  in_trouble_ = false;
  provoked();
  deaf_ = false;
  extra_loss_ = 0;
  scenario_.network.loss = std::min(scenario_.network.loss, 0.01);
  scenario_.network.spike = 0;
  scenario_.network.jitter = milliseconds(1);
  control_wall_offset_ = {};
  steady_since_ = events_.now();
  stalled_until_ = {};
  const auto gone = random_.below(
      static_cast<std::uint64_t>(gone_share_max * static_cast<double>(sites_.size())) + 1);
  for (std::uint32_t s = 0; s < sites_.size(); ++s) {
    auto& site = sites_[s];
    site.cut = false;
    site.lie = Lie::none;
    site.wall_offset = {};
    if (s < gone) {
      end_life(s, false);
    } else if (!site.alive) {
      begin_life(s);
    }
  }
  for (std::uint16_t l = 0; l < clients_.locale_count(); ++l) clients_.surge(l, 1.0);
  if (!dataplane_) start_dataplane();
  if (!control_) start_control();
  wake_control(events_.now());
}

// Liveness: who lives is up, who is gone is down, and the data plane has all of it.
void Simulation::check_health_at_the_end() {
  const auto now = events_.now();
  const auto wrong = [&](const std::string& what) { witness_.violated(now, "liveness", what); };
  if (!control_ || !dataplane_) return wrong("a process is not there");
  const auto& engine = control_->engine();
  for (std::uint32_t s = 0; s < sites_.size(); ++s) {
    if (!sites_[s].keyed) continue;
    const auto state = engine.health().site(s).state;
    const auto wanted = sites_[s].alive ? SiteState::up : SiteState::down;
    const bool suspected = sites_[s].alive && state == SiteState::suspect;  // one lost beacon
    // One that flapped has to behave for longer before it is trusted again.
    const auto& health = engine.health().site(s);
    const bool rising =
        sites_[s].alive && state == SiteState::down && health.rise_count > 0 &&
        now - health.rise_began < rise_needed(health, config_->controlplane.health.rise, now);
    if (state != wanted && !suspected && !rising) {
      return wrong("site " + std::to_string(s) + " is " + std::string(name_of(state)) +
                   ", but it " + (sites_[s].alive ? "lives" : "is gone") +
                   "; its last beacon was " + std::string(control_->last_verdict(s)));
    }
  }
  if (engine.health().suspects_itself()) return wrong("it still suspects itself");
  if (!control_->publication().is_connected()) return wrong("the planes are not connected");
  if (!dataplane_->tables().root) return wrong("nothing was ever adopted");
  // What was refused stays refused until something changes, and raises an alarm.
  if (now - control_->ranked_at() > adopted_within && control_->publication().alarm().empty() &&
      !std::ranges::equal(dataplane_->tables().expected->cells, control_->ranked().cells,
                          answers_alike))
    return wrong("the data plane has other tables than what was ranked last");
}

}  // namespace pharos::sim
