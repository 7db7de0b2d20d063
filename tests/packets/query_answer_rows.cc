// Names that are there, and names that are not: RFC 1034, RFC 4592 (wildcards), CNAME, DNAME (RFC 6672).
#include "query_table.hh"

namespace pharos::dataplane {

using namespace packets;  // NOLINT

std::vector<QueryRow> answer_rows() {
  std::vector<QueryRow> rows;
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
  rows.push_back(
      {"ANY at a delegation is the other side's, DS or not",
       ask("cut.example", type_any),
       {"1234 NOERROR qr rd | 1 0 2 1", "? cut.example. ANY IN",
        "ns cut.example. 300 NS ns.cut.example.", "ns cut.example. 300 NS ns.elsewhere.net.",
        "ar ns.cut.example. 300 A 192.0.2.53"},
       noerror("type_other", {{"answers_referral", 1}})});
  return rows;
}

std::vector<QueryRow> wildcard_rows() {
  std::vector<QueryRow> rows;
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

std::vector<QueryRow> chain_rows() {
  std::vector<QueryRow> rows;
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
  auto row = QueryRow{
      "fifteen steps", ask("c1.example", type_a), sixteen,
      noerror("type_a", {{"answers_static", 1}, {"answers_chained", 15}, {"queries_tcp", 1}})};
  row.transport = Transport::tcp;
  rows.push_back(row);
  Lines cut{"1234 NOERROR qr aa rd | 1 16 0 0", "? d1.example. A IN"};
  for (int i = 1; i < 17; ++i) {
    cut.push_back("an d" + std::to_string(i) + ".example. 300 CNAME d" + std::to_string(i + 1) +
                  ".example.");
  }
  row = QueryRow{"no more than sixteen", ask("d1.example", type_a), cut,
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

}  // namespace pharos::dataplane
