// Delegations, and answers that the client's place decides.
#include "query_table.hh"

namespace pharos::dataplane {

using namespace packets;  // NOLINT

std::vector<QueryRow> cut_rows() {
  std::vector<QueryRow> rows;
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

std::vector<QueryRow> ranked_rows() {
  std::vector<QueryRow> rows;
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

}  // namespace pharos::dataplane
