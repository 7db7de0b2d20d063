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
  std::vector<std::pair<double, std::string>> by_size;
  by_size.reserve(shares.size());
  for (const auto& [site, share] : shares) by_size.emplace_back(share, site);
  const auto kept_end = by_size.begin() + ShareLog::sites_max;
  std::ranges::nth_element(by_size, kept_end, std::greater{});
  SiteShares kept;
  for (auto at = by_size.begin(); at != kept_end; ++at) kept.emplace(at->second, at->first);
  double others = 0;
  for (auto at = kept_end; at != by_size.end(); ++at) others += at->first;
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
