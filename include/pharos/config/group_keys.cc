// Keys of groups: policies within the policy of a service. Private to include/pharos/config.
#include "pharos/config/keys.hh"

#include <algorithm>
#include <map>
#include <string>
#include <vector>

namespace pharos::config {

namespace {

constexpr unsigned groups_max = 256;
constexpr unsigned group_depth_max = 4;

std::string group_list(const ServiceConfig& service) {
  std::string all;
  for (const auto& group : service.groups) all += (all.empty() ? "" : ", ") + group.id;
  return all;
}

Place place_of(const Node& node, const Source& source) {
  return source.line > 0 ? Place{node.place.file, source.line} : node.place;
}

void report_unknown(Reader& reader, const Place& place, const std::string& who,
                    const std::string& id, const ServiceConfig& service) {
  std::vector<std::string> known;
  for (const auto& group : service.groups) known.push_back(group.id);
  const auto near = nearest(id, known);
  reader.mistakes.add(place, who + " is in the unknown group '" + id + "'",
                      !near.empty()   ? "did you mean '" + near + "'?"
                      : known.empty() ? "the service has no 'groups'"
                                      : "there are: " + group_list(service));
}

using Parents = std::map<std::string, const GroupConfig*>;

// How deep a group is, 1 being in the service itself; nothing where it is in a circle.
std::optional<unsigned> depth_of(const GroupConfig& group, const Parents& groups) {
  unsigned depth = 1;
  for (const auto* at = &group; !at->in.empty(); ++depth) {
    const auto parent = groups.find(at->in);
    if (parent == groups.end()) return depth;
    if (depth > groups.size()) return std::nullopt;
    at = parent->second;
  }
  return depth;
}

void check_tree(Reader& reader, const Node& node, const ServiceConfig& service,
                const Parents& groups) {
  for (const auto& group : service.groups) {
    const auto who = "group '" + group.id + "' of service '" + service.id + "'";
    const auto place = place_of(node, group.source);
    if (!group.in.empty() && !groups.contains(group.in)) {
      report_unknown(reader, place, who, group.in, service);
      continue;
    }
    const auto depth = depth_of(group, groups);
    if (!depth) {
      reader.mistakes.add(place, who + " is in itself", "'in' leads to a group farther up");
    } else if (*depth > group_depth_max) {
      reader.mistakes.add(place, who + " is nested " + std::to_string(*depth) + " deep",
                          "at most " + std::to_string(group_depth_max));
    }
  }
}

}  // namespace

Type<Policy> policy_choice() {
  return choice<Policy>({{"ranked", Policy::ranked},
                         {"weighted", Policy::weighted},
                         {"failover", Policy::failover},
                         {"geo", Policy::geo},
                         {"sticky", Policy::sticky},
                         {"multivalue", Policy::multivalue}});
}

template <>
const Table* table_of<GroupConfig>() {
  using C = GroupConfig;
  static const Table table{
      "services[].groups[]",
      "A policy within the policy of a service: its endpoints and groups stand in what it is in as "
      "one, such as a failover of weighted groups.",
      {
          required(key("id", &C::id, identifier("group id"), "unique in its service", "europe")),
          key("in", &C::in, identifier("group id"),
              "the group that it is in; default: the service itself", "europe"),
          key("policy", &C::policy, policy_choice(),
              "among its endpoints and groups, as of a service", "weighted"),
          key("weight", &C::weight, number(0, 1e6),
              "under policy `weighted` or `sticky`; 0: only as a last resort", "3"),
          key("priority", &C::priority, whole_signed(-1000, 1000),
              "under policy `failover`: lowest first", "10"),
          key("panic_threshold", &C::panic_threshold, maybe(ratio()),
              "healthy share of its weight below which it is not well as a whole; default: that of "
              "the service",
              "30%"),
      },
      {}};
  return &table;
}

Key groups_key() {
  return key("groups", &ServiceConfig::groups, list_of(object<GroupConfig>(), 0, groups_max),
             "see below");
}

Key endpoint_group_key() {
  return key("group", &EndpointConfig::group, identifier("group id"),
             "the group of the service that it is in; default: the service itself", "europe");
}

void check_groups(Reader& reader, const Node& node, const ServiceConfig& service) {
  Parents groups;
  std::map<std::string, unsigned> used;
  for (const auto& group : service.groups) {
    if (!groups.emplace(group.id, &group).second) {
      reader.mistakes.add(place_of(node, group.source),
                          "service '" + service.id + "' has two groups '" + group.id + "'",
                          "ids of groups are unique in their service");
    }
    ++used[group.in];
  }
  check_tree(reader, node, service, groups);
  for (const auto& endpoint : service.endpoints) {
    ++used[endpoint.group];
    if (endpoint.group.empty() || groups.contains(endpoint.group)) continue;
    report_unknown(reader, place_of(node, endpoint.source),
                   "endpoint '" + endpoint.id + "' of service '" + service.id + "'", endpoint.group,
                   service);
  }
  for (const auto& group : service.groups) {
    if (used.contains(group.id)) continue;
    reader.mistakes.add(place_of(node, group.source),
                        "group '" + group.id + "' of service '" + service.id + "' is empty",
                        "put endpoints into it with 'group: " + group.id + "', or leave it out");
  }
}

}  // namespace pharos::config
