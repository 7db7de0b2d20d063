// Services that do not go by all client subnets (RFC 7871): listed resolvers only, or none. What is ignored is answered
// by the packet's source, with scope 0.
#include "query_table.hh"

namespace pharos::dataplane {

using namespace packets;  // NOLINT

std::vector<QueryRow> subnet_mode_rows() {
  std::vector<QueryRow> rows;
  const Lines everyone{"20 A 10.0.0.1", "20 A 10.0.0.2"}, eu{"15 A 10.0.1.1", "15 A 10.0.0.2"};
  const auto add = [&](const char* what, const std::string& name, const Octets& subnet,
                       const Lines& answers, const std::string& echoed, const std::string& source,
                       bool ignored, Counts more = {}) {
    Lines lines{"1234 NOERROR qr aa rd | 1 " + std::to_string(answers.size()) + " 0 1",
                "? " + name + ". A IN"};
    for (const auto& answer : answers) {
      lines.push_back(answer.starts_with("an ") ? answer : "an " + name + ". " + answer);
    }
    lines.push_back("opt 1232 | 8:" + echoed);
    more.merge(Counts{{"answers_ranked", 1}, {"queries_edns", 1}, {"queries_ecs", 1}});
    if (ignored) more["queries_ecs_ignored"] = 1;
    rows.push_back({what, ask(name, type_a, {.options = option(8, subnet)}), lines,
                    noerror("type_a", more), source});
  };
  const Octets of_eu = hex("0001 18 00 c63364"), of_eu6 = hex("0002 38 00 20010db8e00001");
  const std::string stranger = "192.0.2.200", resolver = "192.0.2.230", in_eu = "198.51.100.9";
  add("a service that ignores subnets", "ignored.example", of_eu, everyone, "00011800c63364",
      stranger, true);
  add("... answers by the packet's source", "ignored.example", hex("0001 18 00 0a0000"), eu,
      "000118000a0000", in_eu, true);
  add("... of the other family, too", "ignored.example", of_eu6, eu, "0002380020010db8e00001",
      in_eu, true);
  add("... also where the resolver is listed", "ignored.example", of_eu, everyone, "00011800c63364",
      resolver, true);
  add("... and has nothing to ignore in a subnet of nobody", "ignored.example", hex("0001 00 00"),
      eu, "00010000", in_eu, false);
  add("... at the end of a chain", "toignored.example", of_eu,
      {"an toignored.example. 300 CNAME Ignored.example.", "an Ignored.example. 20 A 10.0.0.1",
       "an Ignored.example. 20 A 10.0.0.2"},
      "00011800c63364", stranger, true, {{"answers_chained", 1}});
  add("a service for listed resolvers, from a stranger", "x.listed.example", of_eu, everyone,
      "00011800c63364", stranger, true);
  add("... from one of them", "x.listed.example", of_eu, eu, "00011818c63364", resolver, false,
      {{"answers_wildcard", 1}});
  rows[rows.size() - 2].counts["answers_wildcard"] = 1;
  add("... from one right before the list", "x.listed.example", of_eu, everyone, "00011800c63364",
      "192.0.2.223", true, {{"answers_wildcard", 1}});
  add("... from the first of the list", "x.listed.example", of_eu, eu, "00011818c63364",
      "192.0.2.224", false, {{"answers_wildcard", 1}});
  add("... from one over IPv6", "x.listed.example", of_eu6, eu, "0002382420010db8e00001",
      "2001:db8:53:1::1", false, {{"answers_wildcard", 1}});
  add("... from one over IPv6 that is not listed", "x.listed.example", of_eu6, everyone,
      "0002380020010db8e00001", "2001:db8:54::1", true, {{"answers_wildcard", 1}});
  add("another pool at the wildcard's parent, in one locale", "listed.example", of_eu,
      {"10 A 10.1.1.1"}, "00011818c63364", resolver, false);
  return rows;
}

}  // namespace pharos::dataplane
