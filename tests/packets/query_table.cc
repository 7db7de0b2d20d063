// See query_table.hh.
#include "query_table.hh"

#include <algorithm>
#include <cstring>
#include <memory>

namespace pharos::dataplane {

using namespace packets;  // NOLINT

ServeOptions query_options() {
  ServeOptions o;
  o.nsid = "pop1";
  o.ecs_resolvers = {*IpPrefix::parse("192.0.2.224/27"), *IpPrefix::parse("2001:db8:53::/48")};
  o.version_text = "pharos";
  o.server_id = "ns7";
  o.cookie_secrets.resize(1);
  for (unsigned i = 0; i < 16; ++i) o.cookie_secrets[0][i] = static_cast<std::byte>(i);
  return o;
}

const TableRoot& query_tables() {
  static const World::Root root = example_world();
  return *root;
}

void PrintTo(const QueryRow& row, std::ostream* out) {
  *out << row.what;
}

QueryReply serve(const QueryRow& row) {
  ServeState state(row.options);
  state.set_time(wall_s, {});
  const std::size_t bytes =
      std::max<std::size_t>(row.request.size(), row.capacity) + query_slack_bytes;
  const auto buffer = std::make_unique<std::byte[]>(bytes);
  std::memset(buffer.get(), 0xcc, bytes);
  std::ranges::copy(row.request, buffer.get());
  Query query;
  query.message = buffer.get();
  query.length = static_cast<std::uint16_t>(row.request.size());
  query.capacity = row.capacity;
  query.transport = row.transport;
  query.source_port = 4000;
  query.source = *IpAddress::parse(row.source);
  QueryReply reply{};
  serve_burst(state, query_tables(), {&query, 1}, reply.counters);
  reply.verdict = query.verdict;
  reply.checksum = query.reply_checksum;
  if (query.verdict == Verdict::answered)
    reply.message.assign(buffer.get(), buffer.get() + query.reply_bytes);
  return reply;
}

Counts moved(const CoreCounters& counters) {
  Counts counts;
  for (std::size_t i = 0; i < verdict_count; ++i) {
    if (counters.verdicts[i] != 0)
      counts[std::string(verdict_texts[i].name)] = counters.verdicts[i];
  }
  for (std::size_t i = 0; i < counter_count; ++i) {
    if (counters.counters[i] != 0)
      counts[std::string(counter_texts[i].name)] = counters.counters[i];
  }
  return counts;
}

Octets ask(const std::string& name, unsigned type, unsigned klass, unsigned flags) {
  return query({.name = name,
                .type = static_cast<std::uint16_t>(type),
                .klass = static_cast<std::uint16_t>(klass),
                .flags = static_cast<std::uint16_t>(flags)});
}
Octets ask(const std::string& name, unsigned type, const Edns& edns) {
  return query({.name = name, .type = static_cast<std::uint16_t>(type)}, edns);
}

Counts noerror(const char* type, Counts more) {
  more[type] = 1;
  more["rcode_noerror"] = 1;
  return more;
}
Counts with(const char* type, const char* rcode, Counts more) {
  more[type] = 1;
  more[rcode] = 1;
  return more;
}

std::vector<QueryRow> all_query_rows() {
  std::vector<QueryRow> all;
  for (const auto& rows : {answer_rows(), wildcard_rows(), chain_rows(), cut_rows(), ranked_rows(),
                           edns_rows(), subnet_mode_rows(), size_rows(), refused_rows()}) {
    all.insert(all.end(), rows.begin(), rows.end());
  }
  return all;
}

}  // namespace pharos::dataplane
