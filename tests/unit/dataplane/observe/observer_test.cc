// What an observer copies of a burst, before and behind its being served.
#include "pharos/dataplane/observe/observer.hh"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "packets/octets.hh"

namespace pharos::dataplane {
namespace {

using packets::Octets;

struct Copied {
  CopyHead head;
  Octets message;
};

class ObserverTest : public testing::Test {
 protected:
  ObserverTest() {
    auto rings = std::make_shared<RingSet>();
    for (int seat = 0; seat < 2; ++seat) rings->push_back(std::make_unique<RecordRing>(1U << 16));
    watch_.dnstap.emplace();
    watch_.dnstap->rings = rings;
  }
  void ask(const std::string& client, const Octets& message, Transport transport = Transport::udp) {
    buffers_.push_back(message);
    buffers_.back().resize(4096);
    Query query;
    query.message = buffers_.back().data();
    query.length = static_cast<std::uint16_t>(message.size());
    query.transport = transport;
    query.source = IpAddress::parse(client).value();
    queries_.push_back(query);
  }
  // What serve_burst would do: a reply in place.
  void reply(std::size_t index, const Octets& message) {
    std::ranges::copy(message, queries_[index].message);
    queries_[index].reply_bytes = static_cast<std::uint16_t>(message.size());
    queries_[index].verdict = Verdict::answered;
  }
  std::vector<Copied> take(unsigned seat = 1) {
    std::vector<Copied> all;
    RecordRing& ring = *(*watch_.dnstap->rings)[seat];
    for (auto record = ring.front(); !record.empty(); record = ring.front()) {
      const auto bytes = record.subspan(sizeof(CopyHead));
      all.push_back({load<CopyHead>(record.data()), {bytes.begin(), bytes.end()}});
      ring.pop();
    }
    return all;
  }

