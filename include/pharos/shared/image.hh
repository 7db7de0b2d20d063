// What all table images share: header, section list, refs, and the rules by which they are proven.
//
// An image is a sealed memfd (or a file) that one side builds and the other maps read-only. It
// holds offsets, never pointers. The reader proves every offset and length once, before adoption,
// so that the packet path checks nothing. The kinds have a header of their own each:
// catalog_image.hh, locale_image.hh, ranking_image.hh.
//
//  0                    64                64 + 32 * section_count (sections are 64-byte aligned)
//  +--------------------+-----------------+-----------+-----------+ ... +------------------+
//  | ImageHeader        | SectionEntry[]  | section 0 | section 1 |     | 64 bytes of zero |
//  +--------------------+-----------------+-----------+-----------+ ... +------------------+
//
// The tail of zeros lets vector kernels read past the last record. All numbers are little-endian.
// Sections stand in the order of the list. An image is only proven and used in memory aligned to 64
// bytes: a Mapping, or an ImageBuffer.
#pragma once

#include "pharos/base/bytes.hh"
#include "pharos/base/error.hh"
#include "pharos/base/fd.hh"

#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace pharos {

enum class ImageKind : std::uint32_t {
  catalog = 1,
  locale_map = 2,
  ranking_base = 3,
  ranking_delta = 4
};
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
inline constexpr std::uint32_t image_format_version = 2;
inline constexpr std::uint64_t image_bytes_max = std::uint64_t{1} << 36;  // 64 GiB
inline constexpr unsigned image_alignment_bytes = 64;
inline constexpr unsigned image_tail_bytes = 64;
inline constexpr unsigned image_sections_max = 16;

struct ImageHeader {
  std::uint64_t magic;
  std::uint32_t format_version;
  ImageKind kind;
  std::uint64_t image_bytes;  // whole file, tail included
  Version version;            // under which it was published
  std::uint64_t checksum;     // see image_checksum(): against damage on disk, not against attack
  std::uint32_t section_count;
  std::uint32_t reserved;
  std::uint64_t content_id;  // names the content that other images must match; see each kind
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

// What a kind says of a section; the kind's `layout_of()` returns the list. Builder, checker and
// dump tool all go through it, so that an offset is computed in one place only.
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

// Proves header, section list, tail and checksum of `bytes` against `rules`, in that order.
// Sections come back in the order of the rules; each rule must be matched exactly once, none may
// overlap. `bytes` is the whole image and nothing else, aligned to 64. Never reads outside of it.
// Errors: invalid (any mismatch, said with section and offset), unsupported (version).
[[nodiscard]] Result<std::vector<SectionView>> check_sections(ConstBytes bytes, ImageKind kind,
                                                              std::span<const SectionRule> rules);

// Reads just the header of an image of any kind. Errors: invalid, unsupported.
[[nodiscard]] Result<ImageHeader> read_image_header(ConstBytes bytes);

// XXH3-64 of all bytes behind the header, seeded with the XXH3-64 of the header whose checksum is
// taken as zero: every byte of the image counts. `image` has at least a header.
[[nodiscard]] std::uint64_t image_checksum(ConstBytes image) noexcept;

// Bytes in memory aligned as images need it (std::allocator promises only 16).
template <typename T>
struct ImageAllocator {
  using value_type = T;
  ImageAllocator() noexcept = default;
  template <typename U>
  ImageAllocator(const ImageAllocator<U>&) noexcept {}  // NOLINT: converting on purpose
  [[nodiscard]] T* allocate(std::size_t count) {
    return static_cast<T*>(
        ::operator new(count * sizeof(T), std::align_val_t{image_alignment_bytes}));
  }
  void deallocate(T* at, std::size_t) noexcept {
    ::operator delete(at, std::align_val_t{image_alignment_bytes});
  }
  friend bool operator==(const ImageAllocator&, const ImageAllocator&) noexcept { return true; }
};
using ImageBuffer = std::vector<std::byte, ImageAllocator<std::byte>>;

// What stands in a section: a whole number of elements.
struct SectionContent {
  std::uint32_t id;
  std::uint32_t element_bytes;
  ConstBytes bytes;
};

// An image that is laid out and not yet written: sections in the order in which they are added.
class ImageDraft {
 public:
  ImageDraft(ImageKind kind, Version version, std::uint64_t content_id) noexcept
      : kind_(kind), version_(version), content_id_(content_id) {}

  // Borrows the bytes until the last write().
  void add(const SectionContent& section);
  // Contents that are made in place: `write` gets as many bytes, all zero, whenever the image is written.
  void add(std::uint32_t id, std::uint32_t element_bytes, std::uint64_t size_bytes,
           std::function<void(Bytes)> write);

  [[nodiscard]] std::uint64_t size_bytes() const noexcept;
  // Header, list, contents, tail and checksum. `out`: size_bytes() of zeros.
  void write(Bytes out) const;
  [[nodiscard]] ImageBuffer buffer() const;

 private:
  struct Section {
    std::uint32_t id;
    std::uint32_t element_bytes;
    std::uint64_t size_bytes;
    std::function<void(Bytes)> write;
  };
  ImageKind kind_;
  Version version_;
  std::uint64_t content_id_;
  std::vector<Section> sections_;
};

[[nodiscard]] ImageBuffer assemble_image(ImageKind kind, Version version, std::uint64_t content_id,
                                         std::span<const SectionContent> sections);

// Puts `bytes` into a memfd and seals it against every change (F_SEAL_WRITE|SHRINK|GROW|SEAL).
// Tries huge pages for large images and falls back without them. Errors: unavailable.
[[nodiscard]] Result<UniqueFd> seal_in_memfd(ConstBytes bytes, const char* name);
// The same with an image that is written there, and nowhere else before.
[[nodiscard]] Result<UniqueFd> seal_in_memfd(const ImageDraft& draft, const char* name);

// Maps a sealed memfd read-only and faults it in; refuses one whose seals are missing, so that it
// cannot change under us. Errors: invalid (no image, seals missing), unavailable.
[[nodiscard]] Result<Mapping> map_sealed(int fd);

// Copies an image file, which others may change while we hold it, into private memory: large ones onto reserved huge
// pages, where enough are left. Follows no symbolic link. Only the size is compared with the header: prove before use. Errors: not_found,
// unavailable, invalid.
[[nodiscard]] Result<Mapping> read_image_file(const std::string& path);

}  // namespace pharos
