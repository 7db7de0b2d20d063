#include "pharos/controlplane/locale/csv_import.hh"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <memory>
#include <optional>

namespace pharos::controlplane {
namespace {

using LineBuffer = std::array<char, csv_line_bytes_max + 2>;

[[nodiscard]] std::string_view trimmed(std::string_view text) {
  constexpr std::string_view blanks = " \t\r\n";
  const auto first = text.find_first_not_of(blanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(blanks) + 1 - first);
}

// A field without the blanks and the quotes around it.
[[nodiscard]] std::string_view unquoted(std::string_view field) {
  field = trimmed(field);
  if (field.size() >= 2 && field.front() == '"' && field.back() == '"') {
    field = trimmed(field.substr(1, field.size() - 2));
  }
  return field;
}

[[nodiscard]] std::vector<std::string_view> split(std::string_view text) {
  std::vector<std::string_view> fields;
  for (;;) {
    const auto comma = text.find(',');
    fields.push_back(unquoted(text.substr(0, comma)));
    if (comma == std::string_view::npos) return fields;
    text.remove_prefix(comma + 1);
  }
}

// Whether a field means to be an address or a prefix, well written or not: values (country codes,
// numbers, words) have no dot or colon among nothing but hexadecimal digits.
[[nodiscard]] bool looks_like_address(std::string_view field) {
  return field.find_first_of(".:") != std::string_view::npos &&
         field.find_first_not_of("0123456789abcdefABCDEF.:/") == std::string_view::npos;
}

// log2 of the size of the largest block that starts at `first` and does not pass `last`.
[[nodiscard]] unsigned block_bits(const IpAddress& first, const IpAddress& last, unsigned width) {
  IpAddress end = first;
  for (unsigned bit = 0; bit < width; ++bit) {
    auto& byte = end.bytes[15 - bit / 8];
    const auto mask = static_cast<std::uint8_t>(1U << bit % 8);
    if ((byte & mask) != 0) return bit;
    byte |= mask;
    if (end > last) return bit;
  }
  return width;
}

// Adds 2^bits to the address; false where that leaves the space of `width` bits.
[[nodiscard]] bool step(IpAddress& address, unsigned bits, unsigned width) {
  for (unsigned bit = bits; bit < width; ++bit) {
    auto& byte = address.bytes[15 - bit / 8];
    const auto mask = static_cast<std::uint8_t>(1U << bit % 8);
    byte ^= mask;
    if ((byte & mask) != 0) return true;
  }
  return false;
}

struct CloseGz {
  void operator()(gzFile file) const { gzclose_r(file); }
};
using GzFile = std::unique_ptr<gzFile_s, CloseGz>;

[[nodiscard]] Status check_stream(gzFile file) {
  int code = Z_OK;
  const char* text = gzerror(file, &code);
  if (code == Z_OK || code == Z_STREAM_END) return {};
  if (code == Z_ERRNO) return fail_errno("read");
  // Z_BUF_ERROR is a compressed stream that ends early.
  return fail(ErrorCode::invalid, std::string("the compressed data is damaged: ") + text, {},
              "fetch the file again");
}

// The next line, or nothing at the end of the file.
[[nodiscard]] Result<std::optional<std::string_view>> next_line(gzFile file, LineBuffer& buffer) {
  const bool is_end = gzgets(file, buffer.data(), static_cast<int>(buffer.size())) == nullptr;
  const std::string_view line = is_end ? std::string_view{} : buffer.data();
  if (!line.ends_with('\n')) {  // the last one, as it was written or as far as it could be read
    if (auto status = check_stream(file); !status) return std::unexpected(status.error());
  }
  if (is_end) return std::nullopt;
  if (line.size() > csv_line_bytes_max) {
    return fail(ErrorCode::exhausted,
                "the line is longer than " + std::to_string(csv_line_bytes_max) + " bytes");
  }
  return line;
}

[[nodiscard]] Result<CsvLine> line_of_range(std::string_view first, std::string_view last,
                                            std::string_view value) {
  const auto from = IpAddress::parse(first);
  if (!from) return std::unexpected(from.error());
  const auto to = IpAddress::parse(last);
  if (!to) return std::unexpected(to.error());
  auto prefixes = prefixes_of_range(*from, *to);
  if (!prefixes) return std::unexpected(prefixes.error());
  return CsvLine{std::move(*prefixes), value};
}

}  // namespace

Result<std::vector<IpPrefix>> prefixes_of_range(const IpAddress& first, const IpAddress& last) {
  if (first.family() != last.family() || last < first) {
    return fail(ErrorCode::invalid,
                first.text() + " to " + last.text() + " is no range of addresses", {},
                "give the lower address first, both of one family");
  }
  const unsigned width = address_bits(first.family());
  std::vector<IpPrefix> prefixes;
  IpAddress at = first;
  unsigned bits = 0;
  do {
    bits = block_bits(at, last, width);
    prefixes.push_back({at, static_cast<std::uint8_t>(width - bits)});
  } while (step(at, bits, width) && at <= last);
  return prefixes;
}

Result<CsvLine> parse_csv_line(std::string_view text) {
  const auto fields = split(text);
  const bool first_is = looks_like_address(fields[0]);
  const bool second_is = fields.size() > 1 && looks_like_address(fields[1]);
  if (first_is && second_is && fields.size() <= 3) {
    return line_of_range(fields[0], fields[1], fields.size() == 3 ? fields[2] : std::string_view{});
  }
  if (first_is == second_is || fields.size() > 2) {
    return fail(ErrorCode::invalid,
                "'" + std::string(trimmed(text)) + "' is no line of client prefixes", {},
                "write prefix,value or first,last,value");
  }
  const auto prefix = IpPrefix::parse(fields[first_is ? 0 : 1]);
  if (!prefix) return std::unexpected(prefix.error());
  const std::string_view other = fields.size() == 2 ? fields[first_is ? 1 : 0] : std::string_view{};
  return CsvLine{{*prefix}, other};
}

Status read_csv(const std::string& file, const CsvSink& sink) {
  const GzFile opened(gzopen(file.c_str(), "rb"));
  if (!opened) return fail_errno("open", file);
  LineBuffer buffer;
  bool heading_may_come = true;
  for (std::uint32_t number = 1;; ++number) {
    const auto here = [&] { return file + ":" + std::to_string(number); };
    const auto next = next_line(opened.get(), buffer);
    if (!next) return std::unexpected(Error(next.error()).in(here()));
    if (!next->has_value()) return {};
    if (number > csv_lines_max) {
      return fail(ErrorCode::exhausted,
                  "the file has more than " + std::to_string(csv_lines_max) + " lines", here());
    }
    const auto text = trimmed(**next);
    if (text.empty() || text.front() == '#') continue;
    if (std::exchange(heading_may_come, false) &&
        std::ranges::none_of(split(text), looks_like_address)) {
      continue;
    }
    const auto line = parse_csv_line(text);
    auto status = line ? sink(*line, number) : std::unexpected(line.error());
    if (!status) return std::unexpected(std::move(status).error().in(here()));
  }
}

}  // namespace pharos::controlplane
