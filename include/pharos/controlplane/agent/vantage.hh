// This site as a vantage point: looks at endpoints of any site from outside, and what a beacon says of them. The control plane
// makes a verdict of what several such sites see (health/quorum.hh). One thread; never blocks; what it costs goes by
// what changes and by what a beacon holds, not by how many targets there are.
#pragma once

#include "pharos/base/clock.hh"
#include "pharos/controlplane/agent/agent_config.hh"
#include "pharos/controlplane/probe/prober.hh"
#include "pharos/wire/site_report.hh"

#include <cstddef>
#include <deque>
#include <map>
#include <string>
#include <vector>

namespace pharos::agent {

class Vantage {
 public:
  // `prober` outlives it. Probes begin within one of their intervals of `first`.
  Vantage(probe::Prober& prober, const std::vector<ProbeConfig>& probes, Instant first);
  Vantage(Vantage&&) = delete;

  [[nodiscard]] std::size_t size() const noexcept { return looks_.size(); }
  // The prober says that a target has changed. False: it is none of ours.
  bool changed(std::size_t target);
  // Appends up to `room` outcomes: those that changed since they were last told, the longest known first, then the others in turn.
  void report(std::size_t room, std::vector<EndpointReport>& into);

 private:
  struct Look {
    std::size_t target;
    std::uint64_t hash;
    std::string name;  // "<service>/<endpoint>", for the log
    std::uint16_t notices_ds = 0;
    bool queued = false;
    std::uint64_t told_in = 0;  // the report that told it last
  };
  void tell(std::size_t index, std::vector<EndpointReport>& into);

  probe::Prober& prober_;
  std::vector<Look> looks_;
  std::map<std::size_t, std::size_t> look_of_;  // by the prober's number
  std::deque<std::size_t> changed_;
  std::size_t next_ = 0;  // whose turn it is
  std::uint64_t reports_ = 0;
};

}  // namespace pharos::agent
