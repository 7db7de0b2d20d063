// RDATA of SVCB and HTTPS records from its presentation form (RFC 9460, 2.1 and appendix A).
//
// Our own and not ldns's, whose release here takes "\\," in a list for an octet and drops keys that 'mandatory' lists
// twice. Pure; any thread.
#pragma once

#include "pharos/base/bytes.hh"
#include "pharos/base/error.hh"

#include <span>
#include <string_view>
#include <vector>

namespace pharos::controlplane {

// `tokens`: priority, target (relative to `origin`), parameters with their quotes and escapes. Errors: invalid (what
// is malformed, or breaks a rule of svc_params_fault).
[[nodiscard]] Result<std::vector<std::byte>> read_service_binding(
    std::span<const std::string_view> tokens, ConstBytes origin);

}  // namespace pharos::controlplane
