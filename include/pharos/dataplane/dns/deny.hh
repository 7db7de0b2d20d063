// NXDOMAIN and NODATA in stages, so that floods of them run about as fast as hits. The plain cases only: what meets a
// cut, a wildcard, an alias or a deeper gap in the tree goes on to Resolution (resolve.hh), which knows them all and
// would say the same of these.
//
//   miss -> labels, hash of the parent -> bucket line -> tag -> node lines -> closest encloser -> zone -> SOA -> reply
//                             prefetch ^        prefetch ^                            prefetch ^   ^ prefetch
//
// Called by serve_burst.
#pragma once

#include "pharos/dataplane/dns/burst.hh"

namespace pharos::dataplane {

// Whether the labels of a name that was not found end where its parser said; and maps them.
[[nodiscard]] bool is_whole(Burst& burst, std::uint8_t index) noexcept;

// The name has a node, the type no slot: to be denied, or resolved.
void deny_type(Burst& burst, std::uint8_t index) noexcept;

// The names of `miss` have no node: finds their closest enclosers. To be denied, or resolved.
void enclose_stages(Burst& burst) noexcept;

// Replies to all of `deny`.
void deny_stage(Burst& burst) noexcept;

}  // namespace pharos::dataplane
