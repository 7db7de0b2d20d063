#include "pharos/controlplane/engine/shrink.hh"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <map>
#include <set>

// A plan that takes most endpoints away is refused, as one that takes names away is.

namespace pharos::controlplane {
namespace {

// Below this a service is too small for shares of it to mean anything: half of two is one.
constexpr std::size_t judged_endpoints_min = 4;

// Ids of endpoints, by service.
using Endpoints = std::map<std::string, std::set<std::string>>;

Endpoints endpoints_of(const World& world) {
  Endpoints all;
  for (const auto& service : world.config->services) {
    auto& endpoints = all[service.id];
    for (const auto& endpoint : service.endpoints) endpoints.insert(endpoint.id);
  }
  return all;
}

std::size_t removed_from(const std::set<std::string>& former, const std::set<std::string>& next) {
  return static_cast<std::size_t>(
      std::ranges::count_if(former, [&](const auto& id) { return !next.contains(id); }));
}

bool too_many(std::size_t removed, std::size_t former, double limit) {
  return static_cast<double>(removed) > limit * static_cast<double>(former);
}

}  // namespace

Status check_endpoint_shrink(const World& former, const World& next, double shrink_limit) {
  const auto before = endpoints_of(former), after = endpoints_of(next);
  constexpr const char* hint = "reload with force if that is meant";
  std::size_t all = 0, gone = 0;
  for (const auto& [service, endpoints] : before) {
    const auto at = after.find(service);
    const auto removed = at == after.end() ? endpoints.size() : removed_from(endpoints, at->second);
    all += endpoints.size();
    gone += removed;
    if (at == after.end() || endpoints.size() < judged_endpoints_min ||
        !too_many(removed, endpoints.size(), shrink_limit)) {
      continue;
    }
    return fail(
        ErrorCode::conflict,
        fmt::format("{} of the {} endpoints of service '{}' would vanish, more than {:.0f} %",
                    removed, endpoints.size(), service, shrink_limit * 100),
        "plan check", hint);
  }
  if (all < judged_endpoints_min || !too_many(gone, all, shrink_limit)) return {};
  return fail(ErrorCode::conflict,
              fmt::format("{} of {} endpoints would vanish, more than {:.0f} %", gone, all,
                          shrink_limit * 100),
              "plan check", hint);
}

}  // namespace pharos::controlplane
