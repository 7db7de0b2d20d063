// An agent on loopback and a responder that takes its beacons through the real gate. Ports are the kernel's choice; waiting
// is for events, never for time. Tests only.
#pragma once

#include "pharos/controlplane/agent/agent.hh"
#include "pharos/controlplane/ingest/beacon_gate.hh"
#include "pharos/controlplane/ingest/socket_address.hh"
#include "pharos/controlplane/ingest/udp_receiver.hh"

#include <poll.h>
#include <sys/socket.h>

#include <gtest/gtest.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "beacon_builder.hh"

namespace pharos::agent {

using controlplane::AcceptedBeacon;
using controlplane::BeaconGate;
using controlplane::BeaconSites;
using controlplane::BeaconVerdict;
using controlplane::from_system;
using controlplane::to_system;
using controlplane::UdpReceiver;
using controlplane::testing::key_of;
using controlplane::testing::site_of;

inline constexpr Duration patience = seconds(20);

inline config::SocketAddress loopback(const char* address = "127.0.0.1") {
  return {*IpAddress::parse(address), 0};
}

// A responder: takes beacons through the real gate, and answers every DNS query with REFUSED.
class Responder {
 public:
  explicit Responder(const char* address = "127.0.0.1")
      : beacons_(*UdpReceiver::open(loopback(address), 1 << 20)),
        dns_(*UdpReceiver::open(loopback(address), 1 << 16)) {}

  [[nodiscard]] HostPort beacon() const {
    return {beacons_.address().address.text(), beacons_.address().port};
  }
  [[nodiscard]] HostPort dns() const {
    return {dns_.address().address.text(), dns_.address().port};
  }

  using Wanted = std::function<bool(const AcceptedBeacon&)>;

  // Judges what has arrived by now; true where an accepted beacon satisfies `wanted`. `last` is the newest accepted.
  bool receive(const Wanted& wanted) {
    answer_queries();
    bool satisfied = false;
    for (const auto datagram : beacons_.receive().datagrams) {
      const auto at = now();
      verdicts.push_back(gate_.admit(datagram, at.monotonic, at.wall, scratch_));
      if (verdicts.back() != BeaconVerdict::accepted) continue;
      last = scratch_;
      satisfied = wanted(last) || satisfied;
    }
    return satisfied;
  }
  // For waits without an agent of ours to turn.
  void wait() const {
    pollfd wanted[] = {{beacons_.fd(), POLLIN, 0}, {dns_.fd(), POLLIN, 0}};
    ::poll(wanted, 2, 1000);
  }

  AcceptedBeacon last;
  std::vector<BeaconVerdict> verdicts;

 private:
  void answer_queries() {
    std::array<std::byte, 512> query;
    sockaddr_storage from{};
    for (;;) {
      socklen_t length = sizeof from;
      const auto size = ::recvfrom(dns_.fd(), query.data(), query.size(), MSG_DONTWAIT,
                                   reinterpret_cast<sockaddr*>(&from), &length);
      if (size < 12) return;
      query[2] |= std::byte{0x80};
      query[3] = std::byte{5};
      ::sendto(dns_.fd(), query.data(), static_cast<std::size_t>(size), 0,
               reinterpret_cast<const sockaddr*>(&from), length);
    }
  }

  UdpReceiver beacons_, dns_;
  BeaconGate gate_{
      *BeaconSites::make(std::vector{site_of("fra", {key_of(1, 0x11), key_of(2, 0x22)})}, 1),
      seconds(30)};
  AcceptedBeacon scratch_;
};

class AgentTest : public ::testing::Test {
 protected:
  AgentTest()
      : directory_(::testing::TempDir() + "pharos-agent-" + std::to_string(::getpid()) + "-" +
                   ::testing::UnitTest::GetInstance()->current_test_info()->name()) {
    std::filesystem::create_directories(directory_);
  }
  ~AgentTest() override { std::filesystem::remove_all(directory_); }

  AgentConfig config_for(const Responder& responder) const {
    AgentConfig config;
    config.site = "fra";
    config.key = key_of(1, 0x11);
    config.interval = milliseconds(20);
    config.send_copies = 1;
    config.responders = {{responder.beacon(), responder.dns()}};
    config.state_directory = directory_ + "/state";
    return config;
  }
  static Agent open(AgentConfig config) {
    auto agent = Agent::open(std::move(config));
    EXPECT_TRUE(agent) << agent.error().text();
    return std::move(*agent);
  }
  // Turns agent and responder until a beacon satisfies `wanted`.
  static bool until(Agent& agent, Responder& responder,
                    const std::function<bool(const AcceptedBeacon&)>& wanted) {
    const auto deadline = monotonic_now() + patience;
    while (monotonic_now() < deadline) {
      agent.turn(monotonic_now() + milliseconds(50));
      if (responder.receive(wanted)) return true;
    }
    return false;
  }
  void write(const std::string& name, const std::string& text) const {
    // Readers never see half of it.
    std::ofstream(directory_ + "/" + name + ".new") << text;
    std::filesystem::rename(directory_ + "/" + name + ".new", directory_ + "/" + name);
  }

  std::string directory_;
};

}  // namespace pharos::agent
