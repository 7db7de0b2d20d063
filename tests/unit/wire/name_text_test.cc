#include "pharos/wire/name_text.hh"

#include "pharos/wire/name.hh"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace pharos::dns {
namespace {

WireName name(std::string_view text) {
  auto parsed = parse_name(text);
  EXPECT_TRUE(parsed) << text << ": " << (parsed ? "" : parsed.error().text());
  return parsed.value_or(WireName{});
}

TEST(NameTextTest, ReadsAbsoluteNames) {
  EXPECT_EQ(as_text(name("www.Example.").view()), std::string_view("\3www\7Example\0", 13));
  EXPECT_EQ(as_text(name(".").view()), std::string_view("\0", 1));
}

TEST(NameTextTest, PutsRelativeNamesBelowTheOrigin) {
  const auto origin = name("example.com.");
  EXPECT_EQ(name_text(parse_name("www", origin.view())->view()), "www.example.com.");
  EXPECT_EQ(name_text(parse_name("a.b", origin.view())->view()), "a.b.example.com.");
  EXPECT_EQ(name_text(parse_name("@", origin.view())->view()), "example.com.");
  EXPECT_EQ(name_text(parse_name("www.", origin.view())->view()), "www.");
  EXPECT_EQ(name_text(parse_name("www", WireName{}.view())->view()), "www.");
}

TEST(NameTextTest, RefusesWhatIsNoName) {
  for (const auto* text :
       {"", "a", "a..b.", ".a.", "..", "a\\", "a\\1", "a\\12", "a\\256.", "a\\2x5."}) {
    EXPECT_FALSE(parse_name(text)) << text;
  }
}

TEST(NameTextTest, BoundsLabelsAndNames) {
  const std::string label63(63, 'a');
  EXPECT_TRUE(parse_name(label63 + "."));
  EXPECT_FALSE(parse_name(label63 + "a."));
  const std::string longest =
      label63 + "." + label63 + "." + label63 + "." + std::string(61, 'b') + ".";
  const auto parsed = parse_name(longest);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->length, 255);
  EXPECT_EQ(name_text(parsed->view()), longest);
  EXPECT_FALSE(
      parse_name(label63 + "." + label63 + "." + label63 + "." + std::string(62, 'b') + "."));
  // One more than fits, by the origin.
  const auto origin = name(label63 + "." + label63 + "." + label63 + ".");
  EXPECT_TRUE(parse_name(std::string(61, 'b'), origin.view()));
  EXPECT_FALSE(parse_name(std::string(62, 'b'), origin.view()));
}

TEST(NameTextTest, EscapesComeBackAsTheyWere) {
  std::mt19937_64 random(7);
  for (int round = 0; round < 2000; ++round) {
    WireName wire;
    unsigned used = 0;
    while (used < 200 && random() % 6 != 0) {
      const auto length = static_cast<unsigned>(1 + random() % 20);
      wire.bytes[used++] = static_cast<std::byte>(length);
      for (unsigned i = 0; i < length; ++i) wire.bytes[used++] = static_cast<std::byte>(random());
    }
    wire.bytes[used++] = std::byte{0};
    wire.length = static_cast<std::uint8_t>(used);
    ASSERT_TRUE(name_is_sound(wire.view()));
    const auto again = parse_name(name_text(wire.view()));
    ASSERT_TRUE(again) << name_text(wire.view());
    EXPECT_TRUE(std::ranges::equal(again->view(), wire.view()));
  }
}

TEST(NameTextTest, SoundNamesEndWhereTheyEnd) {
  const auto wire = name("www.example.");
  EXPECT_TRUE(name_is_sound(wire.view()));
  for (std::size_t cut = 0; cut < wire.length; ++cut)
    EXPECT_FALSE(name_is_sound(wire.view().first(cut)));
  std::vector<std::byte> longer(wire.view().begin(), wire.view().end());
  longer.push_back(std::byte{0});
  EXPECT_FALSE(name_is_sound(longer));
  EXPECT_EQ(name_bytes_at(longer), wire.length);
  longer[0] = std::byte{64};
  EXPECT_EQ(name_bytes_at(longer), 0U);
  EXPECT_EQ(name_bytes_at(std::vector<std::byte>(300, std::byte{1})), 0U);
}

