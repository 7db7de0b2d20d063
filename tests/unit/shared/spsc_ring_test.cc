// The shared ring: order, wraparound, fullness, change of consumers, and peers that lie.
#include "pharos/shared/spsc_ring.hh"

#include <fcntl.h>
#include <sys/mman.h>

#include <gtest/gtest.h>

#include <numeric>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace pharos {
namespace {

constexpr std::uint64_t capacity_bytes = ring_capacity_bytes_min;

RingConsumer attach_to(const RingProducer& producer) {
  auto consumer = RingConsumer::attach(UniqueFd(::dup(producer.fd())));
  EXPECT_TRUE(consumer) << consumer.error().text();
  return std::move(*consumer);
}

// The ring's memory as a hostile peer sees it.
struct Peer {
  explicit Peer(const RingProducer& producer)
      : mapping(::mmap(nullptr, sizeof(RingHeader) + capacity_bytes, PROT_READ | PROT_WRITE,
                       MAP_SHARED, producer.fd(), 0),
                sizeof(RingHeader) + capacity_bytes) {}
  [[nodiscard]] RingHeader& header() const {
    return *reinterpret_cast<RingHeader*>(mapping.data());
  }
  [[nodiscard]] std::byte* records() const { return mapping.data() + sizeof(RingHeader); }
  Mapping mapping;
};

bool push_text(RingProducer& ring, std::string_view text) {
  return ring.push(RingRecordKind::beacon, as_bytes(text.substr(0, text.size() / 2)),
                   as_bytes(text.substr(text.size() / 2)));
}

class RingTest : public testing::Test {
 protected:
  RingProducer producer_ = std::move(*RingProducer::create(capacity_bytes, "ring_test"));
  RingConsumer consumer_ = attach_to(producer_);
};

TEST_F(RingTest, HandsRecordsOverInOrder) {
  EXPECT_FALSE(consumer_.pop());
  EXPECT_TRUE(push_text(producer_, "one"));
  EXPECT_TRUE(producer_.push(RingRecordKind::query_sample, {}, {}));
  EXPECT_TRUE(push_text(producer_, "three"));
  auto record = consumer_.pop();
  ASSERT_TRUE(record);
  EXPECT_EQ(record->kind, RingRecordKind::beacon);
  EXPECT_EQ(as_text(record->bytes), "one");
  record = consumer_.pop();
  ASSERT_TRUE(record);
  EXPECT_EQ(record->kind, RingRecordKind::query_sample);
  EXPECT_TRUE(record->bytes.empty());
  record = consumer_.pop();
  ASSERT_TRUE(record);
  EXPECT_EQ(as_text(record->bytes), "three");
  EXPECT_FALSE(consumer_.pop());
}

TEST_F(RingTest, DropsAndCountsWhenFullAndGoesOnAfterRelease) {
  const std::string text(1000, 'x');
  unsigned pushed = 0;
  while (push_text(producer_, text)) ++pushed;
  EXPECT_EQ(pushed, capacity_bytes / 1008);
  EXPECT_EQ(consumer_.dropped_records(), 1U);
  for (unsigned i = 0; i < pushed; ++i) ASSERT_TRUE(consumer_.pop());
  EXPECT_FALSE(consumer_.pop());
  EXPECT_FALSE(push_text(producer_, text));  // popped is not yet given back
  consumer_.release();
  EXPECT_TRUE(push_text(producer_, text));
  EXPECT_EQ(as_text(consumer_.pop()->bytes), text);
}

TEST_F(RingTest, TakesTheLongestRecordAndNotOneByteMore) {
  const std::string longest(ring_record_bytes_max, 'x');
  EXPECT_TRUE(push_text(producer_, longest));
  EXPECT_FALSE(push_text(producer_, longest + "x"));
  EXPECT_EQ(as_text(consumer_.pop()->bytes), longest);
  EXPECT_EQ(consumer_.dropped_records(), 1U);
}

TEST_F(RingTest, WrapsAtEveryOffset) {
  std::mt19937_64 random(4);
  std::uint64_t turned_bytes = 0;
  while (turned_bytes < 100 * capacity_bytes) {
    std::string text(random() % (ring_record_bytes_max + 1), '\0');
    for (char& c : text) c = static_cast<char>(random());
    ASSERT_TRUE(push_text(producer_, text));
    const auto record = consumer_.pop();
    ASSERT_TRUE(record);
    ASSERT_EQ(as_text(record->bytes), text);
    consumer_.release();
    turned_bytes += text.size();
  }
  EXPECT_EQ(consumer_.faults(), 0U);
}

TEST_F(RingTest, GoesOnWithAnotherConsumerWhereTheLastReleased) {
  push_text(producer_, "released");
  push_text(producer_, "popped only");
  push_text(producer_, "waiting");
  ASSERT_TRUE(consumer_.pop());
  consumer_.release();
  ASSERT_TRUE(consumer_.pop());
  auto next = attach_to(producer_);  // the first one is gone, without a goodbye
  EXPECT_EQ(as_text(next.pop()->bytes), "popped only");
  EXPECT_EQ(as_text(next.pop()->bytes), "waiting");
  EXPECT_FALSE(next.pop());
}

TEST_F(RingTest, ConsumerSurvivesScribbledPositions) {
  const Peer peer(producer_);
  for (const std::uint64_t position :
       {~std::uint64_t{0}, capacity_bytes + 8, std::uint64_t{1} << 63, std::uint64_t{3},
        std::uint64_t{9}}) {
    // relaxed: one thread
    peer.header().produced_bytes.store(position, std::memory_order_relaxed);
    const auto faults = consumer_.faults();
    EXPECT_FALSE(consumer_.pop()) << position;
    EXPECT_EQ(consumer_.faults(), faults + 1) << position;
    EXPECT_FALSE(consumer_.pop()) << position;
  }
}

TEST_F(RingTest, ConsumerSurvivesScribbledRecords) {
  const Peer peer(producer_);
  std::uint64_t at = 0;
  const auto faults_with = [&](std::uint32_t length, std::uint32_t kind) {
    EXPECT_TRUE(push_text(producer_, "12345678"));
    store(peer.records() + at, RingRecordHeader{length, kind});
    at += 16;
    const auto before = consumer_.faults();
    (void)consumer_.pop();
    const auto faults = consumer_.faults() - before;
    while (consumer_.pop()) {
    }
    return faults;
  };
  EXPECT_EQ(faults_with(8, 1), 0U);
  EXPECT_EQ(faults_with(9, 1), 1U);           // behind what was produced
  EXPECT_EQ(faults_with(0xffffffff, 1), 1U);  // would wrap in 32 bits
  EXPECT_EQ(faults_with(0xfffffff8, 0), 1U);
  EXPECT_EQ(faults_with(8, 0), 1U);   // a filler that does not end the turn
  EXPECT_EQ(faults_with(8, 77), 0U);  // an unknown kind is the caller's business
  EXPECT_TRUE(push_text(producer_, "good again"));
  EXPECT_EQ(as_text(consumer_.pop()->bytes), "good again");
}

TEST_F(RingTest, ConsumerSurvivesAnyBytes) {
  const Peer peer(producer_);
  std::mt19937_64 random(5);
  for (int round = 0; round < 20'000; ++round) {
    for (int i = 0; i < 8; ++i) {
      const auto at = random() % (capacity_bytes - sizeof(RingRecordHeader));
      store(peer.records() + at / 8 * 8,
            RingRecordHeader{static_cast<std::uint32_t>(random() % 4096),
                             static_cast<std::uint32_t>(random() % 3)});
    }
    // relaxed: one thread
    peer.header().produced_bytes.fetch_add(random() % 64 * 8, std::memory_order_relaxed);
    for (int i = 0; i < 3; ++i) (void)consumer_.pop();
    consumer_.release();
  }
}

TEST_F(RingTest, ProducerSurvivesScribbledPositionsAndGoesOnAfterwards) {
  const Peer peer(producer_);
  const std::string text(1000, 'x');
  while (push_text(producer_, text)) {
  }
  for (const std::uint64_t position :
       {~std::uint64_t{0}, std::uint64_t{1} << 40, 2 * capacity_bytes}) {
    peer.header().consumed_bytes.store(position, std::memory_order_relaxed);  // relaxed: one thread
    EXPECT_FALSE(push_text(producer_, text));
  }
  while (consumer_.pop()) {
  }
  consumer_.release();
  EXPECT_TRUE(push_text(producer_, text));
  EXPECT_EQ(as_text(consumer_.pop()->bytes), text);
}

TEST_F(RingTest, GivesRecordsThatTheProducerCannotChangeAnyMore) {
  const Peer peer(producer_);
  push_text(producer_, "signed");
  const auto record = consumer_.pop();
  std::fill_n(peer.records(), 64, std::byte{0xff});
  EXPECT_EQ(as_text(record->bytes), "signed");
}

TEST(RingAttachTest, RefusesWhatIsNoRing) {
  EXPECT_FALSE(RingConsumer::attach(UniqueFd()));
  EXPECT_FALSE(RingConsumer::attach(UniqueFd(::open("/dev/null", O_RDWR | O_CLOEXEC))));
  const auto memfd_of = [](std::uint64_t bytes, bool sealed) {
    UniqueFd fd(::memfd_create("ring_test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    EXPECT_EQ(::ftruncate(fd.get(), static_cast<off_t>(bytes)), 0);
    if (sealed) {
      EXPECT_EQ(::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK), 0);
    }
    return fd;
  };
  EXPECT_FALSE(RingConsumer::attach(memfd_of(0, true)));
  EXPECT_FALSE(RingConsumer::attach(memfd_of(sizeof(RingHeader), true)));
  // No magic.
  EXPECT_FALSE(RingConsumer::attach(memfd_of(sizeof(RingHeader) + capacity_bytes, true)));
  EXPECT_FALSE(RingConsumer::attach(memfd_of(sizeof(RingHeader) + capacity_bytes + 1, true)));
  EXPECT_FALSE(RingConsumer::attach(memfd_of(sizeof(RingHeader) + capacity_bytes, false)));
}

TEST(RingAttachTest, RefusesAnotherVersionOrCapacity) {
  const auto attaches_after = [](auto&& change) {
    auto producer = std::move(*RingProducer::create(capacity_bytes, "ring_test"));
    change(Peer(producer).header());
    return RingConsumer::attach(UniqueFd(::dup(producer.fd()))).has_value();
  };
  EXPECT_TRUE(attaches_after([](RingHeader&) {}));
  EXPECT_FALSE(attaches_after([](RingHeader& h) { h.magic ^= 1; }));
  EXPECT_FALSE(attaches_after([](RingHeader& h) { h.format_version = 2; }));
  EXPECT_FALSE(attaches_after([](RingHeader& h) { h.capacity_bytes *= 2; }));
}

TEST(RingCreateTest, RefusesCapacitiesThatAreNone) {
  for (const std::uint64_t bytes : {std::uint64_t{0}, capacity_bytes / 2, capacity_bytes + 1,
                                    capacity_bytes * 3, ring_capacity_bytes_max * 2}) {
    EXPECT_FALSE(RingProducer::create(bytes, "ring_test")) << bytes;
  }
}

TEST(RingCreateTest, CannotBeShrunkUnderEitherSide) {
  const auto producer = RingProducer::create(capacity_bytes, "ring_test");
  EXPECT_EQ(::ftruncate(producer->fd(), 0), -1);
}

// Numbers in strict order on one thread, checked on another, through a ring that is mostly full.
TEST(RingThreadsTest, LosesNothingThatWasTakenAndKeepsOrder) {
  auto producer = std::move(*RingProducer::create(capacity_bytes, "ring_test"));
  auto consumer = attach_to(producer);
  constexpr std::uint64_t numbers = 200'000;
  std::jthread writer([&] {
    std::byte filling[160] = {};
    for (std::uint64_t number = 0; number < numbers;) {
      if (producer.push(RingRecordKind::beacon, object_bytes(number),
                        ConstBytes(filling).first(number % sizeof filling))) {
        ++number;
      } else {
        std::this_thread::yield();
      }
    }
  });
  std::uint64_t due = 0;
  while (due < numbers) {
    const auto record = consumer.pop();
    if (!record) {
      consumer.release();
      std::this_thread::yield();
      continue;
    }
    ASSERT_EQ(load<std::uint64_t>(record->bytes.data()), due);
    ASSERT_EQ(record->bytes.size(), 8 + due % 160);
    if (++due % 16 == 0) consumer.release();
  }
  EXPECT_EQ(consumer.faults(), 0U);
}

}  // namespace
}  // namespace pharos
