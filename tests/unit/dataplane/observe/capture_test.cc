// What a capture takes of a burst: frames in, classified, answered and finished as a worker does it.
#include "pharos/dataplane/observe/capture.hh"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "packets/octets.hh"

namespace pharos::dataplane {
namespace {

using packets::FrameText;
using packets::Octets;

struct Taken {
  CapturedHead head;
  Octets bytes;
};

class CaptureTest : public testing::Test {
 protected:
  CaptureTest() {
    InterfaceSettings settings;
    settings.mac.bytes = packets::server_mac;
    settings.addresses = {IpAddress::parse("192.0.2.1").value()};
    settings.beacon_port = 5380;
    interface_ = make_interface(settings).value();
    make_seats(1U << 20);
  }
  void make_seats(std::uint64_t ring_bytes) {
    auto seats = std::make_shared<std::vector<std::unique_ptr<CaptureSeat>>>();
    seats->push_back(std::make_unique<CaptureSeat>(ring_bytes));
    watch_.seats = seats;
  }
  void receive(const Octets& frame) {
    auto& buffer = buffers_.emplace_back(frame);
    buffer.resize(4096);
    lengths_.push_back(static_cast<unsigned>(frame.size()));
  }
  void ask(const std::string& name, const std::string& client = "198.51.100.7") {
    FrameText text;
    text.from = client;
    receive(packets::udp_frame(text, 4242, 53, packets::query({.name = name})));
  }
  // One turn; every query is answered with this RCODE and no record.
  void turn(unsigned rcode = 0, Verdict verdict = Verdict::answered) {
    burst_.begin();
    for (std::size_t i = 0; i < buffers_.size(); ++i)
      burst_.add(buffers_[i].data(), lengths_[i], 1514, 0);
    watch_.before(0, burst_);
    classify_burst(interface_, burst_, counters_);
    for (auto& query : burst_.queries()) {
      query.message[2] |= std::byte{0x80};
      query.message[3] = static_cast<std::byte>(rcode);
      query.reply_bytes = query.length;
      query.verdict = verdict;
    }
    finish_burst(interface_, burst_);
    watch_.after(0, burst_);
  }
  std::vector<Taken> take() {
    std::vector<Taken> all;
    RecordRing& ring = (*watch_.seats)[0]->ring;
    for (auto record = ring.front(); !record.empty(); record = ring.front()) {
      const auto bytes = record.subspan(sizeof(CapturedHead));
      all.push_back({load<CapturedHead>(record.data()), {bytes.begin(), bytes.end()}});
      ring.pop();
    }
    return all;
  }
  void filter_name(const std::string& name, CaptureFilter::Reach reach) {
    watch_.filter.name = dns::parse_name(name).value();
    watch_.filter.reach = reach;
  }

