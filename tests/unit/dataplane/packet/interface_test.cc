#include "pharos/dataplane/packet/interface.hh"

#include <gtest/gtest.h>

namespace pharos::dataplane {
namespace {

IpAddress address(const std::string& text) {
  return *IpAddress::parse(text);
}

InterfaceSettings settings() {
  InterfaceSettings s;
  s.mac = MacAddress{{0x52, 0x54, 0x00, 0x12, 0x34, 0x56}};
  s.addresses = {address("192.0.2.1"), address("2001:db8::53")};
  return s;
}

bool ours(const Interface& interface, const std::string& text) {
  const auto a = address(text);
  return a.is_ipv4() ? interface.is_ours(load<std::uint32_t>(a.wire().data()))
                     : interface.is_ours(a.wire().data());
}

TEST(InterfaceTest, KnowsItsAddressesAndTheLinkLocalOneOfItsMac) {
  const auto interface = make_interface(settings());
  ASSERT_TRUE(interface);
  EXPECT_TRUE(ours(*interface, "192.0.2.1"));
  EXPECT_TRUE(ours(*interface, "2001:db8::53"));
  EXPECT_TRUE(ours(*interface, "fe80::5054:ff:fe12:3456"));
  EXPECT_FALSE(ours(*interface, "192.0.2.2"));
  EXPECT_FALSE(ours(*interface, "0.0.0.0"));
  EXPECT_FALSE(ours(*interface, "2001:db8::54"));
  EXPECT_FALSE(ours(*interface, "::"));
}

TEST(InterfaceTest, FindsEveryAddressOfAFullInterface) {
  auto s = settings();
  s.addresses.clear();
  for (unsigned i = 0; i < interface_addresses_max; ++i)
    s.addresses.push_back(IpAddress::from_ipv4(0x0a000001 + i));
  const auto interface = make_interface(s);
  ASSERT_TRUE(interface);
  for (const auto& a : s.addresses) EXPECT_TRUE(ours(*interface, a.text()));
  s.addresses.push_back(address("10.9.9.9"));
  EXPECT_EQ(make_interface(s).error().code, ErrorCode::exhausted);
}

TEST(InterfaceTest, TakesAnAddressTwiceAsOne) {
  auto s = settings();
  s.addresses = {address("192.0.2.1"), address("192.0.2.1"), address("fe80::5054:ff:fe12:3456")};
  const auto interface = make_interface(s);
  ASSERT_TRUE(interface);
  EXPECT_EQ(interface->ipv4_count, 1U);
  EXPECT_EQ(interface->ipv6_count, 1U);
}

TEST(InterfaceTest, JoinsAllNodesAndItsSolicitedNodeGroups) {
  const auto macs = multicast_macs(*make_interface(settings()));
  ASSERT_EQ(macs.size(), 3U);
  EXPECT_EQ(macs[0].text(), "33:33:00:00:00:01");
  EXPECT_EQ(macs[1].text(), "33:33:ff:00:00:53");
  EXPECT_EQ(macs[2].text(), "33:33:ff:12:34:56");
}

TEST(InterfaceTest, RefusesWhatNoPortCanHave) {
  for (const char* text :
       {"0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "::", "::1", "ff02::1"}) {
    auto s = settings();
    s.addresses = {address(text)};
    const auto interface = make_interface(s);
    ASSERT_FALSE(interface) << text;
    EXPECT_NE(interface.error().text().find(text), std::string::npos) << interface.error().text();
  }
  auto s = settings();
  s.mac.bytes[0] |= 1;
  EXPECT_FALSE(make_interface(s));
  s.mac = {};
  EXPECT_FALSE(make_interface(s));
  for (const std::uint16_t vlan : {std::uint16_t{0}, std::uint16_t{4095}}) {
    s = settings();
    s.vlan = vlan;
    EXPECT_FALSE(make_interface(s));
  }
  s = settings();
  s.beacon_port = s.dns_port;
  EXPECT_FALSE(make_interface(s));
}

}  // namespace
}  // namespace pharos::dataplane
