// Copying what is large in pieces, for threads that must not be away for long.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <vector>

namespace pharos::controlplane {

// Whether time is up; what is left is for the next piece.
using Over = std::function<bool()>;

// The next rows of `from`, which has as many in each piece; `at_once` between two looks at the time. True: all are there.
template <typename T>
[[nodiscard]] bool append_piece(std::vector<T>& to, const std::vector<T>& from, std::size_t at_once,
                                const Over& over) {
  to.reserve(from.size());
  while (to.size() < from.size()) {
    if (over()) return false;
    const auto rows = static_cast<std::ptrdiff_t>(std::min(at_once, from.size() - to.size()));
    const auto first = from.begin() + static_cast<std::ptrdiff_t>(to.size());
    to.insert(to.end(), first, first + rows);
  }
  return true;
}

}  // namespace pharos::controlplane
