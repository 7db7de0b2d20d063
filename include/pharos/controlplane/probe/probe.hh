// One look at one target from outside: does it answer as it should? A state machine on one descriptor, never blocking.
//
//   tcp     connect                                             icmp   echo request -> reply
//   tls     connect -> handshake -> certificate                 dns    query -> reply, rcode, records
//   http    connect -> request -> status -> body                https  tls, then http
//   exec    a program, without a shell -> exit status -> output
//
// One thread; the owner waits for the descriptor and for the deadline (prober.hh). What the target sends is hostile: read up to
// a limit, never believed further than the test asks. TLS is OpenSSL's; the process ignores SIGPIPE.
#pragma once

#include "pharos/base/clock.hh"
#include "pharos/base/error.hh"
#include "pharos/base/fd.hh"
#include "pharos/config/model.hh"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pharos::probe {

enum class Kind : std::uint8_t { tcp, http, https, tls, dns, icmp, exec };
[[nodiscard]] std::string_view name_of(Kind kind) noexcept;

struct Target {
  Kind kind = Kind::tcp;
  config::SocketAddress to;  // ICMP has no port
  // HTTP and TLS: the Host header, the name asked for (SNI) and expected in the certificate; empty: the address.
  std::string host;
  std::string path = "/";
  unsigned status_first = 200, status_last = 399;
  std::string
      match;  // has to stand in the first 64 KiB of the reply or output; empty: anything will do
  bool verify = true;           // the certificate's chain and name
  std::string ca_file;          // of certificates that are trusted; empty: those of the system
  Duration certificate_left{};  // a certificate that ends sooner has failed
  std::string query_name = ".";
  std::uint16_t query_type = 6;      // SOA
  std::optional<IpAddress> expect;   // an address that has to be among the answers
  std::vector<std::string> program;  // of exec: absolute path and arguments
};

inline constexpr std::size_t reply_bytes_max = 64U << 10;

// "http://192.0.2.1:8080/health", "https://[2001:db8::1]/": address, port and path. Errors: invalid (no such scheme, a name
// where an address is needed, a port that is none).
[[nodiscard]] Result<Target> parse_url(std::string_view url);

struct Outcome {
  bool up = false;
  std::string reason;  // why not; for people
};

// Settings of TLS that probes share: whom they trust, no sessions. Verification is each probe's.
class TlsContext {
 public:
  // Trusts the certificates of this file (PEM), and no others; those of the system where it is empty. Errors: invalid
  // (there are none), unavailable (OpenSSL does not start).
  [[nodiscard]] static Result<TlsContext> make(const std::string& ca_file);
  TlsContext(TlsContext&&) noexcept;
  TlsContext& operator=(TlsContext&&) noexcept;
  ~TlsContext();
  [[nodiscard]] void* handle() const noexcept { return handle_; }  // SSL_CTX

 private:
  explicit TlsContext(void* handle) noexcept : handle_(handle) {}
  void* handle_;
};

class Probe {
 public:
  virtual ~Probe() = default;
  // Begins. Afterwards either outcome() is there, or fd() waits for events().
  // The target and the context outlive the probe. `tls`: by the target's ca_file; null where it could not be made.
  [[nodiscard]] static std::unique_ptr<Probe> start(const Target& target, const TlsContext* tls);

  [[nodiscard]] int fd() const noexcept { return fd_.get(); }
  [[nodiscard]] std::uint32_t events() const noexcept { return events_; }  // EPOLLIN, EPOLLOUT
  [[nodiscard]] const std::optional<Outcome>& outcome() const noexcept { return outcome_; }
  // The descriptor is ready.
  virtual void ready() = 0;

 protected:
  explicit Probe(const Target& target) noexcept : target_(target) {}
  void conclude(bool up, std::string reason = {}) { outcome_ = Outcome{up, std::move(reason)}; }
  // A non-blocking socket that is connected or about to be. False: concluded.
  [[nodiscard]] bool open_socket(int type, int protocol);

  const Target& target_;
  UniqueFd fd_;
  std::uint32_t events_ = 0;
  std::optional<Outcome> outcome_;
};

}  // namespace pharos::probe
