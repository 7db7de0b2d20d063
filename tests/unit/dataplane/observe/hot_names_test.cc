#include "pharos/dataplane/observe/hot_names.hh"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "packets/octets.hh"

namespace pharos::dataplane {
namespace {

constexpr Instant start{1'000'000'000};

void add(HotNames& hot, const std::string& name, std::uint32_t weight = 1, bool answered = true,
         std::uint8_t rcode = 0) {
  const NameSampleHead head{.weight = weight, .rcode = rcode, .answered = answered};
  packets::Octets record(sizeof head);
  store(record.data(), head);
  packets::put(record, packets::name(name));
  hot.add(record);
}

TEST(HotNamesTest, CountsNamesWhateverTheirCaseAndWhatBecameOfThem) {
  HotNames hot(start);
  for (int i = 0; i < 6; ++i) add(hot, i % 2 == 0 ? "WWW.example" : "www.EXAMPLE", 10);
  add(hot, "gone.example", 20, true, 3);
  add(hot, "gone.example", 10, false);
  hot.advance(start + seconds(1));
  const auto top = hot.top(10);
  ASSERT_EQ(top.size(), 2U);
  EXPECT_EQ(top[0].name, "www.example.");
  EXPECT_NEAR(top[0].share, 60.0 / 90, 1e-9);
  EXPECT_EQ(top[0].uncertain_per_second, 0);
  EXPECT_NEAR(top[1].nxdomain_share, 2.0 / 3, 1e-9);
  EXPECT_NEAR(top[1].dropped_share, 1.0 / 3, 1e-9);
  EXPECT_NEAR(hot.share_of_top(1), 60.0 / 90, 1e-9);
  EXPECT_EQ(hot.samples(), 8U);
  EXPECT_EQ(hot.top(1).size(), 1U);
}

TEST(HotNamesTest, ASteadyRateIsShownFromTheFirstSecondsOn) {
  HotNames hot(start);
  Instant now = start;
  for (int second = 1; second <= 60; ++second) {
    for (int i = 0; i < 100; ++i) add(hot, "www.example", 7);
    now = now + seconds(1);
    hot.advance(now);
    // A second's queries come at its beginning here and fade until its end: five percent.
    EXPECT_NEAR(hot.top(1).at(0).per_second, 700, 40) << second;
    EXPECT_NEAR(hot.per_second(), 700, 40) << second;
  }
  hot.advance(now + seconds(100));
  EXPECT_LT(hot.top(1).at(0).per_second, 1);
}

TEST(HotNamesTest, PassesOverWhatIsNoSample) {
  HotNames hot(start);
  hot.add({});
  hot.add(packets::Octets(sizeof(NameSampleHead)));
  auto record = packets::Octets(sizeof(NameSampleHead));
  packets::put(record, packets::hex("3f61"));
  hot.add(record);
  EXPECT_TRUE(hot.top(10).empty());
  EXPECT_EQ(hot.samples(), 0U);
}

// The guarantees of Space-Saving, against exact counts.
TEST(HotNamesTest, AmongManyNamesTheHotOnesAreFoundAndNoErrorIsLargerThanItSays) {
  constexpr unsigned seed = 7, capacity = 64, samples = 50'000;
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  std::vector<double> zipf;
  for (int rank = 1; rank <= 5000; ++rank) zipf.push_back(1.0 / rank);
  std::discrete_distribution<int> draw(zipf.begin(), zipf.end());
  HotNames hot(start, capacity);
  std::map<std::string, double> exact;
  for (unsigned i = 0; i < samples; ++i) {
    const auto name = "n" + std::to_string(draw(random)) + ".example";
    add(hot, name);
    exact[name + "."] += 1;
  }
  const auto top = hot.top(capacity);
  ASSERT_EQ(top.size(), capacity);
  const double unit = top[0].share * samples / top[0].per_second;  // from rates to counts
  std::map<std::string, bool> found;
  for (const auto& name : top) {
    found[name.name] = true;
    const double count = name.per_second * unit, uncertain = name.uncertain_per_second * unit;
    EXPECT_GE(count + 1e-6, exact[name.name]) << name.name;
    EXPECT_LE(count - uncertain - 1e-6, exact[name.name]) << name.name;
  }
  for (const auto& [name, count] : exact) {
    if (count > static_cast<double>(samples) / capacity) {
      EXPECT_TRUE(found[name]) << name;
    }
  }
  for (int rank = 0; rank < 3; ++rank)
    EXPECT_EQ(top[static_cast<std::size_t>(rank)].name, "n" + std::to_string(rank) + ".example.");
}

TEST(HotNamesTest, AFloodOfRandomNamesStandsBelowOnesThatAreCertain) {
  HotNames hot(start, 32);
  for (int i = 0; i < 20'000; ++i) {
    add(hot, "x" + std::to_string(i) + ".victim.example", 1, true, 3);
    if (i % 20 == 0) add(hot, "www.example");
  }
  EXPECT_EQ(hot.top(1).at(0).name, "www.example.");
  EXPECT_LT(hot.share_of_top(10), 0.1) << "the flood is nobody's share";
  EXPECT_EQ(hot.top(1000).size(), 32U) << "and takes no memory";
}

}  // namespace
}  // namespace pharos::dataplane
