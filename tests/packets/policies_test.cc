// Name policies through serve_burst: what every action answers for names that zones list and for names that none does,
// what it counts, and that the packet path judges each name as the control plane does.
#include "pharos/config/name_pattern.hh"
#include "pharos/dataplane/dns/serve.hh"
#include "pharos/wire/checksum.hh"
#include "pharos/wire/name_text.hh"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <random>

#include "message_text.hh"
#include "octets.hh"
#include "policy_world.hh"

namespace pharos::dataplane {
namespace {

using namespace packets;  // NOLINT
using Lines = std::vector<std::string>;

constexpr unsigned type_a = 1, type_txt = 16, type_aaaa = 28, type_any = 255;
constexpr std::uint32_t wall_s = 1'700'000'000;
const std::string soa = "ns example. 60 SOA ns1.example. h.example. 1 7200 3600 1209600 60";

struct Reply {
  Verdict verdict = Verdict::answered;
  Lines lines;
  CoreCounters counters;
};

class Server {
 public:
  explicit Server(const TableRoot& root = policy_tables()) : root_(root) {
    ServeOptions options;
    options.rate_limit.classes = {1000, 1};
    options.rate_limit.slip = 0;
    state_ = std::make_unique<ServeState>(options);
    state_->set_time(wall_s, Instant{1'000'000'000});
  }

  Reply ask(const Octets& request, Transport transport = Transport::udp) {
    constexpr std::uint16_t capacity = 1400;
    const auto buffer = std::make_unique<std::byte[]>(capacity + query_slack_bytes);
    std::memset(buffer.get(), 0xcc, capacity + query_slack_bytes);
    std::ranges::copy(request, buffer.get());
    Query query;
    query.message = buffer.get();
    query.length = static_cast<std::uint16_t>(request.size());
    query.capacity = capacity;
    query.transport = transport;
    query.source_port = 4000;
    query.source = *IpAddress::parse("198.51.100.77");
    Reply reply;
    serve_burst(*state_, root_, {&query, 1}, reply.counters);
    reply.verdict = query.verdict;
    if (query.verdict != Verdict::answered) return reply;
    const Octets message(buffer.get(), buffer.get() + query.reply_bytes);
    EXPECT_TRUE(checksum::same(query.reply_checksum, checksum::fold(checksum::scalar::sum(
                                                         message.data(), query.reply_bytes))));
    reply.lines = MessageText::of(message);
    return reply;
  }
  Reply ask(const std::string& name, unsigned type = type_a, Transport transport = Transport::udp) {
    return ask(query({.name = name, .type = static_cast<std::uint16_t>(type)}), transport);
  }
  ServeState& state() { return *state_; }

 private:
  const TableRoot& root_;
  std::unique_ptr<ServeState> state_;
};

// Header and records without the question.
std::string shown(const Reply& reply) {
  if (reply.verdict != Verdict::answered)
    return std::string(verdict_texts[static_cast<std::size_t>(reply.verdict)].name);
  std::string text;
  for (const auto& line : reply.lines) {
    if (line.starts_with("? ")) continue;
    text += (text.empty() ? "" : "; ") + (text.empty() ? line.substr(line.find(' ') + 1) : line);
  }
  return text;
}

struct Row {
  const char* what;
  const char* name;
  unsigned type;
  std::string reply;
  Transport transport = Transport::udp;
};

void PrintTo(const Row& row, std::ostream* out) {
  *out << row.what;
}

class PolicyTable : public testing::TestWithParam<Row> {};

TEST_P(PolicyTable, AnswersAs) {
  const auto& row = GetParam();
  Server server;
  EXPECT_EQ(shown(server.ask(row.name, row.type, row.transport)), row.reply) << row.what;
}

const std::vector<Row> rows = {
    {"no policy: a name of the zone", "www.example.", type_a,
     "NOERROR qr aa rd | 1 1 0 0; an www.example. 300 A 192.0.2.80"},
    {"no policy: none of the zone", "nothing.example.", type_a,
     "NXDOMAIN qr aa rd | 1 0 1 0; " + soa},
    {"allow before refuse and drop, known", "ok.refused.example.", type_a,
     "NOERROR qr aa rd | 1 1 0 0; an ok.refused.example. 300 A 192.0.2.3"},
    {"refuse, known", "refused.example.", type_a, "REFUSED qr rd | 1 0 0 0"},
    {"refuse, case folded", "X.ReFused.Example.", type_a, "REFUSED qr rd | 1 0 0 0"},
    {"refuse by expression, in no zone", "bad42.elsewhere.", type_a, "REFUSED qr rd | 1 0 0 0"},
    {"refuse by expression, not matched", "badx.example.", type_a,
     "NXDOMAIN qr aa rd | 1 0 1 0; " + soa},
    {"drop, known", "known.dropped.example.", type_a, "drop_policy"},
    {"drop, unknown", "a.b.dropped.example.", type_a, "drop_policy"},
    {"drop, below only: the name itself is an empty non-terminal", "dropped.example.", type_a,
     "NOERROR qr aa rd | 1 0 1 0; " + soa},
    {"drop by prefix, in no zone", "drop.elsewhere.", type_a, "drop_policy"},
    {"drop over TCP", "drop.elsewhere.", type_a, "drop_policy", Transport::tcp},
    {"nxdomain, known", "known-gone.example.", type_a, "NXDOMAIN qr aa rd | 1 0 1 0; " + soa},
    {"nxdomain, deep below a delegation", "x.gone.deleg.example.", type_a,
     "NXDOMAIN qr aa rd | 1 0 1 0; " + soa},
    {"nxdomain, in no zone: without SOA", "gone.elsewhere.", type_a, "NXDOMAIN qr rd | 1 0 0 0"},
    {"nodata, known", "empty.example.", type_a, "NOERROR qr aa rd | 1 0 1 0; " + soa},
    {"nodata, unknown", "x.empty.example.", type_a, "NOERROR qr aa rd | 1 0 1 0; " + soa},
    {"nodata, in no zone: without SOA", "empty.nowhere.", type_a, "NOERROR qr rd | 1 0 0 0"},
    {"truncate over UDP, known", "cut.example.", type_a, "NOERROR qr tc rd | 1 0 0 0"},
    {"truncate over UDP, unknown", "x.cut.example.", type_a, "NOERROR qr tc rd | 1 0 0 0"},
    {"truncate over TCP, known", "cut.example.", type_a,
     "NOERROR qr aa rd | 1 1 0 0; an cut.example. 300 A 192.0.2.7", Transport::tcp},
    {"truncate over TCP, unknown", "x.cut.example.", type_a, "NXDOMAIN qr aa rd | 1 0 1 0; " + soa,
     Transport::tcp},
    {"route in a zone", "a.t.example.", type_a,
     "NOERROR qr aa rd | 1 2 0 0; an a.t.example. 20 A 10.0.0.1; an a.t.example. 20 A 10.0.0.2"},
    {"route, the other family", "b.a.t.example.", type_aaaa,
     "NOERROR qr aa rd | 1 1 0 0; an b.a.t.example. 20 AAAA 2001:db8:5::1"},
    {"route, ANY takes the first type", "a.t.example.", type_any,
     "NOERROR qr aa rd | 1 2 0 0; an a.t.example. 20 A 10.0.0.1; an a.t.example. 20 A 10.0.0.2"},
    {"route, a type that is not routed", "a.t.example.", type_txt,
     "NOERROR qr aa rd | 1 0 1 0; " + soa},
    {"route, in no zone", "a.tenants.nowhere.", type_a,
     "NOERROR qr aa rd | 1 2 0 0; an a.tenants.nowhere. 20 A 10.0.0.1; an a.tenants.nowhere. 20 A "
     "10.0.0.2"},
    {"route, in no zone, a type that is not routed", "a.tenants.nowhere.", type_txt,
     "NOERROR qr aa rd | 1 0 0 0"},
    {"route, a name above a zone", "nowhere.", type_a,
     "NOERROR qr aa rd | 1 2 0 0; an nowhere. 20 A 10.0.0.1; an nowhere. 20 A 10.0.0.2"},
    {"route passes over what a zone lists", "listed.t.example.", type_a,
     "NOERROR qr aa rd | 1 1 0 0; an listed.t.example. 300 A 192.0.2.8"},
    {"route goes before a wildcard", "x.wild.t.example.", type_a,
     "NOERROR qr aa rd | 1 2 0 0; an x.wild.t.example. 20 A 10.0.0.1; an x.wild.t.example. 20 A "
     "10.0.0.2"},
    {"route before a later drop", "x.t.example.", type_aaaa,
     "NOERROR qr aa rd | 1 1 0 0; an x.t.example. 20 AAAA 2001:db8:5::1"},
    {"limit, the first answer", "limited.example.", type_a,
     "NOERROR qr aa rd | 1 1 0 0; an limited.example. 300 A 192.0.2.9"},
    {"log, known", "logged.example.", type_a,
     "NOERROR qr aa rd | 1 1 0 0; an logged.example. 300 A 192.0.2.10"},
    {"log, unknown", "logged-too.example.", type_a, "NXDOMAIN qr aa rd | 1 0 1 0; " + soa},
};

INSTANTIATE_TEST_SUITE_P(, PolicyTable, testing::ValuesIn(rows));

// A query in which one octet of the name is another one.
Octets with_octet(const std::string& name, char instead, std::byte octet) {
  auto request = query({.name = name, .type = type_a});
  *std::ranges::find(request, static_cast<std::byte>(instead)) = octet;
  return request;
}

TEST(PoliciesTest, TakeNoOctetForTheDotBetweenLabels) {
  Server server;
  EXPECT_EQ(shown(server.ask(with_octet("a_refused.example.", '_', std::byte{'.'}))).substr(0, 8),
            "NXDOMAIN");
  EXPECT_EQ(shown(server.ask(with_octet("drop_elsewhere.", '_', std::byte{'.'}))).substr(0, 7),
            "REFUSED");
}

TEST(PoliciesTest, MatchNamesWithAnOctetOfZero) {
  Server server;
  EXPECT_EQ(shown(server.ask(with_octet("a_b.refused.example.", '_', std::byte{0}))),
            "REFUSED qr rd | 1 0 0 0");
  EXPECT_EQ(shown(server.ask(with_octet("bad1._.example.", '_', std::byte{0}))),
            "REFUSED qr rd | 1 0 0 0");
  EXPECT_EQ(shown(server.ask(with_octet("_.dropped.example.", '_', std::byte{0}))), "drop_policy");
}

TEST(PoliciesTest, SayBlockedToClientsWithEdns) {
  Server server;
  const auto reply = server.ask(query({.name = "gone.example.", .type = type_a}, Edns{}));
  ASSERT_FALSE(reply.lines.empty());
  EXPECT_NE(reply.lines.back().find("15:000f"), std::string::npos) << reply.lines.back();
}

TEST(PoliciesTest, CountTheRuleThatDecided) {
  // A root of its own, whose counts nobody else moves.
  World world;
  world.zone("example.",
             "$TTL 30\n@ SOA ns1 h 1 2 3 4 5\n@ NS ns1\nrefused A 192.0.2.1\nsvc A 192.0.2.2\n");
  config::Config config;
  config.policies = {policy("refused", PolicyAction::refuse, {".refused.example"}),
                     policy("none", PolicyAction::drop, {"never.example"}),
                     policy("rest", PolicyAction::allow, {"/."}, 1)};
  world.policies(std::move(config));
  const auto root = world.build();
  Server server(*root);
  for (const char* name : {"refused.example.", "x.refused.example.", "www.example.", "a.b."})
    static_cast<void>(server.ask(name));
  EXPECT_EQ(root->policies->hits(0), 2U);
  EXPECT_EQ(root->policies->hits(1), 0U);
  EXPECT_EQ(root->policies->hits(2), 2U);
}

// The resolver asks from the locale "here", for a client elsewhere.
TEST(PoliciesTest, RouteByTheClientSubnetsThatTheServiceGoesBy) {
  const auto routed = [](catalog::EcsMode mode) {
    World world;
    world.zone("example.", "$TTL 30\n@ SOA ns1 h 1 2 3 4 5\n@ NS ns1\n");
    const auto here = world.locale("here", {"198.51.100.0/24"});
    const auto svc = world.pool("svc.example.", 1, mode);
    world.answer(svc, 0, 1, 20, {{"10.0.0.1"}});
    world.answer(svc, here, 1, 20, {{"10.0.1.1"}});
    config::Config config;
    config.services.resize(1);
    config.services[0].id = "svc";
    config.services[0].names = {"svc.example."};
    config.policies = {policy("routed", PolicyAction::route, {"*.t.example"})};
    config.policies[0].service = "svc";
    world.policies(std::move(config));
    const auto root = world.build();
    Server server(*root);
    const Edns elsewhere{.options = option(8, hex("0001 18 00 0a0000"))};
    return shown(server.ask(query({.name = "x.t.example", .type = type_a}, elsewhere)));
  };
  EXPECT_EQ(routed(catalog::EcsMode::all),
            "NOERROR qr aa rd | 1 1 0 1; an x.t.example. 20 A 10.0.0.1; opt 1232 | "
            "8:000118010a0000");
  const std::string ignored =
      "NOERROR qr aa rd | 1 1 0 1; an x.t.example. 20 A 10.0.1.1; opt 1232 | 8:000118000a0000";
  EXPECT_EQ(routed(catalog::EcsMode::ignore), ignored);
  EXPECT_EQ(routed(catalog::EcsMode::listed), ignored) << "nobody is listed";
}

TEST(PoliciesTest, PutQueriesIntoTheirRateClass) {
  Server server;
  unsigned answered = 0;
  for (int i = 0; i < 10; ++i) {
    answered += server.ask("limited.example.").verdict == Verdict::answered ? 1 : 0;
    answered +=
        server.ask("a" + std::to_string(i) + ".limited.example.").verdict == Verdict::answered ? 1
                                                                                               : 0;
  }
  EXPECT_EQ(answered, 1U) << "one reply a second, whatever the name";
  EXPECT_EQ(shown(server.ask("www.example.")).substr(0, 7), "NOERROR");
}

TEST(PoliciesTest, SampleWhatTheyLogAndHideTheClient) {
  Server server;
  static_cast<void>(server.ask("Refused.example.", type_txt));
  const auto samples = server.state().take_samples();
  ASSERT_EQ(samples.size(), 1U);
  const auto& sample = samples[0];
  EXPECT_STREQ(sample.head.policy.data(), "refused");
  EXPECT_EQ(sample.head.action, PolicyAction::refuse);
  EXPECT_EQ(sample.head.type, type_txt);
  EXPECT_EQ(sample.head.client_prefix_bits, 24);
  IpAddress client;
  std::ranges::copy(sample.head.client, client.bytes.begin());
  EXPECT_EQ(client.text(), "198.51.100.0");
  EXPECT_EQ(dns::name_text(ConstBytes(sample.name).first(sample.head.name_bytes)),
            "Refused.example.");
  EXPECT_TRUE(server.state().take_samples().empty());
  unsigned taken = 0;
  for (int i = 0; i < 100; ++i) {
    static_cast<void>(server.ask("bad1.example."));
    taken += static_cast<unsigned>(server.state().take_samples().size());
  }
  EXPECT_EQ(taken, 9U) << "ten a second";
}

// ---- agreement ----

TEST(PoliciesTest, JudgeKnownNamesAsAScanWould) {
  const auto config = example_policies();
  const std::vector<controlplane::PoolBinding> bindings = {{"svc.example.", 1, 0},
                                                           {"svc.example.", 28, 1}};
  const auto policies = controlplane::NamePolicies::make(config, bindings, nullptr);
  ASSERT_TRUE(policies) << policies.error().text();
  const auto& catalog = policy_tables().catalog;
  unsigned names = 0;
  for (const auto& bucket : catalog.buckets()) {
    for (const auto ref : bucket.refs) {
      if (ref == 0) continue;
      const auto& node = *catalog.node(ref);
      const ConstBytes name(node.name(), node.name_bytes);
      const bool listed = (node.flags & catalog::node_flag::outside) == 0;
      EXPECT_EQ(node.verdict, (**policies).verdict_of(name, listed)) << dns::name_text(name);
      ++names;
    }
  }
  EXPECT_GT(names, 15U);
}

// The verdict of the packet path's two look-ups, which know nothing of nodes.
std::uint32_t scanned(const TableRoot& root, ConstBytes name) {
  dns::FoldedName folded;
  dns::fold_name(name.data(), static_cast<unsigned>(name.size()), folded);
  std::array<char, policy_text_bytes_max> text{};
  LabelMap labels;
  map_labels(folded.bytes.data(), labels);
  const unsigned bytes = write_policy_text(folded.bytes.data(), folded.length, labels, text.data());
  EXPECT_EQ(std::string_view(text.data(), bytes), config::policy_text(name));
  return catalog::first_verdict(root.catalog.policies().plain_verdict(
                                    folded.bytes.data(), folded.length, dns::label_count(name)),
                                root.policies->scan(0, text.data(), bytes));
}

TEST(PoliciesTest, AgreeWithTheControlPlaneOnRandomNames) {
  std::mt19937 random(20261120);
  const std::vector<controlplane::PoolBinding> bindings = {{"svc.example.", 1, 0}};
  const auto policies = controlplane::NamePolicies::make(example_policies(), bindings, nullptr);
  ASSERT_TRUE(policies);
  const std::vector<std::string> labels = {
      "refused", "example", "ok",      "x",      "bad12", "drop",  "t",       "gone",   "empty",
      "nowhere", "cut",     "limited", "logged", "a\\.b", "\\000", "tenants", "Dropped"};
  unsigned taken = 0;
  for (int n = 0; n < 5000; ++n) {
    std::string name;
    for (auto count = random() % 5; count > 0; --count)
      name += labels[random() % labels.size()] + ".";
    if (random() % 2 == 0) name += "example.";
    if (name.empty()) name = ".";
    const auto wire = dns::parse_name(name);
    ASSERT_TRUE(wire) << name;
    const auto verdict = scanned(policy_tables(), wire->view());
    EXPECT_EQ(verdict, (**policies).verdict_of(wire->view(), false)) << name;
    taken += verdict != 0 ? 1 : 0;
  }
  EXPECT_GT(taken, 500U);
}

TEST(PoliciesTest, FindNamesOfEveryLabelCount) {
  World world;
  world.zone("example.", "$TTL 30\n@ SOA ns1 h 1 2 3 4 5\n@ NS ns1\n");
  config::Config config;
  std::string deep;
  for (int i = 0; i < 126; ++i) deep += "a.";
  config.policies = {policy("deep", PolicyAction::drop, {}),
                     policy("root", PolicyAction::refuse, {"."})};
  config.policies[0].patterns.push_back({"*." + deep, false, 0, 1});
  world.policies(std::move(config));
  const auto root = world.build();
  EXPECT_EQ(scanned(*root, dns::parse_name("b." + deep)->view()), 1U);
  EXPECT_EQ(scanned(*root, dns::parse_name(deep)->view()), 0U);
  EXPECT_EQ(scanned(*root, dns::parse_name(".")->view()), 2U);
  Server server(*root);
  EXPECT_EQ(shown(server.ask("b." + deep)), "drop_policy");
}

}  // namespace
}  // namespace pharos::dataplane
