#include <gmock/gmock.h>

#include <algorithm>
#include <random>

#include "zone_fixture.hh"

namespace pharos::controlplane {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Lines = std::vector<std::string>;
namespace node_flag = catalog::node_flag;

constexpr Version version{3, 9};
constexpr unsigned a = 1, ns = 2, cname = 5, soa = 6, mx = 15, srv = 33, aaaa = 28, dname = 39,
                   ds = 43;

class CatalogBuilderTest : public ZoneTest {
 protected:
  Result<ImageBuffer> try_build(std::vector<const ZoneData*> zones,
                                std::vector<PoolBinding> bindings = {}) {
    return build_catalog(zones, bindings, 4, 0x77, TestCatalog::key(), version);
  }
  TestCatalog build_zones(std::vector<const ZoneData*> zones,
                          std::vector<PoolBinding> bindings = {}) {
    auto image = try_build(std::move(zones), std::move(bindings));
    EXPECT_TRUE(image) << (image ? "" : image.error().text());
    return TestCatalog(image ? std::move(*image) : ImageBuffer{});
  }
  // One zone "example." with this behind its apex.
  TestCatalog build(const std::string& rest, std::vector<PoolBinding> bindings = {}) {
    return build_zones({&zone("example.", with_apex(rest))}, std::move(bindings));
  }
  std::string refusal(std::vector<const ZoneData*> zones, std::vector<PoolBinding> bindings = {}) {
    const auto image = try_build(std::move(zones), std::move(bindings));
    EXPECT_FALSE(image);
    return image ? "" : image.error().text();
  }
  static Lines referral(const TestCatalog& catalog, const std::string& name) {
    const auto* node = catalog.find(name);
    if (node == nullptr || node->referral == 0) return {};
    return answer_text(*catalog.view().answer(node->referral), {node->name(), node->name_bytes});
  }
  static Lines negative(const TestCatalog& catalog, std::size_t zone) {
    const auto& entry = catalog.view().zones()[zone];
    const auto* apex = catalog.view().node(entry.apex);
    return answer_text(*catalog.view().answer(entry.negative), {apex->name(), apex->name_bytes});
  }
  static std::uint16_t flags(const TestCatalog& catalog, const std::string& name) {
    const auto* node = catalog.find(name);
    EXPECT_NE(node, nullptr) << name;
    return node == nullptr ? 0xffff : node->flags;
  }
};

TEST_F(CatalogBuilderTest, AnswersWhatTheZoneSays) {
  const auto catalog =
      build("www A 192.0.2.2\nWWW A 192.0.2.1\nwww AAAA 2001:db8::1\nt TXT \"Hello\" w\n");
  EXPECT_THAT(catalog.slot("www.example.", a), ElementsAre("answer www.example. 300 A 192.0.2.1",
                                                           "answer www.example. 300 A 192.0.2.2"));
  EXPECT_THAT(catalog.slot("wWw.eXample.", aaaa),
              ElementsAre("answer www.example. 300 AAAA 2001:db8::1"));
  EXPECT_THAT(catalog.slot("t.example.", 16),
              ElementsAre("answer t.example. 300 TXT \"Hello\" \"w\""));
  EXPECT_EQ(catalog.find("w.example."), nullptr);
  EXPECT_EQ(catalog.find("www.example.com."), nullptr);
  EXPECT_EQ(catalog.view().header().version, version);
  EXPECT_EQ(catalog.view().header().content_id, 0x77U);
}

TEST_F(CatalogBuilderTest, NegativeAnswersCarryTheSmallerTtlOfTheSoa) {
  const auto catalog = build("");
  EXPECT_THAT(negative(catalog, 0),
              ElementsAre("authority example. 60 SOA ns1.ns. host.ns. 7 3600 600 86400 60"));
  EXPECT_THAT(catalog.slot("example.", soa),
              ElementsAre("answer example. 600 SOA ns1.ns. host.ns. 7 3600 600 86400 60"));
  EXPECT_EQ(catalog.view().zones()[0].serial, 7U);
  EXPECT_EQ(catalog.view().zones()[0].negative_ttl_s, 60U);
}

TEST_F(CatalogBuilderTest, EveryAncestorIsThere) {
  const auto catalog = build("a.b.c A 192.0.2.1\n");
  EXPECT_EQ(flags(catalog, "."), node_flag::outside);
  EXPECT_EQ(flags(catalog, "example."), node_flag::apex);
  EXPECT_EQ(flags(catalog, "c.example."), 0);
  EXPECT_EQ(flags(catalog, "b.c.example."), 0);
  EXPECT_EQ(catalog.find("b.c.example.")->rrset_count, 0);
  EXPECT_EQ(catalog.view().zones()[0].name_count, 4U);
}

TEST_F(CatalogBuilderTest, GlueStandsOnceThoughTwoServersDifferInCaseOnly) {
  const auto catalog = build("sub NS ns1.sub\nsub NS NS1.sub\nns1.sub A 192.0.2.1\n");
  EXPECT_THAT(referral(catalog, "sub.example."),
              testing::Contains(HasSubstr("additional")).Times(1));
}

TEST_F(CatalogBuilderTest, DelegationsHideWhatIsBelowThem) {
  const auto catalog = build(
      "sub NS ns1.sub\nsub NS ns.other\nsub NS ns.far.\nns1.sub A 192.0.2.1\nother NS ns.other\n"
      "ns.other AAAA ::1\nsub DS 1 8 2 00\nx.sub TXT hidden\n");
  EXPECT_EQ(flags(catalog, "sub.example."), node_flag::cut);
  EXPECT_EQ(catalog.find("ns1.sub.example."), nullptr);
  EXPECT_EQ(catalog.find("x.sub.example."), nullptr);
  EXPECT_THAT(referral(catalog, "sub.example."),
              ElementsAre("authority sub.example. 300 NS ns.far.",
                          "authority sub.example. 300 NS ns.other.example.",
                          "authority sub.example. 300 NS ns1.sub.example.",
                          "additional ns1.sub.example. 300 A 192.0.2.1",
                          "additional ns.other.example. 300 AAAA ::1"));
  const auto* answer = catalog.view().answer(catalog.find("sub.example.")->referral);
  EXPECT_EQ(answer->required_additional_count, 1);
  EXPECT_EQ(answer->required_bytes + 28,
            answer->body_bytes);  // the AAAA of ns.other is left out first
  EXPECT_THAT(catalog.slot("sub.example.", ds), ElementsAre(HasSubstr("sub.example. 300 DS")));
  EXPECT_THAT(catalog.slot("sub.example.", ns), IsEmpty());
  EXPECT_THAT(catalog.slot("sub.example.", 16), IsEmpty());
}

TEST_F(CatalogBuilderTest, AliasesKeepTheirTargetsWhole) {
  const auto catalog = build("c CNAME www.example.\nd DNAME example.\n*.w CNAME www\n");
  EXPECT_EQ(flags(catalog, "c.example."), node_flag::cname);
  EXPECT_EQ(flags(catalog, "d.example."), node_flag::dname);
  EXPECT_EQ(flags(catalog, "*.w.example."), node_flag::cname | node_flag::wildcard);
  EXPECT_THAT(catalog.slot("c.example.", cname),
              ElementsAre("answer c.example. 300 CNAME www.example."));
  EXPECT_THAT(catalog.slot("d.example.", dname),
              ElementsAre("answer d.example. 300 DNAME example."));
  const auto* node = catalog.find("c.example.");
  EXPECT_EQ(catalog.view().answer(catalog::slots_of(*node)[0].value)->relocation_count, 1);
}

TEST_F(CatalogBuilderTest, WildcardsAreKnownToTheirParents) {
  const auto catalog =
      build("*.w A 192.0.2.1\n*.w MX 1 mail.w\nmail.w A 192.0.2.9\nx.*.v A 192.0.2.1\n");
  const auto* parent = catalog.find("w.example.");
  EXPECT_EQ(catalog.view().node(parent->wildcard_child), catalog.find("*.w.example."));
  EXPECT_NE(catalog.find("v.example.")->wildcard_child, 0U);  // empty, but there: RFC 4592, 2.2.2
  EXPECT_EQ(flags(catalog, "*.v.example."), node_flag::wildcard);
  EXPECT_EQ(catalog.find("x.*.v.example.")->wildcard_child, 0U);
  // No pointer into the owner but to the whole of it: it stands for the QNAME.
  for (const auto& slot : catalog::slots_of(*catalog.find("*.w.example."))) {
    const auto* answer = catalog.view().answer(slot.value);
    for (unsigned i = 0; i < answer->relocation_count; ++i) {
      const unsigned relocation = answer->relocations()[i];
      if ((relocation & relocation_of_body) != 0) continue;
      EXPECT_EQ(unsigned{load<Be16>(answer->body() + relocation)}, 0xc00cU);
    }
  }
}

TEST_F(CatalogBuilderTest, PointsAtOwnersSuffixesAndEarlierNames) {
  const auto catalog =
      build("m MX 10 mx.mail\nm MX 20 mx.mail.example.org.\nm MX 30 b.mail.example.org.\n");
  EXPECT_THAT(catalog.slot("m.example.", mx),
              ElementsAre("answer m.example. 300 MX 10 mx.mail.example.",
                          "answer m.example. 300 MX 20 mx.mail.example.org.",
                          "answer m.example. 300 MX 30 b.mail.example.org."));
  const auto* answer =
      catalog.view().answer(catalog::slots_of(*catalog.find("m.example."))[0].value);
  // 3 owners, one suffix of the owner, one of the body.
  EXPECT_EQ(answer->relocation_count, 5);
  EXPECT_EQ(std::count_if(answer->relocations(), answer->relocations() + 5,
                          [](std::uint16_t r) { return (r & relocation_of_body) != 0; }),
            1);
}

TEST_F(CatalogBuilderTest, AddsAddressesOfTargetsOnce) {
  const auto catalog =
      build("m MX 10 h\nm MX 20 h\ns SRV 1 1 1 h\nh A 192.0.2.1\nn MX 1 c\nc CNAME h\n");
  EXPECT_THAT(catalog.slot("m.example.", mx), ElementsAre("answer m.example. 300 MX 10 h.example.",
                                                          "answer m.example. 300 MX 20 h.example.",
                                                          "additional h.example. 300 A 192.0.2.1"));
  EXPECT_EQ(catalog.slot("s.example.", srv).size(), 2U);
  EXPECT_EQ(catalog.slot("n.example.", mx).size(), 1U);
}

TEST_F(CatalogBuilderTest, BindsServiceNamesToPools) {
  const auto catalog = build("*.web TXT x\n", {{"www.example.", a, 2},
                                               {"WWW.example.", aaaa, 3},
                                               {"*.web.example.", a, 0},
                                               {"a.deep.example.", a, 1},
                                               {"example.", a, 1}});
  EXPECT_THAT(catalog.slot("www.example.", a), ElementsAre("pool 2"));
  EXPECT_THAT(catalog.slot("www.example.", aaaa), ElementsAre("pool 3"));
  EXPECT_THAT(catalog.slot("*.web.example.", a), ElementsAre("pool 0"));
  EXPECT_EQ(catalog.slot("*.web.example.", 16).size(), 1U);
  EXPECT_EQ(flags(catalog, "www.example."), node_flag::service);
  EXPECT_EQ(flags(catalog, "*.web.example."), node_flag::service | node_flag::wildcard);
  EXPECT_EQ(flags(catalog, "example."), node_flag::service | node_flag::apex);
  EXPECT_EQ(flags(catalog, "deep.example."), 0);
  EXPECT_EQ(catalog.view().summary().pool_count, 4U);
}

TEST_F(CatalogBuilderTest, RefusesBindingsThatCollide) {
  const auto& data =
      zone("example.", with_apex("x A 192.0.2.1\nc CNAME x\nd DNAME x.\nsub NS ns.x.\n"));
  const std::vector<std::pair<PoolBinding, std::string>> cases{
      {{"x.example.", a, 0}, "another answer of that type"},
      {{"c.example.", a, 0}, "has a CNAME record"},
      {{"sub.example.", a, 0}, "at or below a delegation"},
      {{"b.sub.example.", a, 0}, "at or below a delegation"},
      {{"b.d.example.", a, 0}, "lies below a DNAME"},
      {{"x.other.", a, 0}, "is in none of the zones"},
      {{"y.example.", a, 4}, "is bound to pool 4 of 4"},
      {{"y.example", a, 0}, "does not end with a dot"},
  };
  for (const auto& [binding, expected] : cases) {
    EXPECT_THAT(refusal({&data}, {binding}), HasSubstr(expected)) << binding.name;
  }
  EXPECT_THAT(refusal({&data}, {{"y.example.", a, 0}, {"Y.example.", a, 1}}),
              HasSubstr("another answer"));
  EXPECT_THAT(try_build({&data}, {{"x.example.", aaaa, 0}, {"d.example.", a, 0}}),
              testing::Truly([](const auto& r) { return r.has_value(); }));
}

TEST_F(CatalogBuilderTest, MakesRrsetsOfTheConfigurationBesideTheZones) {
  const auto& data = zone("example.", with_apex("x A 192.0.2.1\nc CNAME x\n*.w TXT \"w\"\n"));
  const std::vector<std::byte> address(4, std::byte{9});
  const std::vector<std::byte> alias{std::byte{0}, std::byte{0}, std::byte{1}, std::byte{'x'},
                                     std::byte{0}};
  const std::vector<MadeRrset> made{{"e.x.example.", a, 7, {address}, "pharos.yaml:5"},
                                    {"example.", 65, 8, {alias}, "pharos.yaml:6"},
                                    {"*.w.example.", a, 9, {address}, "pharos.yaml:7"}};
  auto image = build_catalog(std::vector{&data}, {}, 0, 1, TestCatalog::key(), version, made);
  ASSERT_TRUE(image) << image.error().text();
  const TestCatalog catalog(std::move(*image));
  EXPECT_THAT(catalog.slot("e.x.example.", a), ElementsAre("answer e.x.example. 7 A 9.9.9.9"));
  EXPECT_THAT(catalog.slot("example.", 65), ElementsAre("answer example. 8 HTTPS 0 x."));
  EXPECT_THAT(catalog.slot("*.w.example.", a), ElementsAre("answer *.w.example. 9 A 9.9.9.9"));
  EXPECT_EQ(flags(catalog, "example."), node_flag::apex) << "made RRsets are not from the ranking";

  const auto refused = [&](const char* name) {
    const std::vector<MadeRrset> one{{name, a, 7, {address}, "pharos.yaml:5"}};
    return build_catalog(std::vector{&data}, {}, 0, 1, TestCatalog::key(), version, one)
        .error()
        .text();
  };
  EXPECT_THAT(refused("x.example."),
              testing::MatchesRegex("pharos.yaml:5: the service name 'x.example.' A has another "
                                    "answer of that type in the zone 'example.' as well "
                                    "\\(.*zone1:4\\) \\(remove one of the two\\)"));
  EXPECT_THAT(refused("c.example."), HasSubstr("has a CNAME record"));
  EXPECT_THAT(refused("x.other."), HasSubstr("pharos.yaml:5: the service name 'x.other.' is in"));
}

TEST_F(CatalogBuilderTest, AddsAddressesOfTargetsInAllZonesOfOurs) {
  const auto& asking = zone(
      "example.", with_apex("s SRV 1 2 3 t.other.\ns SRV 1 2 3 u.other.\nm MX 1 n.sub.other.\n"
                            "h HTTPS 1 . alpn=h2\nh A 192.0.2.1\n*.w HTTPS 1 .\n*.w A 192.0.2.2\n"
                            "al SVCB 0 h2\nh2 SVCB 1 .\nh2 AAAA 2001:db8::2\nnone SRV 0 0 0 .\n"
                            "nul HTTPS 0 .\n"));
  const auto& other = zone("other.", with_apex("t A 192.0.2.3\nt AAAA 2001:db8::3\nt TXT x\n"
                                               "cut NS ns.cut\nu CNAME t\nsub NS n.sub\n"
                                               "n.sub A 192.0.2.9\n"));
  const auto catalog = build_zones({&asking, &other});
  EXPECT_THAT(
      catalog.slot("s.example.", 33),
      ElementsAre("answer s.example. 300 SRV 1 2 3 t.other.",
                  "answer s.example. 300 SRV 1 2 3 u.other.", "additional t.other. 300 A 192.0.2.3",
                  "additional t.other. 300 AAAA 2001:db8::3"));
  EXPECT_EQ(catalog.slot("m.example.", mx).size(), 1U) << "not ours below a delegation";
  EXPECT_THAT(catalog.slot("h.example.", 65), ElementsAre("answer h.example. 300 HTTPS 1 . alpn=h2",
                                                          "additional h.example. 300 A 192.0.2.1"));
  EXPECT_THAT(
      catalog.slot("*.w.example.", 65),
      ElementsAre("answer *.w.example. 300 HTTPS 1 .", "additional *.w.example. 300 A 192.0.2.2"));
  EXPECT_THAT(catalog.slot("al.example.", 64),
              ElementsAre("answer al.example. 300 SVCB 0 h2.example.",
                          "additional h2.example. 300 AAAA 2001:db8::2",
                          "additional h2.example. 300 SVCB 1 ."));
  EXPECT_EQ(catalog.slot("none.example.", 33).size(), 1U);
  EXPECT_EQ(catalog.slot("nul.example.", 65).size(), 1U);
}

TEST_F(CatalogBuilderTest, InnerZonesAnswerFromTheirApexDown) {
  const auto& outer =
      zone("example.",
           with_apex("sub NS ns.old.\nsub DS 1 8 2 00\nwww.sub A 192.0.2.1\nz A 192.0.2.2\n"));
  const auto& inner = zone("sub.example.", with_apex("www A 192.0.2.3\n"));
  const auto& unsigned_inner = zone("b.a.example.", with_apex(""));
  const auto catalog = build_zones({&inner, &unsigned_inner, &outer});
  ASSERT_EQ(catalog.view().zones().size(), 3U);
  EXPECT_EQ(flags(catalog, "sub.example."), node_flag::apex);
  EXPECT_THAT(catalog.slot("sub.example.", ns), ElementsAre("answer sub.example. 300 NS ns1.ns."));
  EXPECT_THAT(catalog.slot("www.sub.example.", a),
              ElementsAre("answer www.sub.example. 300 A 192.0.2.3"));
  EXPECT_THAT(catalog.slot("sub.example.", ds),
              ElementsAre(HasSubstr("answer sub.example. 300 DS")));
  EXPECT_THAT(catalog.slot("b.a.example.", ds),
              ElementsAre(HasSubstr("authority example. 60 SOA")));
  EXPECT_EQ(catalog.find("a.example.")->zone, catalog.find("example.")->zone);
  EXPECT_EQ(catalog.slot("z.example.", a).size(), 1U);
}

TEST_F(CatalogBuilderTest, ZonesBelowADelegationStillAnswer) {
  const auto& outer = zone("example.", with_apex("sub NS ns.x.\n"));
  const auto& inner = zone("a.b.sub.example.", with_apex(""));
  const auto catalog = build_zones({&outer, &inner});
  const auto* between = catalog.find("b.sub.example.");
  EXPECT_EQ(flags(catalog, "b.sub.example."), node_flag::below_cut);
  EXPECT_EQ(catalog.view().node(between->covering), catalog.find("sub.example."));
  EXPECT_EQ(flags(catalog, "a.b.sub.example."), node_flag::apex);
  EXPECT_EQ(catalog.find("a.b.sub.example.")->covering, between->covering);  // for DS
  EXPECT_THAT(catalog.slot("a.b.sub.example.", ds), IsEmpty());
}

TEST_F(CatalogBuilderTest, RefusesZonesThatContradictEachOther) {
  const auto& one = zone("example.", with_apex("d DNAME x.\n"));
  const auto& same = zone("Example.", with_apex(""));
  const auto& below = zone("a.d.example.", with_apex(""));
  const auto& wildcard = zone("*.w.", with_apex(""));
  EXPECT_THAT(refusal({&one, &same}), HasSubstr("is there twice"));
  EXPECT_THAT(refusal({&one, &below}), HasSubstr("below a DNAME"));
  EXPECT_THAT(refusal({&wildcard}), HasSubstr("is a wildcard"));
}

TEST_F(CatalogBuilderTest, ServesTheRootZone) {
  const auto& root = zone(".", with_apex("com NS a.com\na.com A 192.0.2.1\n"));
  const auto& inner = zone("example.", with_apex(""));
  const auto catalog = build_zones({&root, &inner});
  EXPECT_EQ(catalog.view().summary().root, catalog.view().zones()[0].apex);
  EXPECT_EQ(flags(catalog, "."), node_flag::apex);
  EXPECT_THAT(referral(catalog, "com."),
              ElementsAre("authority com. 300 NS a.com.", "additional a.com. 300 A 192.0.2.1"));
  EXPECT_THAT(negative(catalog, 0), ElementsAre(HasSubstr("authority . 60 SOA")));
  EXPECT_THAT(catalog.slot("example.", ds), ElementsAre(HasSubstr("authority . 60 SOA")));
}

TEST_F(CatalogBuilderTest, ServesNothingAtAll) {
  const auto catalog = build_zones({});
  EXPECT_EQ(flags(catalog, "."), node_flag::outside);
  EXPECT_EQ(catalog.view().summary().node_count, 1U);
}

TEST_F(CatalogBuilderTest, AncestorsOfSeveralZonesAreThereOnce) {
  const auto& one = zone("a.b.example.", with_apex(""));
  const auto& two = zone("c.b.example.", with_apex(""));
  const auto& three = zone("d.example.", with_apex(""));
  const auto& four = zone("x.*.odd.", with_apex(""));
  const auto catalog = build_zones({&two, &four, &three, &one});
  EXPECT_EQ(flags(catalog, "b.example."), node_flag::outside);
  EXPECT_EQ(flags(catalog, "example."), node_flag::outside);
  EXPECT_EQ(catalog.view().summary().node_count, 9U);
}

TEST_F(CatalogBuilderTest, TakesNamesOfAnyOctetAndLength) {
  const std::string label63(63, 'a');
  const auto catalog = build("\\000\\255\\.x TXT y\n" + label63 + "." + label63 + "." + label63 +
                             "." + std::string(53, 'b') + " A 192.0.2.1\n");
  EXPECT_EQ(catalog.slot("\\000\\255\\.x.example.", 16).size(), 1U);
  EXPECT_EQ(catalog.view().summary().label_count_max, 5U);
}

TEST_F(CatalogBuilderTest, TheSameInputGivesTheSameBytes) {
  const std::string one =
      with_apex("x A 192.0.2.1\nsub NS ns.sub\nns.sub A 192.0.2.2\n*.w MX 1 x\n");
  const std::string other =
      with_apex("*.w MX 1 x\nns.sub A 192.0.2.2\nx A 192.0.2.1\nsub NS ns.sub\n");
  const auto& inner = zone("in.example.", with_apex(""));
  const auto first =
      try_build({&zone("example.", one), &inner}, {{"p.example.", a, 1}, {"q.example.", a, 1}});
  const auto second =
      try_build({&inner, &zone("example.", other)}, {{"q.example.", a, 1}, {"p.example.", a, 1}});
  ASSERT_TRUE(first && second);
  EXPECT_TRUE(*first == *second);
}

TEST_F(CatalogBuilderTest, CommonNamesTouchTwoLinesBehindTheirBucket) {
  std::string text;
  for (int i = 0; i < 1000; ++i) text += "host" + std::to_string(i) + " A 192.0.2.1\n";
  const auto catalog = build(text);
  for (const auto& bucket : catalog.view().buckets()) {
    for (const auto ref : bucket.refs) {
      if (ref == 0) continue;
      const auto& node = *catalog.view().node(ref);
      if (node.rrset_count != 1) continue;
      const auto slot = catalog::slots_of(node)[0];
      const auto first = std::uint64_t{ref} * 16 / 64;
      const auto last = (std::uint64_t{slot.value} * 16 + sizeof(Answer) + 16 - 1) / 64;
      EXPECT_LE(last - first, 1U);
    }
  }
}

TEST_F(CatalogBuilderTest, ThirtyThousandNamesAreAllFound) {
  ZoneData data(*dns::parse_name("example."));
  const auto& apex = zone("example.", with_apex(""));
  for (const auto& record : apex.records()) {
    ASSERT_TRUE(data.add(apex.owner_of(record), record.type, record.ttl_s, apex.rdata_of(record)));
  }
  std::mt19937_64 random(5);
  std::vector<dns::WireName> names;
  const Be32 address(0xc0000201);
  for (int i = 0; i < 30000; ++i) {
    names.push_back(*dns::parse_name(
        "h" + std::to_string(random() % 1000000) + ".d" + std::to_string(i % 97), data.origin()));
    ASSERT_TRUE(data.add(names.back().view(), 1, 60, object_bytes(address)));
  }
  ASSERT_TRUE(data.finish().errors.empty());
  const auto catalog = build_zones({&data});
  for (const auto& name : names) ASSERT_NE(catalog.find(dns::name_text(name.view())), nullptr);
}

TEST_F(CatalogBuilderTest, BindsAllNamesOfAServiceToItsPools) {
  config::Config config;
  config.services.resize(2);
  config.services[0].id = "web";
  config.services[0].names = {"www.example.", "*.w.example."};
  config.services[1].id = "api";
  config.services[1].names = {"api.example."};
  const std::vector<Pool> pools{
      {"api", "", dns::Type::a}, {"web", "", dns::Type::a}, {"web", "", dns::Type::aaaa}};
  std::vector<std::string> text;
  for (const auto& b : bindings_of(config, pools)) {
    text.push_back(b.name + " " + std::to_string(b.type) + " " + std::to_string(b.pool));
  }
  EXPECT_THAT(text, testing::UnorderedElementsAre("www.example. 1 1", "*.w.example. 1 1",
                                                  "www.example. 28 2", "*.w.example. 28 2",
                                                  "api.example. 1 0"));
  config.services[0].srv = {"_x._tcp"};
  config.services[0].https = {443};
  config.services[0].alias_names = {"example."};
  config.services[0].source = {"pharos.yaml", 3};
  const std::vector<Pool> more{
      {"web", "", dns::Type::a}, {"web", "", dns::Type::srv}, {"web", "", dns::Type::https}};
  text.clear();
  for (const auto& b : bindings_of(config, more)) {
    EXPECT_EQ(b.where, "pharos.yaml:3");
    text.push_back(b.name + " " + std::to_string(b.type) + " " + std::to_string(b.pool));
  }
  EXPECT_THAT(text,
              testing::UnorderedElementsAre("www.example. 1 0", "*.w.example. 1 0", "example. 1 0",
                                            "_x._tcp.www.example. 33 1", "_x._tcp.example. 33 1",
                                            "www.example. 65 2", "*.w.example. 65 2"));
}

}  // namespace
}  // namespace pharos::controlplane
