#include "pharos/controlplane/api/audit.hh"

namespace pharos::controlplane {

std::string told_of(nlohmann::json arguments) {
  using nlohmann::json;
  constexpr std::size_t text_bytes_max = 128;
  constexpr std::size_t all_bytes_max = 1000;
  for (auto& [name, value] : arguments.items()) {
    if (!value.is_string()) continue;
    const auto bytes = value.get_ref<const std::string&>().size();
    if (bytes > text_bytes_max || name == "text") value = "(" + std::to_string(bytes) + " bytes)";
  }
  return arguments.dump(-1, ' ', true, json::error_handler_t::replace).substr(0, all_bytes_max);
}

}  // namespace pharos::controlplane
