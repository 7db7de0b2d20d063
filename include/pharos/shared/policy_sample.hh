// A query that a name policy wants logged, on its way from a worker to the control plane: a record of kind `query_sample` in
// the worker's ring, followed by the query name in wire form. Rate limited where it is made.
#pragma once

#include "pharos/shared/policy_image.hh"

#include <array>
#include <cstdint>
#include <type_traits>

namespace pharos {

struct PolicySampleHead {
  std::array<char, catalog::policy_id_bytes_max + 1> policy;  // its id, zeros behind it
  std::array<std::uint8_t, 16> client;  // IpAddress bytes; zeros behind the prefix
  std::uint16_t type;                   // host order
  catalog::PolicyAction action;
  std::uint8_t client_prefix_bits;  // within its family
  std::uint8_t name_bytes;
  std::array<std::uint8_t, 3> reserved;
};
static_assert(sizeof(PolicySampleHead) == 88 &&
              std::has_unique_object_representations_v<PolicySampleHead>);

struct PolicySample {
  PolicySampleHead head;
  std::array<std::byte, 255> name;  // as it was asked
};

}  // namespace pharos
