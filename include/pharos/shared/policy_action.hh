// What a name policy does with the queries that it matches: a word of configuration, image and packet path.
#pragma once

#include <cstdint>
#include <string_view>

namespace pharos::catalog {

enum class PolicyAction : std::uint8_t {
  allow,     // as if there were no policies
  refuse,    // REFUSED
  drop,      // no reply
  nxdomain,  // the name does not exist
  nodata,    // the name exists, without data
  truncate,  // TC over UDP, as `allow` over TCP
  route,     // the answers of a pool, for names that no zone lists
  limit,     // as `allow`, in a rate class of its own
  log,       // as `allow`, and samples go to the log
};
inline constexpr unsigned policy_action_count = 9;
[[nodiscard]] std::string_view name_of(PolicyAction action) noexcept;

}  // namespace pharos::catalog
