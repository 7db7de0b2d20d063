#include <algorithm>

#include "handlers.hh"

// What is asked for, by name and by (pool, locale), as the data plane's samples say.

namespace pharos::controlplane {
namespace {

constexpr std::size_t rows_default = 20;
constexpr std::size_t rows_max = 1000;

Result<std::size_t> rows_of(const Json& arguments) {
  const auto at = arguments.find("limit");
  if (at == arguments.end()) return rows_default;
  const auto rows = at->is_number_integer() ? at->get<std::int64_t>() : 0;
  if (rows < 1 || rows > static_cast<std::int64_t>(rows_max)) {
    return fail(ErrorCode::invalid, "argument 'limit' is no number of rows", "arguments",
                "1 to " + std::to_string(rows_max));
  }
  return static_cast<std::size_t>(rows);
}

struct Cell {
  std::uint32_t pool;
  std::uint16_t locale;
  double answers_per_s;
};

// The cells that are asked for most, most first; and all of them together.
std::pair<std::vector<Cell>, double> hottest_cells(const Engine& engine, std::size_t count) {
  const auto& world = engine.world();
  std::vector<Cell> cells;
  double total = 0;
  for (std::uint32_t p = 0; p < world.pools.size(); ++p) {
    for (std::uint16_t l = 0; l < static_cast<std::uint16_t>(world.locales.size()); ++l) {
      const double rate = engine.demand().rate(p, l);
      if (rate <= 0) continue;
      total += rate;
      cells.push_back({p, l, rate});
    }
  }
  const auto kept = static_cast<std::ptrdiff_t>(std::min(count, cells.size()));
  std::ranges::partial_sort(cells, cells.begin() + kept, [](const Cell& a, const Cell& b) {
    return a.answers_per_s != b.answers_per_s
               ? a.answers_per_s > b.answers_per_s
               : std::pair(a.pool, a.locale) < std::pair(b.pool, b.locale);
  });
  cells.resize(static_cast<std::size_t>(kept));
  return {std::move(cells), total};
}

Json demand(const EngineSide& side, std::size_t count) {
  const auto& world = side.engine.world();
  const auto requests = side.engine.requests_by_cell();
  const auto [hottest, total] = hottest_cells(side.engine, count);
  const auto share = [all = total](double rate) { return all > 0 ? rate / all : 0; };
  Json names = Json::array();
  for (const auto& row : side.names.hottest(count)) {
    names.push_back({{"name", row.name->name},
                     {"service", row.name->service},
                     {"answers_per_s", row.answers_per_s},
                     {"share", share(row.answers_per_s)}});
  }
  Json cells = Json::array();
  for (const auto& cell : hottest) {
    cells.push_back({{"pool", world.pools[cell.pool].pool.name()},
                     {"locale", world.locales[cell.locale]},
                     {"answers_per_s", cell.answers_per_s},
                     {"requests_rps", requests[cell.pool * world.locales.size() + cell.locale]},
                     {"share", share(cell.answers_per_s)}});
  }
  return {{"known", side.engine.demand().known()},
          {"answers_per_s", total},
          {"names", std::move(names)},
          {"cells", std::move(cells)}};
}

}  // namespace

void add_demand_command(control::Server& server, Daemon& daemon) {
  server.add({"demand", control::Access::read, "names and cells that are asked for most",
              [&daemon](const Json& arguments) -> Result<Json> {
                const auto count = rows_of(arguments);
                if (!count) return std::unexpected(count.error());
                return daemon.loop().ask(
                    [&](EngineSide& side) -> Result<Json> { return demand(side, *count); });
              }});
}

}  // namespace pharos::controlplane
