// One assignment: 64 locales against 200 sites, for groups that may run everywhere or at a third of the sites, with room
// and without.
#include "pharos/controlplane/assign/assign.hh"

#include <benchmark/benchmark.h>

#include <random>

namespace pharos::controlplane {
namespace {

constexpr unsigned site_count = 200, locale_count = 64;

AssignProblem problem_of(unsigned groups, double load) {
  std::mt19937_64 random(1);
  std::uniform_real_distribution<double> part(0, 1);
  AssignProblem problem;
  double capacity = 0;
  for (unsigned s = 0; s < site_count; ++s) {
    problem.sites.push_back({.capacity_rps = 50 + 100 * part(random)});
    capacity += *problem.sites.back().capacity_rps;
  }
  double demand = 0;
  for (unsigned g = 0; g < groups; ++g) {
    AssignGroup group;
    for (unsigned s = 0; s < site_count; ++s) {
      if (groups == 1 || part(random) < 0.3) group.members.push_back({.site = s});
    }
    for (unsigned l = 0; l < locale_count; ++l) {
      AssignDemand one{.group = g, .rps = part(random)};
      for (std::size_t m = 0; m < group.members.size(); ++m) one.scores.push_back(part(random));
      demand += one.rps;
      problem.demands.push_back(std::move(one));
    }
    problem.groups.push_back(std::move(group));
  }
  for (auto& one : problem.demands) one.rps *= load * capacity / demand;
  return problem;
}

// Arguments: groups, load in percent of all capacity.
void bm_assign(benchmark::State& state) {
  const auto problem =
      problem_of(static_cast<unsigned>(state.range(0)), static_cast<double>(state.range(1)) / 100);
  double overload = 0;
  for (auto _ : state) overload = assign(problem).overload;
  state.counters["overload"] = overload;
}
BENCHMARK(bm_assign)->ArgsProduct({{1, 4, 16}, {50, 85, 130}})->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace pharos::controlplane

BENCHMARK_MAIN();
