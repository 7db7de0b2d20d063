// The serving side of control_protocol.hh: one epoll set over two listening sockets, a timer for
// slow peers, and the connections. One thread, that of its owner. A connection is either being read
// or being answered, never both, so that its two buffers are bounded by one request and one
// response. While a lengthy command runs for it, in a thread, its descriptor is out of the epoll set.
#include "pharos/base/directory.hh"
#include "pharos/base/thread.hh"
#include "pharos/shared/control_protocol.hh"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <exception>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <semaphore>
#include <thread>
#include <utility>
#include <vector>

namespace pharos::control {

using nlohmann::json;

namespace {

constexpr std::size_t length_bytes = 4;
constexpr std::size_t read_bytes_max = 64U << 10;  // of one connection in one turn
constexpr unsigned requests_per_turn_max = 16;     // ... and answered: none starves the others
constexpr int events_max = 2 * connections_max + 4;

json to_json(const Error& error) {
  return {{"code", name_of(error.code)},
          {"what", error.what},
          {"where", error.where},
          {"hint", error.hint}};
}

std::string encode_response(const Result<json>& result) {
  json message = {{"protocol", protocol_version}, {"ok", result.has_value()}};
  if (result) {
    message["result"] = *result;
  } else {
    message["error"] = to_json(result.error());
  }
  auto body = message.dump(-1, ' ', false, json::error_handler_t::replace);
  if (body.size() > message_bytes_max) {
    return encode_response(fail(ErrorCode::exhausted, "the result is larger than 16 MiB", {},
                                "ask for less, for instance for one service"));
  }
  const Be32 length = static_cast<std::uint32_t>(body.size());
  return std::string(as_text(object_bytes(length))) + body;
}

// A lengthy command that runs for a connection.
struct Job {
  Job() = default;
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;
  ~Job() {
    if (thread.joinable()) thread.join();
  }
  std::thread thread;
  std::string response;  // the thread's own until it is done
};

struct Connection {
  UniqueFd fd;
  Access access = Access::read;
  Peer peer;
  std::string input;
  std::string output;
  std::size_t output_sent = 0;
  Instant progress;
  bool last = false;  // close as soon as `output` is out
  bool end_of_input = false;
  std::unique_ptr<Job> job;  // null: none runs

  [[nodiscard]] bool answering() const noexcept { return output_sent < output.size(); }
  [[nodiscard]] std::uint32_t announced() const noexcept {
    return load<Be32>(input.data());  // of a whole length field
  }
  // A whole request, or a length that no request has.
  [[nodiscard]] bool has_request() const noexcept {
    return input.size() >= length_bytes && (announced() == 0 || announced() > request_bytes_max ||
                                            input.size() - length_bytes >= announced());
  }
};

Result<UniqueFd> lock_daemon(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return fail_errno("open", path);
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) == 0) return fd;
  if (errno != EWOULDBLOCK) return fail_errno("flock", path);
  return fail(ErrorCode::conflict, "another daemon holds this run directory", path,
              "stop it, or set another run_directory");
}

// Removes a socket that a dead daemon left; the lock says that it is dead.
Status remove_dead_socket(const std::string& path) {
  struct stat info{};
  if (::lstat(path.c_str(), &info) != 0) return {};
  if (!S_ISSOCK(info.st_mode)) {
    return fail(ErrorCode::conflict, "a file that is no socket is in the way", path,
                "move it away");
  }
  if (::unlink(path.c_str()) == 0) return {};
  return fail_errno("unlink", path);
}

Result<UniqueFd> listen_at(const std::string& path, mode_t mode) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return fail(ErrorCode::invalid, "socket path is longer than 107 bytes", path,
                "choose a shorter run_directory");
  }
  std::ranges::copy(path, address.sun_path);
  if (auto removed = remove_dead_socket(path); !removed) {
    return std::unexpected(std::move(removed.error()));
  }
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fail_errno("socket", path);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return fail_errno("bind", path);
  }
  // Nobody gets in between: before listen() every connect() is refused.
  if (::chmod(path.c_str(), mode) != 0) return fail_errno("chmod", path);
  if (::listen(fd.get(), connections_max) != 0) return fail_errno("listen", path);
  return fd;
}

}  // namespace

struct Server::State {
  // constant after open()
  std::string read_path, write_path;
  unsigned allowed_uid = 0;
  UniqueFd lock, epoll, timer, job_event, read_listener, write_listener;
  std::map<std::string, Command> commands;  // all added before anything is served
  Witness witness;                          // the same; empty: nobody wants to know
  std::mutex changing;  // held while a brief command that changes something runs
  // of lengthy commands, by access
  std::array<std::counting_semaphore<lengthy_max>, 2> lengthy{
      std::counting_semaphore<lengthy_max>{lengthy_max},
      std::counting_semaphore<lengthy_max>{lengthy_max}};
  std::mutex done_mutex;       // guards done_jobs
  std::vector<int> done_jobs;  // descriptors of connections whose jobs are done
  // owned by the thread that polls
  std::map<int, Connection> connections;  // by descriptor

