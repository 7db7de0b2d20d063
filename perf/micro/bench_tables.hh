// What the benchmarks in memory serve, and what they are asked: tables of synthetic names and prepared requests, made by
// the control plane's own builders from fixed seeds.
#pragma once

#include "pharos/dataplane/packet/interface.hh"
#include "pharos/dataplane/table/root.hh"

#include <random>
#include <string>
#include <string_view>

#include "packets/octets.hh"

namespace pharos::bench {

struct TableOptions {
  unsigned names = 10'000;
  unsigned patterns = 0;      // name policies that take none of the names
  bool more_records = false;  // also AAAA; four addresses at every name 4n + 1, eight at 4n + 2
};

// Names below bench.example with A records, *.wild.bench.example, and 64 services in four locales.
[[nodiscard]] std::unique_ptr<const dataplane::TableRoot> make_tables(const TableOptions& options);

enum class Kind {
  a,
  a_edns,
  a_4,  // with EDNS from here on; a_4, a_8 and aaaa want more_records
  a_8,
  aaaa,
  nodata,
  nxdomain,  // one label below the zone, another in each request
  deep_nxdomain,
  wildcard,
  ranked,
  ranked_subnet,
  cookie,
  refused,
};

// The request of this kind about name number `pick`.
[[nodiscard]] packets::Octets message_of(Kind kind, unsigned pick, std::mt19937& random);

// An interface with the address that packets::udp_frame() sends to.
[[nodiscard]] dataplane::Interface make_bench_interface(bool port_checksums = false);

}  // namespace pharos::bench
