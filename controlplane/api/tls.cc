#include "tls.hh"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace pharos::controlplane {
namespace {

constexpr std::size_t read_bytes = 16U << 10;

std::unexpected<Error> tls_failure(const std::string& what, const std::string& file) {
  std::array<char, 256> text{};
  ERR_error_string_n(ERR_get_error(), text.data(), text.size());
  ERR_clear_error();
  return fail(ErrorCode::invalid, what + ": " + text.data(), file, "a PEM file belongs here");
}

}  // namespace

Result<std::shared_ptr<SSL_CTX>> make_tls_context(const config::ApiConfig& config) {
  if (config.certificate.empty()) return nullptr;
  std::shared_ptr<SSL_CTX> context(SSL_CTX_new(TLS_server_method()), FreeContext{});
  if (context == nullptr) return tls_failure("TLS does not start", {});
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_options(context.get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE |
                                         SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET);
  // Of TLS 1.2 what 1.3 has kept: forward secrecy, and ciphers that authenticate.
  SSL_CTX_set_cipher_list(context.get(), "ECDHE+AESGCM:ECDHE+CHACHA20");
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
  SSL_CTX_set_mode(context.get(),
                   SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  if (SSL_CTX_use_certificate_chain_file(context.get(), config.certificate.c_str()) != 1)
    return tls_failure("the certificate cannot be used", config.certificate);
  struct stat info{};
  if (::stat(config.key.c_str(), &info) == 0 && (info.st_mode & S_IRWXO) != 0)
    return fail(ErrorCode::invalid, "the key is open to every user", config.key,
                "chmod o= " + config.key);
  if (SSL_CTX_use_PrivateKey_file(context.get(), config.key.c_str(), SSL_FILETYPE_PEM) != 1 ||
      SSL_CTX_check_private_key(context.get()) != 1)
    return tls_failure("the key cannot be used with the certificate", config.key);
  if (config.client_ca.empty()) return context;
  if (SSL_CTX_load_verify_locations(context.get(), config.client_ca.c_str(), nullptr) != 1)
    return tls_failure("the issuers of client certificates cannot be read", config.client_ca);
  SSL_CTX_set_client_CA_list(context.get(), SSL_load_client_CA_file(config.client_ca.c_str()));
  // Not every caller has one: a token does as well. One that is shown must be good.
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  return context;
}

PeerStream::PeerStream(UniqueFd socket, std::string peer, int stop) noexcept
    : socket_(std::move(socket)), peer_(std::move(peer)), stop_(stop) {}

PeerStream::~PeerStream() {
  // Says good-bye where that costs no wait.
  if (session_ && !failed_) SSL_shutdown(session_.get());
  ERR_clear_error();
}

bool PeerStream::wait(short events, Instant until) const {
  for (;;) {
    const auto left = until - monotonic_now();
    if (left.ns <= 0) return false;
    // An answer that is on its way may leave; what only comes in is not waited for at the end.
    std::array<pollfd, 2> waiting{{{.fd = socket_.get(), .events = events, .revents = 0},
                                   {.fd = stop_, .events = POLLIN, .revents = 0}}};
    const int ready = ::poll(waiting.data(), events == POLLIN ? 2 : 1,
                             static_cast<int>((left.ns + 999'999) / 1'000'000));
    if (ready > 0) return waiting[0].revents != 0;
    if (ready < 0 && errno != EINTR) return false;
  }
}

bool PeerStream::wait_after(int result, Instant until) {
  const int reason = SSL_get_error(session_.get(), result);
  ERR_clear_error();
  if (reason == SSL_ERROR_WANT_READ) return wait(POLLIN, until);
  if (reason == SSL_ERROR_WANT_WRITE) return wait(POLLOUT, until);
  return false;
}

bool PeerStream::accept_tls(SSL_CTX* context, Duration patience) {
  const auto until = monotonic_now() + patience;
  session_.reset(SSL_new(context));
  if (!session_ || SSL_set_fd(session_.get(), socket_.get()) != 1) return false;
  for (;;) {
    ERR_clear_error();
    const int done = SSL_accept(session_.get());
    if (done == 1) return true;
    if (wait_after(done, until)) continue;
    failed_ = true;
    return false;
  }
}

std::string PeerStream::certificate_name() const {
  if (!session_) return {};
  const std::unique_ptr<X509, decltype(&X509_free)> shown(SSL_get1_peer_certificate(session_.get()),
                                                          &X509_free);
  if (shown == nullptr || SSL_get_verify_result(session_.get()) != X509_V_OK) return {};
  auto* subject = X509_get_subject_name(shown.get());
  const int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  // Two names are nobody's name.
  if (at < 0 || X509_NAME_get_index_by_NID(subject, NID_commonName, at) >= 0) return {};
  unsigned char* text = nullptr;
  const int length =
      ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
  if (length < 0) return {};
  std::string name(reinterpret_cast<const char*>(text), static_cast<std::size_t>(length));
  OPENSSL_free(text);
  return name.find('\0') == std::string::npos ? name : std::string();
}

void PeerStream::begin_request(Duration patience, std::size_t bytes_max) {
  deadline_ = monotonic_now() + patience;
  bytes_left_ = bytes_max;
}

void PeerStream::begin_answer(Duration patience) noexcept {
  deadline_ = monotonic_now() + patience;
}

bool PeerStream::wait_for_request(Duration patience) {
  if (failed_) return false;
  if (buffer_at_ < buffer_.size()) return true;
  if (session_ && SSL_pending(session_.get()) > 0) return true;
  return wait(POLLIN, monotonic_now() + patience);
}

ssize_t PeerStream::read_some(char* to, size_t size) {
  for (;;) {
    ssize_t got = 0;
    bool again = false;
    if (session_) {
      ERR_clear_error();
      got = SSL_read(session_.get(), to, static_cast<int>(size));
      if (got > 0) return got;
      again = wait_after(static_cast<int>(got), deadline_);
    } else {
      got = ::recv(socket_.get(), to, size, 0);
      if (got > 0) return got;
      again = got < 0 && (errno == EINTR || (errno == EAGAIN && wait(POLLIN, deadline_)));
    }
    if (again && monotonic_now() < deadline_) continue;
    failed_ = true;
    return got == 0 && !session_ ? 0 : -1;
  }
}

ssize_t PeerStream::read(char* to, size_t size) {
  if (size == 0) return 0;
  if (buffer_at_ == buffer_.size()) {
    if (failed_ || bytes_left_ == 0) {
      failed_ = true;
      return -1;
    }
    buffer_.resize(std::min(read_bytes, bytes_left_));
    buffer_at_ = 0;
    const auto got = read_some(buffer_.data(), buffer_.size());
    buffer_.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    if (got <= 0) return got;
    bytes_left_ -= static_cast<std::size_t>(got);
  }
  const auto taken = std::min(size, buffer_.size() - buffer_at_);
  std::copy_n(buffer_.data() + buffer_at_, taken, to);
  buffer_at_ += taken;
  return static_cast<ssize_t>(taken);
}

ssize_t PeerStream::write(const char* from, size_t size) {
  for (;;) {
    if (failed_) return -1;
    ssize_t put = 0;
    bool again = false;
    if (session_) {
      ERR_clear_error();
      put = SSL_write(session_.get(), from, static_cast<int>(std::min<size_t>(size, 1U << 30)));
      if (put > 0) return put;
      again = wait_after(static_cast<int>(put), deadline_);
    } else {
      put = ::send(socket_.get(), from, size, MSG_NOSIGNAL);
      if (put >= 0) return put;
      again = errno == EINTR || (errno == EAGAIN && wait(POLLOUT, deadline_));
    }
    if (again && monotonic_now() < deadline_) continue;
    failed_ = true;
  }
}

void PeerStream::get_remote_ip_and_port(std::string& ip, int& port) const {
  ip = peer_;
  port = 0;
}

void PeerStream::get_local_ip_and_port(std::string& ip, int& port) const {
  ip.clear();
  port = 0;
}

}  // namespace pharos::controlplane
