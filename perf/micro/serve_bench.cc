// L0: the packet path in memory, against its floor (DESIGN, section 11). Stages one by one: stage_bench.cc.
//
//   serve_bench [--benchmark_filter=...]
//
// A ring of prepared frames or queries for random names; each burst is copied into the working buffers (a NIC would
// have put it there) and answered. The floor does what no responder can leave out: the same copy in, one random line of
// a table as large, asked for ahead of time, and a copy of as many answer bytes out. items_per_second are answers.
// Arguments of a row: names, burst.
#include "pharos/dataplane/dns/serve.hh"
#include "pharos/dataplane/packet/frame_burst.hh"

#include <benchmark/benchmark.h>

#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "bench_tables.hh"

namespace pharos::dataplane {
namespace {

using bench::Kind;
using packets::Octets;

constexpr unsigned ring_frames = 1U << 16;  // prepared ones: more than any predictor remembers
constexpr unsigned frame_stride = 128;      // room for a prepared frame
constexpr unsigned room_bytes = 1514;
constexpr int common_burst = 32;

const TableRoot& tables(unsigned names, unsigned patterns = 0) {
  static std::map<std::pair<unsigned, unsigned>, std::unique_ptr<const TableRoot>> made;
  auto& root = made[{names, patterns}];
  if (!root) root = bench::make_tables({.names = names, .patterns = patterns});
  return *root;
}

// Prepared frames side by side, and one burst's working buffers.
struct Ring {
  unsigned burst;
  std::vector<std::byte> frames;
  std::vector<std::uint8_t> lengths;
  std::vector<std::byte> buffers;

  Ring(Kind kind, unsigned names, unsigned in_burst, bool whole_frames)
      : burst(in_burst),
        frames(std::size_t{ring_frames} * frame_stride),
        lengths(ring_frames),
        buffers(std::size_t{burst} * bench::buffer_bytes) {
    std::mt19937 random(1);
    for (unsigned i = 0; i < ring_frames; ++i) {
      const Octets message =
          bench::message_of(kind, static_cast<unsigned>(random() % names), random);
      const packets::FrameText text{.from = "198.51.100." + std::to_string(1 + i % 250)};
      const Octets bytes =
          whole_frames ? packets::udp_frame(text, 1024 + i % 60000, 53, message) : message;
      if (bytes.size() > frame_stride) std::abort();
      std::memcpy(frames.data() + std::size_t{i} * frame_stride, bytes.data(), bytes.size());
      lengths[i] = static_cast<std::uint8_t>(bytes.size());
    }
  }
  [[nodiscard]] std::byte* buffer(unsigned i) {
    return buffers.data() + std::size_t{i} * bench::buffer_bytes + 128;
  }
  void receive(unsigned first) {
    for (unsigned i = 0; i < burst; ++i) {
      std::memcpy(buffer(i), frames.data() + std::size_t{first + i} * frame_stride, frame_stride);
    }
  }
};

unsigned names_of(const benchmark::State& state) {
  return static_cast<unsigned>(state.range(0));
}
unsigned burst_of(const benchmark::State& state) {
  return static_cast<unsigned>(state.range(1));
}
void count_items(benchmark::State& state) {
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()) * burst_of(state));
}

