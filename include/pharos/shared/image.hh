// What all table images share: header, section list, refs, and the rules by which they are proven.
//
// An image is a sealed memfd (or a file) that one side builds and the other maps read-only. It holds
// offsets, never pointers. The reader proves every offset and length once, before adoption, so that the
// packet path checks nothing. The kinds have a header of their own each:
// catalog_image.hh, locale_image.hh, ranking_image.hh.
//
//  0                    64                64 + 32 * section_count      (sections are 64-byte aligned)
//  +--------------------+-----------------+-----------+-----------+ ... +------------------+
//  | ImageHeader        | SectionEntry[]  | section 0 | section 1 |     | 64 bytes of zero |
//  +--------------------+-----------------+-----------+-----------+ ... +------------------+
//
// The tail of zeros lets vector kernels read past the last record. All numbers are little-endian.
#pragma once

#include "pharos/base/bytes.hh"
#include "pharos/base/error.hh"
#include "pharos/base/fd.hh"

#include <array>
#include <compare>
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

namespace pharos {

enum class ImageKind : std::uint32_t { catalog = 1, locale_map = 2, ranking_base = 3, ranking_delta = 4 };
inline constexpr unsigned image_kind_count = 4;
[[nodiscard]] std::string_view name_of(ImageKind kind) noexcept;

// Orders every published version. `epoch` grows when the control plane starts over without its
// memory; `generation` grows with each publish and never goes back within an epoch.
struct Version {
  std::uint64_t epoch = 0;
  std::uint64_t generation = 0;
  friend constexpr auto operator<=>(const Version&, const Version&) = default;
};

inline constexpr std::uint64_t image_magic = 0x4547414d49524850;  // "PHRIMAGE"
inline constexpr std::uint32_t image_format_version = 1;
inline constexpr std::uint64_t image_bytes_max = std::uint64_t{1} << 36;  // 64 GiB
inline constexpr unsigned image_alignment_bytes = 64;
inline constexpr unsigned image_tail_bytes = 64;
inline constexpr unsigned image_sections_max = 16;

struct ImageHeader {
  std::uint64_t magic;
  std::uint32_t format_version;
  ImageKind kind;
  std::uint64_t image_bytes;   // whole file, tail included
  Version version;             // under which it was published
  std::uint64_t checksum;      // XXH3-like digest of all bytes behind this header: damage on disk, not attack
  std::uint32_t section_count;
  std::uint32_t reserved;
  std::uint64_t content_id;    // names the content that other images must match; see each kind
};
static_assert(sizeof(ImageHeader) == 64 && std::is_trivially_copyable_v<ImageHeader> &&
              std::has_unique_object_representations_v<ImageHeader>);

struct SectionEntry {
  std::uint32_t id;             // an enumerator of the kind's Section enum
  std::uint32_t element_bytes;  // 1 for byte sections
  std::uint64_t offset;         // from the start of the image
  std::uint64_t count;          // elements
  std::uint64_t reserved;
};
static_assert(sizeof(SectionEntry) == 32 && std::has_unique_object_representations_v<SectionEntry>);

// What a kind says of a section; the kind's `layout_of()` returns the list. Builder, checker and dump
// tool all go through it, so that an offset is computed in one place only.
struct SectionRule {
  std::uint32_t id;
  const char* name;
  std::uint32_t element_bytes;
  std::uint64_t count_max;
};

// A section that has been found, bounded and aligned.
struct SectionView {
  const std::byte* data = nullptr;
  std::uint64_t count = 0;
  std::uint32_t element_bytes = 0;

  [[nodiscard]] std::uint64_t size_bytes() const noexcept { return count * element_bytes; }
  template <typename T>
  [[nodiscard]] std::span<const T> as() const noexcept {
    return {reinterpret_cast<const T*>(data), count};
  }
};

// Proves header, section list and checksum of `bytes` against `rules`, in that order. Sections come back
// in the order of the rules; each rule must be matched exactly once, none may overlap. Never reads
// outside of `bytes`. Errors: invalid (any mismatch, said with section and offset), unsupported (version).
[[nodiscard]] Result<std::vector<SectionView>> check_sections(ConstBytes bytes, ImageKind kind,
                                                              std::span<const SectionRule> rules);

// Reads just the header of an image of any kind. Errors: invalid, unsupported.
[[nodiscard]] Result<ImageHeader> read_image_header(ConstBytes bytes);

[[nodiscard]] std::uint64_t image_checksum(ConstBytes behind_header) noexcept;

// Lays sections out and writes header, list, contents, tail and checksum.
struct SectionContent {
  std::uint32_t id;
  std::uint32_t element_bytes;
  ConstBytes bytes;
};
[[nodiscard]] std::vector<std::byte> assemble_image(ImageKind kind, Version version, std::uint64_t content_id,
                                                    std::span<const SectionContent> sections);

// Puts `bytes` into a memfd and seals it against every change (F_SEAL_WRITE|SHRINK|GROW|SEAL). Tries huge
// pages for large images and falls back without them. Errors: unavailable.
[[nodiscard]] Result<UniqueFd> seal_in_memfd(ConstBytes bytes, const char* name);

// Maps a sealed memfd read-only; refuses one whose seals are missing, so that it cannot change under us.
[[nodiscard]] Result<Mapping> map_sealed(int fd);

// Maps (by private copy-in) an image file, which may be changed by others while we hold it. Errors: unavailable, invalid.
[[nodiscard]] Result<std::vector<std::byte>> read_image_file(const std::string& path);

}  // namespace pharos
