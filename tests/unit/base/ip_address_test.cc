// Addresses and prefixes in text and in bytes.
#include "pharos/base/ip_address.hh"

#include <gtest/gtest.h>

namespace pharos {
namespace {

TEST(IpAddressTest, ReadsAndWritesBothFamilies) {
  for (const char* text :
       {"192.0.2.1", "0.0.0.0", "255.255.255.255", "2001:db8::1", "::", "::1", "fe80::1:2"}) {
    const auto address = IpAddress::parse(text);
    ASSERT_TRUE(address) << text;
    EXPECT_EQ(address->text(), text);
  }
  EXPECT_EQ(IpAddress::parse("2001:DB8:0::1")->text(), "2001:db8::1");
}

TEST(IpAddressTest, HoldsIpv4AsMappedIpv6) {
  const auto address = IpAddress::parse("192.0.2.1");
  EXPECT_EQ(address->family(), Family::ipv4);
  EXPECT_EQ(address->ipv4(), 0xc0000201U);
  EXPECT_EQ(address->wire().size(), 4U);
  EXPECT_EQ(*address, IpAddress::from_ipv4(0xc0000201));
  EXPECT_EQ(*address, *IpAddress::parse("::ffff:192.0.2.1"));
  EXPECT_EQ(IpAddress::parse("::ffff:0:0:1")->family(), Family::ipv6);
  EXPECT_EQ(IpAddress::parse("2001:db8::1")->wire().size(), 16U);
}

TEST(IpAddressTest, RefusesWhatIsNone) {
  for (const char* text : {"", "1", "1.2.3", "1.2.3.4.5", "1.2.3.256", "1.2.3.4 ", " 1.2.3.4",
                           "::1::", "g::", "1.2.3.4/8"}) {
    EXPECT_FALSE(IpAddress::parse(text)) << text;
  }
}

TEST(IpPrefixTest, ReadsLengthsOfTheFamilysOwnWidth) {
  EXPECT_EQ(IpPrefix::parse("192.0.2.0/24")->length, 24);
  EXPECT_EQ(IpPrefix::parse("192.0.2.1")->length, 32);
  EXPECT_EQ(IpPrefix::parse("0.0.0.0/0")->length, 0);
  EXPECT_EQ(IpPrefix::parse("2001:db8::/32")->length, 32);
  EXPECT_EQ(IpPrefix::parse("2001:db8::1")->length, 128);
  EXPECT_EQ(IpPrefix::parse("::/0")->text(), "::/0");
}

TEST(IpPrefixTest, RefusesBadLengthsAndHostBits) {
  for (const char* text : {"192.0.2.0/33", "192.0.2.0/", "192.0.2.0/-1", "192.0.2.0/24x",
                           "192.0.2.0/ 24", "2001:db8::/129", "/24", "192.0.2.0/24/24"}) {
    EXPECT_FALSE(IpPrefix::parse(text)) << text;
  }
  const auto host_bits = IpPrefix::parse("192.0.2.77/24");
  ASSERT_FALSE(host_bits);
  EXPECT_EQ(host_bits.error().hint, "write 192.0.2.0/24");
}

// Against one bit at a time.
TEST(IpPrefixTest, ContainsWhatSharesItsBits) {
  const auto bit_of = [](const IpAddress& address, unsigned bit) {
    return address.bytes[bit / 8] >> (7 - bit % 8) & 1;
  };
  for (const char* text :
       {"192.0.2.0/24", "192.0.2.128/25", "10.0.0.0/7", "0.0.0.0/0", "192.0.2.1/32"}) {
    const auto prefix = IpPrefix::parse(text);
    ASSERT_TRUE(prefix) << text;
    for (std::uint32_t flip = 0; flip < 32; ++flip) {
      const auto other = IpAddress::from_ipv4(prefix->address.ipv4() ^ 1U << flip);
      bool shared = true;
      for (unsigned bit = 96; bit < 96U + prefix->length; ++bit) {
        shared = shared && bit_of(other, bit) == bit_of(prefix->address, bit);
      }
      EXPECT_EQ(prefix->contains(other), shared) << text << " " << other.text();
    }
  }
  EXPECT_FALSE(IpPrefix::parse("::/0")->contains(*IpAddress::parse("192.0.2.1")));
  EXPECT_FALSE(IpPrefix::parse("0.0.0.0/0")->contains(*IpAddress::parse("2001:db8::1")));
}

}  // namespace
}  // namespace pharos
