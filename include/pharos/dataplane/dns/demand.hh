// How much each (pool, locale) and each name is asked for: one query of a burst stands for all of it.
//
// Cost on the hit path: a few instructions a burst, none a query. A batch of samples goes to the control plane when it
// is full and once a second, through the serving thread's ring; at most demand_records_per_second of them, and while one
// waits the weight of what passes by goes to the next sample. Where `demand_sampled` is off, nothing is counted. Owned by
// one serving thread.
#pragma once

#include "pharos/dataplane/dns/burst.hh"
#include "pharos/shared/demand_record.hh"
#include "pharos/shared/spsc_ring.hh"

namespace pharos::dataplane {

// Of the burst's queries that were steered, `ranked_count` of those in `pool`. Behind slot_stage.
void note_demand(Burst& burst) noexcept;

// One query that was answered from a pool on the long way: `work.node`, `work.pool` and `work.cell` say from which.
void note_demand(ServeState::Impl& state, const TableRoot& root, const Work& work) noexcept;

// Hands on what is due: demand, and queries that policies want logged. What the ring has no room for is dropped, and
// demand leaves at least half of it to beacons. After every burst and once a turn.
void forward_to_control_plane(ServeState& state, RingProducer& ring) noexcept;

}  // namespace pharos::dataplane