void serve_queries(benchmark::State& state, Kind kind, unsigned patterns = 0) {
  const TableRoot& root = tables(names_of(state), patterns);
  const unsigned burst = burst_of(state);
  Ring ring(kind, names_of(state), burst, false);
  ServeState serving{ServeOptions{}};
  serving.set_time(1'700'000'000, {});
  CoreCounters counters;
  std::vector<Query> queries(burst);
  for (unsigned i = 0; i < burst; ++i) {
    queries[i].message = ring.buffer(i);
    queries[i].capacity = 1472;
    queries[i].source = IpAddress::from_ipv4(0xc6336401U + i);
  }
  unsigned first = 0;
  for (auto _ : state) {
    ring.receive(first);
    for (unsigned i = 0; i < burst; ++i) queries[i].length = ring.lengths[first + i];
    serve_burst(serving, root, queries, counters);
    benchmark::DoNotOptimize(queries.data());
    benchmark::ClobberMemory();
    first = (first + burst) % ring_frames;
  }
  count_items(state);
}

// From frame to frame, as a worker's turn; `port_checksums`: the port verifies and computes them.
void turn(benchmark::State& state, Kind kind, bool port_checksums) {
  const TableRoot& root = tables(names_of(state));
  const unsigned burst = burst_of(state);
  Ring ring(kind, names_of(state), burst, true);
  const Interface interface = bench::make_bench_interface(port_checksums);
  const std::uint8_t flags =
      port_checksums ? receive_flag::ipv4_checksum_good | receive_flag::udp_checksum_good : 0;
  ServeState serving{ServeOptions{}};
  serving.set_time(1'700'000'000, {});
  CoreCounters counters;
  auto frames = std::make_unique<FrameBurst>();
  unsigned first = 0;
  for (auto _ : state) {
    ring.receive(first);
    frames->begin();
    for (unsigned i = 0; i < burst; ++i)
      frames->add(ring.buffer(i), ring.lengths[first + i], room_bytes, flags);
    classify_burst(interface, *frames, counters);
    serve_burst(serving, root, frames->queries(), counters);
    finish_burst(interface, *frames);
    count_sent(*frames, frames->send_count, counters);
    first = (first + burst) % ring_frames;
  }
  if (counters.read(Verdict::answered) != static_cast<std::uint64_t>(state.iterations()) * burst)
    state.SkipWithError("not every frame was answered");
  count_items(state);
}

// What memory alone costs: copy in, one line of a table of this size, a copy out.
void floor_of_memory(benchmark::State& state) {
  const auto& catalog = tables(names_of(state)).catalog;
  const unsigned burst = burst_of(state);
  const std::uint64_t lines = catalog.header().image_bytes / 64;
  const auto* table = reinterpret_cast<const std::byte*>(&catalog.header());
  Ring ring(Kind::a_edns, names_of(state), burst, false);
  std::mt19937_64 random(2);
  std::vector<std::uint32_t> places(ring_frames);
  for (auto& place : places) place = static_cast<std::uint32_t>(random() % lines);
  unsigned first = 0;
  for (auto _ : state) {
    ring.receive(first);
    for (unsigned i = 0; i < burst; ++i)
      __builtin_prefetch(table + std::uint64_t{places[first + i]} * 64);
    for (unsigned i = 0; i < burst; ++i) {
      const auto* line = table + std::uint64_t{places[first + i]} * 64;
      std::memcpy(ring.buffer(i) + ring.lengths[first + i], line, 32);
    }
    benchmark::ClobberMemory();
    first = (first + burst) % ring_frames;
  }
  count_items(state);
}

constexpr int thousand = 1'000;
constexpr int small = 10'000;
constexpr int million = 1'000'000;

void every_size(benchmark::internal::Benchmark* row) {
  for (const int names : {thousand, small, million}) {
    for (const int burst : {1, 2, 4, 8, 16, 32, 64}) row->Args({names, burst});
  }
}
void tables_of_all_sizes(benchmark::internal::Benchmark* row) {
  for (const int names : {thousand, small, million}) row->Args({names, common_burst});
}
void one_size(benchmark::internal::Benchmark* row) {
  row->Args({small, common_burst});
}

BENCHMARK(floor_of_memory)->Apply(every_size);
BENCHMARK_CAPTURE(serve_queries, a_edns, Kind::a_edns)->Apply(every_size);
BENCHMARK_CAPTURE(serve_queries, a, Kind::a)->Apply(tables_of_all_sizes);
BENCHMARK_CAPTURE(serve_queries, nodata, Kind::nodata)->Apply(tables_of_all_sizes);
BENCHMARK_CAPTURE(serve_queries, nxdomain, Kind::nxdomain)->Apply(tables_of_all_sizes);
BENCHMARK_CAPTURE(serve_queries, wildcard, Kind::wildcard)->Apply(tables_of_all_sizes);
BENCHMARK_CAPTURE(serve_queries, ranked, Kind::ranked)->Apply(one_size);
BENCHMARK_CAPTURE(serve_queries, ranked_subnet, Kind::ranked_subnet)->Apply(one_size);
BENCHMARK_CAPTURE(serve_queries, cookie, Kind::cookie)->Apply(one_size);
BENCHMARK_CAPTURE(serve_queries, a_edns_10_patterns, Kind::a_edns, 10U)->Apply(one_size);
BENCHMARK_CAPTURE(serve_queries, a_edns_10k_patterns, Kind::a_edns, 10'000U)->Apply(one_size);
BENCHMARK_CAPTURE(serve_queries, nxdomain_10_patterns, Kind::nxdomain, 10U)->Apply(one_size);
BENCHMARK_CAPTURE(serve_queries, nxdomain_10k_patterns, Kind::nxdomain, 10'000U)->Apply(one_size);
BENCHMARK_CAPTURE(turn, software_checksums, Kind::a_edns, false)->Apply(tables_of_all_sizes);
BENCHMARK_CAPTURE(turn, port_checksums, Kind::a_edns, true)->Apply(tables_of_all_sizes);
BENCHMARK_CAPTURE(turn, nxdomain, Kind::nxdomain, false)->Apply(tables_of_all_sizes);
BENCHMARK_CAPTURE(turn, ranked, Kind::ranked, false)->Apply(one_size);

}  // namespace
}  // namespace pharos::dataplane

BENCHMARK_MAIN();
