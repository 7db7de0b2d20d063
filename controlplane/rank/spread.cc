#include "pharos/controlplane/rank/spread.hh"

#include "pharos/controlplane/rank/deal.hh"

#include <algorithm>
#include <iterator>
#include <utility>

namespace pharos::controlplane {
namespace {

double total_of(std::span<const std::uint16_t> order, std::span<const double> assigned) {
  double total = 0;
  for (const auto member : order)
    total += member < assigned.size() ? std::max(assigned[member], 0.0) : 0;
  return total;
}

// Lifts everybody to his least, at the cost of what the others have above theirs.
void lift(std::vector<Lead>& leads, std::span<const double> least) {
  const double most = 0.5 / static_cast<double>(leads.size());
  const auto floor_of = [&](const Lead& lead) { return std::clamp(least[lead.member], 0.0, most); };
  double missing = 0, spare = 0;
  for (const auto& lead : leads) {
    missing += std::max(floor_of(lead) - lead.share, 0.0);
    spare += std::max(lead.share - floor_of(lead), 0.0);
  }
  if (missing <= 0) return;
  for (auto& lead : leads) {
    const double above = lead.share - floor_of(lead);
    lead.share = above > 0 ? floor_of(lead) + above * (1 - missing / spare) : floor_of(lead);
  }
}

}  // namespace

std::vector<Lead> leads_of(std::span<const std::uint16_t> order, std::span<const double> assigned,
                           std::span<const double> admitted, std::span<const double> least) {
  if (order.empty()) return {};
  std::vector<Lead> leads;
  const double total = total_of(order, assigned);
  for (const auto member : order) {
    const double part = member < assigned.size() ? std::max(assigned[member], 0.0) : 0;
    leads.push_back({member, total > 0 ? part / total : 0});
  }
  if (total <= 0) leads.front().share = 1;
  const auto whole =
      std::ranges::find_if(leads, [&](const Lead& lead) { return admitted[lead.member] >= 1; });
  if (whole != leads.end()) {
    for (auto& lead : leads) {
      const double held = lead.share * (1 - std::clamp(admitted[lead.member], 0.0, 1.0));
      lead.share -= held;
      whole->share += held;
    }
  }
  if (!least.empty()) lift(leads, least);
  std::erase_if(leads, [](const Lead& lead) { return lead.share <= 0; });
  return leads;
}

bool is_undivided(std::span<const Lead> leads, std::span<const std::uint16_t> order,
                  unsigned slot_count) noexcept {
  if (leads.empty()) return true;
  const double least = 1 - 0.5 / static_cast<double>(slot_count);  // the others get no slot
  return leads.front().member == order.front() && leads.front().share >= least;
}

std::vector<std::vector<std::uint16_t>> spread(unsigned slot_count, std::span<const Lead> leads,
                                               std::span<const std::uint64_t> keys,
                                               std::span<const std::uint16_t> order) {
  std::vector<Hand> hands;
  for (const auto& lead : leads) hands.push_back({keys[lead.member], lead.share});
  std::vector<std::vector<std::uint16_t>> slots;
  for (const auto hand : owners_of(slot_count, hands)) {
    auto& slot = slots.emplace_back();
    slot.push_back(leads[hand].member);
    std::ranges::copy_if(order, std::back_inserter(slot),
                         [&](auto member) { return member != leads[hand].member; });
  }
  return slots;
}

namespace {

void lead_with(std::vector<std::uint16_t>& order, std::vector<std::uint16_t>::iterator leader) {
  std::rotate(order.begin(), leader, leader + 1);
}

}  // namespace

void hold_back(std::vector<std::vector<std::uint16_t>>& slots, std::span<const std::uint64_t> keys,
               std::span<const double> admitted) {
  std::vector<std::vector<unsigned>> led(admitted.size());
  for (unsigned slot = 0; slot < slots.size(); ++slot) {
    if (!slots[slot].empty() && admitted[slots[slot].front()] < 1)
      led[slots[slot].front()].push_back(slot);
  }
  for (std::size_t member = 0; member < led.size(); ++member) {
    auto& mine = led[member];
    std::ranges::sort(
        mine, {}, [&](unsigned slot) { return std::pair(dealing_draw(slot, keys[member]), slot); });
    const auto kept = static_cast<std::size_t>(
        std::max(admitted[member], 0.0) * static_cast<double>(mine.size()) + 0.5);
    for (std::size_t i = kept; i < mine.size(); ++i) {
      auto& order = slots[mine[i]];
      const auto next =
          std::ranges::find_if(order, [&](const auto other) { return admitted[other] >= 1; });
      if (next != order.end()) lead_with(order, next);
    }
  }
}

void bend_to(std::vector<std::vector<std::uint16_t>>& slots, std::span<const std::uint64_t> keys,
             std::span<const double> shares) {
  if (slots.front().empty()) return;
  std::vector<Hand> hands;
  for (std::size_t member = 0; member < shares.size(); ++member)
    hands.push_back({keys[member], std::max(shares[member], 0.0)});
  std::vector<std::uint16_t> leaders;
  for (const auto& order : slots) leaders.push_back(order.front());
  const auto owners = owners_near(leaders, hands);
  for (std::size_t slot = 0; slot < slots.size(); ++slot)
    lead_with(slots[slot], std::ranges::find(slots[slot], owners[slot]));
}

}  // namespace pharos::controlplane
