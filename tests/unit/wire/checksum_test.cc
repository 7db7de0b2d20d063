#include "pharos/wire/checksum.hh"

#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <random>
#include <vector>

namespace pharos::checksum {
namespace {

TEST(ChecksumTest, AgreesWithTheExampleOfRfc1071) {
  // RFC 1071, 3: the sum of these bytes is ddf2 in network order.
  constexpr std::array<unsigned char, 8> bytes{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
  EXPECT_EQ(byte_swap(fold(scalar::sum(reinterpret_cast<const std::byte*>(bytes.data()), 8))),
            0xddf2);
}

TEST(ChecksumTest, VectorAndScalarSumsAgreeAtEveryLength) {
  constexpr unsigned seed = 7;
  std::mt19937 random(seed);
  for (unsigned length = 0; length < 2100; ++length) {
    const auto bytes = std::make_unique<std::byte[]>(length + slack_bytes);
    for (unsigned i = 0; i < length + slack_bytes; ++i) bytes[i] = static_cast<std::byte>(random());
    EXPECT_TRUE(same(fold(sum(bytes.get(), length)), fold(scalar::sum(bytes.get(), length))))
        << length << ", seed " << seed;
  }
}

TEST(ChecksumTest, NoLaneOverflowsOnTheLongestMessage) {
  std::vector<std::byte> ones(65536 + slack_bytes, std::byte{0xff});
  const auto total = sum(ones.data(), 65536);
  EXPECT_TRUE(same(fold(total), fold(std::uint64_t{32768} * 0xffff)));
  EXPECT_LT(total, std::uint64_t{1} << 63);  // room to add more
}

TEST(ChecksumTest, SumsOfPartsMakeTheSumOfTheWhole) {
  std::mt19937 random(11);
  std::vector<std::byte> bytes(301);
  for (auto& b : bytes) b = static_cast<std::byte>(random());
  const auto whole = fold(scalar::sum(bytes.data(), 301));
  for (unsigned cut = 0; cut <= 301; ++cut) {
    const auto head = scalar::sum(bytes.data(), cut);
    const auto tail = fold(scalar::sum(bytes.data() + cut, 301 - cut));
    EXPECT_TRUE(same(fold(head + at_offset(tail, cut)), whole)) << cut;
  }
}

TEST(ChecksumTest, FoldsAsCarryByCarry) {
  std::mt19937_64 random(13);
  for (unsigned i = 0; i < 100'000; ++i) {
    const std::uint64_t sum = random() >> (i % 64);
    ASSERT_EQ(fold(sum), scalar::fold(sum)) << sum;
  }
  for (const std::uint64_t sum : {0ULL, 1ULL, 0xffffULL, 0x10000ULL, 0xffffffffULL, 0x1fffeULL,
                                  0xffff0000ffffULL, 0xffffffff00000000ULL, ~0ULL}) {
    EXPECT_EQ(fold(sum), scalar::fold(sum)) << sum;
  }
}

TEST(ChecksumTest, UdpFieldIsNeverZero) {
  EXPECT_EQ(field_of(0xffff), 0);
  EXPECT_EQ(udp_field_of(0xffff), 0xffff);
  EXPECT_EQ(udp_field_of(0x1234), 0xedcb);
}

}  // namespace
}  // namespace pharos::checksum
