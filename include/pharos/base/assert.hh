// ASSERT and REQUIRE: for bugs of ours, never for what a peer, a file or a disk sent.
//
// ASSERT is checked in debug and sanitizer builds and costs nothing elsewhere: it is not turned into
// a compiler assumption. REQUIRE is always checked; it stands at seams where going on would be worse
// than stopping. Any thread may call them; both print one line and abort.
#pragma once

#include <cstdio>
#include <cstdlib>

namespace pharos {

[[noreturn, gnu::cold, gnu::noinline]] inline void assertion_failed(const char* kind,
                                                                    const char* expression,
                                                                    const char* file, int line) {
  std::fprintf(stderr, "pharos: %s(%s) failed at %s:%d\n", kind, expression, file, line);
  std::abort();
}

}  // namespace pharos

#define REQUIRE(expression)                           \
  (__builtin_expect(static_cast<bool>(expression), 1) \
       ? static_cast<void>(0)                         \
       : ::pharos::assertion_failed("REQUIRE", #expression, __FILE__, __LINE__))

#if defined(PHAROS_ASSERT)
#define ASSERT(expression)                            \
  (__builtin_expect(static_cast<bool>(expression), 1) \
       ? static_cast<void>(0)                         \
       : ::pharos::assertion_failed("ASSERT", #expression, __FILE__, __LINE__))
#else
#define ASSERT(expression) static_cast<void>(sizeof(static_cast<bool>(expression)))
#endif
