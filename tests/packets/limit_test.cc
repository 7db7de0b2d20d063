// Rate limiting through serve_burst: what leaves once a client is above its limit, who is never limited, and that no
// question of any type gets three times its bytes back.
#include "pharos/dataplane/dns/serve.hh"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>

#include "message_text.hh"
#include "octets.hh"
#include "world.hh"

namespace pharos::dataplane {
namespace {

using namespace packets;  // NOLINT

constexpr std::uint32_t wall_s = 1'700'000'000;
constexpr Instant start{55'000'000'000};
constexpr double rate = 5;
constexpr unsigned burst = 5;  // of a window of 1 s

const TableRoot& tables() {
  static const World::Root root = [] {
    World world;
    std::string text = R"(
$TTL 300
@ SOA ns1 hostmaster 1 7200 3600 1209600 60
@ NS ns1
ns1 A 192.0.2.1
www A 192.0.2.80
*.wild TXT "wild wild wild wild wild wild wild wild wild wild wild wild wild wild wild wild"
dn DNAME www
cut NS ns1.cut
cut NS ns2.cut
ns1.cut A 192.0.2.53
ns1.cut AAAA 2001:db8::53
ns2.cut AAAA 2001:db8::54
)";
    for (int i = 0; i < 30; ++i) text += "@ NS a-name-server-" + std::to_string(i) + "\n";
    for (int i = 0; i < 4; ++i)
      text += "@ DNSKEY 257 3 8 " + std::string(340, static_cast<char>('A' + i)) + "\n";
    for (int i = 0; i < 60; ++i) text += "big A 198.18.0." + std::to_string(i) + "\n";
    for (int i = 0; i < 8; ++i) {
      text += "mx MX 1 host" + std::to_string(i) + "\nhost" + std::to_string(i) +
              " A 192.0.2.9\nhost" + std::to_string(i) + " AAAA 2001:db8::9\n";
    }
    text += "txt TXT";
    for (int i = 0; i < 5; ++i) text += " \"" + std::string(200, static_cast<char>('a' + i)) + "\"";
    text += "\ntxt CAA 0 issue \"" + std::string(200, 'c') + "\"\n";
    world.zone("amp.", text);
    const auto svc = world.pool("svc.amp.", 1);
    world.answer(svc, 0, 1, 20, {{"10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"}});
    return world.build();
  }();
  return *root;
}

ServeOptions options() {
  ServeOptions o;
  o.udp_payload_max_bytes = 4096;
  o.nsid = std::string(nsid_bytes_max, 'n');
  o.version_text = std::string(200, 'v');
  o.rate_limit.per_second.fill(rate);
  for (unsigned i = 0; i < o.rate_limit.key.size(); ++i)
    o.rate_limit.key[i] = static_cast<std::byte>(i + 1);
  return o;
}

class Server {
 public:
  explicit Server(const ServeOptions& o = options()) : state_(o) { at(start); }

  void at(Instant now) { state_.set_time(wall_s, now); }

  // Empty: nothing is sent.
  Octets operator()(const Octets& request, const std::string& source = "192.0.2.7",
                    Transport transport = Transport::udp) {
    std::vector<std::byte> buffer(4096 + query_slack_bytes, std::byte{0xcc});
    std::ranges::copy(request, buffer.begin());
    Query query;
    query.message = buffer.data();
    query.length = static_cast<std::uint16_t>(request.size());
    query.capacity = 4096;
    query.transport = transport;
    query.source_port = 4000;
    query.source = *IpAddress::parse(source);
    serve_burst(state_, tables(), {&query, 1}, counters_);
    if (query.verdict != Verdict::answered) return {};
    Octets reply(buffer.begin(), buffer.begin() + query.reply_bytes);
    EXPECT_EQ(internet_sum(reply) % 0xffff, byte_swap(query.reply_checksum) % 0xffff);
    return reply;
  }
  std::string text(const Octets& request, const std::string& source = "192.0.2.7") {
    const auto reply = (*this)(request, source);
    return reply.empty() ? "" : MessageText::of(reply).front();
  }
  [[nodiscard]] std::uint64_t count(Counter counter) const { return counters_.read(counter); }
  [[nodiscard]] std::uint64_t count(Verdict verdict) const { return counters_.read(verdict); }

