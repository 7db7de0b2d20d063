// A DNS reply in a form that can be compared: header bits, and each section as sorted lines of text in canonical
// form (names lower-cased, OPT left out). ldns reads it, so that our own reading cannot hide our own mistakes.
#pragma once

#include "pharos/base/bytes.hh"

#include <cstdint>
#include <string>
#include <vector>

namespace pharos::oracle {

struct Reply {
  bool parsed = false;
  unsigned rcode = 0;
  bool authoritative = false;
  bool truncated = false;
  bool recursion = false;
  std::vector<std::string> answer;
  std::vector<std::string> authority;
  std::vector<std::string> additional;

  [[nodiscard]] std::string text() const;
};

[[nodiscard]] Reply read_reply(ConstBytes wire);

// Whether header and the two sections that carry the meaning are the same.
[[nodiscard]] bool same_meaning(const Reply& a, const Reply& b);

}  // namespace pharos::oracle
