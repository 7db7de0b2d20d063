// pharos-sim: plays simulated histories by their seeds and says which of them break a promise.

#include <CLI/CLI.hpp>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <mutex>
#include <thread>
#include <vector>

#include "simulation.hh"

namespace {

using namespace pharos;

struct Options {
  std::uint64_t first = 1;
  std::uint64_t count = 1000;
  unsigned jobs = std::max(1U, std::thread::hardware_concurrency());
  std::uint64_t twice_every = 16;
  bool large = false;
  bool verbose = false;
};

struct Totals {
  std::mutex mutex;  // guards all below
  sim::Figures sum;
  std::uint64_t worst_reversals = 0, worst_seed = 0;
  std::uint64_t played = 0, failed = 0;
  double site_hours = 0;
};

sim::Scenario scenario_for(std::uint64_t seed, const Options& options) {
  return sim::make_scenario(options.large ? seed * 256 : seed);
}

void add(Totals& totals, const sim::Witness& witness, std::uint64_t seed) {
  const auto& f = witness.figures;
  auto& sum = totals.sum;
  sum.beacons_sent += f.beacons_sent;
  sum.beacons_accepted += f.beacons_accepted;
  sum.turns += f.turns;
  sum.publishes += f.publishes;
  sum.adoptions += f.adoptions;
  sum.restarts += f.restarts;
  sum.falls += f.falls;
  sum.reversals += f.reversals;
  sum.simulated_s += f.simulated_s;
  sum.overloaded_s += f.overloaded_s;
  totals.site_hours += f.simulated_s / 3600 * static_cast<double>(f.site_count);
  if (f.reversals_of_worst_site > totals.worst_reversals) {
    totals.worst_reversals = f.reversals_of_worst_site;
    totals.worst_seed = seed;
  }
}

void play(std::uint64_t seed, const Options& options, Totals& totals, const char* program) {
  const auto began = std::chrono::steady_clock::now();
  sim::Simulation simulation(scenario_for(seed, options));
  const auto& witness = simulation.run();
  std::string broken = witness.violation();
  if (broken.empty() && options.twice_every != 0 && seed % options.twice_every == 0) {
    sim::Simulation again(scenario_for(seed, options));
    if (again.run().digest() != witness.digest())
      broken = "promise 12: the same seed gave other tables";
  }
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - began;
  const std::lock_guard lock(totals.mutex);
  ++totals.played;
  add(totals, witness, seed);
  if (options.verbose) {
    std::printf(
        "seed %llu: %zu sites, %.0f s, %llu beacons, %llu publishes, %llu accepted, %llu turns, "
        "%.1f ms\n",
        static_cast<unsigned long long>(seed), static_cast<std::size_t>(witness.figures.site_count),
        witness.figures.simulated_s, static_cast<unsigned long long>(witness.figures.beacons_sent),
        static_cast<unsigned long long>(witness.figures.publishes),
        static_cast<unsigned long long>(witness.figures.beacons_accepted),
        static_cast<unsigned long long>(witness.figures.turns), took.count());
  }
  if (broken.empty()) return;
  ++totals.failed;
  std::printf("seed %llu breaks %s\n  replay: %s --first %llu --count 1%s --verbose\n",
              static_cast<unsigned long long>(seed), broken.c_str(), program,
              static_cast<unsigned long long>(seed), options.large ? " --large" : "");
}

void report(const Totals& totals, double took_s) {
  const auto& sum = totals.sum;
  const auto number = [](std::uint64_t value) { return static_cast<unsigned long long>(value); };
  std::printf("%llu histories in %.1f s, %llu broken\n", number(totals.played), took_s,
              number(totals.failed));
  std::printf(
      "%.0f hours of sites, %llu beacons, %llu turns, %llu publishes, %llu starts of the control "
      "plane\n",
      totals.site_hours, number(sum.beacons_sent), number(sum.turns), number(sum.publishes),
      number(sum.restarts));
  std::printf(
      "%llu falls, %.1f reversals of direction a site and hour (worst in one history: %llu, seed "
      "%llu), %.1f s of overload a site and hour\n",
      number(sum.falls), static_cast<double>(sum.reversals) / totals.site_hours,
      number(totals.worst_reversals), number(totals.worst_seed),
      sum.overloaded_s / totals.site_hours);
}

}  // namespace

int main(int count, char** arguments) {
  Options options;
  CLI::App app("Plays simulated histories of the control plane; see tests/sim/README.md",
               "pharos-sim");
  app.add_option("--first", options.first, "first seed");
  app.add_option("--count", options.count, "how many seeds");
  app.add_option("--jobs", options.jobs, "threads");
  app.add_option("--twice-every", options.twice_every,
                 "every n-th seed is played twice and compared; 0: none");
  app.add_flag("--large", options.large, "hundreds of sites in every history");
  app.add_flag("--verbose", options.verbose, "a line for each history");
  CLI11_PARSE(app, count, arguments);
  spdlog::set_level(spdlog::level::off);
  Totals totals;
  std::atomic<std::uint64_t> next{options.first};
  const auto began = std::chrono::steady_clock::now();
  std::vector<std::thread> threads;
  for (unsigned job = 0; job < std::max(1U, options.jobs); ++job) {
    threads.emplace_back([&] {
      // relaxed: only the number matters, each is taken once
      for (auto seed = next.fetch_add(1, std::memory_order_relaxed);
           seed < options.first + options.count;
           seed = next.fetch_add(1, std::memory_order_relaxed)) {
        play(seed, options, totals, arguments[0]);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
  report(totals, took.count());
  return totals.failed == 0 ? 0 : 1;
}
