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
//  * Who the operator drains, works at, or holds until its failback is answered only when nobody is known to be well.
//  * A site that is down is answered only below the panic threshold, or when nobody is well.
class AnswerChecks {
 public:
  explicit AnswerChecks(std::shared_ptr<const controlplane::World> world);

  // Looks at the cells of one round. Empty: all is well; else what is wrong.
  [[nodiscard]] std::string check(const controlplane::Engine& engine,
                                  const controlplane::Round& round);

 private:
  // One endpoint as an operator would judge it by looking at it.
  struct Judged {
    config::Override said = config::Override::automatic;
    double weight = 1;
    bool well = false;     // would answer
    bool reserve = false;  // drained, at work, or held
    bool planned =
        false;  // takes part by plan: neither in reserve, nor down by word, nor of weight 0
    int tier = 0;
  };
  struct Owner {
    std::uint32_t pool = 0;
    std::uint32_t endpoint = 0;
  };
  [[nodiscard]] const Judged& judge(const controlplane::Engine& engine, std::uint32_t endpoint);
  // Whether the endpoints that are well carry less than the threshold of the planned weight.
  [[nodiscard]] static bool in_panic(std::span<const Judged> members, double threshold,
                                     std::optional<int> tier);
  [[nodiscard]] std::string check_cell(const controlplane::Engine& engine, std::uint32_t index,
                                       const controlplane::CellContent& content);
  [[nodiscard]] std::string check_owner(const controlplane::Engine& engine, Owner owner);

  std::shared_ptr<const controlplane::World> world_;
  std::map<IpAddress, Owner> owners_;
  std::vector<std::optional<Judged>> judged_;  // by endpoint, of this round
  std::vector<bool> checked_;                  // by endpoint: well answered in this round
};

}  // namespace pharos::sim
