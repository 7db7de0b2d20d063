#include "pharos/dataplane/core/reload.hh"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pharos::dataplane {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

[[nodiscard]] config::Config running() {
  config::Config config;
  config::PortConfig port;
  port.id = "public";
  port.device = "net_tap0";
  port.source = {"a.yaml", 3};
  config.dataplane.ports = {port};
  return config;
}

TEST(ReloadTest, SeesNoChangeInTheSameConfigurationWrittenElsewhere) {
  auto next = running();
  next.dataplane.ports[0].source = {"b.yaml", 99};
  const auto changes = compare(running(), next);
  EXPECT_THAT(changes.live, IsEmpty());
  EXPECT_THAT(changes.restart, IsEmpty());
}

TEST(ReloadTest, TellsLiveChangesFromThoseThatNeedARestart) {
  auto next = running();
  next.log_level = "debug";
  next.dataplane.nsid = "fra1";
  next.dataplane.udp_payload_max_bytes = 1400;
  next.dataplane.ecs = catalog::EcsMode::ignore;
  next.dataplane.ecs_resolvers = {*IpPrefix::parse("192.0.2.0/24")};
  next.dataplane.listen = {{*IpAddress::parse("127.0.0.1"), 53}};
  next.dataplane.tcp.connections_max = 7;
  next.dataplane.ports[0].queues = 2;
  next.dataplane.memory_bytes *= 2;
  next.run_directory = "/run/other";
  const auto changes = compare(running(), next);
  EXPECT_THAT(changes.live, ElementsAre("log_level", "dataplane.nsid", "dataplane.udp_payload_max",
                                        "dataplane.ecs", "dataplane.ecs_resolvers",
                                        "dataplane.listen", "dataplane.tcp"));
  EXPECT_THAT(changes.restart, ElementsAre("run_directory", "dataplane.memory", "dataplane.ports"));
}

TEST(ReloadTest, AppliesTheLivePartOnlySoThatTheRestIsReportedAgain) {
  auto current = running();
  auto next = running();
  next.dataplane.nsid = "fra1";
  next.server_name = "ns7";
  next.dataplane.dns_port = 5353;
  next.dataplane.demand_samples = false;
  next.dataplane.tcp.idle_timeout = milliseconds(12'345);
  next.dataplane.listen = {{*IpAddress::parse("127.0.0.1"), 53}};
  next.dataplane.ecs_heard = false;
  next.dataplane.ecs_resolvers = {*IpPrefix::parse("192.0.2.0/24")};
  apply_live(current, next);
  EXPECT_FALSE(serve_options(current).ecs_enabled);
  EXPECT_EQ(serve_options(current).ecs_resolvers, next.dataplane.ecs_resolvers);
  EXPECT_FALSE(serve_options(current).demand_sampled);
  EXPECT_EQ(serve_options(current).nsid, "fra1");
  EXPECT_EQ(serve_options(current).server_id, "ns7");
  EXPECT_EQ(current.dataplane.dns_port, 53);
  EXPECT_EQ(serve_options(current).tcp_keepalive_ds, 123);
  EXPECT_EQ(current.dataplane.listen.size(), 1U);
  const auto changes = compare(current, next);
  EXPECT_THAT(changes.live, IsEmpty());
  EXPECT_THAT(changes.restart, ElementsAre("dataplane.dns_port"));
}

TEST(ReloadTest, DnstapChangesLiveAndTheRateOfNameSamplesDoesNot) {
  auto next = running();
  next.dataplane.dnstap.socket = "/run/dnstap.sock";
  next.dataplane.dnstap.sample = 100;
  next.dataplane.name_samples_per_second = 0;
  auto config = running();
  EXPECT_THAT(compare(config, next).live, ElementsAre("dataplane.dnstap"));
  EXPECT_THAT(compare(config, next).restart, ElementsAre("dataplane.name_samples"));
  apply_live(config, next);
  EXPECT_EQ(config.dataplane.dnstap, next.dataplane.dnstap);
  EXPECT_THAT(compare(config, next).live, IsEmpty());
}

TEST(ReloadTest, RateLimitsAndCookieSecretsChangeLive) {
  auto next = running();
  next.dataplane.rate_limit.responses_per_second = 100;
  next.dataplane.rate_limit.errors_per_second = 5;
  next.dataplane.rate_limit.classes = {{"slow", 2}};
  next.dataplane.cookies.secrets.resize(2);
  next.dataplane.cookies.secrets[1].secret[3] = 9;
  auto config = running();
  EXPECT_FALSE(serve_options(config).rate_limit.enabled());
  EXPECT_THAT(compare(config, next).live, ElementsAre("dataplane.rate_limit", "dataplane.cookies"));
  EXPECT_THAT(compare(config, next).restart, IsEmpty());
  apply_live(config, next);
  EXPECT_THAT(compare(config, next).live, IsEmpty());
  const auto options = serve_options(config);
  const auto rate = [&](AnswerClass answer_class) {
    return options.rate_limit.per_second[static_cast<std::size_t>(answer_class)];
  };
  EXPECT_EQ(rate(AnswerClass::positive), 100);
  EXPECT_EQ(rate(AnswerClass::nxdomain), 100) << "no rate of its own";
  EXPECT_EQ(rate(AnswerClass::error), 5);
  EXPECT_THAT(options.rate_limit.classes, ElementsAre(2));
  ASSERT_EQ(options.cookie_secrets.size(), 2U);
  EXPECT_EQ(options.cookie_secrets[1][3], std::byte{9});
}

}  // namespace
}  // namespace pharos::dataplane
