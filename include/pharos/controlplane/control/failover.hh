// How long clients may be sent to an endpoint that is gone: the sum of everything that can take its time, each at its
// worst. Pure arithmetic; the command `failover-time` fills it in from what is measured and configured.
//
//   fault ─ beacon ─ detection ─ hold ─ publish ─ TTL ─ stretch ─> the last client has the new answer
#pragma once

#include "pharos/base/clock.hh"

#include <string_view>

namespace pharos::controlplane {

// What a fault looks like from here.
enum class FailoverCause : std::uint8_t {
  silence,   // the site is gone without a word
  report,    // its agent says that the endpoint is down
  overload,  // its beacons say that it is short of CPU or memory
};
[[nodiscard]] std::string_view name_of(FailoverCause cause) noexcept;

struct FailoverInputs {
  Duration interval;            // between the site's beacons, as measured
  Duration down_silence;        // silence after which it is down: HealthBoard::down_silence()
  Duration fall;                // overload has to last this long
  Duration publish;             // from a cause to the tables, the slowest that was seen
  Duration ttl;                 // the longest that answers may carry
  Duration resolver_ttl_min{};  // resolvers keep shorter answers for this long all the same
};

struct FailoverTime {
  Duration beacon;     // until a beacon is due that is missing, or that tells
  Duration detection;  // until it is believed
  Duration hold;       // until it has lasted
  Duration publish;
  Duration ttl;
  Duration stretch;  // of resolvers beyond the TTL

  [[nodiscard]] Duration total() const noexcept {
    return beacon + detection + hold + publish + ttl + stretch;
  }
};

[[nodiscard]] FailoverTime failover_time(FailoverCause cause,
                                         const FailoverInputs& inputs) noexcept;

}  // namespace pharos::controlplane
