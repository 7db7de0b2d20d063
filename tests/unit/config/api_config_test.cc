// The section `controlplane.api`: no configuration lets strangers in.
#include <gtest/gtest.h>

#include "small_config.hh"

namespace pharos::config {
namespace {

const std::string hash(64, 'a');

std::string api(const std::string& keys) {
  return "controlplane: {api: {" + keys + "}}\n";
}

TEST(ApiConfigTest, IsOffByDefaultAndTakesWhatItIsTold) {
  const auto none = load_text("log_level: info\n", "test.yaml");
  ASSERT_TRUE(none);
  EXPECT_TRUE(none->controlplane.api.listen.empty());
  const auto config =
      load_text(api("listen: [\"127.0.0.1:8053\", \"[::1]:8053\"], requests_per_second: 5, tokens: "
                    "[{id: ops, role: write, hash: " +
                    hash + "}]"),
                "test.yaml");
  ASSERT_TRUE(config) << config.error().text();
  const auto& read = config->controlplane.api;
  EXPECT_EQ(read.listen.size(), 2U);
  EXPECT_EQ(read.tokens.at(0).id, "ops");
  EXPECT_EQ(read.tokens.at(0).role, ApiRole::write);
  EXPECT_EQ(read.tokens.at(0).hash[31], 0xaa);
  EXPECT_EQ(read.requests_per_second, 5);
}

TEST(ApiConfigTest, RefusesADoorForStrangers) {
  const std::string at = "test.yaml:1: the API would listen beyond loopback, at 192.0.2.1, ";
  const std::string tls = "certificate: a.crt, key: a.key";
  const std::string tokens = "tokens: [{id: a, hash: " + hash + "}]";
  expect_mistake(api("listen: 192.0.2.1:8443, " + tokens),
                 at + "without TLS (set `certificate` and `key`)");
  expect_mistake(api("listen: 192.0.2.1:8443, " + tls),
                 at +
                     "and knows no caller (add `tokens` (pharosctl token generate), or `client_ca` "
                     "and `clients`)");
  expect_mistake(api("listen: [192.0.2.1:8443], anonymous_read: true, " + tls + ", " + tokens),
                 at + "and let strangers read (anonymous_read is for loopback only)");
  // An issuer alone names nobody.
  expect_mistake(api("listen: 192.0.2.1:8443, client_ca: ca.crt, " + tls),
                 at +
                     "and knows no caller (add `tokens` (pharosctl token generate), or `client_ca` "
                     "and `clients`)");
  EXPECT_EQ(mistakes_of(api("listen: 192.0.2.1:8443, " + tls + ", " + tokens)), "");
  EXPECT_EQ(
      mistakes_of(api("listen: 192.0.2.1:8443, client_ca: ca.crt, clients: [{name: ops}], " + tls)),
      "");
  EXPECT_EQ(mistakes_of(api("listen: [127.0.0.1:8053], anonymous_read: true")), "");
}

TEST(ApiConfigTest, NamesHalvesAndDoubles) {
  expect_mistake(api("certificate: a.crt"),
                 "test.yaml:1: a certificate needs its key, and a key its certificate (set both "
                 "`certificate` and `key`)");
  expect_mistake(api("client_ca: ca.crt"),
                 "test.yaml:1: client certificates need TLS (set `certificate` and `key`)");
  expect_mistake(
      api("clients: [{name: ops}]"),
      "test.yaml:1: nothing says who issues the certificates of `clients` (set `client_ca`)");
  expect_mistake(api("tokens: [{id: a, hash: " + hash + "}, {id: a, hash: " + hash + "}]"),
                 "test.yaml:1: token 'a' stands here again");
  EXPECT_NE(mistakes_of(api("tokens: [{id: a, hash: " + hash.substr(1) + "}]")).find("32 bytes"),
            std::string::npos);
}

}  // namespace
}  // namespace pharos::config
