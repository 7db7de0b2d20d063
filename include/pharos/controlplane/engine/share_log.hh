// Which share of the answers each site was first in, over the last hour: for who looks after something has happened.
// Bounded in samples and in sites of each; lost with the process. Any thread.
#pragma once

#include "pharos/controlplane/engine/engine_loop.hh"

#include <cstddef>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace pharos::controlplane {

using SiteShares = std::map<std::string, double>;

// Of now; asks the engine in slices.
[[nodiscard]] SiteShares answer_shares(EngineLoop& loop);

class ShareLog {
 public:
  static constexpr Duration interval = seconds(5);
  static constexpr std::size_t samples_max = 720;
  static constexpr std::size_t sites_max =
      32;  // of a sample: the largest; all others are one, "others"

  struct Sample {
    Instant at;
    SiteShares shares;
  };

  // Whether another sample is due.
  [[nodiscard]] bool due(Instant now) const;
  void add(Instant at, SiteShares shares);
  // Oldest first.
  [[nodiscard]] std::vector<Sample> samples() const;

 private:
  mutable std::mutex mutex_;  // guards samples_
  std::deque<Sample> samples_;
};

}  // namespace pharos::controlplane
