#include "pharos/config/wall_time.hh"

#include <charconv>
#include <chrono>
#include <cstdio>

namespace pharos::config {

namespace {

namespace chrono = std::chrono;

// Takes `digits` digits and then `end` off the front of `text`.
bool take(std::string_view& text, std::size_t digits, char end, int& value) {
  if (text.size() <= digits || text[digits] != end) return false;
  const auto [stop, code] = std::from_chars(text.data(), text.data() + digits, value);
  if (code != std::errc{} || stop != text.data() + digits || text[0] == '-') return false;
  text.remove_prefix(digits + 1);
  return true;
}

}  // namespace

Result<WallTime> parse_wall_time(std::string_view text) {
  const auto refused = [&] {
    return fail(ErrorCode::invalid, "'" + std::string(text.substr(0, 64)) + "' is not a time", {},
                "write it in UTC, such as 2026-11-21T02:00:00Z");
  };
  std::string_view rest = text;
  int year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0;
  if (!take(rest, 4, '-', year) || !take(rest, 2, '-', month) || !take(rest, 2, 'T', day) ||
      !take(rest, 2, ':', hour)) {
    return refused();
  }
  const bool read = rest.size() > 2 && rest[2] == ':'
                        ? take(rest, 2, ':', minute) && take(rest, 2, 'Z', second)
                        : take(rest, 2, 'Z', minute);
  const chrono::year_month_day date{chrono::year(year), chrono::month(static_cast<unsigned>(month)),
                                    chrono::day(static_cast<unsigned>(day))};
  if (!read || !rest.empty() || !date.ok() || year < 1970 || year > 2199 || hour > 23 ||
      minute > 59 || second > 59) {
    return refused();
  }
  const auto days = chrono::sys_days(date).time_since_epoch().count();
  const std::int64_t s = std::int64_t{days} * 86'400 + hour * 3600 + minute * 60 + second;
  return WallTime{s * 1'000'000'000};
}

std::string wall_time_text(WallTime time) {
  const auto s = time.ns / 1'000'000'000 - (time.ns % 1'000'000'000 < 0 ? 1 : 0);
  const auto day = s / 86'400 - (s % 86'400 < 0 ? 1 : 0);
  const chrono::year_month_day date{chrono::sys_days(chrono::days(day))};
  const auto of_day = s - day * 86'400;
  char text[64];
  std::snprintf(text, sizeof text, "%04d-%02u-%02uT%02lld:%02lld:%02lldZ",
                static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                static_cast<unsigned>(date.day()), static_cast<long long>(of_day / 3600),
                static_cast<long long>(of_day / 60 % 60), static_cast<long long>(of_day % 60));
  return text;
}

}  // namespace pharos::config
