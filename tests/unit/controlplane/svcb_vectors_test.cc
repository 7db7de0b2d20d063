// The test vectors of RFC 9460, appendix D, through the zone loader.
#include <gmock/gmock.h>

#include "zone_fixture.hh"

namespace pharos::controlplane {
namespace {

using testing::HasSubstr;

class SvcbVectorsTest : public ZoneTest {
 protected:
  // RDATA of the one SVCB or HTTPS record of `line`, in hexadecimal.
  std::string rdata(const std::string& line) {
    const auto& data = zone("example.com.", with_apex(line + "\n"));
    std::string text;
    for (const auto& record : data.records()) {
      if (record.type != 64 && record.type != 65) continue;
      for (const auto b : data.rdata_of(record)) {
        constexpr std::string_view digits = "0123456789abcdef";
        text += digits[static_cast<unsigned>(b) >> 4];
        text += digits[static_cast<unsigned>(b) & 15];
      }
    }
    return text;
  }
  // The mistakes of a zone with such a record.
  std::string refusal(const std::string& line) {
    const auto report = check("example.com.", with_apex(line + "\n"));
    EXPECT_FALSE(report.errors.empty()) << line;
    return report.text();
  }
};

const std::string foo_com = "03666f6f076578616d706c6503636f6d00";
const std::string foo_org = "03666f6f076578616d706c65036f726700";

TEST_F(SvcbVectorsTest, AliasMode) {
  EXPECT_EQ(rdata("example.com. HTTPS 0 foo.example.com."), "0000" + foo_com);
}

TEST_F(SvcbVectorsTest, ServiceMode) {
  const std::vector<std::pair<std::string, std::string>> vectors = {
      {"1 .", "000100"},
      {"16 foo.example.com. port=53", "0010" + foo_com + "000300020035"},
      {"1 foo.example.com. key667=hello", "0001" + foo_com + "029b000568656c6c6f"},
      {"1 foo.example.com. key667=\"hello\\210qoo\"",
       "0001" + foo_com + "029b000968656c6c6fd2716f6f"},
      {"1 foo.example.com. ( ipv6hint=\"2001:db8::1,2001:db8::53:1\" )",
       "0001" + foo_com +
           "00060020"
           "20010db8000000000000000000000001"
           "20010db8000000000000000000530001"},
      {"1 example.com. ( ipv6hint=\"2001:db8:122:344::192.0.2.33\" )",
       "0001076578616d706c6503636f6d00"
       "00060010"
       "20010db80122034400000000c0000221"},
      {"16 foo.example.org. ( alpn=h2,h3-19 mandatory=ipv4hint,alpn ipv4hint=192.0.2.1 )",
       "0010" + foo_org +
           "0000000400010004"
           "00010009026832"
           "0568332d3139"
           "00040004c0000201"},
      {"16 foo.example.org. alpn=\"f\\\\\\\\oo\\\\,bar,h2\"",
       "0010" + foo_org + "0001000c08665c6f6f2c626172026832"},
      {"16 foo.example.org. alpn=f\\\\\\092oo\\092,bar,h2",
       "0010" + foo_org + "0001000c08665c6f6f2c626172026832"},
  };
  for (const auto& [text, wire] : vectors)
    EXPECT_EQ(rdata("example.com. SVCB " + text), wire) << text;
}

TEST_F(SvcbVectorsTest, FailureCases) {
  const std::pair<const char*, const char*> vectors[] = {
      {"key123=abc key123=def", "the parameter 'key123' stands there twice"},
      {"mandatory", "'mandatory' is no list of keys"},
      {"alpn", "'alpn' is no list of protocols"},
      {"port", "'port' is no port"},
      {"ipv4hint", "'ipv4hint' is no list of IPv4 addresses"},
      {"ipv6hint", "'ipv6hint' is no list of IPv6 addresses"},
      {"no-default-alpn=abc", "'no-default-alpn' takes no value"},
      {"mandatory=key123", "the mandatory parameter 'key123' is not there"},
      {"mandatory=mandatory", "'mandatory' lists itself"},
      {"mandatory=key123,key123 key123=abc", "'mandatory' lists 'key123' twice"},
      // Beyond the appendix.
      {"alpn=h2,,h3", "'alpn=h2,,h3' is no value of that parameter"},
      {"port=65536", "'port=65536' is no value of that parameter"},
      {"ipv4hint=2001:db8::1", "'ipv4hint=2001:db8::1' is no value of that parameter"},
      {"ech=#", "'ech=#' is no value of that parameter"},
      {"key667=\\25", "'key667=\\25' is no value of that parameter"},
      {"hint=1", "'hint' is no parameter"},
  };
  for (const auto& [params, fault] : vectors) {
    const auto text = refusal("example.com. SVCB 1 foo.example.com. " + std::string(params));
    EXPECT_THAT(text, testing::ContainsRegex("zone[0-9]+:4: ")) << params;
    EXPECT_THAT(text, HasSubstr(fault)) << params;
  }
}

TEST_F(SvcbVectorsTest, NamesLineAndFaultOfMalformedParameters) {
  EXPECT_THAT(refusal("a HTTPS \\# 8 0001 00 0003 0001 35"),
              HasSubstr(":4: 'a.example.com.' HTTPS: 'port' is no port"));
  EXPECT_THAT(refusal("a SVCB \\# 4 0001 00 00"),
              HasSubstr(":4: 'a.example.com.' SVCB: the last parameter is cut short"));
}

}  // namespace
}  // namespace pharos::controlplane