// RFC 4034, 6.1, with the order that it gives.
TEST(NameTextTest, CanonicalOrderIsThatOfRfc4034) {
  const std::vector<std::string> ordered{
      "example.",   "a.example.",       "yljkjljk.a.example.", "Z.a.example.",    "zABC.a.EXAMPLE.",
      "z.example.", "\\001.z.example.", "*.z.example.",        "\\200.z.example."};
  for (std::size_t i = 0; i < ordered.size(); ++i) {
    for (std::size_t j = 0; j < ordered.size(); ++j) {
      const int order = compare_canonical(name(ordered[i]).view(), name(ordered[j]).view());
      EXPECT_EQ(order < 0, i < j) << ordered[i] << " " << ordered[j];
      EXPECT_EQ(order == 0, i == j);
    }
  }
}

TEST(NameTextTest, KeysOrderAsTheComparisonDoes) {
  std::mt19937_64 random(11);
  const auto some_name = [&] {
    WireName wire;
    unsigned used = 0;
    for (auto labels = random() % 4; labels > 0; --labels) {
      const auto length = static_cast<unsigned>(1 + random() % 2);
      wire.bytes[used++] = static_cast<std::byte>(length);
      for (unsigned i = 0; i < length; ++i)
        wire.bytes[used++] = static_cast<std::byte>(random() % 3 == 0 ? 'A' : random() % 3);
    }
    wire.bytes[used++] = std::byte{0};
    wire.length = static_cast<std::uint8_t>(used);
    return wire;
  };
  for (int round = 0; round < 20000; ++round) {
    const auto a = some_name();
    const auto b = some_name();
    CanonicalKey x;
    CanonicalKey y;
    const unsigned x_bytes = canonical_key(a.view(), x);
    const unsigned y_bytes = canonical_key(b.view(), y);
    const auto order = std::lexicographical_compare_three_way(x.begin(), x.begin() + x_bytes,
                                                              y.begin(), y.begin() + y_bytes);
    const int expected = compare_canonical(a.view(), b.view());
    EXPECT_EQ(order < 0, expected < 0);
    EXPECT_EQ(order == 0, expected == 0);
    const bool prefix = x_bytes <= y_bytes && std::equal(x.begin(), x.begin() + x_bytes, y.begin());
    EXPECT_EQ(prefix, is_at_or_below(b.view(), a.view()));
  }
}

TEST(NameTextTest, LongestKeyFits) {
  WireName wire;
  unsigned used = 0;
  for (int i = 0; i < 127; ++i) {
    wire.bytes[used++] = std::byte{1};
    wire.bytes[used++] = std::byte{0};
  }
  wire.bytes[used++] = std::byte{0};
  wire.length = 255;
  CanonicalKey key;
  EXPECT_EQ(canonical_key(wire.view(), key), 127U * 3);
  EXPECT_EQ(label_count(wire.view()), 127U);
}

TEST(NameTextTest, NamesEqualWhateverTheirCase) {
  EXPECT_TRUE(names_equal(name("WWW.example.").view(), name("www.EXAMPLE.").view()));
  EXPECT_FALSE(names_equal(name("ww.example.").view(), name("www.example.").view()));
  EXPECT_TRUE(is_at_or_below(name("a.B.example.").view(), name("b.Example.").view()));
  EXPECT_FALSE(is_at_or_below(name("xb.example.").view(), name("b.example.").view()));
  EXPECT_FALSE(is_at_or_below(name("example.").view(), name("b.example.").view()));
  EXPECT_TRUE(is_at_or_below(name("example.").view(), WireName{}.view()));
}

TEST(NameTextTest, TypesHaveNamesOrNumbers) {
  EXPECT_EQ(type_text(1), "A");
  EXPECT_EQ(type_text(257), "CAA");
  EXPECT_EQ(type_text(65280), "TYPE65280");
}

}  // namespace
}  // namespace pharos::dns