  ~State() {
    if (read_listener) ::unlink(read_path.c_str());
    if (write_listener) ::unlink(write_path.c_str());
  }

  Status watch(int fd, std::uint32_t events, int operation = EPOLL_CTL_ADD) {
    epoll_event event{};
    event.events = events;
    event.data.fd = fd;
    if (::epoll_ctl(epoll.get(), operation, fd, &event) == 0) return {};
    return fail_errno("epoll_ctl");
  }

  [[nodiscard]] std::size_t count(Access access) const {
    return static_cast<std::size_t>(std::ranges::count(
        connections, access, [](const auto& entry) { return entry.second.access; }));
  }

  // Ticks once a second while there are connections.
  void set_timer() {
    const itimerspec period =
        connections.empty() ? itimerspec{} : itimerspec{.it_interval = {1, 0}, .it_value = {1, 0}};
    ::timerfd_settime(timer.get(), 0, &period, nullptr);
  }

  static std::optional<Peer> peer_of(int fd) {
    ucred peer{};
    socklen_t size = sizeof peer;
    if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return std::nullopt;
    return Peer{peer.uid, peer.pid};
  }
  [[nodiscard]] bool may_write(const Peer& peer) const {
    return peer.uid == 0 || peer.uid == ::geteuid() || peer.uid == allowed_uid;
  }

