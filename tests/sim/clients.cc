#include "clients.hh"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace pharos::sim {
namespace {

constexpr Duration loads_good_for = milliseconds(50);
constexpr Duration retry_after = seconds(1);  // no answer: ask again
constexpr double stretch_max = 4;

// Addresses of scenario.cc carry the number of their site.
std::uint32_t site_of(const IpAddress& address) noexcept {
  if (address.is_ipv4()) return address.ipv4() & 0xffff;
  return static_cast<std::uint32_t>(address.bytes[14]) << 8 | address.bytes[15];
}

}  // namespace

Clients::Clients(const Scenario& scenario, Events& events, Random random, Witness& witness, Ask ask,
                 Serves serves)
    : scenario_(scenario),
      events_(events),
      random_(random),
      witness_(witness),
      ask_(std::move(ask)),
      serves_(std::move(serves)),
      surges_(scenario.demands.size(), 1.0),
      loads_(scenario.config.sites.size(), 0.0),
      computed_(events.now()) {
  for (std::uint16_t l = 1; l < scenario.demands.size(); ++l) {
    for (unsigned r = 0; r < scenario.resolvers; ++r) {
      Resolver resolver;
      resolver.locale = l;
      resolver.hash = static_cast<std::uint32_t>(random_.next());
      resolver.share = 1.0 / scenario.resolvers;
      if (random_.chance(scenario.stretching)) resolver.stretch = random_.between(1.5, stretch_max);
      resolver.first_only = random_.chance(0.6);
      resolver.sites.resize(scenario.config.services.size());
      resolvers_.push_back(std::move(resolver));
    }
  }
}

void Clients::begin() {
  for (std::size_t r = 0; r < resolvers_.size(); ++r) {
    for (unsigned s = 0; s < resolvers_[r].sites.size(); ++s) {
      events_.in(random_.between(milliseconds(100), seconds(3)), [this, r, s] { refresh(r, s); });
    }
  }
}

void Clients::refresh(std::size_t index, unsigned service) {
  auto& resolver = resolvers_[index];
  const auto reply = ask_(service, resolver.locale, resolver.hash);
  Duration again = retry_after;
  if (reply) {
    auto& sites = resolver.sites[service];
    sites.clear();
    for (const auto& address : reply->addresses) sites.push_back(site_of(address));
    const double kept_s = std::max<double>(reply->ttl_s, 0.1) * resolver.stretch;
    again = milliseconds(static_cast<std::int64_t>(kept_s * 1000)) +
            random_.between(Duration{}, milliseconds(200));
  }
  events_.in(again, [this, index, service] { refresh(index, service); });
}

double Clients::demand_of(std::uint16_t locale) const {
  const auto& demand = scenario_.demands[locale];
  const double days = static_cast<double>(events_.now().ns) / static_cast<double>(day.ns);
  const double curve = std::sin(2 * std::numbers::pi * (days + demand.phase));
  return demand.base_rps * (1 + demand.amplitude * curve) * surges_[locale];
}

// Clients go on to the next address where one does not answer.
void Clients::spread(const Resolver& resolver, unsigned service, double rps) {
  const auto& sites = resolver.sites[service];
  if (resolver.first_only) {
    const auto first = std::ranges::find_if(sites, serves_);
    if (first != sites.end()) loads_[*first] += rps;
    return;
  }
  const auto serving = static_cast<double>(std::ranges::count_if(sites, serves_));
  for (const auto site : sites) {
    if (serves_(site)) loads_[site] += rps / serving;
  }
}

void Clients::compute_loads() {
  const double since_s = (events_.now() - computed_).seconds();
  const auto& sites = scenario_.config.sites;
  for (std::size_t s = 0; s < sites.size(); ++s) {
    if (sites[s].capacity_rps && loads_[s] > *sites[s].capacity_rps)
      witness_.figures.overloaded_s += since_s;
  }
  computed_ = events_.now();
  std::ranges::fill(loads_, 0.0);
  for (const auto& resolver : resolvers_) {
    const double rps =
        demand_of(resolver.locale) * resolver.share / static_cast<double>(resolver.sites.size());
    for (unsigned s = 0; s < resolver.sites.size(); ++s) spread(resolver, s, rps);
  }
}

double Clients::load_of(std::uint32_t site) {
  if (events_.now() - computed_ >= loads_good_for) compute_loads();
  return loads_[site];
}

}  // namespace pharos::sim
