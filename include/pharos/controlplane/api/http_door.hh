// HTTP(S) over bounded connections: what the API listens with.
//
// Parsing and writing of messages are cpp-httplib's; sockets, TLS (OpenSSL), threads and limits are ours, since a
// hostile peer must not hold more than it is granted:
//
//   accept thread -> queue (64) -> 16 workers; of one holder (peer_block()) at most half of them
//   a connection: handshake within 5 s; each request whole within 10 s, its answer taken within 20 s;
//   request line and headers up to 64 KiB, bodies up to 1 MiB and only of a stated length
//
// The handler runs on the workers, several at a time.
#pragma once

#include "pharos/base/error.hh"
#include "pharos/config/model.hh"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace pharos::controlplane {

inline constexpr unsigned http_workers = 16;
inline constexpr unsigned http_workers_per_block = http_workers / 2;
inline constexpr std::size_t http_waiting_max = 64;
inline constexpr std::size_t http_header_bytes_max = 64U << 10;
inline constexpr std::size_t http_body_bytes_max = 1U << 20;

// Whom limits count as one: an IPv4 address; of IPv6 the /64, all of which one host can have to itself.
[[nodiscard]] std::string peer_block(const IpAddress& address);

struct HttpRequest {
  std::string method;
  std::string path;                               // decoded, without the query
  std::multimap<std::string, std::string> query;  // decoded
  std::string body;
  std::string authorization;  // the header's value
  std::string host;
  std::string peer;         // its address
  std::string block;        // peer_block() of it
  std::string certificate;  // common name of a client certificate that was verified; empty: none
};

struct HttpResponse {
  int status = 200;
  std::string type = "application/json";
  std::string body;
  std::map<std::string, std::string> headers;
};

struct HttpCounters {
  std::uint64_t connections = 0;
  std::uint64_t turned_away = 0;  // the queue was full, or that block had its share of it
  std::uint64_t handshakes_failed = 0;
  std::uint64_t requests = 0;
  std::uint64_t bad_requests = 0;  // that never came to the handler
};

class HttpDoor {
 public:
  // `admit` sees a request before its body is read: an answer of it ends the matter.
  struct Handlers {
    std::function<bool(const HttpRequest&, HttpResponse&)> admit;
    std::function<void(const HttpRequest&, HttpResponse&)> handle;
  };
  // Listens and serves at once. TLS where `config` has a certificate. Errors: unavailable (an address is taken or not
  // ours), invalid (certificate, key or client_ca).
  [[nodiscard]] static Result<std::unique_ptr<HttpDoor>> open(const config::ApiConfig& config,
                                                              Handlers handlers);
  ~HttpDoor();  // stops; requests that run are answered first
  HttpDoor(const HttpDoor&) = delete;
  HttpDoor& operator=(const HttpDoor&) = delete;

  // As bound, in the order of the configuration.
  [[nodiscard]] std::vector<config::SocketAddress> listening() const;
  // Other files, or the same with other contents; the former stay in use on an error.
  [[nodiscard]] Status read_certificates(const config::ApiConfig& config);
  [[nodiscard]] HttpCounters counters() const;

 private:
  struct State;
  explicit HttpDoor(std::unique_ptr<State> state) noexcept;
  std::unique_ptr<State> state_;
};

}  // namespace pharos::controlplane
