#include "pharos/controlplane/zone/zone_scanner.hh"

#include <gmock/gmock.h>

#include "zone_fixture.hh"

namespace pharos::controlplane {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// All records as "owner TTL type rdata-in-hex".
std::vector<std::string> lines_of(const ZoneData& zone) {
  std::vector<std::string> lines;
  for (const auto& record : zone.records()) {
    std::string line = dns::name_text(zone.owner_of(record)) + " " + std::to_string(record.ttl_s) +
                       " " + dns::type_text(record.type) + " ";
    for (const auto b : zone.rdata_of(record)) {
      constexpr std::string_view digits = "0123456789abcdef";
      line += digits[static_cast<unsigned>(b) >> 4];
      line += digits[static_cast<unsigned>(b) & 15];
    }
    lines.push_back(line);
  }
  return lines;
}

class ZoneLoadTest : public ZoneTest {
 protected:
  // What the records behind the apex are.
  std::vector<std::string> load(const std::string& rest) {
    auto lines = lines_of(zone("example.", with_apex(rest)));
    std::erase_if(lines, [](const std::string& l) {
      return l.contains(" SOA ") || l.starts_with("example. 300 NS");
    });
    return lines;
  }
  // The only mistake of a zone.
  std::string mistake(const std::string& rest) {
    return only_mistake(check("example.", with_apex(rest)));
  }
  static std::string only_mistake(const ZoneReport& report) {
    EXPECT_EQ(report.errors.size(), 1U) << report.text();
    return report.errors.empty() ? "" : report.errors[0].text();
  }
  std::string warning(const std::string& rest) {
    const auto report = check("example.", with_apex(rest));
    EXPECT_TRUE(report.errors.empty()) << report.text();
    EXPECT_EQ(report.warnings.size(), 1U) << report.text();
    return report.warnings.empty() ? "" : report.warnings[0].text();
  }
};

TEST_F(ZoneLoadTest, TakesOwnersTtlsAndClassesAsRfc1035HasThem) {
  EXPECT_THAT(load("a A 192.0.2.1\n  A 192.0.2.2\nb 1h IN A 192.0.2.3\nc IN 1h30m A 192.0.2.4\n"
                   "$ORIGIN sub\nd A 192.0.2.5\n@ A 192.0.2.6\ne.example. A 192.0.2.7\n$TTL 5\nf A "
                   "192.0.2.8\n"),
              ElementsAre("a.example. 300 A c0000201", "a.example. 300 A c0000202",
                          "b.example. 3600 A c0000203", "c.example. 5400 A c0000204",
                          "e.example. 300 A c0000207", "sub.example. 300 A c0000206",
                          "d.sub.example. 300 A c0000205", "f.sub.example. 5 A c0000208"));
}

TEST_F(ZoneLoadTest, TakesTheLastTtlOrThatOfTheSoaWithoutADefault) {
  const auto& data =
      zone("example.", "@ SOA ns host 1 2 3 4 77\n@ NS ns\nns 9 A 192.0.2.1\nb A 192.0.2.2\n");
  EXPECT_THAT(lines_of(data), testing::Contains("example. 77 NS 026e73076578616d706c6500"));
  EXPECT_THAT(lines_of(data), testing::Contains("b.example. 9 A c0000202"));
  EXPECT_EQ(data.serial(), 1U);
}

TEST_F(ZoneLoadTest, TakesParenthesesCommentsQuotesAndEscapes) {
  EXPECT_THAT(load("t TXT ( \"a;b\" ; comment (\n  c\\;d\n) ; more\nu TXT \"x \\\"y\\\" \\065\"\n"),
              ElementsAre("t.example. 300 TXT 03613b6203633b64",
                          "u.example. 300 TXT 077820227922204"
                          "1"));
}

TEST_F(ZoneLoadTest, TakesManyTypesAndUnknownOnes) {
  EXPECT_THAT(
      load("a AAAA 2001:db8::1\nb CAA 0 issue \"ca.example\"\nc SRV 1 2 443 t\n"
           "d HTTPS 1 . alpn=h2 port=8443\ne TYPE65280 \\# 3 01 0203\nf TYPE1 \\# 4 c0000201\ng MX "
           "10 m\n"
           "h TYPE65281 \\# 0\n"),
      ElementsAre("a.example. 300 AAAA 20010db8000000000000000000000001",
                  "b.example. 300 CAA 0005697373756563612e6578616d706c65",
                  "c.example. 300 SRV 0001000201bb0174076578616d706c6500",
                  "d.example. 300 HTTPS 00010000010003026832000300022"
                  "0fb",
                  "e.example. 300 TYPE65280 010203", "f.example. 300 A c0000201",
                  "g.example. 300 MX 000a016d076578616d706c6500", "h.example. 300 TYPE65281 "));
}

TEST_F(ZoneLoadTest, IncludesFilesAndComesBack) {
  write("part", "x A 192.0.2.1\n$ORIGIN other.example.\n");
  EXPECT_THAT(load("$INCLUDE part\ny A 192.0.2.2\n$INCLUDE \"part\" sub\n"),
              ElementsAre("x.sub.example. 300 A c0000201", "x.example. 300 A c0000201",
                          "y.example. 300 A c0000202"));
}

TEST_F(ZoneLoadTest, SaysWhereInAnIncludedFileAMistakeIs) {
  write("bad", "\n\nx A nonsense\n");
  EXPECT_THAT(mistake("$INCLUDE bad\n"),
              HasSubstr("/bad:3: 'nonsense' is not the data of a A record"));
  EXPECT_THAT(mistake("$INCLUDE missing\n"), HasSubstr("missing: there is no such file"));
  write("self", "$INCLUDE self\n");
  EXPECT_THAT(mistake("$INCLUDE self\n"), HasSubstr("deep"));
}

TEST_F(ZoneLoadTest, GeneratesRecords) {
  EXPECT_THAT(
      load("$GENERATE 1-3/2 h$ A 192.0.2.$\n$GENERATE 9-9 ${1,3,d}.${15,0,x} CNAME x\\$${0,4,n}\n"),
      ElementsAre("010.18.example. 300 CNAME 037824390130076578616d706c6500",
                  "h1.example. 300 A c0000201", "h3.example. 300 A c0000203"));
}

TEST_F(ZoneLoadTest, SaysWhatIsWrongWithALine) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {"a A 1.2.3\n", "4: '1.2.3' is not the data of a A record"},
      {"a A 192.0.2.1 5\n", "superfluous"},
      {"a MX 70000 m\n", "'70000' is not a number up to 65535"},
      {"a NOPE x\n", "'NOPE' is neither a record type nor the class IN"},
      {"a CH TXT x\n", "'CH' is neither"},
      {"a 99999999999 A 192.0.2.1\n", "is larger than 2147483647"},
      {"a 300\n", "the record has no type"},
      {"a..b A 192.0.2.1\n", "is not a domain name"},
      {"\n a TXT \"open\n", "5: a quoted string does not end"},
      {"\n\n)\n", "6: a parenthesis is closed"},
      {"x A (\n192.0.2.1\n", "4: a parenthesis is opened"},
      {"a TYPE1 \\# 4 c00002\n", "\\# 4 is followed by 6 hexadecimal digits"},
      {"a TYPE1 \\# 3 c00002\n", "are not the data of a A record"},
      {"a TYPE65280 \\# 1 zz\n", "something else than hexadecimal digits"},
      {"a TYPE65280 text\n", "the text form of TYPE65280 is not known"},
      {"$NOPE x\n", "'$NOPE' is not a directive"},
      {"$GENERATE 5-1 h$ A 192.0.2.$\n", "'5-1' is not a range"},
      {"$GENERATE 0-9999999 h$ A 192.0.2.1\n", "makes more than"},
      {"$GENERATE 1-2 h${1 A 192.0.2.1\n", "has a bad ${...}"},
      {"a OPT \\# 0\n", "OPT is no type that a zone can hold"},
  };
  for (const auto& [text, expected] : cases)
    EXPECT_THAT(mistake(text), HasSubstr(expected)) << text;
}

