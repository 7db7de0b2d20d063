#include "scenario.hh"

#include <algorithm>

namespace pharos::sim {
namespace {

config::Policy plain_policy(config::Policy policy) {
  switch (policy) {
    case config::Policy::geo:
      return config::Policy::ranked;
    case config::Policy::sticky:
    case config::Policy::multivalue:
      return config::Policy::weighted;
    default:
      return policy;
  }
}

// One history in so many is of another kind; the others are small, so that ten thousand fit into a test.
constexpr std::uint64_t large_every = 512;
constexpr std::uint64_t settling_every = 12;
constexpr std::uint64_t hour_every = 128;

config::KeyConfig make_key(Random& random) {
  config::KeyConfig key;
  key.id = 1;
  for (auto& byte : key.secret) byte = static_cast<std::uint8_t>(random.next());
  return key;
}

config::SiteConfig make_site(Random& random, unsigned index, unsigned regions, Duration interval) {
  config::SiteConfig site;
  site.id = site_id(index);
  site.region = "region" + std::to_string(index % regions);
  site.latitude = random.between(-60.0, 60.0);
  site.longitude = random.between(-180.0, 180.0);
  site.beacon_interval = interval;
  if (random.chance(0.7)) site.capacity_rps = random.between(200.0, 2000.0);
  if (random.chance(0.03)) return site;  // never beacons, counts as up
  site.keys = {make_key(random)};
  return site;
}

config::EndpointConfig make_endpoint(Random& random, unsigned service, unsigned site, bool ipv6) {
  config::EndpointConfig endpoint;
  endpoint.id = "at-" + site_id(site);
  endpoint.site = site_id(site);
  endpoint.addresses = {IpAddress::from_ipv4(0x0a000000U + service * 65536 + site)};
  if (ipv6) {
    auto address = *IpAddress::parse("2001:db8::");
    address.bytes[13] = static_cast<std::uint8_t>(service);
    address.bytes[14] = static_cast<std::uint8_t>(site >> 8);
    address.bytes[15] = static_cast<std::uint8_t>(site);
    endpoint.addresses.push_back(address);
  }
  if (random.chance(0.3)) endpoint.weight = random.between(0.5, 4.0);
  if (random.chance(0.03)) endpoint.weight = 0;
  endpoint.priority = static_cast<int>(random.below(3));
  if (random.chance(0.1))
    endpoint.ttl_max = seconds(static_cast<std::int64_t>(random.from_to(1, 30)));
  if (random.chance(0.15)) endpoint.capacity_rps = random.between(100.0, 1000.0);
  return endpoint;
}

config::ServiceConfig make_service(Random& random, unsigned index, unsigned sites) {
  config::ServiceConfig service;
  service.id = service_id(index);
  service.names = {service.id + ".example.org."};
  service.policy = some_policy(random);
  service.answers_max = random.chance(0.4) ? 1 : static_cast<unsigned>(random.from_to(2, 8));
  service.ttl_floor = seconds(static_cast<std::int64_t>(random.from_to(1, 5)));
  service.ttl_ceiling = seconds(static_cast<std::int64_t>(random.from_to(5, 30)));
  constexpr double thresholds[] = {0.0, 0.25, 0.5, 0.5, 0.8};
  service.panic_threshold = thresholds[random.below(5)];
  if (random.chance(0.15)) service.fail = config::FailMode::closed;
  service.slots = 8U << random.below(3);
  if (random.chance(0.2)) service.slow_start = random.between(seconds(2), seconds(20));
  if (random.chance(0.2)) {
    service.failback = random.chance(0.5) ? config::Failback::manual : config::Failback::hold;
    service.failback_hold = random.between(seconds(2), seconds(10));
  }
  if (random.chance(0.2)) service.probe_share = random.between(0.0, 0.05);
  service.importance = static_cast<int>(random.below(3));
  const bool ipv6 = random.chance(0.2);
  const unsigned wanted = static_cast<unsigned>(random.from_to(2, std::min(sites, 24U)));
  std::vector<unsigned> all(sites);
  for (unsigned i = 0; i < sites; ++i) all[i] = i;
  for (unsigned i = 0; i < wanted; ++i) {
    std::swap(all[i], all[i + random.below(sites - i)]);
    service.endpoints.push_back(make_endpoint(random, index, all[i], ipv6));
  }
  return service;
}

void add_services(Random& random, config::Config& config, unsigned count) {
  const auto sites = static_cast<unsigned>(config.sites.size());
  for (unsigned i = 0; i < count; ++i) config.services.push_back(make_service(random, i, sites));
  for (unsigned i = 0; i < count; ++i) {
    auto& service = config.services[i];
    if (count < 2 || service.fail == config::FailMode::closed || !random.chance(0.2)) continue;
    service.fail = config::FailMode::to;
    service.fail_to = service_id((i + 1) % count);
  }
}

void add_locales(Random& random, Scenario& scenario, unsigned count) {
  scenario.demands.emplace_back();  // everyone else asks nothing
  scenario.behind_one.push_back(1);
  const bool alike = random.chance(0.5);
  for (unsigned i = 0; i < count; ++i) {
    config::LocaleConfig locale;
    locale.id = "locale" + std::to_string(i);
    locale.latitude = random.between(-60.0, 60.0);
    locale.longitude = random.between(-180.0, 180.0);
    locale.prefixes = {{IpAddress::from_ipv4(0xc6120000U + i * 256), 24}};
    scenario.config.locales.push_back(locale);
    scenario.demands.push_back(
        {random.between(50.0, 800.0), random.between(0.0, 0.9), random.unit()});
    scenario.behind_one.push_back(alike ? 5 : random.between(1.0, 20.0));
  }
}

// Planned work at a site or two, while the history lasts.
void add_maintenance(Random& random, config::Config& config) {
  for (std::uint64_t i = random.from_to(1, 2); i > 0; --i) {
    auto& work = config.maintenance.emplace_back();
    work.id = "work" + std::to_string(i);
    work.sites = {config.sites[random.below(config.sites.size())].id};
    const auto from = random.between(seconds(2), seconds(40));
    work.from = WallTime{start_wall.ns + from.ns};
    work.to = WallTime{work.from.ns + random.between(seconds(2), seconds(30)).ns};
  }
}

config::AssignConfig make_assign(Random& random) {
  config::AssignConfig assign;
  assign.enabled = !random.chance(0.05);
  assign.interval = random.between(milliseconds(500), seconds(5));
  assign.window = random.between(seconds(1), seconds(30));
  if (random.chance(0.3)) assign.degrade = config::Degrade::importance;
  return assign;
}

// Each kind of misfortune is there or not, rare or frequent: most histories have a few kinds at once.
Duration some_rate(Random& random, double probability, Duration low, Duration high) {
  return random.chance(probability) ? random.between(low, high) : Duration{};
}

Rates make_rates(Random& random) {
  Rates rates;
  const auto draw = [&](double probability, std::int64_t low_s, std::int64_t high_s) {
    return some_rate(random, probability, seconds(low_s), seconds(high_s));
  };
  rates.site_crash = draw(0.5, 3, 30);
  rates.site_leaves = draw(0.2, 5, 30);
  rates.site_partition = draw(0.25, 5, 30);
  rates.site_flaps = draw(0.2, 10, 40);
  rates.site_lies = draw(0.25, 5, 30);
  rates.site_clock_step = draw(0.2, 5, 30);
  rates.region_fails = draw(0.15, 10, 40);
  rates.deaf = draw(0.15, 10, 40);
  rates.loss_burst = draw(0.2, 10, 40);
  rates.control_crash = draw(0.35, 5, 30);
  rates.control_stall = draw(0.2, 5, 30);
  rates.control_clock_step = draw(0.2, 5, 30);
  rates.control_disk_lost = draw(0.05, 20, 60);
  rates.dataplane_crash = draw(0.3, 5, 30);
  rates.corrupt_publish = draw(0.05, 10, 30);
  rates.operator_override = draw(0.3, 3, 20);
  rates.operator_weight = draw(0.2, 5, 20);
  rates.operator_exponents = draw(0.1, 10, 30);
  rates.reload = draw(0.2, 10, 30);
  rates.bad_reload = draw(0.1, 10, 30);
  rates.surge = draw(0.25, 8, 40);
  rates.attack = draw(0.3, 1, 10);
  return rates;
}

// What operators do beside words on single endpoints: planned work, drains of sites, other numbers, drafts, the way back.
void add_operators(Random& random, Rates& rates) {
  const auto draw = [&](double probability, std::int64_t low_s, std::int64_t high_s) {
    return some_rate(random, probability, seconds(low_s), seconds(high_s));
  };
  rates.operator_plans = draw(0.2, 4, 20);
  rates.operator_drains = draw(0.2, 5, 20);
  rates.operator_numbers = draw(0.2, 5, 25);
  rates.operator_draft = draw(0.1, 8, 25);
  rates.operator_rollback = draw(0.1, 8, 30);
}

// Steered by health and scores alone; --tune assign 1 adds demand and capacity.
void make_plain(Scenario& scenario) {
  auto& config = scenario.config;
  config.maintenance.clear();
  config.controlplane.assign.enabled = false;
  scenario.behind_large = 1;
  for (auto& service : config.services) {
    service.policy = plain_policy(service.policy);
    for (auto& group : service.groups) group.policy = plain_policy(group.policy);
    service.slow_start = {};
    service.failback = config::Failback::automatic;
    service.probe_share = 0;
  }
}

// Every site has a limit; all demand together is a part of what is left when a region is lost. Nothing but losses and
// surges happens, and nobody lies.
void make_settling(Random& random, Scenario& scenario) {
  auto& config = scenario.config;
  config.maintenance.clear();
  config.controlplane.assign.enabled = true;
  config.controlplane.assign.interval = random.between(milliseconds(500), seconds(3));
  config.controlplane.assign.window = random.between(seconds(1), seconds(5));
  double capacity = 0;
  for (auto& site : config.sites) {
    site.capacity_rps = random.between(300.0, 2000.0);
    capacity += *site.capacity_rps;
    // What stands behind a site that never beacons, nobody can know.
    if (site.keys.empty()) site.keys = {make_key(random)};
  }
  for (auto& service : config.services) {
    service.ttl_ceiling = std::min(service.ttl_ceiling, service.ttl_floor + seconds(8));
    service.slow_start = std::min(service.slow_start, seconds(8));
    for (auto& endpoint : service.endpoints) {
      endpoint.capacity_rps.reset();
      endpoint.ttl_max.reset();
    }
  }
  double demand = 0;
  for (const auto& locale : scenario.demands) demand += locale.base_rps;
  const double use = random.between(0.2, 0.8);
  for (auto& locale : scenario.demands) locale.base_rps *= use * capacity / demand;
  std::ranges::fill(scenario.behind_one, 5.0);
  scenario.day = seconds(86400);
  scenario.behind_large = 0;
  scenario.stretching = 0;
  Rates rates;
  rates.site_crash = some_rate(random, 0.5, seconds(10), seconds(30));
  rates.site_leaves = some_rate(random, 0.3, seconds(10), seconds(30));
  rates.region_fails = some_rate(random, 0.6, seconds(10), seconds(30));
  rates.surge = some_rate(random, 0.5, seconds(10), seconds(30));
  rates.operator_weight = some_rate(random, 0.2, seconds(10), seconds(20));
  scenario.rates = rates;
  scenario.calm = settling_time(config) * 2 + seconds(20);
}

// An hour in which sites flap, lie and are cut off, and nothing else: every reversal is a choice of ours.
void make_hour(Random& random, Scenario& scenario) {
  for (auto& site : scenario.config.sites) site.beacon_interval = seconds(1);
  scenario.config.maintenance.clear();
  scenario.config.controlplane.assign = {};
  scenario.day = seconds(86400);
  Rates rates;
  rates.site_flaps = some_rate(random, 0.9, seconds(30), seconds(300));
  rates.site_partition = some_rate(random, 0.5, seconds(60), seconds(600));
  rates.site_lies = some_rate(random, 0.5, seconds(60), seconds(600));
  rates.site_crash = some_rate(random, 0.3, seconds(60), seconds(600));
  rates.surge = some_rate(random, 0.3, seconds(120), seconds(600));
  scenario.rates = rates;
  scenario.troubled = seconds(3600);
  // What flapped has to stay good for up to five minutes.
  scenario.calm = seconds(60);
}

Network make_network(Random& random) {
  Network network;
  if (random.chance(0.5)) network.loss = random.chance(0.2) ? random.between(0.01, 0.15) : 0.01;
  if (random.chance(0.3)) network.duplicate = random.between(0.0, 0.3);
  if (random.chance(0.2)) network.spike = random.between(0.0, 0.02);
  network.delay_min = milliseconds(static_cast<std::int64_t>(random.from_to(0, 20)));
  network.delay_max =
      network.delay_min + milliseconds(static_cast<std::int64_t>(random.from_to(0, 150)));
  network.jitter = random.chance(0.3)
                       ? milliseconds(static_cast<std::int64_t>(random.from_to(1, 40)))
                       : microseconds(200);
  return network;
}

}  // namespace

config::Policy some_policy(Random& random) {
  constexpr config::Policy policies[] = {config::Policy::ranked,   config::Policy::ranked,
                                         config::Policy::weighted, config::Policy::weighted,
                                         config::Policy::failover, config::Policy::geo,
                                         config::Policy::sticky,   config::Policy::multivalue};
  return policies[random.below(std::size(policies))];
}

std::string site_id(unsigned index) {
  return "site" + std::to_string(index);
}

std::string service_id(unsigned index) {
  return "service" + std::to_string(index);
}

std::string_view name_of(Kind kind) noexcept {
  constexpr std::string_view names[] = {"usual", "large", "settling", "hour"};
  return names[static_cast<std::size_t>(kind)];
}

Kind kind_of(std::uint64_t seed) noexcept {
  if (seed % large_every == 0) return Kind::large;
  if (seed % hour_every == 5) return Kind::hour;
  return seed % settling_every == 3 ? Kind::settling : Kind::usual;
}

Place place_of(const IpAddress& address) noexcept {
  if (address.is_ipv4()) return address.ipv4() & 0xffffff;
  return static_cast<Place>(address.bytes[13]) << 16 | static_cast<Place>(address.bytes[14]) << 8 |
         address.bytes[15];
}

Duration settling_time(const config::Config& config) {
  const auto& control = config.controlplane;
  Duration kept{};
  for (const auto& service : config.services)
    kept = std::max(kept, service.ttl_ceiling + service.slow_start);
  return control.assign.window * 3 + control.assign.interval * 2 + kept * 2 + seconds(6);
}

Scenario make_scenario(std::uint64_t seed, Kind kind) {
  Random random(seed * 0x9e3779b97f4a7c15 + 1);
  Scenario scenario;
  scenario.seed = seed;
  scenario.kind = kind;
  auto& config = scenario.config;
  config.file = "sim.yaml";
  const bool large = kind == Kind::large;
  constexpr std::int64_t intervals_ms[] = {200, 200, 500, 1000, 1000};
  const auto interval = milliseconds(large ? 1000 : intervals_ms[random.below(5)]);
  const auto sites = static_cast<unsigned>(large                ? random.from_to(100, 400)
                                           : random.chance(0.1) ? random.from_to(12, 24)
                                                                : random.from_to(2, 8));
  const auto regions = static_cast<unsigned>(random.from_to(1, 4));
  for (unsigned i = 0; i < sites; ++i) {
    config.sites.push_back(make_site(random, i, regions, interval));
  }
  add_locales(random, scenario, static_cast<unsigned>(random.from_to(1, large ? 12 : 4)));
  config.zones.resize(1);
  config.zones[0].id = "example.org.";
  config.zones[0].hosts = {{"ns1", {IpAddress::from_ipv4(0xc0000235)}}};
  add_services(random, config, static_cast<unsigned>(random.from_to(1, large ? 16 : 4)));
  if (random.chance(0.15)) add_maintenance(random, config);
  config.controlplane.assign = make_assign(random);
  scenario.rates = make_rates(random);
  scenario.network = make_network(random);
  scenario.resolvers = static_cast<unsigned>(random.from_to(1, 3));
  scenario.behind_large = random.chance(0.3) ? 1.0 : random.between(0.0, 0.5);
  scenario.send_copies = random.chance(0.3) ? 2 : 1;
  scenario.stretching = random.chance(0.3) ? random.between(0.1, 0.6) : 0;
  scenario.disk_delay_max = milliseconds(static_cast<std::int64_t>(random.chance(0.2) ? 1000 : 20));
  scenario.troubled = interval * 40 + seconds(static_cast<std::int64_t>(random.from_to(5, 20)));
  scenario.calm = interval * 12 + seconds(20);
  // What came later draws from numbers of its own.
  Random later(seed * 0xd1342543de82ef95 + 3);
  if (kind != Kind::hour) add_groups(later, config, 0.3);
  if ((kind == Kind::usual || large) && random.chance(0.5)) make_plain(scenario);
  if (kind == Kind::settling) make_settling(random, scenario);
  if (kind == Kind::hour) make_hour(random, scenario);
  if (kind == Kind::hour) return scenario;
  if (later.chance(0.5)) config.controlplane.beacon_window = later.between(seconds(4), seconds(12));
  add_operators(later, scenario.rates);
  scenario.rates.growth = some_rate(later, 0.25, seconds(8), seconds(30));
  if (kind != Kind::settling) scenario.rates.backup = some_rate(later, 0.15, seconds(4), seconds(20));
  return scenario;
}

}  // namespace pharos::sim
