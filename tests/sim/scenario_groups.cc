// Policies within policies: some services have groups, some of these have groups of their own.
#include <algorithm>

#include "scenario.hh"

namespace pharos::sim {
namespace {

config::GroupConfig make_group(Random& random, const std::string& id, const std::string& in) {
  config::GroupConfig group;
  group.id = id;
  group.in = in;
  group.policy = some_policy(random);
  if (random.chance(0.5)) group.weight = random.between(0.5, 4.0);
  if (random.chance(0.03)) group.weight = 0;
  group.priority = static_cast<int>(random.below(3));
  if (random.chance(0.3)) group.panic_threshold = random.between(0.0, 0.9);
  return group;
}

// Two or three groups, perhaps one within the first; of the endpoints, a few may stay in the service itself.
void divide(Random& random, config::ServiceConfig& service) {
  const auto count = random.from_to(2, 3);
  for (std::uint64_t g = 0; g < count; ++g)
    service.groups.push_back(make_group(random, "group" + std::to_string(g), ""));
  if (random.chance(0.3)) service.groups.push_back(make_group(random, "inner", "group0"));
  const bool some_stay = random.chance(0.2);
  for (std::size_t e = 0; e < service.endpoints.size(); ++e) {
    auto& endpoint = service.endpoints[e];
    if (some_stay && random.chance(0.2)) continue;
    endpoint.group = service.groups[e % service.groups.size()].id;
  }
  // The loader takes no group in which nobody stands.
  std::erase_if(service.groups, [&](const auto& group) {
    const auto stands_in = [&](const auto& endpoint) {
      return endpoint.group == group.id || (group.id == "group0" && endpoint.group == "inner");
    };
    return std::ranges::none_of(service.endpoints, stands_in);
  });
}

}  // namespace

void add_groups(Random& random, config::Config& config, double share) {
  for (auto& service : config.services) {
    if (random.chance(share) && service.endpoints.size() > 2) divide(random, service);
  }
}

}  // namespace pharos::sim
