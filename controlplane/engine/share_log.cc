#include "pharos/controlplane/engine/share_log.hh"

#include "pharos/controlplane/engine/plan.hh"

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

namespace pharos::controlplane {
namespace {

// The smallest become one.
SiteShares largest_of(SiteShares shares) {
  if (shares.size() <= ShareLog::sites_max) return shares;
  std::vector<double> sizes;
  sizes.reserve(shares.size());
  for (const auto& [site, share] : shares) sizes.push_back(share);
  const auto last = sizes.begin() + ShareLog::sites_max - 1;
  std::ranges::nth_element(sizes, last, std::greater{});
  SiteShares kept;
  double others = 0;
  for (auto& [site, share] : shares) {
    if (share >= *last && kept.size() < ShareLog::sites_max)
      kept.emplace(site, share);
    else
      others += share;
  }
  kept["others"] += others;
  return kept;
}

}  // namespace

SiteShares answer_shares(EngineLoop& loop) {
  std::optional<AnswerShares> shares;
  std::shared_ptr<const World> world;
  loop.ask_in_slices([&](EngineSide& side, const Slice& slice) {
    if (slice.fresh()) {
      world = side.engine.shared_world();
      shares.emplace(*world);
    }
    return shares->go_on(side.engine, [&] { return slice.over(); });
  });
  return shares->by_site(*world);
}

bool ShareLog::due(Instant now) const {
  const std::lock_guard lock(mutex_);
  return samples_.empty() || now - samples_.back().at >= interval;
}

void ShareLog::add(Instant at, SiteShares shares) {
  Sample sample{at, largest_of(std::move(shares))};
  const std::lock_guard lock(mutex_);
  samples_.push_back(std::move(sample));
  if (samples_.size() > samples_max) samples_.pop_front();
}

std::vector<ShareLog::Sample> ShareLog::samples() const {
  const std::lock_guard lock(mutex_);
  return {samples_.begin(), samples_.end()};
}

}  // namespace pharos::controlplane
