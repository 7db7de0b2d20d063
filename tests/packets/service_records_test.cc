// SRV, SVCB and HTTPS of services, from the configuration's text to the reply's bytes: configuration, world, catalog,
// engine, ranking image, serve_burst.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "message_text.hh"
#include "served.hh"

namespace pharos::dataplane {
namespace {

using namespace packets;  // NOLINT

constexpr unsigned type_a = 1, type_aaaa = 28, type_srv = 33, type_svcb = 64, type_https = 65;

const std::string sites =
    "sites:\n"
    "  - {id: fra, location: [50.11, 8.68]}\n"
    "  - {id: nyc, location: [40.71, -74.01]}\n"
    "locales:\n"
    "  - {id: us, location: [41, -87], prefixes: [198.18.2.0/24]}\n"
    "  - {id: eu, location: [48, 2], prefixes: [198.18.1.0/24]}\n"
    "zones: [{id: example.org, hosts: {ns1: 192.0.2.53}}]\n";

const std::string ranked = sites + R"(services:
  - id: www
    names: [www.example.org, "*.www.example.org", w.example.org]
    alias_names: example.org
    srv: _https._tcp
    https: [443, 8443]
    svcb: _dns
    ttl_ceiling: 60s
    parameters: {alpn: [h2, h3]}
    endpoints:
      - {id: fra, site: fra, addresses: [203.0.113.10, "2001:db8:f::10"], port: 443, weight: 3}
      - {id: nyc, site: nyc, address: "203.0.113.11:8443", ttl_max: 20s, parameters: {alpn: h2}}
)";

const std::string fra_a = "ar fra.www.example.org. 60 A 203.0.113.10";
const std::string fra_aaaa = "ar fra.www.example.org. 60 AAAA 2001:db8:f::10";
const std::string nyc_a = "ar nyc.www.example.org. 20 A 203.0.113.11";

TEST(ServiceRecordsTest, SrvHasRankWeightPortAndTargetsWithTheirAddresses) {
  Served served(ranked);
  EXPECT_EQ(served.lines("_https._tcp.www.example.org", type_srv),
            (Lines{"an _https._tcp.www.example.org. 20 SRV 1 3 443 fra.www.example.org.",
                   "an _https._tcp.www.example.org. 20 SRV 2 1 8443 nyc.www.example.org.", fra_a,
                   fra_aaaa, nyc_a}));
  EXPECT_EQ(served.lines("_https._tcp.w.example.org", type_srv, "198.18.2.1"),
            (Lines{"an _https._tcp.w.example.org. 20 SRV 1 1 8443 nyc.www.example.org.",
                   "an _https._tcp.w.example.org. 20 SRV 2 3 443 fra.www.example.org.", nyc_a,
                   fra_a, fra_aaaa}))
      << "another name of the service, and clients elsewhere";
}

TEST(ServiceRecordsTest, HttpsAndSvcbHaveParametersOfTheirEndpoints) {
  Served served(ranked);
  const auto expected = [](const std::string& owner, const std::string& type) {
    return Lines{"an " + owner + " 20 " + type +
                     " 1 fra.www.example.org. alpn=h2,h3 port=443 ipv4hint=203.0.113.10 "
                     "ipv6hint=2001:db8:f::10",
                 "an " + owner + " 20 " + type +
                     " 2 nyc.www.example.org. alpn=h2 port=8443 ipv4hint=203.0.113.11",
                 fra_a, fra_aaaa, nyc_a};
  };
  EXPECT_EQ(served.lines("www.example.org", type_https), expected("www.example.org.", "HTTPS"));
  EXPECT_EQ(served.lines("x.y.www.example.org", type_https),
            expected("x.y.www.example.org.", "HTTPS"))
      << "a wildcard";
  EXPECT_EQ(served.lines("_8443._https.w.example.org", type_https),
            expected("_8443._https.w.example.org.", "HTTPS"));
  EXPECT_EQ(served.lines("_dns.www.example.org", type_svcb),
            expected("_dns.www.example.org.", "SVCB"));
}

TEST(ServiceRecordsTest, EndpointNamesAnswerTheirAddressesWhateverTheRanking) {
  Served served(ranked);
  served.set("www", "fra", config::Override::down);
  EXPECT_EQ(served.lines("fra.www.example.org", type_a),
            Lines{"an fra.www.example.org. 60 A 203.0.113.10"});
  EXPECT_EQ(served.lines("FRA.www.example.org", type_aaaa),
            Lines{"an FRA.www.example.org. 60 AAAA 2001:db8:f::10"});
  EXPECT_EQ(served.lines("nyc.www.example.org", type_aaaa).at(0).substr(0, 15), "ns example.org.")
      << "no data";
}

TEST(ServiceRecordsTest, AnApexIsAnAliasWithAddresses) {
  Served served(ranked);
  EXPECT_EQ(served.lines("example.org", type_https),
            Lines{"an example.org. 60 HTTPS 0 www.example.org."});
  EXPECT_EQ(served.lines("_dns.example.org", type_svcb),
            Lines{"an _dns.example.org. 60 SVCB 0 _dns.www.example.org."});
  EXPECT_EQ(served.lines("example.org", type_a).at(0), "an example.org. 20 A 203.0.113.10");
  EXPECT_EQ(served.lines("_https._tcp.example.org", type_srv).size(), 5U);
}

TEST(ServiceRecordsTest, OtherTypesAndPrefixesHaveNoData) {
  Served served(ranked);
  for (const auto& [name, type] : {std::pair{"www.example.org", type_srv},
                                   {"_https._tcp.www.example.org", type_a},
                                   {"_tcp.www.example.org", type_srv},
                                   {"_dns.www.example.org", type_https}}) {
    const auto lines = served.lines(name, type);
    ASSERT_EQ(lines.size(), 1U) << name;
    EXPECT_EQ(lines[0].substr(0, 19), "ns example.org. 60 ") << name;
  }
}

TEST(ServiceRecordsTest, AddressesAreLeftOutBeforeAnythingIsTruncated) {
  Served served(ranked);
  const auto whole = served.ask("_https._tcp.www.example.org", type_srv).size();
  const auto records = served.ask("_https._tcp.www.example.org", type_srv, "198.18.1.1", 512);
  EXPECT_EQ(records.size(), whole) << "all fits in 512 bytes";
  const Lines without = {"an www.example.org. 20 HTTPS 1", "an www.example.org. 20 HTTPS 2"};
  std::string text = ranked;
  text.replace(text.find("[h2, h3]"), 8, "[h2, h3], key667: " + std::string(130, 'x'));
  text.replace(text.find("{alpn: h2}"), 10, "{alpn: h3}");
  Served large(text);
  EXPECT_EQ(large.lines("www.example.org", type_https, "198.18.1.1", 1232).size(), 5U);
  const auto small = large.lines("www.example.org", type_https, "198.18.1.1", 0);
  ASSERT_EQ(small.size(), 2U);
  EXPECT_EQ(small[0].substr(0, without[0].size()), without[0]);
  EXPECT_EQ(small[1].substr(0, without[1].size()), without[1]);
}

TEST(ServiceRecordsTest, TheOperatorsWordMovesThemAll) {
  Served served(ranked);
  served.set("www", "fra", config::Override::down);
  EXPECT_EQ(served.lines("_https._tcp.www.example.org", type_srv).size(), 2U);
  EXPECT_EQ(served.lines("www.example.org", type_https).at(0).substr(0, 52),
            "an www.example.org. 20 HTTPS 1 nyc.www.example.org. ");
  served.set("www", "fra", config::Override::automatic);
  served.set_weight("www", "fra", 0.5);
  const auto first = served.lines("_https._tcp.www.example.org", type_srv).at(0);
  EXPECT_TRUE(first.ends_with(" SRV 1 500 443 fra.www.example.org."))
      << "first again, and its weight to the scale of 1000: " << first;
}

const std::string weighted = sites + R"(services:
  - id: api
    names: api.example.org
    policy: weighted
    slots: 64
    answers_max: ANSWERS
    srv: _https._tcp
    https: 443
    endpoints:
      - {id: a, site: fra, address: 203.0.113.20, port: 443, weight: 3}
      - {id: b, site: fra, address: 203.0.113.21, port: 443, weight: 1}
)";
std::string weighted_with(const char* answers) {
  std::string text = weighted;
  return text.replace(text.find("ANSWERS"), 7, answers);
}

