// The error of every edge: file, image, beacon, request, option. Packets use verdicts instead.
//
// An Error says what is wrong, where, and what to do about it. Code that passes one up adds the
// context that only it knows with `in()`; whoever handles it reports it once, with `text()`.
#pragma once

#include <cstring>
#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace pharos {

enum class ErrorCode {
  invalid,      // the bytes or words given cannot be what they claim to be
  unsupported,  // well formed, but of a version or kind that we do not take
  not_found,    // names something that does not exist
  conflict,     // contradicts what is already there, or comes too late
  denied,       // the caller may not do this
  unavailable,  // the other side is absent, or a system call failed
  exhausted,    // a stated limit is reached
};

[[nodiscard]] constexpr std::string_view name_of(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::invalid:
      return "invalid";
    case ErrorCode::unsupported:
      return "unsupported";
    case ErrorCode::not_found:
      return "not_found";
    case ErrorCode::conflict:
      return "conflict";
    case ErrorCode::denied:
      return "denied";
    case ErrorCode::unavailable:
      return "unavailable";
    case ErrorCode::exhausted:
      return "exhausted";
  }
  return "unknown";
}

struct Error {
  ErrorCode code = ErrorCode::invalid;
  std::string what;   // what is wrong: "TTL 99999999999 is larger than 2147483647"
  std::string where;  // file:line, image section, peer; may be empty
  std::string hint;   // what would be right, or what to do; may be empty

  // Puts a wider place in front of `where`: error.in("services[2].endpoints").
  [[nodiscard]] Error in(std::string_view place) && {
    where = where.empty() ? std::string(place) : std::string(place) + ": " + where;
    return std::move(*this);
  }

  // One line for people: "where: what (hint)".
  [[nodiscard]] std::string text() const {
    std::string line = where.empty() ? what : where + ": " + what;
    if (!hint.empty()) line += " (" + hint + ")";
    return line;
  }
};

template <typename T>
using Result = std::expected<T, Error>;
using Status = std::expected<void, Error>;

[[nodiscard]] inline std::unexpected<Error> fail(ErrorCode code, std::string what,
                                                 std::string where = {}, std::string hint = {}) {
  return std::unexpected(Error{code, std::move(what), std::move(where), std::move(hint)});
}

// An Error from errno, right after the call that set it: fail_errno("open", path).
[[nodiscard]] inline std::unexpected<Error> fail_errno(std::string_view call,
                                                       std::string where = {}) {
  const int number = errno;
  char buffer[128];
  const char* text = strerror_r(number, buffer, sizeof buffer);  // the GNU variant returns the text
  return fail(ErrorCode::unavailable, std::string(call) + ": " + text, std::move(where));
}

}  // namespace pharos
