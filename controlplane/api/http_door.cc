#include "pharos/controlplane/api/http_door.hh"

#include "pharos/base/clock.hh"
#include "pharos/base/fd.hh"
#include "pharos/controlplane/api/routes.hh"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "tls.hh"

namespace pharos::controlplane {
namespace {

constexpr Duration handshake_patience = seconds(5);
constexpr Duration request_patience = seconds(10);
constexpr Duration answer_patience = seconds(20);
constexpr Duration idle_patience = seconds(15);
constexpr unsigned requests_per_connection_max = 1000;
constexpr std::size_t path_bytes_max = 1024;

// cpp-httplib's reading of one request and writing of its answer; its own listening is not used.
class Exchange final : public httplib::Server {
 public:
  using Server::process_request;
};

struct Connection {
  UniqueFd fd;
  std::string peer, block;
};

// The connection that this worker serves: what cpp-httplib's handlers are not told.
struct Serving {
  PeerStream* stream = nullptr;
  const Connection* connection = nullptr;
  const std::string* certificate = nullptr;
  bool close = false;  // what is left to read is not wanted
};
thread_local Serving serving;

HttpRequest request_of(const httplib::Request& from) {
  HttpRequest request;
  request.method = from.method;
  request.path = from.path;
  request.query = from.params;
  request.body = from.body;
  request.authorization = from.get_header_value("Authorization");
  request.host = from.get_header_value("Host");
  request.peer = from.remote_addr;
  if (serving.connection != nullptr) request.block = serving.connection->block;
  request.certificate = serving.certificate == nullptr ? std::string() : *serving.certificate;
  return request;
}

// With what every answer says to browsers, whoever has written it.
void fill(httplib::Response& to, HttpResponse&& from) {
  from.headers.try_emplace("Cache-Control", "no-store");
  from.headers.try_emplace("X-Content-Type-Options", "nosniff");
  from.headers.try_emplace("Content-Security-Policy", "default-src 'none'");
  to.status = from.status;
  for (const auto& [name, value] : from.headers) to.set_header(name, value);
  to.set_content(std::move(from.body), from.type);
}

HttpResponse refused(int status, const char* what) {
  HttpResponse response;
  response.status = status;
  const auto code = status == 403 ? ErrorCode::denied : ErrorCode::invalid;
  response.body = error_body({code, what, "request", {}});
  return response;
}

// Browsers show a client certificate on behalf of any page, and say on which page's (RFC 6454, 7).
bool comes_from_elsewhere(const httplib::Request& request) {
  if (!request.has_header("Origin")) return false;
  const auto origin = request.get_header_value("Origin");
  const auto host = request.get_header_value("Host");
  return origin != "https://" + host && origin != "http://" + host;
}

// Forms of requests that we have no use for, and attackers have: null where it is none.
const char* fault_of(const httplib::Request& request, int& status) {
  status = 400;
  const bool looks = request.method == "GET" || request.method == "HEAD";
  if (!looks && comes_from_elsewhere(request)) {
    status = 403;
    return "pages of other origins may change nothing here";
  }
  if (request.path.size() > path_bytes_max) {
    status = 414;
    return "the path is longer than 1024 bytes";
  }
  if (request.has_header("Transfer-Encoding")) {
    status = 411;
    return "a body needs a Content-Length";
  }
  if (request.get_header_value_count("Content-Length") > 1) return "two lengths are none";
  const bool has_body =
      request.has_header("Content-Length") && request.get_header_value("Content-Length") != "0";
  if (!has_body) return nullptr;
  if (request.method != "POST" && request.method != "PUT") return "a body does not belong here";
  status = 415;
  if (request.has_header("Content-Encoding")) return "bodies are taken as they are, unpacked";
  if (!request.get_header_value("Content-Type").starts_with("application/json"))
    return "a body is application/json";
  return nullptr;
}

Result<UniqueFd> listen_at(const config::SocketAddress& at) {
  const auto where = at.address.text() + ":" + std::to_string(at.port);
  const bool v4 = at.address.is_ipv4();
  UniqueFd fd(::socket(v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fail_errno("socket", where);
  const int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_storage address{};
  socklen_t length = 0;
  const auto bytes = at.address.wire();
  if (v4) {
    auto& to = reinterpret_cast<sockaddr_in&>(address);
    to.sin_family = AF_INET;
    to.sin_port = htons(at.port);
    std::memcpy(&to.sin_addr, bytes.data(), bytes.size());
    length = sizeof to;
  } else {
    ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    auto& to = reinterpret_cast<sockaddr_in6&>(address);
    to.sin6_family = AF_INET6;
    to.sin6_port = htons(at.port);
    std::memcpy(&to.sin6_addr, bytes.data(), bytes.size());
    length = sizeof to;
  }
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), length) != 0)
    return fail_errno("bind", where);
  if (::listen(fd.get(), static_cast<int>(http_waiting_max)) != 0)
    return fail_errno("listen", where);
  return fd;
}

config::SocketAddress address_of(const sockaddr_storage& from) {
  config::SocketAddress address;
  if (from.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(from);
    address.address = IpAddress::from_ipv4(ntohl(v4.sin_addr.s_addr));
    address.port = ntohs(v4.sin_port);
  } else if (from.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(from);
    std::memcpy(address.address.bytes.data(), &v6.sin6_addr, 16);
    address.port = ntohs(v6.sin6_port);
  }
  return address;
}

// When, and which: what changes when somebody puts a new file there.
std::string stamp_of(const config::ApiConfig& config) {
  std::string stamp;
  for (const auto* file : {&config.certificate, &config.key, &config.client_ca}) {
    struct stat info{};
    if (file->empty() || ::stat(file->c_str(), &info) != 0) continue;
    stamp += *file + " " + std::to_string(info.st_ino) + " " + std::to_string(info.st_mtim.tv_sec) +
             "." + std::to_string(info.st_mtim.tv_nsec) + " ";
  }
  return stamp;
}

}  // namespace

