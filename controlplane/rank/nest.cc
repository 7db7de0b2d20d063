#include "pharos/controlplane/rank/nest.hh"

#include "pharos/base/assert.hh"
#include "pharos/controlplane/rank/deal.hh"
#include "pharos/controlplane/rank/order.hh"

#include <algorithm>
#include <functional>
#include <numeric>
#include <utility>

namespace pharos::controlplane {
namespace {

using Places = std::vector<std::uint16_t>;
using Slots = std::vector<std::vector<std::uint16_t>>;

bool any_of(std::span<const Candidate> candidates, Standing standing) {
  return std::ranges::any_of(candidates, [&](const auto& c) { return c.standing == standing; });
}

// ---- who takes part ----

class Judge {
 public:
  Judge(const Nest& nest, std::span<const Candidate> candidates, config::FailMode fail)
      : nest_(nest),
        candidates_(candidates),
        fail_(fail),
        children_(nest.size()),
        results_(nest.size()),
        standings_(nest.size(), Standing::failing),
        has_healthy_(nest.size(), false) {}

  NestMembership run() {
    for (std::size_t node = nest_.size(); node-- > 0;) judge(node);
    NestMembership result;
    result.all = results_[0];
    result.all.members.clear();
    result.parts.resize(nest_.size());
    result.panic.assign(nest_.size(), false);
    take_part(0, result);
    rescue(result);
    std::ranges::sort(result.all.members);
    for (std::size_t node = 0; node < nest_.size(); ++node) {
      result.panic[node] = results_[node].panic && !result.parts[node].empty();
      result.all.panic = result.all.panic || result.panic[node];
    }
    return result;
  }

 private:
  [[nodiscard]] Candidate candidate_of(const NestChild& child) const {
    if (!child.is_node) return candidates_[child.index];
    const auto& node = nest_[child.index];
    return {standings_[child.index], node.weight, node.priority};
  }

  void judge(std::size_t index) {
    const auto& node = nest_[index];
    auto& children = children_[index];
    for (const auto& child : node.children) {
      children.push_back(candidate_of(child));
      const bool healthy = child.is_node ? bool{has_healthy_[child.index]}
                                         : candidates_[child.index].standing == Standing::healthy;
      has_healthy_[index] = has_healthy_[index] || healthy;
    }
    const auto fail = index == 0                          ? fail_
                      : fail_ == config::FailMode::closed ? config::FailMode::closed
                                                          : config::FailMode::open;
    auto& result = results_[index];
    result = membership_of(children, node.policy, node.panic_threshold, fail);
    standings_[index] = standing_of(index);
    if (node.policy == config::Policy::failover && result.panic && !result.closed)
      look_further(index);
  }

  [[nodiscard]] Standing standing_of(std::size_t index) const {
    const auto& children = children_[index];
    const auto& result = results_[index];
    const bool passes = !result.panic && !result.closed && !result.members.empty() &&
                        children[result.members.front()].standing == Standing::healthy;
    const bool reserve = nest_[index].weight <= 0;
    if (passes) return reserve ? Standing::reserve : Standing::healthy;
    if (any_of(children, Standing::healthy) || any_of(children, Standing::failing))
      return reserve ? Standing::barred : Standing::failing;
    return any_of(children, Standing::reserve) ? Standing::reserve : Standing::barred;
  }

  // No tier passes: the first that has anyone healthy, as among endpoints.
  void look_further(std::size_t index) {
    auto children = children_[index];
    bool any = false;
    for (std::size_t i = 0; i < children.size(); ++i) {
      const auto& child = nest_[index].children[i];
      if (!child.is_node || children[i].standing != Standing::failing || !has_healthy_[child.index])
        continue;
      children[i].standing = Standing::healthy;
      any = true;
    }
    if (!any) return;
    const auto& node = nest_[index];
    results_[index].members =
        membership_of(children, node.policy, node.panic_threshold, config::FailMode::open).members;
  }

  void take_part(std::size_t index, NestMembership& result) const {
    result.parts[index] = results_[index].members;
    for (const auto place : result.parts[index]) {
      const auto& child = nest_[index].children[place];
      if (child.is_node) {
        take_part(child.index, result);
      } else {
        result.all.members.push_back(child.index);
      }
    }
  }

  // Everybody of a standing, whatever groups say. False: there is nobody.
  bool take_all(std::size_t index, Standing standing, NestMembership& result) const {
    Places places;
    const auto& children = nest_[index].children;
    for (std::uint16_t place = 0; place < static_cast<std::uint16_t>(children.size()); ++place) {
      const auto& child = children[place];
      if (child.is_node) {
        if (take_all(child.index, standing, result)) places.push_back(place);
      } else if (candidates_[child.index].standing == standing) {
        places.push_back(place);
        result.all.members.push_back(child.index);
      }
    }
    result.parts[index] = std::move(places);
    return !result.parts[index].empty();
  }

