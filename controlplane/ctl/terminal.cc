#include "pharos/controlplane/ctl/terminal.hh"

#include "pharos/base/assert.hh"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace pharos::controlplane::ctl {

namespace {

constexpr std::string_view gap = "  ";

std::string_view code_of(Colour colour) {
  switch (colour) {
    case Colour::none:
      return "";
    case Colour::good:
      return "\x1b[32m";
    case Colour::warning:
      return "\x1b[33m";
    case Colour::bad:
      return "\x1b[31m";
    case Colour::faint:
      return "\x1b[2m";
  }
  return "";
}

// Code points, which is what takes a column each in the texts that we show.
std::size_t width_of(std::string_view text) {
  return static_cast<std::size_t>(std::ranges::count_if(
      text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

}  // namespace

TextTable::TextTable(std::vector<std::string> titles) : titles_(std::move(titles)) {
  for (auto& title : titles_) {
    right_.push_back(title.starts_with('>'));
    if (right_.back()) title.erase(0, 1);
  }
}

void TextTable::add(std::vector<Cell> cells) {
  REQUIRE(cells.size() == titles_.size());
  for (auto& cell : cells) cell.text = harmless(cell.text);
  rows_.push_back(std::move(cells));
}

std::string TextTable::text(bool colours) const {
  std::vector<std::size_t> widths;
  for (const auto& title : titles_) widths.push_back(width_of(title));
  for (const auto& row : rows_) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], width_of(row[i].text));
    }
  }
  std::string out;
  const auto append = [&](std::size_t column, const std::string& text, Colour colour) {
    const std::string padding(widths[column] - width_of(text), ' ');
    const bool last = column + 1 == titles_.size();
    if (right_[column]) out += padding;
    out += coloured(text, colour, colours);
    if (!right_[column] && !last) out += padding;
    out += last ? "\n" : gap;
  };
  for (std::size_t i = 0; i < titles_.size(); ++i) append(i, titles_[i], Colour::faint);
  for (const auto& row : rows_) {
    for (std::size_t i = 0; i < row.size(); ++i) append(i, row[i].text, row[i].colour);
  }
  return out;
}

std::string coloured(std::string_view text, Colour colour, bool colours) {
  if (!colours || colour == Colour::none) return std::string(text);
  return std::string(code_of(colour)) + std::string(text) + "\x1b[0m";
}

std::string age_text(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0) return "-";
  if (seconds < 1) return fmt::format("{:.0f}ms", seconds * 1e3);
  if (seconds < 60) return fmt::format("{:.1f}s", seconds);
  const auto whole = static_cast<std::uint64_t>(std::min(seconds, 1e15));
  if (whole < 3600) return fmt::format("{}m {}s", whole / 60, whole % 60);
  if (whole < 86400) return fmt::format("{}h {}m", whole / 3600, whole % 3600 / 60);
  return fmt::format("{}d {}h", whole / 86400, whole % 86400 / 3600);
}

std::string bytes_text(double bytes) {
  constexpr std::array units = {"B", "KiB", "MiB", "GiB", "TiB"};
  if (!std::isfinite(bytes) || bytes < 0) return "-";
  std::size_t unit = 0;
  for (; bytes >= 1024 && unit + 1 < units.size(); ++unit) bytes /= 1024;
  return unit == 0 ? fmt::format("{:.0f} B", bytes) : fmt::format("{:.1f} {}", bytes, units[unit]);
}

std::string count_text(double value) {
  constexpr std::array units = {"", "k", "M", "G"};
  if (!std::isfinite(value)) return "-";
  std::size_t unit = 0;
  for (; std::abs(value) >= 1000 && unit + 1 < units.size(); ++unit) value /= 1000;
  if (unit == 0 && value == std::floor(value)) return fmt::format("{:.0f}", value);
  return fmt::format("{:.1f}{}", value, units[unit]);
}

std::string grouped_text(std::uint64_t value) {
  auto digits = std::to_string(value);
  for (auto at = static_cast<std::ptrdiff_t>(digits.size()) - 3; at > 0; at -= 3) {
    digits.insert(static_cast<std::size_t>(at), 1, ' ');
  }
  return digits;
}

std::string share_text(double ratio) {
  return std::isfinite(ratio) ? fmt::format("{:.1f}%", ratio * 100) : "-";
}

std::string decimal_text(double value, int digits) {
  return std::isfinite(value) ? fmt::format("{:.{}f}", value, digits) : "-";
}

}  // namespace pharos::controlplane::ctl
