// The locale map and the ranking builder, measured: lookup time and the price of building.
//
// The client map is that of bench_clients.hh. Figures stand in controlplane/image/README.md.
#include "pharos/controlplane/image/locale_builder.hh"
#include "pharos/controlplane/image/ranking_builder.hh"
#include "pharos/shared/locale_image.hh"
#include "pharos/shared/ranking_image.hh"

#include <benchmark/benchmark.h>

#include <random>

#include "bench_clients.hh"

namespace pharos {
namespace {

using controlplane::CellContent;
using controlplane::RankingBuilder;

const ImageBuffer& client_image() {
  static const auto image = controlplane::build_locale_image(client_map().table, {1, 1}).value();
  return image;
}

const locale_map::View& client_view() {
  static const auto view = locale_map::View::prove(client_image()).value();
  return view;
}

// Addresses inside of the map's prefixes: `hot_count` of them, in random order, as many times as needed.
std::vector<IpAddress> probes(Family family, std::size_t hot_count) {
  std::mt19937_64 random(2);
  std::vector<IpAddress> all;
  for (const auto& [prefix, locale] : client_map().table.prefixes) {
    if (prefix.family() == family) all.push_back(prefix.address);
  }
  std::ranges::shuffle(all, random);
  all.resize(std::min(all.size(), hot_count));
  for (auto& address : all) address.bytes[15] = static_cast<std::uint8_t>(random());
  std::vector<IpAddress> result(1U << 16);
  for (auto& address : result) address = all[random() % all.size()];
  return result;
}

void note_map(benchmark::State& state) {
  state.SetLabel(client_map().is_real ? "country-cidr" : "random map: country-cidr is absent");
  const auto& header = client_view().header();
  state.counters["image_bytes"] = static_cast<double>(header.image_bytes);
  state.counters["prefixes"] = static_cast<double>(client_map().table.prefixes.size());
}

// Uniformly random IPv4 addresses: the worst for caches.
void find_ipv4_random(benchmark::State& state) {
  const auto& view = client_view();
  std::uint32_t address = 1;
  std::uint64_t sum = 0;
  for (auto _ : state) {
    address = address * 1664525U + 1013904223U;
    sum += view.find_ipv4(address).index;
  }
  benchmark::DoNotOptimize(sum);
  note_map(state);
}
BENCHMARK(find_ipv4_random);

// Each lookup waits for the one before it: latency, not throughput.
void find_ipv4_dependent(benchmark::State& state) {
  const auto& view = client_view();
  std::uint32_t address = 1;
  for (auto _ : state) {
    address = address * 1664525U + 1013904223U + view.find_ipv4(address).index;
  }
  benchmark::DoNotOptimize(address);
  note_map(state);
}
BENCHMARK(find_ipv4_dependent);

void find_any(benchmark::State& state, Family family) {
  const auto& view = client_view();
  const auto addresses = probes(family, static_cast<std::size_t>(state.range(0)));
  std::uint64_t sum = 0;
  std::size_t i = 0;
  for (auto _ : state) sum += view.find(addresses[i++ & 0xffff]).index;
  benchmark::DoNotOptimize(sum);
  note_map(state);
}
BENCHMARK_CAPTURE(find_any, ipv4, Family::ipv4)->Arg(1000)->Arg(1'000'000);
BENCHMARK_CAPTURE(find_any, ipv6, Family::ipv6)->Arg(1000)->Arg(1'000'000);

// A burst of 64 as the packet path does it: prefetch all first lines, then look up all.
void find_burst(benchmark::State& state, Family family) {
  const auto& view = client_view();
  const auto addresses = probes(family, 1'000'000);
  std::uint64_t sum = 0;
  std::size_t i = 0;
  for (auto _ : state) {
    const auto* burst = &addresses[i];
    i = (i + 64) & 0xffff;
    for (unsigned k = 0; k < 64; ++k) view.prefetch(burst[k]);
    for (unsigned k = 0; k < 64; ++k) sum += view.find(burst[k]).index;
  }
  benchmark::DoNotOptimize(sum);
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()) * 64);
  note_map(state);
}
BENCHMARK_CAPTURE(find_burst, ipv4, Family::ipv4);
BENCHMARK_CAPTURE(find_burst, ipv6, Family::ipv6);

void build_map(benchmark::State& state) {
  const auto& table = client_map().table;
  for (auto _ : state) benchmark::DoNotOptimize(controlplane::build_locale_image(table, {1, 1}));
  note_map(state);
}
BENCHMARK(build_map)->Unit(benchmark::kMillisecond);

void prove_map(benchmark::State& state) {
  const auto& image = client_image();
  for (auto _ : state) benchmark::DoNotOptimize(locale_map::View::prove(image));
  note_map(state);
}
BENCHMARK(prove_map)->Unit(benchmark::kMillisecond);

// Ten thousand pools for 64 locales.
constexpr std::uint32_t pool_count = 10'000;
constexpr std::uint16_t locale_count = 64;