 private:
  ServeState state_;
  CoreCounters counters_;
};

Octets ask(const std::string& name, unsigned type) {
  return query({.name = name, .type = static_cast<std::uint16_t>(type)});
}
Octets ask(const std::string& name, unsigned type, const Edns& edns) {
  return query({.name = name, .type = static_cast<std::uint16_t>(type)}, edns);
}

Octets joined(const std::vector<Octets>& parts) {
  Octets all;
  for (const auto& part : parts) put(all, part);
  return all;
}

// Every kind of answer there is, as small a question as it takes.
std::map<std::string, Octets> questions(const std::optional<Edns>& edns) {
  std::map<std::string, Octets> all;
  const auto add = [&](const std::string& what, const std::string& name, unsigned type,
                       unsigned klass = 1) {
    const Question question{.name = name,
                            .type = static_cast<std::uint16_t>(type),
                            .klass = static_cast<std::uint16_t>(klass)};
    all[what] = edns ? query(question, *edns) : query(question);
  };
  add("A", "www.amp", 1);
  add("many A", "big.amp", 1);
  add("NS", "amp", 2);
  add("SOA", "amp", 6);
  add("MX and additional", "mx.amp", 15);
  add("TXT", "txt.amp", 16);
  add("CAA", "txt.amp", 257);
  add("DNSKEY", "amp", 48);
  add("ANY at the apex", "amp", 255);
  add("ANY", "txt.amp", 255);
  add("pool", "svc.amp", 1);
  add("wildcard", "x.wild.amp", 16);
  add("DNAME", "x.dn.amp", 1);
  add("NODATA", "www.amp", 28);
  add("NXDOMAIN", "none.amp", 1);
  add("referral", "x.cut.amp", 1);
  add("REFUSED", "elsewhere", 1);
  add("RRSIG", "amp", 46);
  add("AXFR", "amp", 252);
  add("TSIG", "amp", 250);
  add("CH", "version.bind", 16, 3);
  return all;
}

TEST(AmplificationTest, NoTypeOfQueryGetsThreeTimesItsBytesBeyondTheLimit) {
  const std::map<std::string, std::optional<Edns>> kinds = {
      {"no EDNS", std::nullopt},
      {"4096 bytes, DO", Edns{.payload = 4096, .dnssec_ok = true}},
      {"NSID", Edns{.payload = 4096, .options = option(3, {})}},
      {"client cookie", Edns{.payload = 4096, .options = option(10, hex("2464c4abcf10c957"))}},
      {"NSID, client subnet, wrong cookie",
       Edns{.payload = 4096,
            .options = joined({option(3, {}), option(8, hex("0001 1800 c63364")),
                               option(10, hex("2464c4abcf10c957 0102030405060708"))})}}};
  for (const unsigned slip : {1U, 2U}) {
    for (const auto& [kind, edns] : kinds) {
      for (const auto& [what, question] : questions(edns)) {
        auto o = options();
        o.rate_limit.slip = slip;
        Server server(o);
        std::size_t sent = 0;
        constexpr unsigned beyond = 40;
        for (unsigned i = 0; i < burst; ++i)
          EXPECT_FALSE(server(question).empty()) << what << ", " << kind;
        for (unsigned i = 0; i < beyond; ++i) {
          const auto reply = server(question);
          sent += reply.size();
          EXPECT_LT(reply.size(), 3 * question.size()) << what << ", " << kind;
        }
        EXPECT_LT(sent, 3 * beyond * question.size()) << what << ", " << kind;
        EXPECT_EQ(server.count(Verdict::drop_rate_limited), beyond - beyond / slip) << what;
        EXPECT_EQ(server.count(Counter::slipped) + server.count(Counter::badcookies), beyond / slip)
            << what;
      }
    }
  }
}

TEST(LimitTest, SlippedRepliesAreEmptyWithTcAndKeepTheQuestion) {
  auto o = options();
  o.rate_limit.slip = 1;
  Server server(o);
  const auto question = ask("big.amp", 1, Edns{.payload = 4096, .dnssec_ok = true});
  for (unsigned i = 0; i < burst; ++i) (void)server(question);
  EXPECT_EQ(MessageText::of(server(question)),
            (std::vector<std::string>{"1234 NOERROR qr tc rd | 1 0 0 1", "? big.amp. A IN",
                                      "opt 4096 do"}));
}

TEST(LimitTest, AnErrorWithoutAQuestionSlipsAsItIs) {
  auto o = options();
  o.rate_limit.slip = 1;
  Server server(o);
  Octets broken = ask("www.amp", 1);
  broken[2] = std::byte{0x28};  // opcode UPDATE
  const auto first = server(broken);
  for (unsigned i = 0; i < 20; ++i) EXPECT_EQ(server(broken), first);
  EXPECT_EQ(server.count(Counter::limited_error), 20 + 1 - burst);
}

TEST(LimitTest, ARandomSubdomainFloodSharesOneAccountWhateverAnswersIt) {
  const std::map<std::string, std::pair<unsigned, Counter>> floods = {
      {".amp", {1, Counter::limited_nxdomain}},     {".wild.amp", {16, Counter::limited_wildcard}},
      {".wild.amp ", {1, Counter::limited_nodata}}, {".dn.amp", {1, Counter::limited_wildcard}},
      {".cut.amp", {1, Counter::limited_referral}}, {".elsewhere", {1, Counter::limited_error}}};
  for (const auto& [suffix, expected] : floods) {
    Server server;
    const auto name = suffix.substr(0, suffix.find(' '));
    for (unsigned i = 0; i < 100; ++i)
      (void)server(ask("r" + std::to_string(i) + name, expected.first));
    // A DNAME rewrites to a name that is not there: NXDOMAIN in the end, and counted as such.
    const auto limited = server.count(expected.second) +
                         (name == ".dn.amp" ? server.count(Counter::limited_nxdomain) : 0);
    EXPECT_EQ(limited, 100 - burst) << suffix;
  }
}

TEST(LimitTest, OneNamesFloodLeavesOtherNamesAndPrefixesAlone) {
  Server server;
  const auto question = ask("txt.amp", 16, Edns{.payload = 4096});
  const auto whole = server(question, "198.51.100.1").size();
  for (unsigned i = 0; i < 2000; ++i) (void)server(question, "192.0.2." + std::to_string(i % 256));
  EXPECT_EQ(server.text(ask("www.amp", 1), "192.0.2.7"), "1234 NOERROR qr aa rd | 1 1 0 0");
  for (const auto* other : {"192.0.3.7", "192.0.1.7", "2001:db8::1"})
    EXPECT_EQ(server(question, other).size(), whole) << other;
}

TEST(LimitTest, GoesOnOnceTimeHasPassed) {
  Server server;
  const auto question = ask("www.amp", 1);
  for (unsigned i = 0; i < 50; ++i) (void)server(question);
  server.at(start + milliseconds(401));
  EXPECT_EQ(server.text(question), "1234 NOERROR qr aa rd | 1 1 0 0");
  EXPECT_EQ(server.text(question), "1234 NOERROR qr aa rd | 1 1 0 0");
  EXPECT_NE(server.text(question), "1234 NOERROR qr aa rd | 1 1 0 0");
}

TEST(LimitTest, TcpAndExemptPrefixesAreNeverLimited) {
  auto o = options();
  o.rate_limit.exempt = {*IpPrefix::parse("203.0.113.0/24"), *IpPrefix::parse("2001:db8::/32")};
  Server server(o);
  const auto question = ask("big.amp", 1);
  for (unsigned i = 0; i < 50; ++i) {
    EXPECT_FALSE(server(question, "192.0.2.7", Transport::tcp).empty());
    EXPECT_FALSE(server(question, "203.0.113.9").empty());
    EXPECT_FALSE(server(question, "2001:db8:5::1").empty());
  }
  EXPECT_EQ(server.count(Counter::limit_exempt), 100U);
  EXPECT_EQ(server.count(Verdict::drop_rate_limited), 0U);
}

TEST(LimitTest, ADryRunCountsAndSendsAll) {
  auto o = options();
  o.rate_limit.dry_run = true;
  Server server(o);
  for (unsigned i = 0; i < 50; ++i)
    EXPECT_EQ(server.text(ask("www.amp", 1)), "1234 NOERROR qr aa rd | 1 1 0 0");
  EXPECT_EQ(server.count(Counter::limit_dry_run), 50 - burst);
  EXPECT_EQ(server.count(Counter::limited_positive), 50 - burst);
  EXPECT_EQ(server.count(Verdict::drop_rate_limited) + server.count(Counter::slipped), 0U);
}

// The server cookie in the option 10 of a reply, behind the client's.
Octets cookie_of(const Octets& reply) {
  const auto lines = MessageText::of(reply);
  const auto at = lines.back().find("10:");
  return at == std::string::npos ? Octets{} : hex(lines.back().substr(at + 3));
}

TEST(LimitTest, BadcookieBringsAClientWithCookiesBackInOneStep) {
  auto o = options();
  o.rate_limit.slip = 1;
  Server server(o);
  const auto with = [](const Octets& cookie) {
    return ask("big.amp", 1, Edns{.payload = 4096, .options = option(10, cookie)});
  };
  const auto client = hex("2464c4abcf10c957");
  for (unsigned i = 0; i < burst; ++i) (void)server(with(client));
  const auto reply = server(with(client));
  EXPECT_EQ(MessageText::of(reply).front(), "1234 BADCOOKIE qr rd | 1 0 0 1");
  EXPECT_EQ(server.count(Counter::badcookies), 1U);
  const auto cookie = cookie_of(reply);
  ASSERT_EQ(cookie.size(), 24U);
  for (unsigned i = 0; i < 100; ++i)
    EXPECT_EQ(MessageText::of(server(with(cookie))).front(), "1234 NOERROR qr aa rd | 1 60 0 1");
  EXPECT_EQ(server.count(Counter::limit_exempt_cookie), 100U);
  EXPECT_EQ(server.text(with(cookie), "192.0.2.8").substr(5, 9), "BADCOOKIE")
      << "somebody else's cookie, in the same prefix";
}

TEST(LimitTest, WithoutBadcookieTheClientGetsTc) {
  auto o = options();
  o.rate_limit.slip = 1;
  o.rate_limit.badcookie = false;
  Server server(o);
  const auto question = ask("big.amp", 1, Edns{.options = option(10, hex("2464c4abcf10c957"))});
  for (unsigned i = 0; i < burst; ++i) (void)server(question);
  EXPECT_EQ(server.text(question), "1234 NOERROR qr tc rd | 1 0 0 1");
}

TEST(LimitTest, AFullBurstIsJudgedReplyByReply) {
  ServeState state(options());
  state.set_time(wall_s, start);
  const auto request = ask("www.amp", 1);
  constexpr std::size_t stride = 1024;
  std::vector<std::byte> buffers(burst_queries_max * stride + query_slack_bytes);
  std::vector<Query> queries(burst_queries_max);
  for (unsigned i = 0; i < burst_queries_max; ++i) {
    queries[i].message = buffers.data() + i * stride;
    std::ranges::copy(request, queries[i].message);
    queries[i].length = static_cast<std::uint16_t>(request.size());
    queries[i].capacity = 900;
    queries[i].source = *IpAddress::parse(i % 2 == 0 ? "192.0.2.1" : "198.51.100.1");
  }
  CoreCounters counters;
  serve_burst(state, tables(), queries, counters);
  for (unsigned i = 0; i < 2 * burst; ++i) EXPECT_EQ(queries[i].verdict, Verdict::answered) << i;
  EXPECT_EQ(counters.read(Counter::limited_positive), burst_queries_max - 2 * burst);
  EXPECT_EQ(counters.read(Verdict::drop_rate_limited) + counters.read(Counter::slipped),
            burst_queries_max - 2 * burst);
}

}  // namespace
}  // namespace pharos::dataplane
