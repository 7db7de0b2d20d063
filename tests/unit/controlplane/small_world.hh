// Three sites, three locales, and a service of each policy: what the tests of the engine and of
// publication steer over. Tests only.
#pragma once

#include "pharos/config/model.hh"

#include <string>

namespace pharos::controlplane {

inline constexpr Instant start{1'000'000'000'000};
inline constexpr std::uint32_t fra = 0, nyc = 1, sin = 2;
inline constexpr std::uint16_t everyone = 0, eu = 1, us = 2;

inline IpAddress address(unsigned service, unsigned endpoint) {
  return IpAddress::from_ipv4(0xcb007100U + service * 16 + endpoint);
}

inline config::ServiceConfig service_config(const char* id, config::Policy policy,
                                            unsigned number) {
  config::ServiceConfig service;
  service.id = id;
  service.names = {std::string(id) + ".example.org."};
  service.policy = policy;
  unsigned e = 0;
  for (const char* site : {"fra", "nyc", "sin"}) {
    config::EndpointConfig endpoint;
    endpoint.id = site;
    endpoint.site = site;
    endpoint.addresses = {address(number, e)};
    endpoint.priority = static_cast<int>(e);
    service.endpoints.push_back(endpoint);
    ++e;
  }
  return service;
}

inline config::Config small_config() {
  config::Config config;
  const struct {
    const char* id;
    double latitude, longitude;
  } sites[] = {{"fra", 50.1, 8.7}, {"nyc", 40.7, -74.0}, {"sin", 1.35, 103.8}};
  for (const auto& s : sites) {
    config::SiteConfig site;
    site.id = s.id;
    site.latitude = s.latitude;
    site.longitude = s.longitude;
    site.beacon_interval = milliseconds(200);
    site.keys.resize(1);
    config.sites.push_back(site);
  }
  config::LocaleConfig locale;
  locale.id = "eu";
  locale.latitude = 48.9;
  locale.longitude = 2.4;
  locale.prefixes = {*IpPrefix::parse("198.18.1.0/24")};
  config.locales.push_back(locale);
  locale.id = "us";
  locale.latitude = 41.9;
  locale.longitude = -87.6;
  locale.prefixes = {*IpPrefix::parse("198.18.2.0/24")};
  config.locales.push_back(locale);
  config.zones.resize(1);
  config.zones[0].id = "example.org.";
  config.zones[0].hosts = {{"ns1", {*IpAddress::parse("192.0.2.53")}}};
  config.services.push_back(service_config("api", config::Policy::weighted, 1));
  config.services.push_back(service_config("pay", config::Policy::failover, 2));
  config.services.push_back(service_config("www", config::Policy::ranked, 3));
  config.services[0].answers_max = 1;
  config.controlplane.health.rise = seconds(1);
  return config;
}
inline constexpr std::uint32_t api = 0, pay = 1, www = 2;  // pools, in the order of their ids

}  // namespace pharos::controlplane
