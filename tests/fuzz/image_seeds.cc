// See image_seeds.hh.
#include "image_seeds.hh"

#include "pharos/base/assert.hh"
#include "pharos/controlplane/image/catalog_builder.hh"
#include "pharos/controlplane/image/locale_builder.hh"
#include "pharos/controlplane/image/ranking_builder.hh"
#include "pharos/controlplane/policy/name_policies.hh"
#include "pharos/controlplane/zone/zone_data.hh"

#include <utility>

#include "unit/shared/test_tables.hh"

namespace pharos::fuzz {
namespace {

using namespace controlplane;

constexpr std::uint64_t pools_id = 5;

class ZoneWriter {
 public:
  explicit ZoneWriter(std::string_view origin) : origin_(name_of(origin)), data_(origin_) {}

  ZoneWriter& add(std::string_view owner, dns::Type type, ConstBytes rdata) {
    const auto good = data_.add(name_of(owner).view(), std::to_underlying(type), 300, rdata);
    REQUIRE(good);
    return *this;
  }
  ZoneWriter& add_name(std::string_view owner, dns::Type type, std::string_view target) {
    return add(owner, type, name_of(target).view());
  }
  ZoneWriter& add_address(std::string_view owner, const char* text) {
    const auto address = IpAddress::parse(text);
    REQUIRE(address);
    return add(owner, address->is_ipv4() ? dns::Type::a : dns::Type::aaaa, address->wire());
  }
  ZoneWriter& add_soa() {
    std::vector<std::byte> rdata;
    test_images::append(rdata, name_of("ns1").view());
    test_images::append(rdata, name_of("host").view());
    for (const std::uint32_t number : {7U, 3600U, 600U, 86400U, 60U}) {
      test_images::append_object(rdata, Be32(number));
    }
    return add("@", dns::Type::soa, rdata);
  }
  ZoneData& finish() {
    REQUIRE(data_.finish().errors.empty());
    return data_;
  }

 private:
  [[nodiscard]] dns::WireName name_of(std::string_view text) const {
    auto name = dns::parse_name(text, origin_.view());
    REQUIRE(name);
    return *name;
  }

  dns::WireName origin_;
  ZoneData data_;
};

// One policy of each kind that the image knows: a plain one, a route and an expression.
config::Config example_policies() {
  config::Config config;
  config.services.resize(1);
  config.services[0].id = "www";
  config.services[0].names = {"www.example."};
  const auto add = [&](const char* id, catalog::PolicyAction action, const char* text, bool regex) {
    auto& policy = config.policies.emplace_back();
    policy.id = id;
    policy.action = action;
    policy.service = "www";
    policy.files = {"seed"};
    policy.patterns.push_back({text, regex, 0, 1});
  };
  add("below", catalog::PolicyAction::refuse, "*.down.here.example", false);
  add("routed", catalog::PolicyAction::route, ".tenants.example", false);
  add("matched", catalog::PolicyAction::drop, "^x[0-9]", true);
  return config;
}

ImageBuffer catalog_seed(const config::Config& config) {
  ZoneWriter zone("example.");
  zone.add_soa()
      .add_name("@", dns::Type::ns, "ns1")
      .add_address("ns1", "192.0.2.1")
      .add_address("ns1", "2001:db8::1")
      .add_name("alias", dns::Type::cname, "deep.down.here")
      .add_address("deep.down.here", "192.0.2.2")
      .add_address("*.wild", "192.0.2.3")
      .add_name("moved", dns::Type::dname, "elsewhere.test.")
      .add_name("child", dns::Type::ns, "ns.child")
      .add_address("ns.child", "192.0.2.4")
      .add("@", dns::Type::txt, as_bytes(std::string_view("\x04text")));
  const PoolBinding bindings[] = {
      {"www.example.", 1, 0}, {"www.example.", 28, 1}, {"*.any.example.", 1, 0}};
  dns::NameHashKey key;
  for (std::size_t i = 0; i < key.bytes.size(); ++i) key.bytes[i] = std::byte(i * 11 + 3);
  const ZoneData* zones[] = {&zone.finish()};
  const auto policies = NamePolicies::make(config, bindings, nullptr);
  REQUIRE(policies);
  auto image = build_catalog(zones, bindings, 2, pools_id, key, {1, 1}, {}, policies->get());
  REQUIRE(image);
  return std::move(*image);
}

std::vector<Seed> make_seeds() {
  const std::vector<std::string> locale_names = {"default", "here", "there"};
  LocaleTable table{locale_names, {}};
  for (const auto& [text, locale] :
       {std::pair{"192.0.2.0/24", 1}, std::pair{"192.0.2.77/32", 2}, std::pair{"2001:db8::/32", 1},
        std::pair{"2001:db8:1::5/128", 2}}) {
    table.prefixes.push_back({*IpPrefix::parse(text), static_cast<std::uint16_t>(locale)});
  }
  auto locale_map = build_locale_image(table, {1, 1});
  REQUIRE(locale_map);

  RankingBuilder ranking({"www/A", "www/AAAA"}, locale_names, pools_id,
                         locales_id_of(locale_names));
  const IpAddress a = *IpAddress::parse("192.0.2.10");
  const IpAddress b = *IpAddress::parse("192.0.2.11");
  const IpAddress c = *IpAddress::parse("2001:db8::10");
  REQUIRE(ranking.set(0, 0, {1, 30, {{a}}}) &&
          ranking.set(0, 1, {1, 30, {{a, b}, {b, a}, {a, b}, {a}}}) &&
          ranking.set(1, 2, {28, 60, {{c}}}));
  auto base = ranking.build_base({1, 1});
  REQUIRE(base);
  ranking.commit();
  REQUIRE(ranking.set(0, 1, {1, 20, {{b}, {b, a}, {a, b}, {a}}}));
  auto delta = ranking.build_delta({1, 2});
  REQUIRE(delta);

  std::vector<Seed> seeds;
  seeds.push_back({"catalog", catalog_seed({})});
  seeds.push_back({"locale_map", std::move(*locale_map)});
  seeds.push_back({"ranking_base", std::move(*base)});
  seeds.push_back({"ranking_delta", std::move(*delta)});
  seeds.push_back({"catalog_by_hand", test_images::make_catalog({1, 1}, 5)});
  seeds.push_back({"ranking_base_by_hand",
                   test_images::make_base({1, 1}, 2, 2, [](auto p, auto l) { return p + l; })});
  seeds.push_back({"catalog_policies", catalog_seed(example_policies())});
  return seeds;
}

}  // namespace

const std::vector<Seed>& seeds() {
  static const auto made = make_seeds();
  return made;
}

}  // namespace pharos::fuzz
