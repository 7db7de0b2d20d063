// Catalogs that take zones over from a former one: the same bytes as without it, and no more zones built than need be.
#include "pharos/controlplane/policy/name_policies.hh"

#include <map>
#include <random>

#include "zone_fixture.hh"

namespace pharos::controlplane {
namespace {

constexpr unsigned a = 1, aaaa = 28;

// What a catalog is built from. Zones are the fixture's.
struct World {
  std::map<std::string, const ZoneData*> zones;
  std::vector<PoolBinding> bindings;
  std::vector<MadeRrset> made;
  dns::NameHashKey key = TestCatalog::key();
  std::shared_ptr<const NamePolicies> policies;
};

class CatalogReuseTest : public ZoneTest {
 protected:
  const ZoneData* apex_and(const std::string& origin, const std::string& rest) {
    return &zone(origin, with_apex(rest));
  }

  ~CatalogReuseTest() override { EXPECT_EQ(refusals_, may_be_refused_ ? refusals_ : Refusals{}); }

  // Builds the world from nothing and, where there is one, from the former catalog; both must be the same, or refused.
  // Returns how many zones were taken over.
  std::size_t next(const World& world) {
    std::vector<const ZoneData*> zones;
    for (const auto& [origin, data] : world.zones) zones.push_back(data);
    const CatalogInput input{
        zones, world.bindings, world.made,           8,
        0x77,  world.key,      world.policies.get(), Version{1, ++generation_}};
    auto whole = build_catalog(input, {});
    auto reused = build_catalog(input, former());
    EXPECT_EQ(whole.has_value(), reused.has_value());
    if (!whole || !reused) {
      refusals_.push_back(whole ? reused.error().text() : whole.error().text());
      return 0;
    }
    EXPECT_EQ(whole->zones_taken_over, 0U);
    auto image = reused->image.buffer();
    EXPECT_TRUE(whole->image.buffer() == image);
    former_image_ = std::move(image);
    former_ = std::make_unique<BuiltCatalog>(std::move(*reused));
    auto proven = catalog::View::prove(former_image_);
    EXPECT_TRUE(proven) << (proven ? "" : proven.error().text());
    if (proven) view_ = *proven;
    return former_->zones_taken_over;
  }

  bool may_be_refused_ = false;

