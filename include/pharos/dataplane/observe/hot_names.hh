// HotNames: the names that are asked for most, and how often, in fixed memory however many names there are.
//
// Space-Saving (Metwally, Agrawal, El Abbadi, 2005): of `capacity` counters, a name without one takes that of the smallest, and its
// count as what may be wrong with its own. A name that has more than 1/capacity of all queries is never missing, and its count is
// too high by at most `uncertain`: a flood of random names takes turns at the smallest counters and stays below the true ones.
// Counts fade with a time constant, all alike, so that they are rates. Knows no clock; one thread.
#pragma once

#include "pharos/base/bytes.hh"
#include "pharos/base/clock.hh"
#include "pharos/dataplane/observe/name_sampler.hh"

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

namespace pharos::dataplane {

struct HotName {
  std::string name;  // presentation form, lower case
  double per_second = 0;
  double uncertain_per_second = 0;  // of that, at most
  double share = 0;                 // of all queries
  double nxdomain_share = 0;        // of this name's
  double dropped_share = 0;
};

class HotNames {
 public:
  static constexpr unsigned capacity_default = 1024;
  static constexpr Duration fade_default = seconds(10);

  explicit HotNames(Instant now, unsigned capacity = capacity_default,
                    Duration fade = fade_default);

  // A record of a NameSampler's ring. Others are passed over.
  void add(ConstBytes record);
  // Lets time pass. `now` never goes back.
  void advance(Instant now);

  // The hottest first, those first that are certain to be.
  [[nodiscard]] std::vector<HotName> top(unsigned rows) const;
  [[nodiscard]] double per_second() const noexcept;  // of all names
  // The share of all queries that the `rows` hottest have at least.
  [[nodiscard]] double share_of_top(unsigned rows) const;
  [[nodiscard]] std::uint64_t samples() const noexcept { return samples_; }

 private:
  struct Detail {
    double uncertain = 0, nxdomain = 0, dropped = 0;
    const std::string* name = nullptr;  // the key in index_
  };
  [[nodiscard]] std::size_t place_of(const std::string& name);
  // Counts to rates: what a count is divided by, while it is young as well.
  [[nodiscard]] double scale() const noexcept;

  unsigned capacity_;
  Duration fade_;
  Instant began_, now_;
  std::vector<double> counts_;  // by place, beside each other: the smallest is looked for
  std::vector<Detail> details_;
  std::unordered_map<std::string, std::size_t> index_;  // folded names in wire form
  double total_ = 0;
  std::uint64_t samples_ = 0;
};

}  // namespace pharos::dataplane