  // Nobody well is among those that groups chose, and there is somebody well: then it is these.
  void rescue(NestMembership& result) const {
    const auto taken = [&](Standing standing) {
      return std::ranges::any_of(result.all.members, [&](const auto member) {
        return candidates_[member].standing == standing;
      });
    };
    if (taken(Standing::healthy)) return;
    for (const auto standing : {Standing::healthy, Standing::reserve}) {
      if (!any_of(candidates_, standing)) continue;
      if (taken(standing)) return;
      result.all.members.clear();
      result.parts.assign(nest_.size(), {});
      static_cast<void>(take_all(0, standing, result));
      return;
    }
  }

  const Nest& nest_;
  std::span<const Candidate> candidates_;
  config::FailMode fail_;
  std::vector<std::vector<Candidate>> children_;  // by node
  std::vector<Membership> results_;
  std::vector<Standing> standings_;
  std::vector<bool> has_healthy_;  // any member below
};

// ---- in which order ----

// What a child is worth to its parent: of a dealt node the mean by weight, of another one the best.
class Worth {
 public:
  Worth(const Nest& nest, const NestMembership& membership, std::span<const double> values,
        std::span<const double> weights)
      : values_(values), nodes_(nest.size(), 0.0) {
    for (std::size_t n = nest.size(); n-- > 0;) {
      double best = 0, sum = 0, total = 0;
      for (const auto place : membership.parts[n]) {
        const auto& child = nest[n].children[place];
        const double weight = child.is_node ? nest[child.index].weight : weights[child.index];
        best = std::max(best, of(child));
        sum += std::max(weight, 0.0) * of(child);
        total += std::max(weight, 0.0);
      }
      nodes_[n] = is_dealt(nest[n].policy) && total > 0 ? sum / total : best;
    }
  }
  [[nodiscard]] double of(const NestChild& child) const {
    return child.is_node ? nodes_[child.index] : values_[child.index];
  }

 private:
  std::span<const double> values_;
  std::vector<double> nodes_;
};

class Arranger {
 public:
  Arranger(const Nest& nest, const NestMembership& membership, const NestRanks& ranks,
           const NestOwners& owners, std::span<const std::uint64_t> keys,
           std::span<const double> weights, unsigned slots)
      : nest_(nest),
        membership_(membership),
        ranks_(ranks),
        owners_(owners),
        keys_(keys),
        weights_(weights),
        slots_(slots) {}

  // `leads`: slots in which the node comes first of all.
  [[nodiscard]] Slots arrange(std::size_t node, const std::vector<bool>& leads) const {
    const auto orders = orders_of(node, leads);
    const auto& children = nest_[node].children;
    std::vector<Slots> below(children.size());
    for (const auto place : membership_.parts[node]) {
      const auto& child = children[place];
      if (!child.is_node) continue;
      std::vector<bool> leads_below(slots_);
      for (unsigned slot = 0; slot < slots_; ++slot)
        leads_below[slot] = leads[slot] && order_at(orders, slot).front() == place;
      below[place] = arrange(child.index, leads_below);
    }
    Slots result(slots_);
    for (unsigned slot = 0; slot < slots_; ++slot) {
      for (const auto place : order_at(orders, slot)) {
        if (children[place].is_node) {
          const auto& part = below[place][slot];
          result[slot].insert(result[slot].end(), part.begin(), part.end());
        } else {
          result[slot].push_back(children[place].index);
        }
      }
    }
    return result;
  }

 private:
  static const Places& order_at(const Slots& orders, unsigned slot) {
    return orders[orders.size() == 1 ? 0 : slot];
  }

  // Children that take part, by slot; one order where they are not dealt.
  [[nodiscard]] Slots orders_of(std::size_t node, const std::vector<bool>& leads) const {
    if (!is_dealt(nest_[node].policy)) return {ranks_[node]};
    const auto hands = hands_of(node);
    std::vector<Hand> playing;
    for (const auto place : membership_.parts[node]) playing.push_back(hands[place]);
    auto orders = deal_sticky(slots_, playing);
    for (auto& order : orders) {
      for (auto& hand : order) hand = membership_.parts[node][hand];
    }
    if (!owners_[node].empty()) give_to_owners(node, hands, leads, orders);
    return orders;
  }

