// Examples of the RFCs, word for word: RFC 4592, 2.2.1 (wildcards) and RFC 6672, 2.2, table 1 (DNAME substitution); and
// names that look odd: the root, zones of one label, octets of every value.
#include "pharos/dataplane/dns/serve.hh"

#include <gtest/gtest.h>

#include "message_text.hh"
#include "octets.hh"
#include "world.hh"

namespace pharos::dataplane {
namespace {

using namespace packets;  // NOLINT
using Lines = std::vector<std::string>;

constexpr unsigned type_a = 1, type_ns = 2, type_cname = 5, type_soa = 6, type_mx = 15,
                   type_txt = 16, type_srv = 33;

Lines ask_wire(const TableRoot& root, const Octets& name, unsigned type) {
  Octets request = header(0x1234, 0, {1, 0, 0, 0});
  put(request, name);
  put16(request, type);
  put16(request, 1);
  const std::size_t length = request.size();
  request.resize(4096 + query_slack_bytes);
  Query query;
  query.message = request.data();
  query.length = static_cast<std::uint16_t>(length);
  query.capacity = 4096;
  query.transport = Transport::tcp;
  query.source = IpAddress::from_ipv4(0xc0000201);
  ServeState state{ServeOptions{}};
  CoreCounters counters;
  serve_burst(state, root, {&query, 1}, counters);
  EXPECT_EQ(query.verdict, Verdict::answered);
  request.resize(query.reply_bytes);
  auto lines = MessageText::of(request);
  lines[0] = lines[0].substr(5, lines[0].find(" |") - 5);  // RCODE and flags
  lines.erase(lines.begin() + 1);
  return lines;
}
Lines ask(const TableRoot& root, const std::string& name, unsigned type) {
  return ask_wire(root, packets::name(name), type);
}

const std::string apex =
    "@ 3600 SOA ns.example.com. h.example.com. 1 2 3 4 60\n@ 3600 NS ns.example.com.\n";

class Rfc4592Test : public testing::Test {
 protected:
  Rfc4592Test() {
    World world;
    world.zone("example.", "$TTL 3600\n" + apex +
                               "@ NS ns.example.net.\n"
                               "* TXT \"this is a wildcard\"\n"
                               "* MX 10 host1.example.\n"
                               "sub.* TXT \"this is not a wildcard\"\n"
                               "host1 A 192.0.2.1\n"
                               "_ssh._tcp.host1 SRV 0 0 22 host1\n"
                               "_ssh._tcp.host2 SRV 0 0 22 host1\n"
                               "subdel NS ns.example.com.\n"
                               "subdel NS ns.example.net.\n");
    root_ = world.build();
  }
  const std::string soa_ = "ns example. 60 SOA ns.example.com. h.example.com. 1 2 3 4 60";
  World::Root root_;
};

TEST_F(Rfc4592Test, ResponsesSynthesizedFromAWildcard) {
  EXPECT_EQ(ask(*root_, "host3.example", type_mx),
            (Lines{"NOERROR qr aa", "an host3.example. 3600 MX 10 host1.example.",
                   "ar host1.example. 3600 A 192.0.2.1"}));
  EXPECT_EQ(ask(*root_, "host3.example", type_a), (Lines{"NOERROR qr aa", soa_}))
      << "because there is no A at the wildcard";
  EXPECT_EQ(ask(*root_, "foo.bar.example", type_txt),
            (Lines{"NOERROR qr aa", "an foo.bar.example. 3600 TXT \"this is a wildcard\""}));
}

TEST_F(Rfc4592Test, ResponsesNotSynthesizedFromAWildcard) {
  EXPECT_EQ(ask(*root_, "host1.example", type_mx), (Lines{"NOERROR qr aa", soa_}))
      << "because host1 exists";
  EXPECT_EQ(ask(*root_, "sub.*.example", type_mx), (Lines{"NOERROR qr aa", soa_}))
      << "because sub.*.example exists";
  EXPECT_EQ(ask(*root_, "_telnet._tcp.host1.example", type_srv), (Lines{"NXDOMAIN qr aa", soa_}))
      << "because _tcp.host1 exists, without data";
  EXPECT_EQ(ask(*root_, "host.subdel.example", type_a),
            (Lines{"NOERROR qr", "ns subdel.example. 3600 NS ns.example.com.",
                   "ns subdel.example. 3600 NS ns.example.net."}))
      << "because subdel is a zone cut";
  EXPECT_EQ(ask(*root_, "ghost.*.example", type_mx), (Lines{"NXDOMAIN qr aa", soa_}))
      << "because *.example exists";
}

struct Substitution {
  const char* name;
  const char* owner;
  const char* target;
  const char* result;  // empty: none
};

TEST(Rfc6672Test, SubstitutesAsTable1Says) {
  const Substitution table[] = {
      {"com.", "example.com.", "example.net.", ""},
      {"example.com.", "example.com.", "example.net.", ""},
      {"a.example.com.", "example.com.", "example.net.", "a.example.net."},
      {"a.b.example.com.", "example.com.", "example.net.", "a.b.example.net."},
      {"ab.example.com.", "b.example.com.", "example.net.", ""},
      {"foo.example.com.", "example.com.", "example.net.", "foo.example.net."},
      {"a.x.example.com.", "x.example.com.", "example.net.", "a.example.net."},
      {"a.example.com.", "example.com.", "y.example.net.", "a.y.example.net."},
      {"cyc.example.com.", "example.com.", "example.com.", "cyc.example.com."},
      {"cyc.example.com.", "example.com.", "c.example.com.", "cyc.c.example.com."},
      {"shortloop.x.x.", "x.", ".", "shortloop.x."},
      {"shortloop.x.", "x.", ".", "shortloop."},
  };
  for (const auto& [name, owner, target, result] : table) {
    World world;
    world.zone(owner, apex + "@ 3600 DNAME " + target + "\n");
    const auto root = world.build();
    const auto lines =
        ask(*root, std::string(name).substr(0, std::string(name).size() - 1), type_cname);
    if (*result == '\0') {
      for (const auto& line : lines) EXPECT_FALSE(line.contains(" CNAME ")) << line;
      continue;
    }
    EXPECT_EQ(lines, (Lines{"NOERROR qr aa", std::string("an ") + owner + " 3600 DNAME " + target,
                            std::string("an ") + name + " 3600 CNAME " + result}));
  }
}

TEST(OddNamesTest, TheRootIsAZoneLikeAnyOther) {
  World world;
  world.zone(".", "$TTL 60\n" + apex +
                      "www A 192.0.2.1\n*.wild A 192.0.2.2\ncom NS ns.com\n"
                      "ns.com A 192.0.2.53\nalias CNAME www\n");
  const auto root = world.build();
  const std::string soa = "ns . 60 SOA ns.example.com. h.example.com. 1 2 3 4 60";
  EXPECT_EQ(ask(*root, "", type_soa).at(1),
            "an . 3600 SOA ns.example.com. h.example.com. 1 2 3 4 60");
  EXPECT_EQ(ask(*root, "", type_a), (Lines{"NOERROR qr aa", soa}));
  EXPECT_EQ(ask(*root, "nothing", type_a), (Lines{"NXDOMAIN qr aa", soa}));
  EXPECT_EQ(ask(*root, "x.y.wild", type_a),
            (Lines{"NOERROR qr aa", "an x.y.wild. 60 A 192.0.2.2"}));
  EXPECT_EQ(ask(*root, "alias", type_a),
            (Lines{"NOERROR qr aa", "an alias. 60 CNAME www.", "an www. 60 A 192.0.2.1"}));
  EXPECT_EQ(ask(*root, "a.b.com", type_a),
            (Lines{"NOERROR qr", "ns com. 60 NS ns.com.", "ar ns.com. 60 A 192.0.2.53"}));
}

TEST(OddNamesTest, AZoneMayHaveOneLabel) {
  World world;
  world.zone("x.", "$TTL 60\n" + apex + "a A 192.0.2.1\n");
  const auto root = world.build();
  EXPECT_EQ(ask(*root, "a.x", type_a), (Lines{"NOERROR qr aa", "an a.x. 60 A 192.0.2.1"}));
  EXPECT_EQ(ask(*root, "x", type_ns).at(1), "an x. 3600 NS ns.example.com.");
  EXPECT_EQ(ask(*root, "b.x", type_a).at(0), "NXDOMAIN qr aa");
  EXPECT_EQ(ask(*root, "y", type_a).at(0), "REFUSED qr");
  EXPECT_EQ(ask(*root, "", type_ns).at(0), "REFUSED qr") << "above our zones";
}

TEST(OddNamesTest, LabelsHoldAnyOctetAndOnlyAsciiLettersAreFolded) {
  World world;
  std::string text = "$TTL 60\n" + apex;
  for (unsigned octet = 0; octet < 256; ++octet) {
    if (octet >= 'A' && octet <= 'Z') continue;
    const std::string digits = std::to_string(octet);
    text += "\\" + std::string(3 - digits.size(), '0') + digits + "x A 10.0.0." + digits + "\n";
  }
  world.zone("odd.", text);
  const auto root = world.build();
  for (unsigned octet = 0; octet < 256; ++octet) {
    Octets name;
    put8(name, 2);
    put8(name, octet);
    put8(name, 'X');
    put(name, packets::name("odd"));
    const unsigned stands_for = octet >= 'A' && octet <= 'Z' ? octet + 32 : octet;
    const auto lines = ask_wire(*root, name, type_a);
    ASSERT_EQ(lines.size(), 2U) << octet;
    EXPECT_TRUE(lines[1].ends_with(" A 10.0.0." + std::to_string(stands_for))) << lines[1];
  }
}

}  // namespace
}  // namespace pharos::dataplane
