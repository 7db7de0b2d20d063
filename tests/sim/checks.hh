// What must be true of every answer, told by an obvious model of its own beside controlplane/rank.
#pragma once

#include "pharos/controlplane/engine/engine.hh"

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace pharos::sim {

//  * Never empty, unless the policy says so (promise 4).
//  * Who the operator took down is answered only when there is nobody else at all.
//  * Who the operator drains, works at, or holds until its failback, or whose weight is 0, is answered only when nobody is known
//    to be well.
//  * A site that is down is answered only below the panic threshold, or when nobody is well.
//  * Of failover, the first tier that holds is answered.
//  * In groups all this holds at each level, where a group counts as one; where nothing that groups choose is well, whoever is
//    well may be answered.
//  * Weighted groups lead their parts of the slots.
class AnswerChecks {
 public:
  explicit AnswerChecks(std::shared_ptr<const controlplane::World> world);

  // Looks at the cells of one round. Empty: all is well; else what is wrong.
  [[nodiscard]] std::string check(const controlplane::Engine& engine,
                                  const controlplane::Round& round);

 private:
  enum class State : std::uint8_t { well, reserve, failing, barred };
  // An endpoint as an operator would judge it by looking at it; a group as one.
  struct Judged {
    State state = State::barred;
    double weight = 1;
    int tier = 0;
  };
  using Children = std::vector<Judged>;
  // The endpoints of a pool and the groups that stand in a group, or in the service.
  struct Group {
    config::Policy policy = config::Policy::ranked;
    double threshold = 0.5;
    double weight = 1;
    int tier = 0;
    std::size_t in = 0;
    std::vector<std::uint32_t> endpoints;
    std::vector<std::size_t> groups;
  };
  // The first is the service itself; all others stand behind what they are in.
  using Tree = std::vector<Group>;
  struct Owner {
    std::uint32_t pool = 0;
    std::uint32_t endpoint = 0;
    std::size_t group = 0;
  };
  [[nodiscard]] static Tree tree_of(const controlplane::World& world,
                                    const controlplane::WorldPool& pool);
  [[nodiscard]] const Judged& judge(const controlplane::Engine& engine, std::uint32_t endpoint);
  // What stands in each group of a pool: its endpoints, then its groups.
  [[nodiscard]] const std::vector<Children>& children_of(const controlplane::Engine& engine,
                                                         std::uint32_t pool);
  [[nodiscard]] static Judged judge_group(const Group& group, const Children& children);
  // Whether those that are well carry the threshold of the planned weight; of failover, the tier in use.
  [[nodiscard]] static bool holds(const Group& group, const Children& children);
  [[nodiscard]] static std::optional<int> tier_in_use(const Group& group, const Children& children);
  // Why a child of a group may not be answered. Empty: it may.
  [[nodiscard]] static std::string wrong_in(const Group& group, const Children& children,
                                            const Judged& child);
  [[nodiscard]] std::string check_cell(const controlplane::Engine& engine, std::uint32_t index,
                                       const controlplane::CellContent& content);
  [[nodiscard]] std::string check_owner(const controlplane::Engine& engine, const Owner& owner);
  [[nodiscard]] std::string check_parts(const controlplane::Engine& engine, std::uint32_t pool,
                                        const controlplane::CellContent& content);

  std::shared_ptr<const controlplane::World> world_;
  std::map<IpAddress, Owner> owners_;
  std::vector<Tree> trees_;                            // by pool
  std::vector<std::optional<Judged>> judged_;          // by endpoint, of this round
  std::vector<std::vector<Children>> children_;        // by pool, of this round; empty: not yet
  std::vector<bool> checked_;                          // by endpoint: well answered in this round
};

}  // namespace pharos::sim