std::vector<std::string> numbered(const char* stem, std::size_t count) {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < count; ++i) names.push_back(stem + std::to_string(i));
  return names;
}

// Four endpoints of the pool in the order that `turn` deals; 24 orders, or others for every cell.
CellContent cell(std::uint32_t pool, std::uint32_t turn, bool is_unique) {
  CellContent content{1, 30, {{}}};
  const std::uint32_t endpoints = 0x0a000000 + pool * 16 + (is_unique ? turn << 24 : 0);
  std::array<std::uint32_t, 4> order = {0, 1, 2, 3};
  for (std::uint32_t i = 3, rest = turn % 24; i > 0; rest /= i + 1, --i)
    std::swap(order[i], order[rest % (i + 1)]);
  for (const auto endpoint : order)
    content.slots[0].push_back(IpAddress::from_ipv4(endpoints + endpoint));
  return content;
}

RankingBuilder filled(bool is_unique) {
  RankingBuilder builder(numbered("pool", pool_count), numbered("locale", locale_count), 1, 2);
  for (std::uint32_t pool = 0; pool < pool_count; ++pool) {
    for (std::uint16_t locale = 0; locale < locale_count; ++locale) {
      if (!builder.set(pool, locale, cell(pool, is_unique ? locale : locale % 8U, is_unique)))
        std::abort();
    }
  }
  return builder;
}

// Pools have 8 answers for their 64 locales (range 0), or another for each (range 1).
void build_base(benchmark::State& state) {
  auto builder = filled(state.range(0) != 0);
  double image_bytes = 0;
  Version version{1, 1};
  for (auto _ : state) {
    const auto image = builder.build_base(version);
    image_bytes = static_cast<double>(image->size());
    state.PauseTiming();
    builder.commit();
    ++version.generation;
    state.ResumeTiming();
  }
  state.counters["image_bytes"] = image_bytes;
}
BENCHMARK(build_base)->Arg(0)->Arg(1)->Unit(benchmark::kMillisecond);

void commit_base(benchmark::State& state) {
  auto builder = filled(false);
  Version version{1, 1};
  for (auto _ : state) {
    state.PauseTiming();
    if (!builder.build_base(version)) std::abort();
    ++version.generation;
    state.ResumeTiming();
    builder.commit();
  }
}
BENCHMARK(commit_base)->Unit(benchmark::kMillisecond);

void set_all_cells(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(filled(state.range(0) != 0));
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()) * pool_count *
                          locale_count);
}
BENCHMARK(set_all_cells)->Arg(0)->Arg(1)->Unit(benchmark::kMillisecond);

// A delta that changes all cells of so many pools, with the sets and the commit.
void change_pools(benchmark::State& state) {
  auto builder = filled(false);
  if (!builder.build_base({1, 1})) std::abort();
  builder.commit();
  const auto pools = static_cast<std::uint32_t>(state.range(0));
  double image_bytes = 0;
  std::uint32_t turn = 0;
  for (auto _ : state) {
    ++turn;
    for (std::uint32_t pool = 0; pool < pools; ++pool) {
      for (std::uint16_t locale = 0; locale < locale_count; ++locale) {
        if (!builder.set(pool, locale, cell(pool, turn + locale % 8U, false))) std::abort();
      }
    }
    const auto image = builder.build_delta({1, 2});
    image_bytes = static_cast<double>(image->size());
    builder.rollback();
  }
  state.counters["image_bytes"] = image_bytes;
}
BENCHMARK(change_pools)->Arg(1)->Arg(100)->Arg(1000)->Unit(benchmark::kMicrosecond);

// The delta alone.
void build_delta(benchmark::State& state) {
  auto builder = filled(false);
  if (!builder.build_base({1, 1})) std::abort();
  builder.commit();
  const auto pools = static_cast<std::uint32_t>(state.range(0));
  for (std::uint32_t pool = 0; pool < pools; ++pool) {
    for (std::uint16_t locale = 0; locale < locale_count; ++locale) {
      if (!builder.set(pool, locale, cell(pool, 1 + locale % 8U, false))) std::abort();
    }
  }
  double image_bytes = 0;
  for (auto _ : state) {
    const auto image = builder.build_delta({1, 2});
    image_bytes = static_cast<double>(image->size());
    builder.rollback();
  }
  state.counters["image_bytes"] = image_bytes;
}
BENCHMARK(build_delta)->Arg(1)->Arg(100)->Arg(1000)->Unit(benchmark::kMicrosecond);

void prove_base(benchmark::State& state) {
  auto builder = filled(state.range(0) != 0);
  const auto image = builder.build_base({1, 1}).value();
  for (auto _ : state) benchmark::DoNotOptimize(ranking::View::prove_base(image));
}
BENCHMARK(prove_base)->Arg(0)->Arg(1)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace pharos

BENCHMARK_MAIN();