struct HttpDoor::State {
  Handlers handlers;
  Exchange exchange;
  std::vector<UniqueFd> listeners;
  UniqueFd stop_event;
  std::thread acceptor;
  std::vector<std::thread> workers;

  std::mutex tls_mutex;  // guards the three
  config::ApiConfig files;
  std::string stamp;
  std::shared_ptr<SSL_CTX> tls;
  Instant next_look;

  mutable std::mutex mutex;  // guards what follows
  std::condition_variable wake;
  std::deque<Connection> waiting;
  std::map<std::string, unsigned> held;    // connections by block, waiting or served
  std::map<std::string, unsigned> served;  // ... and of those, those that a worker serves
  HttpCounters counters;
  bool stopping = false;

  void count(std::uint64_t HttpCounters::* counter) {
    const std::lock_guard lock(mutex);
    ++(counters.*counter);
  }

  void teach() {
    exchange.set_payload_max_length(http_body_bytes_max);
    exchange.set_pre_routing_handler([this](const httplib::Request& from, httplib::Response& to) {
      int status = 0;
      HttpResponse response;
      if (const char* fault = fault_of(from, status)) {
        response = refused(status, fault);
        count(&HttpCounters::bad_requests);
      } else {
        count(&HttpCounters::requests);
        if (!handlers.admit(request_of(from), response))
          return httplib::Server::HandlerResponse::Unhandled;
      }
      // Its body is not read: nothing behind it on this connection means anything.
      if (from.has_header("Content-Length") || from.has_header("Transfer-Encoding")) {
        serving.close = true;
        to.set_header("Connection", "close");
      }
      fill(to, std::move(response));
      serving.stream->begin_answer(answer_patience);
      return httplib::Server::HandlerResponse::Handled;
    });
    const auto handle = [this](const httplib::Request& from, httplib::Response& to) {
      HttpResponse response;
      handlers.handle(request_of(from), response);
      fill(to, std::move(response));
      serving.stream->begin_answer(answer_patience);
    };
    exchange.Get(".*", handle);
    exchange.Put(".*", handle);
    exchange.Post(".*", handle);
    exchange.Delete(".*", handle);
    exchange.set_error_handler([](const httplib::Request&, httplib::Response& to) {
      if (to.body.empty()) fill(to, refused(to.status, "this is no request that is taken here"));
    });
    exchange.set_exception_handler(
        [](const httplib::Request&, httplib::Response& to, const std::exception_ptr&) {
          fill(to, refused(500, "the request could not be answered"));
        });
  }

  void accept_all() {
    std::vector<pollfd> polled;
    for (const auto& listener : listeners) polled.push_back({listener.get(), POLLIN, 0});
    polled.push_back({stop_event.get(), POLLIN, 0});
    for (;;) {
      if (::poll(polled.data(), polled.size(), -1) < 0 && errno != EINTR) return;
      if (polled.back().revents != 0) return;
      for (std::size_t i = 0; i + 1 < polled.size(); ++i) {
        if (polled[i].revents != 0) accept_from(polled[i].fd);
      }
    }
  }

