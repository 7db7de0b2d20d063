#include "pharos/dataplane/io/device.hh"

#include <gtest/gtest.h>

namespace pharos::dataplane::io {
namespace {

[[nodiscard]] config::PortConfig port_with(std::string device, unsigned queues = 1) {
  config::PortConfig port;
  port.id = "p";
  port.device = std::move(device);
  port.queues = queues;
  port.source = {"pharos.yaml", 7};
  return port;
}

TEST(DeviceTest, TakesPciAddressesWithAndWithoutDomain) {
  const auto full = parse_device(port_with("0000:3b:00.0"));
  ASSERT_TRUE(full);
  EXPECT_TRUE(full->is_pci());
  EXPECT_EQ(full->eal_text(), "0000:3b:00.0");
  const auto brief = parse_device(port_with("3b:00.1,representor=1"));
  ASSERT_TRUE(brief);
  EXPECT_EQ(brief->name, "0000:3b:00.1");
  EXPECT_EQ(brief->eal_text(), "0000:3b:00.1,representor=1");
}

TEST(DeviceTest, RefusesWhatIsNeitherPciNorVirtual) {
  for (const char* text :
       {"", ",", "eth0", "net_", "net_af_packet", "af_packet0", "0000:3b:00", "0000:3b:00.",
        "0000:3b:00.00", "00000:3b:00.0", "0000:3b:0.0", "000g:3b:00.0", "net af0", "12", "3b.0"}) {
    const auto device = parse_device(port_with(text));
    ASSERT_FALSE(device) << text;
    EXPECT_EQ(device.error().code, ErrorCode::invalid);
    EXPECT_EQ(device.error().where, "pharos.yaml:7");
    EXPECT_FALSE(device.error().hint.empty());
  }
}

TEST(DeviceTest, TunesAfPacketWhereTheUserDidNot) {
  const auto plain = parse_device(port_with("net_af_packet0,iface=eth1"));
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->driver, "net_af_packet");
  EXPECT_EQ(plain->eal_text(),
            "net_af_packet0,iface=eth1,qdisc_bypass=1,blocksz=1048576,framesz=2048,framecnt=8192");
  const auto given =
      parse_device(port_with("net_af_packet1,framecnt=512,iface=eth1,qdisc_bypass=0", 2));
  ASSERT_TRUE(given);
  EXPECT_EQ(given->arguments,
            "framecnt=512,iface=eth1,qdisc_bypass=0,blocksz=1048576,framesz=2048,qpairs=2");
}

TEST(DeviceTest, TellsDriversTheNumberOfQueuesOnlyWhenThereAreSeveral) {
  EXPECT_EQ(parse_device(port_with("net_af_xdp0,iface=eth1"))->arguments, "iface=eth1");
  EXPECT_EQ(parse_device(port_with("net_af_xdp0,iface=eth1", 4))->arguments,
            "iface=eth1,queue_count=4");
  EXPECT_EQ(parse_device(port_with("net_virtio_user0,path=/s", 2))->arguments, "path=/s,queues=2");
  EXPECT_EQ(parse_device(port_with("net_tap0", 2))->arguments, "");
}

}  // namespace
}  // namespace pharos::dataplane::io
