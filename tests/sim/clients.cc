#include "clients.hh"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace pharos::sim {
namespace {

constexpr Duration loads_good_for = milliseconds(50);
constexpr Duration retry_after = seconds(1);  // no answer: ask again
constexpr double stretch_max = 4;
constexpr unsigned crowds = 4;  // of a locale: between two of them a quarter of a TTL passes

}  // namespace

Clients::Clients(const Scenario& scenario, Events& events, Random random, Responder& responder)
    : scenario_(scenario),
      events_(events),
      random_(random),
      responder_(responder),
      surges_(scenario.demands.size(), 1.0),
      growths_(scenario.demands.size(), 1.0),
      loads_(scenario.config.sites.size(), 0.0),
      computed_(events.now()) {
  for (std::uint16_t l = 1; l < scenario.demands.size(); ++l) add_resolvers(l);
}

void Clients::add_resolvers(std::uint16_t locale) {
  const auto add = [&](bool crowd, double share) {
    auto& resolver = resolvers_.emplace_back();
    resolver.locale = locale;
    resolver.crowd = crowd;
    resolver.hash = static_cast<std::uint32_t>(random_.next());
    resolver.share = share;
    if (random_.chance(scenario_.stretching)) resolver.stretch = random_.between(1.5, stretch_max);
    resolver.first_only = crowd || random_.chance(0.6);
    resolver.told.resize(scenario_.config.services.size());
  };
  const double large = scenario_.behind_large;
  for (unsigned r = 0; large > 0 && r < scenario_.resolvers; ++r)
    add(false, large / scenario_.resolvers);
  for (unsigned c = 0; large < 1 && c < crowds; ++c) add(true, (1 - large) / crowds);
}

void Clients::begin() {
  for (std::size_t r = 0; r < resolvers_.size(); ++r) {
    for (unsigned s = 0; s < scenario_.config.services.size(); ++s) {
      events_.in(random_.between(milliseconds(100), seconds(3)), [this, r, s] { refresh(r, s); });
    }
  }
}

std::shared_ptr<const Cell> Clients::look_up(const Resolver& resolver, unsigned service) {
  if (resolver.crowd) return responder_.ask_for_all(service, resolver.locale);
  const auto reply = responder_.ask(service, resolver.locale, resolver.hash);
  if (!reply) return nullptr;
  auto cell = std::make_shared<Cell>();
  cell->content.ttl_s = reply->ttl_s;
  auto& told = cell->told.emplace_back();
  told.share = 1;
  for (const auto& address : reply->addresses) told.places.push_back(place_of(address));
  return cell;
}

void Clients::refresh(std::size_t index, unsigned service) {
  auto& resolver = resolvers_[index];
  Duration again = retry_after;
  if (auto cell = look_up(resolver, service)) {
    const double behind =
        resolver.crowd ? scenario_.behind_one[resolver.locale] * growths_[resolver.locale] : 0;
    const double count = behind > 0 ? std::max(std::round(demand_of(resolver) / behind), 1.0) : 1.0;
    responder_.answered(service, resolver.locale, static_cast<std::uint32_t>(count));
    const double kept_s = std::max<double>(cell->content.ttl_s, 0.1) * resolver.stretch;
    again = milliseconds(static_cast<std::int64_t>(kept_s * 1000)) +
            random_.between(Duration{}, milliseconds(200));
    resolver.told[service] = std::move(cell);
  }
  events_.in(again, [this, index, service] { refresh(index, service); });
}

double Clients::demand_of(std::uint16_t locale) const {
  const auto& demand = scenario_.demands[locale];
  const double days = static_cast<double>(events_.now().ns) / static_cast<double>(scenario_.day.ns);
  const double curve = std::sin(2 * std::numbers::pi * (days + demand.phase));
  return demand.base_rps * (1 + demand.amplitude * curve) * surges_[locale] * growths_[locale];
}

std::vector<double> Clients::counted_parts() const {
  double demand = 0, counted = 0;
  for (std::uint16_t l = 0; l < growths_.size(); ++l) {
    demand += demand_of(l);
    counted += demand_of(l) / growths_[l];
  }
  std::vector<double> parts;
  for (const double growth : growths_)
    parts.push_back(counted > 0 ? demand / counted / growth : 1.0);
  return parts;
}

// For each service.
double Clients::demand_of(const Resolver& resolver) const {
  return demand_of(resolver.locale) * resolver.share /
         static_cast<double>(scenario_.config.services.size());
}

// Clients go on to the next address where one does not answer. take(place, rps).
template <typename Take>
void Clients::spread(const Resolver& resolver, unsigned service, double rps, Take take) const {
  if (resolver.told[service] == nullptr) return;
  const auto serves = [&](Place place) { return responder_.serves(site_of(place)); };
  for (const auto& told : resolver.told[service]->told) {
    if (resolver.first_only) {
      const auto first = std::ranges::find_if(told.places, serves);
      if (first != told.places.end()) take(*first, rps * told.share);
      continue;
    }
    const auto serving = static_cast<double>(std::ranges::count_if(told.places, serves));
    for (const auto place : told.places) {
      if (serves(place)) take(place, rps * told.share / serving);
    }
  }
}

void Clients::compute_loads() {
  computed_ = events_.now();
  std::ranges::fill(loads_, 0.0);
  for (auto& [place, rps] : places_) rps = 0;
  for (const auto& resolver : resolvers_) {
    const double rps = demand_of(resolver);
    for (unsigned s = 0; s < resolver.told.size(); ++s) {
      spread(resolver, s, rps, [&](Place place, double part) {
        loads_[site_of(place)] += part;
        places_[place] += part;
      });
    }
  }
}

void Clients::refresh_loads() {
  if (events_.now() - computed_ >= loads_good_for) compute_loads();
}

double Clients::load_of(std::uint32_t site) {
  refresh_loads();
  return loads_[site];
}

double Clients::load_at(Place place) {
  refresh_loads();
  const auto at = places_.find(place);
  return at == places_.end() ? 0 : at->second;
}

std::vector<Stream> Clients::streams() {
  std::map<std::pair<unsigned, std::uint16_t>, Stream> by_kind;
  const auto parts = counted_parts();
  for (const auto& resolver : resolvers_) {
    const double rps = demand_of(resolver) * parts[resolver.locale];
    for (unsigned s = 0; s < resolver.told.size(); ++s) {
      auto& stream = by_kind[{s, resolver.locale}];
      stream.group = s;
      spread(resolver, s, rps, [&](Place place, double part) { stream.add(site_of(place), part); });
    }
  }
  std::vector<Stream> streams;
  for (auto& [kind, stream] : by_kind) streams.push_back(std::move(stream));
  return streams;
}

}  // namespace pharos::sim
