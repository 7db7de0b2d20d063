// Where pharosctl writes, and how text is made ready for people: tables, units, colours.
//
// Text that came from a daemon or a file is made harmless() first. One thread.
#pragma once

#include "pharos/base/log.hh"

#include <cstdint>
#include <iosfwd>
#include <string>
#include <string_view>
#include <vector>

namespace pharos::controlplane::ctl {

struct Terminal {
  std::ostream& out;
  std::ostream& error;
  bool colours = false;  // of a terminal; never in pipes and files
  bool screen = false;   // a terminal, whose screen may be cleared
};

enum class Colour : std::uint8_t { none, good, warning, bad, faint };

struct Cell {
  std::string text;
  Colour colour = Colour::none;
  Cell(std::string value = "-", Colour c = Colour::none)
      : text(std::move(value)), colour(c) {}  // NOLINT: converting
};

// Columns as wide as their widest cell. A title that begins with '>' aligns its column to the right.
class TextTable {
 public:
  explicit TextTable(std::vector<std::string> titles);
  void add(std::vector<Cell> cells);  // as many as there are titles
  [[nodiscard]] bool empty() const noexcept { return rows_.empty(); }
  [[nodiscard]] std::string text(bool colours) const;

 private:
  std::vector<std::string> titles_;
  std::vector<bool> right_;
  std::vector<std::vector<Cell>> rows_;
};

[[nodiscard]] std::string coloured(std::string_view text, Colour colour, bool colours);

// "3d 4h", "12m 5s", "3.2s", "15ms"
[[nodiscard]] std::string age_text(double seconds);
// "1.4 MiB"
[[nodiscard]] std::string bytes_text(double bytes);
// "12.3k", "950"
[[nodiscard]] std::string count_text(double value);
// "1 234 567"
[[nodiscard]] std::string grouped_text(std::uint64_t value);
// "42.0%"
[[nodiscard]] std::string share_text(double ratio);
[[nodiscard]] std::string decimal_text(double value, int digits);

}  // namespace pharos::controlplane::ctl
