// Names and types that are not there, in stages, so that floods of them run about as fast as hits: NXDOMAIN, NODATA, and
// the plain answers of wildcards. What meets a cut, an alias or a pool at a wildcard goes on to Resolution (resolve.hh),
// which knows them all and would say the same of these.
//
//   miss -> below the last encloser? ------------------------------------------------> encloser -> zone -> SOA --> reply
//        |                       `-> hash of the label below it -> bucket: not there --^   |         prefetch ^
//        `-> hash of the parent -> bucket line -> tag -> node lines -> name ---------------^   `-> wildcard's answer
//                      prefetch ^        prefetch ^
//
// Existence is monotone (catalog_image.hh): where the name one label below an encloser has no node, the encloser is the
// closest one of everything below that label. Called by serve_burst.
#pragma once

#include "pharos/dataplane/dns/burst.hh"

namespace pharos::dataplane {

// Whether the labels of a name that was not found end where its parser said; and maps them.
[[nodiscard]] bool is_whole(Burst& burst, std::uint8_t index) noexcept;

// The name has a node, the type no slot: to be denied, or resolved.
void deny_type(Burst& burst, std::uint8_t index) noexcept;

// The names of `miss` have no node: finds their closest enclosers. Each becomes `moved`, or `resolve`.
void enclose_stages(Burst& burst) noexcept;

// `encloser` is the closest one of a name that was resolved: the next bursts look there first.
void remember_encloser(Burst& burst, const catalog::Node& encloser) noexcept;

// Replies to all of `moved`.
void moved_stage(Burst& burst) noexcept;

}  // namespace pharos::dataplane
