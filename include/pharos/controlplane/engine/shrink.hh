// The check of endpoints before a plan is published. Pure; any thread.
#pragma once

#include "pharos/controlplane/engine/world.hh"

namespace pharos::controlplane {

// A plan that takes away more than `shrink_limit` of all endpoints, or of those of a service that stays and had at least
// four, is refused unless it is forced. Errors: conflict (which service, and how many).
[[nodiscard]] Status check_endpoint_shrink(const World& former, const World& next,
                                           double shrink_limit);

}  // namespace pharos::controlplane
