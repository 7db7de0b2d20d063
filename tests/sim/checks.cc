#include "checks.hh"

#include <algorithm>
#include <cmath>
#include <set>

#include "dataplane.hh"

namespace pharos::sim {

using controlplane::Engine;
using controlplane::Standing;

AnswerChecks::AnswerChecks(std::shared_ptr<const controlplane::World> world)
    : world_(std::move(world)) {
  for (std::uint32_t p = 0; p < world_->pools.size(); ++p) {
    const auto& pool = world_->pools[p];
    trees_.push_back(tree_of(*world_, pool));
    for (std::size_t m = 0; m < pool.members.size(); ++m) {
      Owner owner{.pool = p, .endpoint = pool.members[m]};
      for (std::size_t g = 0; g < trees_[p].size(); ++g) {
        const auto& endpoints = trees_[p][g].endpoints;
        if (std::ranges::find(endpoints, owner.endpoint) != endpoints.end()) owner.group = g;
      }
      for (const auto& address : pool.addresses[m]) owners_[address] = owner;
    }
  }
}

// By the configuration: groups stand there in any order.
AnswerChecks::Tree AnswerChecks::tree_of(const controlplane::World& world,
                                         const controlplane::WorldPool& pool) {
  const auto& service = world.service(pool.service);
  Tree tree(1);
  tree[0].policy = service.policy;
  tree[0].threshold = service.panic_threshold;
  std::vector<std::string> ids = {""};
  for (std::size_t g = 0; g < tree.size(); ++g) {
    for (const auto e : pool.members) {
      if (world.endpoint(e).group == ids[g]) tree[g].endpoints.push_back(e);
    }
    for (const auto& group : service.groups) {
      if (group.in != ids[g]) continue;
      tree[g].groups.push_back(tree.size());
      tree.push_back({.policy = group.policy,
                      .threshold = group.panic_threshold.value_or(service.panic_threshold),
                      .weight = group.weight,
                      .tier = group.priority,
                      .in = g,
                      .endpoints = {},
                      .groups = {}});
      ids.push_back(group.id);
    }
  }
  return tree;
}

const AnswerChecks::Judged& AnswerChecks::judge(const Engine& engine, std::uint32_t endpoint) {
  auto& judged = judged_[endpoint];
  if (judged) return *judged;
  const auto view = engine.view(endpoint, 0, Instant{});
  judged.emplace();
  judged->weight = view.weight;
  judged->tier = world_->endpoint(endpoint).priority;
  const auto& site = world_->endpoints[endpoint].site;
  const bool reserve = view.override == config::Override::drain || view.held || view.weight <= 0 ||
                       engine.in_maintenance(site);
  const bool well = view.standing == Standing::healthy || view.standing == Standing::reserve;
  judged->state = view.override == config::Override::down ? State::barred
                  : reserve                               ? (well ? State::reserve : State::barred)
                                                          : (well ? State::well : State::failing);
  return *judged;
}

std::optional<int> AnswerChecks::tier_in_use(const Group& group, const Children& children) {
  std::set<int> tiers;
  for (const auto& child : children)
    tiers.insert(group.policy == config::Policy::failover ? child.tier : 0);
  for (const int tier : tiers) {
    double well = 0;
    double all = 0;
    for (const auto& child : children) {
      if (group.policy == config::Policy::failover && child.tier != tier) continue;
      if (child.state == State::well) well += child.weight;
      if (child.state == State::well || child.state == State::failing) all += child.weight;
    }
    if (well > 0 && well >= group.threshold * all) return tier;
  }
  return std::nullopt;
}

bool AnswerChecks::holds(const Group& group, const Children& children) {
  return tier_in_use(group, children).has_value();
}

AnswerChecks::Judged AnswerChecks::judge_group(const Group& group, const Children& children) {
  const auto any = [&](State state) {
    return std::ranges::any_of(children, [&](const auto& c) { return c.state == state; });
  };
  const bool last = group.weight <= 0;  // resort
  Judged judged{.state = State::barred, .weight = group.weight, .tier = group.tier};
  if (holds(group, children)) {
    judged.state = last ? State::reserve : State::well;
  } else if (any(State::well) || any(State::failing)) {
    judged.state = last ? State::barred : State::failing;
  } else if (any(State::reserve)) {
    judged.state = State::reserve;
  }
  return judged;
}

const std::vector<AnswerChecks::Children>& AnswerChecks::children_of(const Engine& engine,
                                                                     std::uint32_t pool) {
  auto& children = children_[pool];
  if (!children.empty()) return children;
  const auto& tree = trees_[pool];
  children.resize(tree.size());
  for (std::size_t g = tree.size(); g-- > 0;) {
    for (const auto e : tree[g].endpoints) children[g].push_back(judge(engine, e));
    for (const auto inner : tree[g].groups) {
      // A group in which nobody of this pool stands is not there.
      if (!children[inner].empty())
        children[g].push_back(judge_group(tree[inner], children[inner]));
    }
  }
  return children;
}

std::string AnswerChecks::wrong_in(const Group& group, const Children& children,
                                   const Judged& child) {
  const auto any = [&](State state) {
    return std::ranges::any_of(children, [&](const auto& c) { return c.state == state; });
  };
  const auto tier = tier_in_use(group, children);
  switch (child.state) {
    case State::well:
      return tier && group.policy == config::Policy::failover && child.tier != *tier
                 ? "although a tier before it holds"
                 : "";
    case State::reserve:
      return any(State::well)
                 ? "although it is draining, at work, held or a last resort, and others are well"
                 : "";
    case State::failing:
      return tier ? "although it is down and enough others are well" : "";
    case State::barred:
      return any(State::well) || any(State::failing)
                 ? "although the operator has no use for it and there are others"
                 : "";
  }
  return {};
}

std::string AnswerChecks::check_owner(const Engine& engine, const Owner& owner) {
  const auto& tree = trees_[owner.pool];
  const auto& children = children_of(engine, owner.pool);
  auto child = judge(engine, owner.endpoint);
  // Nothing that groups would choose is well: then it is whoever is, or, if nobody is, the reserves.
  if (tree.size() > 1 && !holds(tree[0], children[0])) {
    if (child.state == State::well) return {};
    const auto& members = world_->pools[owner.pool].members;
    if (child.state == State::reserve && std::ranges::none_of(members, [&](auto e) {
          return judge(engine, e).state == State::well;
        }))
      return {};
  }
  for (auto g = owner.group;; g = tree[g].in) {
    if (auto wrong = wrong_in(tree[g], children[g], child); !wrong.empty()) {
      const auto& service = world_->service(world_->pools[owner.pool].service);
      return service.id + "/" + world_->endpoint(owner.endpoint).id + " is answered " + wrong +
             (tree.size() > 1 ? " (level " + std::to_string(g) + " of its groups)" : "");
    }
    if (g == 0) return {};
    child = judge_group(tree[g], children[g]);
  }
}

// Where groups are dealt and nothing bends their weights, each leads its part of the slots.
std::string AnswerChecks::check_parts(const Engine& engine, std::uint32_t pool,
                                      const controlplane::CellContent& content) {
  const auto& tree = trees_[pool];
  const auto& service = world_->service(world_->pools[pool].service);
  const bool dealt = tree[0].policy == config::Policy::weighted ||
                     tree[0].policy == config::Policy::multivalue;
  if (!dealt || tree.size() == 1 || !tree[0].endpoints.empty() || engine.assigning() ||
      service.slow_start.ns > 0 || service.probe_share > 0)
    return {};
  const auto& children = children_of(engine, pool);
  if (!holds(tree[0], children[0])) return {};
  std::vector<double> led(tree.size(), 0.0);  // by group, as a share
  for (const auto& slot : content.slots) {
    if (slot.empty()) return {};
    const auto& owner = owners_.at(slot.front());
    if (owner.pool != pool) return {};  // another one answers for it
    auto group = owner.group;
    while (tree[group].in != 0) group = tree[group].in;
    led[group] += 1.0 / static_cast<double>(content.slots.size());
  }
  double all = 0;
  const auto weight_of = [&](std::size_t group) {
    const auto judged = judge_group(tree[group], children[group]);
    return judged.state == State::well ? judged.weight : 0;
  };
  for (const auto group : tree[0].groups) all += weight_of(group);
  for (const auto group : tree[0].groups) {
    const double wanted = weight_of(group) / all;
    const double rounding = 1.0 / static_cast<double>(service.slots) + 1e-9;
    if (std::abs(led[group] - wanted) > rounding) {
      return "a group of " + service.id + " leads " + std::to_string(led[group]) +
             " of the clients, and should " + std::to_string(wanted);
    }
  }
  return {};
}

std::string AnswerChecks::check_cell(const Engine& engine, std::uint32_t index,
                                     const controlplane::CellContent& content) {
  const auto& pool = world_->pools[index];
  const auto& service = world_->service(pool.service);
  if (content.slots.empty()) {
    return service.fail == config::FailMode::closed ? "" : pool.pool.name() + " is answered empty";
  }
  for (const auto& slot : content.slots) {
    if (slot.size() > service.answers_max) return "more answers than the service may give";
    for (const auto& address : slot) {
      const auto owner = owners_.find(address);
      if (owner == owners_.end()) return address.text() + " is answered and belongs to nobody";
      if (checked_[owner->second.endpoint]) continue;
      if (auto wrong = check_owner(engine, owner->second); !wrong.empty()) return wrong;
      checked_[owner->second.endpoint] = true;
    }
  }
  return check_parts(engine, index, content);
}

std::string AnswerChecks::check(const Engine& engine, const controlplane::Round& round) {
  if (round.changes.empty()) return {};
  judged_.assign(world_->endpoints.size(), std::nullopt);
  children_.assign(world_->pools.size(), {});
  checked_.assign(world_->endpoints.size(), false);
  for (const auto& change : round.changes) {
    auto wrong = check_cell(engine, change.pool, read_cell(round.answers_of(change)).content);
    if (!wrong.empty()) return wrong;
  }
  return {};
}

}  // namespace pharos::sim
