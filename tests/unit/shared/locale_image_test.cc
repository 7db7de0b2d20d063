// The proof of locale map images, on images put together by hand: what breaks a rule of the page is
// refused, and whatever is not refused can be walked and dumped without harm.
#include "pharos/shared/locale_image.hh"

#include <gtest/gtest.h>

#include <functional>
#include <random>

namespace pharos::locale_map {
namespace {

static_assert(direct_bits_ipv4 == 18 && direct_bits_ipv6 == 16,
              "the addresses below follow from these");
constexpr std::uint32_t direct_of_node0 = 0x0a000000 >> (32 - direct_bits_ipv4);
constexpr std::uint32_t direct_of_node1 = 0x2001;

// An image in parts: 10.0.0.0/18 is node 0, 2001::/16 node 1, and 10.0.1.0/24, chunk 1 of node 0, node 2.
struct Parts {
  Summary summary{2, 3};
  std::vector<std::uint32_t> direct_ipv4 = std::vector<std::uint32_t>(1U << direct_bits_ipv4);
  std::vector<std::uint32_t> direct_ipv6 = std::vector<std::uint32_t>(1U << direct_bits_ipv6);
  std::vector<Node> nodes;
  std::vector<std::uint32_t> leaves;
  std::vector<std::uint8_t> names = {1, 'a', 1, 'b'};

