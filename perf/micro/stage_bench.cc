// L0: each stage of the packet path by itself, in memory. The whole of it: serve_bench.cc.
//
//   stage_bench [--benchmark_filter=...]
//
// Rows that walk tables take the number of names. items_per_second are queries; nothing here waits for a port.
#include "pharos/dataplane/dns/request.hh"
#include "pharos/dataplane/dns/serve.hh"
#include "pharos/dataplane/match/name_lookup.hh"
#include "pharos/dataplane/match/steer.hh"
#include "pharos/dataplane/packet/frame_burst.hh"
#include "pharos/wire/checksum.hh"

#include <x86intrin.h>

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

constexpr unsigned burst = 32;
constexpr unsigned ring_size = 1U << 14;
constexpr unsigned stride = 192;
constexpr unsigned room_bytes = 1514;

const TableRoot& tables(unsigned names, unsigned patterns = 0) {
  static std::map<std::pair<unsigned, unsigned>, std::unique_ptr<const TableRoot>> made;
  auto& root = made[{names, patterns}];
  if (!root) root = bench::make_tables({.names = names, .patterns = patterns});
  return *root;
}

// Items, and what one took of the time-stamp counter since `begun`. Each iteration made `each` of them.
void count_items(benchmark::State& state, std::uint64_t begun, unsigned each = 1) {
  const auto items = static_cast<std::int64_t>(state.iterations()) * each;
  state.counters["cycles"] = static_cast<double>(__rdtsc() - begun) / static_cast<double>(items);
  state.SetItemsProcessed(items);
}

// Messages, or frames, side by side.
struct Ring {
  std::vector<std::byte> bytes;
  std::vector<unsigned> lengths;

  Ring(Kind kind, unsigned names, bool whole_frames) : bytes(std::size_t{ring_size} * stride) {
    std::mt19937 random(1);
    for (unsigned i = 0; i < ring_size; ++i) {
      Octets one = bench::message_of(kind, static_cast<unsigned>(random() % names), random);
      const packets::FrameText text{.from = "198.51.100." + std::to_string(1 + i % 250)};
      if (whole_frames) one = packets::udp_frame(text, 1024 + i % 60000, 53, one);
      std::memcpy(at(i), one.data(), one.size());
      lengths.push_back(static_cast<unsigned>(one.size()));
    }
  }
  [[nodiscard]] std::byte* at(unsigned i) { return bytes.data() + std::size_t{i} * stride; }
};

