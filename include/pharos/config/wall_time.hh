// Points in time as people write them: RFC 3339 in UTC. Pure; any thread.
#pragma once

#include "pharos/base/clock.hh"
#include "pharos/base/error.hh"

#include <string>
#include <string_view>

namespace pharos::config {

// "2026-11-21T02:00:00Z" or, without seconds, "2026-11-21T02:00Z"; years 1970 to 2199. Errors: invalid.
[[nodiscard]] Result<WallTime> parse_wall_time(std::string_view text);
// "2026-11-21T02:00:00Z"; fractions of a second are cut.
[[nodiscard]] std::string wall_time_text(WallTime time);

}  // namespace pharos::config
