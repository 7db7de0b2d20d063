#include "checks.hh"

#include <algorithm>
#include <set>

#include "dataplane.hh"

namespace pharos::sim {

using controlplane::Engine;
using controlplane::Standing;

AnswerChecks::AnswerChecks(std::shared_ptr<const controlplane::World> world)
    : world_(std::move(world)) {
  for (std::uint32_t p = 0; p < world_->pools.size(); ++p) {
    const auto& pool = world_->pools[p];
    for (std::size_t m = 0; m < pool.members.size(); ++m) {
      for (const auto& address : pool.addresses[m]) owners_[address] = {p, pool.members[m]};
    }
  }
}

const AnswerChecks::Judged& AnswerChecks::judge(const Engine& engine, std::uint32_t endpoint) {
  auto& judged = judged_[endpoint];
  if (judged) return *judged;
  const auto view = engine.view(endpoint, 0, Instant{});
  judged.emplace();
  judged->said = view.override;
  judged->weight = view.weight;
  judged->tier = world_->endpoint(endpoint).priority;
  const auto& site = world_->endpoints[endpoint].site;
  judged->reserve =
      view.override == config::Override::drain || view.held || engine.in_maintenance(site);
  judged->planned = view.override != config::Override::down && !judged->reserve && view.weight > 0;
  judged->well = view.standing == Standing::healthy || view.standing == Standing::reserve;
  return *judged;
}

bool AnswerChecks::in_panic(std::span<const Judged> members, double threshold,
                            std::optional<int> tier) {
  double well = 0;
  double all = 0;
  for (const auto& member : members) {
    if (!member.planned || (tier && member.tier != *tier)) continue;
    all += member.weight;
    if (member.well) well += member.weight;
  }
  return well <= 0 || well < threshold * all;
}

std::string AnswerChecks::check_owner(const Engine& engine, Owner owner) {
  const auto& service = world_->service(world_->pools[owner.pool].service);
  std::vector<Judged> members;
  for (const auto e : world_->pools[owner.pool].members) members.push_back(judge(engine, e));
  const auto& judged = judge(engine, owner.endpoint);
  const auto name = service.id + "/" + world_->endpoint(owner.endpoint).id;
  const auto planned = [](const Judged& m) { return m.planned; };
  const auto planned_and_well = [](const Judged& m) { return m.planned && m.well; };
  if (judged.said == config::Override::down && std::ranges::any_of(members, planned))
    return name + " is answered although the operator took it down and there are others";
  if (judged.reserve && std::ranges::any_of(members, planned_and_well))
    return name + " is answered although it is draining, at work or held, and others are well";
  if (!judged.planned || judged.well) return {};
  bool holds = !in_panic(members, service.panic_threshold, std::nullopt);
  if (service.policy == config::Policy::failover) {
    std::set<int> tiers;
    for (const auto& member : members) tiers.insert(member.tier);
    holds = std::ranges::any_of(
        tiers, [&](int tier) { return !in_panic(members, service.panic_threshold, tier); });
  }
  return holds ? name + " is answered although its site is down and enough others are well" : "";
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
  return {};
}

std::string AnswerChecks::check(const Engine& engine, const controlplane::Round& round) {
  if (round.changes.empty()) return {};
  judged_.assign(world_->endpoints.size(), std::nullopt);
  checked_.assign(world_->endpoints.size(), false);
  for (const auto& change : round.changes) {
    auto wrong = check_cell(engine, change.pool, read_cell(round.answers_of(change)).content);
    if (!wrong.empty()) return wrong;
  }
  return {};
}

}  // namespace pharos::sim
