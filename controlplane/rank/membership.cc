#include "pharos/controlplane/rank/membership.hh"

#include <algorithm>
#include <set>

namespace pharos::controlplane {
namespace {

using Indices = std::vector<std::uint16_t>;

template <typename Wanted>
Indices pick(std::span<const Candidate> candidates, Wanted wanted) {
  Indices picked;
  for (unsigned i = 0; i < candidates.size(); ++i) {
    if (wanted(candidates[i])) picked.push_back(static_cast<std::uint16_t>(i));
  }
  return picked;
}

struct Share {
  double healthy = 0;
  double total = 0;
  [[nodiscard]] double value() const noexcept { return total > 0 ? healthy / total : 0; }
  [[nodiscard]] bool passes(double threshold) const noexcept {
    return healthy > 0 && healthy >= threshold * total;
  }
};

// Reserves and barred ones are out by plan, not by failure: they count on neither side.
template <typename Wanted>
Share share_of(std::span<const Candidate> candidates, Wanted wanted) {
  Share share;
  for (const auto& candidate : candidates) {
    if (!wanted(candidate)) continue;
    if (candidate.standing == Standing::healthy) share.healthy += candidate.weight;
    if (candidate.standing == Standing::healthy || candidate.standing == Standing::failing) {
      share.total += candidate.weight;
    }
  }
  return share;
}

// The priority of the first tier that passes its threshold; else of the first with anyone healthy;
// else of the first that has anyone at all.
int tier_in_use(std::span<const Candidate> candidates, double threshold) {
  std::set<int> tiers;
  for (const auto& candidate : candidates) {
    if (candidate.standing == Standing::healthy || candidate.standing == Standing::failing) {
      tiers.insert(candidate.priority);
    }
  }
  for (const double wanted : {threshold, 0.0}) {
    for (const int tier : tiers) {
      if (share_of(candidates, [&](const auto& c) { return c.priority == tier; }).passes(wanted))
        return tier;
    }
  }
  return tiers.empty() ? 0 : *tiers.begin();
}

// Members below the threshold, when the pool has to answer all the same.
Indices members_in_panic(std::span<const Candidate> candidates, const auto& in_use,
                         bool any_healthy, double threshold) {
  const auto standing = [](Standing wanted) {
    return [wanted](const Candidate& c) { return c.standing == wanted; };
  };
  if (any_healthy && threshold <= 0) {
    return pick(candidates,
                [&](const auto& c) { return in_use(c) && c.standing == Standing::healthy; });
  }
  if (!any_healthy) {
    if (auto reserves = pick(candidates, standing(Standing::reserve)); !reserves.empty())
      return reserves;
  }
  auto all = pick(candidates, [&](const auto& c) {
    return in_use(c) && (c.standing == Standing::healthy || c.standing == Standing::failing);
  });
  return all.empty() ? pick(candidates, standing(Standing::barred)) : all;
}

}  // namespace

Membership membership_of(std::span<const Candidate> candidates, config::Policy policy,
                         double panic_threshold, config::FailMode fail) {
  const int tier =
      policy == config::Policy::failover ? tier_in_use(candidates, panic_threshold) : 0;
  const auto in_use = [&](const Candidate& candidate) {
    return policy != config::Policy::failover || candidate.priority == tier;
  };
  const Share share = share_of(candidates, in_use);
  Membership result;
  result.healthy_share = share.value();
  const auto healthy =
      pick(candidates, [&](const auto& c) { return in_use(c) && c.standing == Standing::healthy; });
  if (share.passes(panic_threshold)) {
    result.members = healthy;
    return result;
  }
  // Nobody planned in, yet a reserve is well: that is the plan at work, not a failure.
  result.panic = share.total > 0 || std::ranges::none_of(candidates, [](const auto& c) {
                   return c.standing == Standing::reserve;
                 });
  result.closed = fail == config::FailMode::closed;
  result.redirected = fail == config::FailMode::to && result.panic;
  if (result.closed) {
    result.members = healthy;
    if (healthy.empty()) {
      result.members =
          pick(candidates, [](const auto& c) { return c.standing == Standing::reserve; });
    }
    return result;
  }
  result.members = members_in_panic(candidates, in_use, !healthy.empty(), panic_threshold);
  return result;
}

}  // namespace pharos::controlplane
