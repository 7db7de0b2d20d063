// Prepared answers: the checksum, and the proof of one.
#include "pharos/shared/answer.hh"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "test_images.hh"

namespace pharos {
namespace {

using test_images::append;
using test_images::append_object;

// RFC 1071 as its section 4.1 spells it out, on big-endian words.
std::uint16_t slow_checksum(ConstBytes bytes) {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < bytes.size(); i += 2) {
    const auto high = std::to_integer<std::uint32_t>(bytes[i]);
    const auto low = i + 1 < bytes.size() ? std::to_integer<std::uint32_t>(bytes[i + 1]) : 0U;
    sum += high << 8 | low;
    if (sum > 0xffff) sum -= 0xffff;
  }
  return byte_swap(static_cast<std::uint16_t>(sum));
}

TEST(AnswerTest, ChecksumIsThatOfRfc1071) {
  std::mt19937_64 random(2);
  for (std::size_t length = 0; length < 300; ++length) {
    std::vector<std::byte> bytes(length);
    for (auto& byte : bytes) byte = std::byte(random());
    EXPECT_EQ(answer_checksum(bytes), slow_checksum(bytes)) << length;
  }
  const std::vector<std::byte> ones(answer_body_bytes_max, std::byte{0xff});
  EXPECT_EQ(answer_checksum(ones), slow_checksum(ones));
}

// An answer made of parts that a test may bend.
struct Parts {
  std::vector<std::byte> body;
  std::vector<std::uint16_t> relocations;
  Answer answer{};

  // "www." and a pointer to the owner: NS in authority; glue for it, by a pointer into the body.
  Parts() {
    append(body, as_bytes(std::string_view("\x03www", 4)));
    append_object(body, Be16(0xc00c));
    append(body, fixed(dns::Type::ns, 5));
    const auto target_at = body.size();
    append(body, as_bytes(std::string_view("\x02ns", 3)));
    append_object(body, Be16(0xc00c));
    const auto glue_at = body.size();
    append_object(body, Be16(static_cast<std::uint16_t>(0xc000 + 12 + 13 + 4 + target_at)));
    append(body, fixed(dns::Type::a, 4));
    append_object(body, Be32(0xc0000201));
    relocations = {4, static_cast<std::uint16_t>(target_at + 3),
                   static_cast<std::uint16_t>(glue_at | relocation_of_body)};
    answer.authority_count = 1;
    answer.additional_count = 1;
    answer.required_bytes = static_cast<std::uint16_t>(glue_at);
  }

  static std::vector<std::byte> fixed(dns::Type type, std::uint16_t rdata_bytes) {
    std::vector<std::byte> bytes;
    append_object(bytes, Be16(static_cast<std::uint16_t>(type)));
    append_object(bytes, Be16(1));
    append_object(bytes, Be32(3600));
    append_object(bytes, Be16(rdata_bytes));
    return bytes;
  }

