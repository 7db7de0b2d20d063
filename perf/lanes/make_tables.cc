// pharos-make-tables: a state directory with synthetic tables (synthetic_tables.hh), from which pharos-dataplane starts
// alone. They pass the proof that the daemon makes. Prints what each step took.
#include "pharos/dataplane/table/table_files.hh"

#include <time.h>

#include <CLI/CLI.hpp>
#include <spdlog/fmt/fmt.h>

#include <fstream>

#include "synthetic_tables.hh"

namespace {

using namespace pharos;

constexpr std::uint64_t bytes_a_mebibyte = 1U << 20;

struct Options {
  std::string state;
  std::string queries;
  perf::SyntheticOptions tables;
};

Result<dataplane::SharedImage> share(ConstBytes image) {
  const auto fd = seal_in_memfd(image, "make-tables");
  if (!fd) return std::unexpected(fd.error());
  auto mapping = map_sealed(fd->get());
  if (!mapping) return std::unexpected(mapping.error());
  return std::make_shared<const Mapping>(std::move(*mapping));
}

// Prints what each step took of a core, so that builders are measured where they are used.
class Steps {
 public:
  void done(const std::string& what, std::uint64_t bytes = 0) {
    const double now_s = cpu_s();
    fmt::print("{:<28} {:8.3f} s{}\n", what, now_s - last_s_,
               bytes == 0
                   ? std::string()
                   : fmt::format("  {:8.1f} MiB", static_cast<double>(bytes) / bytes_a_mebibyte));
    last_s_ = cpu_s();
  }

 private:
  [[nodiscard]] static double cpu_s() noexcept {
    timespec t{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
  }
  double last_s_ = cpu_s();
};

Status write_queries(const Options& options) {
  std::ofstream out(options.queries);
  for (std::uint32_t i = 0; i < options.tables.names; ++i)
    out << perf::label_of(i) << ".bench. A\n";
  if (!out.flush()) return fail_errno("write", options.queries);
  return {};
}

Status make(const Options& options) {
  constexpr Version version{1, 1};
  Steps steps;
  const auto world = perf::SyntheticWorld::make(options.tables);
  if (!world) return std::unexpected(world.error());
  steps.done("zone, locales, policies");
  const auto catalog = world->catalog(version);
  if (!catalog) return std::unexpected(catalog.error());
  steps.done("catalog", catalog->size());
  const auto map = world->locale_map(version);
  if (!map) return std::unexpected(map.error());
  steps.done("locale map", map->size());
  auto ranking = world->ranking();
  if (!ranking) return std::unexpected(ranking.error());
  const auto base = ranking->build_base(version);
  if (!base) return std::unexpected(base.error());
  steps.done("ranking", base->size());

  dataplane::NewImages images;
  const std::pair<const ImageBuffer*, dataplane::SharedImage*> parts[] = {
      {&*catalog, &images.catalog}, {&*map, &images.locale_map}, {&*base, &images.ranking_base}};
  for (const auto& [image, slot] : parts) {
    auto shared = share(*image);
    if (!shared) return std::unexpected(shared.error());
    *slot = std::move(*shared);
  }
  steps.done("sealed");
  const auto root = dataplane::make_root(nullptr, version, images);
  if (!root) return std::unexpected(root.error());
  steps.done("proof");
  auto files = dataplane::TableFiles::open(options.state + "/tables");
  if (!files) return std::unexpected(files.error());
  if (auto status = files->save(dataplane::set_of(**root)); !status) return status;
  steps.done("written to " + options.state);
  return options.queries.empty() ? Status{} : write_queries(options);
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app{
      "Writes tables of synthetic names into a state directory, for measurements of "
      "pharos-dataplane."};
  app.set_version_flag("--version", PHAROS_VERSION);
  app.add_option("--state", options.state, "state directory; its tables are replaced")->required();
  app.add_option("--queries", options.queries, "file to write \"name A\" lines for all names into");
  perf::add_options(app, options.tables);
  CLI11_PARSE(app, argc, argv);
  if (const auto status = make(options); !status) {
    fmt::print(stderr, "pharos-make-tables: {}\n", status.error().text());
    return 1;
  }
  return 0;
}
