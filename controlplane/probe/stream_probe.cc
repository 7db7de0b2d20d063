// TCP, TLS and HTTP: each is the former and a little more.
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <charconv>
#include <ctime>

#include "probes.hh"

namespace pharos::probe {
namespace {

struct FreeSsl {
  void operator()(SSL* ssl) const noexcept { SSL_free(ssl); }
};

// The first error of OpenSSL's queue, which is emptied.
std::string tls_error() {
  std::array<char, 256> text{};
  ERR_error_string_n(ERR_get_error(), text.data(), text.size());
  ERR_clear_error();
  return text.data();
}

class StreamProbe final : public Probe {
 public:
  StreamProbe(const Target& target, const TlsContext* tls) : Probe(target), tls_(tls) {
    if (open_socket(SOCK_STREAM, 0)) events_ = EPOLLOUT;
  }

  void ready() override {
    // Each step runs until it is done, fails, or has to wait.
    while (!outcome_) {
      const auto before = step_;
      if (step_ == Step::connect)
        finish_connect();
      else if (step_ == Step::handshake)
        handshake();
      else if (step_ == Step::request)
        send_request();
      else
        read_reply();
      if (step_ == before) return;
    }
  }

 private:
  enum class Step : std::uint8_t { connect, handshake, request, reply };
  enum class Moved : std::uint8_t { bytes, waits, ended, failed };

  [[nodiscard]] bool speaks_tls() const noexcept {
    return target_.kind == Kind::tls || target_.kind == Kind::https;
  }

  void finish_connect() {
    int code = 0;
    socklen_t length = sizeof code;
    ::getsockopt(fd_.get(), SOL_SOCKET, SO_ERROR, &code, &length);
    if (code != 0) {
      errno = code;
      return conclude(false, fail_errno("connect").error().text());
    }
    if (target_.kind == Kind::tcp) return conclude(true);
    if (!speaks_tls()) {
      step_ = Step::request;
      return;
    }
    if (tls_ == nullptr) return conclude(false, "TLS: no certificates in " + target_.ca_file);
    if (!begin_tls()) return conclude(false, "TLS: " + tls_error());
    step_ = Step::handshake;
  }

  [[nodiscard]] bool begin_tls() {
    ssl_.reset(SSL_new(static_cast<SSL_CTX*>(tls_->handle())));
    if (!ssl_ || SSL_set_fd(ssl_.get(), fd_.get()) != 1) return false;
    SSL_set_connect_state(ssl_.get());
    // The chain is judged after the handshake, where the reason can be told.
    SSL_set_verify(ssl_.get(), SSL_VERIFY_NONE, nullptr);
    if (target_.host.empty()) {
      const auto address = target_.to.address.text();
      return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl_.get()), address.c_str()) == 1;
    }
    return SSL_set_tlsext_host_name(ssl_.get(), target_.host.c_str()) == 1 &&
           SSL_set1_host(ssl_.get(), target_.host.c_str()) == 1;
  }

  void handshake() {
    ERR_clear_error();
    const int done = SSL_do_handshake(ssl_.get());
    if (done != 1) {
      if (wait_for_tls(done)) return;
      return conclude(false, "TLS handshake: " + tls_error());
    }
    if (auto wrong = judge_certificate(); !wrong.empty()) return conclude(false, wrong);
    if (target_.kind == Kind::tls) return conclude(true);
    step_ = Step::request;
  }

