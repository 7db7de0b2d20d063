// How well the receiver of beacons hears: silence counts only as long as somebody listened.
#pragma once

#include "pharos/base/clock.hh"

namespace pharos::controlplane {

struct Hearing {
  Instant until;  // what had arrived by then has been handed over
  Duration
      stalled{};  // the longest that it was away from its sources for no reason of its own, since it was last asked
};

}  // namespace pharos::controlplane