  Parts() {
    fill_around(direct_ipv4, direct_of_node0, direct_bits_ipv4, 0);
    fill_around(direct_ipv6, direct_of_node1, direct_bits_ipv6, 1);
    // Node 0: chunk 1 is a child, 3 and 4 are blocks of their own with one locale, 6 and up grow.
    nodes.push_back({0b10, 0b10'1101, 2, 0});
    leaves = {leaf_of({0, 24}), leaf_of({1, 24}), leaf_of({0, 24}), leaf_of({1, 24})};
    add_growing_blocks(nodes[0], 6, 24);
    nodes.push_back({0, 1, 0, static_cast<std::uint32_t>(leaves.size())});
    leaves.push_back(leaf_of({1, 16}));
    nodes.push_back({0, 0x0000000100000001, 0, static_cast<std::uint32_t>(leaves.size())});
    leaves.push_back(leaf_of({0, 25}));
    leaves.push_back(leaf_of({1, 25}));
  }

  // Leaves from `chunk` to the end of a node whose chunks have prefixes of `length` bits, each as large
  // as its alignment allows.
  void add_growing_blocks(Node& node, unsigned chunk, unsigned length) {
    while (chunk < 64) {
      const auto bits = static_cast<unsigned>(std::countr_zero(chunk));
      node.leaf_starts |= std::uint64_t{1} << chunk;
      leaves.push_back(leaf_of(
          {static_cast<std::uint16_t>(bits % 2), static_cast<std::uint8_t>(length - bits)}));
      chunk += 1U << bits;
    }
  }
  // Every entry but `hole` is in a leaf: the blocks that a walk to `hole` passes by.
  static void fill_around(std::vector<std::uint32_t>& direct, std::uint32_t hole,
                          unsigned direct_bits, std::uint32_t node) {
    for (unsigned length = 1; length <= direct_bits; ++length) {
      const unsigned behind = direct_bits - length;
      const std::uint32_t first = (hole >> behind ^ 1) << behind;
      std::fill_n(direct.begin() + first, 1U << behind,
                  leaf_of({0, static_cast<std::uint8_t>(length)}));
    }
    direct[hole] = node;
  }

  [[nodiscard]] ImageBuffer image() const {
    const auto content = [](Section id, auto elements) {
      return SectionContent{static_cast<std::uint32_t>(id), sizeof(elements[0]),
                            std::as_bytes(elements)};
    };
    return assemble_image(ImageKind::locale_map, {1, 1}, 5,
                          std::array{content(Section::summary, std::span(&summary, 1)),
                                     content(Section::direct_ipv4, std::span(direct_ipv4)),
                                     content(Section::direct_ipv6, std::span(direct_ipv6)),
                                     content(Section::nodes, std::span(nodes)),
                                     content(Section::leaves, std::span(leaves)),
                                     content(Section::names, std::span(names))});
  }
};

// The error of an image after a change; empty where it is proven.
std::string error_after(const std::function<void(Parts&)>& change) {
  Parts parts;
  change(parts);
  const auto image = parts.image();
  const auto view = View::prove(image);
  return view ? std::string{} : view.error().text();
}

void expect_refused(const char* words, const std::function<void(Parts&)>& change) {
  const auto error = error_after(change);
  EXPECT_NE(error.find(words), std::string::npos) << "wanted: " << words << "\ngot: " << error;
}

TEST(LocaleProofTest, TheImageByHandIsProvenAndFound) {
  const auto image = Parts().image();
  const auto view = View::prove(image);
  ASSERT_TRUE(view) << view.error().text();
  EXPECT_EQ(view->find_ipv4(0x0a000001), (Locale{0, 24}));
  EXPECT_EQ(view->find_ipv4(0x0a000101), (Locale{0, 25}));
  EXPECT_EQ(view->find_ipv4(0x0a000181), (Locale{1, 25}));
  EXPECT_EQ(view->find_ipv4(0x0a000201), (Locale{1, 24}));
  EXPECT_EQ(view->find_ipv4(0x0aff0000), (Locale{0, 9}));
  EXPECT_EQ(view->find_ipv6(0x2001000000000000, 1), (Locale{1, 16}));
  EXPECT_EQ(view->names(), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(view->locale_count(), 2U);
}

TEST(LocaleProofTest, WalksEndBecauseNodesStandInTheOrderOfTheirParents) {
  expect_refused("node 0 has children out of turn", [](Parts& p) { p.nodes[0].child_base = 0; });
  expect_refused("node 0 has children out of turn", [](Parts& p) { p.nodes[0].child_base = 1; });
  expect_refused("node 0 has children out of turn", [](Parts& p) { p.nodes[0].child_base = 3; });
  expect_refused("node 0 has children out of turn",
                 [](Parts& p) { p.nodes[0].child_base = 0xffffffff; });
  expect_refused("section direct_ipv6: an entry names a node out of turn",
                 [](Parts& p) { p.direct_ipv6[direct_of_node1] = 0; });
  expect_refused("section direct_ipv6: an entry names a node out of turn",
                 [](Parts& p) { p.direct_ipv6[direct_of_node1] = 2; });
  expect_refused("section direct_ipv4: an entry names a node out of turn",
                 [](Parts& p) { p.direct_ipv4[direct_of_node0] = 0x7fffffff; });
  expect_refused("node 3 has no parent", [](Parts& p) { p.nodes.push_back(p.nodes[1]); });
}

TEST(LocaleProofTest, NoWalkIsLongerThanItsAddress) {
  // A chain of nodes, each the child at chunk 0 of the one before it.
  const auto chain = [](unsigned length) {
    return [length](Parts& p) {
      p.nodes[2] = {1, 0, 0, 0};
      for (unsigned i = 0; i < length; ++i) p.nodes.push_back({1, 0, 0, 0});
      p.nodes.back() = {0, 1, 0, static_cast<std::uint32_t>(p.leaves.size())};
      for (std::size_t i = 2; i + 1 < p.nodes.size(); ++i) {
        p.nodes[i].child_base = static_cast<std::uint32_t>(i + 1);
        p.nodes[i].leaf_base = static_cast<std::uint32_t>(p.leaves.size());
        p.add_growing_blocks(p.nodes[i], 1,
                             static_cast<unsigned>(direct_bits_ipv4 + chunk_bits * i));
      }
      p.nodes.back().leaf_base = static_cast<std::uint32_t>(p.leaves.size());
      p.leaves.push_back(
          leaf_of({1, static_cast<std::uint8_t>(direct_bits_ipv4 + chunk_bits * (length + 1))}));
    };
  };
  EXPECT_EQ(error_after(chain(1)), "");
  expect_refused("behind the end of the address", chain(2));
  expect_refused("behind the end of the address", chain(40));
}

TEST(LocaleProofTest, EveryChunkHasALeafInRange) {
  expect_refused("node 0 has a chunk without a leaf",
                 [](Parts& p) { p.nodes[0].leaf_starts &= ~std::uint64_t{1}; });
  expect_refused("node 1 has leaves out of range", [](Parts& p) {
    p.nodes[1].leaf_base = static_cast<std::uint32_t>(p.leaves.size());
  });
  expect_refused("node 1 has leaves out of range",
                 [](Parts& p) { p.nodes[1].leaf_base = 0xffffffff; });
  expect_refused("node 0 has a chunk that is both child and leaf",
                 [](Parts& p) { p.nodes[0].leaf_starts |= 2; });
  expect_refused("node 0 has leaves out of range", [](Parts& p) { p.leaves.clear(); });
}

TEST(LocaleProofTest, LeavesNameLocalesThatExist) {
  expect_refused("section leaves: an element is no leaf of a locale",
                 [](Parts& p) { p.leaves[0] = leaf_of({2, 24}); });
  expect_refused("section leaves: an element is no leaf of a locale",
                 [](Parts& p) { p.leaves[0] &= ~leaf_bit; });
  expect_refused("section leaves: an element is no leaf of a locale",
                 [](Parts& p) { p.leaves[0] |= 1U << 24; });
  expect_refused("section direct_ipv4: an entry is no leaf",
                 [](Parts& p) { p.direct_ipv4[0] = leaf_of({2, 8}); });
  expect_refused("the number of locales", [](Parts& p) { p.summary.locale_count = 0; });
  expect_refused("the number of locales",
                 [](Parts& p) { p.summary.locale_count = locales_max + 1; });
}

TEST(LocaleProofTest, ScopeLengthsFitTheBlocksTheyStandFor) {
  expect_refused("a scope length that does not fit",
                 [](Parts& p) { p.leaves[0] = leaf_of({0, 23}); });
  expect_refused("a scope length that does not fit",
                 [](Parts& p) { p.leaves[0] = leaf_of({0, 25}); });
  expect_refused("a scope length that does not fit",
                 [](Parts& p) { p.leaves[0] = leaf_of({0, 255}); });
  expect_refused("a scope length that does not fit",
                 [](Parts& p) { p.nodes[2].leaf_starts = 0x0000000080000001; });
  expect_refused("a scope length does not fit",
                 [](Parts& p) { p.direct_ipv4[1U << (direct_bits_ipv4 - 1)] = leaf_of({0, 2}); });
  expect_refused("a scope length does not fit",
                 [](Parts& p) { p.direct_ipv4[1U << (direct_bits_ipv4 - 1)] = leaf_of({1, 1}); });
  expect_refused("a scope length does not fit",
                 [](Parts& p) { p.direct_ipv4[0] = leaf_of({0, direct_bits_ipv4 + 1}); });
}

TEST(LocaleProofTest, SectionsHaveTheirSizes) {
  expect_refused("the number of entries is not 2^18", [](Parts& p) { p.direct_ipv4.pop_back(); });
  expect_refused("the number of entries is not 2^16", [](Parts& p) { p.direct_ipv6.pop_back(); });
  expect_refused("names", [](Parts& p) { p.names.pop_back(); });
  expect_refused("names", [](Parts& p) { p.names.insert(p.names.end(), {1, 'c'}); });
  expect_refused("names", [](Parts& p) { p.names = {3, 'a', 1, 'b'}; });
  expect_refused("names", [](Parts& p) { p.names = {0, 3, 'a', 1, 'b'}; });
  expect_refused("names", [](Parts& p) { p.names.clear(); });
}

TEST(LocaleProofTest, EveryTruncationIsRefused) {
  const auto image = Parts().image();
  for (std::size_t size = 0; size < image.size(); size += size < 512 ? 1 : 99991) {
    const ImageBuffer cut(image.begin(), image.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_FALSE(View::prove(cut)) << size;
  }
}

TEST(LocaleProofTest, WhateverIsProvenCanBeWalkedAndDumped) {
  std::mt19937 random(9);
  unsigned proven = 0;
  unsigned refused = 0;
  for (int round = 0; round < 60; ++round) {
    Parts parts;
    for (auto changes = random() % 2; changes < 2; ++changes) {
      auto& node = parts.nodes[random() % parts.nodes.size()];
      auto& leaf = parts.leaves[random() % parts.leaves.size()];
      switch (random() % 8) {
        case 0:
          node.children ^= std::uint64_t{1} << random() % 64;
          break;
        case 1:
          node.leaf_starts ^= std::uint64_t{1} << random() % 64;
          break;
        case 2:
          node.child_base = static_cast<std::uint32_t>(random() % 5);
          break;
        case 3:
          node.leaf_base = static_cast<std::uint32_t>(random() % 12);
          break;
        case 4:
          leaf = leaf_of({static_cast<std::uint16_t>(random() % 2), locale_of(leaf).scope_length});
          break;
        case 5:
          leaf = leaf_of({locale_of(leaf).index, static_cast<std::uint8_t>(16 + random() % 12)});
          break;
        case 6:
          parts.leaves.push_back(leaf);
          break;
        default:
          parts.nodes.push_back(node);
          break;
      }
    }
    const auto image = parts.image();
    const auto view = View::prove(image);
    if (!view) {
      ++refused;
      continue;
    }
    ++proven;
    EXPECT_LT(dump(*view).size(), 100'000U);
    for (std::uint32_t low = 0; low < 0x4000; low += 0x20) {
      EXPECT_LT(view->find_ipv4(0x0a000000 | low).index, 2);
      EXPECT_LE(view->find_ipv4(0x0a000000 | low).scope_length, 32);
    }
  }
  EXPECT_GT(proven, 3U);
  EXPECT_GT(refused, 20U);
}

}  // namespace
}  // namespace pharos::locale_map
