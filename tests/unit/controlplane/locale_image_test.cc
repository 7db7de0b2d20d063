// The locale map, built and looked up, against a slow and obvious model.
#include "pharos/shared/locale_image.hh"

#include "pharos/controlplane/image/locale_builder.hh"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace pharos {
namespace {

using controlplane::build_locale_image;
using controlplane::LocalePrefix;
using controlplane::LocaleTable;
using locale_map::Locale;
using locale_map::View;

IpPrefix prefix(const char* text) {
  return IpPrefix::parse(text).value();
}

struct Map {
  ImageBuffer bytes;
  View view;
};
Map build(const LocaleTable& table) {
  auto bytes = build_locale_image(table, {1, 1});
  EXPECT_TRUE(bytes) << bytes.error().text();
  auto view = View::prove(*bytes);
  EXPECT_TRUE(view) << view.error().text();
  return {std::move(*bytes), *view};
}

// The longest prefix that contains the address, found by looking at all of them.
std::uint16_t model_locale(const LocaleTable& table, const IpAddress& address) {
  int longest = -1;
  std::uint16_t locale = 0;
  for (const auto& [prefix, index] : table.prefixes) {
    if (prefix.length >= longest && prefix.contains(address)) {
      longest = prefix.length;
      locale = index;
    }
  }
  return locale;
}

// The length of the largest block around the address in which the model has one locale: a block has one
// iff all prefixes inside of it, and the first address of each piece that they cut, agree. It is enough
// to look where the locale may change: at the ends of the prefixes inside of the block.
std::uint8_t model_scope(const LocaleTable& table, const IpAddress& address) {
  const std::uint16_t locale = model_locale(table, address);
  const unsigned width = address_bits(address.family());
  const auto is_uniform = [&](const IpPrefix& block) {
    if (model_locale(table, block.address) != locale) return false;
    for (const auto& [inner, index] : table.prefixes) {
      if (inner.length < block.length || !block.contains(inner.address)) continue;
      if (model_locale(table, inner.address) != locale) return false;
      IpAddress behind = inner.address;  // the first address after it
      for (unsigned bit = inner.length; bit > block.length; --bit) {
        const unsigned at = 128 - width + bit - 1;
        behind.bytes[at / 8] ^= static_cast<std::uint8_t>(0x80U >> at % 8);
        if ((behind.bytes[at / 8] & (0x80U >> at % 8)) == 0) continue;
        if (model_locale(table, behind) != locale) return false;
        break;
      }
    }
    return true;
  };
  unsigned length = width;
  while (length > 0 &&
         is_uniform(IpPrefix{address, static_cast<std::uint8_t>(length - 1)}.masked())) {
    --length;
  }
  return static_cast<std::uint8_t>(length);
}

class Random {
 public:
  explicit Random(unsigned seed) : engine_(seed) {}
  std::uint64_t below(std::uint64_t limit) {
    return std::uniform_int_distribution<std::uint64_t>(0, limit - 1)(engine_);
  }
  // An address near others: most bits are zero or equal, so that prefixes nest.
  IpAddress address(Family family, unsigned busy_bits) {
    IpAddress a = family == Family::ipv4 ? IpAddress::from_ipv4(0x0a000000)
                                         : IpAddress{{0x20, 0x01, 0x0d, 0xb8}};
    for (unsigned i = 0; i < busy_bits; ++i) {
      const unsigned bit =
          static_cast<unsigned>(below(address_bits(family))) + 128 - address_bits(family);
      a.bytes[bit / 8] ^= static_cast<std::uint8_t>(0x80U >> bit % 8);
    }
    return a;
  }
  LocaleTable table(std::size_t prefix_count, std::uint16_t locale_count) {
    LocaleTable table;
    for (unsigned i = 0; i < locale_count; ++i)
      table.names.push_back("locale-" + std::to_string(i));
    for (std::size_t i = 0; i < prefix_count; ++i) {
      const Family family = below(2) == 0 ? Family::ipv4 : Family::ipv6;
      const auto length = static_cast<std::uint8_t>(below(address_bits(family) + 1));
      IpPrefix p = IpPrefix{address(family, static_cast<unsigned>(below(6))), length};
      table.prefixes.push_back({p.masked(), static_cast<std::uint16_t>(below(locale_count))});
      if (table.prefixes.back().prefix.family() != family) table.prefixes.pop_back();
    }
    std::ranges::sort(table.prefixes);
    const auto same = std::ranges::unique(table.prefixes, {}, &LocalePrefix::prefix);
    table.prefixes.erase(same.begin(), same.end());
    return table;
  }

