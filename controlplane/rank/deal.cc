#include "pharos/controlplane/rank/deal.hh"

#include <algorithm>
#include <cmath>
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

// Uniform in (0, 1), fixed for a slot and an endpoint.
double draw(unsigned slot, std::uint64_t key) noexcept {
  const std::uint64_t bits = mix(key ^ mix(slot + 0x9e3779b97f4a7c15)) >> 11;
  return (static_cast<double>(bits) + 0.5) * 0x1p-53;
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

struct Pair {
  double key;
  std::uint16_t slot;
  std::uint16_t hand;
  friend bool operator<(const Pair& a, const Pair& b) noexcept {
    return std::tie(a.key, a.slot, a.hand) < std::tie(b.key, b.slot, b.hand);
  }
};

std::vector<std::uint16_t> owners_of(unsigned slot_count, std::span<const Hand> hands) {
  auto left = quotas(slot_count, hands);
  std::vector<Pair> pairs;
  pairs.reserve(slot_count * hands.size());
  for (unsigned slot = 0; slot < slot_count; ++slot) {
    for (unsigned hand = 0; hand < hands.size(); ++hand) {
      if (left[hand] == 0) continue;
      pairs.push_back({draw(slot, hands[hand].key), static_cast<std::uint16_t>(slot),
                       static_cast<std::uint16_t>(hand)});
    }
  }
  std::ranges::sort(pairs, std::less{});
  constexpr std::uint16_t nobody = 0xffff;
  std::vector<std::uint16_t> owners(slot_count, nobody);
  for (const auto& pair : pairs) {
    if (owners[pair.slot] != nobody || left[pair.hand] == 0) continue;
    owners[pair.slot] = pair.hand;
    --left[pair.hand];
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
  const auto owners = owners_of(slot_count, hands);
  const auto share = shares(hands);
  std::vector<std::vector<std::uint16_t>> slots(slot_count);
  std::vector<double> keys(hands.size());
  for (unsigned slot = 0; slot < slot_count; ++slot) {
    // The k-th smallest of -ln(u)/w is a draw without replacement by weight (Efraimidis and
    // Spirakis 2006).
    for (std::size_t i = 0; i < hands.size(); ++i) {
      keys[i] = -std::log(draw(slot, hands[i].key)) / std::max(share[i], 1e-9);
    }
    keys[owners[slot]] = -1;
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
