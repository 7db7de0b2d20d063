// What the benchmarks in memory ask: prepared requests for the names of bench_tables.hh, from fixed seeds. Links the packet
// path alone, so that what is measured holds nothing else.
#pragma once

#include "pharos/dataplane/packet/interface.hh"

#include <random>
#include <string>

#include "packets/octets.hh"

namespace pharos::bench {

inline constexpr unsigned services = 64;

// From one working buffer to the next, as far as mbufs of 2048 octets lie apart in a pool: 37 lines, which spread over all
// sets of a cache. With 2048 a burst of 32 would share two sets of the first cache, and throw each other out.
inline constexpr unsigned buffer_bytes = 2368;

[[nodiscard]] std::string host_name(unsigned i);
[[nodiscard]] std::string service_name(unsigned i);

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