// Frames in, queries out; what they hold stays as it is.
void frame(benchmark::State& state, bool port_checksums) {
  Ring ring(Kind::a_edns, 10'000, true);
  const Interface interface = bench::make_bench_interface(port_checksums);
  const std::uint8_t flags =
      port_checksums ? receive_flag::ipv4_checksum_good | receive_flag::udp_checksum_good : 0;
  auto frames = std::make_unique<FrameBurst>();
  CoreCounters counters;
  unsigned first = 0;
  const auto begun = __rdtsc();
  for (auto _ : state) {
    frames->begin();
    for (unsigned i = 0; i < burst; ++i)
      frames->add(ring.at(first + i), ring.lengths[first + i], room_bytes, flags);
    classify_burst(interface, *frames, counters);
    benchmark::DoNotOptimize(frames->query_count);
    first = (first + burst) % ring_size;
  }
  count_items(state, begun, burst);
  if (frames->query_count != burst) state.SkipWithError("not every frame is a query");
}

// Replies to frames: the same ones over and over, whose addresses swap each time.
void transmit_prep(benchmark::State& state, bool port_checksums) {
  Ring ring(Kind::a_edns, 10'000, true);
  const Interface interface = bench::make_bench_interface(port_checksums);
  auto frames = std::make_unique<FrameBurst>();
  CoreCounters counters;
  frames->begin();
  for (unsigned i = 0; i < burst; ++i) frames->add(ring.at(i), ring.lengths[i], room_bytes, 0);
  classify_burst(interface, *frames, counters);
  for (auto& query : frames->queries()) {
    query.verdict = Verdict::answered;
    query.reply_bytes = 80;
  }
  const auto begun = __rdtsc();
  for (auto _ : state) {
    finish_burst(interface, *frames);
    count_sent(*frames, frames->send_count, counters);
    benchmark::ClobberMemory();
  }
  count_items(state, begun, burst);
}

// Byte by byte: what plain requests are spared.
void question_with_care(benchmark::State& state) {
  Ring ring(Kind::a_edns, 10'000, false);
  Request request;
  EdnsOptions options;
  LabelMap labels;
  unsigned i = 0;
  const auto begun = __rdtsc();
  for (auto _ : state) {
    benchmark::DoNotOptimize(parse_request(ring.at(i), ring.lengths[i], request, options, labels));
    i = (i + 1) % ring_size;
  }
  count_items(state, begun);
}

void fold_and_hash(benchmark::State& state) {
  Ring ring(Kind::a, 10'000, false);
  dns::FoldedName name;
  const dns::NameHashKey key;
  unsigned i = 0;
  const auto begun = __rdtsc();
  for (auto _ : state) {
    dns::fold_name(ring.at(i) + dns::header_bytes, ring.lengths[i] - 16U, name);
    benchmark::DoNotOptimize(dns::hash_name(name, key));
    i = (i + 1) % ring_size;
  }
  count_items(state, begun);
}

// Names, folded and hashed: looked up in bursts, as the stages do, one line ahead of the other.
struct Names {
  std::vector<dns::FoldedName> names = std::vector<dns::FoldedName>(ring_size);
  std::vector<std::uint64_t> hashes = std::vector<std::uint64_t>(ring_size);

  Names(Kind kind, unsigned count, const TableRoot& root) {
    Ring ring(kind, count, false);
    LabelMap labels;
    for (unsigned i = 0; i < ring_size; ++i) {
      const auto* at = ring.at(i) + dns::header_bytes;
      dns::fold_name(at, name_bytes_at(at, ring.lengths[i] - dns::header_bytes, labels), names[i]);
      hashes[i] = dns::hash_name(names[i], root.catalog.summary().hash_key);
    }
  }
};

void name_lookup(benchmark::State& state, Kind kind) {
  const auto count = static_cast<unsigned>(state.range(0));
  const TableRoot& root = tables(count);
  const auto buckets = root.catalog.buckets();
  const auto bucket_count = static_cast<std::uint32_t>(buckets.size());
  const Names names(kind, count, root);
  unsigned first = 0;
  unsigned found = 0;
  const auto begun = __rdtsc();
  for (auto _ : state) {
    std::array<const catalog::Node*, burst> nodes{};
    for (unsigned i = 0; i < burst; ++i)
      __builtin_prefetch(&buckets[catalog::bucket_of(names.hashes[first + i], bucket_count)]);
    for (unsigned i = 0; i < burst; ++i) {
      const auto hash = names.hashes[first + i];
      const auto& bucket = buckets[catalog::bucket_of(hash, bucket_count)];
      const auto matches = tag_matches(bucket, catalog::tag_of(hash));
      if (matches == 0) continue;
      nodes[i] = root.catalog.node(first_match(bucket, matches));
      __builtin_prefetch(nodes[i]);
      __builtin_prefetch(reinterpret_cast<const std::byte*>(nodes[i]) + 64);
    }
    for (unsigned i = 0; i < burst; ++i) {
      const auto& name = names.names[first + i];
      found += nodes[i] != nullptr && is_name_of(*nodes[i], name.bytes.data(), name.length) ? 1 : 0;
    }
    benchmark::DoNotOptimize(found);
    first = (first + burst) % ring_size;
  }
  count_items(state, begun, burst);
}

// Random clients: locale, cell and answer of one pool, as the stages do.
void locale(benchmark::State& state) {
  const TableRoot& root = tables(10'000);
  std::mt19937 random(4);
  std::vector<IpAddress> clients;
  for (unsigned i = 0; i < ring_size; ++i)
    clients.push_back(IpAddress::from_ipv4(static_cast<std::uint32_t>(random())));
  const auto& key = root.catalog.summary().client_key;
  unsigned first = 0;
  const auto begun = __rdtsc();
  for (auto _ : state) {
    std::array<CellPlace, burst> places;
    for (unsigned i = 0; i < burst; ++i) root.locales.prefetch(clients[first + i]);
    for (unsigned i = 0; i < burst; ++i) places[i] = locate(root, 7, clients[first + i]);
    for (unsigned i = 0; i < burst; ++i) {
      const auto steering = read_cell(places[i], clients[first + i], key);
      benchmark::DoNotOptimize(root.ranking.answer(steering.cell, steering.client_hash));
    }
    first = (first + burst) % ring_size;
  }
  count_items(state, begun, burst);
}

// Plain patterns, texts, and expressions, of names that no pattern takes.
void policy_scan(benchmark::State& state) {
  const TableRoot& root = tables(10'000, static_cast<unsigned>(state.range(0)));
  const Names names(Kind::nxdomain, 10'000, root);
  const auto& policies = root.catalog.policies();
  std::vector<char> text(burst * policy_text_bytes_max);
  std::array<std::uint32_t, burst + 1> begins{};
  unsigned first = 0;
  std::uint64_t taken = 0;
  const auto begun = __rdtsc();
  for (auto _ : state) {
    for (unsigned i = 0; i < burst; ++i) {
      const auto& name = names.names[first + i];
      LabelMap labels;
      map_labels(name.bytes.data(), labels);
      taken += policies.plain_verdict(name.bytes.data(), name.length, labels.count);
      const unsigned bytes =
          write_policy_text(name.bytes.data(), name.length, labels, text.data() + begins[i]);
      text[begins[i] + bytes] = '\n';
      begins[i + 1] = begins[i] + bytes + 1;
    }
    if (policies.database() != nullptr) taken += root.policies->scan_lines(0, text.data(), begins);
    benchmark::DoNotOptimize(taken);
    first = (first + burst) % ring_size;
  }
  count_items(state, begun, burst);
  if (taken != 0) state.SkipWithError("a pattern takes a name");
}

// One name over and over: the serve pipeline where every line is in the first cache and every branch foreseen. Less
// fold_and_hash and name_lookup, the question in its few vector steps and the writing of the answer are left.
void question_and_answer(benchmark::State& state) {
  const TableRoot& root = tables(10'000);
  Ring ring(Kind::a_edns, 1, false);
  ServeState serving{ServeOptions{}};
  serving.set_time(1'700'000'000, {});
  CoreCounters counters;
  std::vector<std::byte> buffers(burst * bench::buffer_bytes);
  std::array<Query, burst> queries;
  const auto begun = __rdtsc();
  for (auto _ : state) {
    for (unsigned i = 0; i < burst; ++i) {
      auto* at = buffers.data() + std::size_t{i} * bench::buffer_bytes;
      std::memcpy(at, ring.at(i), 64);
      queries[i].message = at;
      queries[i].length = static_cast<std::uint16_t>(ring.lengths[i]);
      queries[i].capacity = 1472;
    }
    serve_burst(serving, root, queries, counters);
    benchmark::ClobberMemory();
  }
  count_items(state, begun, burst);
}

void checksum_message(benchmark::State& state) {
  std::vector<std::byte> bytes(4096, std::byte{0x5a});
  const auto length = static_cast<unsigned>(state.range(0));
  const auto begun = __rdtsc();
  for (auto _ : state) {
    benchmark::DoNotOptimize(bytes.data());
    benchmark::DoNotOptimize(checksum::fold(checksum::sum(bytes.data(), length)));
  }
  count_items(state, begun);
}

void all_sizes(benchmark::internal::Benchmark* row) {
  for (const int names : {1'000, 10'000, 1'000'000}) row->Arg(names);
}

BENCHMARK_CAPTURE(frame, software_checksums, false);
BENCHMARK_CAPTURE(frame, port_checksums, true);
BENCHMARK(question_with_care);
BENCHMARK(fold_and_hash);
BENCHMARK_CAPTURE(name_lookup, hit, Kind::a_edns)->Apply(all_sizes);
BENCHMARK_CAPTURE(name_lookup, miss, Kind::nxdomain)->Apply(all_sizes);
BENCHMARK(locale);
BENCHMARK(policy_scan)->Arg(10)->Arg(10'000);
BENCHMARK(question_and_answer);
BENCHMARK(checksum_message)->Arg(64)->Arg(512)->Arg(1232);
BENCHMARK_CAPTURE(transmit_prep, software_checksums, false);
BENCHMARK_CAPTURE(transmit_prep, port_checksums, true);

}  // namespace
}  // namespace pharos::dataplane

BENCHMARK_MAIN();
