// The stage of response rate limiting: replies that are above the limit of their client are withheld or cut short.
//
// Called by serve_burst behind all stages that reply, where limits are configured. What is counted, and how, is in
// match/rate_limit.hh; here is what becomes of a reply.
#pragma once

#include "pharos/dataplane/dns/serve_state.hh"

#include <span>

namespace pharos::dataplane {

// Judges all replies over UDP of a burst. TCP, exempt prefixes and valid cookies are not counted. Above the limit a
// reply is dropped (Verdict::drop_rate_limited), and every n-th cut to TC, or to BADCOOKIE (RFC 7873, 5.2.3) where the
// client sent a cookie and could come back with a valid one.
void limit_stage(ServeState::Impl& state, std::span<Query> queries,
                 CoreCounters& counters) noexcept;

}  // namespace pharos::dataplane
