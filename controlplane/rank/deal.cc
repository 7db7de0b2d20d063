#include "pharos/controlplane/rank/deal.hh"

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <numeric>
#include <tuple>

namespace pharos::controlplane {
namespace {

// The finalizer of splitmix64 (Steele, Lea and Flood 2014).
std::uint64_t mix(std::uint64_t x) noexcept {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

constexpr unsigned draw_bits = 53;

std::uint64_t seed_of(unsigned slot) noexcept {
  return mix(slot + 0x9e3779b97f4a7c15);
}

// Of each slot and hand a number of `draw_bits` bits, fixed for a slot and an endpoint; [slot * hands + hand]. `numbers`:
// of the slots; empty: from 0.
std::vector<std::uint64_t> draws_of(unsigned slot_count, std::span<const Hand> hands,
                                    std::span<const std::uint16_t> numbers = {}) {
  std::vector<std::uint64_t> draws;
  draws.reserve(slot_count * hands.size());
  for (unsigned slot = 0; slot < slot_count; ++slot) {
    const std::uint64_t seed = seed_of(numbers.empty() ? slot : numbers[slot]);
    for (const auto& hand : hands) draws.push_back(mix(hand.key ^ seed) >> (64 - draw_bits));
  }
  return draws;
}

// In (0, 1).
double uniform(std::uint64_t draw) noexcept {
  return (static_cast<double>(draw) + 0.5) * 0x1p-53;
}

std::vector<double> shares(std::span<const Hand> hands) {
  double total = 0;
  for (const auto& hand : hands) total += std::max(hand.weight, 0.0);
  std::vector<double> result(hands.size(), 1.0 / static_cast<double>(hands.size()));
  if (total > 0) {
    std::ranges::transform(hands, result.begin(),
                           [&](const auto& hand) { return std::max(hand.weight, 0.0) / total; });
  }
  return result;
}

// The indices of draws from the least up. They are uniform, so each finds its place by its first bits, and what is left
// of disorder lies side by side.
std::vector<std::uint32_t> order_of(std::span<const std::uint64_t> draws) {
  const auto bits = static_cast<unsigned>(std::bit_width(draws.size()));
  const auto bucket_of = [&](std::uint64_t draw) { return draw >> (draw_bits - bits); };
  std::vector<std::uint32_t> ends((std::size_t{1} << bits) + 1);
  for (const auto draw : draws) ++ends[bucket_of(draw) + 1];
  std::partial_sum(ends.begin(), ends.end(), ends.begin());
  std::vector<std::uint32_t> order(draws.size());
  for (std::uint32_t i = 0; i < draws.size(); ++i) order[ends[bucket_of(draws[i])]++] = i;
  for (std::size_t i = 1; i < order.size(); ++i) {
    const auto index = order[i];
    std::size_t at = i;
    for (; at > 0 && draws[index] < draws[order[at - 1]]; --at) order[at] = order[at - 1];
    order[at] = index;
  }
  return order;
}

std::vector<std::uint16_t> owners_of(unsigned slot_count, std::span<const Hand> hands,
                                     std::span<const std::uint64_t> draws) {
  auto left = quotas(slot_count, hands);
  constexpr std::uint16_t nobody = 0xffff;
  std::vector<std::uint16_t> owners(slot_count, nobody);
  for (const auto index : order_of(draws)) {
    const auto slot = index / hands.size();
    const auto hand = index % hands.size();
    if (owners[slot] != nobody || left[hand] == 0) continue;
    owners[slot] = static_cast<std::uint16_t>(hand);
    --left[hand];
  }
  return owners;
}

struct Pair {
  double key;
  std::uint16_t slot;
  std::uint16_t hand;
  friend bool operator<(const Pair& a, const Pair& b) noexcept {
    return std::tie(a.key, a.slot, a.hand) < std::tie(b.key, b.slot, b.hand);
  }
};

}  // namespace

std::uint64_t dealing_key(std::string_view service, std::string_view endpoint) noexcept {
  std::uint64_t digest = 0xcbf29ce484222325;
  const auto add = [&](std::string_view text) {
    for (const char c : text) digest = (digest ^ static_cast<std::uint8_t>(c)) * 0x100000001b3;
    digest = (digest ^ 0xffU) * 0x100000001b3;
  };
  add(service);
  add(endpoint);
  return mix(digest);
}

std::vector<unsigned> quotas(unsigned slot_count, std::span<const Hand> hands) {
  const auto share = shares(hands);
  std::vector<unsigned> result(hands.size());
  std::vector<double> remainder(hands.size());
  unsigned given = 0;
  for (std::size_t i = 0; i < hands.size(); ++i) {
    const double exact = share[i] * slot_count;
    result[i] = static_cast<unsigned>(exact);
    remainder[i] = exact - result[i];
    given += result[i];
  }
  std::vector<std::size_t> order(hands.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::sort(order, [&](std::size_t a, std::size_t b) {
    return remainder[a] != remainder[b] ? remainder[a] > remainder[b] : hands[a].key < hands[b].key;
  });
  for (std::size_t i = 0; given < slot_count; i = (i + 1) % order.size(), ++given)
    ++result[order[i]];
  return result;
}

std::vector<std::uint16_t> owners_of(unsigned slot_count, std::span<const Hand> hands) {
  return owners_of(slot_count, hands, draws_of(slot_count, hands));
}

namespace {

// Slots of each hand for the weights of now: as in `held` where rounding leaves the choice.
std::vector<unsigned> quotas_near(unsigned slot_count, std::span<const unsigned> held,
                                  std::span<const Hand> hands) {
  const auto share = shares(hands);
  std::vector<unsigned> result(hands.size());
  unsigned given = 0;
  for (std::size_t i = 0; i < hands.size(); ++i) {
    const double exact = share[i] * slot_count;
    // A share that is a whole number of slots, but for the last bits of its computation, is one.
    const auto low = static_cast<unsigned>(std::floor(exact + 1e-9));
    const auto high = static_cast<unsigned>(std::ceil(exact - 1e-9));
    result[i] = std::clamp(held[i], std::min(low, high), high);
    given += result[i];
  }
  // Whoever is farthest from what is exact gives or takes the slots that are left.
  const auto error = [&](std::size_t i) { return share[i] * slot_count - result[i]; };
  while (given != slot_count) {
    std::size_t chosen = 0;
    for (std::size_t i = 1; i < hands.size(); ++i) {
      const bool more = given < slot_count ? error(i) > error(chosen) : error(i) < error(chosen);
      if (more || (error(i) == error(chosen) && hands[i].key < hands[chosen].key)) chosen = i;
    }
    if (given < slot_count) {
      ++result[chosen];
      ++given;
    } else {
      --result[chosen];
      --given;
    }
  }
  return result;
}

// Hands of a slot by their weighted keys: the k-th smallest of -ln(u)/w is a draw without replacement by weight
// (Efraimidis and Spirakis 2006). With equal weights that is the order of -u.
class KeyOrder {
 public:
  KeyOrder(unsigned slot_count, std::span<const Hand> hands)
      : hands_(hands),
        draws_(draws_of(slot_count, hands)),
        share_(shares(hands)),
        equal_(std::ranges::adjacent_find(share_, std::not_equal_to{}) == share_.end()),
        keys_(hands.size()) {}

  void order(unsigned slot, std::vector<std::uint16_t>& order) {
    for (std::size_t i = 0; i < hands_.size(); ++i) {
      const double u = uniform(draws_[slot * hands_.size() + i]);
      keys_[i] = equal_ ? -u : -std::log(u) / std::max(share_[i], 1e-9);
    }
    order.resize(hands_.size());
    std::iota(order.begin(), order.end(), std::uint16_t{0});
    std::ranges::sort(order, [&](std::uint16_t a, std::uint16_t b) {
      return keys_[a] != keys_[b] ? keys_[a] < keys_[b] : hands_[a].key < hands_[b].key;
    });
  }

 private:
  std::span<const Hand> hands_;
  std::vector<std::uint64_t> draws_;
  std::vector<double> share_;
  bool equal_;
  std::vector<double> keys_;
};

}  // namespace

std::uint64_t dealing_draw(unsigned slot, std::uint64_t key) noexcept {
  return mix(key ^ seed_of(slot)) >> (64 - draw_bits);
}

std::vector<std::uint16_t> owners_near(std::span<const std::uint16_t> base,
                                       std::span<const Hand> hands,
                                       std::span<const std::uint16_t> numbers) {
  std::vector<std::uint16_t> owners(base.begin(), base.end());
  if (std::ranges::none_of(hands, [](const auto& hand) { return hand.weight > 0; })) return owners;
  const auto slot_count = static_cast<unsigned>(base.size());
  const auto draws = draws_of(slot_count, hands, numbers);
  const auto draw = [&](unsigned slot, std::size_t hand) {
    return uniform(draws[slot * hands.size() + hand]);
  };
  std::vector<unsigned> held(hands.size(), 0);
  for (const auto owner : owners) ++held[owner];
  const auto wanted = quotas_near(slot_count, held, hands);
  // Who has too many gives those that he wants least; they go to who wants them most.
  std::vector<Pair> given;
  for (unsigned slot = 0; slot < slot_count; ++slot) {
    const auto owner = owners[slot];
    if (held[owner] > wanted[owner])
      given.push_back({-draw(slot, owner), static_cast<std::uint16_t>(slot), owner});
  }
  std::ranges::sort(given, std::less{});
  std::vector<Pair> offers;
  for (const auto& pair : given) {
    if (held[pair.hand] == wanted[pair.hand]) continue;
    --held[pair.hand];
    for (unsigned hand = 0; hand < hands.size(); ++hand) {
      if (held[hand] >= wanted[hand] || pair.hand == hand) continue;
      offers.push_back({draw(pair.slot, hand), pair.slot, static_cast<std::uint16_t>(hand)});
    }
  }
  std::ranges::sort(offers, std::less{});
  std::vector<bool> taken(slot_count, false);
  for (const auto& offer : offers) {
    if (taken[offer.slot] || held[offer.hand] >= wanted[offer.hand]) continue;
    taken[offer.slot] = true;
    owners[offer.slot] = offer.hand;
    ++held[offer.hand];
  }
  return owners;
}

std::vector<std::vector<std::uint16_t>> deal(std::span<const std::uint16_t> owners,
                                             std::span<const Hand> hands) {
  std::vector<std::vector<std::uint16_t>> slots(owners.size());
  KeyOrder keys(static_cast<unsigned>(owners.size()), hands);
  for (unsigned slot = 0; slot < owners.size(); ++slot) {
    auto& order = slots[slot];
    keys.order(slot, order);
    const auto owner = std::ranges::find(order, owners[slot]);
    std::rotate(order.begin(), owner, owner + 1);
  }
  return slots;
}

std::vector<std::vector<std::uint16_t>> deal(unsigned slot_count, std::span<const Hand> hands) {
  if (hands.empty()) return {};
  return deal(owners_of(slot_count, hands), hands);
}

bool is_dealt(config::Policy policy) {
  switch (policy) {
    case config::Policy::weighted:
    case config::Policy::sticky:
    case config::Policy::multivalue:
      return true;
    case config::Policy::ranked:
    case config::Policy::failover:
    case config::Policy::geo:
      return false;
  }
  return false;
}

std::vector<std::vector<std::uint16_t>> deal_sticky(unsigned slot_count,
                                                    std::span<const Hand> hands) {
  if (hands.empty()) return {};
  std::vector<std::vector<std::uint16_t>> slots(slot_count);
  KeyOrder keys(slot_count, hands);
  for (unsigned slot = 0; slot < slot_count; ++slot) keys.order(slot, slots[slot]);
  return slots;
}

}  // namespace pharos::controlplane
