#include "pharos/controlplane/control/commands.hh"

#include <algorithm>
#include <cctype>

#include "handlers.hh"

namespace pharos::controlplane {

void add_commands(control::Server& server, Daemon& daemon) {
  add_status_commands(server, daemon);
  add_list_commands(server, daemon);
  add_demand_command(server, daemon);
  add_maintenance_commands(server, daemon);
  add_tuning_commands(server, daemon);
  add_explain_command(server, daemon);
  add_failover_command(server, daemon);
  add_probe_command(server, daemon);
  add_reload_commands(server, daemon);
  add_policy_command(server, daemon);
  add_history_commands(server, daemon);
  add_config_commands(server, daemon);
}

std::string optional_text(const Json& arguments, const char* name) {
  const auto at = arguments.find(name);
  return at != arguments.end() && at->is_string() ? at->get<std::string>() : std::string();
}

Result<std::string> text_argument(const Json& arguments, const char* name) {
  auto text = optional_text(arguments, name);
  if (!text.empty()) return text;
  return fail(ErrorCode::invalid, std::string("argument '") + name + "' is missing, or no text",
              "arguments");
}

bool flag_argument(const Json& arguments, const char* name) {
  const auto at = arguments.find(name);
  return at != arguments.end() && at->is_boolean() && at->get<bool>();
}

bool same_name(std::string_view a, std::string_view b) {
  for (auto* name : {&a, &b}) {
    if (name->size() > 1 && name->ends_with('.')) name->remove_suffix(1);
  }
  return std::ranges::equal(
      a, b, [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

Json json_of(Version version) {
  return {{"epoch", version.epoch}, {"generation", version.generation}};
}

namespace {

template <typename Things>
std::string ids_of(const Things& things) {
  constexpr std::size_t shown_max = 20;
  std::string ids;
  std::size_t shown = 0;
  for (const auto& thing : things) {
    if (shown++ == shown_max) return ids + ", ...";
    ids += (ids.empty() ? "" : ", ") + thing.id;
  }
  return ids.empty() ? "there are none" : "there are: " + ids;
}

}  // namespace

Status check_service(const World& world, const std::string& service) {
  const auto& services = world.config->services;
  if (std::ranges::any_of(services, [&](const auto& s) { return s.id == service; })) return {};
  return fail(ErrorCode::not_found, "no service '" + service + "'", {}, ids_of(services));
}

Result<std::uint32_t> find_endpoint(const World& world, const std::string& service,
                                    const std::string& endpoint) {
  if (const auto found = world.find_endpoint(service, endpoint)) return *found;
  if (auto known = check_service(world, service); !known) return std::unexpected(known.error());
  const auto& services = world.config->services;
  const auto at = std::ranges::find(services, service, &config::ServiceConfig::id);
  return fail(ErrorCode::not_found, "service '" + service + "' has no endpoint '" + endpoint + "'",
              {}, ids_of(at->endpoints));
}

}  // namespace pharos::controlplane
