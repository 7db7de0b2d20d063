// Whether somebody carries more than he can while others have room, told by an obvious model beside controlplane/assign:
// from each site that carries too much, load is followed along every way on which some of it could move on.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace pharos::sim {

// Demand that may be served at the same sites, and where it goes.
struct Stream {
  std::uint32_t group = 0;              // demand with limits of its own beside those of the sites
  std::map<std::uint32_t, double> rps;  // by site that may serve it
  double fixed_share = 0;               // of the group's demand: stays at each site whatever comes
  double rounding = 0;                  // so much may stay anywhere, since clients come in slots
  int importance = 0;

  void add(std::uint32_t site, double part) { rps[site] += part; }
};

struct Loads {
  struct Limits {
    double over = 1;  // of a limit: who carries more carries too much
    double room = 1;  // ... and who carries less has room
  };
  std::vector<std::optional<double>> limits;  // by site; empty: unlimited
  std::vector<double> fixed;                  // load that nothing moves, by site; may be empty
  std::map<std::pair<std::uint32_t, std::uint32_t>, double> group_limits;  // by (group, site)
  std::vector<double> slack;  // by site: what rounding may add
  std::vector<Stream> streams;

  // What those see who are at least so important: the more important are there and stay, the less important are not there.
  [[nodiscard]] Loads of_importance(int importance) const;

  // Who carries too much, and the way to a site with room. Empty: nobody does, or nobody has room for him.
  [[nodiscard]] std::string unfair(Limits at) const;
};

}  // namespace pharos::sim
