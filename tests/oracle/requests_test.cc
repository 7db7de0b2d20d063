// Requests that are no plain question, asked of NSD, Knot, BIND and us: opcodes, counts, classes, meta types, transfers,
// EDNS of every form. What is compared is what a client goes by: RCODE with its upper bits, QR, AA, TC, RD, RA, AD, CD,
// the number of records in each section, whether there is OPT, its version and DO.
//
// We must agree with at least two of the three. A row where we do not says why, and whom of the three it follows: what
// none of them does would have to stand here with its reason.
#include "pharos/wire/dns.hh"

#include <gtest/gtest.h>

#include <fstream>
#include <iostream>
#include <optional>
#include <sstream>

#include "../packets/octets.hh"
#include "responder.hh"

namespace pharos::oracle {
namespace {

using packets::Edns;
using packets::hex;
using packets::Octets;
using packets::option;
using packets::put;
using packets::put_opt;
using packets::query;

struct Row {
  const char* what;
  Octets request;
  const char* why = "";  // we agree with fewer than two
};

// Why a reply of ours is as it is, where no two of the others agree with it.
constexpr const char* no_transfers =
    "zones are not transferred, over UDP or TCP: REFUSED (RFC 5936, 2.2.1); the others take UDP "
    "for not implemented, "
    "malformed, or not authoritative";
constexpr const char* meta_types =
    "no zone holds them (RFC 6895, 3.1): NOTIMP as BIND for MAILA and MAILB, FORMERR as BIND for "
    "OPT; NSD and Knot look "
    "them up";
constexpr const char* other_classes =
    "we serve one class and CH: REFUSED with the question, as Knot; NSD leaves the question out, "
    "BIND calls it FORMERR; "
    "for ANY, NSD and Knot answer of class IN";
constexpr const char* no_peers =
    "no primary, no secondary, no updates: NOTIMP and a header alone, as NSD for UPDATE (RFC 2136, "
    "3.1.1); others look "
    "whether they know the sender";
constexpr const char* one_question =
    "FORMERR and RD as it came (RFC 9619, 4), as BIND; NSD clears RD, Knot sends nothing";
constexpr const char* strict =
    "FORMERR for what a query does not hold: answers (as NSD), bytes behind its end (as Knot), an "
    "OPT record with a name "
    "(as BIND; RFC 6891, 6.1.2); each of them lets pass what the others refuse";
constexpr const char* opt_for_opt =
    "FORMERR as all three, but with OPT where the request had one (RFC 6891, 6.1.1)";

// Header and OPT of a reply as text; records counted, not read.
std::string outline(const std::vector<std::byte>& reply) {
  if (reply.size() < dns::header_bytes) return "no reply";
  const auto header = load<dns::Header>(reply.data());
  const auto at16 = [&](std::size_t at) { return unsigned{load<Be16>(reply.data() + at)}; };
  const auto flags = at16(2);
  std::ostringstream text;
  unsigned rcode = flags & 15;
  std::string opt = "no opt";
  unsigned additional = header.additional_count;
  // OPT is last in all four: owner 0, type 41, at the end.
  for (std::size_t at = reply.size() - 11; additional > 0 && at >= dns::header_bytes; --at) {
    if (reply[at] != std::byte{0} || at16(at + 1) != 41 || at + 11 + at16(at + 9) != reply.size())
      continue;
    rcode |= std::to_integer<unsigned>(reply[at + 5]) << 4;
    opt = "opt version " + std::to_string(std::to_integer<unsigned>(reply[at + 6])) +
          ((at16(at + 7) & 0x8000) != 0 ? " do" : "") +
          ((at16(at + 7) & 0x7fff) != 0 ? " other flags" : "");
    --additional;
    break;
  }
  text << "rcode " << rcode << " opcode " << (flags >> 11 & 15);
  constexpr std::pair<unsigned, const char*> names[] = {
      {0x8000, " qr"}, {0x0400, " aa"}, {0x0200, " tc"}, {0x0100, " rd"},
      {0x0080, " ra"}, {0x0040, " z"},  {0x0020, " ad"}, {0x0010, " cd"}};
  for (const auto& [bit, name] : names) text << ((flags & bit) != 0 ? name : "");
  text << ", " << header.question_count << ' ' << header.answer_count << ' '
       << header.authority_count << ", " << opt;
  return text.str();
}

Octets with_bytes(Octets request, std::size_t at, const Octets& bytes) {
  std::ranges::copy(bytes, request.begin() + static_cast<std::ptrdiff_t>(at));
  return request;
}
Octets with_more(Octets request, const Octets& more) {
  put(request, more);
  return request;
}

std::vector<Row> rows() {
  const auto www = query({.name = "www.example.com"});
  const auto ask = [](std::uint16_t type, std::uint16_t klass = 1, std::uint16_t flags = 0x0100) {
    return query({.name = "www.example.com", .type = type, .klass = klass, .flags = flags});
  };
  const auto edns = [](const Edns& with) { return query({.name = "www.example.com"}, with); };
  Octets opt;
  put_opt(opt, {});
  const Octets stray = hex("00 0001 0001 00000000 0004 c0000201");
  std::vector<Row> all = {
      {"a plain question", www},
      {"without RD", ask(1, 1, 0)},
      {"RD, AD and CD set", ask(1, 1, 0x0130)},
      {"AA, TC, RA and Z set in a question", ask(1, 1, 0x06c0)},
      {"an RCODE in a question", ask(1, 1, 0x0105)},
      {"ANY over UDP", ask(255)},
      {"AXFR over UDP", query({.name = "example.com", .type = 252}), no_transfers},
      {"AXFR of a name that is no zone", ask(252), no_transfers},
      {"IXFR without SOA", query({.name = "example.com", .type = 251}), no_transfers},
      {"type 0", ask(0)},
      {"type TSIG", ask(250), meta_types},
      {"type TKEY", ask(249), meta_types},
      {"type MAILA", ask(254), meta_types},
      {"type MAILB", ask(253), meta_types},
      {"type OPT", ask(41), meta_types},
      {"an unknown type", ask(65280)},
      {"type RRSIG", ask(46)},
      {"class HS", ask(1, 4)},
      {"class ANY", ask(1, 255), other_classes},
      {"class NONE", ask(1, 254), other_classes},
      {"class 0", ask(1, 0), other_classes},
      {"class CH, a name of a zone", ask(16, 3)},
      {"class CH, an unknown name of the server",
       query({.name = "nothing.bind", .type = 16, .klass = 3})},
      {"opcode IQUERY", ask(1, 1, 0x0800)},
      {"opcode STATUS", ask(1, 1, 0x1000)},
      {"opcode 3", ask(1, 1, 0x1800)},
      {"opcode NOTIFY", query({.name = "example.com", .type = 6, .flags = 0x2400}), no_peers},
      {"opcode UPDATE", query({.name = "example.com", .type = 6, .flags = 0x2800}), no_peers},
      {"opcode DSO", ask(1, 1, 0x3000)},
      {"opcode 15", ask(1, 1, 0x7800)},
      {"no question", with_bytes(www, 4, hex("0000")), one_question},
      {"a header alone", packets::header(0x1234, 0x0100, {0, 0, 0, 0})},
      {"two questions",
       with_bytes(with_more(www, Octets(www.begin() + 12, www.end())), 4, hex("0002")),
       one_question},
      {"a response", ask(1, 1, 0x8100)},
      {"a question cut short", Octets(www.begin(), www.end() - 1)},
      {"a pointer as name",
       with_more(packets::header(0x1234, 0x0100, {1, 0, 0, 0}), hex("c00c 0001 0001"))},
      {"a label of 64",
       with_more(packets::header(0x1234, 0x0100, {1, 0, 0, 0}), hex("40 00 0001 0001"))},
      {"an answer in a question", with_bytes(with_more(www, stray), 6, hex("0001")), strict},
      {"an additional record in a question", with_bytes(with_more(www, stray), 10, hex("0001"))},
      {"one byte behind the question", with_more(www, hex("00")), strict},
      {"EDNS", edns({})},
      {"EDNS with DO", edns({.dnssec_ok = true})},
      {"EDNS of size 0", edns({.payload = 0})},
      {"EDNS of size 511", edns({.payload = 511})},
      {"EDNS with an unknown option", edns({.options = option(65001, hex("0102"))})},
      {"EDNS with NSID", edns({.options = option(3, {})})},
      {"EDNS with padding over UDP", edns({.options = option(12, Octets(20))})},
      {"EDNS with keepalive over UDP", edns({.options = option(11, {})})},
      {"EDNS version 1", edns({.version = 1})},
      {"EDNS version 255", edns({.version = 255})},
      {"EDNS version 1 with an unknown option",
       edns({.version = 1, .options = option(65001, hex("0102"))})},
      {"an extended RCODE in a question", edns({.extended_rcode = 1})},
      {"EDNS for a name of nobody's", query({.name = "www.example.net"}, Edns{})},
      {"EDNS for a name that does not exist", query({.name = "x.example.com"}, Edns{})},
      {"EDNS with opcode NOTIFY",
       query({.name = "example.com", .type = 6, .flags = 0x2400}, Edns{}), no_peers},
      {"EDNS with AXFR over UDP", query({.name = "example.com", .type = 252}, Edns{}),
       no_transfers},
      {"two OPT records", with_bytes(with_more(with_more(www, opt), opt), 10, hex("0002")),
       opt_for_opt},
      {"an OPT record with a name",
       with_bytes(with_more(www, with_more(hex("c00c"), Octets(opt.begin() + 1, opt.end()))), 10,
                  hex("0001")),
       strict},
      {"OPT behind another record",
       with_bytes(with_more(with_more(www, stray), opt), 10, hex("0002"))},
      {"OPT in front of another record",
       with_bytes(with_more(with_more(www, opt), stray), 10, hex("0002"))},
      {"an option longer than OPT", edns({.options = hex("fde9 0003 0102")}), opt_for_opt},
      {"an option without a length", edns({.options = hex("fde9 00")}), opt_for_opt},
  };
  return all;
}

class RequestsTest : public testing::Test {
 protected:
  RequestsTest() {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "pharos-requests-XXXXXX").string();
    EXPECT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    const auto path = (folder_ / "example.com").string();
    std::ofstream(path) << "$TTL 300\n@ SOA ns host 1 3600 600 86400 60\n@ NS ns\nns A 192.0.2.1\n"
                           "www A 192.0.2.2\nwww TXT \"text\"\n";
    zones_ = {{"example.com.", path}};
  }
  ~RequestsTest() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path folder_;
  std::vector<ZoneFile> zones_;
};

TEST_F(RequestsTest, AreAnsweredAsTwoOfNsdKnotAndBindAnswerThem) {
  std::vector<Peer> peers;
  for (const auto kind : {PeerKind::nsd, PeerKind::knot, PeerKind::bind}) {
    auto peer = Peer::start(kind, zones_);
    if (!peer && peer.error().code == ErrorCode::not_found)
      GTEST_SKIP() << peer.error().text() << ": apt-get install nsd knot bind9";
    ASSERT_TRUE(peer) << peer.error().text();
    peers.push_back(std::move(*peer));
  }
  auto ours = Responder::start(zones_);
  ASSERT_TRUE(ours) << ours.error().text();
  for (const auto& row : rows()) {
    const auto said = outline(ours->ask(row.request));
    unsigned agree = 0;
    std::string shown = std::string(row.what) + "\n  ours " + said + "\n";
    for (const auto& peer : peers) {
      const auto theirs = outline(peer.ask(row.request));
      agree += said == theirs ? 1 : 0;
      shown += "  " + std::string(peer.name()) + " " + theirs + "\n";
    }
    if (std::getenv("PHAROS_ORACLE_VERBOSE") != nullptr) std::cout << agree << ' ' << shown;
    if (*row.why == '\0') {
      EXPECT_GE(agree, 2U) << shown;
    } else {
      EXPECT_LT(agree, 2U) << "no reason is needed: " << shown;
    }
  }
}

}  // namespace
}  // namespace pharos::oracle
