// A prepared answer as text, for the dumps of catalog and ranking images. Not for the packet path.
#pragma once

#include "pharos/shared/answer.hh"

#include <string>
#include <vector>

namespace pharos {

// One line a record: "answer|authority|additional NAME TTL TYPE RDATA". Common types are spelled out, others
// as in RFC 3597, section 5. `owner` is the name that the pointers of kind "owner" point into, in wire form.
// Any sound answer; pointers that lead nowhere show as "?".
[[nodiscard]] std::vector<std::string> answer_text(const Answer& answer, ConstBytes owner);

}  // namespace pharos
