#include "bench_clients.hh"

#include "pharos/controlplane/locale/csv_import.hh"

#include <filesystem>
#include <map>
#include <random>

namespace pharos {
namespace {

bool read_country_file(const std::string& path, std::map<std::string, std::uint16_t>& index,
                       controlplane::LocaleTable& table) {
  const auto status =
      controlplane::read_csv(path, [&](const controlplane::CsvLine& line, std::uint32_t) -> Status {
        const auto next = static_cast<std::uint16_t>(table.names.size());
        const auto [at, is_new] = index.try_emplace(std::string(line.value), next);
        if (is_new) table.names.emplace_back(line.value);
        for (const auto& prefix : line.prefixes) table.prefixes.push_back({prefix, at->second});
        return {};
      });
  return status.has_value();
}

// 175 thousand IPv4 prefixes of 16 to 24 bits and 68 thousand IPv6 ones of 29 to 48, in 240 locales.
controlplane::LocaleTable random_table() {
  std::mt19937_64 random(1);
  controlplane::LocaleTable table{{"default"}, {}};
  for (unsigned i = 1; i < 241; ++i) table.names.push_back("country-" + std::to_string(i));
  for (unsigned i = 0; i < 243'000; ++i) {
    const bool ipv4 = i < 175'000;
    IpPrefix prefix{IpAddress::from_ipv4(static_cast<std::uint32_t>(random())),
                    static_cast<std::uint8_t>(16 + random() % 9)};
    if (!ipv4) {
      prefix.address = IpAddress{{0x2a, static_cast<std::uint8_t>(random() % 16)}};
      for (unsigned byte = 2; byte < 6; ++byte)
        prefix.address.bytes[byte] = static_cast<std::uint8_t>(random());
      prefix.length = static_cast<std::uint8_t>(29 + random() % 20);
    }
    table.prefixes.push_back({prefix.masked(), static_cast<std::uint16_t>(1 + random() % 240)});
  }
  return table;
}

}  // namespace

const ClientMap& client_map() {
  static const ClientMap map = [] {
    const auto data = std::filesystem::path(PHAROS_SOURCE_ROOT) / "../shared/data/country-cidr";
    std::map<std::string, std::uint16_t> index;
    ClientMap real{{{"default"}, {}}, true};
    if (read_country_file((data / "country-ipv4.csv.gz").string(), index, real.table) &&
        read_country_file((data / "country-ipv6.csv.gz").string(), index, real.table)) {
      return real;
    }
    return ClientMap{random_table(), false};
  }();
  return map;
}

}  // namespace pharos
