// Two layouts of the same client map: our Poptrie beside DIR-24-8 (Gupta, Lin and McKeown, INFOCOM 1998) as DPDK's FIB
// library has it, with entries of 16 bits (a locale and no scope length) and of 32 bits (both, as ours).
//
// A lookup alone tells little: what counts is what a map leaves of the caches to the names. So each burst of 32 queries
// finds the locales of random clients, and then touches a line each of a table of names (range: its size in MiB,
// 0: none), asked for ahead of time as the packet path does it. Every address that is asked for is looked up in both
// maps first: they must agree. Figures stand in perf/BUDGET.md.
#include "pharos/controlplane/image/locale_builder.hh"
#include "pharos/shared/locale_image.hh"

#include <benchmark/benchmark.h>
#include <rte_eal.h>
#include <rte_fib.h>
#include <rte_malloc.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <random>

#include "bench_clients.hh"

namespace pharos {
namespace {

constexpr unsigned burst = 32;
constexpr std::size_t client_count = 1U << 20;  // each its own line of DIR-24-8, or nearly
constexpr std::size_t line_bytes = 64;

// In DPDK's memory as the FIB is, on pages of the same size.
const locale_map::View& poptrie() {
  static const auto view = [] {
    const auto image = controlplane::build_locale_image(client_map().table, {1, 1}).value();
    auto* const copy = static_cast<std::byte*>(rte_malloc(nullptr, image.size(), line_bytes));
    if (copy == nullptr) std::abort();
    std::ranges::copy(ConstBytes(image), copy);
    return locale_map::View::prove(ConstBytes(copy, image.size())).value();
  }();
  return view;
}

// Hosts of random IPv4 prefixes of the map, in host order: as queries come from everywhere.
const std::vector<std::uint32_t>& clients() {
  static const auto drawn = [] {
    std::mt19937_64 random(2);
    std::vector<IpPrefix> prefixes;
    for (const auto& [prefix, locale] : client_map().table.prefixes) {
      if (prefix.family() == Family::ipv4) prefixes.push_back(prefix);
    }
    std::vector<std::uint32_t> result(client_count);
    for (auto& client : result) {
      const auto& prefix = prefixes[random() % prefixes.size()];
      const auto host_mask = static_cast<std::uint32_t>(0xffffffffU >> prefix.length);
      client = prefix.address.ipv4() | (static_cast<std::uint32_t>(random()) & host_mask);
    }
    return result;
  }();
  return drawn;
}

using Fib = std::unique_ptr<rte_fib, decltype(&rte_fib_free)>;

// Next hops: locales alone, or with their scope length as our leaves hold it. Null: no memory, or a route that the
// library refuses.
Fib make_fib(const char* name, rte_fib_dir24_8_nh_sz entry, bool has_scope) {
  rte_fib_conf conf{};
  conf.type = RTE_FIB_DIR24_8;
  conf.max_routes = 1 << 18;
  conf.dir24_8 = {entry, 1U << 14};
  Fib fib(rte_fib_create(name, SOCKET_ID_ANY, &conf), rte_fib_free);
  if (!fib) return fib;
  for (const auto& [prefix, locale] : client_map().table.prefixes) {
    if (prefix.family() != Family::ipv4) continue;
    const auto address = prefix.address.ipv4();
    const std::uint64_t hop =
        has_scope ? locale_map::leaf_of(poptrie().find_ipv4(address)) & ~locale_map::leaf_bit
                  : locale;
    if (rte_fib_add(fib.get(), address, prefix.length, hop) != 0) return {nullptr, rte_fib_free};
  }
  return fib;
}

rte_fib* fib_of(bool has_scope) {
  static const Fib locales = make_fib("locales", RTE_FIB_DIR24_8_2B, false);
  static const Fib both = make_fib("both", RTE_FIB_DIR24_8_4B, true);
  return has_scope ? both.get() : locales.get();
}

bool maps_agree(rte_fib* fib) {
  const auto& all = clients();
  std::vector<std::uint64_t> hops(all.size());
  rte_fib_lookup_bulk(fib, const_cast<std::uint32_t*>(all.data()), hops.data(),
                      static_cast<int>(all.size()));
  for (std::size_t i = 0; i < all.size(); ++i) {
    if ((hops[i] & 0xffff) != poptrie().find_ipv4(all[i]).index) return false;
  }
  return true;
}

// The names that a map shares the caches with.
class Names {
 public:
  explicit Names(std::int64_t mebibytes)
      : lines_(static_cast<std::size_t>(mebibytes << 20) / line_bytes) {
    bytes_.assign(lines_ * line_bytes, 1);
  }
  void choose() {
    if (lines_ == 0) return;
    for (auto& line : chosen_) {
      state_ = state_ * 6364136223846793005U + 1442695040888963407U;
      line = &bytes_[(state_ >> 33) % lines_ * line_bytes];
      __builtin_prefetch(line);
    }
  }
  [[nodiscard]] std::uint64_t touch() const {
    std::uint64_t sum = 0;
    if (lines_ == 0) return sum;
    for (const auto* line : chosen_) sum += *line;
    return sum;
  }

