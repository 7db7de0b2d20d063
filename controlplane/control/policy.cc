// `policy-test`: which name policies take a name, and what would be answered.
#include "pharos/wire/name.hh"

#include <algorithm>

#include "handlers.hh"

namespace pharos::controlplane {
namespace {

using catalog::PolicyAction;
using catalog::PolicyRule;

constexpr std::size_t rows_max = 20;  // of a name that everything takes

[[nodiscard]] std::string types_of(const PolicyRule& rule) {
  std::string text;
  for (const auto& route : rule.route())
    text += (text.empty() ? "" : ", ") + dns::type_text(route.type);
  return text;
}

// The zone that holds a name: that of its closest encloser. Empty where none does.
[[nodiscard]] std::string zone_of(const catalog::View& catalog, ConstBytes folded) {
  for (auto suffix = folded;; suffix = dns::parent_of(suffix)) {
    const auto* node = catalog.find(suffix.data(), static_cast<unsigned>(suffix.size()));
    if (node == nullptr) continue;  // ends at the root, which always has one
    if (node->zone == catalog::no_zone) return {};
    const auto* apex = catalog.node(catalog.zones()[node->zone].apex);
    return dns::name_text({apex->name(), apex->name_bytes});
  }
}

[[nodiscard]] std::string answer_of(const PolicyRule* rule, const std::string& zone,
                                    const config::NamePolicyConfig* policy) {
  std::string usual =
      zone.empty() ? "REFUSED: no zone of ours holds the name" : "what the zone " + zone + " says";
  if (rule == nullptr) return usual;
  const auto with_soa = zone.empty() ? std::string(", without SOA: no zone of ours holds the name")
                                     : ", with the SOA of " + zone;
  switch (rule->action) {
    case PolicyAction::allow:
      return usual;
    case PolicyAction::log:
      return usual + "; samples are logged";
    case PolicyAction::limit:
      return usual + "; within the rate class '" + policy->rate_class + "'";
    case PolicyAction::refuse:
      return "REFUSED";
    case PolicyAction::drop:
      return "no reply";
    case PolicyAction::nxdomain:
      return "NXDOMAIN" + with_soa;
    case PolicyAction::nodata:
      return "NOERROR without data" + with_soa;
    case PolicyAction::truncate:
      return "TC over UDP; over TCP " + usual;
    case PolicyAction::route:
      return "the service '" + policy->service + "' (" + types_of(*rule) +
             "); for other types NOERROR without data" + with_soa;
  }
  return usual;
}

[[nodiscard]] Json row_of(const NamePolicies& policies, std::uint32_t rule, ConstBytes name,
                          const config::Config& config, bool listed) {
  const PolicyRule& is = policies.rules()[rule];
  const bool passed_over = listed && is.action == PolicyAction::route;
  return {{"policy", is.name()},
          {"priority", is.priority},
          {"action", catalog::name_of(is.action)},
          {"pattern", policies.pattern_of(rule, name, config)},
          {"note", passed_over ? "passed over: a zone lists the name" : ""}};
}

Result<Json> policy_test(Daemon& daemon, const Json& arguments) {
  auto text = text_argument(arguments, "name");
  if (!text) return std::unexpected(text.error());
  if (!text->ends_with('.')) *text += '.';
  const auto name = dns::parse_name(*text);
  if (!name) return std::unexpected(name.error());
  const auto tables =
      daemon.loop().ask([](EngineSide& side) { return side.publication.shared_tables(); });

  dns::FoldedName folded;
  dns::scalar::fold_name(name->bytes.data(), name->length, folded);
  const auto* node = tables->catalog.find(folded.bytes.data(), folded.length);
  const bool listed = node != nullptr && (node->flags & catalog::node_flag::outside) == 0;
  const auto zone = zone_of(tables->catalog, {folded.bytes.data(), folded.length});

  Json rows = Json::array();
  const PolicyRule* decides = nullptr;
  const config::NamePolicyConfig* policy = nullptr;
  const auto& config = *tables->world->config;
  if (tables->policies) {
    const auto& policies = *tables->policies;
    for (const auto rule : policies.matches_of(name->view())) {
      if (rows.size() < rows_max)
        rows.push_back(row_of(policies, rule, name->view(), config, listed));
      const auto& is = policies.rules()[rule];
      if (decides != nullptr || (listed && is.action == PolicyAction::route)) continue;
      decides = &is;
      policy = &*std::ranges::find(config.policies, std::string(is.name()),
                                   &config::NamePolicyConfig::id);
    }
  }
  Json result = {{"name", dns::name_text({folded.bytes.data(), folded.length})},
                 {"listed", listed},
                 {"answer", answer_of(decides, zone, policy)},
                 {"matches", std::move(rows)}};
  if (!zone.empty()) result["zone"] = zone;
  if (decides != nullptr) result["policy"] = decides->name();
  return result;
}

}  // namespace

void add_policy_command(control::Server& server, Daemon& daemon) {
  server.add({"policy-test", control::Access::read,
              "which name policies take a name, and what would be answered",
              [&daemon](const Json& arguments) { return policy_test(daemon, arguments); }});
}

}  // namespace pharos::controlplane
