// The frame of images: what assemble_image() writes is proven, and nothing else is.
#include "pharos/shared/image.hh"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <gtest/gtest.h>
#include <spdlog/fmt/fmt.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <thread>

#include "test_images.hh"

namespace pharos {
namespace {

constexpr SectionRule rules[] = {
    {1, "numbers", 8, 100}, {2, "text", 1, 1000}, {3, "nothing", 4, 0}};
constexpr std::uint64_t numbers[] = {1, 2, 3};

ImageBuffer sound_image() {
  const SectionContent sections[] = {
      {2, 1, as_bytes("hello")}, {1, 8, std::as_bytes(std::span(numbers))}, {3, 4, {}}};
  return assemble_image(ImageKind::catalog, {3, 14}, 99, sections);
}

// The section list entry at `index`, to be changed.
SectionEntry& entry_of(ImageBuffer& image, unsigned index) {
  return reinterpret_cast<SectionEntry*>(image.data() + sizeof(ImageHeader))[index];
}
ImageHeader& header_of(ImageBuffer& image) {
  return *reinterpret_cast<ImageHeader*>(image.data());
}

// The text of the refusal after `change` and a right checksum; empty where it is accepted.
template <typename Change>
std::string refusal_after(Change&& change) {
  auto image = sound_image();
  change(image);
  test_images::seal_checksum(image);
  const auto result = check_sections(image, ImageKind::catalog, rules);
  return result ? "" : result.error().text();
}

TEST(ImageTest, ProvesWhatWasAssembled) {
  const auto image = sound_image();
  const auto sections = check_sections(image, ImageKind::catalog, rules);
  ASSERT_TRUE(sections) << sections.error().text();
  ASSERT_EQ(sections->size(), 3U);
  EXPECT_EQ((*sections)[0].as<std::uint64_t>().back(), 3U);  // in the order of the rules
  EXPECT_EQ(as_text({(*sections)[1].data, (*sections)[1].size_bytes()}), "hello");
  EXPECT_EQ((*sections)[2].count, 0U);

  const auto header = read_image_header(image);
  ASSERT_TRUE(header);
  EXPECT_EQ(header->version, (Version{3, 14}));
  EXPECT_EQ(header->content_id, 99U);
  EXPECT_EQ(header->image_bytes, image.size());
}

TEST(ImageTest, RefusesEveryTruncationAndOneByteMore) {
  const auto image = sound_image();
  for (std::size_t length = 0; length < image.size(); ++length) {
    const ImageBuffer cut(image.begin(), image.begin() + static_cast<std::ptrdiff_t>(length));
    EXPECT_FALSE(check_sections(cut, ImageKind::catalog, rules)) << length;
  }
  auto longer = image;
  longer.push_back(std::byte{0});
  EXPECT_FALSE(check_sections(longer, ImageKind::catalog, rules));
}

TEST(ImageTest, NoticesEveryFlippedBit) {
  auto image = sound_image();
  for (std::size_t i = 0; i < image.size() * 8; ++i) {
    const auto bit = std::byte{1} << (i % 8);
    image[i / 8] ^= bit;
    EXPECT_FALSE(check_sections(image, ImageKind::catalog, rules)) << "bit " << i;
    image[i / 8] ^= bit;
  }
  EXPECT_TRUE(check_sections(image, ImageKind::catalog, rules));
}

TEST(ImageTest, RefusesAnotherKindAndUnalignedMemory) {
  const auto image = sound_image();
  EXPECT_FALSE(check_sections(image, ImageKind::locale_map, rules));
  ImageBuffer shifted(image.size() + 8);
  std::ranges::copy(image, shifted.begin() + 8);
  EXPECT_FALSE(check_sections(ConstBytes(shifted).subspan(8), ImageKind::catalog, rules));
}

TEST(ImageTest, RefusesSectionsThatLieOutsideOrOverlap) {
  const auto set_offset = [](unsigned index, std::uint64_t offset) {
    return refusal_after([=](ImageBuffer& image) { entry_of(image, index).offset = offset; });
  };
  const std::uint64_t first = entry_of(*std::make_unique<ImageBuffer>(sound_image()), 0).offset;
  EXPECT_EQ(set_offset(0, first), "");
  EXPECT_NE(set_offset(0, first + 1), "");
  EXPECT_NE(set_offset(0, 0), "");
  EXPECT_NE(set_offset(0, first - 64), "");   // on the section list
  EXPECT_NE(set_offset(1, first), "");        // on the section before
  EXPECT_NE(set_offset(1, first + 128), "");  // in the tail
  EXPECT_NE(set_offset(1, ~std::uint64_t{63}), "");
  EXPECT_NE(set_offset(1, std::uint64_t{1} << 63), "");
}

TEST(ImageTest, RefusesCountsThatReachOutOrOverflow) {
  const auto set_count = [](unsigned index, std::uint64_t count) {
    return refusal_after([=](ImageBuffer& image) { entry_of(image, index).count = count; });
  };
  EXPECT_EQ(set_count(1, 3), "");
  EXPECT_EQ(set_count(1, 8), "");  // up to the tail, padding included
  EXPECT_NE(set_count(1, 9), "");
  EXPECT_NE(set_count(1, 101), "");
  EXPECT_NE(set_count(1, (std::uint64_t{1} << 61) + 1), "");  // times 8 wraps to 8
  EXPECT_NE(set_count(2, 1), "");
}

TEST(ImageTest, RefusesAListThatIsNotTheRules) {
  EXPECT_NE(refusal_after([](auto& image) { entry_of(image, 0).id = 9; }), "");
  EXPECT_NE(refusal_after([](auto& image) { entry_of(image, 2).id = 2; }), "");
  EXPECT_NE(refusal_after([](auto& image) { entry_of(image, 1).element_bytes = 4; }), "");
  EXPECT_NE(refusal_after([](auto& image) { entry_of(image, 1).element_bytes = 0; }), "");
  EXPECT_NE(refusal_after([](auto& image) { entry_of(image, 0).reserved = 1; }), "");
  EXPECT_NE(refusal_after([](auto& image) { header_of(image).section_count = 2; }), "");
  EXPECT_NE(refusal_after([](auto& image) { header_of(image).section_count = 17; }), "");
  EXPECT_NE(refusal_after([](auto& image) { header_of(image).image_bytes = ~std::uint64_t{0}; }),
            "");
  EXPECT_NE(refusal_after([](auto& image) { image.back() = std::byte{1}; }), "");
}

TEST(ImageTest, CallsAnUnknownVersionUnsupported) {
  auto image = sound_image();
  header_of(image).format_version = image_format_version + 1;
  const auto header = read_image_header(image);
  ASSERT_FALSE(header);
  EXPECT_EQ(header.error().code, ErrorCode::unsupported);
}

TEST(ImageTest, NeverAcceptsRandomBytes) {
  std::mt19937_64 random(1);
  for (int round = 0; round < 2000; ++round) {
    auto image = sound_image();
    for (auto& byte : std::span(image).subspan(random() % 64, 100)) byte = std::byte(random());
    EXPECT_FALSE(check_sections(image, ImageKind::catalog, rules)) << round;
  }
}

TEST(ImageTest, SurvivesSealingAndMapping) {
  const auto image = sound_image();
  const auto fd = seal_in_memfd(image, "image_test");
  ASSERT_TRUE(fd) << fd.error().text();
  EXPECT_EQ(::write(fd->get(), "x", 1), -1);
  EXPECT_EQ(::ftruncate(fd->get(), 0), -1);
  const auto mapping = map_sealed(fd->get());
  ASSERT_TRUE(mapping) << mapping.error().text();
  EXPECT_TRUE(std::ranges::equal(mapping->bytes(), image));
  EXPECT_TRUE(check_sections(mapping->bytes(), ImageKind::catalog, rules));
}

TEST(ImageTest, SealsLargeImagesWithOrWithoutHugePages) {
  const std::vector<std::byte> large(12'345'678, std::byte{7});
  const SectionContent sections[] = {{1, 1, large}};
  const auto image = assemble_image(ImageKind::catalog, {1, 1}, 0, sections);
  const auto fd = seal_in_memfd(image, "image_test");
  ASSERT_TRUE(fd) << fd.error().text();
  const auto mapping = map_sealed(fd->get());
  ASSERT_TRUE(mapping) << mapping.error().text();
  const SectionRule rule[] = {{1, "large", 1, image_bytes_max}};
  EXPECT_TRUE(check_sections(mapping->bytes(), ImageKind::catalog, rule));
}

std::uint64_t address_space_bytes() {
  std::ifstream statm("/proc/self/statm");
  std::uint64_t pages = 0;
  statm >> pages;
  return pages * static_cast<std::uint64_t>(::getpagesize());
}

// Tables come and go for years: what one of them leaves behind adds up.
TEST(ImageTest, AnImageThatIsGoneLeavesNoAddressesBehind) {
  const std::vector<std::byte> large(12'345'678, std::byte{7});
  const SectionContent sections[] = {{1, 1, large}};
  const auto image = assemble_image(ImageKind::catalog, {1, 1}, 0, sections);
  const auto come_and_go = [&] {
    const auto fd = seal_in_memfd(image, "image_test");
    ASSERT_TRUE(fd) << fd.error().text();
    ASSERT_TRUE(map_sealed(fd->get()));
  };
  come_and_go();
  const auto before = address_space_bytes();
  for (int i = 0; i < 32; ++i) come_and_go();
  EXPECT_LT(address_space_bytes(), before + (1U << 20));
}

// The kernel holds pages of its choice now and then; here a pipe does, for longer than sealing waits by itself.
TEST(ImageTest, IsSealedOnceNobodyHoldsItsPagesAnyMore) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  const UniqueFd read_end(ends[0]);
  const UniqueFd write_end(ends[1]);
  constexpr std::size_t held_bytes = 16;
  ImageDraft draft(ImageKind::catalog, {3, 14}, 99);
  draft.add(1, 8, held_bytes, [&](Bytes out) {
    iovec page{.iov_base = out.data(), .iov_len = out.size()};
    EXPECT_EQ(::vmsplice(write_end.get(), &page, 1, 0), static_cast<ssize_t>(out.size()));
  });
  const std::jthread holder([&] {
    constexpr auto kernel_waits = std::chrono::milliseconds(150);
    pollfd held{read_end.get(), POLLIN, 0};
    EXPECT_EQ(::poll(&held, 1, 10'000), 1);
    std::this_thread::sleep_for(3 * kernel_waits);
    std::array<std::byte, held_bytes> rest;
    EXPECT_EQ(::read(read_end.get(), rest.data(), rest.size()), ssize_t{held_bytes});
  });
  const auto fd = seal_in_memfd(draft, "image_test");
  ASSERT_TRUE(fd) << fd.error().text();
  EXPECT_TRUE(map_sealed(fd->get()));
}

TEST(ImageTest, MapsNothingThatCouldStillChange) {
  const auto image = sound_image();
  const int all[] = {F_SEAL_WRITE, F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_SEAL};
  for (const int missing : all) {
    const UniqueFd fd(::memfd_create("image_test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    ASSERT_EQ(::write(fd.get(), image.data(), image.size()), static_cast<ssize_t>(image.size()));
    for (const int seal : all) {
      if (seal != missing) {
        ASSERT_EQ(::fcntl(fd.get(), F_ADD_SEALS, seal), 0);
      }
    }
    const auto mapping = map_sealed(fd.get());
    EXPECT_FALSE(mapping);
  }
  EXPECT_FALSE(map_sealed(-1));
  const UniqueFd file(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
  EXPECT_FALSE(map_sealed(file.get()));
}

TEST(ImageTest, MapsNothingThatIsLongerOrShorterThanItClaims) {
  for (const int change : {-1, 1, 4096}) {
    auto image = sound_image();
    image.resize(image.size() + static_cast<std::size_t>(change));
    const auto fd = seal_in_memfd(image, "image_test");
    ASSERT_TRUE(fd);
    EXPECT_FALSE(map_sealed(fd->get())) << change;
  }
  const auto empty = seal_in_memfd(ConstBytes(), "image_test");
  EXPECT_FALSE(empty && map_sealed(empty->get()));
}

// What a page of the mapping that begins at `at` takes, by /proc/self/smaps; 0: there is none.
std::uint64_t page_kib_at(const void* at) {
  std::ifstream maps("/proc/self/smaps");
  const auto start = fmt::format("{:x}-", reinterpret_cast<std::uintptr_t>(at));
  bool here = false;
  for (std::string line; std::getline(maps, line);) {
    std::uint64_t kib = 0;
    here = here || line.starts_with(start);
    if (here && std::sscanf(line.c_str(), "KernelPageSize: %lu kB", &kib) == 1) return kib;
  }
  return 0;
}

class ImageFileTest : public testing::Test {
 protected:
  ImageFileTest() {
    char pattern[] = "/tmp/pharos_image_test.XXXXXX";
    directory_ = ::mkdtemp(pattern);
  }
  ~ImageFileTest() override { std::filesystem::remove_all(directory_); }

  void write(const ImageBuffer& image) const {
    std::ofstream(path(), std::ios::binary)
        .write(reinterpret_cast<const char*>(image.data()),
               static_cast<std::streamsize>(image.size()));
  }
  [[nodiscard]] std::string path() const { return directory_ + "/image"; }

  std::string directory_;
};

TEST_F(ImageFileTest, IsReadIntoMemoryThatCanBeProven) {
  const auto image = sound_image();
  write(image);
  const auto copy = read_image_file(path());
  ASSERT_TRUE(copy) << copy.error().text();
  EXPECT_TRUE(check_sections(copy->bytes(), ImageKind::catalog, rules));
}

// The pool may be filled or emptied by others meanwhile: what counts is what the copy lies on.
TEST_F(ImageFileTest, LiesOnReservedHugePagesWhereAnyAreLeft) {
  constexpr std::uint64_t huge_page_bytes = 2U << 20;
  const std::vector<std::byte> large(12'345'678, std::byte{7});
  const SectionContent sections[] = {{1, 1, large}};
  const auto image = assemble_image(ImageKind::catalog, {1, 1}, 0, sections);
  write(image);
  void* probe = ::mmap(nullptr, 8 * huge_page_bytes, PROT_READ,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
  const bool some_left = probe != MAP_FAILED;
  if (some_left) ::munmap(probe, 8 * huge_page_bytes);

  const auto before = address_space_bytes();
  {
    const auto copy = read_image_file(path());
    ASSERT_TRUE(copy) << copy.error().text();
    EXPECT_TRUE(std::ranges::equal(copy->bytes(), image));
    if (some_left) {
      EXPECT_EQ(page_kib_at(copy->data()), huge_page_bytes >> 10);
    }
  }
  EXPECT_LT(address_space_bytes(), before + large.size()) << "the region is given back whole";
}

TEST_F(ImageFileTest, IsRefusedWhereItsSizeIsWrong) {
  auto image = sound_image();
  image.push_back(std::byte{0});
  write(image);
  EXPECT_EQ(read_image_file(path()).error().code, ErrorCode::invalid);
  image.resize(image.size() - 2);
  write(image);
  EXPECT_EQ(read_image_file(path()).error().code, ErrorCode::invalid);
  write({});
  EXPECT_EQ(read_image_file(path()).error().code, ErrorCode::invalid);
}

TEST_F(ImageFileTest, IsNeitherALinkNorAnythingElse) {
  EXPECT_EQ(read_image_file(path()).error().code, ErrorCode::not_found);
  write(sound_image());
  const auto link = directory_ + "/link";
  std::filesystem::create_symlink(path(), link);
  EXPECT_FALSE(read_image_file(link));
  EXPECT_FALSE(read_image_file(directory_));
  EXPECT_FALSE(read_image_file("/dev/zero"));
  const auto fifo = directory_ + "/fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_FALSE(read_image_file(fifo));
}

}  // namespace
}  // namespace pharos