  [[nodiscard]] std::string judge_certificate() const {
    const X509* certificate = SSL_get0_peer_certificate(ssl_.get());
    if (certificate == nullptr) return "TLS: there is no certificate";
    if (target_.verify) {
      const long verdict = SSL_get_verify_result(ssl_.get());
      if (verdict != X509_V_OK)
        return std::string("certificate: ") + X509_verify_cert_error_string(verdict);
    }
    const auto* ends = X509_get0_notAfter(certificate);
    auto limit = static_cast<std::time_t>(wall_now().ns / 1'000'000'000 +
                                          target_.certificate_left.ns / 1'000'000'000);
    if (X509_cmp_time(ends, &limit) > 0) return {};
    return target_.certificate_left.ns > 0 ? "the certificate ends too soon"
                                           : "the certificate has ended";
  }

  // True: waits for the socket. False: failed, or ended.
  [[nodiscard]] bool wait_for_tls(int returned) {
    switch (SSL_get_error(ssl_.get(), returned)) {
      case SSL_ERROR_WANT_READ:
        events_ = EPOLLIN;
        return true;
      case SSL_ERROR_WANT_WRITE:
        events_ = EPOLLOUT;
        return true;
      default:
        return false;
    }
  }

  void send_request() {
    if (request_.empty()) {
      const bool ipv6 = !target_.to.address.is_ipv4();
      const auto address = target_.to.address.text();
      const auto host = !target_.host.empty() ? target_.host : ipv6 ? "[" + address + "]" : address;
      request_ = "GET " + target_.path + " HTTP/1.1\r\nHost: " + host +
                 "\r\nUser-Agent: pharos-probe\r\nAccept: */*\r\nConnection: close\r\n\r\n";
    }
    while (sent_ < request_.size()) {
      std::size_t count = 0;
      const auto moved = write_some(std::string_view(request_).substr(sent_), count);
      if (moved == Moved::waits) return;
      if (moved != Moved::bytes) return conclude(false, "the request could not be sent");
      sent_ += count;
    }
    events_ = EPOLLIN;
    step_ = Step::reply;
  }

  void read_reply() {
    std::array<char, 4096> buffer;
    for (;;) {
      std::size_t count = 0;
      const auto moved = read_some(buffer, count);
      if (moved == Moved::waits) return;
      if (moved == Moved::failed) return conclude(false, "the connection broke");
      reply_.append(buffer.data(), count);
      const bool ended = moved == Moved::ended || reply_.size() >= reply_bytes_max;
      judge_reply(ended);
      if (outcome_) return;
      if (ended) return conclude(false, "the reply was no whole reply of HTTP");
    }
  }

  // Concludes as soon as the answer is clear.
  void judge_reply(bool ended) {
    const auto line_end = reply_.find("\r\n");
    if (line_end == std::string::npos) return;
    const auto line = std::string_view(reply_).substr(0, line_end);
    unsigned status = 0;
    const bool is_http = line.starts_with("HTTP/1.") && line.size() >= 12 && line[8] == ' ';
    const auto* digits = line.data() + 9;
    if (!is_http || std::from_chars(digits, digits + 3, status).ptr != digits + 3)
      return conclude(false, "the reply was no reply of HTTP");
    if (status < target_.status_first || status > target_.status_last)
      return conclude(false, "status " + std::to_string(status));
    if (target_.match.empty()) return conclude(true);
    const auto body = reply_.find("\r\n\r\n");
    if (body != std::string::npos && reply_.find(target_.match, body + 4) != std::string::npos)
      return conclude(true);
    if (ended) conclude(false, "the body does not hold '" + target_.match + "'");
  }

  [[nodiscard]] Moved write_some(std::string_view bytes, std::size_t& count) {
    if (ssl_) {
      ERR_clear_error();
      const int done = SSL_write_ex(ssl_.get(), bytes.data(), bytes.size(), &count);
      return done == 1 ? Moved::bytes : wait_for_tls(done) ? Moved::waits : Moved::failed;
    }
    const auto sent = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    events_ = EPOLLOUT;
    if (sent < 0) return errno == EAGAIN ? Moved::waits : Moved::failed;
    count = static_cast<std::size_t>(sent);
    return Moved::bytes;
  }

  [[nodiscard]] Moved read_some(std::array<char, 4096>& buffer, std::size_t& count) {
    if (ssl_) {
      ERR_clear_error();
      const int done = SSL_read_ex(ssl_.get(), buffer.data(), buffer.size(), &count);
      if (done == 1) return Moved::bytes;
      if (wait_for_tls(done)) return Moved::waits;
      // Many servers close without a farewell.
      return reply_.empty() ? Moved::failed : Moved::ended;
    }
    const auto got = ::recv(fd_.get(), buffer.data(), buffer.size(), 0);
    events_ = EPOLLIN;
    if (got < 0) return errno == EAGAIN ? Moved::waits : Moved::failed;
    count = static_cast<std::size_t>(got);
    return got == 0 ? Moved::ended : Moved::bytes;
  }

  const TlsContext* tls_;
  Step step_ = Step::connect;
  std::unique_ptr<SSL, FreeSsl> ssl_;
  std::string request_, reply_;
  std::size_t sent_ = 0;
};

}  // namespace

std::unique_ptr<Probe> start_stream(const Target& target, const TlsContext* tls) {
  return std::make_unique<StreamProbe>(target, tls);
}

}  // namespace pharos::probe
