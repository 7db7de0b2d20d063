#include "pharos/dataplane/observe/client_mask.hh"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "packets/octets.hh"

namespace pharos::dataplane {
namespace {

using packets::Octets;

IpAddress address(const std::string& text) {
  return IpAddress::parse(text).value();
}

Octets subnet_option(unsigned family, unsigned source_bits, const std::string& address_digits) {
  Octets data;
  packets::put16(data, family);
  packets::put8(data, source_bits);
  packets::put8(data, 0);
  packets::put(data, packets::hex(address_digits));
  return packets::option(8, data);
}

Octets with_options(const Octets& options) {
  return packets::query({.name = "www.example."}, {.options = options});
}

// What mask_message makes of it; nothing where it says no.
std::optional<Octets> masked(Octets message, const ClientMask& mask = {}) {
  if (!mask_message(message, mask)) return std::nullopt;
  return message;
}

TEST(ClientMaskTest, TruncatesToThePrefixOfTheFamily) {
  const ClientMask mask;
  EXPECT_EQ(mask.apply(address("198.18.3.10")), address("198.18.3.0"));
  EXPECT_EQ(mask.apply(address("2001:db8:1:2ff:ffff::1")), address("2001:db8:1:200::"));
  const ClientMask odd{.ipv4_prefix_bits = 13, .ipv6_prefix_bits = 33};
  EXPECT_EQ(odd.apply(address("198.23.3.10")), address("198.16.0.0"));
  EXPECT_EQ(odd.apply(address("2001:db8:ffff::1")), address("2001:db8:8000::"));
  const ClientMask nothing{.ipv4_prefix_bits = 0, .ipv6_prefix_bits = 0};
  EXPECT_EQ(nothing.apply(address("198.18.3.10")), address("0.0.0.0"));
  EXPECT_TRUE(nothing.apply(address("198.18.3.10")).is_ipv4());
  EXPECT_EQ(nothing.apply(address("2001:db8::1")), address("::"));
}

TEST(ClientMaskTest, PseudonymsAreSteadyDifferentAndNobodysAddress) {
  CookieSecret key{};
  key[0] = std::byte{7};
  const ClientMask mask{.key = key};
  std::set<IpAddress> four, six;
  for (unsigned host = 0; host < 256; ++host) {
    const auto v4 = mask.apply(IpAddress::from_ipv4(0xc6120000U + host));
    EXPECT_TRUE(v4.is_ipv4());
    EXPECT_EQ(v4.ipv4() >> 28, 0xfU);
    four.insert(v4);
    auto client = address("2001:db8::");
    client.bytes[15] = static_cast<std::uint8_t>(host);
    const auto v6 = mask.apply(client);
    EXPECT_EQ(v6.bytes[0], 0xfd);
    six.insert(v6);
    EXPECT_EQ(v6, mask.apply(client));
  }
  EXPECT_EQ(four.size(), 256U);
  EXPECT_EQ(six.size(), 256U);
  key[0] = std::byte{8};
  const ClientMask other{.key = key};
  EXPECT_NE(other.apply(address("198.18.3.10")), mask.apply(address("198.18.3.10")));
}

// RFC 9018 and the paper agree on SipHash-2-4; its vector stands in cookie_test. Here: what is taken of it.
TEST(ClientMaskTest, APseudonymIsSipHashOfTheAddressOnTheWire) {
  CookieSecret key{};
  for (unsigned i = 0; i < key.size(); ++i) key[i] = static_cast<std::byte>(i);
  const ClientMask mask{.key = key};
  const auto client = address("198.18.3.10");
  const auto expected = static_cast<std::uint32_t>(siphash_2_4(client.wire(), key));
  EXPECT_EQ(mask.apply(client).ipv4(), 0xf0000000U | (expected & 0x0fffffffU));
}

TEST(ClientMaskTest, CutsClientSubnetsOfEitherFamilyToThePrefix) {
  const auto long_v4 = with_options(subnet_option(1, 32, "c6120a63"));
  EXPECT_EQ(masked(long_v4), with_options(subnet_option(1, 32, "c6120a00")));
  EXPECT_EQ(masked(long_v4, {.ipv4_prefix_bits = 12}),
            with_options(subnet_option(1, 32, "c6100000")));
  const auto short_v4 = with_options(subnet_option(1, 16, "c612"));
  EXPECT_EQ(masked(short_v4), short_v4) << "shorter than the prefix: as it was";
  EXPECT_EQ(masked(with_options(subnet_option(2, 64, "20010db8000102ff"))),
            with_options(subnet_option(2, 64, "20010db800010200")));
  EXPECT_EQ(masked(with_options(subnet_option(3, 16, "abcd"))),
            with_options(subnet_option(3, 16, "0000")))
      << "a family that nobody knows";
  // Keyed or not: a subnet is cut.
  CookieSecret key{};
  EXPECT_EQ(masked(long_v4, {.key = key}), with_options(subnet_option(1, 32, "c6120a00")));
}

TEST(ClientMaskTest, CutsEverySubnetThatAMessageRepeats) {
  auto twice = subnet_option(1, 32, "c6120a63");
  packets::put(twice, subnet_option(1, 32, "c6120a64"));
  auto cut = subnet_option(1, 32, "c6120a00");
  packets::put(cut, cut);
  EXPECT_EQ(masked(with_options(twice)), with_options(cut));
}

TEST(ClientMaskTest, EmptiesOptionsThatItDoesNotKnowAndKeepsThoseOfTheProtocol) {
  const auto cookie = packets::option(10, packets::hex("0102030405060708"));
  const auto nsid = packets::option(3, {});
  auto known = cookie;
  packets::put(known, nsid);
  EXPECT_EQ(masked(with_options(known)), with_options(known));
  // A forwarder's MAC address of the client.
  EXPECT_EQ(masked(with_options(packets::option(65001, packets::hex("020000000002")))),
            with_options(packets::option(65001, packets::hex("000000000000"))));
}

TEST(ClientMaskTest, SaysNoToEveryMessageThatDoesNotEndWhereItSays) {
  const auto whole = with_options(subnet_option(1, 32, "c6120a63"));
  ASSERT_TRUE(masked(whole));
  for (std::size_t bytes = 0; bytes < whole.size(); ++bytes) {
    EXPECT_FALSE(masked(Octets(whole.begin(), whole.begin() + static_cast<long>(bytes)))) << bytes;
  }
  auto longer = whole;
  packets::put8(longer, 0);
  EXPECT_FALSE(masked(longer)) << "a byte that nobody asked for";
  EXPECT_FALSE(masked(with_options(packets::option(8, packets::hex("0001"))))) << "half a subnet";
  EXPECT_FALSE(masked(with_options(packets::hex("000800ff0001")))) << "a length without its bytes";
}

TEST(ClientMaskTest, ReadsRepliesWithRecordsOfAllSectionsAndPointers) {
  auto message = packets::query({.name = "www.example.", .flags = 0x8500});
  message[7] = message[9] = std::byte{1};
  message[11] = std::byte{2};
  const auto record = [&](unsigned type, const Octets& data) {
    packets::put16(message, 0xc00c);  // the question's name
    packets::put16(message, type);
    packets::put16(message, 1);
    packets::put32(message, 300);
    packets::put16(message, static_cast<unsigned>(data.size()));
    packets::put(message, data);
  };
  record(1, packets::hex("c0000201"));
  record(2, packets::hex("036e7331c00c"));
  record(1, packets::hex("c0000202"));
  auto expected = message;
  packets::put_opt(message, {.options = subnet_option(1, 24, "c61203")});
  packets::put_opt(expected, {.options = subnet_option(1, 24, "c61000")});
  EXPECT_EQ(masked(message, {.ipv4_prefix_bits = 12}), expected);
}

}  // namespace
}  // namespace pharos::dataplane
