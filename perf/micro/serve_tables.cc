// The tables that serve_once serves from, as images on disk.
//
//   serve_tables DIR       writes DIR/plain and DIR/policies
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <stdexcept>

#include "bench_tables.hh"

namespace pharos::bench {
namespace {

constexpr unsigned names = 10'000;  // of which serve_once asks
constexpr unsigned patterns = 10'000;

void write_file(const std::filesystem::path& path, ConstBytes bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
  if (!file.flush()) throw std::runtime_error("cannot write " + path.string());
}

void write_tables(const std::filesystem::path& folder, const TableOptions& options) {
  std::filesystem::create_directories(folder);
  const auto root = make_tables(options);
  write_file(folder / "catalog", root->catalog_bytes->bytes());
  write_file(folder / "locales", root->locale_bytes->bytes());
  write_file(folder / "ranking", root->ranking_bytes.front()->bytes());
}

}  // namespace
}  // namespace pharos::bench

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: serve_tables DIR\n");
    return 2;
  }
  try {
    using namespace pharos::bench;
    const std::filesystem::path folder = argv[1];
    write_tables(folder / "plain", {.names = names, .more_records = true});
    write_tables(folder / "policies", {.names = names, .patterns = patterns, .more_records = true});
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "serve_tables: %s\n", error.what());
    return 1;
  }
}