  std::vector<Octets> buffers_;
  std::vector<Query> queries_;
  Watch watch_;
  Observer observer_{1};
  CoreCounters counters_;
};

const Octets question = packets::query({.name = "www.example."});

TEST_F(ObserverTest, CopiesQueriesBeforeTheyAreOverwrittenAndRepliesBehind) {
  buffers_.reserve(2);
  ask("198.18.3.10", question);
  ask("2001:db8:1:2ff::1", packets::query({.name = "b.example."}), Transport::tcp);
  observer_.before(watch_, queries_, counters_);
  auto answer = question;
  answer[2] = std::byte{0x85};
  reply(0, answer);
  queries_[1].verdict = Verdict::drop_rate_limited;
  observer_.after(watch_, queries_, counters_);

  const auto copies = take();
  ASSERT_EQ(copies.size(), 3U);
  EXPECT_EQ(copies[0].head.kind, CopyKind::query);
  EXPECT_EQ(copies[0].message, question);
  EXPECT_EQ(copies[0].head.client.text(), "198.18.3.0");
  EXPECT_TRUE(copies[0].head.ipv4);
  EXPECT_EQ(copies[1].head.client.text(), "2001:db8:1:200::");
  EXPECT_FALSE(copies[1].head.ipv4);
  EXPECT_EQ(copies[1].head.transport, Transport::tcp);
  EXPECT_EQ(copies[2].head.kind, CopyKind::response);
  EXPECT_EQ(copies[2].message, answer);
  EXPECT_EQ(copies[2].head.query_ns, copies[0].head.query_ns);
  EXPECT_GE(copies[2].head.response_ns, copies[2].head.query_ns);
  EXPECT_EQ(counters_.read(Counter::dnstap_messages), 3U);
  EXPECT_TRUE(take(0).empty()) << "another thread's ring";
}

TEST_F(ObserverTest, CopiesOnlyTheKindThatIsWanted) {
  ask("198.18.3.10", question);
  watch_.dnstap->responses = false;
  observer_.before(watch_, queries_, counters_);
  reply(0, question);
  observer_.after(watch_, queries_, counters_);
  auto copies = take();
  ASSERT_EQ(copies.size(), 1U);
  EXPECT_EQ(copies[0].head.kind, CopyKind::query);

  watch_.dnstap->responses = true;
  watch_.dnstap->queries = false;
  observer_.before(watch_, queries_, counters_);
  observer_.after(watch_, queries_, counters_);
  copies = take();
  ASSERT_EQ(copies.size(), 1U);
  EXPECT_EQ(copies[0].head.kind, CopyKind::response);
}

TEST_F(ObserverTest, NoBitBehindThePrefixIsAnywhereInTheRing) {
  Octets subnet = packets::hex("00012000c6120a63");
  ask("198.18.10.99",
      packets::query({.name = "www.example."}, {.options = packets::option(8, subnet)}));
  observer_.before(watch_, queries_, counters_);
  reply(0, packets::query({.name = "www.example.", .flags = 0x8500},
                          {.options = packets::option(8, subnet)}));
  observer_.after(watch_, queries_, counters_);
  const auto whole = packets::hex("c6120a63");
  for (const auto& copy : take()) {
    EXPECT_TRUE(std::ranges::search(copy.message, whole).empty());
    EXPECT_FALSE(std::ranges::search(copy.message, packets::hex("c6120a00")).empty());
    EXPECT_EQ(copy.head.client.text(), "198.18.10.0");
  }
}

TEST_F(ObserverTest, WhatCannotBeReadLeavesWithoutItsBytes) {
  auto broken = question;
  broken.pop_back();
  ask("198.18.3.10", broken);
  observer_.before(watch_, queries_, counters_);
  const auto copies = take();
  ASSERT_EQ(copies.size(), 1U);
  EXPECT_EQ(copies[0].head.message_bytes, 0U);
  EXPECT_EQ(counters_.read(Counter::dnstap_unreadable), 1U);
}

TEST_F(ObserverTest, WithoutPrefixBitsNotEvenTheClientIsGiven) {
  watch_.dnstap->mask.ipv4_prefix_bits = 0;
  ask("198.18.3.10", question);
  observer_.before(watch_, queries_, counters_);
  EXPECT_FALSE(take().at(0).head.client_given);
  watch_.dnstap->mask.key.emplace();
  observer_.before(watch_, queries_, counters_);
  EXPECT_TRUE(take().at(0).head.client_given) << "a pseudonym is no prefix";
}

TEST_F(ObserverTest, AFullRingCostsMessagesThatAreCounted) {
  ask("198.18.3.10",
      packets::query({.name = "www.example."}, {.options = packets::option(12, Octets(1000))}));
  for (int i = 0; i < 100; ++i) observer_.before(watch_, queries_, counters_);
  const auto copied = counters_.read(Counter::dnstap_messages);
  EXPECT_GT(copied, 50U);
  EXPECT_EQ(copied + counters_.read(Counter::dnstap_dropped), 100U);
  EXPECT_EQ(take().size(), copied);
}

TEST_F(ObserverTest, ASampleIsTheSameQueryBeforeAndBehind) {
  watch_.dnstap->every = 7;
  buffers_.reserve(64);
  for (unsigned i = 0; i < 64; ++i)
    ask("198.18." + std::to_string(i) + ".1",
        packets::query({.name = "www.", .id = static_cast<std::uint16_t>(i)}));
  std::size_t samples = 0;
  for (int burst = 0; burst < 50; ++burst) {
    observer_.before(watch_, queries_, counters_);
    for (std::size_t i = 0; i < queries_.size(); ++i)
      reply(i,
            packets::query({.name = "www.", .id = static_cast<std::uint16_t>(i), .flags = 0x8500}));
    observer_.after(watch_, queries_, counters_);
    const auto copies = take();
    ASSERT_EQ(copies.size() % 2, 0U);
    const auto half = copies.size() / 2;
    for (std::size_t i = 0; i < half; ++i) {
      EXPECT_EQ(copies[i].head.kind, CopyKind::query);
      EXPECT_EQ(copies[half + i].head.kind, CopyKind::response);
      EXPECT_EQ(copies[i].message[1], copies[half + i].message[1]) << "the message's id";
      EXPECT_EQ(copies[i].head.client, copies[half + i].head.client);
    }
    samples += half;
  }
  EXPECT_NEAR(static_cast<double>(samples), 64.0 * 50 / 7, 60);
}

}  // namespace
}  // namespace pharos::dataplane
