// A made-up world of any size: sites and locales all over the globe, services of some endpoints at
// random sites. For tests and benchmarks of the engine at scale; the same sizes, the same world.
#pragma once

#include "pharos/config/model.hh"

#include <random>
#include <string>

namespace pharos::controlplane {

struct LargeWorld {
  unsigned services = 10'000;  // one pool each
  unsigned locales = 64;
  unsigned sites = 100;
  unsigned endpoints = 8;  // of a service, at sites of their own
  unsigned answers_max = 4;
  config::Policy policy = config::Policy::ranked;

  [[nodiscard]] std::vector<std::string> locale_names() const {
    std::vector<std::string> names{"default"};
    for (unsigned l = 1; l < locales; ++l) names.push_back("l" + std::to_string(l));
    return names;
  }

  [[nodiscard]] config::Config config() const {
    std::mt19937_64 random(services);
    const auto degrees = [&](double most) {
      return (static_cast<double>(random() % 20'001) / 10'000 - 1) * most;
    };
    config::Config config;
    for (unsigned s = 0; s < sites; ++s) {
      config::SiteConfig site;
      site.id = "s" + std::to_string(s);
      site.latitude = degrees(60);
      site.longitude = degrees(180);
      site.beacon_interval = milliseconds(200);
      site.keys.resize(1);
      config.sites.push_back(site);
    }
    for (unsigned l = 1; l < locales; ++l) {
      config::LocaleConfig locale;
      locale.id = "l" + std::to_string(l);
      locale.latitude = degrees(60);
      locale.longitude = degrees(180);
      locale.prefixes = {*IpPrefix::parse("198.18." + std::to_string(l % 256) + ".0/24")};
      config.locales.push_back(locale);
    }
    config.zones.resize(1);
    config.zones[0].id = "example.org.";
    config.zones[0].hosts = {{"ns1", {*IpAddress::parse("192.0.2.53")}}};
    for (unsigned n = 0; n < services; ++n) {
      config::ServiceConfig service;
      service.id = "w" + std::to_string(n);
      service.names = {service.id + ".example.org."};
      service.policy = policy;
      service.answers_max = answers_max;
      const auto first = static_cast<unsigned>(random() % sites);
      const auto stride = 1 + static_cast<unsigned>(random() % (sites / endpoints));
      for (unsigned e = 0; e < endpoints; ++e) {
        config::EndpointConfig endpoint;
        endpoint.id = "e" + std::to_string(e);
        endpoint.site = "s" + std::to_string((first + e * stride) % sites);
        endpoint.addresses = {IpAddress::from_ipv4(0x0a000000U + n * endpoints + e)};
        service.endpoints.push_back(endpoint);
      }
      config.services.push_back(std::move(service));
    }
    return config;
  }
};

}  // namespace pharos::controlplane
