// Whether this CPU has the instructions that the build was made for.
//
// The whole of a build uses one instruction set (meson option `cpu`); there is no choice at run time. The programs
// ask once, first thing in main, so that an older machine gets a sentence and not an illegal instruction.
#pragma once

#include "pharos/base/error.hh"

namespace pharos {

// Errors: unsupported (names what is missing).
[[nodiscard]] Status check_cpu();

}  // namespace pharos
