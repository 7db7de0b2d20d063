// The section `dataplane.dnstap`.
#include <gtest/gtest.h>

#include "small_config.hh"
#include "temporary_files.hh"

namespace pharos::config {
namespace {

std::string dnstap(const std::string& keys) {
  return "dataplane: {dnstap: {" + keys + "}}\n";
}

TEST(DnstapConfigTest, IsOffByDefaultAndTakesWhatItIsTold) {
  const auto none = load_text("log_level: info\n", "test.yaml");
  ASSERT_TRUE(none);
  EXPECT_FALSE(none->dataplane.dnstap.on());
  const auto config = load_text(
      dnstap(
          "tcp: \"[::1]:6000\", sample: 100, messages: responses, clients: keyed, ipv4_prefix: 16, "
          "ipv6_prefix: 0, identity: fra-1, ring: 4MiB"),
      "test.yaml");
  ASSERT_TRUE(config) << config.error().text();
  const auto& read = config->dataplane.dnstap;
  EXPECT_TRUE(read.on());
  EXPECT_EQ(read.tcp->port, 6000);
  EXPECT_EQ(read.sample, 100U);
  EXPECT_EQ(read.messages, DnstapMessages::responses);
  EXPECT_EQ(read.clients, DnstapClients::keyed);
  EXPECT_EQ(read.ipv4_prefix, 16U);
  EXPECT_EQ(read.ipv6_prefix, 0U);
  EXPECT_FALSE(read.key) << "a random one";
  EXPECT_EQ(read.identity, "fra-1");
  EXPECT_EQ(read.ring_bytes, 4U << 20);
}

TEST(DnstapConfigTest, TheDataPlaneReadsItsKeyAndTheControlPlaneDoesNotNeedIt) {
  const TemporaryFiles files;
  const auto key = files.write("dnstap.key", "000102030405060708090a0b0c0d0e0f\n");
  const auto text = dnstap("socket: /run/dnstap.sock, clients: keyed, key_file: " + key);
  const auto config = load_text(text, "test.yaml", Reading::without_secrets);
  ASSERT_TRUE(config) << config.error().text();
  ASSERT_TRUE(config->dataplane.dnstap.key);
  EXPECT_EQ((*config->dataplane.dnstap.key)[15], 0x0f);
  files.write("open.key", "000102030405060708090a0b0c0d0e0f\n", 0644);
  EXPECT_NE(mistakes_of(
                dnstap("socket: /a, clients: keyed, key_file: " + files.directory() + "/open.key")),
            "");
}

TEST(DnstapConfigTest, SaysWhatIsWrong) {
  expect_mistake(dnstap("sample: 5"),
                 "test.yaml:1: dnstap has neither 'socket' nor 'tcp' (say where the reader is: "
                 "socket: /run/dnstap.sock)");
  expect_mistake(dnstap("socket: /a, tcp: \"127.0.0.1:1\""),
                 "test.yaml:1: dnstap has both 'socket' and 'tcp' (give one of them)");
  expect_mistake(dnstap("socket: /a, sample: 0"),
                 "test.yaml:1: number 0 is out of range (write one from 1 to 1000000000)");
  expect_mistake(dnstap("socket: /a, ring: 300KiB"),
                 "test.yaml:1: ring 300KiB is not a power of two (write 512KiB)");
  expect_mistake(dnstap("socket: /" + std::string(107, 'a')),
                 "test.yaml:1: the path of the socket is longer than 107 bytes (choose a shorter "
                 "one)");
  EXPECT_EQ(mistakes_of(dnstap("socket: /" + std::string(106, 'a'))), "");
  expect_mistake(dnstap("socket: /a, key_file: /b"),
                 "test.yaml:1: key file '/b' cannot be read (pharosctl key generate --bytes 16 "
                 "--bare makes one)\n"
                 "test.yaml:1: 'key_file' without clients: keyed (add clients: keyed)");
}

// Promise 13: an address never leaves whole.
TEST(DnstapConfigTest, NoPrefixIsLongEnoughForAnAddress) {
  expect_mistake(dnstap("socket: /a, ipv4_prefix: 25"),
                 "test.yaml:1: number 25 is out of range (write one from 0 to 24)");
  expect_mistake(dnstap("socket: /a, ipv6_prefix: 57"),
                 "test.yaml:1: number 57 is out of range (write one from 0 to 56)");
}

}  // namespace
}  // namespace pharos::config
