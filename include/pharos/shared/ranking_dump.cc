// dump() of ranking images: proven images as text, for `pharosctl image dump`. See ranking_image.hh.
#include "pharos/shared/answer_text.hh"
#include "pharos/shared/ranking_image.hh"

#include <spdlog/fmt/fmt.h>

#include <iterator>
#include <utility>

namespace pharos::ranking {
namespace {

// The image through its own layout; the caller has proven it.
struct Reader {
  ConstBytes bytes;
  ImageHeader header = load<ImageHeader>(bytes.data());
  std::string text = {};

  [[nodiscard]] ConstBytes section(Section id) const {
    for (std::uint32_t i = 0; i < header.section_count; ++i) {
      const auto entry =
          load<SectionEntry>(bytes.data() + sizeof(ImageHeader) + i * sizeof(SectionEntry));
      if (entry.id == std::to_underlying(id)) {
        return bytes.subspan(entry.offset, entry.count * entry.element_bytes);
      }
    }
    return {};
  }
  template <typename... Arguments>
  void line(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
    fmt::format_to(std::back_inserter(text), format, std::forward<Arguments>(arguments)...);
    text += '\n';
  }
};

std::vector<std::string_view> names_in(ConstBytes section) {
  std::vector<std::string_view> names;
  for (std::size_t at = 0; at < section.size();) {
    const auto length = std::to_integer<std::size_t>(section[at]);
    names.push_back(as_text(section.subspan(at + 1, length)));
    at += 1 + length;
  }
  return names;
}

class Dump {
 public:
  explicit Dump(ConstBytes bytes)
      : reader_{bytes},
        summary_(load<Summary>(reader_.section(Section::summary).data())),
        records_(reader_.section(Section::records)) {}

  std::string run() {
    const auto& header = reader_.header;
    reader_.line("{} version {}.{} content {:016x} bytes {}", name_of(header.kind),
                 header.version.epoch, header.version.generation, header.content_id,
                 header.image_bytes);
    reader_.line("segment {} base {}.{} follows {}.{} pools {} locales {}", summary_.segment,
                 summary_.base.epoch, summary_.base.generation, summary_.follows.epoch,
                 summary_.follows.generation, summary_.pool_count, summary_.locale_count);
    const auto names = names_in(reader_.section(Section::names));
    const auto rows = reader_.section(Section::rows);
    for (std::size_t at = 0; at < rows.size(); at += sizeof(RowEntry)) {
      const auto entry = load<RowEntry>(rows.data() + at);
      reader_.line("pool {} {}", entry.pool, entry.pool < names.size() ? names[entry.pool] : "");
      print_row(entry.row);
    }
    return std::move(reader_.text);
  }

 private:
  [[nodiscard]] const std::byte* at(Ref ref) const {
    return records_.data() + offset_bytes_of(ref);
  }

  // Runs of equal cells take one line.
  void print_row(Ref row) {
    const auto* cells = reinterpret_cast<const Ref*>(at(row));
    for (std::uint32_t first = 0; first < summary_.locale_count;) {
      std::uint32_t last = first;
      while (last + 1 < summary_.locale_count && cells[last + 1] == cells[first]) ++last;
      reader_.line("  locale {}{}", first, first == last ? "" : fmt::format("-{}", last));
      print_cell(cells[first]);
      first = last + 1;
    }
  }

  void print_cell(Ref cell) {
    if (cell == 0) return reader_.line("    no answer");
    if (segment_of(cell) != summary_.segment || !is_slotted(cell)) return print_answer(cell);
    const auto* table = reinterpret_cast<const SlotTable*>(at(cell));
    const std::uint32_t slot_count = std::uint32_t{1} << table->slot_count_log2;
    for (std::uint32_t slot = 0; slot < slot_count; ++slot) {
      reader_.line("    slot {}/{}", slot, slot_count);
      print_answer(table->answers()[slot]);
    }
  }

  void print_answer(Ref ref) {
    if (segment_of(ref) != summary_.segment) {
      return reader_.line("    as in segment {}, offset {}", segment_of(ref), offset_bytes_of(ref));
    }
    // Which names the pool answers for is the catalog's knowledge: "@" stands for each of them.
    static constexpr std::string_view owner("\x01@\0", 3);
    for (const auto& record :
         answer_text(*reinterpret_cast<const Answer*>(at(ref)), as_bytes(owner))) {
      reader_.line("    {}", record);
    }
  }

  Reader reader_;
  Summary summary_;
  ConstBytes records_;
};

}  // namespace

std::string dump(ConstBytes proven_base_or_delta) {
  return Dump(proven_base_or_delta).run();
}

}  // namespace pharos::ranking
