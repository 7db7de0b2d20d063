// Results of the commands about the past and about configurations to come, as tables. Private to this folder.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <optional>
#include <string>
#include <string_view>

namespace pharos::controlplane::ctl {

// Nothing: the command is none of these.
[[nodiscard]] std::optional<std::string> render_history(std::string_view command,
                                                        const nlohmann::json& result, bool colours);

}  // namespace pharos::controlplane::ctl
