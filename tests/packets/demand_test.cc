// Demand through serve_burst: what the samples of a serving thread say of its answers, and what they cost the ring.
#include "pharos/dataplane/dns/demand.hh"

#include "pharos/dataplane/dns/serve.hh"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#include "example_world.hh"
#include "octets.hh"

namespace pharos::dataplane {
namespace {

using namespace packets;  // NOLINT

constexpr std::uint32_t wall_s = 1'700'000'000;
constexpr std::uint32_t svc = 0, dealt = 2;
constexpr std::uint16_t everyone = 0, eu = 1;

const TableRoot& tables() {
  static const World::Root root = example_world();
  return *root;
}

struct Asked {
  const char* name;
  const char* client;
};

using Cell = std::pair<std::uint32_t, std::uint16_t>;

class Server {
 public:
  explicit Server(std::uint64_t ring_bytes = 1U << 16, bool sampled = true)
      : state_(options(sampled)),
        ring_(RingProducer::create(ring_bytes, "demand_test").value()),
        consumer_(RingConsumer::attach(UniqueFd(::dup(ring_.fd()))).value()) {
    at(wall_s);
  }
  void at(std::uint32_t second) { state_.set_time(second, Instant{1'000'000'000}); }

  // All in one burst.
  void serve(const std::vector<Asked>& asked) {
    constexpr std::uint16_t capacity = 1400;
    constexpr std::size_t stride = capacity + query_slack_bytes;
    std::vector<std::byte> buffers(asked.size() * stride);
    std::vector<Query> queries(asked.size());
    for (std::size_t i = 0; i < asked.size(); ++i) {
      const auto request = query({.name = asked[i].name, .type = 1});
      std::byte* buffer = buffers.data() + i * stride;
      std::ranges::copy(request, buffer);
      queries[i].message = buffer;
      queries[i].length = static_cast<std::uint16_t>(request.size());
      queries[i].capacity = capacity;
      queries[i].source_port = 4000;
      queries[i].source = *IpAddress::parse(asked[i].client);
    }
    serve_burst(state_, tables(), queries, counters_);
  }
  void forward() { forward_to_control_plane(state_, ring_); }

  // Entries of all records in the ring, by cell.
  std::map<Cell, std::uint64_t> received() {
    std::map<Cell, std::uint64_t> cells;
    while (const auto record = consumer_.pop()) {
      EXPECT_EQ(record->kind, RingRecordKind::demand);
      const auto head = load<DemandHead>(record->bytes.data());
      EXPECT_EQ(head.pools_id, tables().catalog.header().content_id);
      EXPECT_EQ(head.locales_id, tables().locales.header().content_id);
      EXPECT_EQ(head.catalog_id, tables().catalog.header().checksum);
      EXPECT_EQ(record->bytes.size(), sizeof head + head.entry_count * sizeof(DemandEntry));
      for (std::uint32_t i = 0; i < head.entry_count; ++i) {
        const auto entry =
            load<DemandEntry>(record->bytes.data() + sizeof head + i * sizeof(DemandEntry));
        cells[{entry.pool, entry.locale}] += entry.weight;
        const auto* node = tables().catalog.node(entry.node);
        names[dns::name_text({node->name(), node->name_bytes})] += entry.weight;
      }
      ++records;
    }
    consumer_.release();
    return cells;
  }

  CoreCounters counters_;
  unsigned records = 0;
  std::map<std::string, std::uint64_t> names;  // of all that was received

 private:
  static ServeOptions options(bool sampled) {
    ServeOptions options;
    options.demand_sampled = sampled;
    return options;
  }

  ServeState state_;
  RingProducer ring_;
  RingConsumer consumer_;
};

std::uint64_t sum(const std::map<Cell, std::uint64_t>& cells) {
  return std::accumulate(cells.begin(), cells.end(), std::uint64_t{0},
                         [](auto total, const auto& cell) { return total + cell.second; });
}

TEST(DemandTest, OneQueryAtATimeIsCountedExactly) {
  Server server;
  for (int i = 0; i < 5; ++i) server.serve({{"svc.example.", "192.0.2.9"}});
  for (int i = 0; i < 3; ++i) server.serve({{"svc.example.", "198.51.100.7"}});
  server.serve({{"dealt.example.", "198.51.100.7"}});
  server.forward();
  EXPECT_TRUE(server.received().empty()) << "not before the second is over";
  server.at(wall_s + 1);
  server.forward();
  const auto cells = server.received();
  EXPECT_EQ(cells, (std::map<Cell, std::uint64_t>{
                       {{svc, everyone}, 5}, {{svc, eu}, 3}, {{dealt, eu}, 1}}));
  EXPECT_EQ(server.names,
            (std::map<std::string, std::uint64_t>{{"svc.example.", 8}, {"dealt.example.", 1}}));
}

TEST(DemandTest, StaticAnswersAndDenialsAreNoDemand) {
  Server server;
  server.serve({{"www.example.", "192.0.2.9"},
                {"nothing.example.", "192.0.2.9"},
                {"closed.example.", "192.0.2.9"}});
  server.at(wall_s + 1);
  server.forward();
  EXPECT_TRUE(server.received().empty());
}

TEST(DemandTest, WhereItIsOffNothingIsSampled) {
  Server server(1U << 16, false);
  server.serve({{"svc.example.", "192.0.2.9"}, {"any.svcs.example.", "192.0.2.9"}});
  server.serve({{"tosvc.example.", "198.51.100.7"}});
  server.at(wall_s + 1);
  server.forward();
  EXPECT_TRUE(server.received().empty());
}

TEST(DemandTest, WildcardsAndAliasesOfServicesCount) {
  Server server;
  server.serve({{"any.svcs.example.", "192.0.2.9"}});
  server.serve({{"tosvc.example.", "198.51.100.7"}});
  server.at(wall_s + 1);
  server.forward();
  EXPECT_EQ(server.received(),
            (std::map<Cell, std::uint64_t>{{{svc, everyone}, 1}, {{svc, eu}, 1}}));
  EXPECT_EQ(server.names,
            (std::map<std::string, std::uint64_t>{{"*.svcs.example.", 1}, {"svc.example.", 1}}))
      << "the names that answered";
}

TEST(DemandTest, BurstsAreSampledAndTheirSumIsRight) {
  Server server;
  std::uint64_t answered = 0;
  for (int burst = 0; burst < 2000; ++burst) {
    std::vector<Asked> asked;
    for (int i = 0; i < 16; ++i) {
      asked.push_back({"svc.example.", i % 4 == 0 ? "198.51.100.7" : "192.0.2.9"});
    }
    answered += asked.size();
    if (burst % 100 == 0) server.at(wall_s + static_cast<std::uint32_t>(burst));
    server.serve(asked);
    server.forward();
  }
  server.at(wall_s + 5000);
  server.forward();
  const auto cells = server.received();
  EXPECT_EQ(sum(cells), answered);
  EXPECT_NEAR(static_cast<double>(cells.at({svc, eu})) / static_cast<double>(answered), 0.25, 0.04);
}

TEST(DemandTest, ASecondTakesNoMoreThanItsRecordsAndLosesNoWeight) {
  Server server(1U << 18);
  std::uint64_t answered = 0;
  for (int burst = 0; burst < 20'000; ++burst) {
    server.serve({{"svc.example.", "192.0.2.9"}, {"svc.example.", "192.0.2.9"}});
    answered += 2;
    server.forward();
  }
  static_cast<void>(server.received());
  EXPECT_EQ(server.records, 64U);
  server.at(wall_s + 1);
  server.forward();
  server.serve({{"svc.example.", "192.0.2.9"}});
  server.at(wall_s + 2);
  server.forward();
  const auto rest = sum(server.received());
  EXPECT_EQ(rest, answered + 1 - 64U * demand_entries_max * 2);
}

TEST(DemandTest, HalfOfTheRingIsLeftToBeacons) {
  Server server(1U << 14);
  for (std::uint32_t second = 0; second < 200; ++second) {
    server.at(wall_s + second);
    for (unsigned i = 0; i < demand_entries_max; ++i) {
      server.serve({{"svc.example.", "192.0.2.9"}});
    }
    server.forward();
  }
  static_cast<void>(server.received());
  EXPECT_LE(server.records * 1960, (1U << 14) / 2 + 1960);
  EXPECT_GE(server.records, 4U);
}

}  // namespace
}  // namespace pharos::dataplane
