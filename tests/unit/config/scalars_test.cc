#include "pharos/config/scalars.hh"

#include <gtest/gtest.h>

namespace pharos::config {
namespace {

TEST(ScalarsTest, ReadsDurations) {
  EXPECT_EQ(parse_duration("200ms")->ns, 200'000'000);
  EXPECT_EQ(parse_duration("1s")->ns, 1'000'000'000);
  EXPECT_EQ(parse_duration("1m30s")->ns, 90'000'000'000);
  EXPECT_EQ(parse_duration("0.5h")->ns, 1'800'000'000'000);
  EXPECT_EQ(parse_duration("7ns")->ns, 7);
  EXPECT_EQ(parse_duration("3us")->ns, 3'000);
  EXPECT_EQ(parse_duration("1d")->ns, 86'400'000'000'000);
  EXPECT_EQ(parse_duration("0")->ns, 0);
}

TEST(ScalarsTest, RefusesWhatIsNoDuration) {
  for (const char* text : {"", "5", "s", "5 s", "5x", "-1s", "1s2", "1..5s", "1e3s", "infs", "nans",
                           "1s ", "400000d"}) {
    const auto result = parse_duration(text);
    ASSERT_FALSE(result) << text;
    EXPECT_FALSE(result.error().hint.empty()) << text;
  }
  EXPECT_EQ(parse_duration("5").error().what, "duration '5' has no unit");
}

TEST(ScalarsTest, WritesDurationsInTheirLargestUnit) {
  EXPECT_EQ(duration_text(milliseconds(1500)), "1500ms");
  EXPECT_EQ(duration_text(seconds(90)), "90s");
  EXPECT_EQ(duration_text(seconds(7200)), "2h");
  EXPECT_EQ(duration_text({}), "0");
  for (const std::int64_t ns : {1LL, 999LL, 1'000'000LL, 123'456'789LL, 3'600'000'000'000LL}) {
    EXPECT_EQ(parse_duration(duration_text({ns}))->ns, ns);
  }
}

TEST(ScalarsTest, ReadsSizes) {
  EXPECT_EQ(*parse_size("256MiB"), 256U << 20);
  EXPECT_EQ(*parse_size("1.5KiB"), 1536U);
  EXPECT_EQ(*parse_size("1MB"), 1'000'000U);
  EXPECT_EQ(*parse_size("512"), 512U);
  EXPECT_EQ(*parse_size("7B"), 7U);
  EXPECT_EQ(*parse_size("2TiB"), 2ULL << 40);
  for (const char* text : {"", "MiB", "12zb", "-1", "1.5", "1e9", "99999999TiB", "1 MiB"})
    EXPECT_FALSE(parse_size(text)) << text;
}

TEST(ScalarsTest, ReadsSharesAndRates) {
  EXPECT_DOUBLE_EQ(*parse_ratio("50%"), 0.5);
  EXPECT_DOUBLE_EQ(*parse_ratio("0.25"), 0.25);
  EXPECT_DOUBLE_EQ(*parse_ratio("1"), 1);
  EXPECT_EQ(parse_ratio("50").error().hint, "did you mean 50%?");
  for (const char* text : {"", "%", "101%", "-1%", "1.01", "nan", "5 %"})
    EXPECT_FALSE(parse_ratio(text)) << text;
  EXPECT_DOUBLE_EQ(*parse_rate("10k"), 10'000);
  EXPECT_DOUBLE_EQ(*parse_rate("2.5M"), 2'500'000);
  EXPECT_DOUBLE_EQ(*parse_rate("500/s"), 500);
  EXPECT_DOUBLE_EQ(*parse_rate("1G/s"), 1e9);
  for (const char* text : {"", "k", "10K", "-5", "1kk", "inf"})
    EXPECT_FALSE(parse_rate(text)) << text;
  EXPECT_EQ(rate_text(10'000), "10k");
}

TEST(ScalarsTest, ReadsNumbersThatAreFinite) {
  EXPECT_DOUBLE_EQ(*parse_number("-1.5e3"), -1500);
  for (const char* text : {"", "inf", "nan", "1e999", "1x", "+1", "0x10"})
    EXPECT_FALSE(parse_number(text)) << text;
}

TEST(ScalarsTest, ReadsAddressesWithPorts) {
  const auto v4 = parse_socket_address("192.0.2.1:5380");
  ASSERT_TRUE(v4);
  EXPECT_EQ(v4->address.text(), "192.0.2.1");
  EXPECT_EQ(v4->port, 5380);
  const auto v6 = parse_socket_address("[2001:db8::1]:65535");
  ASSERT_TRUE(v6);
  EXPECT_EQ(v6->address.text(), "2001:db8::1");
  for (const char* text : {"", "192.0.2.1", "192.0.2.1:", "192.0.2.1:0", "192.0.2.1:65536",
                           "2001:db8::1:53", "[2001:db8::1]", "[2001:db8::1]:", "[192.0.2.1]:53",
                           "[]:53", "host:53", "[2001:db8::1:53", ":53", "["}) {
    EXPECT_FALSE(parse_socket_address(text)) << text;
  }
}

TEST(ScalarsTest, ReadsSecretsInBothWays) {
  const std::string hex = "6578616d706c65206b65792c206e65766572206465706c6f7920697420212121";
  const auto from_hex = parse_secret(hex);
  const auto from_base64 = parse_secret("ZXhhbXBsZSBrZXksIG5ldmVyIGRlcGxveSBpdCAhISE=");
  ASSERT_TRUE(from_hex && from_base64);
  EXPECT_EQ(*from_hex, *from_base64);
  for (std::size_t size = 0; size < hex.size(); ++size)
    EXPECT_FALSE(parse_secret(hex.substr(0, size))) << size;
  EXPECT_FALSE(parse_secret(hex + "0"));
  EXPECT_FALSE(parse_secret(std::string(64, 'g')));
  EXPECT_FALSE(parse_secret(std::string(64, '0')));
  EXPECT_EQ(parse_secret(hex.substr(1)).error().what.find(hex.substr(1)),
            std::string::npos);  // not into logs
}

TEST(ScalarsTest, MakesDomainNamesAbsoluteAndLowerCase) {
  EXPECT_EQ(*parse_domain_name("WWW.Example.COM", false), "www.example.com.");
  EXPECT_EQ(*parse_domain_name("a.", false), "a.");
  EXPECT_EQ(*parse_domain_name(".", false), ".");
  EXPECT_EQ(*parse_domain_name("*.example.com", true), "*.example.com.");
  EXPECT_EQ(*parse_domain_name("_dns.0/26.2.0.192.in-addr.arpa", false),
            "_dns.0/26.2.0.192.in-addr.arpa.");
  for (const char* text : {"", "a..b", ".a", "a b", "*.a", "a\\.b", "a\xc3\xa4"})
    EXPECT_FALSE(parse_domain_name(text, false)) << text;
  for (const char* text : {"a.*.b", "**.a", "x*.a"})
    EXPECT_FALSE(parse_domain_name(text, true)) << text;
}

TEST(ScalarsTest, HoldsDomainNamesToTheirLimits) {
  for (const char* text : {"a\\.b.example.com", "a\\046b.example.com", "\\*.example.com"}) {
    const auto escaped = parse_domain_name(text, true);
    ASSERT_FALSE(escaped) << text;
    EXPECT_EQ(escaped.error().text(),
              "name '" + std::string(text) +
                  "' has an escape, which names of the configuration cannot have (records of such "
                  "names stand in zone files, where \\. and \\DDD are taken)");
  }
  EXPECT_TRUE(parse_domain_name(std::string(63, 'a') + ".b", false));
  EXPECT_FALSE(parse_domain_name(std::string(64, 'a') + ".b", false));
  std::string name;
  for (int i = 0; i < 126; ++i) name += "a.";
  EXPECT_TRUE(parse_domain_name(name + "a.", false));    // 127 labels of 2 octets and the root: 255
  EXPECT_FALSE(parse_domain_name(name + "aa.", false));  // 256
}

TEST(ScalarsTest, FindsTheNearestWord) {
  const std::vector<std::string> known = {"answers_max", "ttl_floor", "ttl_ceiling", "names",
                                          "memory"};
  EXPECT_EQ(nearest("answer_max", known), "answers_max");
  EXPECT_EQ(nearest("ttl_flor", known), "ttl_floor");
  EXPECT_EQ(nearest("memory_bytes", known), "memory");
  EXPECT_EQ(nearest("name", known), "names");
  EXPECT_EQ(nearest("banana", known), "");
  EXPECT_EQ(nearest("", known), "");
  EXPECT_EQ(nearest(std::string(100'000, 'x'), known), "");
}

}  // namespace
}  // namespace pharos::config
