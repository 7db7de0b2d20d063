// The wire form of beacons: round trips, golden bytes, every truncation, every bit flip, and values
// at the edge.
#include "pharos/wire/beacon.hh"

#include <gtest/gtest.h>

#include <bit>
#include <limits>
#include <random>
#include <string>

namespace pharos {
namespace {

using beacon::MacKey;
using Buffer = std::array<std::byte, beacon::datagram_bytes_max>;

std::array<std::uint8_t, 32> counting_secret() {
  std::array<std::uint8_t, 32> secret{};
  for (unsigned i = 0; i < 32; ++i) secret[i] = static_cast<std::uint8_t>(i);
  return secret;
}

MacKey test_key() {
  return MacKey(counting_secret());
}

beacon::Stamp test_stamp() {
  return {.site_tag = beacon::site_tag("fra1"),
          .boot_epoch = 0x0000018c2f3a4b5c,
          .sequence = 7,
          .sent_wall_ms = 1'700'000'000'123,
          .key_id = 3};
}

SiteReport full_report() {
  SiteReport report;
  report.metrics = {.cpu_ratio = 0.25F,
                    .cpu_pressure_ratio = 0.0F,
                    .memory_ratio = 0.5F,
                    .memory_pressure_ratio = 1.0F,
                    .receive_bps = 1e6F,
                    .transmit_bps = 2e6F,
                    .link_bps = 1e10F,
                    .requests_rps = 1234.5F,
                    .requests_in_flight = 17.0F,
                    .error_ratio = 0.125F,
                    .responder_rtt_us = 850.0F};
  report.interval_ms = 1000;
  report.endpoints = {{endpoint_hash("www", "fra1-a"), true, 100.0F},
                      {endpoint_hash("www", "fra1-b"), false, {}}};
  return report;
}

void expect_same(const SiteReport& a, const SiteReport& b) {
  EXPECT_EQ(a.metrics.cpu_ratio, b.metrics.cpu_ratio);
  EXPECT_EQ(a.metrics.cpu_pressure_ratio, b.metrics.cpu_pressure_ratio);
  EXPECT_EQ(a.metrics.memory_ratio, b.metrics.memory_ratio);
  EXPECT_EQ(a.metrics.memory_pressure_ratio, b.metrics.memory_pressure_ratio);
  EXPECT_EQ(a.metrics.receive_bps, b.metrics.receive_bps);
  EXPECT_EQ(a.metrics.transmit_bps, b.metrics.transmit_bps);
  EXPECT_EQ(a.metrics.link_bps, b.metrics.link_bps);
  EXPECT_EQ(a.metrics.requests_rps, b.metrics.requests_rps);
  EXPECT_EQ(a.metrics.requests_in_flight, b.metrics.requests_in_flight);
  EXPECT_EQ(a.metrics.error_ratio, b.metrics.error_ratio);
  EXPECT_EQ(a.metrics.responder_rtt_us, b.metrics.responder_rtt_us);
  EXPECT_EQ(a.interval_ms, b.interval_ms);
  EXPECT_EQ(a.leaving, b.leaving);
  EXPECT_EQ(a.copies, b.copies);
  ASSERT_EQ(a.endpoints.size(), b.endpoints.size());
  for (std::size_t i = 0; i < a.endpoints.size(); ++i) {
    EXPECT_EQ(a.endpoints[i].endpoint, b.endpoints[i].endpoint);
    EXPECT_EQ(a.endpoints[i].up, b.endpoints[i].up);
    EXPECT_EQ(a.endpoints[i].requests_rps, b.endpoints[i].requests_rps);
  }
}

std::string hex(ConstBytes bytes) {
  std::string text;
  for (const auto b : bytes) {
    constexpr char digits[] = "0123456789abcdef";
    text += digits[static_cast<unsigned>(b) >> 4];
    text += digits[static_cast<unsigned>(b) & 15];
  }
  return text;
}

bool opens(ConstBytes datagram, const MacKey& key) {
  return beacon::claim_of(datagram).has_value() && beacon::authentic(datagram, key);
}

// Re-signs a datagram whose bytes a test has changed.
void sign(Bytes datagram, const MacKey& key) {
  const auto covered = datagram.size() - beacon::mac_bytes;
  store(datagram.data() + covered, key.mac_of(datagram.first(covered)));
}

TEST(BeaconTest, CarriesEveryFieldThereAndBack) {
  Buffer buffer;
  for (const bool leaving : {false, true}) {
    auto report = full_report();
    report.leaving = leaving;
    report.copies = leaving ? 3 : 2;
    const auto length = beacon::encode(test_stamp(), report, test_key(), buffer);
    ASSERT_EQ(length, 52U + 11 * 4 + 2 * 16 + 16);
    const ConstBytes datagram(buffer.data(), length);
    const auto claim = beacon::claim_of(datagram);
    ASSERT_TRUE(claim);
    EXPECT_EQ(claim->site_tag, beacon::site_tag("fra1"));
    EXPECT_EQ(claim->key_id, 3);
    ASSERT_TRUE(beacon::authentic(datagram, test_key()));
    const auto stamp = beacon::stamp_of(datagram);
    EXPECT_EQ(stamp.boot_epoch, test_stamp().boot_epoch);
    EXPECT_EQ(stamp.sequence, 7U);
    EXPECT_EQ(stamp.sent_wall_ms, 1'700'000'000'123);
    SiteReport decoded;
    ASSERT_TRUE(beacon::decode(datagram, decoded));
    expect_same(decoded, report);
  }
}

TEST(BeaconTest, LeavesOutWhatWasNotMeasured) {
  Buffer buffer;
  SiteReport report;
  report.interval_ms = 250;
  report.metrics.memory_ratio = 0.75F;
  const auto length = beacon::encode(test_stamp(), report, test_key(), buffer);
  ASSERT_EQ(length, 52U + 4 + 16);
  SiteReport decoded = full_report();  // what it held before must not show through
  ASSERT_TRUE(beacon::decode(ConstBytes(buffer).first(length), decoded));
  expect_same(decoded, report);
}

TEST(BeaconTest, HasTheBytesThatTheDocumentShows) {
  Buffer buffer;
  SiteReport report;
  report.interval_ms = 1000;
  report.leaving = true;
  report.metrics.cpu_ratio = 0.5F;
  report.metrics.memory_ratio = 0.25F;
  report.endpoints = {{0x1122334455667788, true, 2.0F}};
  const auto length = beacon::encode(test_stamp(), report, test_key(), buffer);
  EXPECT_EQ(hex(ConstBytes(buffer).first(length)),
            "50485242"  // "PHRB"
            "01"
            "03"
            "0001"              // version 1, key 3, leaving
            "028f23be3d2b3e0d"  // site tag of fra1
            "0000018c2f3a4b5c"  // boot epoch
            "0000000000000007"  // sequence
            "0000018bcfe5687b"  // 1700000000123 ms
            "000003e8"          // interval 1000 ms
            "00000005"          // cpu_ratio and memory_ratio
            "0001"
            "0000"  // one endpoint
            "3f000000"
            "3e800000"
            "1122334455667788"
            "40000000"
            "0003"
            "0000"
            "d2431d78207ad4f32541ede49a75527f");
}

TEST(BeaconTest, CountsNoMoreCopiesThanThereMayBe) {
  Buffer buffer;
  SiteReport report;
  report.interval_ms = 1000;
  for (const auto& [sent, told] : {std::pair{0U, 1U}, {1U, 1U}, {2U, 2U}, {3U, 3U}, {99U, 3U}}) {
    report.copies = sent;
    const auto length = beacon::encode(test_stamp(), report, test_key(), buffer);
    SiteReport decoded;
    ASSERT_TRUE(beacon::decode(ConstBytes(buffer).first(length), decoded));
    EXPECT_EQ(decoded.copies, told) << sent;
  }
  store(buffer.data() + offsetof(beacon::WireHeader, flags), Be16(0xffff));
  SiteReport decoded;
  ASSERT_TRUE(beacon::decode(ConstBytes(buffer).first(beacon::datagram_bytes_min), decoded));
  EXPECT_EQ(decoded.copies, copies_max) << "all bits set, as nobody sends them";
}

TEST(BeaconTest, NamesSitesAndEndpointsByAStableDigest) {
  EXPECT_EQ(hex(object_bytes(Be64(beacon::site_tag("fra1")))), "028f23be3d2b3e0d");
  EXPECT_EQ(hex(object_bytes(Be64(endpoint_hash("www", "fra1-a")))), "7f7cf7c971baf127");
  EXPECT_NE(endpoint_hash("ab", "c"), endpoint_hash("a", "bc"));
  EXPECT_NE(beacon::site_tag("fra1"), beacon::site_tag("fra2"));
}

TEST(BeaconTest, RefusesEveryTruncationAndEveryExtraByte) {
  std::array<std::byte, beacon::datagram_bytes_max + 8> buffer{};
  const auto length = beacon::encode(test_stamp(), full_report(), test_key(), buffer);
  ASSERT_GT(length, 0U);
  for (std::size_t n = 0; n < length; ++n) {
    // A copy of exactly n bytes, so that a sanitizer sees any read behind them.
    const std::vector<std::byte> cut(buffer.begin(),
                                     buffer.begin() + static_cast<std::ptrdiff_t>(n));
    EXPECT_FALSE(beacon::claim_of(cut)) << n;
  }
  for (std::size_t n = length + 1; n <= buffer.size(); ++n) {
    EXPECT_FALSE(beacon::claim_of(ConstBytes(buffer).first(n))) << n;
  }
}

TEST(BeaconTest, RefusesEveryFlippedBit) {
  Buffer buffer;
  const auto length = beacon::encode(test_stamp(), full_report(), test_key(), buffer);
  const auto key = test_key();
  ASSERT_TRUE(opens(ConstBytes(buffer).first(length), key));
  for (std::size_t bit = 0; bit < length * 8; ++bit) {
    buffer[bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
    EXPECT_FALSE(opens(ConstBytes(buffer).first(length), key)) << "bit " << bit;
    buffer[bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
  }
}

TEST(BeaconTest, RefusesAnotherKey) {
  Buffer buffer;
  const auto length = beacon::encode(test_stamp(), full_report(), test_key(), buffer);
  auto secret = counting_secret();
  secret[31] ^= 1;
  const MacKey other(secret);
  EXPECT_FALSE(beacon::authentic(ConstBytes(buffer).first(length), other));
  EXPECT_NE(other.fingerprint(), test_key().fingerprint());
}

TEST(BeaconTest, HoldsTheStatedNumberOfEndpointsAndNoMore) {
  Buffer buffer;
  auto report = full_report();
  report.endpoints.assign(beacon::endpoint_count_max, {1, true, 1.0F});
  const auto length = beacon::encode(test_stamp(), report, test_key(), buffer);
  EXPECT_GT(length, 0U);
  EXPECT_LE(length, beacon::datagram_bytes_max);
  SiteReport decoded;
  EXPECT_TRUE(opens(ConstBytes(buffer).first(length), test_key()));
  EXPECT_TRUE(beacon::decode(ConstBytes(buffer).first(length), decoded));
  EXPECT_EQ(decoded.endpoints.size(), beacon::endpoint_count_max);
  EXPECT_EQ(beacon::encode(test_stamp(), report, test_key(), Bytes(buffer).first(length - 1)), 0U);
  report.endpoints.emplace_back();
  EXPECT_EQ(beacon::encode(test_stamp(), report, test_key(), buffer), 0U);
}

TEST(BeaconTest, RefusesValuesThatNoSiteCanHave) {
  Buffer buffer;
  const float wrong[] = {-1.0F, 1.5F, std::numeric_limits<float>::quiet_NaN(),
                         std::numeric_limits<float>::infinity(),
                         -std::numeric_limits<float>::infinity()};
  for (const float value : wrong) {
    auto report = full_report();
    report.metrics.cpu_ratio = value;
    EXPECT_EQ(beacon::encode(test_stamp(), report, test_key(), buffer), 0U) << value;
    // The same value in a datagram that is signed all the same: metric 0 stands right behind the
    // header.
    const auto length = beacon::encode(test_stamp(), full_report(), test_key(), buffer);
    const auto datagram = Bytes(buffer).first(length);
    store(buffer.data() + sizeof(beacon::WireHeader), Be32(std::bit_cast<std::uint32_t>(value)));
    sign(datagram, test_key());
    ASSERT_TRUE(opens(datagram, test_key()));
    SiteReport decoded;
    EXPECT_FALSE(beacon::decode(datagram, decoded)) << value;
  }
  auto report = full_report();
  report.endpoints[0].requests_rps = -2.0F;
  EXPECT_EQ(beacon::encode(test_stamp(), report, test_key(), buffer), 0U);
  report = full_report();
  report.interval_ms = 0;
  EXPECT_EQ(beacon::encode(test_stamp(), report, test_key(), buffer), 0U);
}

TEST(BeaconTest, CarriesLooksFromOutsideAndTheTimeOfRequests) {
  Buffer buffer;
  auto report = full_report();
  report.metrics.request_latency_us = 12'500.0F;
  report.endpoints.push_back({.endpoint = endpoint_hash("www", "nyc1-a"),
                              .up = true,
                              .requests_rps = {},
                              .probe = true,
                              .probe_us = 81'000.0F,
                              .notices_ds = 57});
  report.endpoints.push_back(
      {.endpoint = endpoint_hash("www", "nyc1-b"), .up = false, .requests_rps = {}, .probe = true});
  const auto length = beacon::encode(test_stamp(), report, test_key(), buffer);
  ASSERT_EQ(length, 52U + 12 * 4 + 4 * 16 + 16);
  SiteReport decoded;
  decoded.endpoints.resize(4);  // of another beacon before it
  for (auto& endpoint : decoded.endpoints) endpoint.requests_rps = endpoint.probe_us = 1.0F;
  ASSERT_TRUE(beacon::decode(ConstBytes(buffer).first(length), decoded));
  expect_same(decoded, report);
  EXPECT_EQ(decoded.metrics.request_latency_us, 12'500.0F);
  EXPECT_FALSE(decoded.endpoints[1].probe);
  EXPECT_TRUE(decoded.endpoints[2].probe);
  EXPECT_EQ(decoded.endpoints[2].probe_us, 81'000.0F);
  EXPECT_EQ(decoded.endpoints[2].notices_ds, 57);
  EXPECT_EQ(decoded.endpoints[1].notices_ds, 0) << "not told";
  EXPECT_TRUE(decoded.endpoints[3].probe);
  EXPECT_FALSE(decoded.endpoints[3].probe_us);
  for (const float wrong : {-1.0F, std::numeric_limits<float>::infinity()}) {
    report.endpoints[2].probe_us = wrong;
    EXPECT_EQ(beacon::encode(test_stamp(), report, test_key(), buffer), 0U);
  }
}

TEST(BeaconTest, SkipsMetricsOfANewerSender) {
  Buffer buffer;
  SiteReport report;
  report.interval_ms = 1000;
  report.metrics.cpu_ratio = 0.5F;
  report.metrics.responder_rtt_us = 10.0F;
  const auto length = beacon::encode(test_stamp(), report, test_key(), buffer);
  // A metric with bit 31 goes behind the two that we know; any bits may stand in it.
  auto* header = reinterpret_cast<beacon::WireHeader*>(buffer.data());
  header->present = header->present | 1U << 31;
  store(buffer.data() + sizeof(beacon::WireHeader) + 8, Be32(0x7fc00000));
  const auto datagram = Bytes(buffer).first(length + 4);
  sign(datagram, test_key());
  ASSERT_TRUE(opens(datagram, test_key()));
  SiteReport decoded;
  ASSERT_TRUE(beacon::decode(datagram, decoded));
  expect_same(decoded, report);
}

TEST(BeaconTest, RefusesAnotherVersionOrMagicEvenWhenSigned) {
  Buffer buffer;
  const auto length = beacon::encode(test_stamp(), full_report(), test_key(), buffer);
  const auto datagram = Bytes(buffer).first(length);
  buffer[4] = std::byte{2};
  sign(datagram, test_key());
  EXPECT_FALSE(beacon::claim_of(datagram));
  buffer[4] = std::byte{1};
  buffer[0] = std::byte{'p'};
  sign(datagram, test_key());
  EXPECT_FALSE(beacon::claim_of(datagram));
}

TEST(BeaconTest, ClaimsNothingForNoise) {
  const auto seed = std::random_device{}();
  std::mt19937_64 random(seed);
  SCOPED_TRACE("seed " + std::to_string(seed));
  Buffer buffer;
  for (int i = 0; i < 20'000; ++i) {
    for (auto& b : buffer) b = static_cast<std::byte>(random());
    // Half of them look like a beacon at the start, so that the length rules are reached.
    if (i % 2 == 0) store(buffer.data(), Be32(beacon::magic));
    if (i % 2 == 0) buffer[4] = std::byte{beacon::format_version};
    const auto datagram = ConstBytes(buffer).first(random() % (buffer.size() + 1));
    EXPECT_FALSE(opens(datagram, test_key()));
  }
}

}  // namespace
}  // namespace pharos