TEST_F(ZoneLoadTest, FindsEveryMistakeAtOnce) {
  const auto config = config_of("example.", "a A 1\nb A 2\n$TTL x\n");
  EXPECT_EQ(check_zone(config).errors.size(), 3U);
  const auto loaded = load_zone(config);
  ASSERT_FALSE(loaded);
  EXPECT_THAT(loaded.error().text(), HasSubstr("the zone has 2 more mistakes"));
}

TEST_F(ZoneLoadTest, RefusesZonesThatCannotBeServedRightly) {
  struct Case {
    std::string text;
    unsigned line;  // the text begins at line 4
    std::string expected;
  };
  const std::vector<Case> cases{
      {"x TXT y\na CNAME b\na A 192.0.2.1\n", 6, "has a CNAME and A records"},
      {"a CNAME b\n\na CNAME c\n", 6, "more than one CNAME"},
      {"@ CNAME b\n", 3, "example.' has a CNAME and NS records"},
      {"d DNAME x.\nd DNAME y.\n", 5, "more than one DNAME"},
      {"d DNAME x.\na.b.d A 192.0.2.1\n", 5,
       "'a.b.d.example.' lies below the DNAME at 'd.example.'"},
      {"d NS ns.x.\nd DNAME x.\n", 5, "has a DNAME and is a delegation"},
      {"a SOA ns host 1 2 3 4 5\n", 4, "is not the apex"},
      {"@ SOA ns host 8 2 3 4 5\n", 4, "more than one SOA"},
      {"\nother. A 192.0.2.1\n", 5, "'other.' is not in the zone 'example.'"},
      {"*.w NS ns.x.\n", 4, "is a wildcard with NS records"},
      {"*.w DNAME x.\n", 4, "is a wildcard with a DNAME"},
      {"h HTTPS 1 . mandatory=alpn\n", 4, "mandatory parameter"},
      {"t TYPE15 \\# 3 000100\nu TYPE15 \\# 1 00\n", 5, "are not the data of a MX record"},
      {"a TYPE255 \\# 0\n", 4, "is no type that a zone can hold"},
  };
  for (const auto& [text, line, expected] : cases) {
    const auto report = check("example.", with_apex(text));
    ASSERT_FALSE(report.errors.empty()) << text;
    const auto at = std::ranges::find_if(report.errors,
                                         [&](const Error& e) { return e.what.contains(expected); });
    ASSERT_NE(at, report.errors.end()) << text << report.text();
    EXPECT_TRUE(at->where.ends_with(":" + std::to_string(line))) << text << at->where;
    EXPECT_TRUE(at->where.starts_with(folder_.string() + "/")) << at->where;
  }
  EXPECT_THAT(only_mistake(check("example.", "$TTL 1\n@ NS ns.x.\n")), HasSubstr("no SOA record"));
  EXPECT_THAT(only_mistake(check("example.", "$TTL 1\n@ SOA a. b. 1 2 3 4 5\n")),
              HasSubstr("no NS record"));
  EXPECT_EQ(check("example.", "").errors.size(), 2U);
}

