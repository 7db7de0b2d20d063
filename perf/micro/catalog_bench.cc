// From zone files to a proven catalog, in its parts: 100 thousand names in 1000 zones, and in one.
//
// What `zone reload` of one zone costs is the sum of build, seal, prove and check; the data plane proves once more.
#include "pharos/controlplane/engine/tables.hh"

#include <unistd.h>

#include <benchmark/benchmark.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace pharos::controlplane {
namespace {

constexpr unsigned names_count = 100'000;
constexpr unsigned addresses = 4;  // of a name

[[noreturn]] void give_up(const Error& error) {
  std::fprintf(stderr, "%s\n", error.text().c_str());
  std::exit(1);
}

// Zone files in a folder of their own, which goes with it.
class Files {
 public:
  explicit Files(unsigned zones)
      : folder_(std::filesystem::temp_directory_path() /
                ("pharos-catalog-bench-" + std::to_string(::getpid()))) {
    std::filesystem::create_directories(folder_);
    for (unsigned z = 0; z < zones; ++z) write(z, zones, 1);
    for (unsigned z = 0; z < zones; ++z) {
      auto& zone = config.zones.emplace_back();
      zone.id = "z" + std::to_string(z) + ".example.";
      zone.file = path_of(z);
    }
    config::SiteConfig site;
    site.id = "s";
    config.sites.push_back(site);
  }
  ~Files() { std::filesystem::remove_all(folder_); }
  Files(const Files&) = delete;
  Files& operator=(const Files&) = delete;

  void write(unsigned zone, unsigned zones, unsigned serial) const {
    std::ofstream out(path_of(zone));
    out << "$ORIGIN z" << zone << ".example.\n$TTL 300\n@ SOA ns1 hostmaster " << serial
        << " 2h 30m 2w 60\n@ NS ns1\nns1 A 192.0.2.53\n";
    for (unsigned n = 0; n < names_count / zones; ++n) {
      for (unsigned a = 0; a < addresses; ++a) {
        out << "n" << n << " A 198." << 18 + a % 2 << "." << (n >> 8 & 255) << "."
            << ((n + a) & 255) << "\n";
      }
    }
  }

  config::Config config;

 private:
  [[nodiscard]] std::string path_of(unsigned zone) const {
    return (folder_ / ("z" + std::to_string(zone) + ".zone")).string();
  }
  std::filesystem::path folder_;
};

std::shared_ptr<const Tables> tables_of(const std::shared_ptr<const config::Config>& config,
                                        const ZoneReuse& reuse, std::uint64_t generation) {
  std::string broken;
  auto tables = build_tables(config, {}, {1, generation}, reuse, broken);
  if (!tables) give_up(tables.error());
  return *tables;
}

void load(benchmark::State& state) {
  const Files files(static_cast<unsigned>(state.range(0)));
  for (auto _ : state) {
    for (const auto& zone : files.config.zones) {
      auto loaded = load_zone(zone);
      if (!loaded) give_up(loaded.error());
      benchmark::DoNotOptimize(*loaded);
    }
  }
}

// All tables, with nothing to take over.
void first(benchmark::State& state) {
  const Files files(static_cast<unsigned>(state.range(0)));
  const auto config = std::make_shared<const config::Config>(files.config);
  for (auto _ : state) benchmark::DoNotOptimize(tables_of(config, {}, 1));
}

void one_zone_changed(benchmark::State& state) {
  const auto zones = static_cast<unsigned>(state.range(0));
  const Files files(zones);
  const auto config = std::make_shared<const config::Config>(files.config);
  auto tables = tables_of(config, {}, 1);
  std::uint64_t generation = 1;
  for (auto _ : state) {
    state.PauseTiming();
    ++generation;
    files.write(zones / 2, zones, static_cast<unsigned>(generation));
    state.ResumeTiming();
    const ZoneReuse reuse{tables.get(), files.config.zones[zones / 2].id, false};
    auto next = tables_of(config, reuse, generation);
    if (auto good = check_shrink(*tables, *next, 0.5); !good) give_up(good.error());
    tables = std::move(next);
  }
}

void prove(benchmark::State& state) {
  const Files files(static_cast<unsigned>(state.range(0)));
  const auto tables = tables_of(std::make_shared<const config::Config>(files.config), {}, 1);
  for (auto _ : state)
    benchmark::DoNotOptimize(catalog::View::prove(tables->catalog_image.mapping.bytes()));
}

void seal(benchmark::State& state) {
  const Files files(static_cast<unsigned>(state.range(0)));
  const auto tables = tables_of(std::make_shared<const config::Config>(files.config), {}, 1);
  for (auto _ : state) {
    benchmark::DoNotOptimize(
        SealedImage::seal(ImageKind::catalog, tables->catalog_image.mapping.bytes()));
  }
}

BENCHMARK(load)->Arg(1)->Arg(1000)->Unit(benchmark::kMillisecond);
BENCHMARK(first)->Arg(1)->Arg(1000)->Unit(benchmark::kMillisecond);
BENCHMARK(one_zone_changed)->Arg(1000)->Unit(benchmark::kMillisecond);
BENCHMARK(seal)->Arg(1000)->Unit(benchmark::kMillisecond);
BENCHMARK(prove)->Arg(1000)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace pharos::controlplane

BENCHMARK_MAIN();
