// What the tables of queries share: a row is a request, the reply as text, and every counter that moved. Rows stand in
// query_*_rows.cc by topic; queries_test.cc runs them.
#pragma once

#include "pharos/dataplane/dns/serve.hh"

#include <map>
#include <ostream>
#include <string>
#include <vector>

#include "example_world.hh"
#include "message_text.hh"
#include "octets.hh"

namespace pharos::dataplane {

inline constexpr std::uint32_t wall_s = 1'700'000'000;
inline constexpr unsigned type_a = 1, type_ns = 2, type_cname = 5, type_soa = 6, type_mx = 15,
                          type_txt = 16, type_aaaa = 28, type_dname = 39, type_ds = 43,
                          type_any = 255;
inline const std::string soa =
    "example. 60 SOA ns1.example. hostmaster.example. 2026010100 7200 3600 1209600 60";

using Lines = std::vector<std::string>;
using Counts = std::map<std::string, std::uint64_t>;

// NSID "pop1", version "pharos", id "ns7", keys 00 01 02 ...
ServeOptions query_options();
// example_world(), built once.
const TableRoot& query_tables();

struct QueryRow {
  const char* what;
  packets::Octets request;
  Lines reply;    // empty: nothing is sent
  Counts counts;  // all that moved
  std::string source = "192.0.2.200";
  Transport transport = Transport::udp;
  std::uint16_t capacity = 1400;
  ServeOptions options = query_options();
};
void PrintTo(const QueryRow& row, std::ostream* out);

struct QueryReply {
  packets::Octets message;
  Verdict verdict;
  std::uint16_t checksum;
  CoreCounters counters;
};

// Serves the row's request alone, in a buffer of exactly the bytes that the contract allows to touch.
QueryReply serve(const QueryRow& row);

// All counters that are not zero, by name.
Counts moved(const CoreCounters& counters);

packets::Octets ask(const std::string& name, unsigned type, unsigned klass = 1,
                    unsigned flags = 0x0100);
packets::Octets ask(const std::string& name, unsigned type, const packets::Edns& edns);

// `more`, with the counters that most rows share: the type ("type_a" and so on) and the RCODE.
Counts noerror(const char* type, Counts more);
Counts with(const char* type, const char* rcode, Counts more = {});

std::vector<QueryRow> answer_rows();
std::vector<QueryRow> wildcard_rows();
std::vector<QueryRow> chain_rows();
std::vector<QueryRow> cut_rows();
std::vector<QueryRow> ranked_rows();
std::vector<QueryRow> edns_rows();
std::vector<QueryRow> subnet_mode_rows();
std::vector<QueryRow> size_rows();
std::vector<QueryRow> refused_rows();
std::vector<QueryRow> all_query_rows();

}  // namespace pharos::dataplane