 private:
  std::mt19937 engine_;
};

TEST(LocaleMapTest, AnswersTheDefaultLocaleWithScopeZeroWhereNothingIsKnown) {
  const auto map = build({{"default"}, {}});
  EXPECT_EQ(map.view.find(IpAddress::parse("198.51.100.7").value()), (Locale{0, 0}));
  EXPECT_EQ(map.view.find(IpAddress::parse("2001:db8::7").value()), (Locale{0, 0}));
  EXPECT_EQ(map.view.names(), std::vector<std::string>{"default"});
  EXPECT_EQ(map.view.summary().prefix_count, 0U);
}

TEST(LocaleMapTest, TakesTheLongestPrefixAndTellsTheScopeOfWhatSurroundsIt) {
  const auto map = build({{"default", "wide", "narrow"},
                          {{prefix("192.0.2.0/24"), 1},
                           {prefix("192.0.2.128/32"), 2},
                           {prefix("2001:db8::/32"), 1},
                           {prefix("2001:db8::1/128"), 2}}});
  const auto find = [&](const char* text) { return map.view.find(IpAddress::parse(text).value()); };
  EXPECT_EQ(find("192.0.2.128"), (Locale{2, 32}));
  EXPECT_EQ(find("192.0.2.129"), (Locale{1, 32}));
  EXPECT_EQ(find("192.0.2.130"), (Locale{1, 31}));
  EXPECT_EQ(find("192.0.2.127"), (Locale{1, 25}));
  EXPECT_EQ(find("192.0.3.0"), (Locale{0, 24}));
  EXPECT_EQ(find("8.8.8.8"), (Locale{0, 1}));
  EXPECT_EQ(find("2001:db8::1"), (Locale{2, 128}));
  EXPECT_EQ(find("2001:db8::"), (Locale{1, 128}));
  EXPECT_EQ(find("2001:db8::2"), (Locale{1, 127}));
  EXPECT_EQ(find("2001:db8:ffff::"), (Locale{1, 33}));
  EXPECT_EQ(find("8000::"), (Locale{0, 1}));
}

TEST(LocaleMapTest, MergesEqualNeighboursIntoOneBlock) {
  const auto map = build(
      {{"default", "one"},
       {{prefix("10.0.0.0/25"), 1}, {prefix("10.0.0.128/25"), 1}, {prefix("10.0.1.0/24"), 1}}});
  EXPECT_EQ(map.view.find_ipv4(0x0a000001), (Locale{1, 23}));
  EXPECT_EQ(map.view.find_ipv4(0x0a0001ff), (Locale{1, 23}));
  EXPECT_EQ(map.view.find_ipv4(0x0a000200), (Locale{0, 23}));
}

TEST(LocaleMapTest, APrefixOfTheDefaultLocaleCutsAHoleIntoAWiderOne) {
  const auto map =
      build({{"default", "one"}, {{prefix("10.0.0.0/8"), 1}, {prefix("10.128.0.0/9"), 0}}});
  EXPECT_EQ(map.view.find_ipv4(0x0a000001), (Locale{1, 9}));
  EXPECT_EQ(map.view.find_ipv4(0x0a800001), (Locale{0, 9}));
}

TEST(LocaleMapTest, AMappedAddressIsIpv4WhateverTheIpv6SideHolds) {
  const auto map =
      build({{"default", "six", "four"}, {{prefix("::/0"), 1}, {prefix("0.0.0.0/0"), 2}}});
  EXPECT_EQ(map.view.find(IpAddress::parse("192.0.2.1").value()), (Locale{2, 0}));
  EXPECT_EQ(map.view.find(IpAddress::parse("::ffff:192.0.2.1").value()), (Locale{2, 0}));
  EXPECT_EQ(map.view.find(IpAddress::parse("::fffe:192.0.2.1").value()), (Locale{1, 0}));
}

TEST(LocaleMapTest, EveryAddressOfASmallSpaceHasTheModelsLocaleAndScope) {
  Random random(1);
  for (int round = 0; round < 8; ++round) {
    LocaleTable table{{"a", "b", "c"}, {}};
    for (int i = 0; i < 12; ++i) {  // all in 10.1.2.0/24, and some around it
      const auto length = static_cast<std::uint8_t>(20 + random.below(13));
      const auto address =
          IpAddress::from_ipv4(0x0a010200 + static_cast<std::uint32_t>(random.below(256)));
      table.prefixes.push_back(
          {IpPrefix{address, length}.masked(), static_cast<std::uint16_t>(random.below(3))});
    }
    std::ranges::sort(table.prefixes);
    const auto same = std::ranges::unique(table.prefixes, {}, &LocalePrefix::prefix);
    table.prefixes.erase(same.begin(), same.end());
    const auto map = build(table);
    for (std::uint32_t last = 0; last < 256; ++last) {
      const auto address = IpAddress::from_ipv4(0x0a010200 + last);
      const Locale found = map.view.find(address);
      ASSERT_EQ(found.index, model_locale(table, address)) << address.text() << " round " << round;
      ASSERT_EQ(found.scope_length, model_scope(table, address))
          << address.text() << " round " << round;
    }
  }
}

TEST(LocaleMapTest, RandomPrefixSetsOfBothFamiliesAgreeWithTheModel) {
  Random random(2);
  for (int round = 0; round < 25; ++round) {
    const auto table =
        random.table(1 + random.below(60), static_cast<std::uint16_t>(1 + random.below(5)));
    const auto map = build(table);
    for (int probe = 0; probe < 60; ++probe) {
      // Half of the probes hit the edge of a prefix.
      IpAddress address = random.address(probe % 2 == 0 ? Family::ipv4 : Family::ipv6, 4);
      if (probe % 4 < 2 && !table.prefixes.empty()) {
        address = table.prefixes[random.below(table.prefixes.size())].prefix.address;
        if (probe % 4 == 1) address.bytes[15] ^= 1;
      }
      const Locale found = map.view.find(address);
      ASSERT_EQ(found.index, model_locale(table, address)) << address.text() << " round " << round;
      ASSERT_EQ(found.scope_length, model_scope(table, address))
          << address.text() << " round " << round;
    }
  }
}

TEST(LocaleMapTest, TheOrderOfPrefixesDoesNotMatterAndTheLastOfEqualOnesCounts) {
  Random random(3);
  LocaleTable table = random.table(200, 7);
  const auto sorted = build_locale_image(table, {1, 1}).value();
  std::ranges::reverse(table.prefixes);
  EXPECT_EQ(build_locale_image(table, {1, 1}).value(), sorted);
  const auto map = build({{"a", "b"}, {{prefix("10.0.0.0/8"), 0}, {prefix("10.0.0.0/8"), 1}}});
  EXPECT_EQ(map.view.find_ipv4(0x0a000000).index, 1);
}

TEST(LocaleMapTest, TheContentIdNamesTheLocalesInTheirOrder) {
  const auto id = [](std::vector<std::string> names) {
    const auto bytes = build_locale_image({names, {}}, {1, 1}).value();
    EXPECT_EQ(controlplane::locales_id_of(names), read_image_header(bytes)->content_id);
    return controlplane::locales_id_of(names);
  };
  EXPECT_NE(id({"default", "a", "b"}), id({"default", "b", "a"}));
  EXPECT_NE(id({"default", "ab"}), id({"default", "a", "b"}));
  EXPECT_EQ(id({"default", "a"}), id({"default", "a"}));
}

TEST(LocaleMapTest, RefusesWhatTheFormatCannotHold) {
  const auto code = [](const LocaleTable& table) {
    const auto result = build_locale_image(table, {1, 1});
    return result ? std::string("built") : std::string(name_of(result.error().code));
  };
  EXPECT_EQ(code({{}, {}}), "exhausted");
  EXPECT_EQ(code({{"default", ""}, {}}), "invalid");
  EXPECT_EQ(code({{"default", std::string(256, 'x')}, {}}), "invalid");
  EXPECT_EQ(code({{"default", std::string(255, 'x')}, {}}), "built");
  EXPECT_EQ(code({{"default"}, {{prefix("10.0.0.0/8"), 1}}}), "invalid");
  EXPECT_EQ(code({{"default"}, {{{IpAddress::from_ipv4(0x0a000001), 8}, 0}}}), "invalid");
  EXPECT_EQ(code({{"default"}, {{{IpAddress::from_ipv4(0x0a000000), 33}, 0}}}), "invalid");
  LocaleTable many;
  for (unsigned i = 0; i < locale_map::locales_max; ++i) many.names.push_back(std::to_string(i));
  EXPECT_EQ(code(many), "built");
  many.names.push_back("one more");
  EXPECT_EQ(code(many), "exhausted");
}

TEST(LocaleMapTest, TheDumpNamesEveryBlockOnce) {
  const auto map =
      build({{"default", "one"}, {{prefix("128.0.0.0/1"), 1}, {prefix("8000::/2"), 1}}});
  EXPECT_EQ(locale_map::dump(map.view),
            "locales 2, from 2 prefixes\n"
            "locale 0 default\n"
            "locale 1 one\n"
            "0.0.0.0/1 default\n"
            "128.0.0.0/1 one\n"
            "::/1 default\n"
            "8000::/2 one\n"
            "c000::/2 default\n");
}

}  // namespace
}  // namespace pharos
