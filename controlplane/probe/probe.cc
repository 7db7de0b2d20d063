#include "pharos/controlplane/probe/probe.hh"

#include "pharos/controlplane/ingest/socket_address.hh"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <charconv>

#include "probes.hh"

// What all kinds share: targets, sockets, the settings of TLS.

namespace pharos::probe {

std::string_view name_of(Kind kind) noexcept {
  switch (kind) {
    case Kind::tcp:
      return "tcp";
    case Kind::http:
      return "http";
    case Kind::https:
      return "https";
    case Kind::tls:
      return "tls";
    case Kind::dns:
      return "dns";
    case Kind::icmp:
      return "icmp";
    case Kind::exec:
      return "exec";
  }
  return "tcp";
}

Result<Target> parse_url(std::string_view url) {
  const auto wrong = [&](const char* what) {
    return fail(ErrorCode::invalid, "'" + std::string(url.substr(0, 300)) + "' " + what, {},
                "http://192.0.2.1:8080/health or https://[2001:db8::1]/");
  };
  Target target;
  target.kind = url.starts_with("https://") ? Kind::https : Kind::http;
  if (target.kind == Kind::http && !url.starts_with("http://")) return wrong("is no URL of http");
  auto rest = url.substr(target.kind == Kind::https ? 8 : 7);
  const auto slash = std::min(rest.find('/'), rest.size());
  if (slash < rest.size()) target.path = rest.substr(slash);
  for (const char c : target.path) {
    if (c <= ' ' || c == 0x7f) return wrong("has a path that no request line can hold");
  }
  rest = rest.substr(0, slash);
  target.to.port = target.kind == Kind::https ? 443 : 80;
  const auto bracket = rest.starts_with('[') ? rest.find(']') : 0;
  if (bracket == std::string_view::npos) return wrong("has no closing bracket");
  const auto colon = rest.find(':', bracket);
  if (colon != std::string_view::npos) {
    const auto port = rest.substr(colon + 1);
    const auto [end, code] = std::from_chars(port.begin(), port.end(), target.to.port);
    if (code != std::errc{} || end != port.end() || target.to.port == 0)
      return wrong("has no port behind its colon");
    rest = rest.substr(0, colon);
  }
  if (bracket != 0) rest = rest.substr(1, bracket - 1);
  const auto address = IpAddress::parse(rest);
  if (!address) return wrong("names no address; write the name as `host`");
  target.to.address = *address;
  return target;
}

Result<TlsContext> TlsContext::make(const std::string& ca_file) {
  SSL_CTX* handle = SSL_CTX_new(TLS_client_method());
  if (handle == nullptr) return fail(ErrorCode::unavailable, "OpenSSL does not start", "probes");
  TlsContext context(handle);
  SSL_CTX_set_session_cache_mode(handle, SSL_SESS_CACHE_OFF);
  if (ca_file.empty()) {
    SSL_CTX_set_default_verify_paths(handle);  // none there: nothing verifies, and probes say so
  } else if (SSL_CTX_load_verify_locations(handle, ca_file.c_str(), nullptr) != 1) {
    ERR_clear_error();
    return fail(ErrorCode::invalid, "holds no certificates", ca_file, "a file in PEM form");
  }
  return context;
}
TlsContext::TlsContext(TlsContext&& other) noexcept
    : handle_(std::exchange(other.handle_, nullptr)) {}
TlsContext& TlsContext::operator=(TlsContext&& other) noexcept {
  std::swap(handle_, other.handle_);
  return *this;
}
TlsContext::~TlsContext() {
  SSL_CTX_free(static_cast<SSL_CTX*>(handle_));
}

bool Probe::open_socket(int type, int protocol) {
  sockaddr_storage system{};
  const auto length = controlplane::to_system(target_.to, system);
  fd_ = UniqueFd(::socket(system.ss_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol));
  if (!fd_) {
    conclude(false, fail_errno("socket").error().text());
    return false;
  }
  if (::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&system), length) != 0 &&
      errno != EINPROGRESS) {
    conclude(false, fail_errno("connect").error().text());
    return false;
  }
  return true;
}

std::unique_ptr<Probe> Probe::start(const Target& target, const TlsContext* tls) {
  switch (target.kind) {
    case Kind::dns:
      return start_dns(target);
    case Kind::icmp:
      return start_icmp(target);
    case Kind::exec:
      return start_exec(target);
    default:
      return start_stream(target, tls);
  }
}

}  // namespace pharos::probe
