// TcpServer: DNS over TCP (RFC 7766, 9210) on any number of listening sockets, with one epoll set and no thread of
// its own.
//
//   accept -> [idle] --first bytes of a query--> [reading] --whole--> serve -> replies --all taken--> [idle]
//                                                                                 +--not yet--> [writing]
//
// A connection is in one of the three lists, each ordered by how long its connections have been in that state, and in one of
// all, ordered by how long they have been without a query. So what is due for a timeout, or first to go when there
// are too many, stands at a front: no connection is ever looked for. Each connection gets one read and one burst a round, however much it sends. The lane's thread.
#pragma once

#include "pharos/base/clock.hh"
#include "pharos/base/fd.hh"
#include "pharos/config/model.hh"
#include "pharos/dataplane/lane/lane_burst.hh"
#include "pharos/dataplane/lane/tcp_clients.hh"
#include "pharos/dataplane/lane/tcp_stream.hh"

#include <atomic>
#include <cstdint>
#include <list>
#include <memory>
#include <vector>

namespace pharos::dataplane {

class TcpServer {
 public:
  // `epoll`: a set of the caller's; events of kinds connection and tcp_listener (lane_event.hh) come here.
  TcpServer(int epoll, LaneBurst& burst, const config::TcpConfig& limits,
            const CookieSecret& hash_key);
  ~TcpServer();
  TcpServer(const TcpServer&) = delete;
  TcpServer& operator=(const TcpServer&) = delete;

  // A listening socket; borrowed until remove_listener. Errors: unavailable.
  [[nodiscard]] Status add_listener(int socket);
  // Connections that it accepted stay.
  void remove_listener(int socket) noexcept;
  // From now on; too many connections are closed at once, longest without a query first.
  void set_limits(const config::TcpConfig& limits) noexcept;

  struct Connection;
  [[nodiscard]] static Connection& connection_of(std::uint64_t event) noexcept;
  // Work for one event of a connection, and of a listening socket.
  void on_connection(Connection& connection, std::uint32_t events, Instant now) noexcept;
  void on_listener(int socket, Instant now) noexcept;

  // The end of a round: connections that have more to serve get their next burst, timeouts are looked at, and what was
  // closed is freed. Once a round, behind its events.
  void finish_round(Instant now) noexcept;
  // Whether the next round must not wait.
  [[nodiscard]] bool has_more() const noexcept { return !again_.empty(); }
  // When the next timeout is due; at most 250 ms from `now`.
  [[nodiscard]] Instant next_deadline(Instant now) const noexcept;

  // Any thread.
  [[nodiscard]] std::size_t open_connections() const noexcept {
    return open_.load(std::memory_order_relaxed);  // relaxed: a statistic
  }

 private:
  using List = std::list<Connection>;
  [[nodiscard]] static std::uint64_t event_of(Connection& connection) noexcept;

  void accept_one(UniqueFd socket, const IpAddress& peer, std::uint16_t port, Instant now) noexcept;
  void pause_listeners(Instant now) noexcept;
  void resume_listeners() noexcept;
  [[nodiscard]] bool arm_listener(int socket, bool on) noexcept;

  [[nodiscard]] bool read(Connection& connection) noexcept;
  void work(Connection& connection, Instant now) noexcept;
  [[nodiscard]] bool serve(Connection& connection) noexcept;
  [[nodiscard]] bool write(Connection& connection) noexcept;
  void settle(Connection& connection, Instant now) noexcept;
  void move(Connection& connection, List& to, Instant now) noexcept;
  void arm(Connection& connection, std::uint32_t events) noexcept;
  void close(Connection& connection, Counter why) noexcept;
  void note_memory(Connection& connection) noexcept;

  void close_longest_without_query() noexcept;
  void close_longest(List& list, Instant limit, Counter why) noexcept;
  void keep_memory_bounded() noexcept;

  int epoll_;
  LaneBurst& burst_;
  config::TcpConfig limits_;
  TcpClients clients_;
  std::vector<int> listeners_;
  bool paused_ = false;  // listeners are out of the epoll set until resume_at_
  Instant resume_at_;

  List idle_, reading_, writing_;
  std::list<Connection*> by_query_;  // all that are open, the longest without a query first
  List closed_;                      // until the end of the round: events may still name them
  std::vector<Connection*> again_;   // have a whole message that was not served yet
  std::vector<Connection*> served_;  // again_ of the round before, being worked off
  std::size_t held_bytes_ = 0;       // by all streams
  std::unique_ptr<std::byte[]> read_buffer_;
  std::atomic<std::size_t> open_{0};
};

}  // namespace pharos::dataplane
