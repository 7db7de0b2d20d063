// Demand by name: from nodes of a catalog to names of services, beyond a change of the catalog.
#include "pharos/controlplane/assign/name_demand.hh"

#include "pharos/controlplane/engine/tables.hh"
#include "pharos/wire/name_text.hh"

#include <gtest/gtest.h>

#include "small_world.hh"

namespace pharos::controlplane {
namespace {

std::shared_ptr<const Tables> tables_of(const config::Config& config, std::uint64_t generation) {
  std::string broken;
  dns::NameHashKey key;
  key.bytes.fill(std::byte{7});
  auto tables = build_tables(std::make_shared<const config::Config>(config), key,
                             Version{1, generation}, {}, broken);
  EXPECT_TRUE(tables) << tables.error().text();
  return *tables;
}

std::uint32_t node_of(const Tables& tables, const char* name) {
  const auto wire = dns::parse_name(name);
  dns::FoldedName folded{};
  dns::fold_name(wire->bytes.data(), wire->length, folded);
  const auto* node = tables.catalog.find(folded.bytes.data(), folded.length);
  const auto* begin = reinterpret_cast<const std::byte*>(tables.catalog.node(0));
  return static_cast<std::uint32_t>((reinterpret_cast<const std::byte*>(node) - begin) /
                                    catalog::ref_unit_bytes);
}

config::Config config_of() {
  auto config = small_config();
  config.services[2].names = {"www.example.org.", "*.web.example.org."};
  config.services[2].srv = {"_https._tcp"};
  return config;
}

TEST(NameDemandTest, CountsTheNamesOfServicesAndNothingElse) {
  const auto tables = tables_of(config_of(), 1);
  NameDemand demand(*tables->world->config, tables->catalog, {});
  EXPECT_EQ(demand.catalog_id(), tables->catalog.header().checksum);
  demand.tick(start);
  for (int s = 1; s <= 60; ++s) {
    demand.heard(node_of(*tables, "www.example.org."), 30);
    demand.heard(node_of(*tables, "*.web.example.org."), 20);
    demand.heard(node_of(*tables, "_https._tcp.www.example.org."), 5);
    demand.heard(node_of(*tables, "ns1.example.org."), 100);
    demand.heard(0, 100);
    demand.heard(0xffffffff, 100);
    demand.tick(start + seconds(s));
  }
  const auto rates = demand.hottest(10);
  ASSERT_EQ(rates.size(), 3U);
  EXPECT_EQ(rates[0].name->name, "www.example.org.");
  EXPECT_EQ(rates[0].name->service, "www");
  EXPECT_NEAR(rates[0].answers_per_s, 30, 0.5);
  EXPECT_EQ(rates[1].name->name, "*.web.example.org.");
  EXPECT_NEAR(rates[2].answers_per_s, 5, 0.1);
  ASSERT_EQ(demand.hottest(1).size(), 1U);
  EXPECT_EQ(demand.hottest(1)[0].name->name, "www.example.org.");
}

TEST(NameDemandTest, RatesGoOnInANewCatalog) {
  const auto former_tables = tables_of(config_of(), 1);
  NameDemand former(*former_tables->world->config, former_tables->catalog, {});
  former.tick(start);
  for (int s = 1; s <= 60; ++s) {
    former.heard(node_of(*former_tables, "www.example.org."), 30);
    former.tick(start + seconds(s));
  }
  auto config = config_of();
  config.services[2].names.insert(config.services[2].names.begin(), "a.example.org.");
  const auto tables = tables_of(config, 2);
  NameDemand demand(*tables->world->config, tables->catalog, former);
  EXPECT_NE(demand.catalog_id(), former.catalog_id());
  EXPECT_NEAR(demand.rate("www.example.org."), 30, 0.5);
  EXPECT_EQ(demand.rate("a.example.org."), 0);
  EXPECT_EQ(demand.rate("nothing.example.org."), 0);
}

}  // namespace
}  // namespace pharos::controlplane
