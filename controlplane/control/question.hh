// A question of `explain`, now or in the past. Private to this folder.
#pragma once

#include "pharos/base/clock.hh"
#include "pharos/base/ip_address.hh"
#include "pharos/shared/catalog_image.hh"
#include "pharos/wire/name.hh"

#include <string>

#include "handlers.hh"

namespace pharos::controlplane {

struct Question {
  std::string name;
  dns::Type type = dns::Type::a;
  IpAddress client;
};

// The pool that answers it. Errors: not_found, invalid.
[[nodiscard]] Result<std::uint32_t> pool_of(const catalog::View& catalog, const Question& question);
// As `explain` answers, of the past. Errors: not_found, unavailable, invalid (no time).
[[nodiscard]] Result<Json> explain_at(Daemon& daemon, const Question& question,
                                      const std::string& when);

// "2026-11-20T13:05:00.123Z"; and from it, from seconds since 1970, or from "-10m".
[[nodiscard]] std::string time_text(WallTime time);
[[nodiscard]] Result<WallTime> parse_time(const std::string& text, WallTime now);

}  // namespace pharos::controlplane
