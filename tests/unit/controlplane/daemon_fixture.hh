// A whole daemon, and a data plane on the real tables socket that only keeps what it is sent. Tests only.
#pragma once

#include "pharos/config/model.hh"
#include "pharos/controlplane/engine/daemon.hh"
#include "pharos/shared/control_protocol.hh"
#include "pharos/shared/table_channel.hh"
#include "pharos/wire/beacon.hh"

#include <poll.h>
#include <sys/socket.h>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <thread>

#include "daemon_files.hh"

namespace pharos::controlplane {

inline constexpr auto patience = std::chrono::seconds(20);

// Serves tables.sock from a thread: Hello, then every publish is proven, kept and acknowledged.
class DataplaneDouble {
 public:
  explicit DataplaneDouble(const std::string& path, Version in_use = {}) : in_use_(in_use) {
    auto listener = table_channel::listen_at(path);
    EXPECT_TRUE(listener) << listener.error().text();
    listener_ = std::move(*listener);
    thread_ = std::thread([this] { run(); });
  }
  ~DataplaneDouble() {
    stopping_ = true;
    ::shutdown(listener_.get(), SHUT_RDWR);
    thread_.join();
  }

  // Waits for a publish whose version is above `version`; false when none comes.
  bool wait_above(Version version) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, patience, [&] { return in_use_ > version; });
  }
  [[nodiscard]] Version in_use() {
    const std::lock_guard lock(mutex_);
    return in_use_;
  }
  [[nodiscard]] std::uint64_t name_count() {
    const std::lock_guard lock(mutex_);
    return name_count_;
  }

 private:
  static bool readable(int fd) {
    pollfd waiting{.fd = fd, .events = POLLIN, .revents = 0};
    return ::poll(&waiting, 1, 50) > 0;
  }
  void run() {
    while (!stopping_) {
      if (!readable(listener_.get())) continue;
      auto peer = table_channel::accept_peer(listener_.get(), ::getuid());
      if (peer) serve(peer->get());
    }
  }
  void serve(int peer) {
    table_channel::Hello hello{};
    hello.header = table_channel::header_for(table_channel::MessageType::hello);
    hello.boot_id = 7;
    hello.in_use = in_use();
    if (!table_channel::send(peer, object_bytes(hello), {})) return;
    while (!stopping_) {
      if (!readable(peer)) continue;
      auto received = table_channel::receive(peer);
      if (!received) return;
      const auto* publish = std::get_if<table_channel::Publish>(&received->message);
      ASSERT_NE(publish, nullptr);
      adopt(*publish, received->fds);
      const auto answer = table_channel::make_acknowledge(table_channel::Outcome::adopted,
                                                          publish->version, publish->version, "");
      if (!table_channel::send(peer, object_bytes(answer), {})) return;
    }
  }
  static std::uint64_t served_names(const catalog::View& catalog) {
    std::uint64_t count = 0;
    for (const auto& bucket : catalog.buckets()) {
      count += static_cast<std::uint64_t>(std::ranges::count_if(bucket.refs, [&](catalog::Ref ref) {
        return ref != 0 && catalog.node(ref)->rrset_count > 0;
      }));
    }
    return count;
  }
  void adopt(const table_channel::Publish& publish, const std::vector<UniqueFd>& fds) {
    const std::lock_guard lock(mutex_);
    EXPECT_GT(publish.version, in_use_);
    for (std::size_t i = 0; i < fds.size(); ++i) {
      if (publish.kinds[i] != ImageKind::catalog) continue;
      auto mapping = map_sealed(fds[i].get());
      ASSERT_TRUE(mapping);
      auto catalog = catalog::View::prove(mapping->bytes());
      ASSERT_TRUE(catalog) << catalog.error().text();
      name_count_ = served_names(*catalog);
    }
    in_use_ = publish.version;
    changed_.notify_all();
  }

  UniqueFd listener_;
  std::thread thread_;
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;
  std::condition_variable changed_;
  Version in_use_;
  std::uint64_t name_count_ = 0;
};

class DaemonTest : public testing::Test, protected DaemonFiles {
 protected:
  DaemonTest() {
    write_config(services("www",
                          "[{id: fra, site: fra, addresses: [203.0.113.1]}, "
                          "{id: sin, site: sin, addresses: [203.0.113.2]}]"));
  }
  [[nodiscard]] std::string tables_socket() const { return directory_ + "/run/tables.sock"; }

  [[nodiscard]] Result<std::unique_ptr<Daemon>> try_start(bool force = false) const {
    auto config = config::load(file());
    if (!config) return fail(ErrorCode::invalid, config.error().text());
    return Daemon::start(std::move(*config), force);
  }
  [[nodiscard]] std::unique_ptr<Daemon> start() const {
    auto daemon = try_start();
    EXPECT_TRUE(daemon) << daemon.error().text();
    return daemon ? std::move(*daemon) : nullptr;
  }
  [[nodiscard]] Result<nlohmann::json> call(
      const std::string& command, const nlohmann::json& arguments = nlohmann::json::object(),
      control::Access access = control::Access::write) const {
    return control::call(control::socket_path(directory_ + "/run", "controlplane", access), command,
                         arguments, seconds(20));
  }
};

}  // namespace pharos::controlplane