  void accept_from(int listener) {
    sockaddr_storage from{};
    socklen_t length = sizeof from;
    UniqueFd fd(::accept4(listener, reinterpret_cast<sockaddr*>(&from), &length,
                          SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!fd) {
      // Out of descriptors: the listener stays readable, so wait a little instead of spinning.
      if (errno == EMFILE || errno == ENFILE)
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
      return;
    }
    const int on = 1;
    ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    const auto address = address_of(from).address;
    auto block = peer_block(address);
    const std::lock_guard lock(mutex);
    ++counters.connections;
    const auto of_block = held.find(block);
    if (waiting.size() >= http_waiting_max ||
        (of_block != held.end() && of_block->second >= http_waiting_max / 2)) {
      ++counters.turned_away;
      return;
    }
    ++held[block];
    waiting.push_back({std::move(fd), address.text(), std::move(block)});
    wake.notify_one();
  }

  // The next connection whose block does not hold its share of the workers already.
  bool take(Connection& connection) {
    const auto next = std::ranges::find_if(waiting, [&](const Connection& one) {
      const auto at = served.find(one.block);
      return at == served.end() || at->second < http_workers_per_block;
    });
    if (next == waiting.end()) return false;
    connection = std::move(*next);
    waiting.erase(next);
    return true;
  }

  void work() {
    std::unique_lock lock(mutex);
    for (;;) {
      Connection connection;
      wake.wait(lock, [&] { return stopping || take(connection); });
      if (!connection.fd) return;
      ++served[connection.block];
      lock.unlock();
      serve(connection);
      lock.lock();
      if (--served[connection.block] == 0) served.erase(connection.block);
      if (--held[connection.block] == 0) held.erase(connection.block);
      wake.notify_all();
    }
  }

  // The context in use; files that changed are read again, at most once a second.
  std::shared_ptr<SSL_CTX> context() {
    const std::lock_guard lock(tls_mutex);
    const auto now = monotonic_now();
    if (now < next_look) return tls;
    next_look = now + seconds(1);
    if (auto is = stamp_of(files); is != stamp) {
      stamp = std::move(is);
      auto next = make_tls_context(files);
      if (next) {
        tls = std::move(*next);
        spdlog::info("api: certificate {} was read again", files.certificate);
      } else {
        spdlog::error("api: the former certificate stays in use: {}", next.error().text());
      }
    }
    return tls;
  }

  [[nodiscard]] bool others_wait() const {
    const std::lock_guard lock(mutex);
    return stopping || !waiting.empty();
  }

  void serve(Connection& connection) {
    PeerStream stream(std::move(connection.fd), connection.peer, stop_event.get());
    const auto tls_now = context();
    if (tls_now && !stream.accept_tls(tls_now.get(), handshake_patience)) {
      count(&HttpCounters::handshakes_failed);
      return;
    }
    const auto certificate = stream.certificate_name();
    serving = {&stream, &connection, &certificate, false};
    for (unsigned i = 0; i < requests_per_connection_max; ++i) {
      if (!stream.wait_for_request(i == 0 ? request_patience : idle_patience)) break;
      stream.begin_request(request_patience, http_header_bytes_max + http_body_bytes_max);
      const bool last = i + 1 == requests_per_connection_max || others_wait();
      bool closed = false;
      // Ranges of our answers are of no use to anybody honest.
      const bool done = exchange.process_request(
          stream, last, closed, [](httplib::Request& request) { request.ranges.clear(); });
      if (!done || closed || last || serving.close) break;
    }
    serving = {};
  }
};

std::string peer_block(const IpAddress& address) {
  constexpr std::uint8_t ipv6_bits = 64;
  return address.is_ipv4() ? address.text() : IpPrefix{address, ipv6_bits}.masked().text();
}

HttpDoor::HttpDoor(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}

Result<std::unique_ptr<HttpDoor>> HttpDoor::open(const config::ApiConfig& config,
                                                 Handlers handlers) {
  auto state = std::make_unique<State>();
  state->handlers = std::move(handlers);
  state->files = config;
  state->stamp = stamp_of(config);
  auto tls = make_tls_context(config);
  if (!tls) return std::unexpected(std::move(tls.error()).in("controlplane.api"));
  state->tls = std::move(*tls);
  for (const auto& address : config.listen) {
    auto listener = listen_at(address);
    if (!listener)
      return std::unexpected(std::move(listener.error()).in("controlplane.api.listen"));
    state->listeners.push_back(std::move(*listener));
  }
  state->stop_event = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!state->stop_event) return fail_errno("eventfd", "controlplane.api");
  state->teach();
  auto* running = state.get();
  std::unique_ptr<HttpDoor> door(new HttpDoor(std::move(state)));
  running->acceptor = std::thread([running] { running->accept_all(); });
  ::pthread_setname_np(running->acceptor.native_handle(), "api-accept");
  for (unsigned i = 0; i < http_workers; ++i) {
    running->workers.emplace_back([running] { running->work(); });
    ::pthread_setname_np(running->workers.back().native_handle(), "api");
  }
  return door;
}

HttpDoor::~HttpDoor() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->stopping = true;
    state_->waiting.clear();
  }
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto put = ::write(state_->stop_event.get(), &one, sizeof one);
  state_->wake.notify_all();
  if (state_->acceptor.joinable()) state_->acceptor.join();
  for (auto& worker : state_->workers) worker.join();
}

std::vector<config::SocketAddress> HttpDoor::listening() const {
  std::vector<config::SocketAddress> addresses;
  for (const auto& listener : state_->listeners) {
    sockaddr_storage at{};
    socklen_t length = sizeof at;
    ::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&at), &length);
    addresses.push_back(address_of(at));
  }
  return addresses;
}

Status HttpDoor::read_certificates(const config::ApiConfig& config) {
  auto next = make_tls_context(config);
  if (!next) return std::unexpected(std::move(next.error()).in("controlplane.api"));
  const std::lock_guard lock(state_->tls_mutex);
  state_->tls = std::move(*next);
  state_->files = config;
  state_->stamp = stamp_of(config);
  return {};
}

HttpCounters HttpDoor::counters() const {
  const std::lock_guard lock(state_->mutex);
  return state_->counters;
}

}  // namespace pharos::controlplane
