// L0: the packet path in memory, against its floor (DESIGN, section 11).
//
//   serve_bench [--benchmark_filter=...]
//
// A ring of prepared frames or queries for random names; each burst is copied into the working buffers (a NIC would
// have put it there) and answered. The floor does what no responder can leave out: the same copy in, one random line of
// a table as large, asked for ahead of time, and a copy of as many answer bytes out. items_per_second are answers.
#include "pharos/dataplane/dns/request.hh"
#include "pharos/dataplane/dns/serve.hh"
#include "pharos/dataplane/match/name_lookup.hh"
#include "pharos/dataplane/packet/frame_burst.hh"
#include "pharos/wire/checksum.hh"

#include <benchmark/benchmark.h>

#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "packets/octets.hh"
#include "packets/world.hh"

namespace pharos::dataplane {
namespace {

using packets::Octets;

constexpr unsigned burst = 32;
constexpr unsigned ring_frames = 1U << 16;  // prepared ones: more than any predictor remembers
constexpr unsigned frame_stride = 128;      // room for a prepared frame
constexpr unsigned buffer_bytes = 2048;     // a working buffer, as an mbuf has it
constexpr unsigned room_bytes = 1514;

enum class Kind { a, a_edns, nodata, nxdomain, ranked, ranked_subnet, options };

std::string host_name(unsigned i) {
  return "host" + std::to_string(i * 2654435761U % 100000007U) + ".bench.example";
}

// Policies that take none of the names: of 20 patterns 16 are domains and all below, 3 are single names, and one is an
// expression.
config::Config policies_of(unsigned patterns) {
  config::Config config;
  if (patterns == 0) return config;
  auto& policy = config.policies.emplace_back();
  policy.id = "bench";
  policy.action = catalog::PolicyAction::refuse;
  policy.files = {"bench"};
  std::mt19937 random(3);
  for (unsigned i = 0; i < patterns; ++i) {
    const auto word = "w" + std::to_string(random() % 1000000007U);
    auto text = "." + word + ".example";
    if (i % 20 >= 16) text = "www." + word + ".bench.example";
    const bool regex = i % 20 == 19;
    if (regex) text = "^" + word + "[0-9]+\\.([a-z]+\\.)*example$";
    policy.patterns.push_back({std::move(text), regex, 0, 1});
  }
  return config;
}

// `count` names with one A record each, a service in four locales, and name policies of so many patterns.
const TableRoot& tables(unsigned count, unsigned patterns = 0) {
  static std::map<std::pair<unsigned, unsigned>, packets::World::Root> made;
  auto& root = made[{count, patterns}];
  if (root) return *root;
  packets::World world;
  controlplane::ZoneData zone(*dns::parse_name("bench.example."));
  const auto add = [&](const std::string& name, unsigned type, const Octets& rdata) {
    const auto owner = packets::name(name);
    if (!zone.add(owner, static_cast<std::uint16_t>(type), 300, rdata)) std::abort();
  };
  Octets soa = packets::name("ns1.bench.example");
  packets::put(soa, packets::name("hostmaster.bench.example"));
  for (const std::uint32_t value : {1U, 7200U, 3600U, 86400U, 60U}) packets::put32(soa, value);
  add("bench.example", 6, soa);
  add("bench.example", 2, packets::name("ns1.bench.example"));
  add("ns1.bench.example", 1, packets::hex("c0000201"));
  for (unsigned i = 0; i < count; ++i) {
    Octets address;
    packets::put32(address, 0x0a000000U + i);
    add(host_name(i), 1, address);
  }
  if (const auto report = zone.finish(); !report.errors.empty()) {
    std::fprintf(stderr, "%s\n", report.text().c_str());
    std::abort();
  }
  world.zone(std::move(zone));
  for (unsigned locale = 1; locale < 4; ++locale) {
    std::vector<std::string> prefixes;
    for (unsigned i = 0; i < 60; ++i) {
      prefixes.push_back(std::to_string(20 + locale * 50) + "." + std::to_string(i * 4) +
                         ".0.0/15");
    }
    world.locale("l" + std::to_string(locale), prefixes);
  }
  for (unsigned pool = 0; pool < 64; ++pool) {
    const auto index = world.pool("svc" + std::to_string(pool) + ".bench.example.", 1);
    for (std::uint16_t locale = 0; locale < 4; ++locale) {
      const std::string net = "10.9." + std::to_string(pool) + ".";
      world.answer(index, locale, 1, 20,
                   {{net + std::to_string(locale * 4 + 1), net + std::to_string(locale * 4 + 2)}});
    }
  }
  world.policies(policies_of(patterns));
  root = world.build();
  return *root;
}

Octets message_of(Kind kind, unsigned pick, std::mt19937& random) {
  packets::Question question{.name = host_name(pick), .id = static_cast<std::uint16_t>(random())};
  packets::Edns edns;
  switch (kind) {
    case Kind::a:
      return packets::query(question);
    case Kind::a_edns:
      return packets::query(question, edns);
    case Kind::nodata:
      question.type = 28;
      return packets::query(question, edns);
    case Kind::nxdomain:
      question.name = "no" + std::to_string(random()) + ".bench.example";
      return packets::query(question, edns);
    case Kind::ranked:
      question.name = "svc" + std::to_string(pick % 64) + ".bench.example";
      return packets::query(question, edns);
    case Kind::ranked_subnet: {
      question.name = "svc" + std::to_string(pick % 64) + ".bench.example";
      Octets subnet = packets::hex("0001 18 00");
      packets::put16(subnet, static_cast<unsigned>(random() & 0xffff));
      packets::put8(subnet, static_cast<unsigned>(random() & 0xff));
      edns.options = packets::option(8, subnet);
      return packets::query(question, edns);
    }
    case Kind::options:
      edns.options = packets::option(10, packets::hex("2464c4abcf10c957"));
      return packets::query(question, edns);
  }
  std::abort();
}

// Prepared frames side by side, and one burst's working buffers.
struct Ring {
  std::vector<std::byte> frames;
  std::vector<std::uint8_t> lengths;
  std::vector<std::byte> buffers;

