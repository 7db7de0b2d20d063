#include "pharos/controlplane/rank/deal.hh"

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <numeric>

namespace pharos::controlplane {
namespace {

// The finalizer of splitmix64 (Steele, Lea and Flood 2014).
std::uint64_t mix(std::uint64_t x) noexcept {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

constexpr unsigned draw_bits = 53;

// Of each slot and hand a number of `draw_bits` bits, fixed for a slot and an endpoint; [slot * hands + hand].
std::vector<std::uint64_t> draws_of(unsigned slot_count, std::span<const Hand> hands) {
  std::vector<std::uint64_t> draws;
  draws.reserve(slot_count * hands.size());
  for (unsigned slot = 0; slot < slot_count; ++slot) {
    const std::uint64_t seed = mix(slot + 0x9e3779b97f4a7c15);
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

std::vector<std::vector<std::uint16_t>> deal(unsigned slot_count, std::span<const Hand> hands) {
  if (hands.empty()) return {};
  const auto draws = draws_of(slot_count, hands);
  const auto owners = owners_of(slot_count, hands, draws);
  const auto share = shares(hands);
  const bool equal = std::ranges::adjacent_find(share, std::not_equal_to{}) == share.end();
  std::vector<std::vector<std::uint16_t>> slots(slot_count);
  std::vector<double> keys(hands.size());
  for (unsigned slot = 0; slot < slot_count; ++slot) {
    // The k-th smallest of -ln(u)/w is a draw without replacement by weight (Efraimidis and
    // Spirakis 2006). With equal weights that is the order of -u.
    for (std::size_t i = 0; i < hands.size(); ++i) {
      const double u = uniform(draws[slot * hands.size() + i]);
      keys[i] = equal ? -u : -std::log(u) / std::max(share[i], 1e-9);
    }
    keys[owners[slot]] = -2;  // less than any other
    auto& order = slots[slot];
    order.resize(hands.size());
    std::iota(order.begin(), order.end(), std::uint16_t{0});
    std::ranges::sort(order, [&](std::uint16_t a, std::uint16_t b) {
      return keys[a] != keys[b] ? keys[a] < keys[b] : hands[a].key < hands[b].key;
    });
  }
  return slots;
}

}  // namespace pharos::controlplane
