#include <algorithm>

#include "handlers.hh"

// What is asked for, by name and by (pool, locale), as the data plane's samples say; and whom the answers name first.

namespace pharos::controlplane {
namespace {

constexpr std::size_t rows_default = 20;
constexpr std::size_t rows_max = 1000;
constexpr std::size_t names_max = 200;  // of the data plane
constexpr Duration dataplane_patience = seconds(2);

Result<std::size_t> rows_of(const Json& arguments, std::size_t most) {
  const auto at = arguments.find("limit");
  if (at == arguments.end()) return rows_default;
  const auto rows = at->is_number_integer() ? at->get<std::int64_t>() : 0;
  if (rows < 1 || rows > static_cast<std::int64_t>(most)) {
    return fail(ErrorCode::invalid, "argument 'limit' is no number of rows", "arguments",
                "1 to " + std::to_string(most));
  }
  return static_cast<std::size_t>(rows);
}

struct Cell {
  std::uint32_t pool;
  std::uint16_t locale;
  double answers_per_s;
};

bool hotter(const Cell& a, const Cell& b) {
  return a.answers_per_s != b.answers_per_s
             ? a.answers_per_s > b.answers_per_s
             : std::pair(a.pool, a.locale) < std::pair(b.pool, b.locale);
}

// The cells that are asked for most, and all of them together; pool by pool.
class HottestCells {
 public:
  explicit HottestCells(std::size_t count) : count_(count) {}

  void look_at(const Engine& engine, std::uint32_t pool) {
    const auto locales = static_cast<std::uint16_t>(engine.world().locales.size());
    for (std::uint16_t l = 0; l < locales; ++l) {
      const double rate = engine.demand().rate(pool, l);
      if (rate <= 0) continue;
      total_ += rate;
      cells_.push_back({pool, l, rate});
    }
    if (cells_.size() >= 2 * count_ + locales) cut();
  }
  [[nodiscard]] double total() const noexcept { return total_; }
  // Most first.
  [[nodiscard]] std::vector<Cell> take() {
    cut();
    std::ranges::sort(cells_, hotter);
    return std::move(cells_);
  }

 private:
  void cut() {
    if (cells_.size() <= count_) return;
    std::ranges::nth_element(cells_, cells_.begin() + static_cast<std::ptrdiff_t>(count_), hotter);
    cells_.resize(count_);
  }

  std::size_t count_;
  std::vector<Cell> cells_;
  double total_ = 0;
};

Json row_of(const EngineSide& side, const Cell& cell, double total) {
  const auto& world = side.engine.world();
  return {{"pool", world.pools[cell.pool].pool.name()},
          {"locale", world.locales[cell.locale]},
          {"answers_per_s", cell.answers_per_s},
          {"requests_rps", side.engine.requests_of_cell(cell.pool, cell.locale)},
          {"share", total > 0 ? cell.answers_per_s / total : 0}};
}

Json name_rows(const EngineSide& side, std::size_t count, double total) {
  Json rows = Json::array();
  for (const auto& row : side.names.hottest(count)) {
    rows.push_back({{"name", row.name->name},
                    {"service", row.name->service},
                    {"answers_per_s", row.answers_per_s},
                    {"share", total > 0 ? row.answers_per_s / total : 0}});
  }
  return rows;
}

Json demand(Daemon& daemon, std::size_t count) {
  HottestCells cells(count);
  std::uint32_t next = 0;  // pool
  Json result;
  daemon.loop().ask_in_slices([&](EngineSide& side, const Slice& slice) {
    if (slice.fresh()) {
      cells = HottestCells(count);
      next = 0;
    }
    for (; next < side.engine.world().pools.size(); ++next) {
      if (slice.over()) return false;
      cells.look_at(side.engine, next);
    }
    const auto total = cells.total();
    Json rows = Json::array();
    for (const auto& cell : cells.take()) rows.push_back(row_of(side, cell, total));
    result = {{"known", side.engine.demand().known()},
              {"answers_per_s", total},
              {"names", name_rows(side, count, total)},
              {"cells", std::move(rows)}};
    return true;
  });
  return result;
}

// The data plane's own sample: all names that are asked for, and not only those of services.
Result<Json> names(Daemon& daemon, const Json& arguments) {
  const auto count = rows_of(arguments, names_max);
  if (!count) return std::unexpected(count.error());
  const auto socket =
      control::socket_path(daemon.run_directory(), "dataplane", control::Access::read);
  return control::call(socket, "names", {{"rows", *count}}, dataplane_patience);
}

Json shares_history(const Daemon& daemon) {
  const auto now = monotonic_now();
  Json samples = Json::array();
  for (const auto& sample : daemon.share_log().samples())
    samples.push_back({{"age_s", seconds_since(sample.at, now)}, {"shares", sample.shares}});
  return {{"interval_s", ShareLog::interval.seconds()}, {"samples", std::move(samples)}};
}

}  // namespace

void add_demand_command(control::Server& server, Daemon& daemon) {
  server.add({"demand", control::Access::read, "names and cells that are asked for most",
              [&daemon](const Json& arguments) -> Result<Json> {
                const auto count = rows_of(arguments, rows_max);
                if (!count) return std::unexpected(count.error());
                return demand(daemon, *count);
              },
              control::Pace::lengthy});
  server.add({"names", control::Access::read,
              "names that are asked for most, whatever they are: from the data plane",
              [&daemon](const Json& arguments) { return names(daemon, arguments); },
              control::Pace::lengthy});
  server.add({"shares", control::Access::read, "share of the answers that each site is first in",
              [&daemon](const Json&) -> Result<Json> { return Json(answer_shares(daemon.loop())); },
              control::Pace::lengthy});
  server.add({"shares-history", control::Access::read, "the same over the last hour, oldest first",
              [&daemon](const Json&) -> Result<Json> { return shares_history(daemon); }});
}

}  // namespace pharos::controlplane
