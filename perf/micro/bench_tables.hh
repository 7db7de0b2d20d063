// What the benchmarks in memory serve: tables of synthetic names, made by the control plane's own builders from fixed seeds.
#pragma once

#include "pharos/dataplane/table/root.hh"

#include <memory>

#include "bench_queries.hh"

namespace pharos::bench {

struct TableOptions {
  unsigned names = 10'000;
  unsigned patterns = 0;      // name policies that take none of the names
  bool more_records = false;  // also AAAA; four addresses at every name 4n + 1, eight at 4n + 2
};

// Names below bench.example with A records, *.wild.bench.example, and 64 services in four locales.
[[nodiscard]] std::unique_ptr<const dataplane::TableRoot> make_tables(const TableOptions& options);

}  // namespace pharos::bench