TEST(ServiceRecordsTest, WeighedSrvLeavesTheChoiceToClients) {
  Served served(weighted_with("8"));
  std::set<Lines> seen;
  std::map<std::string, unsigned> first;
  for (unsigned i = 0; i < 200; ++i) {
    const std::string client = "10." + std::to_string(i) + ".7.1";
    seen.insert(served.lines("_https._tcp.api.example.org", type_srv, client));
    ++first[served.lines("api.example.org", type_https, client).at(0)];
  }
  EXPECT_EQ(seen,
            (std::set<Lines>{{"an _https._tcp.api.example.org. 60 SRV 1 3 443 a.api.example.org.",
                              "an _https._tcp.api.example.org. 60 SRV 1 1 443 b.api.example.org.",
                              "ar a.api.example.org. 60 A 203.0.113.20",
                              "ar b.api.example.org. 60 A 203.0.113.21"}}));
  const auto to_a = first
      ["an api.example.org. 60 HTTPS 1 a.api.example.org. port=443 "
       "ipv4hint=203.0.113.20"];
  EXPECT_GT(to_a, 120U) << "HTTPS has no weights: clients are dealt their order";
  EXPECT_LT(to_a, 180U);
}

TEST(ServiceRecordsTest, WeighedSrvWithFewerAnswersIsDealt) {
  Served served(weighted_with("1"));
  std::map<std::string, unsigned> first;
  for (unsigned i = 0; i < 200; ++i) {
    const auto lines =
        served.lines("_https._tcp.api.example.org", type_srv, "10." + std::to_string(i) + ".7.1");
    ASSERT_EQ(lines.size(), 2U);
    ++first[lines[0]];
  }
  EXPECT_EQ(first.size(), 2U);
  EXPECT_GT(first["an _https._tcp.api.example.org. 60 SRV 1 3 443 a.api.example.org."], 120U);
}

TEST(ServiceRecordsTest, WhoFailsToAnotherServiceNamesItsEndpoints) {
  Served served(sites + R"(services:
  - id: main
    names: main.example.org
    https: 443
    fail: to spare
    endpoints: [{id: m, site: fra, address: 203.0.113.30}]
  - id: spare
    names: spare.example.org
    https: 443
    endpoints: [{id: s, site: nyc, address: 203.0.113.31, target: elsewhere.example.net}]
)");
  EXPECT_EQ(served.lines("main.example.org", type_https),
            (Lines{"an main.example.org. 60 HTTPS 1 m.main.example.org. ipv4hint=203.0.113.30",
                   "ar m.main.example.org. 60 A 203.0.113.30"}));
  served.set("main", "m", config::Override::down);
  const auto lines = served.lines("main.example.org", type_https);
  ASSERT_EQ(lines.size(), 1U) << "addresses of names that we do not make are not ours to add";
  EXPECT_TRUE(lines[0].ends_with(" HTTPS 1 elsewhere.example.net. ipv4hint=203.0.113.31"));
}

}  // namespace
}  // namespace pharos::dataplane
