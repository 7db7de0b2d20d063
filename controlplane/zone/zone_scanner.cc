#include "pharos/controlplane/zone/zone_scanner.hh"

namespace pharos::controlplane {
namespace {

[[nodiscard]] bool is_blank(char c) noexcept {
  return c == ' ' || c == '\t' || c == '\r';
}

[[nodiscard]] bool ends_token(char c) noexcept {
  return is_blank(c) || c == '\n' || c == ';' || c == '(' || c == ')';
}

}  // namespace

std::unexpected<Error> ZoneScanner::bad(std::string what) {
  skip_comment();
  return fail(ErrorCode::invalid, std::move(what));
}

void ZoneScanner::skip_comment() noexcept {
  while (!at_end() && text_[at_] != '\n') ++at_;
}

Status ZoneScanner::take_token(ZoneEntry& entry) {
  const std::size_t start = at_;
  bool quoted = false;
  while (!at_end() && (quoted || !ends_token(text_[at_]))) {
    const char c = text_[at_];
    if (c == '\n') break;
    if (c == '\0') return bad("there is a NUL octet in the text");
    if (c == '"') quoted = !quoted;
    ++at_;
    if (c == '\\' && !at_end() && text_[at_] != '\n') ++at_;
    if (c == '"' && !quoted) break;
  }
  if (quoted) return bad("a quoted string does not end on its line");
  entry.tokens.push_back(text_.substr(start, at_ - start));
  return {};
}

Result<bool> ZoneScanner::next(ZoneEntry& entry) {
  entry.tokens.clear();
  unsigned depth = 0;
  std::uint32_t opened_line = 0;
  bool line_start = true;
  while (!at_end()) {
    const char c = text_[at_];
    if (c == '\n') {
      ++line_;
      ++at_;
      if (depth > 0) continue;
      if (!entry.tokens.empty()) return true;
      line_start = true;
      continue;
    }
    if (entry.tokens.empty() && depth == 0) {
      if (line_start) entry.blank_owner = is_blank(c);
      entry.line = line_;
    }
    line_start = false;
    if (is_blank(c)) {
      ++at_;
    } else if (c == ';') {
      skip_comment();
    } else if (c == '(') {
      if (depth++ == 0) opened_line = line_;
      ++at_;
    } else if (c == ')') {
      if (depth-- == 0) return bad("a parenthesis is closed that was not opened");
      ++at_;
    } else if (auto status = take_token(entry); !status) {
      return std::unexpected(status.error());
    }
  }
  if (depth > 0) {
    line_ = opened_line;
    return fail(ErrorCode::invalid, "a parenthesis is opened and not closed");
  }
  return !entry.tokens.empty();
}

}  // namespace pharos::controlplane
