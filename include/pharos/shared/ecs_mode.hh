// Whose client subnets (RFC 7871) a service goes by: a word of configuration, image and packet path.
#pragma once

#include <cstdint>
#include <string_view>

namespace pharos::catalog {

enum class EcsMode : std::uint8_t {
  all,     // of every query that has one
  listed,  // of queries from the resolvers of the data plane's list
  ignore,  // of none: the packet's source decides, and the scope is 0
};
inline constexpr unsigned ecs_mode_count = 3;

[[nodiscard]] constexpr std::string_view name_of(EcsMode mode) noexcept {
  constexpr std::string_view names[ecs_mode_count] = {"all", "listed", "ignore"};
  const auto index = static_cast<unsigned>(mode);
  return index < ecs_mode_count ? names[index] : "unknown";
}

}  // namespace pharos::catalog