  Ring(Kind kind, unsigned names, bool whole_frames)
      : frames(std::size_t{ring_frames} * frame_stride),
        lengths(ring_frames),
        buffers(std::size_t{burst} * buffer_bytes) {
    std::mt19937 random(1);
    for (unsigned i = 0; i < ring_frames; ++i) {
      const Octets message = message_of(kind, static_cast<unsigned>(random() % names), random);
      const packets::FrameText text{.from = "198.51.100." + std::to_string(1 + i % 250)};
      const Octets bytes =
          whole_frames ? packets::udp_frame(text, 1024 + i % 60000, 53, message) : message;
      if (bytes.size() > frame_stride) std::abort();
      std::memcpy(frames.data() + std::size_t{i} * frame_stride, bytes.data(), bytes.size());
      lengths[i] = static_cast<std::uint8_t>(bytes.size());
    }
  }
  [[nodiscard]] std::byte* buffer(unsigned i) {
    return buffers.data() + std::size_t{i} * buffer_bytes + 128;
  }
  void receive(unsigned first) {
    for (unsigned i = 0; i < burst; ++i) {
      std::memcpy(buffer(i), frames.data() + std::size_t{first + i} * frame_stride, frame_stride);
    }
  }
};

void count_items(benchmark::State& state) {
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()) * burst);
}

void serve_queries(benchmark::State& state, Kind kind, unsigned patterns = 0) {
  const auto names = static_cast<unsigned>(state.range(0));
  const TableRoot& root = tables(names, patterns);
  Ring ring(kind, names, false);
  ServeState serving{ServeOptions{}};
  serving.set_time(1'700'000'000, {});
  CoreCounters counters;
  std::array<Query, burst> queries;
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
    benchmark::DoNotOptimize(queries);
    first = (first + burst) % ring_frames;
  }
  count_items(state);
}

void turn(benchmark::State& state, Kind kind) {
  const auto names = static_cast<unsigned>(state.range(0));
  const TableRoot& root = tables(names);
  Ring ring(kind, names, true);
  InterfaceSettings settings;
  settings.mac = MacAddress{packets::server_mac};
  settings.addresses = {*IpAddress::parse("192.0.2.1")};
  settings.transmit_ipv4_checksum = settings.transmit_udp_checksum = state.range(1) != 0;
  const Interface interface = *make_interface(settings);
  const std::uint8_t flags =
      state.range(1) != 0 ? receive_flag::ipv4_checksum_good | receive_flag::udp_checksum_good : 0;
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
  if (counters.read(Verdict::answered) != static_cast<std::uint64_t>(state.iterations()) * burst) {
    state.SkipWithError("not every frame was answered");
  }
  count_items(state);
}

