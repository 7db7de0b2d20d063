// Steering as clients see it: thousands of them ask the tables that a configuration comes to.
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <random>

#include "served.hh"

namespace pharos::dataplane {
namespace {

using namespace packets;  // NOLINT

constexpr std::size_t client_count = 20'000;

// Of as many networks, with a fixed seed; none of them in a locale of ours.
const std::vector<IpAddress>& clients() {
  static const auto all = [] {
    std::mt19937_64 random(20261120);
    std::set<std::uint32_t> networks;
    while (networks.size() < client_count) {
      const auto network = static_cast<std::uint32_t>(random() >> 40) << 8;
      if (network >> 24 < 190 && network >> 24 > 0) networks.insert(network);
    }
    std::vector<IpAddress> addresses;
    for (const auto network : networks) addresses.push_back(IpAddress::from_ipv4(network + 7));
    return addresses;
  }();
  return all;
}

double moved(const std::vector<IpAddress>& before, const std::vector<IpAddress>& after) {
  std::size_t count = 0;
  for (std::size_t i = 0; i < before.size(); ++i) count += before[i] != after[i];
  return static_cast<double>(count) / static_cast<double>(before.size());
}

std::map<std::string, double> shares_of(const std::vector<IpAddress>& firsts) {
  std::map<std::string, double> shares;
  for (const auto& address : firsts)
    shares[address.text()] += 1.0 / static_cast<double>(firsts.size());
  return shares;
}

const std::string sites =
    "sites:\n"
    "  - {id: fra, location: [50.11, 8.68]}\n"
    "  - {id: ams, location: [52.37, 4.90]}\n"
    "  - {id: nyc, location: [40.71, -74.01]}\n"
    "  - {id: sin, location: [1.35, 103.8]}\n"
    "zones: [{id: example.org, hosts: {ns1: 192.0.2.53}}]\n";

// Endpoints e0, e1, ... with these weights, at the sites in turn.
std::string weighted(const std::vector<double>& weights, unsigned slots) {
  std::string text =
      sites + "services:\n  - id: www\n    names: www.example.org\n" +
      "    policy: weighted\n    answers_max: 1\n    slots: " + std::to_string(slots) +
      "\n    endpoints:\n";
  const char* at[] = {"fra", "ams", "nyc", "sin"};
  for (std::size_t i = 0; i < weights.size(); ++i) {
    text += "      - {id: e" + std::to_string(i) + ", site: " + at[i % 4] +
            ", address: 203.0.113." + std::to_string(i + 1) +
            ", weight: " + std::to_string(weights[i]) + "}\n";
  }
  return text;
}

double share(const std::vector<double>& weights, std::size_t of) {
  double total = 0;
  for (const double weight : weights) total += weight;
  return weights[of] / total;
}

TEST(SteeringTest, SharesOfClientsFollowTheWeights) {
  const std::vector<double> weights = {5, 3, 1, 1};
  Served served(weighted(weights, 256));
  const auto shares = shares_of(served.first_addresses("www.example.org", clients()));
  for (std::size_t i = 0; i < weights.size(); ++i) {
    EXPECT_NEAR(shares.at("203.0.113." + std::to_string(i + 1)), share(weights, i), 0.015) << i;
  }
}

// A change of weight by x of all clients moves at most x + 2 % of them.
TEST(SteeringTest, AChangeOfWeightMovesFewMoreClientsThanItMust) {
  double worst = 0;
  for (const unsigned slots : {64U, 256U}) {
    for (const auto& weights : std::vector<std::vector<double>>{
             {1, 1}, {1, 1, 1}, {5, 3, 1, 1}, {4, 4, 4, 4, 4, 4, 4}, {10, 1, 1, 1, 1, 2, 3, 7}}) {
      Served served(weighted(weights, slots));
      const auto before = served.first_addresses("www.example.org", clients());
      for (const double factor : {0.5, 0.9, 1.1, 2.0, 4.0}) {
        for (const std::size_t of : {std::size_t{0}, weights.size() - 1}) {
          auto changed = weights;
          changed[of] *= factor;
          const double x = std::abs(share(changed, of) - share(weights, of));
          const auto id = "e" + std::to_string(of);
          served.set_weight("www", id.c_str(), changed[of]);
          const auto after = served.first_addresses("www.example.org", clients());
          worst = std::max(worst, moved(before, after) - x);
          EXPECT_LE(moved(before, after), x + 0.02) << slots << " slots, " << weights.size()
                                                    << " endpoints, " << id << " times " << factor;
          served.set_weight("www", id.c_str(), weights[of]);
          EXPECT_EQ(served.first_addresses("www.example.org", clients()), before)
              << "back again, all are where they were";
        }
      }
    }
  }
  RecordProperty("worst_beyond_x", std::to_string(worst));
}

// ---- policies within policies ----

const std::string nested = sites + R"(services:
  - id: www
    names: www.example.org
    policy: failover
    answers_max: 1
    slots: 256
    groups:
      - {id: europe, policy: weighted, priority: 0}
      - {id: overseas, policy: weighted, priority: 1}
    endpoints:
      - {id: fra, site: fra, address: 203.0.113.1, weight: 3, group: europe}
      - {id: ams, site: ams, address: 203.0.113.2, weight: 1, group: europe}
      - {id: nyc, site: nyc, address: 203.0.113.3, weight: 1, group: overseas}
      - {id: sin, site: sin, address: 203.0.113.4, weight: 4, group: overseas}
)";

TEST(SteeringTest, AFailoverOfWeightedGroupsDealsInTheFirstThatIsWell) {
  Served served(nested);
  const auto shares = [&] {
    return shares_of(served.first_addresses("www.example.org", clients()));
  };
  const auto first = served.first_addresses("www.example.org", clients());
  EXPECT_EQ(shares().size(), 2U);
  EXPECT_NEAR(shares().at("203.0.113.1"), 0.75, 0.015);
  served.set("www", "ams", config::Override::down);
  EXPECT_EQ(shares(), (std::map<std::string, double>{{"203.0.113.1", shares().at("203.0.113.1")}}))
      << "half of the group is left, all of its clients are there";
  served.set("www", "fra", config::Override::down);
  EXPECT_EQ(shares().size(), 2U);
  EXPECT_NEAR(shares().at("203.0.113.4"), 0.8, 0.015);
  served.set("www", "fra", config::Override::automatic);
  served.set("www", "ams", config::Override::automatic);
  EXPECT_EQ(served.first_addresses("www.example.org", clients()), first);
}

TEST(SteeringTest, AGroupOfAWeightedServiceHasItsShareOfTheShare) {
  Served served(sites + R"(services:
  - id: www
    names: www.example.org
    policy: weighted
    answers_max: 1
    slots: 256
    groups:
      - {id: old, policy: weighted, weight: 3}
    endpoints:
      - {id: fra, site: fra, address: 203.0.113.1, weight: 1, group: old}
      - {id: ams, site: ams, address: 203.0.113.2, weight: 1, group: old}
      - {id: nyc, site: nyc, address: 203.0.113.3, weight: 1}
)");
  const auto before = served.first_addresses("www.example.org", clients());
  const auto shares = shares_of(before);
  EXPECT_NEAR(shares.at("203.0.113.1"), 0.375, 0.015);
  EXPECT_NEAR(shares.at("203.0.113.2"), 0.375, 0.015);
  EXPECT_NEAR(shares.at("203.0.113.3"), 0.25, 0.015);
  // Within the group, a change moves clients of the group alone: 0.75 * (2/3 - 1/2).
  served.set_weight("www", "fra", 2);
  const auto after = served.first_addresses("www.example.org", clients());
  EXPECT_LE(moved(before, after), 0.125 + 0.02);
  EXPECT_GE(moved(before, after), 0.125 - 0.02);
  for (std::size_t i = 0; i < before.size(); ++i) {
    if (before[i].text() == "203.0.113.3") {
      ASSERT_EQ(before[i], after[i]);
    }
  }
}

}  // namespace
}  // namespace pharos::dataplane
