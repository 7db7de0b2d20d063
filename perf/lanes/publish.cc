// pharos-publish: publishes synthetic tables (synthetic_tables.hh) to a running data plane at fixed rates, in place of a
// control plane.
//
// A full publish carries catalog, locale map and ranking base. A delta carries the row of one pool whose answers turned
// by one address; where a base has taken all the deltas that it may, a new base goes instead, as the control plane does
// it. Each waits for its acknowledgement. What is due late is made up for, if not later than late_max_ns. At the end one
// JSON object says how many of each were adopted, and what they took.
#include "pharos/base/clock.hh"
#include "pharos/shared/table_channel.hh"

#include <time.h>

#include <CLI/CLI.hpp>
#include <spdlog/fmt/fmt.h>

#include "synthetic_tables.hh"

namespace {

using namespace pharos;
using controlplane::RankingBuilder;

struct Options {
  std::string socket;
  double full_rate = 0;
  double delta_rate = 0;
  double seconds = 1;
  perf::SyntheticOptions tables;
};

using Images = std::vector<std::pair<ImageKind, ImageBuffer>>;

class Publisher {
 public:
  static Result<Publisher> connect(const std::string& path) {
    auto socket = table_channel::connect_to(path);
    if (!socket) return std::unexpected(socket.error());
    const auto hello = table_channel::receive(socket->get());
    if (!hello) return std::unexpected(hello.error());
    const auto* in_use = std::get_if<table_channel::Hello>(&hello->message);
    if (in_use == nullptr) return fail(ErrorCode::invalid, "no hello", path);
    return Publisher(std::move(*socket), {in_use->in_use.epoch + 1, 1});
  }

  [[nodiscard]] Version next() const noexcept { return next_; }

  // Sends images as one publish, and waits until it is adopted.
  Status publish(const Images& images) {
    std::vector<UniqueFd> owners;
    std::vector<int> fds;
    std::vector<ImageKind> kinds;
    for (const auto& [kind, bytes] : images) {
      auto fd = seal_in_memfd(bytes, "perf");
      if (!fd) return std::unexpected(fd.error());
      kinds.push_back(kind);
      fds.push_back(fd->get());
      owners.push_back(std::move(*fd));
    }
    const auto message = table_channel::make_publish(next_, kinds);
    if (auto sent = table_channel::send(socket_.get(), object_bytes(message), fds); !sent)
      return sent;
    const auto received = table_channel::receive(socket_.get());
    if (!received) return std::unexpected(received.error());
    const auto* ack = std::get_if<table_channel::Acknowledge>(&received->message);
    if (ack == nullptr) return fail(ErrorCode::invalid, "expected an acknowledgement");
    if (ack->outcome != table_channel::Outcome::adopted)
      return fail(ErrorCode::conflict, std::string("not adopted: ") + ack->reason.data());
    ++next_.generation;
    return {};
  }

 private:
  Publisher(UniqueFd socket, Version next) : socket_(std::move(socket)), next_(next) {}
  UniqueFd socket_;
  Version next_;
};

// A full publish takes the time of many deltas, which follow at once; a machine that cannot keep up falls behind.
constexpr std::int64_t late_max_ns = 100'000'000;

// When the next of something is due that happens `rate` times a second.
class Schedule {
 public:
  Schedule(double rate, Instant start)
      : period_ns_(rate > 0 ? static_cast<std::int64_t>(1e9 / rate) : 0), due_(start) {}
  [[nodiscard]] bool is_due(Instant now) const noexcept {
    return period_ns_ != 0 && now.ns >= due_.ns;
  }
  void done(Instant now) noexcept {
    due_.ns = std::max(due_.ns + period_ns_, now.ns - late_max_ns);
  }

 private:
  std::int64_t period_ns_;
  Instant due_;
};

struct Tally {
  unsigned count = 0;
  std::int64_t build_ns = 0;
  std::int64_t publish_ns = 0;
  [[nodiscard]] std::string text(double seconds) const {
    const double each = count == 0 ? 1 : count * 1e3;
    return fmt::format(
        "{{\"count\": {}, \"rate\": {:.1f}, \"build_us\": {:.1f}, \"adopt_us\": {:.1f}}}", count,
        count / seconds, static_cast<double>(build_ns) / each,
        static_cast<double>(publish_ns) / each);
  }
};

class Run {
 public:
  Run(const perf::SyntheticWorld& world, RankingBuilder ranking, Publisher publisher)
      : world_(world), ranking_(std::move(ranking)), publisher_(std::move(publisher)) {}