// What memory alone costs: copy in, one line of a table of this size, a copy out.
void floor_of_memory(benchmark::State& state) {
  const auto names = static_cast<unsigned>(state.range(0));
  const auto& catalog = tables(names).catalog;
  const std::uint64_t lines = catalog.header().image_bytes / 64;
  const auto* table = reinterpret_cast<const std::byte*>(&catalog.header());
  Ring ring(Kind::a_edns, names, false);
  std::mt19937_64 random(2);
  std::vector<std::uint32_t> places(ring_frames);
  for (auto& place : places) place = static_cast<std::uint32_t>(random() % lines);
  unsigned first = 0;
  for (auto _ : state) {
    ring.receive(first);
    for (unsigned i = 0; i < burst; ++i)
      __builtin_prefetch(table + std::uint64_t{places[first + i]} * 64);
    for (unsigned i = 0; i < burst; ++i) {
      const auto* line =
          reinterpret_cast<const __m256i*>(table + std::uint64_t{places[first + i]} * 64);
      auto* out = reinterpret_cast<__m256i*>(ring.buffer(i) + ring.lengths[first + i]);
      _mm256_storeu_si256(out, _mm256_loadu_si256(line));
    }
    benchmark::ClobberMemory();
    first = (first + burst) % ring_frames;
  }
  count_items(state);
}

// ---- stages ----

void parse_with_care(benchmark::State& state) {
  Ring ring(Kind::a_edns, 10000, false);
  Request request;
  EdnsOptions options;
  LabelMap labels;
  unsigned i = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(parse_request(ring.frames.data() + std::size_t{i} * frame_stride,
                                           ring.lengths[i], request, options, labels));
    i = (i + 1) % ring_frames;
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()));
}

void fold_and_hash(benchmark::State& state) {
  Ring ring(Kind::a, 10000, false);
  dns::FoldedName name;
  const dns::NameHashKey key;
  unsigned i = 0;
  for (auto _ : state) {
    const auto* query = ring.frames.data() + std::size_t{i} * frame_stride;
    dns::fold_name(query + 12, ring.lengths[i] - 16U, name);
    benchmark::DoNotOptimize(dns::hash_name(name.bytes.data(), name.length, key));
    i = (i + 1) % ring_frames;
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()));
}

void checksum_message(benchmark::State& state) {
  std::vector<std::byte> bytes(4096, std::byte{0x5a});
  const auto length = static_cast<unsigned>(state.range(0));
  for (auto _ : state) {
    benchmark::DoNotOptimize(bytes.data());
    benchmark::DoNotOptimize(checksum::fold(checksum::sum(bytes.data(), length)));
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) * length);
}

constexpr int small = 10'000;
constexpr int large = 1'000'000;

BENCHMARK(floor_of_memory)->Arg(small)->Arg(large);
BENCHMARK_CAPTURE(serve_queries, a, Kind::a)->Arg(small)->Arg(large);
BENCHMARK_CAPTURE(serve_queries, a_edns, Kind::a_edns)->Arg(small)->Arg(large);
BENCHMARK_CAPTURE(serve_queries, nodata, Kind::nodata)->Arg(small)->Arg(large);
BENCHMARK_CAPTURE(serve_queries, nxdomain, Kind::nxdomain)->Arg(small)->Arg(large);
BENCHMARK_CAPTURE(serve_queries, ranked, Kind::ranked)->Arg(small);
BENCHMARK_CAPTURE(serve_queries, ranked_subnet, Kind::ranked_subnet)->Arg(small);
BENCHMARK_CAPTURE(serve_queries, cookie, Kind::options)->Arg(small);
BENCHMARK_CAPTURE(serve_queries, a_edns_10_patterns, Kind::a_edns, 10U)->Arg(small);
BENCHMARK_CAPTURE(serve_queries, a_edns_10k_patterns, Kind::a_edns, 10'000U)->Arg(small);
BENCHMARK_CAPTURE(serve_queries, nxdomain_10_patterns, Kind::nxdomain, 10U)->Arg(small);
BENCHMARK_CAPTURE(serve_queries, nxdomain_10k_patterns, Kind::nxdomain, 10'000U)->Arg(small);
BENCHMARK_CAPTURE(turn, software_checksums, Kind::a_edns)->Args({small, 0})->Args({large, 0});
BENCHMARK_CAPTURE(turn, port_checksums, Kind::a_edns)->Args({small, 1})->Args({large, 1});
BENCHMARK_CAPTURE(turn, ranked, Kind::ranked)->Args({small, 0});
BENCHMARK(parse_with_care);
BENCHMARK(fold_and_hash);
BENCHMARK(checksum_message)->Arg(64)->Arg(512)->Arg(1232);

}  // namespace
}  // namespace pharos::dataplane

BENCHMARK_MAIN();
