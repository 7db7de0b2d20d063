#include "pharos/dataplane/lane/tcp_server.hh"

#include "pharos/base/assert.hh"
#include "pharos/dataplane/lane/lane_event.hh"
#include "pharos/dataplane/lane/socket.hh"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <utility>

namespace pharos::dataplane {

namespace {

constexpr unsigned accepts_a_round = 64;
constexpr std::size_t read_bytes = 64U << 10;
// After the system had no socket for us: accepting again at once would spin on the same error.
constexpr Duration accept_pause = milliseconds(100);
constexpr Duration deadline_longest = milliseconds(250);

[[nodiscard]] bool is_for_this_connection_only(int error) noexcept {
  // accept(2): errors of a connection that has failed already count as "try again".
  return error == ECONNABORTED || error == EPROTO || error == ENETDOWN || error == ENOPROTOOPT ||
         error == EHOSTDOWN || error == ENONET || error == EHOSTUNREACH || error == EOPNOTSUPP ||
         error == ENETUNREACH || error == EINTR || error == EPERM;
}

}  // namespace

struct alignas(8) TcpServer::Connection {
  UniqueFd socket;
  TcpStream stream;
  IpAddress peer;
  IpAddress client;  // its prefix
  std::uint16_t peer_port = 0;
  bool ended = false;          // the peer sends no more
  bool waits_again = false;    // is in again_
  std::uint32_t events = 0;    // armed
  std::size_t held_bytes = 0;  // counted in TcpServer::held_bytes_
  Instant since;               // in its list
  List* list = nullptr;
  List::iterator self;
  std::list<Connection*>::iterator turn;  // in by_query_
};

// A pointer's low bits are those of LaneEvent::connection.
std::uint64_t TcpServer::event_of(Connection& connection) noexcept {
  static_assert(static_cast<unsigned>(LaneEvent::connection) == 0 &&
                alignof(Connection) >= (1U << lane_event_bits));
  return std::bit_cast<std::uint64_t>(&connection);
}

TcpServer::Connection& TcpServer::connection_of(std::uint64_t event) noexcept {
  return *std::bit_cast<Connection*>(event);
}

TcpServer::TcpServer(int epoll, LaneBurst& burst, const config::TcpConfig& limits,
                     const CookieSecret& hash_key)
    : epoll_(epoll),
      burst_(burst),
      limits_(limits),
      clients_(hash_key),
      read_buffer_(std::make_unique_for_overwrite<std::byte[]>(read_bytes)) {}

TcpServer::~TcpServer() = default;

// ---- listening ----

bool TcpServer::arm_listener(int socket, bool on) noexcept {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = dataplane::event_of(LaneEvent::tcp_listener, static_cast<unsigned>(socket));
  return ::epoll_ctl(epoll_, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, socket, &event) == 0;
}

Status TcpServer::add_listener(int socket) {
  if (!paused_ && !arm_listener(socket, true)) return fail_errno("epoll_ctl", "TCP listener");
  listeners_.push_back(socket);
  return {};
}

void TcpServer::remove_listener(int socket) noexcept {
  if (std::erase(listeners_, socket) != 0 && !paused_) (void)arm_listener(socket, false);
}

void TcpServer::pause_listeners(Instant now) noexcept {
  resume_at_ = now + accept_pause;
  if (std::exchange(paused_, true)) return;
  for (const int socket : listeners_) (void)arm_listener(socket, false);
}

void TcpServer::resume_listeners() noexcept {
  paused_ = false;
  for (const int socket : listeners_) (void)arm_listener(socket, true);
}

void TcpServer::on_listener(int socket, Instant now) noexcept {
  if (paused_ || std::ranges::find(listeners_, socket) == listeners_.end()) return;
  for (unsigned i = 0; i < accepts_a_round; ++i) {
    sockaddr_storage address{};
    socklen_t length = sizeof address;
    UniqueFd accepted(::accept4(socket, reinterpret_cast<sockaddr*>(&address), &length,
                                SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (accepted) {
      const auto peer = socket_address_of(address);
      accept_one(std::move(accepted), peer.address, peer.port, now);
      continue;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK) return;
    if (is_for_this_connection_only(errno)) continue;
    // No descriptor or no memory: give one of ours away and wait, for this is the machine's trouble.
    burst_.counters().count(Counter::tcp_accept_errors);
    close_longest_without_query();
    pause_listeners(now);
    return;
  }
}

void TcpServer::accept_one(UniqueFd socket, const IpAddress& peer, std::uint16_t port,
                           Instant now) noexcept {
  const auto client = client_prefix_of(peer);
  if (!clients_.add(client, limits_.connections_per_client)) {
    burst_.counters().count(Counter::tcp_refused);
    return;
  }
  burst_.counters().count(Counter::tcp_accepted);
  if (open_connections() >= limits_.connections_max) close_longest_without_query();
  Connection& connection = idle_.emplace_back();
  connection.list = &idle_;
  connection.self = std::prev(idle_.end());
  connection.turn = by_query_.insert(by_query_.end(), &connection);
  connection.socket = std::move(socket);
  connection.peer = peer;
  connection.client = client;
  connection.peer_port = port;
  connection.since = now;
  open_.fetch_add(1, std::memory_order_relaxed);
  epoll_event event{};
  event.events = connection.events = EPOLLIN;
  event.data.u64 = event_of(connection);
  if (::epoll_ctl(epoll_, EPOLL_CTL_ADD, connection.socket.get(), &event) != 0)
    close(connection, Counter::tcp_closed_error);
}

void TcpServer::set_limits(const config::TcpConfig& limits) noexcept {
  limits_ = limits;
  while (open_connections() > limits_.connections_max) close_longest_without_query();
}

// ---- one connection ----

void TcpServer::on_connection(Connection& connection, std::uint32_t events, Instant now) noexcept {
  if (connection.list == &closed_) return;  // by an event before this one
  if ((events & EPOLLERR) != 0) return close(connection, Counter::tcp_closed_error);
  if ((events & (EPOLLIN | EPOLLHUP)) != 0 && !read(connection)) return;
  if (connection.waits_again) return;  // it gets its burst at the end of the round
  work(connection, now);
}

// One read; what more there is comes next round, after the others. False: closed.
bool TcpServer::read(Connection& connection) noexcept {
  const auto room = std::min(connection.stream.room(), read_bytes);
  if (room == 0 || connection.ended) return true;
  const auto got = ::recv(connection.socket.get(), read_buffer_.get(), room, MSG_DONTWAIT);
  if (got > 0) {
    connection.stream.receive({read_buffer_.get(), static_cast<std::size_t>(got)});
    return true;
  }
  if (got == 0) {
    connection.ended = true;  // what came before is still answered (RFC 7766, 6.2.4)
    return true;
  }
  if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) return true;
  close(connection, Counter::tcp_closed_error);
  return false;
}

// Writes what waits, serves one burst, and puts the connection where it belongs.
void TcpServer::work(Connection& connection, Instant now) noexcept {
  if (!write(connection)) return;
  const bool whole = connection.stream.has_message() && connection.stream.output().empty();
  if (whole) {
    const bool sound = serve(connection);
    if (!write(connection)) return;
    if (!sound) return close(connection, Counter::tcp_closed_broken);
    move(connection, idle_, now);  // a query was answered: the clocks begin anew
    by_query_.splice(by_query_.end(), by_query_, connection.turn);
  }
  connection.stream.settle();
  note_memory(connection);
  settle(connection, now);
}

// One burst of what is whole. False: the stream is broken, behind the replies to what came before.
bool TcpServer::serve(Connection& connection) noexcept {
  TcpStream& stream = connection.stream;
  const unsigned messages_max = stream.burst_messages(burst_queries_max);
  auto next = TcpStream::Next::none;
  ConstBytes message;
  burst_.begin();
  for (unsigned i = 0; i < messages_max; ++i) {
    next = stream.next(message);
    if (next != TcpStream::Next::message) break;
    burst_.add(message, connection.peer, connection.peer_port, Transport::tcp,
               dns::message_bytes_max);
  }
  burst_.serve();
  for (const Query& query : burst_.queries()) {
    if (query.verdict != Verdict::answered) continue;
    stream.reply(reply_of(query));
    burst_.counters().count(Verdict::answered);
  }
  return next != TcpStream::Next::broken;
}

// As much as the peer takes. False: closed.
bool TcpServer::write(Connection& connection) noexcept {
  TcpStream& stream = connection.stream;
  while (!stream.output().empty()) {
    const auto output = stream.output();
    const auto sent =
        ::send(connection.socket.get(), output.data(), output.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent > 0) {
      stream.sent(static_cast<std::size_t>(sent));
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      return true;
    } else if (errno != EINTR) {
      close(connection, Counter::tcp_closed_error);
      return false;
    }
  }
  return true;
}

// The list and the events that fit what the connection waits for; closes it where it waits for nothing.
void TcpServer::settle(Connection& connection, Instant now) noexcept {
  TcpStream& stream = connection.stream;
  if (!stream.output().empty()) {
    if (connection.list != &writing_) move(connection, writing_, now);
    return arm(connection, EPOLLOUT);
  }
  if (stream.has_message()) {
    if (!std::exchange(connection.waits_again, true)) again_.push_back(&connection);
    return arm(connection, connection.ended ? 0U : unsigned{EPOLLIN});
  }
  if (connection.ended) return close(connection, Counter::tcp_closed_peer);
  if (stream.is_partial()) {
    if (connection.list != &reading_) move(connection, reading_, now);
  } else if (connection.list != &idle_) {
    move(connection, idle_, now);
  }
  arm(connection, EPOLLIN);
}

void TcpServer::move(Connection& connection, List& to, Instant now) noexcept {
  to.splice(to.end(), *connection.list, connection.self);
  connection.list = &to;
  connection.since = now;
}

void TcpServer::arm(Connection& connection, std::uint32_t events) noexcept {
  if (std::exchange(connection.events, events) == events) return;
  epoll_event event{};
  event.events = events;
  event.data.u64 = event_of(connection);
  if (::epoll_ctl(epoll_, EPOLL_CTL_MOD, connection.socket.get(), &event) != 0)
    close(connection, Counter::tcp_closed_error);
}

// The object stays until the end of the round, since events of this round may name it.
void TcpServer::close(Connection& connection, Counter why) noexcept {
  ASSERT(connection.list != &closed_);
  burst_.counters().count(why);
  clients_.remove(connection.client);
  held_bytes_ -= connection.held_bytes;
  if (connection.waits_again) {
    std::erase(again_, &connection);
    std::ranges::replace(served_, &connection, nullptr);
  }
  by_query_.erase(connection.turn);
  connection.stream = TcpStream{};
  connection.socket.reset();
  closed_.splice(closed_.end(), *connection.list, connection.self);
  connection.list = &closed_;
  open_.fetch_sub(1, std::memory_order_relaxed);
}

void TcpServer::note_memory(Connection& connection) noexcept {
  const auto held = connection.stream.held_bytes();
  held_bytes_ += held - std::exchange(connection.held_bytes, held);
}

// ---- limits ----

void TcpServer::close_longest_without_query() noexcept {
  if (!by_query_.empty()) close(*by_query_.front(), Counter::tcp_closed_full);
}

// Those that are in `list` since before `limit`.
void TcpServer::close_longest(List& list, Instant limit, Counter why) noexcept {
  while (!list.empty() && list.front().since <= limit) close(list.front(), why);
}

// Only connections with something under way hold memory: of them, the longest without a query goes first.
void TcpServer::keep_memory_bounded() noexcept {
  while (held_bytes_ > limits_.memory_bytes && !(reading_.empty() && writing_.empty())) {
    const bool reader =
        !reading_.empty() && (writing_.empty() || reading_.front().since <= writing_.front().since);
    close(reader ? reading_.front() : writing_.front(), Counter::tcp_closed_full);
  }
}

void TcpServer::finish_round(Instant now) noexcept {
  served_.swap(again_);
  for (std::size_t i = 0; i < served_.size(); ++i) {
    if (Connection* connection = served_[i]; connection != nullptr) {
      connection->waits_again = false;
      served_[i] = nullptr;
      work(*connection, now);
    }
  }
  served_.clear();
  const auto before = [&](Duration timeout) { return Instant{now.ns - timeout.ns}; };
  close_longest(idle_, before(limits_.idle_timeout), Counter::tcp_closed_idle);
  close_longest(reading_, before(limits_.message_timeout), Counter::tcp_closed_slow);
  close_longest(writing_, before(limits_.message_timeout), Counter::tcp_closed_slow);
  keep_memory_bounded();
  if (paused_ && now >= resume_at_) resume_listeners();
  closed_.clear();
}

Instant TcpServer::next_deadline(Instant now) const noexcept {
  Instant next = now + deadline_longest;
  const auto consider = [&](const List& list, Duration timeout) {
    if (!list.empty()) next = std::min(next, list.front().since + timeout);
  };
  consider(idle_, limits_.idle_timeout);
  consider(reading_, limits_.message_timeout);
  consider(writing_, limits_.message_timeout);
  if (paused_) next = std::min(next, resume_at_);
  return next;
}

}  // namespace pharos::dataplane
