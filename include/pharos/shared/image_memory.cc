// How images come into memory: sealed memfds from a peer, private copies of files. See image.hh.
//
// A mapping of a memfd that can still change, or shrink, would let its owner alter tables behind their proof or
// kill the reader with SIGBUS. Hence the four seals, and hence files are copied.
#include "pharos/shared/image.hh"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <thread>

namespace pharos {
namespace {

constexpr std::uint64_t page_bytes = 4096;
constexpr std::uint64_t huge_page_bytes = std::uint64_t{2} << 20;
// Below this, rounding up to huge pages would waste more than they save in TLB misses.
constexpr std::uint64_t huge_image_bytes_min = 4 * huge_page_bytes;
constexpr int madvise_collapse = 25;  // MADV_COLLAPSE, Linux 6.1; glibc 2.36 has no name for it
constexpr int map_huge_2mb = 21 << MAP_HUGE_SHIFT;  // whatever size the host has by default
constexpr int image_seals = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

// Maps the file so that its huge pages can be mapped as such: begins at a multiple of their size, which mmap() alone
// sees to for hugetlbfs only. MAP_FAILED as mmap().
void* map_file(int fd, std::uint64_t bytes, int protection) {
  if (bytes < huge_image_bytes_min) return ::mmap(nullptr, bytes, protection, MAP_SHARED, fd, 0);
  const std::uint64_t reserved_bytes = round_up(bytes, huge_page_bytes) + huge_page_bytes;
  void* reserved = ::mmap(nullptr, reserved_bytes, PROT_NONE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (reserved == MAP_FAILED) return MAP_FAILED;
  auto* first = static_cast<std::byte*>(reserved);
  const auto place = reinterpret_cast<std::uintptr_t>(reserved);
  auto* aligned = first + (round_up(place, std::uintptr_t{huge_page_bytes}) - place);
  // The mapping is all that stays of the reservation: who unmaps it knows of nothing else.
  auto* behind = aligned + round_up(bytes, page_bytes);
  if (aligned != first) ::munmap(first, static_cast<std::size_t>(aligned - first));
  ::munmap(behind, static_cast<std::size_t>(first + reserved_bytes - behind));
  void* at = ::mmap(aligned, bytes, protection, MAP_SHARED | MAP_FIXED, fd, 0);
  if (at == MAP_FAILED) ::munmap(aligned, static_cast<std::size_t>(behind - aligned));
  return at;
}

// Puts an empty memfd on huge pages where none are reserved and the system gives shared memory none by itself
// (transparent_hugepage/shmem_enabled is `never` on most). A collapse wants one page of each to be there. It is a wish.
void use_huge_pages(void* at, std::uint64_t bytes) {
  if (bytes < huge_image_bytes_min) return;
  ::madvise(at, bytes, MADV_HUGEPAGE);
  for (std::uint64_t offset = 0; offset < bytes; offset += huge_page_bytes) {
    constexpr std::size_t one_byte = 1;
    if (::madvise(static_cast<std::byte*>(at) + offset, one_byte, MADV_POPULATE_WRITE) != 0) return;
  }
  ::madvise(at, bytes, madvise_collapse);
}

// What goes into a memfd, and how much of it.
struct Contents {
  std::uint64_t size_bytes;
  std::function<void(Bytes)> write;  // into zeros
};

// Writes through a mapping that is gone before sealing, as F_SEAL_WRITE demands. Populating first turns a lack
// of memory (or of huge pages within a cgroup's limit) into an error instead of SIGBUS.
Status fill(int fd, const Contents& contents, std::uint64_t region_bytes) {
  if (::ftruncate(fd, static_cast<off_t>(region_bytes)) != 0)
    return fail_errno("ftruncate", "memfd");
  void* at = map_file(fd, region_bytes, PROT_READ | PROT_WRITE);
  if (at == MAP_FAILED) return fail_errno("mmap", "memfd");
  const Mapping writable(at, region_bytes);
  use_huge_pages(at, region_bytes);
  if (::madvise(at, region_bytes, MADV_POPULATE_WRITE) != 0 && errno != EINVAL) {
    return fail_errno("madvise(MADV_POPULATE_WRITE)", "memfd");
  }
  contents.write({writable.data(), contents.size_bytes});
  return {};
}

// F_SEAL_WRITE wants nobody to hold a page of the file. The kernel itself holds some now and then (what DAMON looks at,
// what it compacts) and then gives up after some 150 ms: only who holds one for longer than all attempts is an error.
Status add_seals(int fd) {
  constexpr int attempts = 20;
  for (int attempt = 1; ::fcntl(fd, F_ADD_SEALS, image_seals) != 0; ++attempt) {
    if (errno != EBUSY || attempt == attempts) return fail_errno("fcntl(F_ADD_SEALS)");
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return {};
}

Result<UniqueFd> fill_memfd(const Contents& contents, const char* name, unsigned flags,
                            std::uint64_t region_bytes) {
  UniqueFd fd(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | flags));
  if (!fd) return fail_errno("memfd_create", name);
  if (auto filled = fill(fd.get(), contents, region_bytes); !filled) {
    return std::unexpected(std::move(filled).error().in(name));
  }
  if (auto sealed = add_seals(fd.get()); !sealed) {
    return std::unexpected(std::move(sealed).error().in(name));
  }
  return fd;
}

bool is_on_huge_pages(int fd) {
  struct statfs about{};
  return ::fstatfs(fd, &about) == 0 && about.f_type == HUGETLBFS_MAGIC;
}

// The image's own size, from its header; the file may only be larger by less than one of its pages.
Result<std::uint64_t> image_bytes_in(int fd, std::uint64_t file_bytes, std::uint64_t unit_bytes) {
  std::array<std::byte, sizeof(ImageHeader) + image_tail_bytes> start;
  const auto got = ::pread(fd, start.data(), start.size(), 0);
  if (got < 0) return fail_errno("pread", "image");
  auto header = read_image_header(ConstBytes(start).first(static_cast<std::size_t>(got)));
  if (!header) return std::unexpected(std::move(header).error());
  if (header->image_bytes > file_bytes || file_bytes - header->image_bytes >= unit_bytes) {
    return fail(ErrorCode::invalid,
                fmt::format("claims {} bytes, yet {} are there", header->image_bytes, file_bytes),
                "image header");
  }
  return header->image_bytes;
}

Status read_exactly(int fd, Bytes into) {
  std::uint64_t done = 0;
  while (done < into.size()) {
    const auto got = ::pread(fd, into.data() + done, into.size() - done, static_cast<off_t>(done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno("pread");
    if (got == 0) return fail(ErrorCode::invalid, "file ended while it was read");
    done += static_cast<std::uint64_t>(got);
  }
  return {};
}

// Memory of our own: of the reserved huge pages where as many are left, else of what the system gives, which it may put
// on huge pages by itself. Populating finds out about a cgroup's limit while there still is another way.
Result<Mapping> private_memory(std::uint64_t bytes) {
  constexpr int protection = PROT_READ | PROT_WRITE;
  constexpr int flags = MAP_PRIVATE | MAP_ANONYMOUS;
  if (bytes >= huge_image_bytes_min) {
    const auto region_bytes = round_up(bytes, huge_page_bytes);
    void* at = ::mmap(nullptr, region_bytes, protection, flags | MAP_HUGETLB | map_huge_2mb, -1, 0);
    if (at != MAP_FAILED) {
      Mapping reserved(at, region_bytes, bytes);
      if (::madvise(at, region_bytes, MADV_POPULATE_WRITE) == 0) return reserved;
    }
  }
  void* at = ::mmap(nullptr, bytes, protection, flags, -1, 0);
  if (at == MAP_FAILED) return fail_errno("mmap");
  if (bytes >= huge_image_bytes_min) ::madvise(at, bytes, MADV_HUGEPAGE);
  return Mapping(at, bytes);
}

Result<Mapping> copy_of_file(int fd) {
  struct stat about{};
  if (::fstat(fd, &about) != 0) return fail_errno("fstat");
  if (!S_ISREG(about.st_mode)) return fail(ErrorCode::invalid, "not a regular file");
  const auto file_bytes = static_cast<std::uint64_t>(about.st_size);
  if (auto good = image_bytes_in(fd, file_bytes, 1); !good)
    return std::unexpected(std::move(good).error());

  auto copy = private_memory(file_bytes);
  if (!copy) return copy;
  if (auto read = read_exactly(fd, {copy->data(), file_bytes}); !read) {
    return std::unexpected(std::move(read).error());
  }
  ::mprotect(copy->data(), file_bytes, PROT_READ);  // finds stray writes; nothing depends on it
  return copy;
}

}  // namespace

namespace {

Result<UniqueFd> seal(const Contents& contents, const char* name) {
  if (contents.size_bytes >= huge_image_bytes_min) {
    auto fd =
        fill_memfd(contents, name, MFD_HUGETLB, round_up(contents.size_bytes, huge_page_bytes));
    if (fd) return fd;
  }
  return fill_memfd(contents, name, 0, contents.size_bytes);
}

}  // namespace

Result<UniqueFd> seal_in_memfd(ConstBytes bytes, const char* name) {
  return seal({bytes.size(), [bytes](Bytes out) { std::ranges::copy(bytes, out.begin()); }}, name);
}

Result<UniqueFd> seal_in_memfd(const ImageDraft& draft, const char* name) {
  return seal({draft.size_bytes(), [&draft](Bytes out) { draft.write(out); }}, name);
}

Result<Mapping> map_sealed(int fd) {
  const int seals = ::fcntl(fd, F_GET_SEALS);
  if (seals < 0 || (seals & image_seals) != image_seals) {
    return fail(ErrorCode::invalid, "image is not a sealed memfd", {},
                "seal it with F_SEAL_WRITE, F_SEAL_SHRINK, F_SEAL_GROW and F_SEAL_SEAL");
  }
  struct stat about{};
  if (::fstat(fd, &about) != 0) return fail_errno("fstat", "memfd");
  const auto file_bytes = static_cast<std::uint64_t>(about.st_size);
  const auto image_bytes =
      image_bytes_in(fd, file_bytes, is_on_huge_pages(fd) ? huge_page_bytes : 1);
  if (!image_bytes) return std::unexpected(image_bytes.error());

  void* at = map_file(fd, file_bytes, PROT_READ);
  if (at == MAP_FAILED) return fail_errno("mmap", "memfd");
  Mapping mapping(at, file_bytes, *image_bytes);
  ::madvise(at, file_bytes, MADV_HUGEPAGE);  // a wish: refused where it makes no sense
  // Like MAP_POPULATE, but tells when a page cannot be had: the packet path must never meet that as SIGBUS.
  if (::madvise(at, file_bytes, MADV_POPULATE_READ) != 0 && errno != EINVAL) {
    return fail_errno("madvise(MADV_POPULATE_READ)", "memfd");
  }
  return mapping;
}

Result<Mapping> read_image_file(const std::string& path) {
  // O_NONBLOCK: a FIFO put there must not hold us up.
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!fd && errno == ENOENT) return fail(ErrorCode::not_found, "no such file", path);
  if (!fd) return fail_errno("open", path);
  auto copy = copy_of_file(fd.get());
  if (!copy) return std::unexpected(std::move(copy).error().in(path));
  return copy;
}

}  // namespace pharos
