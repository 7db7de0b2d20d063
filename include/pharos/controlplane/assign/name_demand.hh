// How much each name of a service is asked for: answers per second, averaged over a window. Pure: times come in; owned by
// the engine thread.
//
// Samples name nodes of a catalog. Only names of services are known here; what is asked below a wildcard counts as the
// wildcard, and what a policy routes from elsewhere as nobody's.
#pragma once

#include "pharos/config/model.hh"
#include "pharos/controlplane/assign/demand_board.hh"
#include "pharos/shared/catalog_image.hh"

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

namespace pharos::controlplane {

class NameDemand {
 public:
  struct Name {
    std::string name;     // absolute
    std::string service;  // its id
  };
  struct Rate {
    const Name* name;
    double answers_per_s;
  };

  NameDemand() = default;
  // Names of the configuration's services as the catalog holds them. Rates of `former` go on, by name.
  NameDemand(const config::Config& config, const catalog::View& catalog, const NameDemand& former);

  // Of which catalog nodes are known; 0: of none.
  [[nodiscard]] std::uint64_t catalog_id() const noexcept { return catalog_id_; }
  // Answers of a node; one that is not known is ignored, whatever the number.
  void heard(std::uint32_t node, std::uint32_t weight) noexcept;
  void tick(Instant now) noexcept { board_.tick(now); }
  void restart() noexcept { board_.restart(); }

  // The most asked for, at most `count`, most first; names without demand are left out.
  [[nodiscard]] std::vector<Rate> hottest(std::size_t count) const;
  [[nodiscard]] double rate(const std::string& name) const noexcept;

 private:
  void add(const catalog::View& catalog, const std::string& name, const std::string& service);

  std::uint64_t catalog_id_ = 0;
  std::vector<Name> names_;
  std::unordered_map<std::string, std::uint32_t> places_;     // by name, in names_
  std::unordered_map<std::uint32_t, std::uint32_t> of_node_;  // by Ref, in names_
  DemandBoard board_;                                         // names as pools of one locale
};

}  // namespace pharos::controlplane
