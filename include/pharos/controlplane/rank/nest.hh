// Policies within policies: a tree whose leaves are a pool's members and whose nodes are groups, each with a policy of its
// own. Who takes part, and in which order for which slot. Pure.
//
//              service: failover                      node 0
//               |            |
//     europe: weighted    overseas: ranked            a child is a member or another node
//      |           |           |
//    fra-1   north: sticky   nyc-1
//
// A group stands in its parent as one: healthy where it would pass its own panic threshold, with a weight and a priority of
// its own, as near and as good as its members are. Rules: controlplane/rank/README.md.
#pragma once

#include "pharos/controlplane/rank/membership.hh"

#include <cstdint>
#include <span>
#include <vector>

namespace pharos::controlplane {

struct NestChild {
  bool is_node = false;
  std::uint16_t index = 0;  // of a node, or of a member of the pool
  friend bool operator==(const NestChild&, const NestChild&) = default;
};

struct NestNode {
  config::Policy policy = config::Policy::ranked;
  double weight = 1;
  int priority = 0;
  double panic_threshold = 0.5;
  std::uint64_t key = 0;            // dealing key, in its parent
  std::uint32_t group = 0;          // index of the configured group; of node 0 nothing
  std::vector<NestChild> children;  // at least one
};

// Node 0 is the service, parents stand before their children. Empty: no groups.
using Nest = std::vector<NestNode>;

struct NestMembership {
  Membership all;  // members: of all nodes that take part; panic: of any of them
  // By node: places of the children that take part, ascending; none where the node does not.
  std::vector<std::vector<std::uint16_t>> parts;
  std::vector<bool> panic;  // by node
};

// `candidates` by member, as for membership_of(). Of a closed service every group is.
[[nodiscard]] NestMembership nest_membership(const Nest& nest,
                                             std::span<const Candidate> candidates,
                                             config::FailMode fail);

// The node that each member is a child of.
[[nodiscard]] std::vector<std::uint16_t> nodes_of_members(const Nest& nest,
                                                          std::size_t member_count);

// By node: the children that take part, best first (places); of dealt nodes, none.
using NestRanks = std::vector<std::vector<std::uint16_t>>;

// `scores`, `nearness` (of geo) and `weights` by member. `former`: of the last time, which is kept while nobody is beaten
// by more than order_margin; empty: none.
[[nodiscard]] NestRanks rank_nest(const Nest& nest, const NestMembership& membership,
                                  std::span<const double> scores, std::span<const double> nearness,
                                  std::span<const double> weights, const NestRanks& former);

// By node: the child that owns each slot by configured weights (by member); of nodes that are not dealt by quota, none.
using NestOwners = std::vector<std::vector<std::uint16_t>>;
[[nodiscard]] NestOwners nest_owners(const Nest& nest, std::span<const std::uint64_t> keys,
                                     std::span<const double> configured_weights, unsigned slots);

// The order of the members for each slot; one for all where nothing that takes part is dealt. `keys` and `weights` by
// member. Of each node, the slots that its parent gave it are dealt by weight exactly; for the others it says who
// comes next.
[[nodiscard]] std::vector<std::vector<std::uint16_t>> arrange_nest(
    const Nest& nest, const NestMembership& membership, const NestRanks& ranks,
    const NestOwners& owners, std::span<const std::uint64_t> keys, std::span<const double> weights,
    unsigned slots);

}  // namespace pharos::controlplane
