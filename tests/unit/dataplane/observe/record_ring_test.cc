#include "pharos/dataplane/observe/record_ring.hh"

#include <gtest/gtest.h>

#include <cstring>
#include <deque>
#include <random>
#include <string>
#include <thread>

namespace pharos::dataplane {
namespace {

bool put(RecordRing& ring, std::string_view text) {
  std::byte* at = ring.reserve(text.size());
  if (at == nullptr) return false;
  std::memcpy(at, text.data(), text.size());
  ring.commit();
  return true;
}

std::string take(RecordRing& ring) {
  const auto record = ring.front();
  if (record.empty()) return {};
  std::string text(as_text(record));
  ring.pop();
  return text;
}

TEST(RecordRingTest, GivesRecordsInOrderAndWhole) {
  RecordRing ring(1024);
  EXPECT_TRUE(ring.front().empty());
  EXPECT_TRUE(put(ring, "one"));
  EXPECT_TRUE(put(ring, "a longer one"));
  EXPECT_EQ(as_text(ring.front()), "one");
  EXPECT_EQ(take(ring), "one");
  EXPECT_EQ(take(ring), "a longer one");
  EXPECT_EQ(take(ring), "");
  EXPECT_EQ(ring.dropped(), 0U);
}

TEST(RecordRingTest, AReservedRecordThatIsNotCommittedDoesNotExist) {
  RecordRing ring(256);
  ASSERT_NE(ring.reserve(100), nullptr);
  EXPECT_TRUE(ring.front().empty());
  EXPECT_TRUE(put(ring, "next"));
  EXPECT_EQ(take(ring), "next");
  EXPECT_EQ(take(ring), "");
}

TEST(RecordRingTest, ARecordMayTurnOutShorterThanWasReserved) {
  RecordRing ring(256);
  for (unsigned round = 0; round < 40; ++round) {
    std::byte* at = ring.reserve(100);
    ASSERT_NE(at, nullptr) << round;
    std::memcpy(at, "short and more", 14);
    ring.commit(5 + round % 5);
    ASSERT_TRUE(put(ring, "next"));
    EXPECT_EQ(take(ring), std::string("short and more").substr(0, 5 + round % 5));
    EXPECT_EQ(take(ring), "next");
  }
  EXPECT_EQ(ring.dropped(), 0U);
}

TEST(RecordRingTest, AFullRingDropsAndCountsAndTakesAgainOnceThereIsRoom) {
  RecordRing ring(64);
  EXPECT_TRUE(put(ring, std::string(24, 'a')));  // 32 bytes, all told
  EXPECT_TRUE(put(ring, std::string(24, 'b')));
  EXPECT_FALSE(put(ring, "c"));
  EXPECT_EQ(ring.dropped(), 1U);
  EXPECT_EQ(take(ring), std::string(24, 'a'));
  EXPECT_FALSE(put(ring, std::string(25, 'd')));
  EXPECT_TRUE(put(ring, std::string(24, 'd')));
  EXPECT_EQ(take(ring), std::string(24, 'b'));
  EXPECT_EQ(take(ring), std::string(24, 'd'));
  EXPECT_EQ(ring.dropped(), 2U);
}

TEST(RecordRingTest, TheLongestRecordFitsAnEmptyRingWhereverItStands) {
  RecordRing ring(256);
  ASSERT_EQ(ring.record_bytes_max(), 120U);
  for (unsigned shift = 0; shift < 64; ++shift) {
    EXPECT_TRUE(put(ring, "x"));
    EXPECT_EQ(take(ring), "x");
    EXPECT_TRUE(put(ring, std::string(120, 'y'))) << shift;
    EXPECT_EQ(take(ring), std::string(120, 'y')) << shift;
  }
  EXPECT_EQ(ring.reserve(1U << 20), nullptr);
  EXPECT_EQ(ring.reserve(249), nullptr) << "with its length it is longer than the ring";
}

TEST(RecordRingTest, AgreesWithAQueueOverManyRandomSteps) {
  constexpr unsigned seed = 20261120;
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  RecordRing ring(2048);
  std::deque<std::string> model;
  std::size_t dropped = 0;
  for (unsigned step = 0; step < 100'000; ++step) {
    if (random() % 2 == 0) {
      const std::string text(1 + random() % 300, static_cast<char>('a' + random() % 26));
      if (put(ring, text)) {
        model.push_back(text);
      } else {
        ++dropped;
        ASSERT_GT(model.size(), 4U) << "dropped though there was room";
      }
    } else if (const auto text = take(ring); model.empty()) {
      ASSERT_EQ(text, "");
    } else {
      ASSERT_EQ(text, model.front()) << step;
      model.pop_front();
    }
  }
  EXPECT_EQ(ring.dropped(), dropped);
  EXPECT_GT(dropped, 0U);
}

TEST(RecordRingTest, TwoThreadsLoseNothingButWhatWasCounted) {
  constexpr std::uint64_t records = 200'000;
  RecordRing ring(1U << 12);
  std::uint64_t accepted = 0;
  std::thread producer([&] {
    for (std::uint64_t n = 1; n <= records; ++n) {
      std::byte* at = ring.reserve(8 + n % 90);
      if (at == nullptr) {
        std::this_thread::yield();
        continue;
      }
      store(at, n);
      std::memset(at + 8, static_cast<int>(n & 0xff), n % 90);
      ring.commit();
      ++accepted;
    }
    ASSERT_TRUE([&] {
      while (ring.reserve(8) == nullptr) std::this_thread::yield();
      store(ring.reserve(8), records + 1);
      ring.commit();
      return true;
    }());
  });
  std::uint64_t seen = 0, last = 0;
  while (last != records + 1) {
    const auto record = ring.front();
    if (record.empty()) {
      std::this_thread::yield();
      continue;
    }
    const auto n = load<std::uint64_t>(record.data());
    ASSERT_GT(n, last);
    if (n <= records) {
      ASSERT_EQ(record.size(), 8 + n % 90);
      for (const auto byte : record.subspan(8)) ASSERT_EQ(byte, static_cast<std::byte>(n & 0xff));
      ++seen;
    }
    last = n;
    ring.pop();
  }
  producer.join();
  EXPECT_EQ(seen, accepted);
}

}  // namespace
}  // namespace pharos::dataplane
