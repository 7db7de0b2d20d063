// A round of the control plane at scale, from what sites report to the proof in the data plane, in its parts.
//
// 10 thousand pools, 64 locales, 100 sites: 640 thousand cells. In each round a share of the sites turns from calm to
// hot or back, which moves them in the order of every locale. Manual time is the CPU time of the whole round; the
// counters are its parts in microseconds. Figures stand in controlplane/engine/README.md.
#include "pharos/controlplane/engine/engine.hh"
#include "pharos/controlplane/engine/publication.hh"

#include <benchmark/benchmark.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <deque>

#include "unit/controlplane/large_world.hh"

namespace pharos::controlplane {
namespace {

constexpr Instant start{1'000'000'000'000};

[[noreturn]] void give_up(const Error& error) {
  std::fprintf(stderr, "%s\n", error.text().c_str());
  std::exit(1);
}

// Of this thread: a machine that is busy otherwise lengthens nothing.
double cpu_seconds() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

// Microseconds of each part of all rounds.
enum Part : std::size_t { rank, encode, build, adopt, part_count };
constexpr std::array<const char*, part_count> part_names{"rank_us", "encode_us", "build_us",
                                                         "adopt_us"};

std::shared_ptr<const Tables> tables_of(const LargeWorld& world) {
  std::string broken;
  auto tables =
      build_tables(std::make_shared<const config::Config>(world.config()), {}, {1, 1}, {}, broken);
  if (!tables) give_up(tables.error());
  return *tables;
}

// The control plane, and a data plane that proves what it is sent.
class Bench {
 public:
  explicit Bench(const LargeWorld& world)
      : tables_(tables_of(world)),
        publication(tables_, {}, true),
        engine(tables_->world, {}, {}, start) {
    hello_.header = table_channel::header_for(table_channel::MessageType::hello);
    hello_.boot_id = 7;
    publication.connected(hello_);
  }

  // One round of `share` of the sites in the other state; returns its seconds.
  double round(double share) {
    now = now + milliseconds(200);
    ++rounds_;
    const auto sites = tables_->world->config->sites.size();
    for (std::uint32_t s = 0; s < sites; ++s) {
      SiteReport report{.metrics = {}, .interval_ms = 200, .leaving = false, .endpoints = {}};
      const bool flaps = s < share * static_cast<double>(sites);
      report.metrics.cpu_ratio = flaps && (rounds_ + s) % 2 == 0 ? 0.7F : 0.1F;
      engine.heard(s, report, 1, rounds_, now);
    }
    return publish();
  }

  double publish() {
    const double began = cpu_seconds();
    double last = began;
    const auto took = [&](Part part) {
      const double at = cpu_seconds();
      parts[part] += at - last;
      last = at;
    };
    const auto round = engine.step(now);
    took(rank);
    if (auto applied = publication.apply(round); !applied) give_up(applied.error());
    took(encode);
    auto outgoing = publication.next(now);
    if (!outgoing) give_up(outgoing.error());
    took(build);
    if (*outgoing) receive(**outgoing);
    took(adopt);
    return last - began;
  }

  std::array<double, part_count> parts{};
  std::uint64_t bytes = 0;
  std::uint64_t bases = 0;

 private:
  void receive(const Outgoing& sent) {
    auto mapping = map_sealed(sent.fds.back());
    if (!mapping) give_up(mapping.error());
    const bool base = sent.kinds.back() == ImageKind::ranking_base;
    auto view =
        base ? ranking::View::prove_base(mapping->bytes()) : view_.prove_delta(mapping->bytes());
    if (!view) give_up(view.error());
    if (base) kept_.clear();
    bytes += mapping->size_bytes();
    bases += base;
    view_ = std::move(*view);
    kept_.push_back(std::move(*mapping));
    publication.acknowledged(table_channel::make_acknowledge(table_channel::Outcome::adopted,
                                                             sent.version, sent.version, ""));
  }

  std::shared_ptr<const Tables> tables_;
  table_channel::Hello hello_{};
  ranking::View view_;
  std::deque<Mapping> kept_;
  std::uint64_t rounds_ = 0;

 public:
  Publication publication;
  Engine engine;
  Instant now = start;
};

void report(benchmark::State& state, const Bench& bench) {
  for (std::size_t part = 0; part < part_count; ++part) {
    state.counters[part_names[part]] =
        benchmark::Counter(bench.parts[part] * 1e6, benchmark::Counter::kAvgIterations);
  }
  state.counters["bytes"] =
      benchmark::Counter(static_cast<double>(bench.bytes), benchmark::Counter::kAvgIterations);
  state.counters["bases"] = static_cast<double>(bench.bases);
}

void forget_figures(Bench& bench) {
  bench.parts = {};
  bench.bytes = bench.bases = 0;
}

// Everything for the first time.
void start_everything(benchmark::State& state, LargeWorld world) {
  for (auto _ : state) {
    Bench bench(world);
    state.SetIterationTime(bench.publish());
    report(state, bench);
  }
}

// `percent` of the sites turn in each round.
void flap(benchmark::State& state, LargeWorld world, unsigned percent) {
  Bench bench(world);
  bench.publish();
  for (int i = 0; i < 4; ++i) bench.round(percent / 100.0);
  forget_figures(bench);
  for (auto _ : state) state.SetIterationTime(bench.round(percent / 100.0));
  report(state, bench);
}

// One endpoint is drained and put back by turns: one pool of all.
void one_pool(benchmark::State& state, LargeWorld world) {
  Bench bench(world);
  bench.publish();
  bench.round(0);
  forget_figures(bench);
  bool drained = false;
  std::uint32_t service = 0;
  for (auto _ : state) {
    drained = !drained;
    if (drained) service = (service + 7919) % world.services;
    bench.engine.set_override(service * world.endpoints,
                              drained ? config::Override::drain : config::Override::automatic,
                              bench.now);
    state.SetIterationTime(bench.publish());
  }
  report(state, bench);
}

LargeWorld world_of(config::Policy policy) {
  LargeWorld world;
  world.policy = policy;
  return world;
}

void make_all() {
  using benchmark::kMillisecond;
  using benchmark::RegisterBenchmark;
  for (const auto& [name, policy] : {std::pair{"ranked", config::Policy::ranked},
                                     std::pair{"weighted", config::Policy::weighted}}) {
    const auto world = world_of(policy);
    const std::string prefix = name;
    RegisterBenchmark((prefix + "/first").c_str(), start_everything, world)
        ->UseManualTime()
        ->Unit(kMillisecond)
        ->Iterations(3);
    for (const unsigned percent : {0U, 50U, 100U}) {
      RegisterBenchmark((prefix + "/flapping/" + std::to_string(percent)).c_str(), flap, world,
                        percent)
          ->UseManualTime()
          ->Unit(kMillisecond)
          ->Iterations(10);
    }
    RegisterBenchmark((prefix + "/one_pool").c_str(), one_pool, world)
        ->UseManualTime()
        ->Unit(kMillisecond)
        ->Iterations(1000);
  }
}

}  // namespace
}  // namespace pharos::controlplane

int main(int argc, char** argv) {
  pharos::controlplane::make_all();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
}
