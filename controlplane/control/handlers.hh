// What the command files of this folder share. Private to it.
#pragma once

#include "pharos/controlplane/engine/daemon.hh"
#include "pharos/shared/control_protocol.hh"

#include <nlohmann/json.hpp>

#include <string>
#include <string_view>

namespace pharos::controlplane {

using Json = nlohmann::json;

void add_status_commands(control::Server& server, Daemon& daemon);
void add_list_commands(control::Server& server, Daemon& daemon);
void add_demand_command(control::Server& server, Daemon& daemon);
void add_maintenance_commands(control::Server& server, Daemon& daemon);
void add_tuning_commands(control::Server& server, Daemon& daemon);
void add_explain_command(control::Server& server, Daemon& daemon);
void add_failover_command(control::Server& server, Daemon& daemon);
void add_probe_command(control::Server& server, Daemon& daemon);
void add_reload_commands(control::Server& server, Daemon& daemon);
void add_policy_command(control::Server& server, Daemon& daemon);
void add_history_commands(control::Server& server, Daemon& daemon);
void add_config_commands(control::Server& server, Daemon& daemon);

// Rows 0 to `count(side)` of a list, gathered in slices: `add(side, row, rows)` adds what there is to say of one.
template <typename Count, typename Add>
[[nodiscard]] Json rows_in_slices(Daemon& daemon, Count count, Add add) {
  Json rows = Json::array();
  std::uint32_t next = 0;
  daemon.loop().ask_in_slices([&](EngineSide& side, const Slice& slice) {
    if (slice.fresh()) {
      rows = Json::array();
      next = 0;
    }
    for (const std::uint32_t end = count(side); next < end; ++next) {
      if (slice.over()) return false;
      add(side, next, rows);
    }
    return true;
  });
  return rows;
}

// A text argument. Errors: invalid (absent where it is needed, or no text).
[[nodiscard]] Result<std::string> text_argument(const Json& arguments, const char* name);
[[nodiscard]] std::string optional_text(const Json& arguments, const char* name);
[[nodiscard]] bool flag_argument(const Json& arguments,
                                 const char* name);  // false where it is absent

// Two domain names as people write them: in any case, with the last dot or without.
[[nodiscard]] bool same_name(std::string_view a, std::string_view b);

[[nodiscard]] Json json_of(Version version);
[[nodiscard]] inline double seconds_since(Instant then, Instant now) noexcept {
  return (now - then).seconds();
}

// One row of `endpoints` and of `weights`.
[[nodiscard]] Json endpoint_row(const EngineSide& side, std::uint32_t endpoint);
[[nodiscard]] Json weight_row(const EngineSide& side, std::uint32_t endpoint);
// Errors: not_found, which names what is there.
[[nodiscard]] Result<std::uint32_t> find_endpoint(const World& world, const std::string& service,
                                                  const std::string& endpoint);
// Records of a zone in presentation form, in canonical order, cut behind `bytes_max`.
[[nodiscard]] std::vector<std::string> zone_text(const ZoneData& zone, std::size_t bytes_max);
[[nodiscard]] Status check_service(const World& world, const std::string& service);

}  // namespace pharos::controlplane
