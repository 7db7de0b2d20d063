// The kernel lane: one thread that answers DNS on sockets of the kernel, UDP and TCP, with the same serve_burst and the
// same tables as the workers, and that carries frames between ports and their exception interfaces.
//
//   epoll --> UDP socket: one burst   --> TCP listener: accept   --> connection: one read, one burst
//         --> exception interface: the kernel's frames to the port's worker, the worker's to the kernel
//         round: events -> connections with more -> timeouts -> one quiescent() -> sleep until an event or timeout
//
// The thread is an RCU reader that is offline while it sleeps. It may allocate and make system calls; no worker ever waits for it. The
// control thread makes it, starts and stops it, and changes it through a mailbox; sockets are bound before they come here.
#pragma once

#include "pharos/base/error.hh"
#include "pharos/base/fd.hh"
#include "pharos/config/model.hh"
#include "pharos/dataplane/core/counters.hh"
#include "pharos/dataplane/core/rcu.hh"
#include "pharos/dataplane/dns/serve.hh"
#include "pharos/dataplane/lane/exception_interface.hh"
#include "pharos/dataplane/lane/lane_burst.hh"
#include "pharos/dataplane/lane/socket.hh"
#include "pharos/dataplane/lane/tcp_server.hh"
#include "pharos/dataplane/lane/udp_server.hh"
#include "pharos/dataplane/lane/waker.hh"

#include <sys/epoll.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

namespace pharos::dataplane {

// What a reload changes. Connections stay, those of removed addresses included.
struct LaneChange {
  config::TcpConfig limits;
  std::vector<Listener> added;
  std::vector<config::SocketAddress> removed;
};

class Lane {
 public:
  // `root` and `wall_s` are those that the control thread publishes; they outlive the lane.
  Lane(const RcuPointer<const TableRoot>& root, const std::atomic<std::uint32_t>& wall_s,
       const ServeOptions& options);
  ~Lane();  // stops
  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;

  // ---- control thread ----

  // Makes what the thread waits in. First of all. Errors: unavailable.
  [[nodiscard]] Status open(const config::TcpConfig& limits);
  // Takes sockets over. Before start(). Errors: unavailable.
  [[nodiscard]] Status add(Listener listener);
  // Takes an exception interface over, with `queue_count` rings for its port's queues. Before start(). The interface
  // lives as long as the lane. Errors: unavailable.
  [[nodiscard]] Result<ExceptionInterface*> add(Tap tap, unsigned queue_count,
                                                std::optional<std::uint16_t> vlan);
  // What is copied of the queries; outlives the lane. Before start().
  void set_watch(const RcuPointer<const Watch>& watch, unsigned seat,
                 const NameSampler& names) noexcept {
    burst_.set_watch(watch, seat, names);
  }
  // Where demand and logged queries go. Before start().
  void set_ring(RingProducer ring) { burst_.set_ring(std::move(ring)); }
  // Begins to serve, in a thread of its own, where `on_start` runs first. Errors: unavailable.
  [[nodiscard]] Status start(std::function<void()> on_start = {});
  // Ends the thread and with it all connections. May be called twice.
  void stop() noexcept;

  // Takes effect with the next round.
  void change(LaneChange change);
  // Puts a serve state with `options` in place and returns the former one: free it after a grace period.
  [[nodiscard]] std::unique_ptr<ServeState> exchange_options(const ServeOptions& options);

  [[nodiscard]] const CoreCounters& counters() const noexcept { return counters_; }
  [[nodiscard]] std::size_t open_connections() const noexcept {
    return tcp_ ? tcp_->open_connections() : 0;
  }
  // Nanoseconds that the thread was at work; relaxed: a statistic.
  [[nodiscard]] std::int64_t busy_ns() const noexcept {
    return busy_ns_.load(std::memory_order_relaxed);
  }

 private:
  void run() noexcept;
  void round(RcuReader& reader) noexcept;
  [[nodiscard]] int sleep(RcuReader& reader) noexcept;
  void handle(std::uint64_t event, std::uint32_t events, Instant now) noexcept;
  void take_changes() noexcept;
  [[nodiscard]] bool has_work() noexcept;
  void remove(const config::SocketAddress& address) noexcept;

  // The lane's thread, once it runs.
  CoreCounters counters_;
  RcuPointer<ServeState> serve_state_;
  LaneBurst burst_;
  UdpServer udp_;
  UniqueFd epoll_;
  std::optional<TcpServer> tcp_;
  std::map<int, Listener> listeners_;  // by their UDP socket
  std::vector<std::unique_ptr<ExceptionInterface>> exceptions_;
  std::array<epoll_event, 256> events_{};

  // Shared.
  Waker waker_;
  std::atomic<bool> stop_{false};
  std::atomic<std::int64_t> busy_ns_{0};
  std::mutex mailbox_mutex_;
  std::vector<LaneChange> mailbox_;  // guarded by mailbox_mutex_

  std::thread thread_;  // the control thread's
};

}  // namespace pharos::dataplane
