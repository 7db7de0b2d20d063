#include "pharos/dataplane/observe/name_sampler.hh"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "packets/octets.hh"

namespace pharos::dataplane {
namespace {

using packets::Octets;

class NameSamplerTest : public testing::Test {
 protected:
  void ask(const Octets& message, Verdict verdict = Verdict::answered) {
    buffers_.push_back(message);
    buffers_.back().resize(1024);
    Query query;
    query.message = buffers_.back().data();
    query.length = query.reply_bytes = static_cast<std::uint16_t>(message.size());
    query.verdict = verdict;
    queries_.push_back(query);
  }
  struct Sample {
    NameSampleHead head;
    Octets name;
  };
  std::vector<Sample> take() {
    std::vector<Sample> all;
    for (auto record = ring_.front(); !record.empty(); record = ring_.front()) {
      const auto name = record.subspan(sizeof(NameSampleHead));
      all.push_back({load<NameSampleHead>(record.data()), {name.begin(), name.end()}});
      ring_.pop();
    }
    return all;
  }

  std::vector<Octets> buffers_;
  std::vector<Query> queries_;
  RecordRing ring_{1U << 20};
};

TEST_F(NameSamplerTest, TakesNamesAsTheyWereAskedWithWhatBecameOfThem) {
  buffers_.reserve(8);
  ask(packets::query({.name = "WWW.example.", .flags = 0x8500}));
  ask(packets::query({.name = "gone.example.", .flags = 0x8503}));
  ask(packets::query({.name = "limited.example."}), Verdict::drop_rate_limited);
  ask(packets::header(1, 0x8001, {0, 0, 0, 0}));  // FORMERR without a question
  ask(packets::hex("0001 8000 0001 0000 0000 0000 3f61"));
  ask(packets::hex("0001"));
  NameSampler sampler(0, 1000, &ring_);
  sampler.note(queries_, 1);
  const auto samples = take();
  ASSERT_EQ(samples.size(), 3U);
  EXPECT_EQ(samples[0].name, packets::name("WWW.example."));
  EXPECT_EQ(samples[0].head.weight, 1U);
  EXPECT_TRUE(samples[0].head.answered);
  EXPECT_EQ(samples[1].head.rcode, 3);
  EXPECT_FALSE(samples[2].head.answered);
}

TEST_F(NameSamplerTest, WithoutARingItTakesNothing) {
  ask(packets::query({.name = "www.example."}));
  NameSampler sampler(0, 1000, nullptr);
  sampler.note(queries_, 1);
  EXPECT_TRUE(take().empty());
}

TEST_F(NameSamplerTest, AFloodBehindTheStartIsNotSampledWhole) {
  constexpr unsigned per_second = 100, bursts = 4000;
  buffers_.reserve(32);
  for (int i = 0; i < 32; ++i) ask(packets::query({.name = "www.example."}));
  NameSampler sampler(3, per_second, &ring_);
  for (unsigned i = 0; i < bursts; ++i) sampler.note(queries_, 1);
  const auto samples = take();
  EXPECT_LT(samples.size(), 10 * per_second);  // 1280 times as many are asked
  double sum = 0;
  for (const auto& sample : samples) sum += sample.head.weight;
  EXPECT_NEAR(sum / (32.0 * bursts), 1.0, 0.5);
}

TEST_F(NameSamplerTest, KeepsToItsRateAndItsWeightsAddUpToTheQueries) {
  constexpr unsigned per_second = 500, bursts = 2000;
  buffers_.reserve(32);
  for (int i = 0; i < 32; ++i) ask(packets::query({.name = "www.example."}));
  NameSampler sampler(3, per_second, &ring_);
  for (std::uint32_t second = 1; second <= 5; ++second) {
    for (unsigned burst = 0; burst < bursts; ++burst) sampler.note(queries_, second);
    const auto samples = take();
    if (second == 1) continue;  // nothing is known of the rate yet
    EXPECT_NEAR(static_cast<double>(samples.size()), per_second, 6 * std::sqrt(per_second / 3.0));
    double weight = 0;
    for (const auto& sample : samples) weight += sample.head.weight;
    EXPECT_NEAR(weight, 32.0 * bursts, 0.3 * 32 * bursts);
  }
}

}  // namespace
}  // namespace pharos::dataplane
