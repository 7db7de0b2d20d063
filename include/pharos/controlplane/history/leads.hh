// Who led the answers of a cell, from what the history keeps of it. Pure; any thread.
#pragma once

#include <nlohmann/json.hpp>

#include <map>
#include <string>

namespace pharos::controlplane {

// Of the clients of a cell the share whose answers each endpoint led, by its id. `content`: a row of `contents`; `members`:
// the facts of the pool that answered. Empty where either is not what the history writes, or nobody was answered.
[[nodiscard]] std::map<std::string, double> leads_of(const nlohmann::json& content,
                                                     const nlohmann::json& members);

}  // namespace pharos::controlplane
