// Who of a pool's endpoints takes part in its answers: panic, fail modes, failover tiers, last
// resorts. Pure.
//
// The rules stand in controlplane/rank/README.md. Nothing here depends on the locale.
#pragma once

#include "pharos/config/model.hh"

#include <cstdint>
#include <span>
#include <vector>

namespace pharos::controlplane {

enum class Standing : std::uint8_t {
  healthy,  // to be answered
  reserve,  // healthy, but draining or of weight 0: only when no other is left
  failing,  // not healthy; answered in panic
  barred,   // taken out by the operator, or a reserve that is failing too: only when there is
            // nothing else at all
};

struct Candidate {
  Standing standing = Standing::healthy;
  double weight = 1;
  int priority = 0;  // failover tier, lowest first
};

struct Membership {
  std::vector<std::uint16_t> members;  // indices of candidates, ascending; who is answered
  bool panic = false;                  // the healthy share is below the threshold
  bool redirected = false;  // ask the pool of `fail_to` instead; members are used if that cannot be
  bool closed = false;  // `fail: closed` and below the threshold: healthy ones only, perhaps none
  double healthy_share = 1;  // of the weight, judged over the tier in use for failover

  friend bool operator==(const Membership&, const Membership&) = default;
};

[[nodiscard]] Membership membership_of(std::span<const Candidate> candidates, config::Policy policy,
                                       double panic_threshold, config::FailMode fail);

}  // namespace pharos::controlplane
