#include "pharos/controlplane/engine/engine.hh"

#include <algorithm>

// Drains: whose clients are meant to move, and how many have.

namespace pharos::controlplane {

// What the endpoint leads at this moment is what has to move: slots and orders are those from before the drain.
void Engine::note_drain(std::uint32_t endpoint, Standing next, Instant now) {
  const auto& state = endpoints_[endpoint];
  if (next == Standing::healthy || next == Standing::failing) {
    drains_.erase(endpoint);
    return;
  }
  if (!state.judged || state.standing != Standing::healthy) return;
  Drain drain{.began = now, .cells = {}, .requests_rps = state.health.requests_rps};
  for (const auto p : world_->endpoints[endpoint].pools) {
    const auto& members = world_->pools[p].members;
    const auto member =
        static_cast<std::size_t>(std::ranges::find(members, endpoint) - members.begin());
    if (pools_[p].answered_by != p || !pools_[p].cells.front().ranked) continue;
    double share = 0;
    for (std::uint16_t l = 0; l < static_cast<std::uint16_t>(world_->locales.size()); ++l) {
      if (l == 0 || !dealt_by_slot(p)) share = lead_shares(p, l)[member];
      if (share <= 0) continue;
      drain.cells.push_back({.pool = p,
                             .locale = l,
                             .ttl_s = pools_[p].cells[l].ttl_s,
                             .share = share,
                             .rate = demand_.rate(p, l),
                             .total = demand_.total(p, l)});
    }
  }
  drains_.insert_or_assign(endpoint, std::move(drain));
}

std::optional<DrainView> Engine::view_drain(std::uint32_t endpoint, Instant now) const {
  const auto at = drains_.find(endpoint);
  if (at == drains_.end()) return std::nullopt;
  DrainView view;
  view.since = now - at->second.began;
  view.moved = moved_share(
      at->second, now,
      [](const void* board, std::uint32_t pool, std::uint16_t locale) {
        return static_cast<const DemandBoard*>(board)->total(pool, locale);
      },
      &demand_);
  view.requests_before_rps = at->second.requests_rps;
  if (const auto& rps = endpoints_[endpoint].health.requests_rps) view.requests_rps = *rps;
  return view;
}

}  // namespace pharos::controlplane
