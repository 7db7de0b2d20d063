// The vector kernels that find a name, beside their scalar twins, on buffers that end where their slack does.
#include "pharos/dataplane/match/name_lookup.hh"

#include <gtest/gtest.h>

#include <memory>
#include <new>
#include <random>

namespace pharos::dataplane {
namespace {

constexpr unsigned slack_bytes = 32;

TEST(NameLookupTest, TagsOfABucketAreFoundAsOneByOne) {
  const auto seed = std::random_device()();
  std::mt19937 random(seed);
  for (unsigned round = 0; round < 20'000; ++round) {
    catalog::Bucket bucket{};
    for (auto& tag : bucket.tags) tag = static_cast<std::uint16_t>(random() % 4 * 0x4001);
    const auto tag = static_cast<std::uint16_t>(random() % 4 * 0x4001);
    ASSERT_EQ(tag_matches(bucket, tag), scalar::tag_matches(bucket, tag)) << "seed " << seed;
  }
}

// Of every length; one bit makes another name of it, and what lies behind it does not.
TEST(NameLookupTest, ANameIsItselfAndNoOther) {
  const auto seed = std::random_device()();
  std::mt19937 random(seed);
  const auto any_byte = [&] { return static_cast<std::byte>(random()); };
  for (unsigned bytes = 1; bytes <= 255; ++bytes) {
    const auto place = std::make_unique<std::byte[]>(sizeof(catalog::Node) + bytes + slack_bytes);
    auto& node = *new (place.get()) catalog::Node{};
    node.name_bytes = static_cast<std::uint8_t>(bytes);
    auto* theirs = place.get() + sizeof(catalog::Node);
    const auto ours = std::make_unique<std::byte[]>(bytes + slack_bytes);
    for (unsigned i = 0; i < bytes; ++i) ours[i] = theirs[i] = any_byte();
    for (unsigned i = 0; i < slack_bytes; ++i) {
      theirs[bytes + i] = any_byte();
      ours[bytes + i] = ~theirs[bytes + i];
    }
    EXPECT_TRUE(is_name_of(node, ours.get(), bytes)) << bytes << ", seed " << seed;
    EXPECT_TRUE(scalar::is_name_of(node, ours.get(), bytes));
    EXPECT_FALSE(is_name_of(node, ours.get(), bytes - 1));
    for (unsigned i = 0; i < bytes; ++i) {
      const auto bit = std::byte{1} << random() % 8;
      ours[i] ^= bit;
      EXPECT_FALSE(is_name_of(node, ours.get(), bytes))
          << i << " of " << bytes << ", seed " << seed;
      EXPECT_FALSE(scalar::is_name_of(node, ours.get(), bytes));
      ours[i] ^= bit;
    }
  }
}

}  // namespace
}  // namespace pharos::dataplane