  // Takes all who wait. One over the limit, or without the right, gets the reason and is let go.
  void accept_all(int listener, Access access) {
    for (;;) {
      UniqueFd fd(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (!fd) return;
      const auto peer = peer_of(fd.get());
      if (!peer) continue;
      if (access == Access::write && !may_write(*peer)) {
        const Status denied =
            fail(ErrorCode::denied, "this user may not change anything here", {},
                 "run as root, as the daemon's user, or as the user of control_uid");
        if (witness) witness(*peer, {}, json::object(), denied);
        turn_away(fd.get(), denied.error());
      } else if (count(access) >= connections_max) {
        turn_away(fd.get(),
                  {ErrorCode::exhausted, "too many control connections", {}, "try again"});
      } else {
        keep(std::move(fd), access, *peer);
      }
    }
  }

  static void turn_away(int fd, const Error& why) {
    const auto message = encode_response(std::unexpected(why));
    // A fresh socket's buffer takes it whole; if not, the peer just sees the end.
    (void)!::send(fd, message.data(), message.size(), MSG_NOSIGNAL);
    ::shutdown(fd, SHUT_WR);
  }

  void keep(UniqueFd fd, Access access, const Peer& peer) {
    const int number = fd.get();
    if (!watch(number, EPOLLIN)) return;
    const bool first = connections.empty();
    Connection connection;
    connection.fd = std::move(fd);
    connection.access = access;
    connection.peer = peer;
    connection.progress = monotonic_now();
    connections.emplace(number, std::move(connection));
    if (first) set_timer();
  }

  void drop(int fd) {
    connections.erase(fd);
    if (connections.empty()) set_timer();
  }

  // One turn of a connection. False: it is finished.
  bool serve(Connection& connection) {
    if (!connection.answering() && !connection.has_request() && !receive(connection)) return false;
    for (unsigned i = 0; i < requests_per_turn_max; ++i) {
      if (!send_pending(connection)) return false;
      if (connection.answering()) break;
      if (connection.job) return watch(connection.fd.get(), 0, EPOLL_CTL_DEL).has_value();
      if (connection.last) return false;
      if (!connection.has_request()) {
        if (connection.end_of_input) return false;
        break;
      }
      answer_next(connection);
    }
    if (connection.job) return watch(connection.fd.get(), 0, EPOLL_CTL_DEL).has_value();
    const bool busy = connection.answering() || connection.has_request() || connection.last;
    return watch(connection.fd.get(), busy ? EPOLLOUT : EPOLLIN, EPOLL_CTL_MOD).has_value();
  }

  static bool receive(Connection& connection) {
    std::array<char, read_bytes_max> buffer;
    const auto got = ::recv(connection.fd.get(), buffer.data(), buffer.size(), 0);
    if (got < 0) return errno == EAGAIN || errno == EINTR;
    if (got == 0) {
      connection.end_of_input = true;
      return true;
    }
    connection.input.append(buffer.data(), static_cast<std::size_t>(got));
    // Progress is a whole request, and not a byte now and then; see answer_next().
    return true;
  }

  static bool send_pending(Connection& connection) {
    while (connection.answering()) {
      const auto sent =
          ::send(connection.fd.get(), connection.output.data() + connection.output_sent,
                 connection.output.size() - connection.output_sent, MSG_NOSIGNAL);
      if (sent < 0 && errno == EINTR) continue;
      if (sent < 0) return errno == EAGAIN;
      connection.output_sent += static_cast<std::size_t>(sent);
      connection.progress = monotonic_now();
    }
    connection.output = {};
    connection.output_sent = 0;
    return true;
  }

  // Consumes the first request of the input and puts its response into the output.
  void answer_next(Connection& connection) {
    const auto size_bytes = connection.announced();
    connection.progress = monotonic_now();
    if (size_bytes == 0 || size_bytes > request_bytes_max) {
      connection.output =
          encode_response(fail(ErrorCode::invalid, "request is empty or larger than 1 MiB", {},
                               "a message is its length in four bytes, and JSON"));
      connection.last = true;
      return;
    }
    const auto body = as_bytes(std::string_view(connection.input).substr(length_bytes, size_bytes));
    auto request = parse_request(body);
    if (request && is_lengthy(request->first)) {
      begin_job(connection, std::move(request->first), std::move(request->second));
    } else if (request) {
      connection.output = encode_response(
          run_for(connection.peer, connection.access, request->first, request->second));
    } else {
      connection.output = encode_response(std::unexpected(std::move(request.error())));
      connection.last = true;
    }
    connection.input.erase(0, length_bytes + size_bytes);
  }

  // As run(), with the witness told of what changes something.
  Result<json> run_for(const Peer& peer, Access access, const std::string& name,
                       const json& arguments) {
    auto result = run(access, name, arguments);
    if (witness && changes(name))
      witness(peer, name, arguments, result ? Status() : std::unexpected(result.error()));
    return result;
  }

  [[nodiscard]] bool changes(const std::string& name) const {
    const auto found = commands.find(name);
    return found != commands.end() && found->second.access == Access::write &&
           found->second.changes;
  }

  Result<json> run(Access access, const std::string& name, const json& arguments) {
    const auto found = commands.find(name);
    if (found == commands.end()) {
      return fail(ErrorCode::not_found, "no command '" + name + "'", {},
                  "pharosctl commands lists those that there are");
    }
    if (access == Access::read && found->second.access == Access::write) {
      return fail(ErrorCode::denied, "command '" + name + "' changes something", {},
                  "send it to the write socket");
    }
    const auto& command = found->second;
    if (command.pace == Pace::lengthy) {
      auto& room = lengthy[static_cast<std::size_t>(command.access)];
      room.acquire();
      auto result = handle(command, arguments);
      room.release();
      return result;
    }
    std::unique_lock one_at_a_time(changing, std::defer_lock);
    if (command.access == Access::write) one_at_a_time.lock();
    return handle(command, arguments);
  }

  static Result<json> handle(const Command& command, const json& arguments) {
    try {
      return command.handler(arguments);
    } catch (const std::exception& thrown) {
      return fail(ErrorCode::invalid, std::string("bad arguments: ") + thrown.what(), command.name);
    }
  }

  [[nodiscard]] bool is_lengthy(const std::string& name) const {
    const auto found = commands.find(name);
    return found != commands.end() && found->second.pace == Pace::lengthy;
  }

  // `connection` stays where it is until end_jobs() has joined the thread.
  void begin_job(Connection& connection, std::string name, json arguments) {
    connection.job = std::make_unique<Job>();
    auto* job = connection.job.get();
    auto work = [this, job, fd = connection.fd.get(), access = connection.access,
                 peer = connection.peer, name = std::move(name), arguments = std::move(arguments)] {
      job->response = encode_response(run_for(peer, access, name, arguments));
      {
        const std::lock_guard guard(done_mutex);
        done_jobs.push_back(fd);
      }
      const std::uint64_t one = 1;
      (void)!::write(job_event.get(), &one, sizeof one);
    };
    auto started = start_quiet_thread({}, std::move(work), "control");
    if (started) {
      job->thread = std::move(*started);
      return;
    }
    connection.job.reset();
    connection.output = encode_response(std::unexpected(std::move(started).error()));
  }

  // Connections whose commands are done are served again.
  void end_jobs() {
    std::uint64_t count = 0;
    (void)!::read(job_event.get(), &count, sizeof count);
    std::vector<int> done;
    {
      const std::lock_guard guard(done_mutex);
      done.swap(done_jobs);
    }
    for (const int fd : done) {
      auto& connection = connections.at(fd);
      connection.job->thread.join();
      connection.output = std::move(connection.job->response);
      connection.job.reset();
      connection.progress = monotonic_now();
      if (!watch(fd, EPOLLOUT)) drop(fd);
    }
  }

  [[nodiscard]] json list() const {
    auto all = json::array();
    for (const auto& [name, command] : commands) {
      all.push_back({{"name", name},
                     {"access", command.access == Access::read ? "read" : "write"},
                     {"summary", command.summary}});
    }
    return all;
  }
};

Server::Server(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}
Server::Server(Server&&) noexcept = default;
Server& Server::operator=(Server&&) noexcept = default;
Server::~Server() = default;

Result<Server> Server::open(const std::string& directory, const std::string& daemon,
                            unsigned allowed_uid) {
  const auto pass_up = [](Error& error) { return std::unexpected(std::move(error)); };
  auto state = std::make_unique<State>();
  state->allowed_uid = allowed_uid;
  state->read_path = socket_path(directory, daemon, Access::read);
  state->write_path = socket_path(directory, daemon, Access::write);
  const Account third{.uid = allowed_uid, .gid = ::getegid()};
  if (auto ready = prepare_directory(directory, 0755, {&third, 1}); !ready)
    return pass_up(ready.error());
  auto lock = lock_daemon(directory + "/" + daemon + ".lock");
  if (!lock) return pass_up(lock.error());
  state->lock = std::move(*lock);

  const bool third_user = allowed_uid != 0 && allowed_uid != ::geteuid();
  auto reader = listen_at(state->read_path, 0666);
  if (!reader) return pass_up(reader.error());
  state->read_listener = std::move(*reader);
  auto writer = listen_at(state->write_path, third_user ? 0666 : 0600);
  if (!writer) return pass_up(writer.error());
  state->write_listener = std::move(*writer);

  state->epoll = UniqueFd(::epoll_create1(EPOLL_CLOEXEC));
  if (!state->epoll) return fail_errno("epoll_create1");
  state->timer = UniqueFd(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!state->timer) return fail_errno("timerfd_create");
  state->job_event = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!state->job_event) return fail_errno("eventfd");
  for (const auto* fd :
       {&state->timer, &state->job_event, &state->read_listener, &state->write_listener}) {
    if (auto watched = state->watch(fd->get(), EPOLLIN); !watched) return pass_up(watched.error());
  }
  Server server(std::move(state));
  server.add({"commands", Access::read, "all commands of this daemon",
              [state_now = server.state_.get()](const json&) -> Result<json> {
                return state_now->list();
              }});
  return server;
}

