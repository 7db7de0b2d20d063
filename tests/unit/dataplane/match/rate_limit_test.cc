// Rate limits against an exact model, and what a small table does to those who share it.
#include "pharos/dataplane/match/rate_limit.hh"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <random>
#include <tuple>

namespace pharos::dataplane {
namespace {

using Judgement = RateLimit::Judgement;
constexpr Instant start{123'456'789'012'345};

IpAddress address(const std::string& text) {
  return *IpAddress::parse(text);
}

RateLimitOptions options(double per_second) {
  RateLimitOptions o;
  o.per_second.fill(per_second);
  for (unsigned i = 0; i < o.key.size(); ++i) o.key[i] = static_cast<std::byte>(i * 29 + 7);
  return o;
}

struct Limiter {
  explicit Limiter(const RateLimitOptions& o) : limit(o) {}
  Judgement operator()(const std::string& client, Instant at,
                       AnswerClass answer_class = AnswerClass::positive, std::uint64_t subject = 1,
                       std::uint8_t rate_class = 0) {
    return limit.judge(limit.account_of(address(client), answer_class, rate_class, subject),
                       RateLimit::ticks_of(at));
  }
  // Of `count` replies at once, how many are within.
  unsigned within(unsigned count, const std::string& client, Instant at,
                  AnswerClass answer_class = AnswerClass::positive, std::uint64_t subject = 1,
                  std::uint8_t rate_class = 0) {
    unsigned result = 0;
    for (unsigned i = 0; i < count; ++i)
      result += (*this)(client, at, answer_class, subject, rate_class) == Judgement::within ? 1 : 0;
    return result;
  }
  RateLimit limit;
};

TEST(RateLimitTest, TicksAreParts2ToThe20thOfASecond) {
  EXPECT_EQ(RateLimit::ticks_of({0}), 0U);
  EXPECT_EQ(RateLimit::ticks_of({1'000'000'000}), 1U << 20);
  EXPECT_EQ(RateLimit::ticks_of({500'000'000}), 1U << 19);
  const auto day = RateLimit::ticks_of({86'400'000'000'000});
  EXPECT_NEAR(static_cast<double>(day), std::fmod(86'400.0 * (1 << 20), 0x1p32), 64);
}

TEST(RateLimitTest, GivesAsManyRepliesAsTheWindowHoldsThenAsManyAsTheRate) {
  Limiter limiter(options(10));
  EXPECT_EQ(limiter.within(100, "192.0.2.1", start), 10U);
  EXPECT_EQ(limiter.within(100, "192.0.2.1", start + milliseconds(99)), 0U);
  EXPECT_EQ(limiter.within(100, "192.0.2.1", start + milliseconds(350)), 3U);
  EXPECT_EQ(limiter.within(100, "192.0.2.1", start + seconds(60)), 10U);
}

TEST(RateLimitTest, GivesOneReplyWhereTheWindowIsShorterThanOne) {
  Limiter limiter(options(0.5));
  EXPECT_EQ(limiter.within(5, "192.0.2.1", start), 1U);
  EXPECT_EQ(limiter.within(5, "192.0.2.1", start + milliseconds(1900)), 0U);
  EXPECT_EQ(limiter.within(5, "192.0.2.1", start + milliseconds(2100)), 1U);
}

TEST(RateLimitTest, CountsByPrefixClassAndSubject) {
  Limiter limiter(options(5));
  EXPECT_EQ(limiter.within(9, "192.0.2.1", start), 5U);
  EXPECT_EQ(limiter.within(9, "192.0.2.255", start), 0U) << "the same /24";
  EXPECT_EQ(limiter.within(9, "192.0.3.1", start), 5U);
  EXPECT_EQ(limiter.within(9, "192.0.2.1", start, AnswerClass::positive, 2), 5U) << "another name";
  EXPECT_EQ(limiter.within(9, "192.0.2.1", start, AnswerClass::nxdomain, 1), 5U) << "another class";
  EXPECT_EQ(limiter.within(9, "2001:db8:0:ff::1", start), 5U);
  EXPECT_EQ(limiter.within(9, "2001:db8::1", start), 0U) << "the same /56";
  EXPECT_EQ(limiter.within(9, "2001:db8:0:100::1", start), 5U);
}

TEST(RateLimitTest, TakesTheConfiguredPrefixLengths) {
  auto o = options(5);
  o.ipv4_prefix_bits = 30;
  o.ipv6_prefix_bits = 33;
  Limiter limiter(o);
  EXPECT_EQ(limiter.within(9, "192.0.2.0", start), 5U);
  EXPECT_EQ(limiter.within(9, "192.0.2.3", start), 0U);
  EXPECT_EQ(limiter.within(9, "192.0.2.4", start), 5U);
  EXPECT_EQ(limiter.within(9, "2001:db8::", start), 5U);
  EXPECT_EQ(limiter.within(9, "2001:db8:7fff::", start), 0U);
  EXPECT_EQ(limiter.within(9, "2001:db8:8000::", start), 5U);
}

TEST(RateLimitTest, ClassesWithoutARateAreNotLimited) {
  auto o = options(0);
  o.per_second[static_cast<std::size_t>(AnswerClass::error)] = 3;
  ASSERT_TRUE(o.enabled());
  Limiter limiter(o);
  EXPECT_EQ(limiter.within(1000, "192.0.2.1", start), 1000U);
  EXPECT_EQ(limiter.within(1000, "192.0.2.1", start, AnswerClass::error), 3U);
  EXPECT_FALSE(options(0).enabled());
}

TEST(RateLimitTest, TheRateOfAllClassesBoundsThePrefix) {
  auto o = options(10);
  o.all_per_second = 25;
  Limiter limiter(o);
  EXPECT_EQ(limiter.within(20, "192.0.2.1", start, AnswerClass::positive, 1), 10U);
  EXPECT_EQ(limiter.within(20, "192.0.2.1", start, AnswerClass::positive, 2), 10U);
  EXPECT_EQ(limiter.within(20, "192.0.2.1", start, AnswerClass::positive, 3), 5U);
  EXPECT_EQ(limiter.within(20, "192.0.3.1", start, AnswerClass::positive, 3), 10U);
}

TEST(RateLimitTest, ARateClassTakesThePlaceOfClassAndName) {
  auto o = options(100);
  o.classes = {2, 7};
  Limiter limiter(o);
  EXPECT_EQ(limiter.within(50, "192.0.2.1", start, AnswerClass::positive, 1, 1), 2U);
  EXPECT_EQ(limiter.within(50, "192.0.2.1", start, AnswerClass::nxdomain, 9, 1), 0U);
  EXPECT_EQ(limiter.within(50, "192.0.2.1", start, AnswerClass::positive, 1, 2), 7U);
  EXPECT_EQ(limiter.within(50, "192.0.2.1", start, AnswerClass::positive, 1), 50U);
  EXPECT_EQ(limiter.within(50, "192.0.2.1", start, AnswerClass::positive, 2, 3), 50U)
      << "a class that is not there";
}

TEST(RateLimitTest, EveryNthReplyAboveTheLimitSlips) {
  for (const unsigned slip : {0U, 1U, 2U, 3U, 255U}) {
    auto o = options(1);
    o.slip = slip;
    Limiter limiter(o);
    ASSERT_EQ(limiter("192.0.2.1", start), Judgement::within);
    for (unsigned i = 1; i <= 600; ++i) {
      const auto expected = slip != 0 && i % slip == 0 ? Judgement::slip : Judgement::drop;
      ASSERT_EQ(limiter("192.0.2.1", start), expected) << "slip " << slip << ", reply " << i;
    }
  }
}

TEST(RateLimitTest, NobodyIsHeldForWhatWasOwedBeforeTheClockTurnedAround) {
  Limiter limiter(options(10));
  EXPECT_EQ(limiter.within(20, "192.0.2.1", start), 10U);
  for (const int minutes : {35, 50, 67, 70, 137, 1000})
    EXPECT_EQ(limiter.within(20, "192.0.2.1", start + seconds(60) * minutes), 10U) << minutes;
}

// One line of eight accounts.
TEST(RateLimitTest, AFloodOfNewPrefixesNeitherFreesTheLimitedNorTouchesTheOthers) {
  auto o = options(10);
  o.memory_bytes = 64;
  Limiter limiter(o);
  EXPECT_EQ(limiter.within(20, "192.0.2.1", start), 10U);
  for (unsigned i = 0; i < 5000; ++i) {
    const auto client = "10." + std::to_string(i / 256) + "." + std::to_string(i % 256) + ".1";
    EXPECT_EQ(limiter.within(1, client, start), 1U) << client << " pays for somebody else";
    if (i % 100 == 0) {
      EXPECT_EQ(limiter.within(1, "192.0.2.1", start), 0U) << "forgotten at " << i;
    }
  }
}

// Accounts as they are meant: as many as there are, exact times without end.
class Model {
 public:
  explicit Model(double per_second, Duration window)
      : interval_(static_cast<std::int64_t>((1 << 20) / per_second)),
        room_(std::max<std::int64_t>(interval_,
                                     static_cast<std::int64_t>(window.seconds() * (1 << 20)))) {}
  bool within(const std::string& block, AnswerClass answer_class, std::uint64_t subject,
              std::int64_t now_ticks) {
    auto& paid_until = accounts_[{block, answer_class, subject}];
    paid_until = std::max(paid_until, now_ticks);
    if (paid_until + interval_ - now_ticks > room_) return false;
    paid_until += interval_;
    return true;
  }

 private:
  std::int64_t interval_, room_;
  std::map<std::tuple<std::string, AnswerClass, std::uint64_t>, std::int64_t> accounts_;
};

TEST(RateLimitTest, AgreesWithAnExactModel) {
  std::mt19937_64 random(4711);
  SCOPED_TRACE("seed 4711");
  for (const double rate : {0.05, 1.0, 7.0, 333.0, 2000.0}) {
    auto o = options(rate);
    o.window = milliseconds(rate > 100 ? 10 : 700);
    // Slow accounts are few, so that none rests until the clock has turned around (68 minutes).
    const unsigned blocks = rate < 1 ? 2 : 12;
    const unsigned classes = rate < 1 ? 2 : answer_class_count;
    constexpr unsigned subjects = 3;
    // Twice the rate of each account, on average.
    const auto step_max =
        static_cast<std::uint64_t>((1 << 20) / rate) / (blocks * classes * subjects) + 2;
    Limiter limiter(o);
    Model model(rate, o.window);
    // Ticks since the start, and the instant whose ticks these are.
    std::int64_t ticks = 0;
    std::uint64_t within = 0;
    for (int event = 0; event < 60'000; ++event) {
      ticks += static_cast<std::int64_t>(random() % step_max);
      if (random() % 4000 == 0) ticks += static_cast<std::int64_t>(random() % 3'000'000'000);
      const auto block = random() % blocks;
      const auto client = "192.0." + std::to_string(block) + "." + std::to_string(random() % 256);
      const auto answer_class = static_cast<AnswerClass>(random() % classes);
      const auto subject = random() % subjects;
      const auto account = limiter.limit.account_of(address(client), answer_class, 0, subject);
      const bool ours =
          limiter.limit.judge(account, static_cast<RateLimit::Ticks>(ticks)) == Judgement::within;
      ASSERT_EQ(ours, model.within(std::to_string(block), answer_class, subject, ticks))
          << "rate " << rate << ", event " << event;
      within += ours ? 1 : 0;
    }
    EXPECT_GT(within, 1000U);
    EXPECT_LT(within, 60'000U);
  }
}

TEST(PrefixSetTest, AgreesWithLookingAtEveryPrefix) {
  std::mt19937 random(12);
  std::vector<IpPrefix> prefixes;
  for (const auto* text : {"192.0.2.0/24", "192.0.2.128/25", "10.0.0.0/8", "2001:db8::/32",
                           "2001:db8:1::/48", "2001:db9::1/128", "203.0.113.7/32"})
    prefixes.push_back(*IpPrefix::parse(text));
  for (int i = 0; i < 200; ++i) {
    const auto length = static_cast<std::uint8_t>(9 + random() % 24);
    prefixes.push_back(
        IpPrefix{IpAddress::from_ipv4(static_cast<std::uint32_t>(random())), length}.masked());
  }
  const PrefixSet set(prefixes);
  std::vector<IpAddress> probes;
  for (const auto& prefix : prefixes) {
    probes.push_back(prefix.address);
    auto last = prefix.address;
    last.bytes[15] ^= 1;
    probes.push_back(last);
  }
  for (int i = 0; i < 20'000; ++i)
    probes.push_back(IpAddress::from_ipv4(static_cast<std::uint32_t>(random())));
  for (const auto* text :
       {"::", "::1", "2001:db8:ffff::", "2001:db9::2", "ffff::", "0.0.0.0", "255.255.255.255"})
    probes.push_back(address(text));
  for (const auto& probe : probes) {
    const bool contained =
        std::ranges::any_of(prefixes, [&](const auto& prefix) { return prefix.contains(probe); });
    ASSERT_EQ(set.contains(probe), contained) << probe.text();
  }
  EXPECT_TRUE(PrefixSet({}).empty());
  EXPECT_FALSE(PrefixSet({}).contains(address("::1")));
  const std::vector<IpPrefix> everything = {*IpPrefix::parse("::/0"),
                                            *IpPrefix::parse("0.0.0.0/0")};
  EXPECT_TRUE(PrefixSet(everything).contains(address("198.51.100.1")));
  EXPECT_TRUE(PrefixSet(everything).contains(address("ffff::1")));
}

}  // namespace
}  // namespace pharos::dataplane