  // In memory of exactly the right size, so that ASan sees a read too far.
  [[nodiscard]] bool is_sound(std::size_t bytes_less = 0) {
    answer.body_bytes = static_cast<std::uint16_t>(body.size());
    answer.relocation_count = static_cast<std::uint16_t>(relocations.size());
    answer.checksum = answer_checksum(body);
    std::vector<std::byte> bytes;
    append_object(bytes, answer);
    append(bytes, body);
    bytes.resize(round_up(bytes.size(), std::size_t{2}));
    append(bytes, std::as_bytes(std::span(relocations)));
    const auto exact = std::make_unique<std::byte[]>(bytes.size() - bytes_less);
    std::copy_n(bytes.begin(), bytes.size() - bytes_less, exact.get());
    return answer_is_sound(reinterpret_cast<const Answer*>(exact.get()), bytes.size() - bytes_less);
  }
};

TEST(AnswerTest, AcceptsASoundOne) {
  EXPECT_TRUE(Parts().is_sound());
  const std::uint32_t addresses[] = {1, 2, 3};
  const auto bytes = test_images::a_answer(60, addresses);
  EXPECT_TRUE(answer_is_sound(reinterpret_cast<const Answer*>(bytes.data()), bytes.size()));
}

TEST(AnswerTest, AcceptsAnEmptyOne) {
  Answer answer{};
  EXPECT_TRUE(answer_is_sound(&answer, sizeof answer));
  answer.answer_count = 1;
  EXPECT_FALSE(answer_is_sound(&answer, sizeof answer));
}

TEST(AnswerTest, RefusesEveryTruncation) {
  Parts parts;
  const auto whole = sizeof(Answer) + parts.body.size() + 1 + parts.relocations.size() * 2;
  for (std::size_t less = 1; less < whole - 1; ++less) EXPECT_FALSE(parts.is_sound(less)) << less;
}

TEST(AnswerTest, RefusesCountsAndSizesThatDoNotAddUp) {
  const auto with = [](auto&& change) {
    Parts parts;
    change(parts);
    return parts.is_sound();
  };
  EXPECT_FALSE(with([](Parts& p) { p.answer.answer_count = 1; }));
  EXPECT_FALSE(with([](Parts& p) { p.answer.authority_count = 0; }));
  EXPECT_FALSE(with([](Parts& p) { p.answer.additional_count = 2; }));
  EXPECT_FALSE(with([](Parts& p) { p.answer.required_additional_count = 1; }));
  EXPECT_FALSE(with([](Parts& p) { p.answer.required_additional_count = 2; }));
  EXPECT_FALSE(with([](Parts& p) { ++p.answer.required_bytes; }));
  EXPECT_FALSE(with([](Parts& p) { --p.answer.required_bytes; }));
  EXPECT_FALSE(with([](Parts& p) { p.body.push_back(std::byte{0}); }));
  EXPECT_FALSE(with([](Parts& p) { p.body[4 + 2 + 9] = std::byte{6}; }));  // RDLENGTH
}

TEST(AnswerTest, RefusesRelocationsThatNameNoPointer) {
  const auto with = [](std::vector<std::uint16_t> relocations) {
    Parts parts;
    parts.relocations = std::move(relocations);
    return parts.is_sound();
  };
  const auto good = Parts().relocations;
  EXPECT_TRUE(with(good));
  EXPECT_FALSE(with({}));  // the owners' pointers are not listed
  EXPECT_FALSE(with({good[0], good[1]}));
  EXPECT_FALSE(with({good[1], good[0], good[2]}));  // not in order
  EXPECT_FALSE(with({good[0], good[0], good[1], good[2]}));
  EXPECT_FALSE(with({good[0], static_cast<std::uint16_t>(good[1] - 1), good[2]}));
  EXPECT_FALSE(with({good[0], static_cast<std::uint16_t>(good[1] + 1), good[2]}));
  EXPECT_FALSE(with({good[0], good[1], good[2], 0x7fff}));
  EXPECT_FALSE(with({good[0], good[1], good[2], 0xffff}));
}

TEST(AnswerTest, RefusesPointersOutOfReach) {
  const auto with_pointer = [](std::uint16_t pointer) {
    Parts parts;
    store(parts.body.data() + 4, Be16(pointer));
    return parts.is_sound();
  };
  EXPECT_TRUE(with_pointer(0xc00c));
  EXPECT_FALSE(with_pointer(0xc00b));             // into the header
  EXPECT_FALSE(with_pointer(0xc000 + 12 + 255));  // behind every owner
  EXPECT_FALSE(with_pointer(0xffff));
  EXPECT_FALSE(with_pointer(0x800c));
}

TEST(AnswerTest, RefusesNamesThatAreNone) {
  Parts parts;
  parts.body[0] = std::byte{0x40};
  EXPECT_FALSE(parts.is_sound());
  // 255 octets are a name, 256 are not.
  for (const unsigned last : {61U, 62U}) {
    std::vector<std::byte> name;
    for (const unsigned label : {63U, 63U, 63U, last}) {
      name.push_back(std::byte(label));
      name.insert(name.end(), label, std::byte{'x'});
    }
    name.push_back(std::byte{0});
    Parts whole;
    whole.body = name;
    append(whole.body, Parts::fixed(dns::Type::txt, 0));
    whole.relocations = {};
    whole.answer = {};
    whole.answer.answer_count = 1;
    whole.answer.required_bytes = static_cast<std::uint16_t>(whole.body.size());
    EXPECT_EQ(whole.is_sound(), last == 61);
  }
}

TEST(AnswerTest, NoticesAWrongChecksumAndSurvivesAnyBytes) {
  const std::uint32_t addresses[] = {1, 2, 3};
  const auto good = test_images::a_answer(60, addresses);
  std::mt19937_64 random(3);
  for (int round = 0; round < 20'000; ++round) {
    const auto bytes = std::make_unique<std::byte[]>(good.size());
    std::ranges::copy(good, bytes.get());
    const auto at = sizeof(Answer) + random() % (good.size() - sizeof(Answer) - 6);
    const auto flip = std::byte(1 + random() % 255);
    bytes[at] ^= flip;
    EXPECT_FALSE(answer_is_sound(reinterpret_cast<const Answer*>(bytes.get()), good.size()));
    for (std::size_t i = 0; i < good.size(); ++i) {
      if (random() % 4 == 0) bytes[i] = std::byte(random());
    }
    (void)answer_is_sound(reinterpret_cast<const Answer*>(bytes.get()), good.size());
  }
}

}  // namespace
}  // namespace pharos
