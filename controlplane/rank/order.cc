#include "pharos/controlplane/rank/order.hh"

#include <algorithm>
#include <array>

namespace pharos::controlplane {
namespace {

// Up to this many, and mostly in order already: insertion beats what std::sort sets up.
constexpr std::size_t insertion_sort_max = 32;

// Up to this many, each pair of members is compared, and each member's place counted: more comparisons, but no branch
// that a processor could guess wrongly, which cost three times as much at eight members.
constexpr std::size_t counting_sort_max = 12;

// Whether some member stands behind one that it beats by more than the margin.
bool out_of_margin(std::span<const std::uint16_t> order, std::span<const double> scores) noexcept {
  if (order.empty()) return false;
  double least = scores[order[0]];
  for (const auto member : order.subspan(1)) {
    if (scores[member] > least * (1 + order_margin)) return true;
    least = std::min(least, scores[member]);
  }
  return false;
}

void sort_by_counting(std::span<std::uint16_t> order, std::span<const double> scores) noexcept {
  std::array<double, counting_sort_max> score;
  std::array<std::uint16_t, counting_sort_max> members;
  std::array<std::uint16_t, counting_sort_max> places{};
  const std::size_t count = order.size();
  for (std::size_t i = 0; i < count; ++i) {
    members[i] = order[i];
    score[i] = scores[order[i]];
  }
  for (std::size_t i = 1; i < count; ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      const auto later = static_cast<unsigned>(score[i] < score[j]) |
                         (static_cast<unsigned>(score[i] == score[j]) &
                          static_cast<unsigned>(members[i] > members[j]));
      places[i] = static_cast<std::uint16_t>(places[i] + later);
      places[j] = static_cast<std::uint16_t>(places[j] + 1 - later);
    }
  }
  for (std::size_t i = 0; i < count; ++i) order[places[i]] = members[i];
}

void sort_by_score(std::span<std::uint16_t> order, std::span<const double> scores) noexcept {
  const auto before = [&](std::uint16_t a, std::uint16_t b) {
    return scores[a] != scores[b] ? scores[a] > scores[b] : a < b;
  };
  if (order.size() <= counting_sort_max) {
    sort_by_counting(order, scores);
    return;
  }
  if (order.size() > insertion_sort_max) {
    std::ranges::sort(order, before);
    return;
  }
  for (std::size_t i = 1; i < order.size(); ++i) {
    const auto member = order[i];
    std::size_t at = i;
    for (; at > 0 && before(member, order[at - 1]); --at) order[at] = order[at - 1];
    order[at] = member;
  }
}

}  // namespace

void reorder(std::span<std::uint16_t> order, std::span<const double> scores) noexcept {
  if (out_of_margin(order, scores)) sort_by_score(order, scores);
}

void steady_order_into(std::span<const std::uint16_t> members, std::span<const double> scores,
                       std::span<const std::uint16_t> former, std::span<std::uint16_t> order,
                       std::vector<std::uint8_t>& marks) {
  std::ranges::copy(members, order.begin());
  if (former.empty()) {
    sort_by_score(order, scores);
    return;
  }
  marks.assign(scores.size(), 0);
  for (const auto member : members) marks[member] = 1;
  std::size_t kept = 0;
  for (const auto member : former) {
    if (member < marks.size() && marks[member] != 0) {
      order[kept++] = member;
      marks[member] = 0;
    }
  }
  std::size_t end = kept;
  for (const auto member : members) {
    if (marks[member] != 0) order[end++] = member;  // new to the order
  }
  sort_by_score(order.subspan(kept), scores);
  for (; kept < order.size(); ++kept) {
    const auto behind = std::ranges::find_if(
        order.first(kept), [&](auto other) { return scores[order[kept]] > scores[other]; });
    std::rotate(behind, order.begin() + static_cast<std::ptrdiff_t>(kept),
                order.begin() + static_cast<std::ptrdiff_t>(kept) + 1);
  }
  reorder(order, scores);
}

std::vector<std::uint16_t> steady_order(std::span<const std::uint16_t> members,
                                        std::span<const double> scores,
                                        std::span<const std::uint16_t> former) {
  std::vector<std::uint16_t> order(members.size());
  std::vector<std::uint8_t> marks;
  steady_order_into(members, scores, former, order, marks);
  return order;
}

}  // namespace pharos::controlplane