 private:
  using Refusals = std::vector<std::string>;
  [[nodiscard]] FormerCatalog former() const {
    return former_ ? FormerCatalog{&view_, &former_->parts} : FormerCatalog{};
  }
  std::unique_ptr<BuiltCatalog> former_;
  ImageBuffer former_image_;
  catalog::View view_;
  Refusals refusals_;
  std::uint64_t generation_ = 0;
};

// Three zones side by side; the middle one has a delegation, a wildcard and a service.
class ThreeZonesTest : public CatalogReuseTest {
 protected:
  ThreeZonesTest() {
    world_.zones = {{"a.example.", apex_and("a.example.", "www A 192.0.2.1\n")},
                    {"b.example.", apex_and("b.example.", middle)},
                    {"c.example.", apex_and("c.example.", "*.w A 192.0.2.9\nx.y TXT z\n")}};
    world_.bindings = {{"app.b.example.", a, 1}};
    EXPECT_EQ(next(world_), 0U);
  }
  static constexpr const char* middle =
      "sub NS ns.sub\nns.sub A 192.0.2.2\n*.wild AAAA 2001:db8::1\nwww A 192.0.2.3\n";
  World world_;
};

TEST_F(ThreeZonesTest, WhatIsTheSameIsTakenOver) {
  EXPECT_EQ(next(world_), 3U);
}

TEST_F(ThreeZonesTest, AZoneThatIsReadAnewIsBuiltAnew) {
  world_.zones["b.example."] = apex_and("b.example.", middle);
  EXPECT_EQ(next(world_), 2U);
}

TEST_F(ThreeZonesTest, ZonesBehindOneThatGrowsOrShrinksMove) {
  world_.zones["a.example."] =
      apex_and("a.example.", "www A 192.0.2.1\nlonger.names TXT \"and more of them\"\n");
  EXPECT_EQ(next(world_), 2U);
  world_.zones["a.example."] = apex_and("a.example.", "");
  EXPECT_EQ(next(world_), 2U);
}

TEST_F(ThreeZonesTest, ZonesComeAndGo) {
  world_.zones["0.example."] = apex_and("0.example.", "");
  EXPECT_EQ(next(world_), 3U);
  world_.zones.erase("a.example.");
  EXPECT_EQ(next(world_), 3U);
  world_.zones["b.other."] = apex_and("b.other.", "www A 192.0.2.7\n");
  EXPECT_EQ(next(world_), 3U);
}

TEST_F(ThreeZonesTest, AServiceBelongsToItsZoneOnly) {
  world_.bindings.push_back({"api.c.example.", aaaa, 2});
  EXPECT_EQ(next(world_), 2U);
  world_.bindings[0].pool = 3;
  EXPECT_EQ(next(world_), 2U);
  world_.bindings[0].ecs = catalog::EcsMode::ignore;
  EXPECT_EQ(next(world_), 2U);
  world_.bindings.clear();
  EXPECT_EQ(next(world_), 1U);
}

TEST_F(ThreeZonesTest, SoDoWhatTheConfigurationMakes) {
  MadeRrset made{
      "one.a.example.", a, 60, {{std::byte{192}, std::byte{0}, std::byte{2}, std::byte{1}}}};
  world_.made = {made};
  EXPECT_EQ(next(world_), 2U);
  EXPECT_EQ(next(world_), 3U);
  world_.made[0].ttl_s = 30;
  EXPECT_EQ(next(world_), 2U);
  world_.made[0].rdata[0][3] = std::byte{2};
  EXPECT_EQ(next(world_), 2U);
}

TEST_F(ThreeZonesTest, WhereAServiceIsWrittenDownChangesNothing) {
  world_.bindings[0].where = "other.yaml:7";
  EXPECT_EQ(next(world_), 3U);
}

TEST_F(ThreeZonesTest, AnotherHashKeyTakesNothingOver) {
  world_.key.bytes[0] ^= std::byte{1};
  EXPECT_EQ(next(world_), 0U);
}

TEST_F(ThreeZonesTest, VerdictsOfPoliciesAreInTheNodes) {
  config::Config config;
  auto& policy = config.policies.emplace_back();
  policy.id = "p";
  policy.action = catalog::PolicyAction::refuse;
  policy.files = {"pharos.yaml"};
  policy.patterns = {{.text = "www.a.example", .regex = false, .file = 0, .line = 1}};
  const auto make = [&] {
    auto made = NamePolicies::make(config, {}, world_.policies.get());
    EXPECT_TRUE(made);
    return std::move(*made);
  };
  world_.policies = make();
  EXPECT_EQ(next(world_), 0U);
  auto kept = world_.policies;
  world_.policies = make();
  EXPECT_EQ(next(world_), 3U);
  config.policies[0].patterns[0].text = "www.b.example";
  kept = world_.policies;
  world_.policies = make();
  EXPECT_EQ(next(world_), 0U);
  config.policies[0].action = catalog::PolicyAction::drop;
  kept = world_.policies;
  world_.policies = make();
  EXPECT_EQ(next(world_), 0U);
}

// An outer zone with a zone right in it and one below a delegation of it, and a zone that has nothing to do with them.
class NestedZonesTest : public CatalogReuseTest {
 protected:
  NestedZonesTest() {
    world_.zones = {{"example.", apex_and("example.", delegation)},
                    {"in.example.", apex_and("in.example.", "www A 192.0.2.1\n")},
                    {"x.sub.example.", apex_and("x.sub.example.", "www A 192.0.2.2\n")},
                    {"far.", apex_and("far.", "www A 192.0.2.3\n")}};
    EXPECT_EQ(next(world_), 0U);
  }
  static constexpr const char* delegation = "sub NS ns.sub\nns.sub A 192.0.2.9\n";
  World world_;
};

TEST_F(NestedZonesTest, TheOuterZoneAnswersDsOfThoseInIt) {
  world_.zones["example."] = apex_and("example.", std::string(delegation) + "in DS 1 8 2 00\n");
  EXPECT_EQ(next(world_), 2U) << "x.sub and far";
}

TEST_F(NestedZonesTest, AnInnerZoneIsNoMatterOfTheOuterOne) {
  world_.zones["in.example."] = apex_and("in.example.", "other A 192.0.2.1\n");
  EXPECT_EQ(next(world_), 3U);
}

TEST_F(NestedZonesTest, TheCutAboveAZoneMoves) {
  world_.zones["example."] =
      apex_and("example.", std::string("a TXT \"first of all\"\n") + delegation);
  EXPECT_EQ(next(world_), 2U);
  world_.zones["example."] =
      apex_and("example.", std::string(delegation) + "z TXT \"last of all\"\n");
  EXPECT_EQ(next(world_), 2U) << "the zone behind moves, the cut does not";
  world_.zones["a."] = apex_and("a.", "www A 192.0.2.4\n");
  EXPECT_EQ(next(world_), 4U) << "all move, and the cut with them";
}

TEST_F(NestedZonesTest, AZoneThatIsNoLongerBelowACut) {
  world_.zones["example."] = apex_and("example.", "");
  EXPECT_EQ(next(world_), 1U) << "far";
}

TEST_F(NestedZonesTest, AZoneWithinAZoneComesAndGoes) {
  world_.zones["deep.in.example."] = apex_and("deep.in.example.", "");
  EXPECT_EQ(next(world_), 3U);
  world_.zones.erase("in.example.");
  EXPECT_EQ(next(world_), 2U) << "x.sub and far";
}

TEST_F(NestedZonesTest, TheRootZoneHoldsAll) {
  world_.zones["."] = apex_and(".", "other NS ns.far.\n");
  EXPECT_EQ(next(world_), 2U) << "those within example.";
  world_.zones["far."] = apex_and("far.", "www A 192.0.2.5\nns A 192.0.2.6\n");
  EXPECT_EQ(next(world_), 3U) << "the root zone has glue now";
}

// Two customers whose records lead to the zone of their provider.
class ForeignTargetsTest : public CatalogReuseTest {
 protected:
  ForeignTargetsTest() {
    world_.zones = {{"one.", apex_and("one.", "@ NS ns.provider.\n")},
                    {"two.", apex_and("two.", "@ MX 1 mail.provider.\n")},
                    {"provider.", apex_and("provider.", provider)}};
    EXPECT_EQ(next(world_), 0U);
  }
  static constexpr const char* provider = "ns A 192.0.2.1\nmail A 192.0.2.2\n";
  World world_;
};

TEST_F(ForeignTargetsTest, WhatLeadsToANameThatChangedIsBuiltAnew) {
  world_.zones["provider."] = apex_and("provider.", "ns A 192.0.2.7\nmail A 192.0.2.2\n");
  EXPECT_EQ(next(world_), 1U) << "two.";
  world_.zones["provider."] = apex_and("provider.", "ns A 192.0.2.7\nmail 60 A 192.0.2.2\n");
  EXPECT_EQ(next(world_), 1U) << "one.";
}

TEST_F(ForeignTargetsTest, OtherNamesOfItsZoneDoNotMatter) {
  world_.zones["provider."] = apex_and("provider.", std::string(provider) + "www A 192.0.2.3\n");
  EXPECT_EQ(next(world_), 2U);
}

TEST_F(ForeignTargetsTest, AZoneThatTakesTheTargetOver) {
  world_.zones["ns.provider."] = apex_and("ns.provider.", "@ A 192.0.2.8\n");
  EXPECT_EQ(next(world_), 1U) << "two.";
  world_.zones.erase("provider.");
  EXPECT_EQ(next(world_), 1U) << "one.; mail has no data any more, and ns. no outer zone";
}

TEST_F(ForeignTargetsTest, ADelegationHidesTheTarget) {
  world_.zones["provider."] =
      apex_and("provider.", "ns NS ns.other.\nns A 192.0.2.1\nmail A 192.0.2.2\n");
  EXPECT_EQ(next(world_), 1U) << "two.";
}

TEST_F(ForeignTargetsTest, AnAliasTakesRecordsOfItsTypeAlong) {
  world_.zones["three."] = apex_and("three.", "@ HTTPS 0 svc.provider.\n");
  EXPECT_EQ(next(world_), 3U);
  world_.zones["provider."] =
      apex_and("provider.", std::string(provider) + "svc HTTPS 1 . alpn=h2\n");
  EXPECT_EQ(next(world_), 2U) << "one. and two.";
}

// Worlds of overlapping zones in which anything changes: a step takes over what it may, or it shows in the bytes.
TEST_F(CatalogReuseTest, AnyHistoryLeadsToTheSameBytes) {
  may_be_refused_ = true;
  std::mt19937_64 random(11);
  const auto below = [&](std::uint64_t limit) { return random() % limit; };
  const std::vector<std::string> origins{".",    "a.", "b.a.", "c.b.a.", "d.c.b.a.",
                                         "e.a.", "b.", "a.b.", "z.",     "q.z."};
  const auto any_name = [&] {
    std::string name;
    for (auto labels = below(3); labels > 0; --labels)
      name += std::string(1, static_cast<char>('a' + below(6))) + ".";
    return name + origins[1 + below(origins.size() - 1)];
  };
  const auto any_records = [&](const std::string& origin) {
    std::string text;
    for (auto records = below(8); records > 0; --records) {
      auto owner = any_name();
      if (!owner.ends_with("." + origin) && origin != ".")
        owner = "n" + std::to_string(below(9)) + "." + origin;
      if (origin == ".") owner = "n" + std::to_string(below(9)) + "." + owner;
      constexpr std::array kinds{" A 192.0.2.", " MX 1 ",    " NS ",
                                 " SRV 1 1 1 ", " HTTPS 0 ", " AAAA 2001:db8::"};
      const auto kind = below(kinds.size());
      text += owner + kinds[kind] +
              (kind == 0 || kind == 5 ? std::to_string(1 + below(4)) : any_name()) + "\n";
    }
    return text;
  };
  std::size_t taken_over = 0;
  std::size_t built = 0;
  for (int history = 0; history < 30; ++history) {
    World world;
    for (int step = 0; step < 12; ++step) {
      for (auto changes = 1 + below(3); changes > 0; --changes) {
        const auto& origin = origins[below(origins.size())];
        if (below(4) == 0) {
          world.zones.erase(origin);
          continue;
        }
        auto config = config_of(origin, with_apex(any_records(origin)));
        auto loaded = load_zone(config);
        if (!loaded) continue;  // a CNAME beside other data and the like: not what this is about
        zones_.push_back(std::move(loaded->data));
        world.zones[origin] = &zones_.back();
      }
      if (below(3) == 0) {
        world.bindings = {{any_name(), a, static_cast<std::uint32_t>(below(4))}};
      }
      taken_over += next(world);
      built += world.zones.size();
    }
  }
  EXPECT_GT(taken_over, built / 4);
}

}  // namespace
}  // namespace pharos::controlplane
