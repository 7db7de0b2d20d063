// Walks and closest enclosers of names of up to 127 labels, against one byte, and one suffix, at a time.
#include "pharos/dataplane/dns/request.hh"
#include "pharos/dataplane/match/name_lookup.hh"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>
#include <string>
#include <vector>

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
      return {node, offset, i};
  }
  return {catalog.node(catalog.summary().root), labels.offsets[labels.count], labels.count};
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
    ASSERT_EQ(found.label, expected.label) << text;
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

// The same byte by byte.
unsigned slow_name_bytes(const Octets& bytes, unsigned available, std::vector<unsigned>& offsets) {
  for (unsigned at = 0; at < available && at < dns::name_bytes_max;) {
    const auto octet = std::to_integer<unsigned>(bytes[at]);
    if (octet > dns::label_bytes_max) return 0;
    offsets.push_back(at);
    at += 1 + octet;
    if (octet == 0) return at;
  }
  return 0;
}

TEST(NameWalkTest, AgreesWithOneByteAtATime) {
  std::mt19937 engine(6);
  const auto random = [&] { return static_cast<unsigned>(engine()); };
  unsigned whole = 0;
  for (int i = 0; i < 50'000; ++i) {
    Octets bytes(300);
    const unsigned length_max = 1 + random() % (random() % 4 == 0 ? 70 : 10);
    for (auto& byte : bytes) byte = static_cast<std::byte>(1 + random() % length_max);
    // A root octet somewhere, more often than not where a label ends.
    for (int zeros = 0; zeros < 6; ++zeros) bytes[random() % bytes.size()] = std::byte{0};
    const unsigned available = random() % 290;
    std::vector<unsigned> offsets;
    const unsigned expected = slow_name_bytes(bytes, available, offsets);
    LabelMap labels;
    ASSERT_EQ(name_bytes_at(bytes.data(), available, labels), expected) << hex_text(bytes);
    if (expected == 0) continue;
    ++whole;
    ASSERT_EQ(labels.count + 1, offsets.size());
    ASSERT_TRUE(std::equal(offsets.begin(), offsets.end(), labels.offsets.begin()));
  }
  EXPECT_GT(whole, 2000U);
}

}  // namespace
}  // namespace pharos::dataplane
