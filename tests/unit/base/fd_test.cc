// Owners of descriptors and mappings: one owner, one release.
#include "pharos/base/fd.hh"

#include <fcntl.h>

#include <gtest/gtest.h>

namespace pharos {
namespace {

bool is_open(int fd) {
  return ::fcntl(fd, F_GETFD) >= 0;
}

bool is_mapped(void* address) {
  unsigned char resident = 0;
  return ::mincore(address, 1, &resident) == 0;
}

TEST(UniqueFdTest, ClosesWhatItOwnsOnce) {
  int number = -1;
  {
    UniqueFd fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    number = fd.get();
    UniqueFd moved(std::move(fd));
    EXPECT_FALSE(fd);  // NOLINT: moved from, and empty
    EXPECT_TRUE(is_open(number));
    moved = std::move(*&moved);  // onto itself
    EXPECT_TRUE(moved);
  }
  EXPECT_FALSE(is_open(number));
}

TEST(UniqueFdTest, ClosesTheFormerOneOnAssignment) {
  UniqueFd fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const int former = fd.get();
  UniqueFd next(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const int number = next.get();
  fd = std::move(next);
  EXPECT_FALSE(is_open(former));
  EXPECT_EQ(fd.get(), number);
  const int released = fd.release();
  EXPECT_FALSE(fd);
  EXPECT_TRUE(is_open(released));
  ::close(released);
}

TEST(MappingTest, UnmapsTheWholeRegionAndShowsTheUsedPart) {
  constexpr std::size_t region_bytes = 1U << 16;
  void* at =
      ::mmap(nullptr, region_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(at, MAP_FAILED);
  {
    Mapping mapping(at, region_bytes, 100);
    EXPECT_EQ(mapping.bytes().size(), 100U);
    const Mapping moved(std::move(mapping));
    EXPECT_FALSE(mapping);  // NOLINT: moved from, and empty
    EXPECT_EQ(moved.data(), at);
    EXPECT_TRUE(is_mapped(at));
  }
  EXPECT_FALSE(is_mapped(at));
  EXPECT_FALSE(is_mapped(static_cast<std::byte*>(at) + region_bytes / 2));
}

}  // namespace
}  // namespace pharos
