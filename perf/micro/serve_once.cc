// A fixed batch of each kind of query, from frame to frame, a fixed number of times: for `valgrind --tool=callgrind`,
// whose counts of instructions repeat on the noisiest machine. perf/lanes/budget.py runs it.
//
//   serve_tables DIR               makes the tables: another program, since only what is measured shall run here
//   serve_once DIR [--counted]     serves from them; prints a line `kind ANSWERS CYCLES` a kind
//
// For callgrind (--counted: two passes are enough): `measured_turn` brackets the turns that count, `end_of_kind` is called behind each kind.
#include "pharos/dataplane/dns/serve.hh"
#include "pharos/dataplane/packet/frame_burst.hh"
#include "pharos/shared/image.hh"

#include <x86intrin.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "bench_queries.hh"

namespace pharos::dataplane {

// One burst: what a worker does between its port's two calls.
struct Turn {
  const TableRoot& root;
  const Interface& interface;
  ServeState& serving;
  FrameBurst& frames;
  CoreCounters& counters;

  [[gnu::always_inline]] void run() const noexcept {
    classify_burst(interface, frames, counters);
    serve_burst(serving, root, frames.queries(), counters);
    finish_burst(interface, frames);
    count_sent(frames, frames.send_count, counters);
  }
};

// Names that callgrind's options can say.
extern "C" {
[[gnu::noinline]] void measured_turn(const Turn& turn) noexcept;
[[gnu::noinline]] void end_of_kind() noexcept;
void measured_turn(const Turn& turn) noexcept {
  turn.run();
}
void end_of_kind() noexcept {
  asm volatile("" ::: "memory");
}
}

namespace {

using bench::Kind;

constexpr unsigned burst = 32;
constexpr unsigned bursts =
    16;  // of each kind: small enough for the first cache, so that cycles repeat, too
constexpr unsigned frame_bytes_max = 160;
constexpr unsigned names = 10'000;
constexpr unsigned passes_under_callgrind = 2;
constexpr unsigned passes_for_cycles = 400;

struct Row {
  const char* name;
  Kind kind;
  bool policies = false;
  bool limited = false;
};
constexpr Row rows[] = {
    {"hit", Kind::a},
    {"hit_edns", Kind::a_edns},
    {"hit_4", Kind::a_4},
    {"hit_8", Kind::a_8},
    {"hit_aaaa", Kind::aaaa},
    {"pool", Kind::ranked},
    {"pool_ecs", Kind::ranked_subnet},
    {"cookie", Kind::cookie},
    {"nodata", Kind::nodata},
    {"flood", Kind::nxdomain},
    {"nxdomain_deep", Kind::deep_nxdomain},
    {"wildcard", Kind::wildcard},
    {"refused", Kind::refused},
    {"hit_limited", Kind::a_edns, false, true},
    {"flood_limited", Kind::nxdomain, false, true},
    {"hit_policies", Kind::a_edns, true},
    {"flood_policies", Kind::nxdomain, true},
};

SharedImage read_file(const std::filesystem::path& path) {
  auto bytes = read_image_file(path.string());
  if (!bytes) throw std::runtime_error(bytes.error().text());
  return std::make_shared<const Mapping>(std::move(*bytes));
}

std::unique_ptr<const TableRoot> read_tables(const std::filesystem::path& folder) {
  auto root = make_root(nullptr, Version{1, 1},
                        {.catalog = read_file(folder / "catalog"),
                         .locale_map = read_file(folder / "locales"),
                         .ranking_base = read_file(folder / "ranking"),
                         .ranking_delta = nullptr});
  if (!root) throw std::runtime_error(root.error().text());
  return std::move(*root);
}

// ---- serving ----

ServeOptions serve_options(bool limited) {
  ServeOptions options;
  options.cookie_secrets.resize(1);
  if (limited) options.rate_limit.per_second.fill(1e6);  // never reached
  return options;
}

class Batch {
 public:
  Batch(const Row& row, const TableRoot& root)
      : root_(root),
        interface_(bench::make_bench_interface()),
        serving_(serve_options(row.limited)),
        buffers_(std::size_t{burst} * bench::buffer_bytes + query_slack_bytes) {
    serving_.set_time(1'700'000'000, {1'000'000'000});
    std::mt19937 random(1);
    for (unsigned i = 0; i < burst * bursts; ++i) {
      const auto message =
          bench::message_of(row.kind, static_cast<unsigned>(random() % names), random);
      const packets::FrameText text{.from = "198.51." + std::to_string(i % 100) + "." +
                                            std::to_string(1 + i % 250)};
      requests_.push_back(packets::udp_frame(text, 1024 + i, 53, message));
      if (requests_.back().size() > frame_bytes_max) throw std::runtime_error("a frame too long");
    }
  }

  // One burst of requests stands in the buffers, as a port would have put it there.
  [[nodiscard]] Turn turn(unsigned first) noexcept {
    frames_->begin();
    for (unsigned i = 0; i < burst; ++i) {
      const auto& bytes = requests_[first + i];
      auto* at = buffers_.data() + std::size_t{i} * bench::buffer_bytes;
      std::memcpy(at, bytes.data(), bytes.size());
      frames_->add(at, static_cast<unsigned>(bytes.size()), 1514, 0);
    }
    return {root_, interface_, serving_, *frames_, counters_};
  }

  // Returns cycles an answer, of the best pass.
  double run(unsigned passes) {
    for (unsigned first = 0; first < requests_.size(); first += burst) turn(first).run();
    double best = 1e18;
    for (unsigned pass = 0; pass < passes; ++pass) {
      std::uint64_t cycles = 0;
      for (unsigned first = 0; first < requests_.size(); first += burst) {
        const Turn next = turn(first);
        const auto begun = __rdtsc();
        measured_turn(next);
        cycles += __rdtsc() - begun;
      }
      best = std::min(best, static_cast<double>(cycles) / static_cast<double>(requests_.size()));
    }
    const auto answers = std::uint64_t{passes + 1} * requests_.size();
    if (counters_.read(Verdict::answered) != answers)
      throw std::runtime_error("not every query was answered");
    return best;
  }

 private:
  const TableRoot& root_;
  Interface interface_;
  ServeState serving_;
  CoreCounters counters_;
  std::unique_ptr<FrameBurst> frames_ = std::make_unique<FrameBurst>();
  std::vector<packets::Octets> requests_;
  std::vector<std::byte> buffers_;
};

void run(const std::filesystem::path& folder, bool counted) {
  const auto plain = read_tables(folder / "plain");
  const auto policies = read_tables(folder / "policies");
  const unsigned passes = counted ? passes_under_callgrind : passes_for_cycles;
  for (const Row& row : rows) {
    Batch batch(row, row.policies ? *policies : *plain);
    const double cycles = batch.run(passes);
    end_of_kind();
    std::printf("%s %u %.1f\n", row.name, passes * burst * bursts, cycles);
  }
}

}  // namespace
}  // namespace pharos::dataplane

int main(int argc, char** argv) {
  const bool counted = argc == 3 && std::string_view(argv[2]) == "--counted";
  if (argc != (counted ? 3 : 2)) {
    std::fprintf(stderr, "usage: serve_once DIR [--counted]\n");
    return 2;
  }
  try {
    pharos::dataplane::run(argv[1], counted);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "serve_once: %s\n", error.what());
    return 1;
  }
}
