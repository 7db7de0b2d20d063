// Rights that a daemon needs no more. Before any other thread exists: capabilities belong to threads, and are inherited.
#pragma once

#include "pharos/base/error.hh"

#include <cstdint>

namespace pharos {

// Bits 1 << CAP_* (linux/capability.h).
using Capabilities = std::uint64_t;

// The calling thread, and all that it starts, keeps at most `kept` of its capabilities, in effect and for good: neither a
// set-user-id program nor one with file capabilities brings any back (no_new_privs, bounding set). Errors: unavailable.
[[nodiscard]] Status keep_only(Capabilities kept);

}  // namespace pharos