TEST_F(ZoneLoadTest, RefusesAnRrsetThatNoAnswerHolds) {
  std::string text;
  for (int i = 0; i < 200; ++i)
    text += "big TXT \"" + std::to_string(i) + std::string(200, 'x') + "\"\n";
  EXPECT_THAT(mistake(text), HasSubstr("at most 32767 can be answered"));
}

TEST_F(ZoneLoadTest, WarnsOfWhatWillNotWork) {
  EXPECT_THAT(warning("d NS ns.d\n"), HasSubstr("which has no glue"));
  EXPECT_THAT(warning("d NS ns.x.\nd TXT x\n"),
              HasSubstr("is hidden by the delegation of that name"));
  EXPECT_THAT(warning("d NS ns.x.\nx.d TXT x\n"),
              HasSubstr("is hidden by the delegation of 'd.example.'"));
  EXPECT_THAT(warning("@ NS ns9\n"), HasSubstr("NS 'ns9.example.' has no address"));
  EXPECT_THAT(warning("@ MX 1 m\nm CNAME a.x.\n"), HasSubstr("MX 'm.example.' is an alias"));
  EXPECT_THAT(warning("a DS 1 8 2 " + std::string(64, 'a') + "\n"), HasSubstr("is no delegation"));
  EXPECT_THAT(warning("a 10 A 192.0.2.1\na 20 A 192.0.2.2\n"), HasSubstr("TTLs from 10 to 20"));
}

