// Answer records: their bytes, relocations and checksum, and what none can hold.
#include "pharos/controlplane/image/answer_encoder.hh"

#include "pharos/wire/dns.hh"

#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "answers_by_hand.hh"

namespace pharos {
namespace {

TEST(AnswerEncoderTest, WritesRecordsRelocationsAndChecksum) {
  std::vector<std::byte> out(2);
  const std::vector<IpAddress> two = {address(1), address(2)};
  ASSERT_TRUE(controlplane::encode_address_answer(type_a, 300, two, out));
  ASSERT_EQ(out.size(), 2 + answer_record_bytes(32, 2));
  const std::vector<std::byte> record(out.begin() + 2, out.end());
  const auto* answer = reinterpret_cast<const Answer*>(record.data());
  expect_answer(answer, {type_a, 300, {two}}, 0);
  EXPECT_EQ(answer->required_bytes, 32);
  EXPECT_EQ(answer->authority_count, 0);
  EXPECT_EQ(answer->additional_count, 0);
  EXPECT_EQ(answer->required_additional_count, 0);
  ASSERT_EQ(answer->relocation_count, 2);
  EXPECT_EQ(answer->relocations()[0], 0);
  EXPECT_EQ(answer->relocations()[1], 16);
  EXPECT_TRUE(answer_is_sound(answer, record.size()));
  // RFC 1071 by hand, over the body as 16-bit words of this machine.
  std::uint32_t sum = 0;
  for (unsigned at = 0; at < 32; at += 2) sum += load<std::uint16_t>(answer->body() + at);
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  EXPECT_EQ(answer->checksum, sum);
}

TEST(AnswerEncoderTest, PadsABodyOfOddLength) {
  const std::array<std::byte, 3> rdata = {std::byte{2}, std::byte{'h'}, std::byte{'i'}};
  const controlplane::OwnedRecord record{16, 5, rdata};
  std::vector<std::byte> out;
  ASSERT_TRUE(controlplane::encode_answer(std::span(&record, 1), out));
  const auto* answer = reinterpret_cast<const Answer*>(out.data());
  EXPECT_EQ(answer->body_bytes, 15);
  EXPECT_EQ(out.size(), answer_record_bytes(15, 1));
  EXPECT_EQ(answer->relocations()[0], 0);
  EXPECT_TRUE(answer_is_sound(answer, out.size()));
}

TEST(AnswerEncoderTest, RefusesWhatNoAnswerCanHoldAndLeavesTheOutputAlone) {
  std::vector<std::byte> out(7);
  const std::vector<IpAddress> four = {address(1)};
  const std::vector<IpAddress> six = {IpAddress::parse("2001:db8::1").value()};
  EXPECT_FALSE(controlplane::encode_address_answer(type_a, 1, six, out));
  EXPECT_FALSE(controlplane::encode_address_answer(type_aaaa, 1, four, out));
  EXPECT_FALSE(controlplane::encode_address_answer(16, 1, four, out));
  EXPECT_FALSE(controlplane::encode_address_answer(type_a, 1, {}, out));
  EXPECT_FALSE(controlplane::encode_address_answer(type_a, dns::ttl_max_s + 1, four, out));
  const std::vector<IpAddress> fits(answer_body_bytes_max / 16, address(1));
  const std::vector<IpAddress> too_many(answer_body_bytes_max / 16 + 1, address(1));
  EXPECT_FALSE(controlplane::encode_address_answer(type_a, 1, too_many, out));
  EXPECT_EQ(out.size(), 7U);
  EXPECT_TRUE(controlplane::encode_address_answer(type_a, dns::ttl_max_s, fits, out));
}

}  // namespace
}  // namespace pharos
