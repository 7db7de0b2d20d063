// TLS of the API: a context of certificate, key and issuers, and one connection's stream over it or over the bare socket.
// Private to this folder.
#pragma once

#include "pharos/base/clock.hh"
#include "pharos/base/error.hh"
#include "pharos/base/fd.hh"
#include "pharos/config/model.hh"

#include <httplib.h>
#include <openssl/ssl.h>

#include <memory>
#include <string>

namespace pharos::controlplane {

struct FreeContext {
  void operator()(SSL_CTX* context) const noexcept { SSL_CTX_free(context); }
};
struct FreeSession {
  void operator()(SSL* session) const noexcept { SSL_free(session); }
};

// Errors: invalid, with what OpenSSL says of the file. Null where there is no certificate: plain HTTP.
[[nodiscard]] Result<std::shared_ptr<SSL_CTX>> make_tls_context(const config::ApiConfig& config);

// A socket with deadlines for everything, as cpp-httplib reads and writes it. One thread.
class PeerStream final : public httplib::Stream {
 public:
  // `stop` becomes readable when nobody is to be waited for any longer.
  PeerStream(UniqueFd socket, std::string peer, int stop) noexcept;
  ~PeerStream() override;

  // False: no TLS came of it within `patience`.
  [[nodiscard]] bool accept_tls(SSL_CTX* context, Duration patience);
  // The common name of the certificate that the peer showed; empty: none.
  [[nodiscard]] std::string certificate_name() const;
  // Before each request: it has `patience` to come, `bytes_max` to be read, and its answer `patience` more.
  void begin_request(Duration patience, std::size_t bytes_max);
  void begin_answer(Duration patience) noexcept;
  // Whether a request begins within `patience`.
  [[nodiscard]] bool wait_for_request(Duration patience);

  [[nodiscard]] bool is_readable() const override { return !failed_; }
  [[nodiscard]] bool is_writable() const override { return !failed_; }
  ssize_t read(char* to, size_t size) override;
  ssize_t write(const char* from, size_t size) override;
  using Stream::write;
  void get_remote_ip_and_port(std::string& ip, int& port) const override;
  void get_local_ip_and_port(std::string& ip, int& port) const override;
  [[nodiscard]] socket_t socket() const override { return socket_.get(); }

 private:
  [[nodiscard]] bool wait(short events, Instant until) const;
  [[nodiscard]] bool wait_after(int result, Instant until);  // for what OpenSSL waits for
  ssize_t read_some(char* to, size_t size);

  UniqueFd socket_;
  std::string peer_;
  int stop_;
  std::unique_ptr<SSL, FreeSession> session_;
  Instant deadline_;
  std::size_t bytes_left_ = 0;
  bool failed_ = false;
  std::string buffer_;  // cpp-httplib reads lines byte by byte
  std::size_t buffer_at_ = 0;
};

}  // namespace pharos::controlplane
