// Cuts the text of a zone file into entries of tokens (RFC 1035, 5.1): comments, quotes, parentheses.
//
// Pure; borrows the text, which must outlive the tokens. Escapes stay as they are written: what they mean depends
// on the field.
#pragma once

#include "pharos/base/error.hh"

#include <cstdint>
#include <string_view>
#include <vector>

namespace pharos::controlplane {

struct ZoneEntry {
  std::vector<std::string_view> tokens;  // quoted strings with their quotes; never empty
  bool blank_owner = false;              // the entry starts with a space: owner as before
  std::uint32_t line = 0;                // of its first token
};

class ZoneScanner {
 public:
  explicit ZoneScanner(std::string_view text) : text_(text) {}

  // Reads the next entry that has tokens; false at the end. Errors: invalid (open quote or parenthesis, NUL); line()
  // is where, and the scan goes on behind the bad line.
  [[nodiscard]] Result<bool> next(ZoneEntry& entry);
  [[nodiscard]] std::uint32_t line() const noexcept { return line_; }

 private:
  [[nodiscard]] bool at_end() const noexcept { return at_ == text_.size(); }
  [[nodiscard]] Status take_token(ZoneEntry& entry);
  void skip_comment() noexcept;
  std::unexpected<Error> bad(std::string what);

  std::string_view text_;
  std::size_t at_ = 0;
  std::uint32_t line_ = 1;
};

}  // namespace pharos::controlplane
