// How long clients may be sent to an endpoint that is gone: the sum of everything that can take its time, each at its
// worst. Pure arithmetic; the command `failover-time` fills it in from what is measured, told and configured.
//
//   fault - beacon - detection - hold - publish - TTL - stretch -> the last client has the new answer
//                                          \- assign - publish - TTL - stretch -> ... and the one that it shall keep
//
// Detection is what the cause needs: intervals of silence; or looks of a check, `fall` of them with intervals, jitter and
// timeouts; or as many vantage points as the quorum asks for.
#pragma once

#include "pharos/base/clock.hh"

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace pharos::controlplane {

// What a fault looks like from here.
enum class FailoverCause : std::uint8_t {
  silence,   // the site is gone without a word
  report,    // its agent says that the endpoint is down
  overload,  // its beacons say that it is short of CPU or memory
  probes,    // looks from outside say that the endpoint is down
};
[[nodiscard]] std::string_view name_of(FailoverCause cause) noexcept;

// One that looks: what it sees is in its next beacon.
struct Notice {
  Duration beacon;     // between its beacons
  Duration detection;  // from the fault to its own verdict, at worst

  [[nodiscard]] Duration total() const noexcept { return beacon + detection; }
};

// The vantage point whose bad vote makes the verdict at the latest: of those that look, as many have to be bad as are more
// than `quorum` of them. Nothing where fewer than `votes_min` look, or no number of them suffices.
[[nodiscard]] std::optional<Notice> deciding_notice(std::vector<Notice> looking, double quorum,
                                                    unsigned votes_min);

struct FailoverInputs {
  Duration interval;      // between the site's beacons, as measured
  Duration down_silence;  // silence after which it is down: HealthBoard::down_silence()
  Duration check{};   // from the fault to the word of the endpoint's own agent; 0: it knows at once
  Notice probes{};    // deciding_notice()
  Duration fall;      // overload has to last this long
  Duration publish;   // from a cause to the tables, the slowest that was seen
  Duration assign{};  // until demand is shared out anew; 0: it is not
  Duration ttl;       // the longest that answers may carry
  Duration resolver_ttl_min{};  // resolvers keep shorter answers for this long all the same
};

struct FailoverTime {
  Duration beacon;     // until a beacon is due that is missing, or that tells
  Duration detection;  // until it is believed
  Duration hold;       // until it has lasted
  Duration publish;
  Duration ttl;
  Duration stretch;  // of resolvers beyond the TTL
  Duration assign;   // beyond all of these: see settled()

  // Until no client is sent there.
  [[nodiscard]] Duration total() const noexcept {
    return beacon + detection + hold + publish + ttl + stretch;
  }
  // Until every client is where demand and limits want it: those that left may be moved once more.
  [[nodiscard]] Duration settled() const noexcept {
    return assign.ns == 0 ? total() : total() + assign + publish;
  }
};

[[nodiscard]] FailoverTime failover_time(FailoverCause cause,
                                         const FailoverInputs& inputs) noexcept;

}  // namespace pharos::controlplane
