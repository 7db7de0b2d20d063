// Results of control commands as tables for people. The shapes are those of controlplane/ctl/README.md.
//
// Pure functions of their arguments. A result may come from a daemon of another version: what is absent or of another
// type shows as '-', and nothing throws.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <string>
#include <string_view>

namespace pharos::controlplane::ctl {

// `command` as on the socket: "status", "endpoint-set". Commands without a table of their own are shown as JSON.
[[nodiscard]] std::string render(std::string_view command, const nlohmann::json& result,
                                 bool colours);

}  // namespace pharos::controlplane::ctl
