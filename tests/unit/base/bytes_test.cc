// Network-order integers, unaligned access and rounding.
#include "pharos/base/bytes.hh"

#include <gtest/gtest.h>

#include <vector>

namespace pharos {
namespace {

TEST(BytesTest, BigEndianIntegersStandInNetworkOrder) {
  const Be16 two(0x0102);
  const Be32 four(0x01020304);
  const Be64 eight(0x0102030405060708);
  const auto first_bytes = [](const auto& value) {
    std::vector<int> bytes;
    for (const std::byte b : object_bytes(value)) bytes.push_back(std::to_integer<int>(b));
    return bytes;
  };
  EXPECT_EQ(first_bytes(two), (std::vector{1, 2}));
  EXPECT_EQ(first_bytes(four), (std::vector{1, 2, 3, 4}));
  EXPECT_EQ(first_bytes(eight), (std::vector{1, 2, 3, 4, 5, 6, 7, 8}));
  EXPECT_EQ(two, 0x0102);
  EXPECT_EQ(four, 0x01020304U);
  EXPECT_EQ(eight, 0x0102030405060708U);
}

TEST(BytesTest, LoadsAndStoresAtAnyOffset) {
  std::byte bytes[12] = {};
  for (unsigned offset = 0; offset <= 8; ++offset) {
    store(bytes + offset, std::uint32_t{0xdeadbeef} + offset);
    EXPECT_EQ(load<std::uint32_t>(bytes + offset), 0xdeadbeef + offset);
  }
}

TEST(BytesTest, RoundsUpToMultiples) {
  EXPECT_EQ(round_up(0U, 8U), 0U);
  EXPECT_EQ(round_up(1U, 8U), 8U);
  EXPECT_EQ(round_up(8U, 8U), 8U);
  EXPECT_EQ(round_up(9U, 8U), 16U);
}

}  // namespace
}  // namespace pharos