TEST_F(ZoneLoadTest, ServesTheSmallestTtlOfAnRrset) {
  EXPECT_THAT(load("a 10 A 192.0.2.1\nA 20 A 192.0.2.2\n"),
              ElementsAre("a.example. 10 A c0000201", "A.example. 10 A c0000202"));
}

TEST_F(ZoneLoadTest, DropsRecordsThatStandThereTwice) {
  EXPECT_THAT(load("a A 192.0.2.1\nA A 192.0.2.1\na A 192.0.2.1\n"),
              ElementsAre("a.example. 300 A c0000201"));
}

TEST_F(ZoneLoadTest, TakesNamesThatDifferInCaseOnlyForOneWhereRfc4034Says) {
  const std::vector<std::pair<std::string, std::size_t>> cases{
      {"x NS ns.Other.\nx NS NS.other.\n", 1},
      {"x MX 10 Mail\nx MX 10 mail\nx MX 20 MAIL\n", 2},
      {"x SRV 1 2 3 t\nx SRV 1 2 3 T\n", 1},
      {"x PTR t\nx PTR T\n", 1},
      {"x RP a b\nx RP A B\n", 1},
      {"x AFSDB 1 t\nx AFSDB 1 T\n", 1},
      {"x NAPTR 1 2 \"s\" \"p\" \"\" t\nx NAPTR 1 2 \"s\" \"p\" \"\" T\n", 1},
      {"x NAPTR 1 2 \"s\" \"p\" \"\" t\nx NAPTR 1 2 \"S\" \"p\" \"\" t\n", 2},
      {"x CNAME t\nx CNAME T\n", 1},  // and so no mistake
      {"x DNAME t\nx DNAME T\n", 1},
      {"x HTTPS 1 t alpn=h2\nx HTTPS 1 T alpn=h2\n", 2},
      {"x TXT \"a\"\nx TXT \"A\"\n", 2},
      {"x TYPE65280 \\# 1 61\nx TYPE65280 \\# 1 41\n", 2},
  };
  for (const auto& [text, count] : cases) EXPECT_EQ(load(text).size(), count) << text;
  EXPECT_THAT(load("x MX 10 Mail\nx MX 10 mail\n"),
              ElementsAre("x.example. 300 MX 000a044d61696c076578616d706c6500"));
}

TEST_F(ZoneLoadTest, FindsRrsetsByOwnerAndType) {
  const auto& data = zone("example.", with_apex("Www A 192.0.2.1\nwww AAAA ::1\n"));
  const auto name = dns::parse_name("WWW.example.");
  EXPECT_EQ(data.find_all(name->view()).size(), 2U);
  ASSERT_NE(data.find(name->view(), 28), nullptr);
  EXPECT_EQ(data.find(name->view(), 15), nullptr);
  EXPECT_TRUE(data.find_all(dns::parse_name("ww.example.")->view()).empty());
}

TEST_F(ZoneLoadTest, MakesAZoneFromFields) {
  config::ZoneConfig config;
  config.id = "made.example.";
  config.nameservers = {"ns1", "ns2.other."};
  config.hosts["ns1"] = {*IpAddress::parse("192.0.2.1"), *IpAddress::parse("2001:db8::1")};
  const auto loaded = load_zone(config);
  ASSERT_TRUE(loaded) << loaded.error().text();
  EXPECT_TRUE(loaded->report.warnings.empty()) << loaded->report.text();
  EXPECT_EQ(loaded->data.records().size(), 5U);
  EXPECT_THAT(lines_of(loaded->data), testing::Contains("ns1.made.example. 3600 A c0000201"));
  config.nameservers = {"bad..name"};
  config.source = {"pharos.yaml", 12};
  EXPECT_THAT(load_zone(config).error().text(), HasSubstr("pharos.yaml:12: 'bad..name'"));
}

