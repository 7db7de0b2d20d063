// pharos-sim: plays simulated histories by their seeds and says which of them break a promise.

#include <CLI/CLI.hpp>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <atomic>
#include <cctype>
#include <chrono>
#include <cstdio>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "simulation.hh"

namespace {

using namespace pharos;

struct Options {
  std::uint64_t first = 1;
  std::uint64_t count = 1000;
  unsigned jobs = std::max(1U, std::thread::hardware_concurrency());
  std::uint64_t twice_every = 17;  // odd, so that every kind is among them
  std::string kind;                // of every history; empty: by its seed
  bool verbose = false;
  bool stop_at_first = false;  // broken seed
  std::map<std::string, double> tuned;
};

struct Totals {
  std::mutex mutex;  // guards all below
  sim::Figures sum;
  std::uint64_t worst_seed = 0;  // by reversals
  std::uint64_t played = 0, failed = 0;
  double site_hours = 0;
};

constexpr sim::Kind kinds[] = {sim::Kind::usual, sim::Kind::large, sim::Kind::settling,
                               sim::Kind::hour};

Duration of_seconds(double value) {
  return Duration{static_cast<std::int64_t>(value * 1e9)};
}

// What --tune may set, in every history.
const std::map<std::string, void (*)(config::ControlplaneConfig&, double)> knobs = {
    {"assign", [](auto& c, double value) { c.assign.enabled = value > 0; }},
    {"interval", [](auto& c, double value) { c.assign.interval = of_seconds(value); }},
    {"window", [](auto& c, double value) { c.assign.window = of_seconds(value); }},
    {"low_watermark", [](auto& c, double value) { c.assign.low_watermark = value; }},
    {"high_watermark", [](auto& c, double value) { c.assign.high_watermark = value; }},
    {"step", [](auto& c, double value) { c.assign.step = value; }},
    {"rise", [](auto& c, double value) { c.health.rise = of_seconds(value); }},
    {"headroom", [](auto& c, double value) { c.score.headroom = value; }},
    {"health", [](auto& c, double value) { c.score.health = value; }},
};

sim::Scenario scenario_for(std::uint64_t seed, const Options& options) {
  const auto* chosen = std::ranges::find(kinds, options.kind, sim::name_of);
  auto made = sim::make_scenario(seed, chosen == std::end(kinds) ? sim::kind_of(seed) : *chosen);
  for (const auto& [name, value] : options.tuned) knobs.at(name)(made.config.controlplane, value);
  return made;
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
  sum.assignments += f.assignments;
  sum.reversals += f.reversals;
  sum.own_reversals += f.own_reversals;
  sum.simulated_s += f.simulated_s;
  sum.overloaded_s += f.overloaded_s;
  totals.site_hours += f.simulated_s / 3600 * static_cast<double>(f.site_count);
  sum.falls_in_worst_hour = std::max(sum.falls_in_worst_hour, f.falls_in_worst_hour);
  if (f.reversals_in_worst_hour > sum.reversals_in_worst_hour) {
    sum.reversals_in_worst_hour = f.reversals_in_worst_hour;
    totals.worst_seed = seed;
  }
}

const char* kind_text(std::uint64_t seed, const Options& options) {
  return options.kind.empty() ? sim::name_of(sim::kind_of(seed)).data() : options.kind.c_str();
}

// False: it broke a promise.
bool play(std::uint64_t seed, const Options& options, Totals& totals, const char* program) {
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
        "seed %llu: %s, %zu sites, %.0f s, %llu beacons, %llu publishes, %llu accepted, %llu "
        "turns, "
        "%.1f ms\n",
        static_cast<unsigned long long>(seed), kind_text(seed, options),
        static_cast<std::size_t>(witness.figures.site_count), witness.figures.simulated_s,
        static_cast<unsigned long long>(witness.figures.beacons_sent),
        static_cast<unsigned long long>(witness.figures.publishes),
        static_cast<unsigned long long>(witness.figures.beacons_accepted),
        static_cast<unsigned long long>(witness.figures.turns), took.count());
  }
  if (broken.empty()) return true;
  ++totals.failed;
  std::printf("seed %llu breaks %s\n  replay: %s --first %llu --count 1%s%s --verbose\n",
              static_cast<unsigned long long>(seed), broken.c_str(), program,
              static_cast<unsigned long long>(seed), options.kind.empty() ? "" : " --kind ",
              options.kind.c_str());
  return false;
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
      "%llu falls, %llu assignments; a site and hour: %.1f reversals of direction, %.1f of them "
      "unprovoked, %.1f s of overload\n",
      number(sum.falls), number(sum.assignments),
      static_cast<double>(sum.reversals) / totals.site_hours,
      static_cast<double>(sum.own_reversals) / totals.site_hours,
      sum.overloaded_s / totals.site_hours);
  std::printf("worst hour of a site: %llu falls; %llu reversals (seed %llu)\n",
              number(sum.falls_in_worst_hour), number(sum.reversals_in_worst_hour),
              number(totals.worst_seed));
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
  app.add_option("--kind", options.kind, "of every history; else one of them by its seed")
      ->check(CLI::IsMember({"usual", "large", "settling", "hour"}));
  std::vector<std::pair<std::string, double>> tuned;
  app.add_option(
         "--tune", tuned,
         "NAME VALUE: sets assign (0 or 1), interval, window, rise (seconds), low_watermark, "
         "high_watermark, step, headroom or health (exponents) in every history")
      ->check([](const std::string& name) {
        return knobs.contains(name) || !std::isalpha(static_cast<unsigned char>(name[0]))
                   ? std::string()
                   : "cannot be tuned: " + name;
      });
  app.add_flag("--stop-at-first", options.stop_at_first, "play no more after a broken seed");
  app.add_flag("--verbose", options.verbose, "a line for each history");
  std::setvbuf(stdout, nullptr, _IOLBF,
               0);  // a history that kills us is the one after the last line
  CLI11_PARSE(app, count, arguments);
  options.tuned.insert(tuned.begin(), tuned.end());
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
        const bool good = play(seed, options, totals, arguments[0]);
        if (!good && options.stop_at_first) next.store(options.first + options.count);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
  report(totals, took.count());
  return totals.failed == 0 ? 0 : 1;
}
