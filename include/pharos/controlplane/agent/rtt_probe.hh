// The round-trip time to one responder: a plain DNS query to its DNS port, time to any reply that carries our id.
//
// DNS and not ICMP, because it is answered on the packet path that clients use, passes the same filters, and needs no
// privilege. REFUSED is as good as an answer. The reported value is the median of the newest five replies, so that one
// late wake-up of this process does not show; it is absent when the newest is older than ten seconds. One thread.
#pragma once

#include "pharos/base/clock.hh"
#include "pharos/base/error.hh"
#include "pharos/config/model.hh"
#include "pharos/controlplane/agent/poller.hh"

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace pharos::agent {

// A query for SOA of `name` (dotted text) in class IN, without EDNS. Errors: invalid (not a domain name).
[[nodiscard]] Result<std::vector<std::byte>> make_probe_query(const std::string& name);

class RttProbe {
 public:
  static constexpr unsigned samples_max = 5;
  static constexpr Duration sample_age_max = seconds(10);

  RttProbe(Poller& poller, std::vector<std::byte> query);
  ~RttProbe();
  RttProbe(RttProbe&&) = delete;

  // Sends one query; the one before it, if unanswered, is given up.
  void send(const config::SocketAddress& to, Instant at);
  [[nodiscard]] std::optional<float> rtt_us(Instant at) const;

 private:
  void receive();
  void close_socket();

  Poller& poller_;
  std::vector<std::byte> query_;
  UniqueFd socket_;
  config::SocketAddress peer_;
  std::uint16_t id_ = 0;
  bool waiting_ = false;
  Instant sent_at_;
  struct Sample {
    Instant at;
    float rtt_us;
  };
  std::vector<Sample> samples_;
};

}  // namespace pharos::agent
