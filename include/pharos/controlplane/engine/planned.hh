// Planned work at a site, and how long an answer may live before it. Pure.
#pragma once

#include "pharos/base/clock.hh"
#include "pharos/config/model.hh"
#include "pharos/controlplane/health/health_board.hh"

#include <cstdint>
#include <span>
#include <string>

namespace pharos::controlplane {

inline constexpr std::uint32_t ttl_unlimited = ~0U;
// Work farther away than this limits no TTL: no answer lives longer.
inline constexpr std::int64_t planned_horizon_s = 604'800;

struct PlannedSite {
  bool active = false;                  // it drains now
  std::uint32_t ttl_s = ttl_unlimited;  // the most that an answer with it may live
  std::string id;                       // of the work that goes on, or comes next; empty: none
  WallTime from, to;                    // of it
  WallTime due{never.ns};               // when any of this changes next

  friend bool operator==(const PlannedSite&, const PlannedSite&) = default;
};

// What is planned for a site at a time. TTLs go down in powers of two as the work comes near, so that a pool is published
// a few times before it and not once a second; within the last second they are 0.
[[nodiscard]] PlannedSite planned_at(std::span<const config::MaintenanceConfig> all,
                                     const std::string& site, WallTime now);

}  // namespace pharos::controlplane
