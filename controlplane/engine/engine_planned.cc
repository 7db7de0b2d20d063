#include "pharos/controlplane/engine/engine.hh"

#include <algorithm>
#include <bit>

// Planned work: sites that drain by the wall clock, and TTLs that end before they do.

namespace pharos::controlplane {
namespace {

constexpr std::int64_t ns_per_s = 1'000'000'000;
// A wall clock that moved by less is not looked at again: it is only being disciplined.
constexpr Duration clock_slack = milliseconds(100);

// The limit for work that begins in `left`, and how long before its beginning the next limit comes.
std::pair<std::uint32_t, Duration> limit_for(Duration left) {
  if (left.ns > planned_horizon_s * ns_per_s)
    return {ttl_unlimited, {planned_horizon_s * ns_per_s}};
  const auto seconds_left = static_cast<std::uint64_t>(left.ns / ns_per_s);
  const auto limit = static_cast<std::uint32_t>(std::bit_floor(seconds_left));
  // One nanosecond later less than `limit` seconds are left.
  return {limit, {limit == 0 ? 0 : std::int64_t{limit} * ns_per_s - 1}};
}

}  // namespace

PlannedSite planned_at(std::span<const config::MaintenanceConfig> all, const std::string& site,
                       WallTime now) {
  PlannedSite result;
  const config::MaintenanceConfig* next = nullptr;
  for (const auto& work : all) {
    if (std::ranges::find(work.sites, site) == work.sites.end() || work.to <= now) continue;
    if (work.from <= now) {
      if (!result.active || work.to > result.to) {
        result.id = work.id;
        result.from = work.from;
        result.to = work.to;
      }
      result.active = true;
    } else if (next == nullptr || work.from < next->from) {
      next = &work;
    }
  }
  if (result.active) {
    result.due = result.to;
    return result;
  }
  if (next == nullptr) return result;
  result.id = next->id;
  result.from = next->from;
  result.to = next->to;
  const auto [limit, before] = limit_for(next->from - now);
  result.ttl_s = limit;
  result.due = {next->from.ns - before.ns};
  return result;
}

void Engine::refresh_planned_work() {
  planned_work_ = world_->config->maintenance;
  planned_work_.insert(planned_work_.end(), decisions_.maintenance.begin(),
                       decisions_.maintenance.end());
  planned_due_ = Instant{0};
}

// Known before anything is judged: a site in maintenance does not begin to drain with every reload.
void Engine::start_planning(Instant now) {
  planned_.assign(world_->config->sites.size(), {});
  refresh_planned_work();
  if (!wall_offset_) return;
  for (std::uint32_t s = 0; s < planned_.size(); ++s)
    planned_[s] = planned_at(planned_work_, world_->site(s).id, {now.ns + wall_offset_->ns});
}

void Engine::set_maintenance(const config::MaintenanceConfig& work) {
  std::erase_if(decisions_.maintenance, [&](const auto& other) { return other.id == work.id; });
  if (!work.sites.empty()) decisions_.maintenance.push_back(work);
  refresh_planned_work();
}

void Engine::set_clock(Now now) {
  const Duration offset{now.wall.ns - now.monotonic.ns};
  if (wall_offset_) {
    const Duration moved = offset - *wall_offset_;
    if (moved < clock_slack && Duration{0} - clock_slack < moved) return;
  }
  wall_offset_ = offset;
  planned_due_ = Instant{0};
}

void Engine::tick_planned(Instant now) {
  if (now < planned_due_) return;
  planned_due_ = never;
  if (!wall_offset_) return;
  const WallTime wall{now.ns + wall_offset_->ns};
  for (std::uint32_t s = 0; s < planned_.size(); ++s) {
    auto next = planned_at(planned_work_, world_->site(s).id, wall);
    if (next.due.ns != never.ns)
      planned_due_ = std::min(planned_due_, Instant{next.due.ns - wall_offset_->ns});
    if (next == planned_[s]) continue;
    planned_[s] = std::move(next);
    for (const auto e : world_->endpoints_of_site[s]) {
      judge(e, now);
      mark_dirty(e);
    }
  }
}

}  // namespace pharos::controlplane