  Status full() {
    const Instant started = monotonic_now();
    const auto catalog = world_.catalog(publisher_.next());
    const auto locales = world_.locale_map(publisher_.next());
    const auto base = ranking_.build_base(publisher_.next());
    for (const auto* image : {&catalog, &locales, &base}) {
      if (!*image) return std::unexpected(image->error());
    }
    return send({{ImageKind::catalog, *catalog},
                 {ImageKind::locale_map, *locales},
                 {ImageKind::ranking_base, *base}},
                full_, started);
  }

  // One pool's answers turn by one.
  Status delta() {
    const Instant started = monotonic_now();
    const std::uint32_t pool = turn_ % world_.pool_count();
    for (unsigned l = 0; l < world_.locale_count(); ++l) {
      const auto cell = world_.cell(pool, l, turn_ / world_.pool_count() + 1);
      if (auto set = ranking_.set(pool, static_cast<std::uint16_t>(l), cell); !set) return set;
    }
    ++turn_;
    if (auto image = ranking_.build_delta(publisher_.next()); image)
      return send({{ImageKind::ranking_delta, std::move(*image)}}, delta_, started);
    auto base = ranking_.build_base(publisher_.next());
    if (!base) return std::unexpected(base.error());
    ++bases_;
    return send({{ImageKind::ranking_base, std::move(*base)}}, delta_, started);
  }

  Status go(const Options& options) {
    if (auto first = full(); !first) return first;
    full_ = {};
    fmt::print("ready\n");
    std::fflush(stdout);
    const Instant start = monotonic_now();
    Schedule fulls(options.full_rate, start);
    Schedule deltas(world_.pool_count() == 0 ? 0 : options.delta_rate, start);
    Status status;
    while (status && (monotonic_now() - start).seconds() < options.seconds) {
      if (fulls.is_due(monotonic_now())) {
        status = full();
        fulls.done(monotonic_now());
      } else if (deltas.is_due(monotonic_now())) {
        status = delta();
        deltas.done(monotonic_now());
      } else {
        constexpr timespec pause{.tv_sec = 0, .tv_nsec = 20'000};
        ::nanosleep(&pause, nullptr);
      }
    }
    const double seconds = (monotonic_now() - start).seconds();
    if (status)
      fmt::print("{{\"full\": {}, \"delta\": {}, \"bases\": {}}}\n", full_.text(seconds),
                 delta_.text(seconds), bases_);
    return status;
  }

 private:
  Status send(const Images& images, Tally& tally, Instant started) {
    const Instant built = monotonic_now();
    auto sent = publisher_.publish(images);
    if (!sent) return sent;
    ranking_.commit();
    ++tally.count;
    tally.build_ns += (built - started).ns;
    tally.publish_ns += (monotonic_now() - built).ns;
    return {};
  }

  const perf::SyntheticWorld& world_;
  RankingBuilder ranking_;
  Publisher publisher_;
  Tally full_;
  Tally delta_;
  unsigned bases_ = 0;
  std::uint32_t turn_ = 0;
};

Status run(const Options& options) {
  const auto world = perf::SyntheticWorld::make(options.tables);
  if (!world) return std::unexpected(world.error());
  auto ranking = world->ranking();
  if (!ranking) return std::unexpected(ranking.error());
  auto publisher = Publisher::connect(options.socket);
  if (!publisher) return std::unexpected(publisher.error());
  return Run(*world, std::move(*ranking), std::move(*publisher)).go(options);
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app{"Publishes synthetic tables to a running pharos-dataplane at fixed rates."};
  app.set_version_flag("--version", PHAROS_VERSION);
  app.add_option("--socket", options.socket, "tables.sock of the data plane")->required();
  app.add_option("--full", options.full_rate, "full publishes a second")->capture_default_str();
  app.add_option("--delta", options.delta_rate, "delta publishes a second")->capture_default_str();
  app.add_option("--seconds", options.seconds, "to go on")->capture_default_str();
  perf::add_options(app, options.tables);
  CLI11_PARSE(app, argc, argv);
  if (const auto status = run(options); !status) {
    fmt::print(stderr, "pharos-publish: {}\n", status.error().text());
    return 1;
  }
  return 0;
}
