// The closest encloser of names of up to 127 labels, against looking at every suffix in turn.
#include "pharos/dataplane/match/name_lookup.hh"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>
#include <string>

#include "octets.hh"
#include "world.hh"

namespace pharos::dataplane {
namespace {

using namespace packets;  // NOLINT

std::string path(unsigned labels, char label) {
  std::string name;
  for (unsigned i = 0; i < labels; ++i) name += std::string(1, label) + ".";
  return name;
}

// Names of every depth: "z", "z.z", ... below the zone, some of them with other labels between.
World::Root make_tables() {
  World world;
  std::string text = "$TTL 60\n@ SOA ns h 1 2 3 4 5\n@ NS ns\nns A 192.0.2.1\n";
  text += path(119, 'z') + "example. A 192.0.2.2\n";
  text += path(3, 'y') + path(30, 'z') + "example. A 192.0.2.3\n";
  text += path(60, 'x') + path(2, 'z') + "example. A 192.0.2.4\n";
  world.zone("example.", text);
  return world.build();
}

Encloser slow_encloser(const catalog::View& catalog, const dns::FoldedName& name,
                       const LabelMap& labels) {
  for (unsigned i = 1; i < labels.count; ++i) {
    const unsigned offset = labels.offsets[i];
    if (const auto* node = catalog.find(name.bytes.data() + offset, name.length - offset))
      return {node, offset};
  }
  return {catalog.node(catalog.summary().root), labels.offsets[labels.count]};
}

TEST(EncloserTest, AgreesWithLookingAtEverySuffix) {
  const auto root = make_tables();
  const auto& catalog = root->catalog;
  std::mt19937 engine(5);
  const auto random = [&] { return static_cast<unsigned>(engine()); };
  std::set<unsigned> depths;
  for (int i = 0; i < 20'000; ++i) {
    // Labels that are there, then some that are not.
    std::string text = path(random() % 4 == 0 ? random() % 120 : random() % 3, 'z') + "example.";
    if (random() % 8 == 0) text = "elsewhere.";
    if (random() % 3 == 0) text = path(random() % 62, random() % 2 == 0 ? 'y' : 'x') + text;
    text = path(1 + random() % (random() % 2 == 0 ? 3 : 100), 'n') + text;
    const Octets wire = packets::name(text.substr(0, text.size() - 1));
    if (wire.size() > dns::name_bytes_max) continue;
    dns::FoldedName name{};
    Octets padded = wire;
    padded.resize(wire.size() + 64);
    dns::fold_name(padded.data(), static_cast<unsigned>(wire.size()), name);
    LabelMap labels;
    map_labels(name.bytes.data(), labels);
    const auto expected = slow_encloser(catalog, name, labels);
    const auto found = find_closest_encloser(catalog, name, labels);
    ASSERT_EQ(found.node, expected.node) << text;
    ASSERT_EQ(found.offset, expected.offset) << text;
    depths.insert(found.node->label_count);
  }
  EXPECT_GT(depths.size(), 60U) << "the names do not reach all depths";
}

TEST(EncloserTest, MapsTheLabelsBehindThoseThatAreKnown) {
  const Octets wire = packets::name("a.bb.ccc.example");
  LabelMap whole, part;
  map_labels(wire.data(), whole);
  EXPECT_EQ(whole.count, 4U);
  EXPECT_EQ(whole.offsets[4], wire.size() - 1);
  for (unsigned known = 0; known <= whole.count; ++known) {
    part = {};
    std::copy_n(whole.offsets.begin(), known + 1, part.offsets.begin());
    map_labels(wire.data(), part, known);
    EXPECT_EQ(part.count, whole.count) << known;
    EXPECT_TRUE(std::equal(whole.offsets.begin(), whole.offsets.begin() + 5, part.offsets.begin()))
        << known;
  }
}

}  // namespace
}  // namespace pharos::dataplane
