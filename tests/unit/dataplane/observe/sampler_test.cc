#include "pharos/dataplane/observe/sampler.hh"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <vector>

namespace pharos::dataplane {
namespace {

TEST(SamplerTest, OneOfOneIsEveryQuery) {
  Sampler sampler(1);
  std::vector<unsigned> taken;
  sampler.pass(5, 1, [&](unsigned index) { taken.push_back(index); });
  EXPECT_EQ(taken, (std::vector<unsigned>{0, 1, 2, 3, 4}));
  sampler.pass(0, 1, [&](unsigned) { ADD_FAILURE() << "of no queries"; });
}

TEST(SamplerTest, TakesAsManyAsItSaysFromEveryPlaceInABurst) {
  constexpr std::uint64_t queries = 4'000'000;
  for (const unsigned every : {2U, 10U, 97U, 1000U}) {
    Sampler sampler(3);
    std::uint64_t taken = 0;
    std::vector<std::uint64_t> places(32, 0);
    for (std::uint64_t burst = 0; burst < queries / 32; ++burst) {
      unsigned last = 0;
      sampler.pass(32, every, [&](unsigned index) {
        ASSERT_LT(index, 32U);
        ASSERT_GE(index, last);
        last = index;
        ++taken;
        ++places[index];
      });
    }
    // The gaps are even over 2(every - 1) + 1 values: their variance is about every^2 / 3.
    const auto expected = static_cast<double>(queries) / every;
    EXPECT_NEAR(static_cast<double>(taken), expected, 5 * std::sqrt(expected / 3) + 1) << every;
    const double of_place = expected / 32;
    for (const auto count : places)
      EXPECT_NEAR(static_cast<double>(count), of_place, 6 * std::sqrt(of_place) + 2) << every;
  }
}

TEST(SamplerTest, MeetsTrafficThatRepeatsWithItsOwnRhythm) {
  // Every tenth query is of one kind, and one of ten is sampled: a tenth of the samples, not all and not none.
  Sampler sampler(9);
  std::uint64_t taken = 0, of_kind = 0, number = 0;
  for (unsigned burst = 0; burst < 100'000; ++burst) {
    sampler.pass(10, 10, [&](unsigned index) {
      ++taken;
      of_kind += (number + index) % 10 == 3 ? 1 : 0;
    });
    number += 10;
  }
  EXPECT_NEAR(static_cast<double>(of_kind) / static_cast<double>(taken), 0.1, 0.01);
}

TEST(SamplerTest, FollowsAChangeOfTheRateAtOnce) {
  Sampler sampler(5);
  sampler.pass(1, 1'000'000'000, [](unsigned) {});
  unsigned taken = 0;
  sampler.pass(64, 1, [&](unsigned) { ++taken; });
  EXPECT_EQ(taken, 64U);
}

}  // namespace
}  // namespace pharos::dataplane