void Server::add(Command command) {
  auto name = command.name;
  state_->commands.insert_or_assign(std::move(name), std::move(command));
}

Result<json> Server::run(Access access, const std::string& command, const json& arguments) {
  return state_->run(access, command, arguments);
}

void Server::set_witness(Witness witness) {
  state_->witness = std::move(witness);
}

bool Server::changes(const std::string& command) const {
  return state_->changes(command);
}

std::optional<Access> Server::access_of(const std::string& command) const {
  const auto found = state_->commands.find(command);
  if (found == state_->commands.end()) return std::nullopt;
  return found->second.access;
}

void Server::finish() {
  for (auto& [fd, connection] : state_->connections) connection.job.reset();
}

int Server::fd() const noexcept {
  return state_->epoll.get();
}

void Server::drop_slow_peers(Instant now) {
  std::erase_if(state_->connections, [&](const auto& entry) {
    return entry.second.job == nullptr && now - entry.second.progress > peer_patience;
  });
  if (state_->connections.empty()) state_->set_timer();
}

void Server::poll_once(Duration timeout) {
  std::array<epoll_event, events_max> events;
  const auto timeout_ms = std::clamp<std::int64_t>((timeout.ns + 999'999) / 1'000'000, 0,
                                                   std::numeric_limits<int>::max());
  const int ready =
      ::epoll_wait(state_->epoll.get(), events.data(), events_max, static_cast<int>(timeout_ms));
  for (int i = 0; i < ready; ++i) {
    const int fd = events[static_cast<std::size_t>(i)].data.fd;
    if (fd == state_->read_listener.get()) {
      state_->accept_all(fd, Access::read);
    } else if (fd == state_->write_listener.get()) {
      state_->accept_all(fd, Access::write);
    } else if (fd == state_->job_event.get()) {
      state_->end_jobs();
    } else if (fd == state_->timer.get()) {
      std::uint64_t ticks = 0;
      (void)!::read(fd, &ticks, sizeof ticks);
      drop_slow_peers(monotonic_now());
    } else if (const auto found = state_->connections.find(fd);
               found != state_->connections.end() && !state_->serve(found->second)) {
      state_->drop(fd);
    }
  }
}

}  // namespace pharos::control