 private:
  std::size_t lines_;
  std::vector<std::uint8_t> bytes_;
  std::array<const std::uint8_t*, burst> chosen_{};
  std::uint64_t state_ = 1;
};

template <typename FindBurst>
void run(benchmark::State& state, FindBurst find_burst) {
  Names names(state.range(0));
  const auto& all = clients();
  std::uint64_t sum = 0;
  std::size_t at = 0;
  for (auto _ : state) {
    names.choose();
    sum += find_burst(&all[at]) + names.touch();
    at = (at + burst) & (client_count - 1);
  }
  benchmark::DoNotOptimize(sum);
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()) * burst);
  state.SetLabel(client_map().is_real ? "country-cidr" : "random map: country-cidr is absent");
}

void layout_poptrie(benchmark::State& state) {
  const auto& view = poptrie();
  run(state, [&view](const std::uint32_t* addresses) {
    std::uint64_t sum = 0;
    for (unsigned i = 0; i < burst; ++i) view.prefetch_ipv4(addresses[i]);
    for (unsigned i = 0; i < burst; ++i) sum += view.find_ipv4(addresses[i]).index;
    return sum;
  });
}

void layout_dir_24_8(benchmark::State& state, bool has_scope) {
  auto* const fib = fib_of(has_scope);
  if (fib == nullptr) return state.SkipWithError("the FIB library could not hold the map");
  if (!maps_agree(fib)) return state.SkipWithError("the two maps do not agree");
  run(state, [fib](const std::uint32_t* addresses) {
    std::array<std::uint64_t, burst> hops;
    rte_fib_lookup_bulk(fib, const_cast<std::uint32_t*>(addresses), hops.data(), burst);
    std::uint64_t sum = 0;
    for (const auto hop : hops) sum += hop & 0xffff;
    return sum;
  });
}

BENCHMARK(layout_poptrie)->Arg(0)->Arg(1)->Arg(16)->Arg(128);
BENCHMARK_CAPTURE(layout_dir_24_8, 16_bits, false)->Arg(0)->Arg(1)->Arg(16)->Arg(128);
BENCHMARK_CAPTURE(layout_dir_24_8, 32_bits, true)->Arg(0)->Arg(1)->Arg(16)->Arg(128);

}  // namespace
}  // namespace pharos

int main(int argc, char** argv) {
  const char* eal[] = {"locale_layout_bench", "--no-huge", "--no-pci", "--no-shconf",
                       "--no-telemetry",      "-m",        "512",      "--log-level=error"};
  if (rte_eal_init(std::size(eal), const_cast<char**>(eal)) < 0) {
    std::fputs("locale_layout_bench: DPDK does not start\n", stderr);
    return 1;
  }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
