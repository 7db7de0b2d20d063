// getaddrinfo(3) in a thread; see resolver.hh.
#include "pharos/controlplane/agent/resolver.hh"

#include "pharos/controlplane/ingest/socket_address.hh"

#include <netdb.h>

#include <spdlog/spdlog.h>

#include <chrono>
#include <memory>

namespace pharos::agent {

namespace {

std::optional<IpAddress> look_up(const std::string& name) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_DGRAM;
  hints.ai_flags = AI_ADDRCONFIG;
  addrinfo* found = nullptr;
  const int code = ::getaddrinfo(name.c_str(), nullptr, &hints, &found);
  if (code != 0) {
    spdlog::warn("responder {}: {}", name, ::gai_strerror(code));
    return std::nullopt;
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, ::freeaddrinfo);
  sockaddr_storage system{};
  std::memcpy(&system, found->ai_addr, found->ai_addrlen);
  return controlplane::from_system(system).address;
}

}  // namespace

Resolver::Resolver(const std::vector<std::string>& hosts) {
  for (const auto& host : hosts) {
    if (const auto address = IpAddress::parse(host)) {
      addresses_[host] = *address;
    } else {
      names_.push_back(host);
    }
  }
  if (!names_.empty()) thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
}

Resolver::~Resolver() = default;

std::optional<config::SocketAddress> Resolver::find(const HostPort& where) const {
  const std::lock_guard lock(mutex_);
  const auto found = addresses_.find(where.host);
  if (found == addresses_.end()) return std::nullopt;
  return config::SocketAddress{found->second, where.port};
}

void Resolver::run(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    for (const auto& name : names_) {
      const auto address = look_up(name);
      const std::lock_guard lock(mutex_);
      if (address) addresses_[name] = *address;
    }
    std::unique_lock lock(mutex_);
    wake_.wait_for(lock, stop, std::chrono::nanoseconds(refresh_interval.ns), [] { return false; });
  }
}

}  // namespace pharos::agent
