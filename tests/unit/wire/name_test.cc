// The vector kernels of names against their scalar twins, on random bytes at every length.
#include "pharos/wire/name.hh"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <random>
#include <vector>

namespace pharos::dns {
namespace {

constexpr unsigned seed = 20231;

std::vector<std::byte> random_bytes(std::mt19937& random, std::size_t count) {
  std::vector<std::byte> bytes(count);
  for (auto& b : bytes) b = static_cast<std::byte>(random());
  return bytes;
}

TEST(NameKernelTest, FoldsEveryLengthAsTheScalarTwinDoes) {
  std::mt19937 random(seed);
  for (unsigned length = 1; length <= name_bytes_max; ++length) {
    const auto bytes = random_bytes(random, length + name_slack_bytes);
    FoldedName vector;
    FoldedName plain;
    std::ranges::fill(vector.bytes, std::byte{0xee});
    std::ranges::fill(plain.bytes, std::byte{0xee});
    fold_name(bytes.data(), length, vector);
    scalar::fold_name(bytes.data(), length, plain);
    EXPECT_EQ(vector.length, plain.length);
    EXPECT_EQ(vector.bytes, plain.bytes) << "length " << length << ", seed " << seed;
  }
}

TEST(NameKernelTest, FoldsLettersAndNothingElse) {
  for (unsigned value = 0; value < 256; ++value) {
    std::vector<std::byte> bytes(1 + name_slack_bytes, static_cast<std::byte>(value));
    FoldedName folded;
    fold_name(bytes.data(), 1, folded);
    const unsigned expected = value >= 'A' && value <= 'Z' ? value + 32 : value;
    EXPECT_EQ(std::to_integer<unsigned>(folded.bytes[0]), expected);
  }
}

TEST(NameKernelTest, HashesEveryLengthAsTheScalarTwinDoes) {
  std::mt19937 random(seed);
  for (unsigned length = 1; length <= name_bytes_max; ++length) {
    const auto bytes = random_bytes(random, length + name_slack_bytes);
    NameHashKey key;
    const auto key_bytes = random_bytes(random, key.bytes.size());
    std::ranges::copy(key_bytes, key.bytes.begin());
    EXPECT_EQ(hash_name(bytes.data(), length, key), scalar::hash_name(bytes.data(), length, key))
        << "length " << length << ", seed " << seed;
  }
}

TEST(NameKernelTest, HashesAWholeFoldedNameAsItsBytes) {
  std::mt19937 random(seed);
  const auto bytes = random_bytes(random, name_bytes_max + name_slack_bytes);
  NameHashKey key;
  const auto key_bytes = random_bytes(random, key.bytes.size());
  std::ranges::copy(key_bytes, key.bytes.begin());
  for (unsigned length = 1; length <= name_bytes_max; ++length) {
    FoldedName folded;
    fold_name(bytes.data(), length, folded);
    EXPECT_EQ(hash_name(folded, key), scalar::hash_name(folded.bytes.data(), length, key))
        << "length " << length << ", seed " << seed;
  }
}

TEST(NameKernelTest, HashDependsOnEveryByteTheLengthAndTheKey) {
  std::mt19937 random(seed);
  auto bytes = random_bytes(random, 64 + name_slack_bytes);
  NameHashKey key;
  const auto before = hash_name(bytes.data(), 64, key);
  for (unsigned at = 0; at < 64; ++at) {
    bytes[at] ^= std::byte{1};
    EXPECT_NE(hash_name(bytes.data(), 64, key), before) << "byte " << at;
    bytes[at] ^= std::byte{1};
  }
  EXPECT_NE(hash_name(bytes.data(), 63, key), before);
  key.bytes[31] = std::byte{1};
  EXPECT_NE(hash_name(bytes.data(), 64, key), before);
}

TEST(NameKernelTest, ComparesAllBytesOfTheLengthAndNoneBehind) {
  std::mt19937 random(seed);
  for (unsigned length = 1; length <= name_bytes_max; ++length) {
    auto a = random_bytes(random, length + name_slack_bytes);
    auto b = a;
    for (unsigned at = length; at < b.size(); ++at) b[at] ^= std::byte{0xff};
    EXPECT_TRUE(equal_names(a.data(), b.data(), length)) << length;
    for (unsigned at = 0; at < length; ++at) {
      b[at] ^= std::byte{0x10};
      EXPECT_FALSE(equal_names(a.data(), b.data(), length)) << length << " at " << at;
      b[at] ^= std::byte{0x10};
    }
  }
}

TEST(NameKernelTest, StaysWithinTheSlackOnTheHeap) {
  for (unsigned length = 1; length <= name_bytes_max; ++length) {
    // ASan watches its end.
    const auto bytes = std::make_unique<std::byte[]>(length + name_slack_bytes);
    FoldedName folded;
    fold_name(bytes.get(), length, folded);
    EXPECT_TRUE(equal_names(bytes.get(), folded.bytes.data(), length));
    EXPECT_EQ(hash_name(bytes.get(), length, {}), hash_name(folded.bytes.data(), length, {}));
  }
}

}  // namespace
}  // namespace pharos::dns
