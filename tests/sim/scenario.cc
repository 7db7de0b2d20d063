#include "scenario.hh"

#include <algorithm>

namespace pharos::sim {
namespace {

// One history in so many is of hundreds of sites; the others are small, so that ten thousand fit into a test.
constexpr std::uint64_t large_every = 256;

config::SiteConfig make_site(Random& random, unsigned index, unsigned regions, Duration interval) {
  config::SiteConfig site;
  site.id = site_id(index);
  site.region = "region" + std::to_string(index % regions);
  site.latitude = random.between(-60.0, 60.0);
  site.longitude = random.between(-180.0, 180.0);
  site.beacon_interval = interval;
  if (random.chance(0.7)) site.capacity_rps = random.between(200.0, 2000.0);
  if (random.chance(0.03)) return site;  // never beacons, counts as up
  config::KeyConfig key;
  key.id = 1;
  for (auto& byte : key.secret) byte = static_cast<std::uint8_t>(random.next());
  site.keys = {key};
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
  if (random.chance(0.3)) endpoint.capacity_rps = random.between(100.0, 1000.0);
  return endpoint;
}

config::ServiceConfig make_service(Random& random, unsigned index, unsigned sites) {
  config::ServiceConfig service;
  service.id = service_id(index);
  service.names = {service.id + ".example.org."};
  constexpr config::Policy policies[] = {config::Policy::ranked, config::Policy::weighted,
                                         config::Policy::failover};
  service.policy = policies[random.below(3)];
  service.answers_max = random.chance(0.4) ? 1 : static_cast<unsigned>(random.from_to(2, 8));
  service.ttl_floor = seconds(static_cast<std::int64_t>(random.from_to(1, 5)));
  service.ttl_ceiling = seconds(static_cast<std::int64_t>(random.from_to(5, 30)));
  constexpr double thresholds[] = {0.0, 0.25, 0.5, 0.5, 0.8};
  service.panic_threshold = thresholds[random.below(5)];
  if (random.chance(0.15)) service.fail = config::FailMode::closed;
  service.slots = 8U << random.below(3);
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
  for (unsigned i = 0; i < count; ++i) {
    config::LocaleConfig locale;
    locale.id = "locale" + std::to_string(i);
    locale.latitude = random.between(-60.0, 60.0);
    locale.longitude = random.between(-180.0, 180.0);
    locale.prefixes = {{IpAddress::from_ipv4(0xc6120000U + i * 256), 24}};
    scenario.config.locales.push_back(locale);
    scenario.demands.push_back(
        {random.between(50.0, 800.0), random.between(0.0, 0.9), random.unit()});
  }
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

std::string site_id(unsigned index) {
  return "site" + std::to_string(index);
}

std::string service_id(unsigned index) {
  return "service" + std::to_string(index);
}

Scenario make_scenario(std::uint64_t seed) {
  Random random(seed * 0x9e3779b97f4a7c15 + 1);
  Scenario scenario;
  scenario.seed = seed;
  scenario.large = seed % large_every == 0;
  auto& config = scenario.config;
  config.file = "sim.yaml";
  constexpr std::int64_t intervals_ms[] = {200, 200, 500, 1000, 1000};
  const auto interval = milliseconds(scenario.large ? 1000 : intervals_ms[random.below(5)]);
  const auto sites = static_cast<unsigned>(scenario.large       ? random.from_to(100, 400)
                                           : random.chance(0.1) ? random.from_to(12, 24)
                                                                : random.from_to(2, 8));
  const auto regions = static_cast<unsigned>(random.from_to(1, 4));
  for (unsigned i = 0; i < sites; ++i) {
    config.sites.push_back(make_site(random, i, regions, interval));
  }
  add_locales(random, scenario, static_cast<unsigned>(random.from_to(1, scenario.large ? 12 : 4)));
  config.zones.resize(1);
  config.zones[0].id = "example.org.";
  config.zones[0].hosts = {{"ns1", {IpAddress::from_ipv4(0xc0000235)}}};
  add_services(random, config, static_cast<unsigned>(random.from_to(1, scenario.large ? 16 : 4)));
  scenario.rates = make_rates(random);
  scenario.network = make_network(random);
  scenario.resolvers = static_cast<unsigned>(random.from_to(1, 3));
  scenario.send_copies = random.chance(0.3) ? 2 : 1;
  scenario.stretching = random.chance(0.3) ? random.between(0.1, 0.6) : 0;
  scenario.disk_delay_max = milliseconds(static_cast<std::int64_t>(random.chance(0.2) ? 1000 : 20));
  scenario.troubled = interval * 40 + seconds(static_cast<std::int64_t>(random.from_to(5, 20)));
  scenario.calm = interval * 12 + seconds(20);
  return scenario;
}

}  // namespace pharos::sim
