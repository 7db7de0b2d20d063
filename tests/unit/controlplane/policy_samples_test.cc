// Samples of what name policies log, from a worker's ring to whoever takes them: what is no sample, and how many are kept.
#include "pharos/controlplane/ingest/ingest.hh"
#include "pharos/shared/policy_sample.hh"
#include "pharos/shared/spsc_ring.hh"
#include "pharos/wire/name_text.hh"

#include <gtest/gtest.h>

#include <functional>

namespace pharos::controlplane {
namespace {

class PolicySamplesTest : public testing::Test {
 protected:
  PolicySamplesTest() {
    auto ingest = Ingest::open({}, *BeaconSites::make({}, 1));
    EXPECT_TRUE(ingest) << ingest.error().text();
    ingest_.emplace(std::move(*ingest));
    auto ring = RingProducer::create(1U << 16, "samples-test");
    EXPECT_TRUE(ring) << ring.error().text();
    ring_.emplace(std::move(*ring));
    std::vector<UniqueFd> fds;
    fds.emplace_back(::dup(ring_->fd()));
    EXPECT_TRUE(ingest_->replace_rings(std::move(fds)));
  }

  static PolicySample sample(const std::string& name = "WWW.example.") {
    PolicySample made{};
    std::ranges::copy(std::string_view("blocked"), made.head.policy.begin());
    const auto client = *IpAddress::parse("198.51.100.0");
    std::ranges::copy(client.bytes, made.head.client.begin());
    made.head.type = 16;
    made.head.action = catalog::PolicyAction::refuse;
    made.head.client_prefix_bits = 24;
    const auto wire = dns::parse_name(name);
    made.head.name_bytes = wire->length;
    std::ranges::copy(wire->view(), made.name.begin());
    return made;
  }
  void push(const PolicySample& sample, std::optional<std::size_t> name_bytes = {}) {
    const ConstBytes name(sample.name.data(), name_bytes.value_or(sample.head.name_bytes));
    EXPECT_TRUE(ring_->push(RingRecordKind::query_sample, object_bytes(sample.head), name));
  }
  void turn() {
    while (ingest_->turn(now()) != 0) {
    }
  }
  [[nodiscard]] std::uint64_t count(IngestCounter counter) {
    return ingest_->counters().of(counter);
  }

  std::optional<Ingest> ingest_;
  std::optional<RingProducer> ring_;
};

TEST_F(PolicySamplesTest, ComeThroughTheRingAsTheyWere) {
  const auto first = sample(), second = sample(".");
  push(first);
  push(second);
  turn();
  const auto taken = ingest_->take_samples();
  ASSERT_EQ(taken.size(), 2U);
  EXPECT_EQ(std::memcmp(&taken[0], &first, sizeof first), 0);
  EXPECT_EQ(dns::name_text(ConstBytes(taken[0].name).first(taken[0].head.name_bytes)),
            "WWW.example.");
  EXPECT_EQ(taken[1].head.name_bytes, 1);
  EXPECT_EQ(count(IngestCounter::samples), 2U);
  EXPECT_EQ(count(IngestCounter::ring_foreign), 0U);
  EXPECT_TRUE(ingest_->take_samples().empty()) << "each is taken once";
}

TEST_F(PolicySamplesTest, AreRefusedWhereTheyAreNotSound) {
  const std::vector<std::pair<const char*, std::function<void(PolicySample&)>>> cases{
      {"an empty id", [](auto& s) { s.head.policy.fill(0); }},
      {"an id without end", [](auto& s) { s.head.policy.fill('a'); }},
      {"an id with a line feed", [](auto& s) { s.head.policy[2] = '\n'; }},
      {"an unknown action", [](auto& s) { s.head.action = catalog::PolicyAction(99); }},
      {"a prefix longer than an address", [](auto& s) { s.head.client_prefix_bits = 129; }},
      {"a label longer than 63 octets", [](auto& s) { s.name[0] = std::byte{64}; }},
      {"a name that ends early", [](auto& s) { s.name[0] = std::byte{0}; }},
      {"no name", [](auto& s) { s.head.name_bytes = 0; }}};
  for (const auto& [what, change] : cases) {
    const auto foreign = count(IngestCounter::ring_foreign);
    auto broken = sample();
    change(broken);
    push(broken);
    turn();
    EXPECT_TRUE(ingest_->take_samples().empty()) << what;
    EXPECT_EQ(count(IngestCounter::ring_foreign), foreign + 1) << what;
  }
}

TEST_F(PolicySamplesTest, AreRefusedAtEveryLengthButTheirOwn) {
  const auto whole = sample();
  const auto head = object_bytes(whole.head);
  for (std::size_t bytes = 0; bytes <= head.size(); ++bytes)
    EXPECT_TRUE(ring_->push(RingRecordKind::query_sample, head.first(bytes), {}));
  for (std::size_t bytes = 0; bytes < 20; ++bytes) {
    if (bytes != whole.head.name_bytes) push(whole, bytes);
  }
  turn();
  EXPECT_TRUE(ingest_->take_samples().empty());
  push(whole);
  turn();
  EXPECT_EQ(ingest_->take_samples().size(), 1U);
}

TEST_F(PolicySamplesTest, AreKeptUpToALimitAndCountedBeyondIt) {
  constexpr unsigned extra = 5;
  for (std::size_t i = 0; i < Ingest::samples_max + extra; ++i)
    push(sample("n" + std::to_string(i) + ".example."));
  turn();
  EXPECT_EQ(count(IngestCounter::samples), Ingest::samples_max + extra);
  EXPECT_EQ(count(IngestCounter::samples_dropped), extra);
  const auto taken = ingest_->take_samples();
  ASSERT_EQ(taken.size(), Ingest::samples_max);
  EXPECT_EQ(taken.front().name[2], std::byte{'0'}) << "the first ones stay";
  push(sample());
  turn();
  EXPECT_EQ(ingest_->take_samples().size(), 1U) << "and there is room again";
}

}  // namespace
}  // namespace pharos::controlplane
