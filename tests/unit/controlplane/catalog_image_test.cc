// The proof of catalog images: what it refuses, and that whatever it lets pass can be used.
#include <gmock/gmock.h>

#include <random>

#include "zone_fixture.hh"

namespace pharos::controlplane {
namespace {

using catalog::Node;
using catalog::View;
using testing::HasSubstr;

class CatalogImageTest : public ZoneTest {
 protected:
  // A catalog with some of everything.
  TestCatalog everything() {
    const auto& outer =
        zone("example.",
             with_apex("www A 192.0.2.1\nc CNAME www\nd DNAME x.y.\nsub NS ns.sub\nns.sub A "
                       "192.0.2.3\n*.w MX 1 m.w\n"
                       "m.w A 192.0.2.9\na.b.c.e TXT x\nm MX 1 mail.org.\nm MX 2 a.mail.org.\n"));
    const auto& inner = zone("in.sub.example.", with_apex("q AAAA ::1\n"));
    const std::vector<const ZoneData*> zones{&outer, &inner};
    const std::vector<PoolBinding> bindings{{"s.example.", 1, 0},
                                            {"s.example.", 28, 1, {}, catalog::EcsMode::listed}};
    auto image = build_catalog(zones, bindings, 2, 1, TestCatalog::key(), {1, 1});
    EXPECT_TRUE(image);
    return TestCatalog(std::move(*image));
  }

  static void seal(ImageBuffer& image) {
    auto& header = *reinterpret_cast<ImageHeader*>(image.data());
    header.checksum = image_checksum(image);
  }

  static Node& mutable_node(TestCatalog& catalog, const std::string& name) {
    return *const_cast<Node*>(catalog.find(name));
  }

  // What the proof says of an image after it was changed and sealed again.
  static std::string refusal(TestCatalog& catalog) {
    seal(catalog.image());
    const auto proven = View::prove(catalog.image());
    EXPECT_FALSE(proven);
    return proven ? "" : proven.error().text();
  }

