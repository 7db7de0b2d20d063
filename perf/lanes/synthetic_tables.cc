#include "synthetic_tables.hh"

#include "pharos/controlplane/locale/csv_import.hh"
#include "pharos/controlplane/zone/load_zone.hh"

#include <CLI/CLI.hpp>
#include <spdlog/fmt/fmt.h>

#include <array>
#include <map>
#include <random>

namespace pharos::perf {

namespace {

using namespace pharos::controlplane;

constexpr std::uint32_t ttl_s = 300;
constexpr std::uint32_t first_address = 0x0a000000;  // 10.0.0.0
constexpr std::uint16_t type_a = 1;
constexpr std::uint16_t type_aaaa = 28;

// An address that is another one for each name and record.
[[nodiscard]] std::uint32_t address_of(const SyntheticOptions& options, std::uint32_t name,
                                       unsigned record) {
  return first_address + (name * options.addresses + record) % 0xffffff;
}

Status add_apex(ZoneData& zone) {
  config::ZoneConfig apex;
  apex.id = zone.name();
  apex.hosts["ns1"] = {IpAddress::from_ipv4(first_address)};
  auto made = load_zone(apex);
  if (!made) return std::unexpected(made.error());
  for (const ZoneRecord& record : made->data.records()) {
    if (auto status = zone.add(made->data.owner_of(record), record.type, record.ttl_s,
                               made->data.rdata_of(record));
        !status) {
      return status;
    }
  }
  return {};
}

Status fill_zone(const SyntheticOptions& options, ZoneData& zone) {
  if (auto status = add_apex(zone); !status) return status;
  for (std::uint32_t i = options.services; i < options.names; ++i) {
    const auto name = dns::parse_name(label_of(i), zone.origin());
    if (!name) return std::unexpected(name.error());
    for (unsigned k = 0; k < options.addresses; ++k) {
      const Be32 address(address_of(options, i, k));
      if (auto status = zone.add(name->view(), type_a, ttl_s, object_bytes(address)); !status)
        return status;
      if (!options.ipv6) continue;
      const std::array<Be32, 4> wide{Be32(0x20010db8), Be32(0), Be32(0), address};
      if (auto status = zone.add(name->view(), type_aaaa, ttl_s, object_bytes(wide)); !status)
        return status;
    }
  }
  const ZoneReport report = zone.finish();
  if (!report.errors.empty()) return std::unexpected(report.errors.front());
  return {};
}

// A locale for each country of the files country-ipv4.csv.gz and country-ipv6.csv.gz.
[[nodiscard]] Result<LocaleTable> read_countries(const std::string& folder) {
  LocaleTable table{{"default"}, {}};
  std::map<std::string, std::uint16_t> known;
  for (const char* file : {"/country-ipv4.csv.gz", "/country-ipv6.csv.gz"}) {
    const auto read = read_csv(folder + file, [&](const CsvLine& line, std::uint32_t) -> Status {
      const auto next = static_cast<std::uint16_t>(table.names.size());
      const auto [at, fresh] = known.emplace(std::string(line.value), next);
      if (fresh) table.names.emplace_back(line.value);
      for (const auto& prefix : line.prefixes) table.prefixes.push_back({prefix, at->second});
      return {};
    });
    if (!read) return std::unexpected(read.error());
  }
  return table;
}

// Locale l takes 10.l.0.0/16, so that generated clients spread over all.
[[nodiscard]] Result<LocaleTable> make_locales(const SyntheticOptions& options) {
  if (!options.countries.empty()) return read_countries(options.countries);
  LocaleTable table{{"default"}, {}};
  for (unsigned l = 1; l < options.locales; ++l) {
    table.names.push_back("locale" + std::to_string(l));
    table.prefixes.push_back(
        {{IpAddress::from_ipv4(first_address | l << 16), 16}, static_cast<std::uint16_t>(l)});
  }
  return table;
}

// Of 20 patterns 16 are domains and all below, 3 are single names, and one is an expression. With `sample` a last policy
// takes every name that no other does, and logs samples of it.
[[nodiscard]] config::Config policies_of(const SyntheticOptions& options) {
  config::Config config;
  if (options.patterns != 0) {
    auto& policy = config.policies.emplace_back();
    policy.id = "patterns";
    policy.action = catalog::PolicyAction::refuse;
    policy.files = {"patterns"};
    std::mt19937 random(3);
    for (unsigned i = 0; i < options.patterns; ++i) {
      const auto word = "w" + std::to_string(random() % 1000000007U);
      auto text = "." + word + ".example";
      if (i % 20 >= 16) text = "www." + word + ".bench";
      const bool regex = i % 20 == 19;
      if (regex) text = "^" + word + "[0-9]+\\.([a-z]+\\.)*example$";
      policy.patterns.push_back({std::move(text), regex, 0, 1});
    }
  }
  if (options.sample) {
    auto& policy = config.policies.emplace_back();
    policy.id = "sample";
    policy.action = catalog::PolicyAction::log;
    policy.files = {"sample"};
    policy.patterns.push_back({"*", false, 0, 1});
  }
  return config;
}

}  // namespace

std::string label_of(std::uint32_t i) {
  return fmt::format("n{:08x}", i);
}

void add_options(CLI::App& app, SyntheticOptions& options) {
  app.add_option("--names", options.names, "how many names")
      ->capture_default_str()
      ->check(CLI::Range(1U, 1U << 24));
  app.add_option("--services", options.services,
                 "how many of them are answered from the ranking, a pool a name, not from the zone")
      ->capture_default_str();
  app.add_option("--addresses", options.addresses, "A records of each")
      ->capture_default_str()
      ->check(CLI::Range(1U, 32U));
  app.add_option("--locales", options.locales, "client locales, of 10.N.0.0/16 each")
      ->capture_default_str()
      ->check(CLI::Range(1U, 256U));
  app.add_option(
      "--countries", options.countries,
      "folder of country-ipv4.csv.gz and country-ipv6.csv.gz: a locale for each country");
  app.add_flag("--ipv6", options.ipv6, "an AAAA record beside each A");
  app.add_option("--seed", options.seed, "of the name table's hash key")->capture_default_str();
  app.add_option("--patterns", options.patterns,
                 "patterns of name policies, which take none of the names")
      ->capture_default_str()
      ->check(CLI::Range(0U, 1000000U));
  app.add_flag("--sample", options.sample, "a name policy that samples every query");
}

Result<SyntheticWorld> SyntheticWorld::make(const SyntheticOptions& options) {
  SyntheticWorld world;
  world.options_ = options;
  world.options_.services = std::min(options.services, options.names);
  for (std::uint32_t i = 0; i < world.options_.services; ++i) {
    world.bindings_.push_back({label_of(i) + ".bench.", type_a, i});
    world.pools_.push_back({label_of(i), {}, dns::Type::a});
  }
  world.zone_ = std::make_unique<ZoneData>(*dns::parse_name("bench."));
  if (auto status = fill_zone(world.options_, *world.zone_); !status)
    return std::unexpected(status.error());
  auto locales = make_locales(options);
  if (!locales) return std::unexpected(locales.error());
  world.locales_ = std::move(*locales);
  auto policies = NamePolicies::make(policies_of(options), world.bindings_, nullptr);
  if (!policies) return std::unexpected(policies.error());
  world.policies_ = std::move(*policies);
  std::mt19937_64 random(options.seed);
  for (auto& b : world.key_.bytes) b = static_cast<std::byte>(random());
  return world;
}

Result<ImageBuffer> SyntheticWorld::catalog(Version version) const {
  const ZoneData* zones[] = {zone_.get()};
  return build_catalog(zones, bindings_, pool_count(), pools_digest(pools_), key_, version, {},
                       policies_.get());
}

Result<ImageBuffer> SyntheticWorld::locale_map(Version version) const {
  return build_locale_image(locales_, version);
}

CellContent SyntheticWorld::cell(std::uint32_t pool, unsigned locale, unsigned turn) const {
  CellContent cell{.type = type_a, .ttl_s = ttl_s, .slots = {{}}};
  for (unsigned k = 0; k < options_.addresses; ++k) {
    const unsigned record = (k + locale + turn) % options_.addresses;
    cell.slots[0].push_back(IpAddress::from_ipv4(address_of(options_, pool, record)));
  }
  return cell;
}

Result<RankingBuilder> SyntheticWorld::ranking() const {
  std::vector<std::string> names;
  for (const Pool& pool : pools_) names.push_back(pool.name());
  RankingBuilder builder(std::move(names), locales_.names, pools_digest(pools_),
                         locales_id_of(locales_.names));
  for (std::uint32_t p = 0; p < pool_count(); ++p) {
    for (unsigned l = 0; l < locale_count(); ++l) {
      if (auto status = builder.set(p, static_cast<std::uint16_t>(l), cell(p, l, 0)); !status)
        return std::unexpected(status.error());
    }
  }
  return builder;
}

}  // namespace pharos::perf
