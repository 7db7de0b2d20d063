// Host names of responders, looked up by a thread of its own, so that a slow resolver never delays a beacon.
#pragma once

#include "pharos/base/clock.hh"
#include "pharos/config/model.hh"
#include "pharos/controlplane/agent/agent_config.hh"

#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace pharos::agent {

class Resolver {
 public:
  static constexpr Duration refresh_interval = seconds(30);

  // Looks `hosts` up at once and then every 30 s; starts no thread where all are addresses already.
  explicit Resolver(const std::vector<std::string>& hosts);
  ~Resolver();
  Resolver(Resolver&&) = delete;

  // The newest known address; nothing before the first look-up has succeeded. A failed one keeps the former.
  [[nodiscard]] std::optional<config::SocketAddress> find(const HostPort& where) const;

 private:
  void run(const std::stop_token& stop);

  std::vector<std::string> names_;  // constant after construction
  mutable std::mutex mutex_;        // guards what follows
  std::condition_variable_any wake_;
  std::map<std::string, IpAddress> addresses_;
  std::jthread thread_;  // last: ends before what it uses
};

}  // namespace pharos::agent
