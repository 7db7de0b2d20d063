// Sites, their agents and the network between them and the control plane.
#include "pharos/wire/beacon.hh"

#include <algorithm>

#include "simulation.hh"

namespace pharos::sim {
namespace {

constexpr std::size_t captured_max = 8;
constexpr unsigned leaving_copies = 3;  // as agent.cc
constexpr Duration leaving_copy_distance = milliseconds(10);
constexpr double capacity_unlimited_rps = 5000;

}  // namespace

void Simulation::make_sites() {
  for (std::uint32_t s = 0; s < config_->sites.size(); ++s) {
    const auto& config = config_->sites[s];
    Site site;
    site.keyed = !config.keys.empty();
    if (site.keyed) site.key = beacon::MacKey(config.keys[0].secret);
    site.tag = beacon::site_tag(config.id);
    site.delay = random_.between(scenario_.network.delay_min, scenario_.network.delay_max);
    for (const auto& service : config_->services) {
      for (const auto& endpoint : service.endpoints) {
        if (endpoint.site == config.id) {
          site.endpoints.emplace_back(endpoint_hash(service.id, endpoint.id),
                                      place_of(endpoint.addresses.front()));
        }
      }
    }
    sites_.push_back(std::move(site));
    begin_life(s);
  }
}

// Its agent starts: a boot epoch as BootEpoch::begin makes it, sequence from 1, the first beacon soon.
void Simulation::begin_life(std::uint32_t index) {
  auto& site = sites_[index];
  site.alive = true;
  ++site.life;
  const auto wall = start_wall.ns + (events_.now() - start).ns + site.wall_offset.ns;
  const auto from_clock = static_cast<std::uint64_t>(std::max<std::int64_t>(wall / 1'000'000, 1));
  site.boot_epoch = std::max(from_clock, site.boot_epoch + 1);
  site.sequence = 0;
  if (!site.keyed) return;
  const auto interval = config_->sites[index].beacon_interval;
  events_.in(random_.between(Duration{}, interval),
             [this, index, life = site.life] { beat(index, life); });
}

void Simulation::end_life(std::uint32_t index, bool leaving) {
  auto& site = sites_[index];
  site.alive = false;
  ++site.life;
  if (!leaving || !site.keyed) return;
  const auto last = make_beacon(index, true);
  for (unsigned copy = 0; copy < leaving_copies; ++copy) {
    events_.in(leaving_copy_distance * copy, [this, last] { transmit(last); });
  }
}

// A beacon, its staggered copies, and the next one.
void Simulation::beat(std::uint32_t index, std::uint64_t life) {
  auto& site = sites_[index];
  if (site.life != life) return;
  const auto interval = config_->sites[index].beacon_interval;
  const auto datagram = make_beacon(index, false);
  transmit(datagram);
  for (unsigned copy = 1; copy < scenario_.send_copies; ++copy) {
    events_.in(interval * copy / (2 * scenario_.send_copies),
               [this, datagram] { transmit(datagram); });
  }
  site.captured.push_back(datagram);
  if (site.captured.size() > captured_max) site.captured.pop_front();
  events_.in(interval, [this, index, life] { beat(index, life); });
}

SiteReport Simulation::report_of(std::uint32_t index, bool leaving) {
  auto& site = sites_[index];
  const auto& config = config_->sites[index];
  const double load = clients_.load_of(index);
  const double capacity = config.capacity_rps.value_or(capacity_unlimited_rps);
  SiteReport report;
  report.interval_ms = static_cast<std::uint32_t>(config.beacon_interval.ms());
  report.copies = scenario_.send_copies;
  report.leaving = leaving;
  double cpu = std::min(1.0, 0.05 + 0.9 * load / capacity + random_.between(0.0, 0.02));
  double rps = load;
  if (site.lie == Lie::idle) cpu = rps = 0;
  if (site.lie == Lie::hot) cpu = 1;
  if (site.lie == Lie::wild) {
    cpu = random_.unit();
    rps = random_.between(0.0, 2 * capacity);
    report.metrics.error_ratio = static_cast<float>(random_.unit());
    report.metrics.memory_ratio = static_cast<float>(random_.unit());
  }
  report.metrics.cpu_ratio = static_cast<float>(cpu);
  report.metrics.requests_rps = static_cast<float>(rps);
  for (const auto& [hash, place] : site.endpoints) {
    if (report.endpoints.size() == beacon::endpoint_count_max) break;
    auto& endpoint = report.endpoints.emplace_back();
    endpoint.endpoint = hash;
    endpoint.up = site.lie != Lie::wild || random_.chance(0.5);
    if (site.lie == Lie::none) endpoint.requests_rps = static_cast<float>(clients_.load_at(place));
    if (site.lie == Lie::idle) endpoint.requests_rps = 0.0F;
    if (site.lie == Lie::wild)
      endpoint.requests_rps = static_cast<float>(random_.between(0.0, 2 * capacity));
  }
  return report;
}

std::shared_ptr<const Datagram> Simulation::make_beacon(std::uint32_t index, bool leaving) {
  auto& site = sites_[index];
  auto datagram = std::make_shared<Datagram>();
  datagram->site = index;
  datagram->sent = events_.now();
  datagram->boot_epoch = site.boot_epoch;
  datagram->sequence = ++site.sequence;
  const auto wall = start_wall.ns + (events_.now() - start).ns + site.wall_offset.ns;
  std::array<std::byte, beacon::datagram_bytes_max> buffer;
  const auto length = beacon::encode({.site_tag = site.tag,
                                      .boot_epoch = site.boot_epoch,
                                      .sequence = site.sequence,
                                      .sent_wall_ms = wall / 1'000'000,
                                      .key_id = 1},
                                     report_of(index, leaving), site.key, buffer);
  datagram->bytes.assign(buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(length));
  ++witness_.figures.beacons_sent;
  return datagram;
}

// Loss, delay, jitter, duplication; what is held up longer than what follows it is overtaken.
void Simulation::transmit(const std::shared_ptr<const Datagram>& datagram) {
  const auto& network = scenario_.network;
  const auto& site = sites_[datagram->site];
  const unsigned copies = random_.chance(network.duplicate) ? 2 : 1;
  for (unsigned copy = 0; copy < copies; ++copy) {
    if (site.cut || deaf_ || random_.chance(network.loss + extra_loss_)) continue;
    auto delay = site.delay + random_.exponential(network.jitter);
    if (random_.chance(network.spike))
      delay = delay + random_.between(Duration{}, network.spike_max);
    events_.in(delay, [this, datagram] { deliver(datagram); });
  }
}

void Simulation::deliver(const std::shared_ptr<const Datagram>& datagram) {
  if (!control_) return;
  auto now = control_now();
  if (events_.now() < stalled_until_) {
    // Waits in a ring or a socket until the process runs again; rings keep the time of arrival.
    const auto arrived = now;
    events_.at(stalled_until_, [this, datagram, arrived] {
      if (!control_) return;
      auto late = control_now();
      if (stamped_on_arrival_) late.monotonic = arrived.monotonic;
      if (control_->receive(*datagram, late)) wake_control(events_.now());
    });
    return;
  }
  if (control_->receive(*datagram, now)) {
    wake_control(events_.now() + random_.between(microseconds(10), microseconds(500)));
  }
}

}  // namespace pharos::sim