  // All that the packet path may do with a proven image.
  static void use(const View& view) {
    std::size_t bytes = catalog::dump(view).size();
    for (const auto& bucket : view.buckets()) {
      for (const auto ref : bucket.refs) {
        if (ref == 0) continue;
        const auto& node = *view.node(ref);
        bytes += view.find(node.name(), node.name_bytes) == &node;
        if (node.covering != 0) bytes += view.node(node.covering)->referral;
      }
    }
    EXPECT_GT(bytes, 0U);
  }
};

TEST_F(CatalogImageTest, TakesWhatTheBuilderMakes) {
  use(everything().view());
}

TEST_F(CatalogImageTest, RefusesEveryTruncation) {
  auto catalog = everything();
  ImageBuffer& image = catalog.image();
  for (std::size_t bytes = 0; bytes < image.size(); bytes += bytes < 512 ? 1 : 61) {
    const ImageBuffer cut(image.begin(), image.begin() + static_cast<std::ptrdiff_t>(bytes));
    EXPECT_FALSE(View::prove(cut)) << bytes;
  }
  ImageBuffer longer = image;
  longer.push_back(std::byte{0});
  EXPECT_FALSE(View::prove(longer));
}

TEST_F(CatalogImageTest, RefusesAnyFlippedBitByItsChecksum) {
  auto catalog = everything();
  ImageBuffer& image = catalog.image();
  for (std::size_t i = 0; i < image.size(); i += 7) {
    image[i] ^= std::byte{4};
    EXPECT_FALSE(View::prove(image)) << i;
    image[i] ^= std::byte{4};
  }
  EXPECT_TRUE(View::prove(image));
}

TEST_F(CatalogImageTest, WhateverPassesCanBeUsed) {
  auto catalog = everything();
  ImageBuffer& image = catalog.image();
  const ImageBuffer whole = image;
  unsigned refused = 0;
  unsigned passed = 0;
  const auto judge = [&] {
    seal(image);
    const auto proven = View::prove(image);
    proven ? ++passed : ++refused;
    if (proven) use(*proven);
    image = whole;
  };
  for (std::size_t i = 0; i < image.size(); ++i) {
    image[i] ^= std::byte{1};
    judge();
    image[i] = std::byte{0xff};
    judge();
  }
  std::mt19937_64 random(3);
  for (int round = 0; round < 5000; ++round) {
    for (auto changes = 1 + random() % 4; changes > 0; --changes) {
      const auto at = 64 + random() % (image.size() - 64);
      image[at] = random() % 2 == 0 ? static_cast<std::byte>(random())
                                    : image[64 + random() % (image.size() - 64)];
    }
    judge();
  }
  EXPECT_GT(refused, passed);
  EXPECT_GT(passed, 0U);  // versions, data, padding: not everything can be known to be wrong
}

TEST_F(CatalogImageTest, SaysWhatIsWrong) {
  struct Case {
    std::string name;
    std::function<void(TestCatalog&)> change;
    std::string expected;
  };
  const auto node = [](const std::string& name, auto change) {
    return [=](TestCatalog& c) { change(mutable_node(c, name)); };
  };
  const auto slots = [](Node& n) {
    return const_cast<catalog::RrsetSlot*>(catalog::slots_of(n).data());
  };
  const std::vector<Case> cases{
      {"zone", node("www.example.", [](Node& n) { n.zone = 9; }), "its zone does not exist"},
      {"other zone", node("www.example.", [](Node& n) { n.zone ^= 1; }),
       "its parent is in another zone"},
      {"cover", node("www.example.", [](Node& n) { n.covering = 1; }),
       "it is covered without a cut"},
      {"uncover", node("sub.example.", [](Node& n) { n.covering = 0; }), "cut"},
      {"no referral", node("sub.example.", [](Node& n) { n.referral = 0; }), "is no sound answer"},
      {"referral", node("www.example.", [](Node& n) { n.referral = 1; }),
       "it refers without a cut"},
      {"wildcard", node("w.example.", [](Node& n) { n.wildcard_child = 0; }),
       "does not know this wildcard"},
      {"no wildcard", node("www.example.", [](Node& n) { n.wildcard_child = 3; }),
       "its wildcard is"},
      {"verdict", node("www.example.", [](Node& n) { n.verdict = 1; }),
       "its verdict is of no rule"},
      {"flags", node("www.example.", [](Node& n) { n.flags = 1U << 9; }), "unknown flags"},
      {"service flag", node("s.example.", [](Node& n) { n.flags = 0; }),
       "the service flag is wrong"},
      {"cname flag", node("c.example.", [](Node& n) { n.flags = 0; }),
       "the flag of an alias is wrong"},
      {"dname flag", node("e.example.", [](Node& n) { n.flags = catalog::node_flag::dname; }),
       "the flag of an alias is wrong"},
      {"case",
       node("www.example.", [](Node& n) { const_cast<std::byte*>(n.name())[1] = std::byte{'W'}; }),
       "is no whole node"},
      {"moved",
       node("www.example.", [](Node& n) { const_cast<std::byte*>(n.name())[1] = std::byte{'v'}; }),
       "out of reach"},
      {"pool", node("s.example.", [&](Node& n) { slots(n)[0].value = 2; }),
       "a pool does not exist"},
      {"order", node("s.example.", [&](Node& n) { slots(n)[0].type = 28; }),
       "slots are out of order"},
      {"kind",
       node("www.example.", [&](Node& n) { slots(n)[0].kind = static_cast<catalog::SlotKind>(2); }),
       "of unknown kind"},
      {"subnets of a pool",
       node("s.example.", [&](Node& n) { slots(n)[1].ecs = static_cast<catalog::EcsMode>(3); }),
       "goes by unknown client subnets"},
      {"subnets of a fixed answer",
       node("www.example.", [&](Node& n) { slots(n)[0].ecs = catalog::EcsMode::ignore; }),
       "a fixed answer goes by client subnets"},
      {"type", node("www.example.", [&](Node& n) { slots(n)[0].type = 28; }), "of another type"},
      {"value", node("www.example.", [&](Node& n) { slots(n)[0].value = 0xfffffff; }),
       "is no sound answer"},
      {"shared",
       [&](TestCatalog& c) {
         slots(mutable_node(c, "www.example."))[0].value =
             slots(mutable_node(c, "m.w.example."))[0].value;
       },
       "overlaps another record"},
      {"overflow",
       [](TestCatalog& c) {
         for (auto& b : c.view().buckets()) const_cast<catalog::Bucket&>(b).overflow = 1;
       },
       "in a row overflow"},
      {"tag",
       [](TestCatalog& c) {
         for (auto& b : c.view().buckets())
           for (auto& t : const_cast<catalog::Bucket&>(b).tags) t ^= t != 0 ? 0x8000 : 0;
       },
       "out of reach"},
      {"root", [](TestCatalog& c) { const_cast<catalog::Summary&>(c.view().summary()).root = 7; },
       "no node of the root name"},
      {"count",
       [](TestCatalog& c) { ++const_cast<catalog::Summary&>(c.view().summary()).node_count; },
       "node count"},
      {"zone apex",
       [](TestCatalog& c) {
         const_cast<catalog::Zone&>(c.view().zones()[0]).apex = c.view().zones()[1].apex;
       },
       "its apex is another's"},
      {"negative",
       [](TestCatalog& c) { const_cast<catalog::Zone&>(c.view().zones()[0]).negative = 0; },
       "is no sound answer"},
  };
  for (const auto& test : cases) {
    auto catalog = everything();
    test.change(catalog);
    EXPECT_THAT(refusal(catalog), HasSubstr(test.expected)) << test.name;
  }
}

TEST_F(CatalogImageTest, RefusesPointersOutOfTheOwner) {
  auto catalog = everything();
  const auto& node = *catalog.find("m.example.");
  const auto* answer = catalog.view().answer(catalog::slots_of(node)[0].value);
  auto* body = const_cast<std::byte*>(answer->body());
  store(body, Be16(dns::pointer_to(13)));  // within the label
  const_cast<Answer*>(answer)->checksum = answer_checksum({body, answer->body_bytes});
  EXPECT_THAT(refusal(catalog), HasSubstr("another name's"));
}

TEST_F(CatalogImageTest, DumpsTheSameTextForTheSameImage) {
  const auto text = catalog::dump(everything().view());
  EXPECT_EQ(text, catalog::dump(everything().view()));
  EXPECT_THAT(text, HasSubstr("zone 0 example. serial=7 negative_ttl=60 names="));
  EXPECT_THAT(text, HasSubstr(" c.example. zone=0 cname\n  CNAME"));
  EXPECT_THAT(text, HasSubstr("    answer www.example. 300 A 192.0.2.1\n"));
  EXPECT_THAT(text, HasSubstr("    authority sub.example. 300 NS ns.sub.example.\n"));
  EXPECT_THAT(text, HasSubstr("  A pool 0\n  AAAA pool 1 ecs=listed\n"));
}

}  // namespace
}  // namespace pharos::controlplane