  Interface interface_;
  CaptureWatch watch_;
  FrameBurst burst_;
  CoreCounters counters_;
  std::vector<Octets> buffers_;
  std::vector<unsigned> lengths_;
};

const auto arp = packets::hex(
    "020000000001020000000002 0806 0001080006040001 020000000002 c6336407 000000000000 c0000201");

TEST_F(CaptureTest, TakesEveryFrameAsItCameAndWhatAnswersIt) {
  ask("www.example.");
  receive(arp);
  receive(packets::hex("020000000001020000000002 88cc 0000"));
  const auto query = Octets(buffers_[0].begin(), buffers_[0].begin() + lengths_[0]);
  turn();
  const auto taken = take();
  ASSERT_EQ(taken.size(), 5U);
  EXPECT_EQ(taken[0].bytes, query) << "as it was before it became its own reply";
  EXPECT_EQ(taken[0].head.direction, Direction::in);
  EXPECT_EQ(taken[0].head.frame_bytes, query.size());
  EXPECT_EQ(taken[1].head.direction, Direction::out);
  EXPECT_EQ(taken[1].bytes,
            Octets(buffers_[0].begin(), buffers_[0].begin() + burst_.frames[0].length));
  EXPECT_GE(taken[1].head.wall_ns, taken[0].head.wall_ns);
  EXPECT_EQ(taken[2].bytes, arp);
  EXPECT_EQ(taken[3].head.direction, Direction::out) << "the ARP reply";
  EXPECT_EQ(taken[4].head.direction, Direction::in);
}

TEST_F(CaptureTest, ADroppedQueryHasNoReply) {
  ask("www.example.");
  turn(0, Verdict::drop_rate_limited);
  const auto taken = take();
  ASSERT_EQ(taken.size(), 1U);
  EXPECT_EQ(taken[0].head.direction, Direction::in);
}

TEST_F(CaptureTest, FiltersByNameWhateverItsCase) {
  using Reach = CaptureFilter::Reach;
  const auto names = [&](Reach reach) {
    filter_name("example.org.", reach);
    std::string found;
    for (const char* name : {"EXAMPLE.org.", "www.Example.ORG.", "a.b.example.org.", "xample.org.",
                             "anexample.org.", "org."}) {
      buffers_.clear();
      lengths_.clear();
      ask(name);
      receive(arp);
      turn();
      found += take().size() == 2 ? 'y' : '-';
    }
    return found;
  };
  EXPECT_EQ(names(Reach::name), "y-----");
  EXPECT_EQ(names(Reach::below), "-yy---");
  EXPECT_EQ(names(Reach::name_and_below), "yyy---");
}

TEST_F(CaptureTest, FiltersByTheRcodeOfTheReply) {
  watch_.filter.rcode = 3;
  ask("www.example.");
  receive(arp);
  turn(0);
  EXPECT_TRUE(take().empty());
  buffers_.clear();
  lengths_.clear();
  ask("www.example.");
  turn(3);
  EXPECT_EQ(take().size(), 2U);
  buffers_.clear();
  lengths_.clear();
  ask("www.example.");
  turn(3, Verdict::drop_policy);
  EXPECT_TRUE(take().empty()) << "nothing was answered";
}

TEST_F(CaptureTest, FiltersByTheClientInEveryKindOfFrame) {
  watch_.filter.client = IpPrefix::parse("198.51.100.0/24").value();
  ask("a.example.", "198.51.100.7");
  ask("b.example.", "198.51.101.7");
  receive(arp);  // from 198.51.100.7
  FrameText other;
  other.from = "203.0.113.9";
  receive(packets::udp_frame(other, 4242, 5380, packets::hex("00")));
  turn();
  EXPECT_EQ(take().size(), 4U) << "a query and an ARP request, with their replies";
  watch_.sent(0, packets::udp_frame({.from = "192.0.2.1", .to = "198.51.100.9"}, 1, 2, {}));
  watch_.sent(0, packets::udp_frame({.from = "192.0.2.1", .to = "198.51.101.9"}, 1, 2, {}));
  EXPECT_EQ(take().size(), 1U);
}

TEST_F(CaptureTest, MasksTheClientInBothDirectionsAndCutsToWhatIsKept) {
  watch_.mask.emplace();
  watch_.frame_bytes_max = 60;
  ask("www.example.", "198.51.100.77");
  turn();
  const auto taken = take();
  ASSERT_EQ(taken.size(), 2U);
  for (const auto& one : taken) {
    EXPECT_EQ(one.bytes.size(), 60U);
    EXPECT_GT(one.head.frame_bytes, 60U);
    EXPECT_TRUE(std::ranges::search(one.bytes, packets::hex("c633644d")).empty());
    EXPECT_FALSE(std::ranges::search(one.bytes, packets::hex("c6336400")).empty());
  }
  EXPECT_EQ(counters_.read(Verdict::answered), 0U) << "count_sent was not called: nobody sent it";
}

TEST_F(CaptureTest, AFullRingDropsFramesAndCounts) {
  make_seats(1U << 12);
  for (int i = 0; i < 64; ++i) ask("www.example.");
  turn();
  const auto taken = take().size();
  EXPECT_GT(taken, 10U);
  EXPECT_EQ(taken + (*watch_.seats)[0]->ring.dropped(), 128U);
}

TEST_F(CaptureTest, AFrameLongerThanWhatIsKeptSaysHowLongItWas) {
  FrameText text;
  text.from = "203.0.113.9";
  receive(packets::udp_frame(text, 4242, 9, Octets(3000)));
  turn();
  const auto taken = take();
  ASSERT_EQ(taken.size(), 1U);
  EXPECT_EQ(taken[0].bytes.size(), capture_frame_bytes_max);
  EXPECT_EQ(taken[0].head.frame_bytes, 3042U);
}

}  // namespace
}  // namespace pharos::dataplane