  // Of all children; weight 0: it does not take part. Weights that are all 0 count as equal.
  [[nodiscard]] std::vector<Hand> hands_of(std::size_t node) const {
    const auto& children = nest_[node].children;
    std::vector<Hand> hands(children.size());
    double total = 0;
    for (const auto place : membership_.parts[node]) {
      const auto& child = children[place];
      const double weight = child.is_node ? nest_[child.index].weight : weights_[child.index];
      hands[place].weight = std::max(weight, 0.0);
      total += hands[place].weight;
    }
    for (std::size_t place = 0; place < children.size(); ++place) {
      const auto& child = children[place];
      hands[place].key = child.is_node ? nest_[child.index].key : keys_[child.index];
    }
    if (total <= 0) {
      for (const auto place : membership_.parts[node]) hands[place].weight = 1;
    }
    return hands;
  }

  void give_to_owners(std::size_t node, std::span<const Hand> hands, const std::vector<bool>& leads,
                      Slots& orders) const {
    Places base, numbers;
    for (unsigned slot = 0; slot < slots_; ++slot) {
      if (!leads[slot]) continue;
      base.push_back(owners_[node][slot]);
      numbers.push_back(static_cast<std::uint16_t>(slot));
    }
    const auto owners = owners_near(base, hands, numbers);
    for (std::size_t i = 0; i < owners.size(); ++i) {
      auto& order = orders[numbers[i]];
      const auto owner = std::ranges::find(order, owners[i]);
      ASSERT(owner != order.end());
      std::rotate(order.begin(), owner, owner + 1);
    }
  }

  const Nest& nest_;
  const NestMembership& membership_;
  const NestRanks& ranks_;
  const NestOwners& owners_;
  std::span<const std::uint64_t> keys_;
  std::span<const double> weights_;
  unsigned slots_;
};

}  // namespace

NestMembership nest_membership(const Nest& nest, std::span<const Candidate> candidates,
                               config::FailMode fail) {
  return Judge(nest, candidates, fail).run();
}

std::vector<std::uint16_t> nodes_of_members(const Nest& nest, std::size_t member_count) {
  std::vector<std::uint16_t> nodes(member_count, 0);
  for (std::uint16_t n = 0; n < static_cast<std::uint16_t>(nest.size()); ++n) {
    for (const auto& child : nest[n].children) {
      if (!child.is_node) nodes[child.index] = n;
    }
  }
  return nodes;
}

NestRanks rank_nest(const Nest& nest, const NestMembership& membership,
                    std::span<const double> scores, std::span<const double> nearness,
                    std::span<const double> weights, const NestRanks& former) {
  const Worth by_score(nest, membership, scores, weights);
  const Worth by_nearness(nest, membership, nearness, weights);
  NestRanks ranks(nest.size());
  std::vector<double> worth;
  for (std::size_t n = 0; n < nest.size(); ++n) {
    if (membership.parts[n].empty() || is_dealt(nest[n].policy)) continue;
    const auto& by = nest[n].policy == config::Policy::geo ? by_nearness : by_score;
    worth.clear();
    for (const auto& child : nest[n].children) worth.push_back(by.of(child));
    ranks[n] =
        steady_order(membership.parts[n], worth,
                     n < former.size() ? std::span(former[n]) : std::span<const std::uint16_t>());
  }
  return ranks;
}

NestOwners nest_owners(const Nest& nest, std::span<const std::uint64_t> keys,
                       std::span<const double> configured_weights, unsigned slots) {
  NestOwners owners(nest.size());
  for (std::size_t n = 0; n < nest.size(); ++n) {
    if (!is_dealt(nest[n].policy) || nest[n].policy == config::Policy::sticky) continue;
    std::vector<Hand> hands;
    for (const auto& child : nest[n].children) {
      const bool alike = nest[n].policy == config::Policy::multivalue && !child.is_node;
      const double weight =
          child.is_node ? nest[child.index].weight : configured_weights[child.index];
      hands.push_back(
          {child.is_node ? nest[child.index].key : keys[child.index], alike ? 1 : weight});
    }
    owners[n] = owners_of(slots, hands);
  }
  return owners;
}

std::vector<std::vector<std::uint16_t>> arrange_nest(
    const Nest& nest, const NestMembership& membership, const NestRanks& ranks,
    const NestOwners& owners, std::span<const std::uint64_t> keys, std::span<const double> weights,
    unsigned slots) {
  if (membership.parts.front().empty()) return {{}};
  bool dealt = false;
  for (std::size_t n = 0; n < nest.size(); ++n)
    dealt = dealt || (is_dealt(nest[n].policy) && !membership.parts[n].empty());
  const unsigned count = dealt ? slots : 1;
  return Arranger(nest, membership, ranks, owners, keys, weights, count)
      .arrange(0, std::vector<bool>(count, true));
}

}  // namespace pharos::controlplane
