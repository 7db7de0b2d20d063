#include "pharos/controlplane/rank/order.hh"

#include <algorithm>

namespace pharos::controlplane {
namespace {

// Whether some member stands behind one that it beats by more than the margin.
bool out_of_margin(std::span<const std::uint16_t> order, std::span<const double> scores) noexcept {
  double least = 0;
  bool first = true;
  for (const auto member : order) {
    if (!first && scores[member] > least * (1 + order_margin)) return true;
    least = first ? scores[member] : std::min(least, scores[member]);
    first = false;
  }
  return false;
}

}  // namespace

std::vector<std::uint16_t> steady_order(std::span<const std::uint16_t> members,
                                        std::span<const double> scores,
                                        std::span<const std::uint16_t> former) {
  std::vector<std::uint16_t> sorted(members.begin(), members.end());
  std::ranges::stable_sort(sorted, [&](auto a, auto b) { return scores[a] > scores[b]; });
  if (former.empty()) return sorted;

  std::vector<bool> wanted(scores.size(), false);
  for (const auto member : members) wanted[member] = true;
  std::vector<std::uint16_t> kept;
  for (const auto member : former) {
    if (member < wanted.size() && wanted[member]) {
      kept.push_back(member);
      wanted[member] = false;
    }
  }
  for (const auto member : sorted) {
    if (!wanted[member]) continue;  // new to the order
    const auto at = std::ranges::find_if(kept, [&](auto k) { return scores[member] > scores[k]; });
    kept.insert(at, member);
  }
  return out_of_margin(kept, scores) ? sorted : kept;
}

}  // namespace pharos::controlplane
