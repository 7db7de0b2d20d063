#include "pharos/dataplane/io/eal.hh"

#include <gtest/gtest.h>

#include <algorithm>

namespace pharos::dataplane::io {
namespace {

[[nodiscard]] config::DataplaneConfig with_ports(std::vector<unsigned> queues) {
  config::DataplaneConfig dataplane;
  for (std::size_t i = 0; i < queues.size(); ++i) {
    config::PortConfig port;
    port.id = "p" + std::to_string(i);
    port.device = "net_tap" + std::to_string(i);
    port.queues = queues[i];
    dataplane.ports.push_back(port);
  }
  return dataplane;
}

[[nodiscard]] bool has(const EalPlan& plan, const std::string& argument) {
  return std::ranges::find(plan.arguments, argument) != plan.arguments.end();
}
[[nodiscard]] std::string behind(const EalPlan& plan, const std::string& option) {
  const auto found = std::ranges::find(plan.arguments, option);
  return found == plan.arguments.end() || found + 1 == plan.arguments.end() ? "" : *(found + 1);
}

TEST(EalPlanTest, GivesEachQueueAWorkerAsFarAsThereAreCores) {
  const auto plan = plan_eal(with_ports({2, 1}), "/run/x", {.cores = {0, 1, 2, 3, 4}});
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->control_core, 0U);
  EXPECT_EQ(plan->worker_cores, (std::vector<unsigned>{1, 2, 3}));
  EXPECT_EQ(behind(*plan, "--lcores"), "0@0,1@1,2@2,3@3");

  const auto few = plan_eal(with_ports({4}), "/run/x", {.cores = {0, 1}});
  ASSERT_TRUE(few);
  EXPECT_EQ(few->worker_cores, (std::vector<unsigned>{1}));
}

TEST(EalPlanTest, SharesTheOnlyCoreOfASmallMachine) {
  const auto plan = plan_eal(with_ports({1}), "/run/x", {.cores = {3}});
  ASSERT_TRUE(plan);
  EXPECT_EQ(behind(*plan, "--lcores"), "0@3,1@3");
}

TEST(EalPlanTest, TakesTheCoresThatTheConfigurationNames) {
  auto dataplane = with_ports({2});
  dataplane.worker_cores = {5, 2};
  dataplane.control_core = 4;
  const HostFacts host{.cores = {0, 1, 2, 3, 4, 5}};
  EXPECT_EQ(behind(*plan_eal(dataplane, "/run/x", host), "--lcores"), "0@4,1@5,2@2");

  dataplane.worker_cores = {5, 9};
  const auto outside = plan_eal(dataplane, "/run/x", host);
  ASSERT_FALSE(outside);
  EXPECT_NE(outside.error().text().find("core 9"), std::string::npos);
  EXPECT_NE(outside.error().hint.find("0, 1, 2, 3, 4, 5"), std::string::npos);

  dataplane.worker_cores = {5, 5};
  EXPECT_FALSE(plan_eal(dataplane, "/run/x", host));
  dataplane.worker_cores = {5};
  dataplane.control_core = 6;
  EXPECT_FALSE(plan_eal(dataplane, "/run/x", host));
}

TEST(EalPlanTest, NeverAsksForInMemoryAndNoHugeTogether) {
  auto dataplane = with_ports({1});
  dataplane.memory_bytes = 256U << 20;
  for (const auto policy :
       {config::HugePages::automatic, config::HugePages::required, config::HugePages::never}) {
    for (const std::uint64_t free_bytes :
         {std::uint64_t{0}, dataplane.memory_bytes - 1, dataplane.memory_bytes}) {
      dataplane.huge_pages = policy;
      const auto plan =
          plan_eal(dataplane, "/run/x", {.cores = {0, 1}, .free_huge_page_bytes = free_bytes});
      const bool enough = free_bytes >= dataplane.memory_bytes;
      if (policy == config::HugePages::required && !enough) {
        ASSERT_FALSE(plan);
        EXPECT_EQ(plan.error().code, ErrorCode::exhausted);
        continue;
      }
      ASSERT_TRUE(plan);
      EXPECT_EQ(plan->huge_pages, enough && policy != config::HugePages::never);
      EXPECT_EQ(has(*plan, "--in-memory"), plan->huge_pages);
      EXPECT_EQ(has(*plan, "--no-huge"), !plan->huge_pages);
      EXPECT_EQ(behind(*plan, "-m"), "256");
    }
  }
}

TEST(EalPlanTest, TellsRunDirectoriesApartByFilePrefix) {
  const HostFacts host{.cores = {0, 1}};
  const auto a = plan_eal(with_ports({1}), "/run/a", host);
  const auto b = plan_eal(with_ports({1}), "/run/b", host);
  EXPECT_NE(behind(*a, "--file-prefix"), behind(*b, "--file-prefix"));
  EXPECT_EQ(behind(*a, "--file-prefix"),
            behind(*plan_eal(with_ports({2}), "/run/a", host), "--file-prefix"));
}

TEST(EalPlanTest, ProbesPciOnlyForPciPorts) {
  auto dataplane = with_ports({1});
  dataplane.eal_arguments = {"--no-telemetry"};
  const HostFacts host{.cores = {0, 1}};
  auto plan = plan_eal(dataplane, "/run/x", host);
  EXPECT_TRUE(has(*plan, "--no-pci"));
  EXPECT_EQ(behind(*plan, "--vdev"), "net_tap0");
  EXPECT_EQ(plan->arguments.back(), "--no-telemetry");

  dataplane.ports[0].device = "0000:3b:00.0";
  plan = plan_eal(dataplane, "/run/x", host);
  EXPECT_FALSE(has(*plan, "--no-pci"));
  EXPECT_EQ(behind(*plan, "-a"), "0000:3b:00.0");
}

TEST(EalPlanTest, RefusesNoPortsAndOneDeviceTwice) {
  EXPECT_FALSE(plan_eal({}, "/run/x", {.cores = {0, 1}}));
  auto twice = with_ports({1, 1});
  twice.ports[1].device = "net_tap0,iface=other";
  const auto plan = plan_eal(twice, "/run/x", {.cores = {0, 1}});
  ASSERT_FALSE(plan);
  EXPECT_NE(plan.error().what.find("net_tap0"), std::string::npos);
}

}  // namespace
}  // namespace pharos::dataplane::io
