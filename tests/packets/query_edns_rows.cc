// EDNS options and the sizes of replies: RFC 6891, 7871 (client subnet), 7873 and 9018 (cookies), 5001 (NSID).
#include "query_table.hh"

namespace pharos::dataplane {

using namespace packets;  // NOLINT

namespace {

Octets empty_options(unsigned count) {
  Octets all;
  for (unsigned i = 0; i < count; ++i) put(all, option(65001, {}));
  return all;
}

}  // namespace

std::vector<QueryRow> edns_rows() {
  std::vector<QueryRow> rows;
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
  good("32 unknown options", {.options = empty_options(32)}, "opt 1232");
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
                          const Lines& answers, const std::string& echoed,
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
  formerr("33 options", empty_options(33));
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
  auto row =
      QueryRow{"ECS switched off",
               ask("svc.example", type_a, {.options = option(8, hex("0001 18 00 c63364"))}),
               {"1234 NOERROR qr aa rd | 1 2 0 1", "? svc.example. A IN",
                "an svc.example. 20 A 10.0.0.1", "an svc.example. 20 A 10.0.0.2", "opt 1232"},
               noerror("type_a", {{"answers_ranked", 1}, {"queries_edns", 1}})};
  row.options.ecs_enabled = false;
  rows.push_back(row);
  row =
      QueryRow{"no NSID where none is set", ask("www.example", type_a, {.options = option(3, {})}),
               reply("1234 NOERROR qr aa rd | 1 1 0 1", www, "opt 1232"),
               noerror("type_a", {{"answers_static", 1}, {"queries_edns", 1}})};
  row.options.nsid.clear();
  rows.push_back(row);
  return rows;
}

std::vector<QueryRow> size_rows() {
  std::vector<QueryRow> rows;
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
  auto row = QueryRow{"no limit but the buffer over TCP", ask("big.example", type_a),
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
  row = QueryRow{
      "our own limit counts too",
      ask("big.example", type_a, Edns{.payload = 4096}),
      {"1234 NOERROR qr aa tc rd | 1 0 0 1", "? big.example. A IN", "opt 600"},
      noerror("type_a", {{"answers_static", 1}, {"queries_edns", 1}, {"answers_truncated", 1}})};
  row.options.udp_payload_max_bytes = 600;
  rows.push_back(row);
  row = QueryRow{
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
  row = QueryRow{"an answer of two kilobytes",
                 ask("huge.example", type_txt),
                 {},
                 noerror("type_other", {{"answers_static", 1}, {"queries_tcp", 1}})};
  row.transport = Transport::tcp;
  row.capacity = 4000;
  std::string text = "an huge.example. 300 TXT";
  for (int i = 0; i < 12; ++i) text += " \"" + std::string(200, static_cast<char>('a' + i)) + "\"";
  row.reply = {"1234 NOERROR qr aa rd | 1 1 0 0", "? huge.example. TXT IN", text};
  rows.push_back(row);
  row = QueryRow{"not even the question fits",
                 ask("www.example", type_a),
                 {},
                 {{"answers_static", 1}, {"drop_no_room", 1}}};
  row.capacity = 28;
  rows.push_back(row);
  row = QueryRow{"a denial does not fit: truncated",
                 ask("nothing.example", type_a),
                 {"1234 NXDOMAIN qr aa tc rd | 1 0 0 0", "? nothing.example. A IN"},
                 with("type_a", "rcode_nxdomain", {{"answers_truncated", 1}})};
  row.capacity = 60;
  rows.push_back(row);
  return rows;
}

}  // namespace pharos::dataplane
