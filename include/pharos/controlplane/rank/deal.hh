// Dealing slots by weight, consistently: a change of weights moves only the clients that it must.
//
// Every (slot, endpoint) pair has a fixed random key; an endpoint's quota of slots follows its
// weight exactly (largest remainder). The pairs are taken from the least key up; each gets its slot
// if slot and quota are free. That is rendezvous hashing (Thaler and Ravishankar 1998) with bounded
// loads (Mirrokni et al. 2018): shares are exact to one slot, where plain rendezvous is off by
// sqrt(n p (1-p)) slots. Pure; any thread.
#pragma once

#include "pharos/config/model.hh"

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace pharos::controlplane {

struct Hand {
  std::uint64_t key = 0;  // dealing_key() of the endpoint: the same over restarts and reloads
  double weight = 0;
};

// The key of an endpoint for dealing (FNV-1a and a finalizer; not a secret).
[[nodiscard]] std::uint64_t dealing_key(std::string_view service,
                                        std::string_view endpoint) noexcept;

// For each of `slot_count` slots the order of all hands: the one that owns the slot first, the
// others by their weighted key for that slot. Weights that are all 0 count as equal.
[[nodiscard]] std::vector<std::vector<std::uint16_t>> deal(unsigned slot_count,
                                                           std::span<const Hand> hands);
// The same for owners that were found elsewhere.
[[nodiscard]] std::vector<std::vector<std::uint16_t>> deal(std::span<const std::uint16_t> owners,
                                                           std::span<const Hand> hands);

// Weights that differ from those that `base` (owners by slot) was dealt by: slots stay where they are but for those that
// must move, so that a change of shares by x moves x of the clients and at most a slot or two more. A function of
// base and weights alone: no history, and a hand that comes back finds its slots again. `hands` are
// those of the base; without any weight among them, the base. `numbers`: of the slots, where these are some of many; empty:
// from 0.
[[nodiscard]] std::vector<std::uint16_t> owners_near(std::span<const std::uint16_t> base,
                                                     std::span<const Hand> hands,
                                                     std::span<const std::uint16_t> numbers = {});

// What a slot and an endpoint draw: a number of 53 bits, always the same.
[[nodiscard]] std::uint64_t dealing_draw(unsigned slot, std::uint64_t key) noexcept;

// Each slot to the hand with the least weighted key, whatever that makes of the shares (which come out right to
// sqrt(n p (1-p)) slots): a hand that goes moves its own slots alone, and one that comes takes only what it keeps.
[[nodiscard]] std::vector<std::vector<std::uint16_t>> deal_sticky(unsigned slot_count,
                                                                  std::span<const Hand> hands);

// The hand that owns each slot, by the same dealing.
[[nodiscard]] std::vector<std::uint16_t> owners_of(unsigned slot_count,
                                                   std::span<const Hand> hands);

// Slots for each hand, which add up to slot_count (Hamilton's largest remainder; ties by key).
[[nodiscard]] std::vector<unsigned> quotas(unsigned slot_count, std::span<const Hand> hands);

// Whether a policy deals its order by slot, for all locales alike; others rank by locale.
[[nodiscard]] bool is_dealt(config::Policy policy);

}  // namespace pharos::controlplane
