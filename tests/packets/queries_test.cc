// Queries in, replies out: serve_burst as a table. Every row says what the reply reads like and which counters moved;
// all others must have stood still. Buffers hold exactly the bytes that the contract allows to touch.
#include "pharos/dataplane/dns/serve.hh"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <ostream>

#include "example_world.hh"
#include "message_text.hh"
#include "octets.hh"

namespace pharos::dataplane {
namespace {

using namespace packets;  // NOLINT

constexpr std::uint32_t wall_s = 1'700'000'000;
constexpr unsigned type_a = 1, type_ns = 2, type_cname = 5, type_soa = 6, type_mx = 15,
                   type_txt = 16, type_aaaa = 28, type_dname = 39, type_ds = 43, type_any = 255;

using Lines = std::vector<std::string>;
using Counts = std::map<std::string, std::uint64_t>;

ServeOptions options() {
  ServeOptions o;
  o.nsid = "pop1";
  o.version_text = "pharos";
  for (unsigned i = 0; i < 16; ++i) o.cookie_secret[i] = o.slot_key[i] = static_cast<std::byte>(i);
  return o;
}

const TableRoot& tables() {
  static const World::Root root = example_world();
  return *root;
}

struct Row {
  const char* what;
  Octets request;
  Lines reply;    // empty: nothing is sent
  Counts counts;  // all that moved
  std::string source = "192.0.2.200";
  Transport transport = Transport::udp;
  std::uint16_t capacity = 1400;
  ServeOptions options = dataplane::options();
};
void PrintTo(const Row& row, std::ostream* out) {
  *out << row.what;
}

struct Reply {
  Octets message;
  Verdict verdict;
  std::uint16_t checksum;
  CoreCounters counters;
};

Reply serve(const Row& row) {
  ServeState state(row.options);
  state.set_time(wall_s);
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
  Reply reply{};
  serve_burst(state, tables(), {&query, 1}, reply.counters);
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

Octets ask(const std::string& name, unsigned type, unsigned klass = 1, unsigned flags = 0x0100) {
  return query({.name = name,
                .type = static_cast<std::uint16_t>(type),
                .klass = static_cast<std::uint16_t>(klass),
                .flags = static_cast<std::uint16_t>(flags)});
}
Octets ask(const std::string& name, unsigned type, const Edns& edns) {
  return query({.name = name, .type = static_cast<std::uint16_t>(type)}, edns);
}

const std::string soa =
    "example. 60 SOA ns1.example. hostmaster.example. 2026010100 7200 3600 1209600 60";

// "type_a" and so on, with the counters that most rows share.
Counts noerror(const char* type, Counts more) {
  more[type] = 1;
  more["rcode_noerror"] = 1;
  return more;
}
Counts with(const char* type, const char* rcode, Counts more = {}) {
  more[type] = 1;
  more[rcode] = 1;
  return more;
}

std::vector<Row> answer_rows() {
  std::vector<Row> rows;
  rows.push_back({"an address",
                  ask("www.example", type_a),
                  {"1234 NOERROR qr aa rd | 1 1 0 0", "? www.example. A IN",
                   "an www.example. 300 A 192.0.2.80"},
                  noerror("type_a", {{"answers_static", 1}})});
  rows.push_back({"case is kept and does not matter",
                  ask("wWw.eXAMPLE", type_aaaa),
                  {"1234 NOERROR qr aa rd | 1 1 0 0", "? wWw.eXAMPLE. AAAA IN",
                   "an wWw.eXAMPLE. 300 AAAA 2001:db8::80"},
                  noerror("type_aaaa", {{"answers_static", 1}})});
  rows.push_back(
      {"without RD, with every other flag set",
       ask("www.example", type_a, 1, 0x06f0),
       {"1234 NOERROR qr aa | 1 1 0 0", "? www.example. A IN", "an www.example. 300 A 192.0.2.80"},
       noerror("type_a", {{"answers_static", 1}})});
  rows.push_back({"text",
                  ask("www.example", type_txt),
                  {"1234 NOERROR qr aa rd | 1 1 0 0", "? www.example. TXT IN",
                   "an www.example. 300 TXT \"Hello, world\""},
                  noerror("type_other", {{"answers_static", 1}})});
  rows.push_back(
      {"NS with addresses",
       ask("example", type_ns),
       {"1234 NOERROR qr aa rd | 1 2 0 3", "? example. NS IN", "an example. 300 NS ns1.example.",
        "an example. 300 NS ns2.example.", "ar ns1.example. 300 A 192.0.2.1",
        "ar ns1.example. 300 AAAA 2001:db8::1", "ar ns2.example. 300 A 192.0.2.2"},
       noerror("type_other", {{"answers_static", 1}})});
  rows.push_back(
      {"SOA",
       ask("example", type_soa),
       {"1234 NOERROR qr aa rd | 1 1 0 0", "? example. SOA IN",
        "an example. 3600 SOA ns1.example. hostmaster.example. 2026010100 7200 3600 1209600 60"},
       noerror("type_other", {{"answers_static", 1}})});
  rows.push_back({"no such name",
                  ask("nothing.example", type_a),
                  {"1234 NXDOMAIN qr aa rd | 1 0 1 0", "? nothing.example. A IN", "ns " + soa},
                  with("type_a", "rcode_nxdomain")});
  rows.push_back(
      {"no such name, far below",
       ask("a.b.c.d.e.f.g.h.nothing.example", type_a),
       {"1234 NXDOMAIN qr aa rd | 1 0 1 0", "? a.b.c.d.e.f.g.h.nothing.example. A IN", "ns " + soa},
       with("type_a", "rcode_nxdomain")});
  rows.push_back({"no such type",
                  ask("mail.example", type_aaaa),
                  {"1234 NOERROR qr aa rd | 1 0 1 0", "? mail.example. AAAA IN", "ns " + soa},
                  noerror("type_aaaa", {{"answers_nodata", 1}})});
  rows.push_back({"an empty non-terminal",
                  ask("ent.example", type_a),
                  {"1234 NOERROR qr aa rd | 1 0 1 0", "? ent.example. A IN", "ns " + soa},
                  noerror("type_a", {{"answers_nodata", 1}})});
  rows.push_back({"outside of all zones",
                  ask("www.elsewhere.net", type_a),
                  {"1234 REFUSED qr rd | 1 0 0 0", "? www.elsewhere.net. A IN"},
                  with("type_a", "rcode_refused")});
  rows.push_back({"outside, below an ancestor of ours",
                  ask("nothing.test", type_a),
                  {"1234 REFUSED qr rd | 1 0 0 0", "? nothing.test. A IN"},
                  with("type_a", "rcode_refused")});
  rows.push_back({"an ancestor of a zone",
                  ask("test", type_soa),
                  {"1234 REFUSED qr rd | 1 0 0 0", "? test. SOA IN"},
                  with("type_other", "rcode_refused")});
  rows.push_back({"the root",
                  ask(".", type_ns),
                  {"1234 REFUSED qr rd | 1 0 0 0", "? . NS IN"},
                  with("type_other", "rcode_refused")});
  rows.push_back({"a zone within a zone",
                  ask("www.child.example", type_a),
                  {"1234 NOERROR qr aa rd | 1 1 0 0", "? www.child.example. A IN",
                   "an www.child.example. 40 A 203.0.113.81"},
                  noerror("type_a", {{"answers_static", 1}})});
  rows.push_back({"a zone within a zone, no such name",
                  ask("x.child.example", type_a),
                  {"1234 NXDOMAIN qr aa rd | 1 0 1 0", "? x.child.example. A IN",
                   "ns child.example. 40 SOA ns1.example. h.example. 1 2 3 4 50"},
                  with("type_a", "rcode_nxdomain")});
  rows.push_back({"ANY gets one RRset (RFC 8482)",
                  ask("www.example", type_any),
                  {"1234 NOERROR qr aa rd | 1 1 0 0", "? www.example. ANY IN",
                   "an www.example. 300 A 192.0.2.80"},
                  noerror("type_other", {{"answers_static", 1}})});
  rows.push_back({"ANY at an empty non-terminal",
                  ask("ent.example", type_any),
                  {"1234 NOERROR qr aa rd | 1 0 1 0", "? ent.example. ANY IN", "ns " + soa},
                  noerror("type_other", {{"answers_nodata", 1}})});
  return rows;
}

std::vector<Row> wildcard_rows() {
  std::vector<Row> rows;
  rows.push_back({"a wildcard",
                  ask("any.wild.example", type_a),
                  {"1234 NOERROR qr aa rd | 1 1 0 0", "? any.wild.example. A IN",
                   "an any.wild.example. 300 A 192.0.2.99"},
                  noerror("type_a", {{"answers_static", 1}, {"answers_wildcard", 1}})});
  rows.push_back(
      {"a wildcard, several labels, with addresses of its target",
       ask("a.b.wild.example", type_mx),
       {"1234 NOERROR qr aa rd | 1 1 0 1", "? a.b.wild.example. MX IN",
        "an a.b.wild.example. 300 MX 5 mail.example.", "ar mail.example. 300 A 192.0.2.25"},
       noerror("type_other", {{"answers_static", 1}, {"answers_wildcard", 1}})});
  rows.push_back({"the wildcard itself",
                  ask("*.wild.example", type_a),
                  {"1234 NOERROR qr aa rd | 1 1 0 0", "? *.wild.example. A IN",
                   "an *.wild.example. 300 A 192.0.2.99"},
                  noerror("type_a", {{"answers_static", 1}})});
  rows.push_back({"no such type at a wildcard",
                  ask("any.wild.example", type_aaaa),
                  {"1234 NOERROR qr aa rd | 1 0 1 0", "? any.wild.example. AAAA IN", "ns " + soa},
                  noerror("type_aaaa", {{"answers_nodata", 1}, {"answers_wildcard", 1}})});
  rows.push_back({"a name that exists hides the wildcard (RFC 4592, 2.2.1)",
                  ask("some.wild.example", type_a),
                  {"1234 NOERROR qr aa rd | 1 0 1 0", "? some.wild.example. A IN", "ns " + soa},
                  noerror("type_a", {{"answers_nodata", 1}})});
  rows.push_back(
      {"... and for what is below it",
       ask("other.some.wild.example", type_a),
       {"1234 NXDOMAIN qr aa rd | 1 0 1 0", "? other.some.wild.example. A IN", "ns " + soa},
       with("type_a", "rcode_nxdomain")});
  rows.push_back(
      {"a wildcard CNAME",
       ask("any.wc.example", type_a),
       {"1234 NOERROR qr aa rd | 1 2 0 0", "? any.wc.example. A IN",
        "an any.wc.example. 300 CNAME www.example.", "an www.example. 300 A 192.0.2.80"},
       noerror("type_a",
               {{"answers_static", 1}, {"answers_wildcard", 1}, {"answers_chained", 1}})});
  rows.push_back({"a wildcard CNAME asked for",
                  ask("any.wc.example", type_cname),
                  {"1234 NOERROR qr aa rd | 1 1 0 0", "? any.wc.example. CNAME IN",
                   "an any.wc.example. 300 CNAME www.example."},
                  noerror("type_other", {{"answers_static", 1}, {"answers_wildcard", 1}})});
  rows.push_back({"the closer of two wildcards",
                  ask("any.deep.wc.example", type_a),
                  {"1234 NOERROR qr aa rd | 1 1 0 0", "? any.deep.wc.example. A IN",
                   "an any.deep.wc.example. 300 A 192.0.2.98"},
                  noerror("type_a", {{"answers_static", 1}, {"answers_wildcard", 1}})});
  return rows;
}

std::vector<Row> chain_rows() {
  std::vector<Row> rows;
  rows.push_back({"an alias",
                  ask("alias.example", type_a),
                  {"1234 NOERROR qr aa rd | 1 2 0 0", "? alias.example. A IN",
                   "an alias.example. 600 CNAME www.example.", "an www.example. 300 A 192.0.2.80"},
                  noerror("type_a", {{"answers_static", 1}, {"answers_chained", 1}})});
  rows.push_back({"an alias asked for",
                  ask("alias.example", type_cname),
                  {"1234 NOERROR qr aa rd | 1 1 0 0", "? alias.example. CNAME IN",
                   "an alias.example. 600 CNAME www.example."},
                  noerror("type_other", {{"answers_static", 1}})});
  rows.push_back({"ANY of an alias",
                  ask("alias.example", type_any),
                  {"1234 NOERROR qr aa rd | 1 1 0 0", "? alias.example. ANY IN",
                   "an alias.example. 600 CNAME www.example."},
                  noerror("type_other", {{"answers_static", 1}})});
  rows.push_back({"an alias of an alias; no such type at its end",
                  ask("alias2.example", type_mx),
                  {"1234 NOERROR qr aa rd | 1 2 1 0", "? alias2.example. MX IN",
                   "an alias2.example. 300 CNAME Alias.example.",
                   "an Alias.example. 600 CNAME www.example.", "ns " + soa},
                  noerror("type_other", {{"answers_nodata", 1}, {"answers_chained", 2}})});
  rows.push_back(
      {"into another zone of ours",
       ask("across.example", type_a),
       {"1234 NOERROR qr aa rd | 1 2 0 0", "? across.example. A IN",
        "an across.example. 300 CNAME www.other.test.", "an www.other.test. 30 A 203.0.113.80"},
       noerror("type_a", {{"answers_static", 1}, {"answers_chained", 1}})});
  rows.push_back({"out of our zones",
                  ask("outside.example", type_a),
                  {"1234 NOERROR qr aa rd | 1 1 0 0", "? outside.example. A IN",
                   "an outside.example. 300 CNAME www.elsewhere.net."},
                  noerror("type_a", {{"answers_chained", 1}})});
  rows.push_back({"the RCODE of the last name (RFC 6604)",
                  ask("dangling.example", type_a),
                  {"1234 NXDOMAIN qr aa rd | 1 1 1 0", "? dangling.example. A IN",
                   "an dangling.example. 300 CNAME nothing.example.", "ns " + soa},
                  with("type_a", "rcode_nxdomain", {{"answers_chained", 1}})});
  rows.push_back(
      {"a chain into a delegation",
       ask("intocut.example", type_a),
       {"1234 NOERROR qr aa rd | 1 1 2 1", "? intocut.example. A IN",
        "an intocut.example. 300 CNAME host.cut.example.", "ns cut.example. 300 NS ns.cut.example.",
        "ns cut.example. 300 NS ns.elsewhere.net.", "ar ns.cut.example. 300 A 192.0.2.53"},
       noerror("type_a", {{"answers_referral", 1}, {"answers_chained", 1}})});
  rows.push_back(
      {"a loop ends",
       ask("loop1.example", type_a),
       {"1234 NOERROR qr aa rd | 1 2 0 0", "? loop1.example. A IN",
        "an loop1.example. 300 CNAME loop2.example.", "an loop2.example. 300 CNAME loop1.example."},
       noerror("type_a", {{"answers_chained", 2}})});
  Lines sixteen{"1234 NOERROR qr aa rd | 1 16 0 0", "? c1.example. A IN"};
  for (int i = 1; i < 16; ++i) {
    sixteen.push_back("an c" + std::to_string(i) + ".example. 300 CNAME c" + std::to_string(i + 1) +
                      ".example.");
  }
  sixteen.push_back("an c16.example. 300 A 192.0.2.16");
  auto row =
      Row{"fifteen steps", ask("c1.example", type_a), sixteen,
          noerror("type_a", {{"answers_static", 1}, {"answers_chained", 15}, {"queries_tcp", 1}})};
  row.transport = Transport::tcp;
  rows.push_back(row);
  Lines cut{"1234 NOERROR qr aa rd | 1 16 0 0", "? d1.example. A IN"};
  for (int i = 1; i < 17; ++i) {
    cut.push_back("an d" + std::to_string(i) + ".example. 300 CNAME d" + std::to_string(i + 1) +
                  ".example.");
  }
  row = Row{"no more than sixteen", ask("d1.example", type_a), cut,
            noerror("type_a", {{"answers_chained", 16}, {"queries_tcp", 1}})};
  row.transport = Transport::tcp;
  rows.push_back(row);
  rows.push_back(
      {"DNAME",
       ask("x.dn.example", type_a),
       {"1234 NOERROR qr aa rd | 1 3 0 0", "? x.dn.example. A IN",
        "an dn.example. 300 DNAME target.example.", "an x.dn.example. 300 CNAME x.target.example.",
        "an x.target.example. 300 A 192.0.2.77"},
       noerror("type_a", {{"answers_static", 1}, {"answers_chained", 1}})});
  rows.push_back({"DNAME keeps the labels below it, in their case",
                  ask("No.Such.dn.example", type_a),
                  {"1234 NXDOMAIN qr aa rd | 1 2 1 0", "? No.Such.dn.example. A IN",
                   "an dn.example. 300 DNAME target.example.",
                   "an No.Such.dn.example. 300 CNAME No.Such.target.example.", "ns " + soa},
                  with("type_a", "rcode_nxdomain", {{"answers_chained", 1}})});
  rows.push_back(
      {"DNAME through a CNAME and the same DNAME again",
       ask("y.dn.example", type_a),
       {"1234 NOERROR qr aa rd | 1 5 0 0", "? y.dn.example. A IN",
        "an dn.example. 300 DNAME target.example.", "an y.dn.example. 300 CNAME y.target.example.",
        "an y.target.example. 300 CNAME x.dn.example.",
        "an x.dn.example. 300 CNAME x.target.example.", "an x.target.example. 300 A 192.0.2.77"},
       noerror("type_a", {{"answers_static", 1}, {"answers_chained", 3}})});
  rows.push_back({"a DNAME's owner has no A",
                  ask("dn.example", type_a),
                  {"1234 NOERROR qr aa rd | 1 0 1 0", "? dn.example. A IN", "ns " + soa},
                  noerror("type_a", {{"answers_nodata", 1}})});
  rows.push_back({"DNAME asked for",
                  ask("dn.example", type_dname),
                  {"1234 NOERROR qr aa rd | 1 1 0 0", "? dn.example. DNAME IN",
                   "an dn.example. 300 DNAME target.example."},
                  noerror("type_other", {{"answers_static", 1}})});
  rows.push_back(
      {"CNAME below a DNAME asked for",
       ask("x.dn.example", type_cname),
       {"1234 NOERROR qr aa rd | 1 2 0 0", "? x.dn.example. CNAME IN",
        "an dn.example. 300 DNAME target.example.", "an x.dn.example. 300 CNAME x.target.example."},
       noerror("type_other", {})});
  const std::string sixty(60, 'z');
  const std::string tail =
      std::string(63, 'a') + "." + std::string(63, 'b') + "." + std::string(63, 'c') + ".example.";
  rows.push_back({"a name that DNAME makes too long",
                  ask(sixty + ".long.example", type_a),
                  {"1234 YXDOMAIN qr aa rd | 1 1 0 0", "? " + sixty + ".long.example. A IN",
                   "an long.example. 300 DNAME " + tail},
                  with("type_a", "rcode_yxdomain")});
  const std::string longest = std::string(52, 'z');  // 1 + 52 + 201 + 1 = 255 with the root
  rows.push_back(
      {"the longest name that DNAME makes",
       ask(longest + ".long.example", type_a),
       {"1234 NXDOMAIN qr aa rd | 1 2 1 0", "? " + longest + ".long.example. A IN",
        "an long.example. 300 DNAME " + tail,
        "an " + longest + ".long.example. 300 CNAME " + longest + "." + tail, "ns " + soa},
       with("type_a", "rcode_nxdomain", {{"answers_chained", 1}, {"queries_tcp", 1}})});
  rows.back().transport = Transport::tcp;
  return rows;
}

std::vector<Row> cut_rows() {
  std::vector<Row> rows;
  const Lines authority{"ns cut.example. 300 NS ns.cut.example.",
                        "ns cut.example. 300 NS ns.elsewhere.net.",
                        "ar ns.cut.example. 300 A 192.0.2.53"};
  const auto referral = [&](const char* what, const std::string& name, unsigned type,
                            const char* type_name, const char* counter) {
    Lines lines{"1234 NOERROR qr rd | 1 0 2 1", "? " + name + ". " + type_name + " IN"};
    lines.insert(lines.end(), authority.begin(), authority.end());
    rows.push_back({what, ask(name, type), lines, noerror(counter, {{"answers_referral", 1}})});
  };
  referral("at a delegation", "cut.example", type_a, "A", "type_a");
  referral("NS at a delegation", "cut.example", type_ns, "NS", "type_other");
  referral("below a delegation", "a.b.cut.example", type_a, "A", "type_a");
  referral("glue is not ours to answer", "ns.cut.example", type_a, "A", "type_a");
  referral("DS below a delegation", "x.cut.example", type_ds, "DS", "type_other");
  rows.push_back(
      {"DS at a delegation",
       ask("cut.example", type_ds),
       {"1234 NOERROR qr aa rd | 1 1 0 0", "? cut.example. DS IN",
        "an cut.example. 300 DS 30390d02" +
            std::string("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")},
       noerror("type_other", {{"answers_static", 1}})});
  rows.push_back({"no DS at a delegation",
                  ask("plaincut.example", type_ds),
                  {"1234 NOERROR qr aa rd | 1 0 1 0", "? plaincut.example. DS IN", "ns " + soa},
                  noerror("type_other", {{"answers_nodata", 1}})});
  rows.push_back({"a delegation to servers elsewhere",
                  ask("x.plaincut.example", type_a),
                  {"1234 NOERROR qr rd | 1 0 1 0", "? x.plaincut.example. A IN",
                   "ns plaincut.example. 300 NS ns.elsewhere.net."},
                  noerror("type_a", {{"answers_referral", 1}})});
  rows.push_back({"no DS at an apex of ours, said by the parent",
                  ask("child.example", type_ds),
                  {"1234 NOERROR qr aa rd | 1 0 1 0", "? child.example. DS IN", "ns " + soa},
                  noerror("type_other", {{"answers_nodata", 1}})});
  return rows;
}

std::vector<Row> ranked_rows() {
  std::vector<Row> rows;
  const auto ranked = [&](const char* what, const std::string& source, Lines answers) {
    Lines lines{"1234 NOERROR qr aa rd | 1 " + std::to_string(answers.size()) + " 0 0",
                "? svc.example. A IN"};
    lines.insert(lines.end(), answers.begin(), answers.end());
    rows.push_back({what, ask("svc.example", type_a), lines,
                    noerror("type_a", {{"answers_ranked", 1}}), source});
  };
  ranked("everyone", "192.0.2.200",
         {"an svc.example. 20 A 10.0.0.1", "an svc.example. 20 A 10.0.0.2"});
  ranked("a locale", "198.51.100.9",
         {"an svc.example. 15 A 10.0.1.1", "an svc.example. 15 A 10.0.0.2"});
  ranked("the longest prefix", "203.0.113.77", {"an svc.example. 5 A 10.0.9.9"});
  ranked("its neighbour", "203.0.113.78",
         {"an svc.example. 15 A 10.0.1.1", "an svc.example. 15 A 10.0.0.2"});
  ranked("a locale of IPv6", "2001:db8:e123::1",
         {"an svc.example. 15 A 10.0.1.1", "an svc.example. 15 A 10.0.0.2"});
  ranked("IPv6 elsewhere", "2001:db8:f123::1",
         {"an svc.example. 20 A 10.0.0.1", "an svc.example. 20 A 10.0.0.2"});
  rows.push_back({"the other family",
                  ask("SVC.example", type_aaaa),
                  {"1234 NOERROR qr aa rd | 1 1 0 0", "? SVC.example. AAAA IN",
                   "an SVC.example. 20 AAAA 2001:db8:5::1"},
                  noerror("type_aaaa", {{"answers_ranked", 1}})});
  rows.push_back({"static data beside the ranking",
                  ask("svc.example", type_txt),
                  {"1234 NOERROR qr aa rd | 1 1 0 0", "? svc.example. TXT IN",
                   "an svc.example. 300 TXT \"static beside ranked\""},
                  noerror("type_other", {{"answers_static", 1}})});
  rows.push_back({"a pool that answers nothing",
                  ask("closed.example", type_a),
                  {"1234 NOERROR qr aa rd | 1 0 1 0", "? closed.example. A IN", "ns " + soa},
                  noerror("type_a", {{"answers_nodata", 1}})});
  rows.push_back({"ranked at a wildcard",
                  ask("a.svcs.example", type_a),
                  {"1234 NOERROR qr aa rd | 1 2 0 0", "? a.svcs.example. A IN",
                   "an a.svcs.example. 20 A 10.0.0.1", "an a.svcs.example. 20 A 10.0.0.2"},
                  noerror("type_a", {{"answers_ranked", 1}, {"answers_wildcard", 1}})});
  rows.push_back({"ranked at the end of a chain",
                  ask("tosvc.example", type_a),
                  {"1234 NOERROR qr aa rd | 1 3 0 0", "? tosvc.example. A IN",
                   "an tosvc.example. 300 CNAME svc.example.", "an svc.example. 15 A 10.0.1.1",
                   "an svc.example. 15 A 10.0.0.2"},
                  noerror("type_a", {{"answers_ranked", 1}, {"answers_chained", 1}}),
                  "198.51.100.77"});
  return rows;
}

std::vector<Row> edns_rows() {
  std::vector<Row> rows;
  const Lines www{"? www.example. A IN", "an www.example. 300 A 192.0.2.80"};
  const auto reply = [](const char* head, Lines body, const std::string& opt) {
    body.insert(body.begin(), head);
    if (!opt.empty()) body.push_back(opt);
    return body;
  };
  const auto good = [&](const char* what, const Edns& edns, const std::string& opt,
                        Counts more = {}) {
    more.merge(Counts{{"answers_static", 1}, {"queries_edns", 1}});
    rows.push_back({what, ask("www.example", type_a, edns),
                    reply("1234 NOERROR qr aa rd | 1 1 0 1", www, opt), noerror("type_a", more)});
  };
  good("a plain OPT", {}, "opt 1232");
  good("DO is copied", {.dnssec_ok = true}, "opt 1232 do");
  good("an unknown option", {.options = option(65001, hex("0102"))}, "opt 1232");
  good("NSID", {.options = option(3, {})}, "opt 1232 | 3:706f7031");
  good("cookie: a new one", {.options = option(10, hex("2464c4abcf10c957"))},
       "opt 1232 | 10:2464c4abcf10c957010000006553f100"
       "946c44275e2f9320");
  good("cookie: a wrong one", {.options = option(10, hex("2464c4abcf10c957 0102030405060708"))},
       "opt 1232 | 10:2464c4abcf10c957010000006553f100"
       "946c44275e2f9320",
       {{"queries_cookie_invalid", 1}});
  good("client subnet of a static answer: scope 0",
       {.options = option(8, hex("0001 18 00 c63364"))}, "opt 1232 | 8:00011800c63364",
       {{"queries_ecs", 1}});
  good("client subnet that says nothing", {.options = option(8, hex("0001 00 00"))},
       "opt 1232 | 8:00010000", {{"queries_ecs", 1}});
  good("client subnet of family 0", {.options = option(8, hex("0000 00 00"))},
       "opt 1232 | 8:00000000", {{"queries_ecs", 1}});
  Octets several = option(3, {});
  put(several, option(8, hex("0002 38 00 20010db8e00001")));
  put(several, option(10, hex("2464c4abcf10c957")));
  good("several options", {.options = several},
       "opt 1232 | 3:706f7031 | 8:0002380020010db8e00001 | 10:2464c4abcf10c957010000006553f100"
       "946c44275e2f9320",
       {{"queries_ecs", 1}});

  const auto subnet = [&](const char* what, const std::string& name, const Octets& option_content,
                          Lines answers, const std::string& echoed,
                          const std::string& source = "192.0.2.200") {
    Lines body{"? " + name + ". A IN"};
    for (const auto& answer : answers) body.push_back("an " + name + ". " + answer);
    const auto head = "1234 NOERROR qr aa rd | 1 " + std::to_string(answers.size()) + " 0 1";
    rows.push_back(
        {what, ask(name, type_a, {.options = option(8, option_content)}),
         reply(head.c_str(), body, "opt 1232 | 8:" + echoed),
         noerror("type_a", {{"answers_ranked", 1}, {"queries_edns", 1}, {"queries_ecs", 1}}),
         source});
  };
  subnet("a locale by its subnet", "svc.example", hex("0001 18 00 c63364"),
         {"15 A 10.0.1.1", "15 A 10.0.0.2"}, "00011818c63364");
  subnet("scope is that of the locale's block", "svc.example", hex("0001 18 00 cb0070"),
         {"15 A 10.0.1.1", "15 A 10.0.0.2"}, "00011818cb0070");
  subnet("a wide block of everyone else", "svc.example", hex("0001 18 00 0a0000"),
         {"20 A 10.0.0.1", "20 A 10.0.0.2"}, "000118010a0000");
  subnet("IPv6 subnet", "svc.example", hex("0002 38 00 20010db8e00001"),
         {"15 A 10.0.1.1", "15 A 10.0.0.2"}, "0002382420010db8e00001");
  subnet("a short source length, a longer scope", "svc.example", hex("0001 10 00 c633"),
         {"20 A 10.0.0.1", "20 A 10.0.0.2"}, "00011012c633");
  subnet("source length 0: the packet's source, scope 0", "svc.example", hex("0001 00 00"),
         {"15 A 10.0.1.1", "15 A 10.0.0.2"}, "00010000", "198.51.100.9");
  subnet("a full address: the scope ends at /24", "svc.example", hex("0001 20 00 cb00714d"),
         {"5 A 10.0.9.9"}, "00012018cb00714d");

  const auto formerr = [&](const char* what, const Octets& options, bool subnet_seen = false,
                           bool cookie_seen = false) {
    Counts counts = with("type_a", "rcode_formerr", {{"queries_edns", 1}});
    std::string opt = "opt 1232";
    if (subnet_seen) counts["queries_ecs"] = 1;
    static_cast<void>(cookie_seen);
    rows.push_back({what, ask("www.example", type_a, {.options = options}),
                    reply("1234 FORMERR qr rd | 1 0 0 1", {"? www.example. A IN"}, opt), counts});
  };
  formerr("ECS shorter than its head", option(8, hex("0001 18")));
  formerr("ECS of family 3", option(8, hex("0003 00 00")));
  formerr("ECS of family 0 with a length", option(8, hex("0000 08 00 0a")));
  formerr("ECS with scope", option(8, hex("0001 18 18 c63364")));
  formerr("ECS longer than IPv4", option(8, hex("0001 21 00 c633640000")));
  formerr("ECS longer than IPv6", option(8, hex("0002 81 00 20010db8000000000000000000000000 00")));
  formerr("ECS with an octet too few", option(8, hex("0001 18 00 c633")));
  formerr("ECS with an octet too many", option(8, hex("0001 18 00 c6336400")));
  formerr("ECS with bits behind its length", option(8, hex("0001 17 00 c63365")));
  formerr("cookie of 7 bytes", option(10, hex("01020304050607")));
  formerr("cookie of 9 bytes", option(10, hex("010203040506070809")));
  formerr("cookie of 15 bytes", option(10, Octets(15)));
  formerr("cookie of 41 bytes", option(10, Octets(41)));
  formerr("an option longer than OPT", hex("fde9 0003 0102"));
  formerr("an option without a length", hex("fde9 00"));

  rows.push_back({"version 1",
                  ask("www.example", type_a, {.version = 1}),
                  {"1234 BADVERS qr rd | 1 0 0 1", "? www.example. A IN", "opt 1232"},
                  with("type_a", "rcode_badvers", {{"queries_edns", 1}})});
  rows.push_back(
      {"an extended error outside of our zones",
       ask("www.elsewhere.net", type_a, Edns{}),
       {"1234 REFUSED qr rd | 1 0 0 1", "? www.elsewhere.net. A IN", "opt 1232 | 15:0014"},
       with("type_a", "rcode_refused", {{"queries_edns", 1}})});
  auto row = Row{"ECS switched off",
                 ask("svc.example", type_a, {.options = option(8, hex("0001 18 00 c63364"))}),
                 {"1234 NOERROR qr aa rd | 1 2 0 1", "? svc.example. A IN",
                  "an svc.example. 20 A 10.0.0.1", "an svc.example. 20 A 10.0.0.2", "opt 1232"},
                 noerror("type_a", {{"answers_ranked", 1}, {"queries_edns", 1}})};
  row.options.ecs_enabled = false;
  rows.push_back(row);
  row = Row{"no NSID where none is set", ask("www.example", type_a, {.options = option(3, {})}),
            reply("1234 NOERROR qr aa rd | 1 1 0 1", www, "opt 1232"),
            noerror("type_a", {{"answers_static", 1}, {"queries_edns", 1}})};
  row.options.nsid.clear();
  rows.push_back(row);
  return rows;
}

std::vector<Row> size_rows() {
  std::vector<Row> rows;
  Lines big;
  for (int i = 0; i < 40; ++i) big.push_back("an big.example. 300 A 198.18.0." + std::to_string(i));
  const Lines truncated{"1234 NOERROR qr aa tc rd | 1 0 0 0", "? big.example. A IN"};
  const auto whole = [&](const char* head, const char* opt) {
    Lines lines{head, "? big.example. A IN"};
    lines.insert(lines.end(), big.begin(), big.end());
    if (opt != nullptr) lines.push_back(opt);
    return lines;
  };
  // 12 + 17 + 40 * 16 = 669 bytes
  rows.push_back({"too large without EDNS", ask("big.example", type_a), truncated,
                  noerror("type_a", {{"answers_static", 1}, {"answers_truncated", 1}})});
  auto row = Row{"no limit but the buffer over TCP", ask("big.example", type_a),
                 whole("1234 NOERROR qr aa rd | 1 40 0 0", nullptr),
                 noerror("type_a", {{"answers_static", 1}, {"queries_tcp", 1}})};
  row.transport = Transport::tcp;
  rows.push_back(row);
  rows.push_back({"fits with EDNS", ask("big.example", type_a, Edns{.payload = 680}),
                  whole("1234 NOERROR qr aa rd | 1 40 0 1", "opt 1232"),
                  noerror("type_a", {{"answers_static", 1}, {"queries_edns", 1}})});
  rows.push_back(
      {"one byte too small",
       ask("big.example", type_a, Edns{.payload = 679}),
       {"1234 NOERROR qr aa tc rd | 1 0 0 1", "? big.example. A IN", "opt 1232"},
       noerror("type_a", {{"answers_static", 1}, {"queries_edns", 1}, {"answers_truncated", 1}})});
  row = Row{
      "our own limit counts too",
      ask("big.example", type_a, Edns{.payload = 4096}),
      {"1234 NOERROR qr aa tc rd | 1 0 0 1", "? big.example. A IN", "opt 600"},
      noerror("type_a", {{"answers_static", 1}, {"queries_edns", 1}, {"answers_truncated", 1}})};
  row.options.udp_payload_max_bytes = 600;
  rows.push_back(row);
  row = Row{
      "so does the buffer",
      ask("big.example", type_a, Edns{}),
      {"1234 NOERROR qr aa tc rd | 1 0 0 1", "? big.example. A IN", "opt 1232"},
      noerror("type_a", {{"answers_static", 1}, {"queries_edns", 1}, {"answers_truncated", 1}})};
  row.capacity = 679;
  rows.push_back(row);
  rows.push_back({"a size below 512 means 512",
                  ask("www.example", type_a, Edns{.payload = 0}),
                  {"1234 NOERROR qr aa rd | 1 1 0 1", "? www.example. A IN",
                   "an www.example. 300 A 192.0.2.80", "opt 1232"},
                  noerror("type_a", {{"answers_static", 1}, {"queries_edns", 1}})});
  Lines mx{"1234 NOERROR qr aa rd | 1 8 0 0", "? mxs.example. MX IN"};
  for (int i = 0; i < 8; ++i) {
    mx.push_back("an mxs.example. 300 MX " + std::to_string(i) + " mx" + std::to_string(i) +
                 ".hosts.example.");
  }
  rows.push_back({"addresses of targets are left out first", ask("mxs.example", type_mx), mx,
                  noerror("type_other", {{"answers_static", 1}})});
  row = Row{"an answer of two kilobytes",
            ask("huge.example", type_txt),
            {},
            noerror("type_other", {{"answers_static", 1}, {"queries_tcp", 1}})};
  row.transport = Transport::tcp;
  row.capacity = 4000;
  std::string text = "an huge.example. 300 TXT";
  for (int i = 0; i < 12; ++i) text += " \"" + std::string(200, static_cast<char>('a' + i)) + "\"";
  row.reply = {"1234 NOERROR qr aa rd | 1 1 0 0", "? huge.example. TXT IN", text};
  rows.push_back(row);
  row = Row{"not even the question fits",
            ask("www.example", type_a),
            {},
            {{"answers_static", 1}, {"drop_no_room", 1}}};
  row.capacity = 28;
  rows.push_back(row);
  row = Row{"a denial does not fit: truncated",
            ask("nothing.example", type_a),
            {"1234 NXDOMAIN qr aa tc rd | 1 0 0 0", "? nothing.example. A IN"},
            with("type_a", "rcode_nxdomain", {{"answers_truncated", 1}})};
  row.capacity = 60;
  rows.push_back(row);
  return rows;
}

std::vector<Row> refused_rows() {
  std::vector<Row> rows;
  const auto error = [&](const char* what, const Octets& request, const char* head,
                         const char* question, Counts counts) {
    Lines lines{head};
    if (question != nullptr) lines.push_back(std::string("? ") + question);
    rows.push_back({what, request, lines, std::move(counts)});
  };
  error("zone transfer", ask("example", 252), "1234 REFUSED qr rd | 1 0 0 0", "example. TYPE252 IN",
        with("type_other", "rcode_refused"));
  Octets ixfr = ask("example", 251);
  ixfr[9] = std::byte{1};
  put(ixfr, hex("c00c 0006 0001 00000000 0016 00 00 00000001 00000000 00000000 00000000 00000000"));
  error("incremental transfer with its SOA", ixfr, "1234 REFUSED qr rd | 1 0 0 0",
        "example. TYPE251 IN", with("type_other", "rcode_refused"));
  error("TSIG as a type", ask("www.example", 250), "1234 NOTIMP qr rd | 1 0 0 0",
        "www.example. TYPE250 IN", with("type_other", "rcode_notimp"));
  error("TKEY as a type", ask("www.example", 249), "1234 NOTIMP qr rd | 1 0 0 0",
        "www.example. TYPE249 IN", with("type_other", "rcode_notimp"));
  error("MAILA", ask("www.example", 254), "1234 NOTIMP qr rd | 1 0 0 0", "www.example. TYPE254 IN",
        with("type_other", "rcode_notimp"));
  error("MAILB", ask("www.example", 253), "1234 NOTIMP qr rd | 1 0 0 0", "www.example. TYPE253 IN",
        with("type_other", "rcode_notimp"));
  error("OPT as a type", ask("www.example", 41), "1234 FORMERR qr rd | 1 0 0 0",
        "www.example. OPT IN", with("type_other", "rcode_formerr"));
  error("class ANY", ask("www.example", 1, 255), "1234 REFUSED qr rd | 1 0 0 0",
        "www.example. A CLASS255", with("type_a", "rcode_refused"));
  error("class HS", ask("www.example", 1, 4), "1234 REFUSED qr rd | 1 0 0 0",
        "www.example. A CLASS4", with("type_a", "rcode_refused"));
  error("opcode NOTIFY", ask("www.example", 6, 1, 0x2000), "1234 NOTIMP opcode4 qr | 0 0 0 0",
        nullptr, {{"rcode_notimp", 1}});
  error("opcode UPDATE", ask("www.example", 6, 1, 0x2900), "1234 NOTIMP opcode5 qr rd | 0 0 0 0",
        nullptr, {{"rcode_notimp", 1}});

  const auto counts_changed = [&](std::size_t at, unsigned value, const Octets& more = {}) {
    Octets request = ask("www.example", type_a);
    request[at] = static_cast<std::byte>(value);
    put(request, more);
    return request;
  };
  const Counts formerr = with("type_a", "rcode_formerr");
  error("no question", counts_changed(5, 0), "1234 FORMERR qr rd | 0 0 0 0", nullptr,
        {{"rcode_formerr", 1}});
  error("two questions (RFC 9619)", counts_changed(5, 2), "1234 FORMERR qr rd | 0 0 0 0", nullptr,
        {{"rcode_formerr", 1}});
  error("an answer in a query", counts_changed(7, 1), "1234 FORMERR qr rd | 1 0 0 0",
        "www.example. A IN", formerr);
  error("authority in a query", counts_changed(9, 1), "1234 FORMERR qr rd | 1 0 0 0",
        "www.example. A IN", formerr);
  error("additional records that are not there", counts_changed(11, 1),
        "1234 FORMERR qr rd | 1 0 0 0", "www.example. A IN", formerr);
  error("bytes behind the question", counts_changed(11, 0, hex("00")),
        "1234 FORMERR qr rd | 1 0 0 0", "www.example. A IN", formerr);
  const Octets stray = hex("c00c 0001 0001 00000000 0004 c0000201");
  Octets five;
  for (int i = 0; i < 5; ++i) put(five, stray);
  error("five additional records", counts_changed(11, 5, five), "1234 FORMERR qr rd | 1 0 0 0",
        "www.example. A IN", formerr);
  Octets opt;
  put_opt(opt, {});
  Octets two = opt;
  put(two, opt);
  rows.push_back({"two OPT records",
                  counts_changed(11, 2, two),
                  {"1234 FORMERR qr rd | 1 0 0 1", "? www.example. A IN", "opt 1232"},
                  with("type_a", "rcode_formerr", {{"queries_edns", 1}})});
  Octets named = hex("c00c");
  named.insert(named.end(), opt.begin() + 1, opt.end());
  error("OPT with a name", counts_changed(11, 1, named), "1234 FORMERR qr rd | 1 0 0 0",
        "www.example. A IN", formerr);
  Octets stray_and_opt = stray;
  put(stray_and_opt, opt);
  rows.push_back({"OPT behind a stray record",
                  counts_changed(11, 2, stray_and_opt),
                  {"1234 NOERROR qr aa rd | 1 1 0 1", "? www.example. A IN",
                   "an www.example. 300 A 192.0.2.80", "opt 1232"},
                  noerror("type_a", {{"answers_static", 1}, {"queries_edns", 1}})});
  Octets pointer = header(0x1234, 0x0100, {1, 0, 0, 0});
  put(pointer, hex("03777777 c00c 0001 0001"));
  error("a pointer in the question", pointer, "1234 FORMERR qr rd | 0 0 0 0", nullptr,
        {{"rcode_formerr", 1}});
  Octets label = header(0x1234, 0x0100, {1, 0, 0, 0});
  put(label, hex("40"));
  put(label, Octets(64, std::byte{'a'}));
  put(label, hex("00 0001 0001"));
  error("a label of 64", label, "1234 FORMERR qr rd | 0 0 0 0", nullptr, {{"rcode_formerr", 1}});
  Octets name256 = header(0x1234, 0x0100, {1, 0, 0, 0});
  for (int i = 0; i < 127; ++i) put(name256, hex("0161"));
  put(name256, hex("0161 00 0001 0001"));
  error("a name of 257", name256, "1234 FORMERR qr rd | 0 0 0 0", nullptr, {{"rcode_formerr", 1}});
  rows.push_back(
      {"a response", ask("www.example", type_a, 1, 0x8000), {}, {{"drop_dns_response", 1}}});
  rows.push_back({"eleven bytes", Octets(11), {}, {{"drop_dns_short", 1}}});
  rows.push_back({"nothing", {}, {}, {{"drop_dns_short", 1}}});

  // A label with a zero octet in it ends no name: "www" . "ex\000mple" and so on must not be mistaken.
  Octets zero = header(0x1234, 0x0100, {1, 0, 0, 0});
  put(zero, hex("03 777700 07 6578616d706c65 00 0001 0001"));
  rows.push_back({"a zero octet in a label",
                  zero,
                  {"1234 NXDOMAIN qr aa rd | 1 0 1 0", "? ww\\000.example. A IN", "ns " + soa},
                  with("type_a", "rcode_nxdomain")});

  rows.push_back({"version.bind",
                  ask("VERSION.bind", type_txt, 3),
                  {"1234 NOERROR qr aa rd | 1 1 0 0", "? VERSION.bind. TXT CH",
                   "an VERSION.bind. 0 CH TXT \"pharos\""},
                  with("type_other", "rcode_noerror")});
  error("id.server, not configured", ask("id.server", type_txt, 3), "1234 REFUSED qr rd | 1 0 0 0",
        "id.server. TXT CH", with("type_other", "rcode_refused"));
  error("class CH, another name", ask("www.example", type_txt, 3), "1234 REFUSED qr rd | 1 0 0 0",
        "www.example. TXT CH", with("type_other", "rcode_refused"));
  error("class CH, another type", ask("version.bind", type_a, 3), "1234 REFUSED qr rd | 1 0 0 0",
        "version.bind. A CH", with("type_a", "rcode_refused"));
  return rows;
}

class QueryTest : public testing::TestWithParam<Row> {};

void expect_sum(const Reply& reply) {
  const auto expected = static_cast<std::uint16_t>(internet_sum(reply.message));
  EXPECT_EQ(byte_swap(reply.checksum) % 0xffff, expected % 0xffff);
}

TEST_P(QueryTest, IsAnswered) {
  const Row& row = GetParam();
  const Reply reply = serve(row);
  if (row.reply.empty()) {
    EXPECT_NE(reply.verdict, Verdict::answered);
  } else {
    EXPECT_EQ(MessageText::of(reply.message), row.reply) << hex_text(reply.message);
    expect_sum(reply);
  }
  EXPECT_EQ(moved(reply.counters), row.counts);
}

INSTANTIATE_TEST_SUITE_P(Answers, QueryTest, testing::ValuesIn(answer_rows()));
INSTANTIATE_TEST_SUITE_P(Wildcards, QueryTest, testing::ValuesIn(wildcard_rows()));
INSTANTIATE_TEST_SUITE_P(Chains, QueryTest, testing::ValuesIn(chain_rows()));
INSTANTIATE_TEST_SUITE_P(Cuts, QueryTest, testing::ValuesIn(cut_rows()));
INSTANTIATE_TEST_SUITE_P(Ranked, QueryTest, testing::ValuesIn(ranked_rows()));
INSTANTIATE_TEST_SUITE_P(Edns, QueryTest, testing::ValuesIn(edns_rows()));
INSTANTIATE_TEST_SUITE_P(Sizes, QueryTest, testing::ValuesIn(size_rows()));
INSTANTIATE_TEST_SUITE_P(Refused, QueryTest, testing::ValuesIn(refused_rows()));

TEST(QueryBytesTest, APlainHitToTheByte) {
  const Reply reply = serve({"", ask("www.example", type_a, Edns{}), {}, {}});
  EXPECT_EQ(hex_text(reply.message),
            "1234850000010001000000010377777707"
            "6578616d706c650000010001"
            "c00c000100010000012c0004c0000250"
            "00002904d0000000000000");
}

std::vector<Row> all_rows() {
  std::vector<Row> all;
  for (const auto& rows : {answer_rows(), wildcard_rows(), chain_rows(), cut_rows(), ranked_rows(),
                           edns_rows(), size_rows(), refused_rows()}) {
    all.insert(all.end(), rows.begin(), rows.end());
  }
  return all;
}

TEST(QueryBytesTest, EveryTruncationIsAnErrorOrADrop) {
  for (const Row& row : all_rows()) {
    if (row.what == std::string_view("bytes behind the question"))
      continue;  // sound once they are cut
    for (std::size_t length = 0; length < row.request.size(); ++length) {
      Row cut = row;
      cut.request.resize(length);
      const Reply reply = serve(cut);
      if (reply.verdict != Verdict::answered) continue;
      const auto lines = MessageText::of(reply.message);
      EXPECT_EQ(lines[0].find("BROKEN"), std::string::npos) << row.what << " cut to " << length;
      EXPECT_EQ(lines[0].find("NOERROR"), std::string::npos)
          << row.what << " cut to " << length << ": " << lines[0];
      expect_sum(reply);
    }
  }
}

// The whole table in bursts of every size: order and company must not matter.
TEST(QueryBytesTest, ABurstAnswersAsItsQueriesWouldAlone) {
  std::vector<Row> rows;
  for (Row& row : all_rows()) {
    if (row.options.nsid == "pop1" && row.options.ecs_enabled &&
        row.options.udp_payload_max_bytes == 1232)
      rows.push_back(row);
  }
  ServeState state(options());
  state.set_time(wall_s);
  for (const std::size_t burst : {2U, 7U, 32U, 64U}) {
    for (std::size_t first = 0; first < rows.size(); first += burst) {
      std::vector<Octets> buffers;
      std::vector<Query> queries;
      CoreCounters counters;
      const std::size_t end = std::min(first + burst, rows.size());
      for (std::size_t i = first; i < end; ++i) {
        buffers.emplace_back(rows[i].request)
            .resize(std::max<std::size_t>(rows[i].request.size(), rows[i].capacity) +
                    query_slack_bytes);
        Query& query = queries.emplace_back();
        query.length = static_cast<std::uint16_t>(rows[i].request.size());
        query.capacity = rows[i].capacity;
        query.transport = rows[i].transport;
        query.source = *IpAddress::parse(rows[i].source);
      }
      for (std::size_t i = 0; i < queries.size(); ++i) queries[i].message = buffers[i].data();
      serve_burst(state, tables(), queries, counters);
      for (std::size_t i = 0; i < queries.size(); ++i) {
        const Reply alone = serve(rows[first + i]);
        EXPECT_EQ(queries[i].verdict, alone.verdict) << rows[first + i].what;
        if (alone.verdict != Verdict::answered) continue;
        const Octets reply(buffers[i].begin(), buffers[i].begin() + queries[i].reply_bytes);
        EXPECT_EQ(hex_text(reply), hex_text(alone.message)) << rows[first + i].what;
      }
    }
  }
}

TEST(SlotTest, AClientBlockAlwaysGetsItsSlotAndAllSlotsAreDealt) {
  std::map<std::string, int> seen;
  for (int block = 0; block < 4096; ++block) {
    const std::string net =
        "10." + std::to_string(block / 256) + "." + std::to_string(block % 256) + ".";
    std::string first;
    for (const char* host : {"1", "77", "255"}) {
      const Reply reply = serve({"", ask("dealt.example", type_a), {}, {}, net + host});
      const auto lines = MessageText::of(reply.message);
      ASSERT_EQ(lines.size(), 3U);
      if (first.empty()) first = lines[2];
      EXPECT_EQ(lines[2], first);
    }
    ++seen[first];
  }
  EXPECT_EQ(seen.size(), 64U);
  for (const auto& [answer, count] : seen) {  // 64 expected; 8 standard deviations
    EXPECT_GT(count, 0) << answer;
    EXPECT_LT(count, 128) << answer;
  }
}

TEST(SlotTest, ScopeOfADealtAnswerIsTheBlockThatPicksTheSlot) {
  const Reply v4 =
      serve({"",
             ask("dealt.example", type_a, Edns{.options = option(8, hex("0001 20 00 0a010203"))}),
             {},
             {}});
  EXPECT_EQ(MessageText::of(v4.message).back(), "opt 1232 | 8:000120180a010203");
  const Reply v6 = serve(
      {"",
       ask("dealt.example", type_a, Edns{.options = option(8, hex("0002 40 00 20010db812345678"))}),
       {},
       {}});
  EXPECT_EQ(MessageText::of(v6.message).back(), "opt 1232 | 8:0002403820010db812345678");
}

TEST(CookieTest, AServerCookieOfOursIsTakenAndReturned) {
  const Reply first =
      serve({"",
             ask("www.example", type_a, Edns{.options = option(10, hex("2464c4abcf10c957"))}),
             {},
             {}});
  const auto line = MessageText::of(first.message).back();
  const auto cookie = line.substr(line.find("10:") + 3);
  const Reply second =
      serve({"", ask("www.example", type_a, Edns{.options = option(10, hex(cookie))}), {}, {}});
  EXPECT_EQ(MessageText::of(second.message).back(), line);
  EXPECT_EQ(second.counters.read(Counter::queries_cookie_valid), 1U);
}

}  // namespace
}  // namespace pharos::dataplane
