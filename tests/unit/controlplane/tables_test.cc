// Tables of thousands of zones: each answers for itself, a reload reads those that changed and no other, and one that is
// broken changes nothing.
#include "pharos/controlplane/engine/tables.hh"

#include <gtest/gtest.h>

#include "temporary_files.hh"

namespace pharos::controlplane {
namespace {

constexpr unsigned zones = 2000;

std::string zone_text(unsigned serial, unsigned host) {
  return "$TTL 60\n@ SOA ns host " + std::to_string(serial) +
         " 3600 600 86400 30\n@ NS ns\nns A 192.0.2.1\nwww A 198.18." + std::to_string(host / 256) +
         "." + std::to_string(host % 256) + "\n";
}

class TablesTest : public testing::Test {
 protected:
  TablesTest() {
    for (unsigned i = 0; i < zones; ++i) write(i, zone_text(1, i));
    files_.write("pharos.yaml",
                 "zone_files: zones\nsites: [{id: fra, location: [50.11, 8.68]}]\nservices: []\n");
  }
  void write(unsigned zone, const std::string& text) const {
    files_.write("zones/z" + std::to_string(zone) + ".example.zone", text);
  }
  Result<std::shared_ptr<const Tables>> build(const ZoneReuse& reuse = {}) {
    auto config = config::load(files_.directory() + "/pharos.yaml");
    EXPECT_TRUE(config) << config.error().text();
    dns::NameHashKey key;
    for (unsigned i = 0; i < key.bytes.size(); ++i)
      key.bytes[i] = static_cast<std::byte>(i * 5 + 1);
    broken_.clear();
    return build_tables(std::make_shared<const config::Config>(std::move(*config)), key,
                        {1, ++generation_}, reuse, broken_);
  }
  static const catalog::Node* find(const Tables& tables, const std::string& text) {
    const auto name = dns::parse_name(text);
    dns::FoldedName folded{};
    dns::scalar::fold_name(name->bytes.data(), name->length, folded);
    return tables.catalog.find(folded.bytes.data(), folded.length);
  }
  static std::string id_of(unsigned zone) { return "z" + std::to_string(zone) + ".example."; }

  TemporaryFiles files_;
  std::string broken_;
  std::uint64_t generation_ = 0;
};

TEST_F(TablesTest, EveryZoneOfADirectoryAnswersForItself) {
  const auto tables = build();
  ASSERT_TRUE(tables) << tables.error().text();
  EXPECT_EQ((*tables)->zones.size(), zones);
  EXPECT_EQ((*tables)->catalog.zones().size(), zones);
  for (unsigned i = 0; i < zones; ++i) {
    const auto* www = find(**tables, "www." + id_of(i));
    ASSERT_NE(www, nullptr) << i;
    const auto& zone = (*tables)->catalog.zones()[www->zone];
    const auto* apex = (*tables)->catalog.node(zone.apex);
    EXPECT_EQ(dns::name_text({apex->name(), apex->name_bytes}), id_of(i));
    const auto* answer = (*tables)->catalog.answer(catalog::slots_of(*www)[0].value);
    EXPECT_EQ(unsigned{load<Be16>(answer->body() + answer->body_bytes - 2)}, i)
        << "its own address";
  }
}

TEST_F(TablesTest, AReloadReadsTheZonesThatChangedAndNoOther) {
  const auto former = build();
  ASSERT_TRUE(former) << former.error().text();
  write(7, zone_text(2, 4000) + "more A 192.0.2.9\n");
  std::filesystem::remove(files_.directory() + "/zones/z8.example.zone");
  files_.write("zones/new.example.zone", zone_text(1, 1));
  const auto next = build({.former = former->get(), .except = {}, .none = false});
  ASSERT_TRUE(next) << next.error().text();
  unsigned read = 0;
  for (const auto& [id, state] : (*next)->zones) {
    const auto at = (*former)->zones.find(id);
    read += at == (*former)->zones.end() || at->second.zone != state.zone ? 1 : 0;
  }
  EXPECT_EQ(read, 2U);
  EXPECT_EQ(differences(**former, **next),
            (std::vector<std::string>{"zone z7.example. changed", "zone z8.example. removed",
                                      "zone new.example. added"}));
  EXPECT_NE(find(**next, "more." + id_of(7)), nullptr);
  EXPECT_EQ(find(**next, "www." + id_of(8)), nullptr);
  EXPECT_NE(find(**former, "www." + id_of(8)), nullptr) << "the former tables are as they were";
}

TEST_F(TablesTest, AZoneIsReadAgainWhereThatIsAskedFor) {
  const auto former = build();
  ASSERT_TRUE(former) << former.error().text();
  const auto next = build({.former = former->get(), .except = id_of(3), .none = false});
  ASSERT_TRUE(next) << next.error().text();
  EXPECT_NE((*next)->zones.at(id_of(3)).zone, (*former)->zones.at(id_of(3)).zone);
  EXPECT_EQ((*next)->zones.at(id_of(4)).zone, (*former)->zones.at(id_of(4)).zone);
}

TEST_F(TablesTest, ABrokenZoneStopsTheBuildWithItsFileAndLine) {
  const auto former = build();
  ASSERT_TRUE(former) << former.error().text();
  write(9, zone_text(2, 9) + "www CNAME ns\n");
  const auto next = build({.former = former->get(), .except = {}, .none = false});
  ASSERT_FALSE(next);
  EXPECT_EQ(broken_, id_of(9));
  EXPECT_NE(next.error().text().find("zones/z9.example.zone:5: 'www.z9.example.' has a CNAME"),
            std::string::npos)
      << next.error().text();
}

}  // namespace
}  // namespace pharos::controlplane
