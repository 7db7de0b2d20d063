// The proof of an image's frame, and the builder's side of the same layout. See image.hh.
//
// Everything read here comes from a peer or a disk. Offsets and counts are compared with limits before they
// are added or multiplied, so that no sum below can wrap: 64 GiB bounds each of them.
#include "pharos/shared/image.hh"

#include "pharos/base/assert.hh"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <spdlog/fmt/fmt.h>

#include <algorithm>

namespace pharos {
namespace {

constexpr std::uint64_t section_list_end(std::uint64_t section_count) noexcept {
  return sizeof(ImageHeader) + section_count * sizeof(SectionEntry);
}

std::unexpected<Error> refuse(std::string what, std::string where = "image header") {
  return fail(ErrorCode::invalid, std::move(what), std::move(where));
}

Status check_entry(const SectionEntry& entry, const SectionRule& rule,
                   std::uint64_t earliest_offset, std::uint64_t contents_end) {
  const auto where = [&] { return fmt::format("section '{}'", rule.name); };
  if (entry.element_bytes != rule.element_bytes) {
    return refuse(
        fmt::format("elements of {} bytes instead of {}", entry.element_bytes, rule.element_bytes),
        where());
  }
  if (entry.count > rule.count_max || entry.count > image_bytes_max / rule.element_bytes) {
    return refuse(fmt::format("{} elements, where {} are the most", entry.count, rule.count_max),
                  where());
  }
  if (entry.offset % image_alignment_bytes != 0 || entry.offset < earliest_offset ||
      entry.offset > contents_end ||
      entry.count * rule.element_bytes > contents_end - entry.offset) {
    return refuse(
        fmt::format("{} elements of {} bytes at offset {} lie outside of {}..{}, or not aligned",
                    entry.count, rule.element_bytes, entry.offset, earliest_offset, contents_end),
        where());
  }
  if (entry.reserved != 0) return refuse("reserved field is not zero", where());
  return {};
}

// Matches the list with the rules; the list's order is the order in the image.
Result<std::vector<SectionView>> check_list(ConstBytes bytes, const ImageHeader& header,
                                            std::span<const SectionRule> rules) {
  std::vector<SectionView> views(rules.size());
  std::uint64_t earliest_offset = section_list_end(header.section_count);
  const std::uint64_t contents_end = header.image_bytes - image_tail_bytes;
  for (std::uint64_t i = 0; i < header.section_count; ++i) {
    const auto entry = load<SectionEntry>(bytes.data() + section_list_end(i));
    const auto rule = std::ranges::find(rules, entry.id, &SectionRule::id);
    if (rule == rules.end())
      return refuse(fmt::format("unknown section {}", entry.id), "section list");
    auto& view = views[static_cast<std::size_t>(rule - rules.begin())];
    if (view.data != nullptr) {
      return refuse(fmt::format("section '{}' stands there twice", rule->name), "section list");
    }
    if (auto good = check_entry(entry, *rule, earliest_offset, contents_end); !good) {
      return std::unexpected(std::move(good).error());
    }
    view = {bytes.data() + entry.offset, entry.count, entry.element_bytes};
    earliest_offset = entry.offset + view.size_bytes();
  }
  return views;
}

}  // namespace

std::string_view name_of(ImageKind kind) noexcept {
  switch (kind) {
    case ImageKind::catalog:
      return "catalog";
    case ImageKind::locale_map:
      return "locale map";
    case ImageKind::ranking_base:
      return "ranking base";
    case ImageKind::ranking_delta:
      return "ranking delta";
  }
  return "unknown";
}

Result<ImageHeader> read_image_header(ConstBytes bytes) {
  if (bytes.size() < sizeof(ImageHeader) + image_tail_bytes) {
    return refuse(fmt::format("{} bytes are too few for an image", bytes.size()));
  }
  const auto header = load<ImageHeader>(bytes.data());
  if (header.magic != image_magic) return refuse("not an image: wrong magic");
  if (header.format_version != image_format_version) {
    return fail(ErrorCode::unsupported,
                fmt::format("format version {}, where {} is known", header.format_version,
                            image_format_version),
                "image header", "run both daemons from the same release");
  }
  const auto kind = static_cast<std::uint32_t>(header.kind);
  if (kind < 1 || kind > image_kind_count) {
    return fail(ErrorCode::unsupported, fmt::format("unknown kind {}", kind), "image header");
  }
  if (header.section_count > image_sections_max || header.reserved != 0) {
    return refuse(fmt::format("{} sections, where {} are the most, or reserved field not zero",
                              header.section_count, image_sections_max));
  }
  if (header.image_bytes > image_bytes_max ||
      header.image_bytes < section_list_end(header.section_count) + image_tail_bytes) {
    return refuse(
        fmt::format("image of {} bytes is larger than allowed, or smaller than its section list",
                    header.image_bytes));
  }
  return header;
}

std::uint64_t image_checksum(ConstBytes image) noexcept {
  auto header = load<ImageHeader>(image.data());
  header.checksum = 0;
  const auto behind = image.subspan(sizeof header);
  return XXH3_64bits_withSeed(behind.data(), behind.size(), XXH3_64bits(&header, sizeof header));
}

Result<std::vector<SectionView>> check_sections(ConstBytes bytes, ImageKind kind,
                                                std::span<const SectionRule> rules) {
  auto header = read_image_header(bytes);
  if (!header) return std::unexpected(std::move(header).error());
  if (reinterpret_cast<std::uintptr_t>(bytes.data()) % image_alignment_bytes != 0) {
    return refuse("image does not lie on a multiple of 64 in memory");
  }
  if (header->kind != kind) {
    return refuse(
        fmt::format("kind '{}' where '{}' is wanted", name_of(header->kind), name_of(kind)));
  }
  if (header->image_bytes != bytes.size()) {
    return refuse(
        fmt::format("claims {} bytes, yet {} are there", header->image_bytes, bytes.size()));
  }
  if (header->section_count != rules.size()) {
    return refuse(fmt::format("{} sections instead of {}", header->section_count, rules.size()));
  }
  auto views = check_list(bytes, *header, rules);
  if (!views) return views;
  if (std::ranges::any_of(bytes.last(image_tail_bytes),
                          [](std::byte b) { return b != std::byte{0}; })) {
    return refuse("bytes that are not zero", "image tail");
  }
  if (image_checksum(bytes) != header->checksum) {
    return refuse("checksum does not match: the image is damaged");
  }
  return views;
}

void ImageDraft::add(const SectionContent& section) {
  add(section.id, section.element_bytes, section.bytes.size(),
      [bytes = section.bytes](Bytes out) { std::ranges::copy(bytes, out.begin()); });
}

void ImageDraft::add(std::uint32_t id, std::uint32_t element_bytes, std::uint64_t size_bytes,
                     std::function<void(Bytes)> write) {
  REQUIRE(sections_.size() < image_sections_max);
  REQUIRE(element_bytes > 0 && size_bytes % element_bytes == 0);
  sections_.push_back({id, element_bytes, size_bytes, std::move(write)});
  REQUIRE(this->size_bytes() <= image_bytes_max);
}

std::uint64_t ImageDraft::size_bytes() const noexcept {
  std::uint64_t end = section_list_end(sections_.size());
  for (const auto& section : sections_)
    end = round_up(end, std::uint64_t{image_alignment_bytes}) + section.size_bytes;
  return round_up(end, std::uint64_t{image_alignment_bytes}) + image_tail_bytes;
}

void ImageDraft::write(Bytes out) const {
  REQUIRE(out.size() == size_bytes());
  std::uint64_t end = section_list_end(sections_.size());
  for (std::size_t i = 0; i < sections_.size(); ++i) {
    const auto& section = sections_[i];
    const std::uint64_t offset = round_up(end, std::uint64_t{image_alignment_bytes});
    store(out.data() + section_list_end(i),
          SectionEntry{section.id, section.element_bytes, offset,
                       section.size_bytes / section.element_bytes, 0});
    section.write(out.subspan(offset, section.size_bytes));
    end = offset + section.size_bytes;
  }
  ImageHeader header{image_magic,
                     image_format_version,
                     kind_,
                     out.size(),
                     version_,
                     0,
                     static_cast<std::uint32_t>(sections_.size()),
                     0,
                     content_id_};
  store(out.data(), header);
  header.checksum = image_checksum(out);
  store(out.data(), header);
}

ImageBuffer ImageDraft::buffer() const {
  ImageBuffer image(size_bytes());
  write(image);
  return image;
}

ImageBuffer assemble_image(ImageKind kind, Version version, std::uint64_t content_id,
                           std::span<const SectionContent> sections) {
  ImageDraft draft(kind, version, content_id);
  for (const auto& section : sections) draft.add(section);
  return draft.buffer();
}

}  // namespace pharos