TEST_F(ZoneLoadTest, SaysThatAFileIsMissingOrNoFile) {
  config::ZoneConfig config;
  config.id = "example.";
  config.file = (folder_ / "none").string();
  EXPECT_EQ(load_zone(config).error().code, ErrorCode::not_found);
  config.file = folder_.string();
  EXPECT_EQ(load_zone(config).error().code, ErrorCode::unavailable);
  config.id = "example";
  EXPECT_THAT(load_zone(config).error().text(), HasSubstr("does not end with a dot"));
}

TEST_F(ZoneLoadTest, ReadsZonesInAnyOrderTheSame) {
  const std::string a = "b A 192.0.2.1\n", b = "a.b A 192.0.2.2\n", c = "c TXT x\n";
  EXPECT_EQ(load(a + b + c), load(c + b + a));
}

// What is read without ldns is what ldns reads: an escape in the text takes the long way.
TEST_F(ZoneTest, CommonTypesReadAlikeByTheShortAndTheLongWay) {
  const std::string names[][2] = {{"www", "\\119ww"},
                                  {"www.example.net.", "\\119ww.example.net."},
                                  {"_dmarc.A-b.c_d", "\\095dmarc.A-b.c_d"}};
  for (const auto& [plain, escaped] : names) {
    for (const std::string type : {"NS", "cname", "PTR", "MX 10", "mx 65535"}) {
      const auto& zone_ = zone("example.org.", with_apex("a " + type + " " + plain + "\nb " + type +
                                                         " " + escaped + "\n"));
      const auto records = zone_.records();
      ASSERT_EQ(records.size(), 4U) << type << " " << plain;
      EXPECT_EQ(records[2].type, records[3].type);
      EXPECT_TRUE(std::ranges::equal(zone_.rdata_of(records[2]), zone_.rdata_of(records[3])))
          << type << " " << plain;
    }
  }
  for (const std::string bad :
       {"a A 192.0.2", "a A 192.0.2.1.2", "a A 192.0.2.1 192.0.2.2", "a A", "a AAAA 192.0.2.1",
        "a AAAA 2001:db8::g", "a AAAA 2001:0db8:0000:0000:0000:0000:0000:0001:0002:0003:0004:0005",
        "a MX ten mail", "a MX 65536 mail", "a MX 10", "a NS a..b", "a NS .x", "a PTR x y"}) {
    EXPECT_FALSE(check("example.org.", with_apex(bad + "\n")).errors.empty()) << bad;
  }
}

TEST(ZoneScannerTest, GoesOnBehindABadLine) {
  ZoneScanner scanner("a \"open\nb c\n");
  ZoneEntry entry;
  EXPECT_FALSE(scanner.next(entry));
  EXPECT_EQ(scanner.line(), 1U);
  ASSERT_TRUE(scanner.next(entry).value_or(false));
  EXPECT_THAT(entry.tokens, ElementsAre("b", "c"));
  EXPECT_EQ(entry.line, 2U);
  EXPECT_FALSE(scanner.next(entry).value_or(true));
}

TEST(ZoneScannerTest, EveryCutOfATextEndsTheScan) {
  const std::string text = "a ( b \"c\\\"\" ; d\n e ) \\; f\n\t g\r\n";
  for (std::size_t length = 0; length <= text.size(); ++length) {
    ZoneScanner scanner(std::string_view(text).substr(0, length));
    ZoneEntry entry;
    unsigned entries = 0;
    for (;;) {
      const auto more = scanner.next(entry);
      if (more && !*more) break;
      ASSERT_LT(++entries, 10U) << length;
    }
  }
}

}  // namespace
}  // namespace pharos::controlplane
