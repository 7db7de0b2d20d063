// Server cookies against the test vectors of RFC 9018, appendix A.
#include "pharos/dataplane/dns/cookie.hh"

#include <gtest/gtest.h>

#include <algorithm>
#include <string_view>
#include <vector>

namespace pharos::dataplane {
namespace {

std::vector<std::byte> bytes_of(std::string_view hex) {
  std::vector<std::byte> bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes.push_back(static_cast<std::byte>(std::stoul(std::string(hex.substr(i, 2)), nullptr, 16)));
  }
  return bytes;
}

CookieSecret secret_of(std::string_view hex) {
  CookieSecret secret{};
  std::ranges::copy(bytes_of(hex), secret.begin());
  return secret;
}

IpAddress address_of(const char* text) {
  return *IpAddress::parse(text);
}

struct Vector {
  const char* what;
  const char* client_cookie;
  const char* address;
  std::uint32_t wall_s;
  const char* secret;
  const char* server_cookie;
};

constexpr Vector vectors[] = {
    {"A.1 learning a new server cookie", "2464c4abcf10c957", "198.51.100.100", 1559731985,
     "e5e973e5a6b2a43f48e7dc849e37bfcf", "010000005cf79f111f8130c3eee29480"},
    {"A.2 the same client learning a renewed cookie", "2464c4abcf10c957", "198.51.100.100",
     1559734385, "e5e973e5a6b2a43f48e7dc849e37bfcf", "010000005cf7a871d4a564a1442aca77"},
    {"A.3 another client learning a renewed cookie", "fc93fc62807ddb86", "203.0.113.203",
     1559734700, "e5e973e5a6b2a43f48e7dc849e37bfcf", "010000005cf7a9acf73a7810aca2381e"},
    {"A.4 IPv6 query for a new cookie", "22681ab97d52c298", "2001:db8:220:1:59de:d0f4:8769:82b8",
     1559741961, "445536bcd2513298075a5d379663c962", "010000005cf7c609a6bb79d16625507a"},
};

TEST(ServerCookieTest, MakesTheCookiesOfRfc9018) {
  for (const auto& v : vectors) {
    const auto cookie = make_server_cookie(bytes_of(v.client_cookie).data(), address_of(v.address),
                                           v.wall_s, secret_of(v.secret));
    EXPECT_TRUE(std::ranges::equal(cookie, bytes_of(v.server_cookie))) << v.what;
  }
}

TEST(ServerCookieTest, TakesACookieWhoseReservedBitsWereSetByAnotherServer) {
  // RFC 9018, A.3: the reserved field counts in the hash, whatever it holds.
  EXPECT_EQ(check_server_cookie(bytes_of("01abcdef5cf78f71a314227b6679ebf5"),
                                bytes_of("fc93fc62807ddb86").data(), address_of("203.0.113.203"),
                                1559727985 + 60, secret_of("e5e973e5a6b2a43f48e7dc849e37bfcf")),
            CookieState::good);
}

TEST(ServerCookieTest, TakesACookieOfTheFormerSecretAndMakesOneOfTheNew) {
  // RFC 9018, A.4: the secret was rolled between the two.
  const auto former = secret_of("dd3bdf9344b678b185a6f5cb60fca715");
  const auto next = secret_of("445536bcd2513298075a5d379663c962");
  const auto check = [&](const std::vector<CookieSecret>& secrets) {
    return check_server_cookie_of_any(
        bytes_of("010000005cf7c57926556bd0934c72f8"), bytes_of("22681ab97d52c298").data(),
        address_of("2001:db8:220:1:59de:d0f4:8769:82b8"), 1559741961, std::span(secrets));
  };
  EXPECT_EQ(check({former, next}), CookieState::good) << "stage 1: the new one is known everywhere";
  EXPECT_EQ(check({next, former}), CookieState::ageing) << "stage 2: the new one makes cookies";
  EXPECT_EQ(check({next}), CookieState::bad) << "stage 3: the former one is gone";
}

class ServerCookieStateTest : public testing::Test {
 protected:
  static constexpr std::uint32_t made_s = 1'700'000'000;
  const std::vector<std::byte> client_ = bytes_of("0102030405060708");
  const IpAddress address_ = address_of("192.0.2.1");
  const CookieSecret secret_ = secret_of("000102030405060708090a0b0c0d0e0f");
  ServerCookie cookie_ = make_server_cookie(client_.data(), address_, made_s, secret_);

  CookieState at(std::uint32_t wall_s) {
    return check_server_cookie(cookie_, client_.data(), address_, wall_s, secret_);
  }
};

TEST_F(ServerCookieStateTest, AgesAndExpires) {
  EXPECT_EQ(at(made_s), CookieState::good);
  EXPECT_EQ(at(made_s + cookie_renew_s), CookieState::good);
  EXPECT_EQ(at(made_s + cookie_renew_s + 1), CookieState::ageing);
  EXPECT_EQ(at(made_s + cookie_age_max_s), CookieState::ageing);
  EXPECT_EQ(at(made_s + cookie_age_max_s + 1), CookieState::bad);
  EXPECT_EQ(at(made_s - cookie_future_max_s), CookieState::good);
  EXPECT_EQ(at(made_s - cookie_future_max_s - 1), CookieState::bad);
}

TEST_F(ServerCookieStateTest, RefusesAnyChangedBit) {
  for (std::size_t bit = 0; bit < 8 * cookie_.size(); ++bit) {
    cookie_[bit / 8] ^= std::byte{1} << (bit % 8);
    EXPECT_EQ(at(made_s), CookieState::bad) << "bit " << bit;
    cookie_[bit / 8] ^= std::byte{1} << (bit % 8);
  }
}

TEST_F(ServerCookieStateTest, RefusesAnotherClientAddressCookieSecretOrLength) {
  EXPECT_EQ(check_server_cookie(cookie_, client_.data(), address_of("192.0.2.2"), made_s, secret_),
            CookieState::bad);
  EXPECT_EQ(
      check_server_cookie(cookie_, bytes_of("0102030405060709").data(), address_, made_s, secret_),
      CookieState::bad);
  EXPECT_EQ(check_server_cookie(cookie_, client_.data(), address_, made_s, {}), CookieState::bad);
  EXPECT_EQ(
      check_server_cookie(ConstBytes(cookie_).first(8), client_.data(), address_, made_s, secret_),
      CookieState::bad);
  EXPECT_EQ(check_server_cookie({}, client_.data(), address_, made_s, secret_),
            CookieState::absent);
}

TEST(SipHashTest, AgreesWithThePaper) {
  // Aumasson and Bernstein, appendix A: key 00..0f, message 00..0e.
  CookieSecret key{};
  std::vector<std::byte> message(15);
  for (unsigned i = 0; i < 16; ++i) key[i] = static_cast<std::byte>(i);
  for (unsigned i = 0; i < 15; ++i) message[i] = static_cast<std::byte>(i);
  EXPECT_EQ(siphash_2_4(message, key), 0xa129ca6149be45e5U);
}

}  // namespace
}  // namespace pharos::dataplane
