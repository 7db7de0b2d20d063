// The stage of name policies: what becomes of queries whose name a policy takes.
//
// Called by serve_burst behind the look-up of names, where the catalog has policies. Known names carry their verdict in
// their node; only names without one are looked for among the plain patterns and scanned. What a policy lets through
// stays in its list and goes on as if there were none.
#pragma once

#include "pharos/dataplane/dns/burst.hh"

namespace pharos::dataplane {

// Takes the queries of `policed` (known, with a verdict), `miss` and `resolve` whose policy answers or drops them out
// of these lists. All their names are whole (deny.hh: is_whole).
void policy_stage(Burst& burst) noexcept;

}  // namespace pharos::dataplane
