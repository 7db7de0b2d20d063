// Requests that are refused, not implemented or malformed, and class CH.
#include "query_table.hh"

namespace pharos::dataplane {

using namespace packets;  // NOLINT

std::vector<QueryRow> refused_rows() {
  std::vector<QueryRow> rows;
  const auto error = [&](const char* what, const Octets& request, const char* head,
                         const char* question, Counts counts) {
    Lines lines{head};
    if (question != nullptr) lines.push_back(std::string("? ") + question);
    rows.push_back({what, request, lines, std::move(counts)});
  };
  error("zone transfer", ask("example", 252), "1234 REFUSED qr rd | 1 0 0 0", "example. TYPE252 IN",
        with("type_other", "rcode_refused"));
  rows.push_back(
      {"zone transfer with EDNS: a reply has OPT where the request had (RFC 6891, 6.1.1)",
       ask("example", 252, Edns{.dnssec_ok = true}),
       {"1234 REFUSED qr rd | 1 0 0 1", "? example. TYPE252 IN", "opt 1232 do"},
       with("type_other", "rcode_refused", {{"queries_edns", 1}})});
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
  for (const char* name : {"id.server", "Hostname.Bind"}) {
    const std::string text(name);
    rows.push_back({"the server's id (RFC 4892)",
                    ask(text, type_txt, 3),
                    {"1234 NOERROR qr aa rd | 1 1 0 0", "? " + text + ". TXT CH",
                     "an " + text + ". 0 CH TXT \"ns7\""},
                    with("type_other", "rcode_noerror")});
  }
  rows.push_back({"version.server, any type",
                  ask("version.server", type_any, 3),
                  {"1234 NOERROR qr aa rd | 1 1 0 0", "? version.server. ANY CH",
                   "an version.server. 0 CH TXT \"pharos\""},
                  with("type_other", "rcode_noerror")});
  error("id.server, not configured", ask("id.server", type_txt, 3), "1234 REFUSED qr rd | 1 0 0 0",
        "id.server. TXT CH", with("type_other", "rcode_refused"));
  rows.back().options.server_id.clear();
  rows.push_back(
      {"a type that is not implemented, with the reason (RFC 8914, 4.22)",
       ask("www.example", 250, Edns{}),
       {"1234 NOTIMP qr rd | 1 0 0 1", "? www.example. TYPE250 IN", "opt 1232 | 15:0015"},
       with("type_other", "rcode_notimp", {{"queries_edns", 1}})});
  error("class CH, another name", ask("www.example", type_txt, 3), "1234 REFUSED qr rd | 1 0 0 0",
        "www.example. TXT CH", with("type_other", "rcode_refused"));
  error("class CH, another type", ask("version.bind", type_a, 3), "1234 REFUSED qr rd | 1 0 0 0",
        "version.bind. A CH", with("type_a", "rcode_refused"));
  return rows;
}

}  // namespace pharos::dataplane
