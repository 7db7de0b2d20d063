// Server cookies of ours beside those of NSD and Knot under one secret (RFC 9018): each takes the other's, as hosts of
// different make behind one address must.
#include "pharos/base/clock.hh"
#include "pharos/dataplane/dns/cookie.hh"
#include "pharos/wire/dns.hh"
#include "pharos/wire/name_text.hh"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include "peer.hh"

namespace pharos::oracle {
namespace {

using Bytes = std::vector<std::byte>;

constexpr unsigned client_bytes = 8;
const std::string secret_hex = "e5e973e5a6b2a43f48e7dc849e37bfcf";
const IpAddress loopback = IpAddress::from_ipv4(0x7f000001);

dataplane::CookieSecret secret() {
  dataplane::CookieSecret bytes{};
  for (unsigned i = 0; i < bytes.size(); ++i)
    bytes[i] =
        static_cast<std::byte>(std::stoul(secret_hex.substr(std::size_t{i} * 2, 2), nullptr, 16));
  return bytes;
}

std::uint32_t wall_s() {
  return static_cast<std::uint32_t>(wall_now().ns / 1'000'000'000);
}

Bytes client_cookie() {
  Bytes cookie(client_bytes);
  for (unsigned i = 0; i < client_bytes; ++i) cookie[i] = static_cast<std::byte>(0x24 + i);
  return cookie;
}

// SOA of example.com. with that cookie.
Bytes query_with(ConstBytes cookie) {
  const auto name = dns::parse_name("example.com.");
  Bytes query = make_query(77, name->view(), 6, 1232);
  query.resize(query.size() - 2);  // RDLENGTH 0
  const auto put = [&](ConstBytes bytes) { query.insert(query.end(), bytes.begin(), bytes.end()); };
  put(object_bytes(Be16(static_cast<std::uint16_t>(cookie.size() + 4))));
  put(object_bytes(Be16(dns::option::cookie)));
  put(object_bytes(Be16(static_cast<std::uint16_t>(cookie.size()))));
  put(cookie);
  return query;
}

struct CookieReply {
  unsigned rcode = 0;
  Bytes cookie;  // client's and server's
};

// The cookie option ends the reply: OPT is its last record, and nothing else was asked of it.
std::optional<CookieReply> ask(const Peer& peer, ConstBytes cookie) {
  const auto reply = peer.ask(query_with(cookie));
  if (reply.size() < dns::header_bytes) return std::nullopt;
  const auto client = client_cookie();
  const auto at = std::ranges::search(reply, client).begin();
  if (at == reply.end()) return std::nullopt;
  CookieReply result{.cookie = Bytes(at, reply.end())};
  // ... | extended RCODE | version | DO | RDLENGTH | option code | option length | cookie
  const auto before = at - reply.begin();
  const unsigned extended = std::to_integer<unsigned>(reply[static_cast<std::size_t>(before - 10)]);
  result.rcode = extended << 4 | (std::to_integer<unsigned>(reply[3]) & 15);
  return result;
}

class CookiesTest : public testing::TestWithParam<PeerKind> {};

TEST_P(CookiesTest, EachTakesTheOthersUnderOneSecret) {
  const auto file = std::filesystem::temp_directory_path() /
                    ("pharos-cookies-" + std::to_string(::getpid()) + ".zone");
  std::ofstream(file) << "$ORIGIN example.com.\n$TTL 60\n@ SOA ns h 1 2 3 4 5\n@ NS ns\n"
                         "ns A 192.0.2.1\n";
  const std::vector<ZoneFile> zones = {{"example.com.", file.string()}};
  auto peer = Peer::start(GetParam(), zones, secret_hex);
  std::filesystem::remove(file);
  if (!peer && peer.error().code == ErrorCode::not_found) GTEST_SKIP() << peer.error().what;
  ASSERT_TRUE(peer) << peer.error().text();

  // Theirs is good for us.
  const auto client = client_cookie();
  const auto learned = ask(*peer, client);
  ASSERT_TRUE(learned);
  ASSERT_EQ(learned->cookie.size(), client_bytes + dataplane::server_cookie_bytes);
  const ConstBytes theirs = ConstBytes(learned->cookie).subspan(client_bytes);
  EXPECT_EQ(dataplane::check_server_cookie(theirs, client.data(), loopback, wall_s(), secret()),
            dataplane::CookieState::good);

  // Ours is good for them: answered, and returned as it is by who does that.
  Bytes ours = client;
  const auto made = dataplane::make_server_cookie(client.data(), loopback, wall_s(), secret());
  ours.insert(ours.end(), made.begin(), made.end());
  const auto answered = ask(*peer, ours);
  ASSERT_TRUE(answered);
  EXPECT_EQ(answered->rcode, 0U);
  EXPECT_EQ(answered->cookie.size(), ours.size());
  if (GetParam() == PeerKind::nsd) {
    EXPECT_EQ(answered->cookie, ours);
  }

  // And one of another secret is not, so that the lines above say something.
  auto other_secret = secret();
  other_secret[0] ^= std::byte{1};
  Bytes wrong = client;
  const auto bad = dataplane::make_server_cookie(client.data(), loopback, wall_s(), other_secret);
  wrong.insert(wrong.end(), bad.begin(), bad.end());
  const auto refused = ask(*peer, wrong);
  ASSERT_TRUE(refused);
  EXPECT_NE(refused->cookie, wrong);
  if (GetParam() == PeerKind::knot) {
    EXPECT_EQ(refused->rcode, static_cast<unsigned>(dns::Rcode::badcookie));
  }
}

INSTANTIATE_TEST_SUITE_P(Peers, CookiesTest, testing::Values(PeerKind::nsd, PeerKind::knot),
                         [](const auto& kind) {
                           return kind.param == PeerKind::nsd ? "Nsd" : "Knot";
                         });

}  // namespace
}  // namespace pharos::oracle
