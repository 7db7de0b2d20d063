// Reads client prefixes with a value each (a country, a network, anything) from CSV files.
//
// Called by the engine thread while it loads a configuration; holds one line at a time.
//
//   192.0.2.0/24,DE            prefix,value      also DE,192.0.2.0/24
//   192.0.2.1,192.0.2.77,DE    first,last,value  split into as few prefixes as cover it exactly
//   192.0.2.0/24               also without a value, and 192.0.2.1,192.0.2.77
//
// Empty lines and lines that start with '#' say nothing; so does a first line without any address,
// a heading. Fields may stand in double quotes. Compressed files (gzip) are read as they are.
#pragma once

#include "pharos/base/error.hh"
#include "pharos/base/ip_address.hh"

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace pharos::controlplane {

inline constexpr unsigned csv_line_bytes_max = 4096;
inline constexpr std::uint32_t csv_lines_max = 50'000'000;

struct CsvLine {
  std::vector<IpPrefix> prefixes;
  std::string_view value;  // into the text that was parsed
};

// One line that is neither empty nor a comment. Errors: invalid.
[[nodiscard]] Result<CsvLine> parse_csv_line(std::string_view text);

// The fewest prefixes that cover first to last, in order. Errors: invalid (families differ, or last
// comes before first).
[[nodiscard]] Result<std::vector<IpPrefix>> prefixes_of_range(const IpAddress& first,
                                                              const IpAddress& last);

// Hands every line of the file to `sink`, which may refuse it. Errors: unavailable, invalid, exhausted
// (a line or the file too long), and the sink's; `where` is file:line.
using CsvSink = std::function<Status(const CsvLine& line, std::uint32_t line_number)>;
[[nodiscard]] Status read_csv(const std::string& file, const CsvSink& sink);

}  // namespace pharos::controlplane
