// The other side of the answers: resolvers that cache them, some for longer than they may, and the clients behind them,
// whose number follows the hour of each locale. What they ask becomes the load of the sites.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "dataplane.hh"
#include "events.hh"
#include "scenario.hh"
#include "witness.hh"

namespace pharos::sim {

class Clients {
 public:
  // The answer of the data plane for a service to a client; nothing where it answers nothing.
  using Ask = std::function<std::optional<Reply>(unsigned service, std::uint16_t locale,
                                                 std::uint32_t client_hash)>;
  using Serves = std::function<bool(std::uint32_t site)>;

  Clients(const Scenario& scenario, Events& events, Random random, Witness& witness, Ask ask,
          Serves serves);

  // Each resolver looks its names up, again and again.
  void begin();
  // Requests per second that a site gets now.
  [[nodiscard]] double load_of(std::uint32_t site);
  // Demand of a locale is `factor` times what it would be.
  void surge(std::uint16_t locale, double factor) { surges_[locale] = factor; }
  [[nodiscard]] std::size_t locale_count() const noexcept { return surges_.size(); }

 private:
  struct Resolver {
    std::uint16_t locale = 0;
    std::uint32_t hash = 0;
    double share = 1;        // of the locale's demand
    double stretch = 1;      // keeps answers for so many times their TTL
    bool first_only = true;  // clients take the first address; else all alike
    std::vector<std::vector<std::uint32_t>> sites;  // by service: where the cached answer leads
  };
  void refresh(std::size_t resolver, unsigned service);
  void spread(const Resolver& resolver, unsigned service, double rps);
  [[nodiscard]] double demand_of(std::uint16_t locale) const;
  void compute_loads();

  const Scenario& scenario_;
  Events& events_;
  Random random_;
  Witness& witness_;
  Ask ask_;
  Serves serves_;
  std::vector<Resolver> resolvers_;
  std::vector<double> surges_;  // by locale
  std::vector<double> loads_;   // by site
  Instant computed_;
};

}  // namespace pharos::sim
