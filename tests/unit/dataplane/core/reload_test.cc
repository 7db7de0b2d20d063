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
  next.dataplane.ecs = false;
  next.dataplane.ports[0].queues = 2;
  next.dataplane.memory_bytes *= 2;
  next.run_directory = "/run/other";
  const auto changes = compare(running(), next);
  EXPECT_THAT(changes.live, ElementsAre("log_level", "dataplane.nsid", "dataplane.udp_payload_max",
                                        "dataplane.ecs"));
  EXPECT_THAT(changes.restart, ElementsAre("run_directory", "dataplane.memory", "dataplane.ports"));
}

TEST(ReloadTest, AppliesTheLivePartOnlySoThatTheRestIsReportedAgain) {
  auto current = running();
  auto next = running();
  next.dataplane.nsid = "fra1";
  next.server_name = "ns7";
  next.dataplane.dns_port = 5353;
  apply_live(current, next);
  EXPECT_EQ(serve_options(current).nsid, "fra1");
  EXPECT_EQ(serve_options(current).server_id, "ns7");
  EXPECT_EQ(current.dataplane.dns_port, 53);
  const auto changes = compare(current, next);
  EXPECT_THAT(changes.live, IsEmpty());
  EXPECT_THAT(changes.restart, ElementsAre("dataplane.dns_port"));
}

}  // namespace
}  // namespace pharos::dataplane
