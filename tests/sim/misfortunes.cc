// What goes wrong, and when it ends.
#include <algorithm>

#include "simulation.hh"

namespace pharos::sim {
namespace {

constexpr Duration one_day = seconds(86400);
// What is held back beyond the window is late by this much more.
constexpr Duration late_beyond_window = seconds(3);

}  // namespace

Duration short_while(Random& random) {
  return random.between(milliseconds(500), seconds(8));
}

void Simulation::every(Duration mean, void (Simulation::*misfortune)()) {
  if (mean.ns == 0) return;
  events_.in(random_.exponential(mean), [this, mean, misfortune] {
    if (!in_trouble_) return;
    (this->*misfortune)();
    every(mean, misfortune);
  });
}

void Simulation::plan_misfortunes() {
  const auto& r = scenario_.rates;
  every(r.site_crash, &Simulation::crash_site);
  every(r.site_leaves, &Simulation::leave_site);
  every(r.site_partition, &Simulation::cut_site);
  every(r.site_flaps, &Simulation::flap_site);
  every(r.site_lies, &Simulation::lie_site);
  every(r.site_clock_step, &Simulation::step_site_clock);
  every(r.region_fails, &Simulation::fail_region);
  every(r.deaf, &Simulation::go_deaf);
  every(r.loss_burst, &Simulation::lose_more);
  every(r.control_crash, &Simulation::crash_control_for_a_while);
  every(r.control_stall, &Simulation::stall_control);
  every(r.control_clock_step, &Simulation::step_control_clock);
  every(r.control_disk_lost, &Simulation::lose_disk);
  every(r.dataplane_crash, &Simulation::crash_dataplane_for_a_while);
  every(r.corrupt_publish, &Simulation::corrupt_publish);
  every(r.operator_override, &Simulation::override_endpoint);
  every(r.operator_weight, &Simulation::weigh_endpoint);
  every(r.operator_exponents, &Simulation::tune_exponents);
  every(r.reload, &Simulation::reload);
  every(r.bad_reload, &Simulation::reload_badly);
  every(r.operator_plans, &Simulation::plan_work);
  every(r.operator_drains, &Simulation::drain_site);
  every(r.operator_numbers, &Simulation::change_numbers);
  every(r.operator_draft, &Simulation::begin_draft);
  every(r.operator_rollback, &Simulation::roll_back);
  every(r.backup, &Simulation::use_backup);
  every(r.surge, &Simulation::surge);
  every(r.growth, &Simulation::grow);
  every(r.attack, &Simulation::attack);
}

std::uint32_t Simulation::any_site() {
  return static_cast<std::uint32_t>(random_.below(sites_.size()));
}

void Simulation::crash_site() {
  const auto s = any_site();
  if (!sites_[s].alive) return;
  end_life(s, false);
  events_.in(short_while(random_), [this, s] {
    if (!sites_[s].alive) begin_life(s);
  });
}

void Simulation::leave_site() {
  const auto s = any_site();
  if (!sites_[s].alive) return;
  end_life(s, true);
  events_.in(short_while(random_), [this, s] {
    if (!sites_[s].alive) begin_life(s);
  });
}

void Simulation::cut_site() {
  const auto s = any_site();
  sites_[s].cut = true;
  events_.in(short_while(random_), [this, s] { sites_[s].cut = false; });
}

// Up and down, again and again, with a period of its own.
void Simulation::flap_site() {
  const auto s = any_site();
  const auto interval = config_->sites[s].beacon_interval;
  const auto down = interval * 4 + random_.between(Duration{}, seconds(2));
  const auto up = interval * 4 + random_.between(Duration{}, seconds(5));
  const auto until = events_.now() + random_.between(seconds(5), seconds(60));
  const auto turn = [this, s, down, up, until](auto self) -> void {
    if (!in_trouble_ || events_.now() >= until) return;
    if (sites_[s].alive) {
      end_life(s, false);
      events_.in(down, [this, s, self] {
        if (!sites_[s].alive) begin_life(s);
        self(self);
      });
    } else {
      events_.in(up, [self] { self(self); });
    }
  };
  const auto flap = [this, turn, up](auto self) -> void {
    turn(turn);
    if (in_trouble_) events_.in(up, [self] { self(self); });
  };
  flap(flap);
}

void Simulation::lie_site() {
  const auto s = any_site();
  constexpr Lie lies[] = {Lie::idle, Lie::hot, Lie::wild};
  sites_[s].lie = lies[random_.below(3)];
  events_.in(short_while(random_) * 2, [this, s] { sites_[s].lie = Lie::none; });
}

// A day or some seconds, to either side; NTP sets it right some time later.
void Simulation::step_site_clock() {
  const auto s = any_site();
  const auto step = random_.chance(0.5) ? one_day : random_.between(seconds(1), seconds(100));
  sites_[s].wall_offset = random_.chance(0.5) ? step : Duration{-step.ns};
  events_.in(short_while(random_), [this, s] { sites_[s].wall_offset = {}; });
}

void Simulation::fail_region() {
  const auto& region = config_->sites[any_site()].region;
  std::vector<std::uint32_t> lost;
  for (std::uint32_t s = 0; s < sites_.size(); ++s) {
    if (config_->sites[s].region != region || !sites_[s].alive) continue;
    end_life(s, false);
    lost.push_back(s);
  }
  events_.in(short_while(random_), [this, lost] {
    for (const auto s : lost) {
      if (!sites_[s].alive) begin_life(s);
    }
  });
}

void Simulation::go_deaf() {
  deaf_ = true;
  events_.in(short_while(random_), [this] { deaf_ = false; });
}

void Simulation::lose_more() {
  extra_loss_ = random_.between(0.05, 0.5);
  events_.in(short_while(random_), [this] { extra_loss_ = 0; });
}

void Simulation::crash_control_for_a_while() {
  crash_control();
  events_.in(random_.between(milliseconds(50), seconds(6)), [this] {
    if (!control_) start_control();
  });
}

void Simulation::stall_control() {
  stalled_until_ = events_.now() + random_.between(milliseconds(50), seconds(6));
  steady_since_ = stalled_until_;
  provoked();
  if (control_) control_->excuse(stalled_until_);
  next_turn_ = controlplane::never;
  wake_control(stalled_until_);
}

void Simulation::step_control_clock() {
  const auto step = random_.chance(0.5) ? one_day : random_.between(seconds(1), seconds(100));
  control_wall_offset_ = random_.chance(0.5) ? step : Duration{-step.ns};
  events_.in(short_while(random_), [this] {
    control_wall_offset_ = {};
    steady_since_ = events_.now();
  });
}

void Simulation::lose_disk() {
  crash_control();
  disk_.lose();
  events_.in(random_.between(milliseconds(50), seconds(2)), [this] {
    if (!control_) start_control();
  });
}

// A backup is made, and later put back; or a control plane that was set aside starts from it, takes over for a while, and the
// one that knows nothing of that comes back.
void Simulation::use_backup() {
  if (rival_) return;
  disk_.settle(events_.now());
  if (!backup_) {
    backup_ = Kept{disk_, said_, planned_, config_};
    backup_->disk.crash(events_.now());
    return;
  }
  crash_control();
  if (random_.chance(0.5)) {
    put_back(*backup_, config_);
    events_.in(random_.between(milliseconds(50), seconds(2)), [this] {
      if (!control_) start_control();
    });
    return;
  }
  rival_ = true;
  const Kept mine{disk_, said_, planned_, config_};
  put_back(*backup_, backup_->config);
  start_control();
  events_.in(random_.between(milliseconds(200), seconds(4)), [this, mine] {
    crash_control();
    put_back(mine, mine.config);
    rival_ = false;
    start_control();
  });
}

void Simulation::put_back(const Kept& kept, std::shared_ptr<const config::Config> config) {
  disk_ = kept.disk;
  said_ = kept.said;
  planned_ = kept.planned;
  config_ = std::move(config);
  draft_.reset();
}

void Simulation::crash_dataplane_for_a_while() {
  crash_dataplane();
  events_.in(random_.between(milliseconds(50), seconds(4)), [this] {
    if (!dataplane_) start_dataplane();
  });
}

void Simulation::corrupt_publish() {
  if (control_) control_->corrupt_next_publish();
}

void Simulation::surge() {
  const auto locale = static_cast<std::uint16_t>(random_.below(clients_.locale_count()));
  clients_.surge(locale, random_.between(1.5, 5.0));
  provoked();
  events_.in(short_while(random_) * 2, [this, locale] {
    clients_.surge(locale, 1.0);
    provoked();
  });
}

// Clients behind resolvers become more, and nobody looks anything up for it: of one locale, or of all.
void Simulation::grow() {
  const double factor = random_.between(1.5, 4.0);
  const auto count = clients_.locale_count();
  const bool all = random_.chance(0.5);
  const auto only = random_.below(count);
  for (std::uint16_t l = 0; l < count; ++l) {
    if (all || l == only) clients_.grow(l, factor);
  }
  provoked();
  events_.in(short_while(random_) * 2, [this] {
    // Some stay.
    if (random_.chance(0.3)) return;
    for (std::uint16_t l = 0; l < clients_.locale_count(); ++l) clients_.grow(l, 1.0);
    provoked();
  });
}

// Forges, replays, or holds a dead site's last word back to make it look alive later.
void Simulation::attack() {
  const auto s = any_site();
  if (sites_[s].captured.empty()) return;
  auto datagram =
      std::make_shared<Datagram>(*sites_[s].captured[random_.below(sites_[s].captured.size())]);
  Duration after = random_.between(Duration{}, seconds(2));
  switch (random_.below(3)) {
    case 0:
      datagram->origin = Datagram::Origin::forged;
      datagram->bytes[random_.below(datagram->bytes.size())] ^= std::byte{0x10};
      break;
    case 1:
      datagram->origin = Datagram::Origin::replayed;
      break;
    default: {
      // A beacon that nobody else ever saw. Who can hold it back can silence the site as well, until the beacon is late.
      if (!sites_[s].alive) return;
      *datagram = *make_beacon(s, false);
      datagram->origin = Datagram::Origin::held_back;
      after = random_.between(milliseconds(100), seconds(60));
      if (random_.chance(0.5)) {
        const auto& window = config_->controlplane.beacon_window;
        after = random_.between(window / 2, window + late_beyond_window);
        sites_[s].cut = true;
        events_.in(after + milliseconds(1), [this, s] { sites_[s].cut = false; });
      }
      break;
    }
  }
  events_.in(after, [this, datagram] { deliver(datagram); });
}

}  // namespace pharos::sim
