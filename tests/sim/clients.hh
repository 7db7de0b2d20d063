// The other side of the answers: resolvers that cache them, some for longer than they may, and the clients behind them,
// whose number follows the hour of each locale. What they ask becomes the load of the sites.
//
// A locale's demand comes through a few large resolvers, each of which is one client of ours, and through crowds: many
// small ones that look a name up at the same time and fall to all slots of its answers alike.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "capacity.hh"
#include "dataplane.hh"
#include "events.hh"
#include "scenario.hh"
#include "witness.hh"

namespace pharos::sim {

// The data plane as clients see it.
class Responder {
 public:
  virtual ~Responder() = default;
  // The answer to one client, and what all clients of a locale are told; nothing where nothing is answered.
  [[nodiscard]] virtual std::optional<Reply> ask(unsigned service, std::uint16_t locale,
                                                 std::uint32_t client_hash) = 0;
  [[nodiscard]] virtual std::shared_ptr<const Cell> ask_for_all(unsigned service,
                                                                std::uint16_t locale) = 0;
  // So many answers were given.
  virtual void answered(unsigned service, std::uint16_t locale, std::uint32_t count) = 0;
  [[nodiscard]] virtual bool serves(std::uint32_t site) const = 0;
};

class Clients {
 public:
  Clients(const Scenario& scenario, Events& events, Random random, Responder& responder);

  // Each resolver looks its names up, again and again.
  void begin();
  // Requests per second that a site gets now, and an endpoint by its place.
  [[nodiscard]] double load_of(std::uint32_t site);
  [[nodiscard]] double load_at(Place place);
  // Where demand goes now, service by service and locale by locale, as far as anybody can know it: all of a service is
  // measured at its endpoints, and counts of lookups divide it among locales. Where it may go is for the caller to say.
  [[nodiscard]] std::vector<Stream> streams();
  // Demand of a locale is `factor` times what it would be.
  void surge(std::uint16_t locale, double factor) { surges_[locale] = factor; }
  // ... and behind each lookup of a locale are `factor` times as many requests.
  void grow(std::uint16_t locale, double factor) { growths_[locale] = factor; }
  [[nodiscard]] std::size_t locale_count() const noexcept { return surges_.size(); }

 private:
  // Those who ask together.
  struct Resolver {
    std::uint16_t locale = 0;
    bool crowd = false;
    std::uint32_t hash = 0;
    double share = 1;        // of the locale's demand
    double stretch = 1;      // keeps answers for so many times their TTL
    bool first_only = true;  // clients take the first address; else all alike
    std::vector<std::shared_ptr<const Cell>> told;  // by service: what is cached; null: nothing yet
  };
  void add_resolvers(std::uint16_t locale);
  void refresh(std::size_t resolver, unsigned service);
  // What it is told now; null: nothing.
  [[nodiscard]] std::shared_ptr<const Cell> look_up(const Resolver& resolver, unsigned service);
  template <typename Take>
  void spread(const Resolver& resolver, unsigned service, double rps, Take take) const;
  [[nodiscard]] double demand_of(std::uint16_t locale) const;
  // What the counts of a locale's lookups say of its demand, as a share of what it is.
  [[nodiscard]] std::vector<double> counted_parts() const;
  [[nodiscard]] double demand_of(const Resolver& resolver) const;
  void compute_loads();
  void refresh_loads();

  const Scenario& scenario_;
  Events& events_;
  Random random_;
  Responder& responder_;
  std::vector<Resolver> resolvers_;
  std::vector<double> surges_;      // by locale
  std::vector<double> growths_;     // the same
  std::vector<double> loads_;       // by site
  std::map<Place, double> places_;  // by endpoint
  Instant computed_;
};

}  // namespace pharos::sim
