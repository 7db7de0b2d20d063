// Compiles the expressions of name policies with Hyperscan, within limits of time and memory.
//
// Hyperscan cannot be interrupted, and some expressions keep it busy for minutes. So a child process compiles, the parent
// watches its processor time and memory and ends it where a limit is passed; the child says which expression it is at.
// Blocks its thread; any thread but the engine's. The result is for every CPU that Pharos runs on (AVX2), and depends on
// nothing but the expressions and the library's version.
#pragma once

#include "pharos/base/bytes.hh"
#include "pharos/base/clock.hh"
#include "pharos/base/error.hh"

#include <cstdint>
#include <expected>
#include <span>
#include <string>
#include <vector>

namespace pharos::controlplane {

struct Expression {
  std::string text;
  std::uint32_t rule = 0;  // what a match reports
  bool ignore_case = false;
  friend bool operator==(const Expression&, const Expression&) = default;
};

struct CompileLimits {  // processor time, so that a busy machine changes nothing
  Duration one = seconds(2);
  Duration all = seconds(180);
  std::uint64_t memory_bytes = std::uint64_t{2} << 30;  // beyond what the parent uses
};

struct ExpressionError {
  std::size_t expression = 0;  // index; that of the first where the fault is of all together
  std::string what;
  std::string hint;
};

// The section catalog::Section::policy_database: PolicyDatabase and what hs_serialize_database() wrote. At least one
// expression. Errors: of as many expressions as were found wrong, in order.
[[nodiscard]] std::expected<std::vector<std::byte>, std::vector<ExpressionError>>
compile_expressions(std::span<const Expression> expressions, const CompileLimits& limits = {});

}  // namespace pharos::controlplane
