// pharos-make-tables: a state directory with tables of N synthetic names, from which pharos-dataplane starts alone.
//
// Names are "nXXXXXXXX.bench." with static A records, or services whose addresses come from the ranking, one pool
// a name, one order a locale. Everything goes through the builders and the proof that the daemons use. The same
// options give the same bytes.
#include "pharos/controlplane/image/catalog_builder.hh"
#include "pharos/controlplane/image/locale_builder.hh"
#include "pharos/controlplane/image/ranking_builder.hh"
#include "pharos/controlplane/locale/csv_import.hh"
#include "pharos/controlplane/zone/load_zone.hh"
#include "pharos/dataplane/table/table_files.hh"

#include <time.h>

#include <CLI/CLI.hpp>
#include <spdlog/fmt/fmt.h>

#include <array>
#include <fstream>
#include <map>
#include <random>

namespace {

using namespace pharos;
using namespace pharos::controlplane;

constexpr std::uint32_t ttl_s = 300;
constexpr std::uint32_t first_address = 0x0a000000;  // 10.0.0.0
constexpr std::uint64_t bytes_a_mebibyte = 1U << 20;

struct Options {
  std::string state;
  std::string queries;
  std::uint32_t names = 10000;
  unsigned addresses = 1;
  unsigned locales = 1;
  std::string countries;
  std::uint64_t seed = 1;
  bool services = false;
  bool ipv6 = false;
};

[[nodiscard]] std::string label_of(std::uint32_t i) {
  return fmt::format("n{:08x}", i);
}

// An address that is another one for each name and record, and for each locale where the ranking answers.
[[nodiscard]] std::uint32_t address_of(const Options& options, std::uint32_t name,
                                       unsigned record) {
  return first_address + (name * options.addresses + record) % 0xffffff;
}

Status fill_zone(const Options& options, ZoneData& zone) {
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
  for (std::uint32_t i = 0; i < options.names && !options.services; ++i) {
    const auto name = dns::parse_name(label_of(i), zone.origin());
    if (!name) return std::unexpected(name.error());
    for (unsigned k = 0; k < options.addresses; ++k) {
      const Be32 address(address_of(options, i, k));
      if (auto status = zone.add(name->view(), 1, ttl_s, object_bytes(address)); !status)
        return status;
      if (!options.ipv6) continue;
      const std::array<Be32, 4> wide{Be32(0x20010db8), Be32(0), Be32(0), address};
      if (auto status = zone.add(name->view(), 28, ttl_s, object_bytes(wide)); !status)
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
[[nodiscard]] Result<LocaleTable> make_locales(const Options& options) {
  if (!options.countries.empty()) return read_countries(options.countries);
  LocaleTable table{{"default"}, {}};
  for (unsigned l = 1; l < options.locales; ++l) {
    table.names.push_back("locale" + std::to_string(l));
    table.prefixes.push_back(
        {{IpAddress::from_ipv4(first_address | l << 16), 16}, static_cast<std::uint16_t>(l)});
  }
  return table;
}

Result<ImageBuffer> make_ranking(const Options& options, std::span<const Pool> pools,
                                 const LocaleTable& locales, Version version) {
  std::vector<std::string> names;
  for (const Pool& pool : pools) names.push_back(pool.name());
  RankingBuilder builder(std::move(names), locales.names, pools_digest(pools),
                         locales_id_of(locales.names));
  for (std::uint32_t p = 0; p < pools.size(); ++p) {
    for (unsigned l = 0; l < locales.names.size(); ++l) {
      CellContent cell{1, ttl_s, {{}}};
      for (unsigned k = 0; k < options.addresses; ++k) {
        cell.slots[0].push_back(
            IpAddress::from_ipv4(address_of(options, p, (k + l) % options.addresses)));
      }
      if (auto status = builder.set(p, static_cast<std::uint16_t>(l), cell); !status)
        return std::unexpected(status.error());
    }
  }
  return builder.build_base(version);
}

Result<dataplane::SharedImage> share(ConstBytes image) {
  const auto fd = seal_in_memfd(image, "make-tables");
  if (!fd) return std::unexpected(fd.error());
  auto mapping = map_sealed(fd->get());
  if (!mapping) return std::unexpected(mapping.error());
  return std::make_shared<const Mapping>(std::move(*mapping));
}

// Prints what each step took of a core, so that builders are measured where they are used.
class Steps {
 public:
  void done(const std::string& what, std::uint64_t bytes = 0) {
    const double now_s = cpu_s();
    fmt::print("{:<28} {:8.3f} s{}\n", what, now_s - last_s_,
               bytes == 0
                   ? std::string()
                   : fmt::format("  {:8.1f} MiB", static_cast<double>(bytes) / bytes_a_mebibyte));
    last_s_ = cpu_s();
  }

 private:
  [[nodiscard]] static double cpu_s() noexcept {
    timespec t{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
  }
  double last_s_ = cpu_s();
};

Status make(const Options& options) {
  constexpr Version version{1, 1};
  Steps steps;
  std::vector<Pool> pools;
  std::vector<PoolBinding> bindings;
  for (std::uint32_t i = 0; i < options.names && options.services; ++i) {
    bindings.push_back({label_of(i) + ".bench.", 1, i});
    pools.push_back({label_of(i), {}, dns::Type::a});
  }
  ZoneData zone(*dns::parse_name("bench."));
  if (auto status = fill_zone(options, zone); !status) return status;
  steps.done("zone");

  std::mt19937_64 random(options.seed);
  dns::NameHashKey key;
  for (auto& b : key.bytes) b = static_cast<std::byte>(random());
  const ZoneData* zones[] = {&zone};
  const auto catalog = build_catalog(zones, bindings, static_cast<std::uint32_t>(pools.size()),
                                     pools_digest(pools), key, version);
  if (!catalog) return std::unexpected(catalog.error());
  steps.done("catalog", catalog->size());
  const auto locales = make_locales(options);
  if (!locales) return std::unexpected(locales.error());
  const auto map = build_locale_image(*locales, version);
  if (!map) return std::unexpected(map.error());
  const auto base = make_ranking(options, pools, *locales, version);
  if (!base) return std::unexpected(base.error());
  steps.done("locale map and ranking", map->size() + base->size());

  dataplane::NewImages images;
  const std::pair<const ImageBuffer*, dataplane::SharedImage*> parts[] = {
      {&*catalog, &images.catalog}, {&*map, &images.locale_map}, {&*base, &images.ranking_base}};
  for (const auto& [image, slot] : parts) {
    auto shared = share(*image);
    if (!shared) return std::unexpected(shared.error());
    *slot = std::move(*shared);
  }
  const auto root = dataplane::make_root(nullptr, version, images);
  if (!root) return std::unexpected(root.error());
  steps.done("proof");
  auto files = dataplane::TableFiles::open(options.state + "/tables");
  if (!files) return std::unexpected(files.error());
  if (auto status = files->save(dataplane::set_of(**root)); !status) return status;
  steps.done("written to " + options.state);
  if (options.queries.empty()) return {};
  std::ofstream out(options.queries);
  for (std::uint32_t i = 0; i < options.names; ++i) out << label_of(i) << ".bench. A\n";
  if (!out.flush()) return fail_errno("write", options.queries);
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app{
      "Writes tables of synthetic names into a state directory, for measurements of "
      "pharos-dataplane."};
  app.set_version_flag("--version", PHAROS_VERSION);
  app.add_option("--state", options.state, "state directory; its tables are replaced")->required();
  app.add_option("--queries", options.queries, "file to write \"name A\" lines for all names into");
  app.add_option("--names", options.names, "how many names")
      ->capture_default_str()
      ->check(CLI::Range(1U, 1U << 24));
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
  app.add_flag("--services", options.services,
               "answer from the ranking, a pool a name, instead of from the zone");
  CLI11_PARSE(app, argc, argv);
  if (const auto status = make(options); !status) {
    fmt::print(stderr, "pharos-make-tables: {}\n", status.error().text());
    return 1;
  }
  return 0;
}
