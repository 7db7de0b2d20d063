// Probes against servers of the test: what is up, what is not and why, and many at once.
#include "pharos/controlplane/probe/prober.hh"

#include "pharos/wire/dns.hh"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <functional>
#include <mutex>
#include <thread>

#include "temporary_files.hh"

namespace pharos::probe {
namespace {

constexpr Duration patience = seconds(20);

// A socket of ours on loopback, at a port that the system picks.
UniqueFd bound(int type, std::uint16_t& port) {
  UniqueFd fd(::socket(AF_INET, type | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  EXPECT_EQ(::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), length), 0);
  EXPECT_EQ(::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &length), 0);
  if (type == SOCK_STREAM) {
    EXPECT_EQ(::listen(fd.get(), 4096), 0);
  }
  port = ntohs(address.sin_port);
  return fd;
}

// Serves one connection or datagram after the other in a thread, until it goes; then it also leaves a client that says
// nothing, such as a probe that nobody drives any more.
class Server {
 public:
  using Serve = std::function<void(int fd)>;
  Server(int type, Serve serve) : listener_(bound(type, port_)), type_(type) {
    thread_ = std::thread([this, serve = std::move(serve)] {
      while (!ending_.load(
          std::memory_order_relaxed)) {  // relaxed: orders nothing, the thread is joined
        pollfd wait{listener_.get(), POLLIN, 0};
        if (::poll(&wait, 1, 20) <= 0) continue;
        if (type_ == SOCK_DGRAM) {
          serve(listener_.get());
          continue;
        }
        UniqueFd peer(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
        if (peer) serve_peer(std::move(peer), serve);
      }
    });
  }
  ~Server() {
    {
      const std::lock_guard lock(mutex_);
      ending_.store(true, std::memory_order_relaxed);
      if (peer_ >= 0) ::shutdown(peer_, SHUT_RDWR);
    }
    thread_.join();
  }
  [[nodiscard]] config::SocketAddress address() const {
    return {IpAddress::from_ipv4(0x7f000001), port_};
  }

 private:
  void serve_peer(UniqueFd peer, const Serve& serve) {
    {
      const std::lock_guard lock(mutex_);
      if (ending_.load(std::memory_order_relaxed)) return;
      peer_ = peer.get();
    }
    serve(peer.get());
    const std::lock_guard lock(mutex_);
    peer_ = -1;
  }

  std::uint16_t port_ = 0;
  std::mutex mutex_;
  int peer_ = -1;  // guarded by the mutex
  UniqueFd listener_;
  int type_;
  std::atomic<bool> ending_{false};
  std::thread thread_;
};

void say(int fd, std::string_view text) {
  std::array<char, 4096> request;
  static_cast<void>(::recv(fd, request.data(), request.size(), 0));
  static_cast<void>(::send(fd, text.data(), text.size(), MSG_NOSIGNAL));
}

class ProberTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ::signal(SIGPIPE, SIG_IGN);  // as the daemons do
    auto opened = Prober::open(7);
    ASSERT_TRUE(opened) << opened.error().text();
    prober.emplace(std::move(*opened));
  }
  void run_until(const std::function<bool()>& done) {
    const auto end = monotonic_now() + patience;
    while (!done() && monotonic_now() < end) {
      const auto rest = std::clamp((prober->next_time() - monotonic_now()).ms(), std::int64_t{0},
                                   std::int64_t{20});
      pollfd wait{prober->fd(), POLLIN, 0};
      ::poll(&wait, 1, static_cast<int>(rest));
      prober->turn(monotonic_now());
    }
  }
  // The outcome of the first look.
  Outcome look(Target target, Duration timeout = seconds(5)) {
    Spec spec;
    spec.target = std::move(target);
    spec.interval = milliseconds(1);
    spec.timeout = timeout;
    const auto id = prober->add(spec, monotonic_now());
    run_until([&] { return prober->up(id).has_value(); });
    return {prober->up(id).value_or(false), prober->up(id) ? prober->reason(id) : "no outcome"};
  }
  std::optional<Prober> prober;
};

TEST_F(ProberTest, ATcpPortIsUpWhileSomebodyListens) {
  Target target;
  {
    const Server server(SOCK_STREAM, [](int) {});
    target.to = server.address();
    EXPECT_TRUE(look(target).up);
  }
  const auto gone = look(target);
  EXPECT_FALSE(gone.up);
  EXPECT_NE(gone.reason.find("refused"), std::string::npos) << gone.reason;
}

TEST_F(ProberTest, AnHttpServerIsJudgedByStatusAndBody) {
  const Server server(SOCK_STREAM, [](int fd) {
    say(fd, "HTTP/1.1 204 No Content\r\nServer: x\r\n\r\nall systems nominal");
  });
  auto target = *parse_url("http://127.0.0.1:1/health");
  target.to.port = server.address().port;
  EXPECT_TRUE(look(target).up);
  target.match = "nominal";
  EXPECT_TRUE(look(target).up);
  target.match = "x\r\n";
  EXPECT_EQ(look(target).reason, "the body does not hold 'x\r\n'") << "headers are no body";
  target.match.clear();
  target.status_first = target.status_last = 200;
  EXPECT_EQ(look(target).reason, "status 204");
}

TEST_F(ProberTest, WhatIsNoReplyOfHttpIsNoReply) {
  for (const char* reply :
       {"", "HTTP/1.1", "SSH-2.0-OpenSSH\r\n", "HTTP/1.1 2x0 OK\r\n\r\n", "HTTP/1.1 200"}) {
    const Server server(SOCK_STREAM, [reply](int fd) { say(fd, reply); });
    Target target;
    target.kind = Kind::http;
    target.to = server.address();
    EXPECT_FALSE(look(target).up) << reply;
  }
}

TEST_F(ProberTest, AReplyWithoutAnEndIsReadUpToALimit) {
  const Server server(SOCK_STREAM, [](int fd) {
    say(fd, "HTTP/1.1 200 OK\r\n\r\n");
    const std::string much(4096, 'a');
    for (std::size_t sent = 0; sent < 4 * reply_bytes_max; sent += much.size()) {
      if (::send(fd, much.data(), much.size(), MSG_NOSIGNAL) < 0) return;
    }
  });
  Target target;
  target.kind = Kind::http;
  target.to = server.address();
  target.match = "b";
  EXPECT_EQ(look(target).reason, "the body does not hold 'b'");
}

TEST_F(ProberTest, WhoDoesNotAnswerInTimeIsDown) {
  std::uint16_t port = 0;
  const auto silent = bound(SOCK_STREAM, port);  // the kernel accepts, nobody speaks
  Target target;
  target.kind = Kind::http;
  target.to = {IpAddress::from_ipv4(0x7f000001), port};
  EXPECT_EQ(look(target, milliseconds(50)).reason, "no answer in time");
}

// A certificate for 127.0.0.1 that ends after so many seconds, and its key.
struct Certificate {
  std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key{EVP_EC_gen("P-256"), EVP_PKEY_free};
  std::unique_ptr<X509, decltype(&X509_free)> own{X509_new(), X509_free};
  explicit Certificate(long seconds_left) {
    auto* x = own.get();
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -3600 * 24 * 10);
    X509_gmtime_adj(X509_getm_notAfter(x), seconds_left);
    X509_set_pubkey(x, key.get());
    const auto own_name = "ends in " + std::to_string(seconds_left);  // told apart in the store
    auto* name = X509_get_subject_name(x);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>(own_name.c_str()), -1, -1, 0);
    X509_set_issuer_name(x, name);
    for (const auto& [nid, text] :
         {std::pair(NID_subject_alt_name, "IP:127.0.0.1,DNS:www.example.org"),
          std::pair(NID_basic_constraints, "CA:TRUE")}) {
      auto* extension = X509V3_EXT_conf_nid(nullptr, nullptr, nid, text);
      X509_add_ext(x, extension, -1);
      X509_EXTENSION_free(extension);
    }
    X509_sign(x, key.get(), EVP_sha256());
  }
};

void serve_tls(int fd, const Certificate& certificate) {
  const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context(SSL_CTX_new(TLS_server_method()),
                                                                  SSL_CTX_free);
  SSL_CTX_use_certificate(context.get(), certificate.own.get());
  SSL_CTX_use_PrivateKey(context.get(), certificate.key.get());
  const std::unique_ptr<SSL, decltype(&SSL_free)> ssl(SSL_new(context.get()), SSL_free);
  SSL_set_fd(ssl.get(), fd);
  if (SSL_accept(ssl.get()) != 1) return;
  std::array<char, 1024> request;
  if (SSL_read(ssl.get(), request.data(), request.size()) <= 0) return;
  constexpr std::string_view reply = "HTTP/1.1 200 OK\r\n\r\nfine";
  SSL_write(ssl.get(), reply.data(), static_cast<int>(reply.size()));
  SSL_shutdown(ssl.get());
}

class ProberTlsTest : public ProberTest {
 protected:
  // Looks at a server with this certificate, trusting what is in `ca_file` alone: its own, unless `change` says so.
  Outcome look_at(const Certificate& certificate, const std::function<void(Target&)>& change) {
    const Server server(SOCK_STREAM, [&](int fd) { serve_tls(fd, certificate); });
    Target target;
    target.kind = Kind::https;
    target.to = server.address();
    target.ca_file = pem_of(certificate);
    change(target);
    return look(target);
  }
  std::string pem_of(const Certificate& certificate) {
    const auto path = files_.directory() + "/" + std::to_string(++written_) + ".pem";
    std::FILE* file = std::fopen(path.c_str(), "w");
    PEM_write_X509(file, certificate.own.get());
    std::fclose(file);
    return path;
  }

  TemporaryFiles files_;
  unsigned written_ = 0;
};

TEST_F(ProberTlsTest, ATrustedCertificateOfTheRightNameIsUp) {
  const Certificate certificate(86400 * 60);
  EXPECT_EQ(look_at(certificate, [](Target&) {}).reason, "") << "by address";
  EXPECT_EQ(look_at(certificate,
                    [](Target& t) {
                      t.host = "www.example.org";
                      t.match = "fine";
                    })
                .reason,
            "");
  EXPECT_EQ(look_at(certificate, [](Target& t) { t.kind = Kind::tls; }).reason, "");
  EXPECT_NE(look_at(certificate, [](Target& t) { t.host = "www.example.net"; })
                .reason.find("ostname mismatch"),
            std::string::npos);
}

TEST_F(ProberTlsTest, WhoIsTrustedIsWhatTheFileOfTheTargetSays) {
  const Certificate own(86400 * 60), stranger(86400 * 60);
  EXPECT_NE(look_at(own, [](Target& t) { t.ca_file.clear(); }).reason.find("self-signed"),
            std::string::npos)
      << "the system's roots";
  EXPECT_FALSE(look_at(own, [&](Target& t) { t.ca_file = pem_of(stranger); }).up)
      << "another target's authority says nothing about this one";
  EXPECT_TRUE(look_at(own, [](Target&) {}).up);
  EXPECT_EQ(look_at(own, [&](Target& t) { t.ca_file = "/nowhere.pem"; }).reason,
            "TLS: no certificates in /nowhere.pem");
  const auto broken = files_.write("broken.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n");
  EXPECT_FALSE(look_at(own, [&](Target& t) { t.ca_file = broken; }).up);
  EXPECT_TRUE(look_at(own, [&](Target& t) {
                t.ca_file.clear();
                t.verify = false;
              }).up);
}

TEST_F(ProberTlsTest, ACertificateThatEndsSoonHasFailed) {
  const Certificate certificate(86400 * 5);
  EXPECT_TRUE(look_at(certificate, [](Target& t) { t.certificate_left = seconds(86400 * 4); }).up);
  EXPECT_EQ(look_at(certificate, [](Target& t) { t.certificate_left = seconds(86400 * 6); }).reason,
            "the certificate ends too soon");
  const Certificate ended(-60);
  EXPECT_EQ(look_at(ended, [](Target& t) { t.verify = false; }).reason,
            "the certificate has ended");
  EXPECT_NE(look_at(ended, [](Target&) {}).reason.find("expired"), std::string::npos);
}

TEST_F(ProberTlsTest, WhoSpeaksNoTlsHasFailed) {
  const Server server(SOCK_STREAM, [](int fd) { say(fd, "SSH-2.0-OpenSSH_9\r\n"); });
  Target target;
  target.kind = Kind::tls;
  target.to = server.address();
  EXPECT_NE(look(target).reason.find("TLS handshake"), std::string::npos);
}

TEST_F(ProberTest, ADnsServerIsJudgedByItsAnswer) {
  std::atomic<unsigned> rcode{0};
  const Server server(SOCK_DGRAM, [&](int fd) {
    std::array<std::byte, 512> message{};
    sockaddr_in from{};
    socklen_t length = sizeof from;
    const auto got = ::recvfrom(fd, message.data(), message.size(), 0,
                                reinterpret_cast<sockaddr*>(&from), &length);
    auto& header = *reinterpret_cast<dns::Header*>(message.data());
    header.flags = static_cast<std::uint16_t>(0x8400 | rcode.load());
    header.answer_count = std::uint16_t{1};
    constexpr std::array<unsigned char, 16> record = {0xc0, 12, 0, 1, 0,   1, 0, 0,
                                                      0,    9,  0, 4, 192, 0, 2, 7};
    std::memcpy(message.data() + got, record.data(), record.size());
    // An answer to another question first: it is passed over.
    header.id = static_cast<std::uint16_t>(header.id + 1);
    const auto bytes = static_cast<std::size_t>(got) + record.size();
    static_cast<void>(
        ::sendto(fd, message.data(), bytes, 0, reinterpret_cast<sockaddr*>(&from), length));
    header.id = static_cast<std::uint16_t>(header.id - 1);
    static_cast<void>(
        ::sendto(fd, message.data(), bytes, 0, reinterpret_cast<sockaddr*>(&from), length));
  });
  Target target;
  target.kind = Kind::dns;
  target.to = server.address();
  target.query_name = "www.example.org.";
  target.query_type = 1;
  EXPECT_TRUE(look(target).up);
  target.expect = *IpAddress::parse("192.0.2.7");
  EXPECT_TRUE(look(target).up);
  target.expect = *IpAddress::parse("192.0.2.8");
  EXPECT_EQ(look(target).reason, "192.0.2.8 is not among the answers");
  rcode = 5;
  EXPECT_EQ(look(target).reason, "rcode 5");
}

TEST_F(ProberTest, AHostThatAnswersEchoIsUp) {
  Target target;
  target.kind = Kind::icmp;
  target.to.address = IpAddress::from_ipv4(0x7f000001);
  const auto outcome = look(target);
  if (outcome.reason.find("CAP_NET_RAW") != std::string::npos)
    GTEST_SKIP() << "no right to ping here: " << outcome.reason;
  EXPECT_TRUE(outcome.up) << outcome.reason;
}

TEST_F(ProberTest, RiseAndFallCountLooksInARow) {
  std::atomic<bool> well{true};
  std::atomic<unsigned> asked{0};
  const Server server(SOCK_STREAM, [&](int fd) {
    say(fd, well ? "HTTP/1.1 200 OK\r\n\r\n" : "HTTP/1.1 500 No\r\n\r\n");
    ++asked;
  });
  Spec spec;
  spec.target.kind = Kind::http;
  spec.target.to = server.address();
  spec.interval = milliseconds(2);
  spec.timeout = seconds(5);
  spec.rise = 3;
  spec.fall = 2;
  const auto id = prober->add(spec, monotonic_now());
  run_until([&] { return prober->up(id).has_value(); });
  ASSERT_EQ(prober->up(id), true);
  well = false;
  auto before = prober->looks();
  run_until([&] { return prober->up(id) == false; });
  EXPECT_GE(prober->looks() - before, 2U);
  well = true;
  before = prober->looks();
  run_until([&] { return prober->up(id) == true; });
  EXPECT_EQ(prober->up(id), true);
  EXPECT_GE(prober->looks() - before, 3U);
}

Target program(std::vector<std::string> words, std::string match = {}) {
  Target target;
  target.kind = Kind::exec;
  target.program = std::move(words);
  target.match = std::move(match);
  return target;
}

TEST_F(ProberTest, AProgramIsJudgedByItsStatusAndItsOutput) {
  EXPECT_TRUE(look(program({"/bin/true"})).up);
  EXPECT_EQ(look(program({"/bin/false"})).reason, "exit status 1");
  EXPECT_TRUE(look(program({"/bin/echo", "all", "is well"}, "is well")).up);
  EXPECT_EQ(look(program({"/bin/echo", "no"}, "well")).reason, "its output holds no 'well'");
  EXPECT_EQ(look(program({"/bin/sh", "-c", "kill -TERM $$"})).reason, "signal 15");
  EXPECT_NE(look(program({"/nowhere/at/all"})).reason.find("/nowhere/at/all"), std::string::npos);
}

TEST_F(ProberTest, AProgramGetsNoShellAndNothingOfOurEnvironment) {
  ASSERT_EQ(::setenv("PHAROS_TEST_SECRET", "do not tell", 1), 0);
  EXPECT_TRUE(look(program({"/bin/echo", "$HOME; `id` > /x"}, "$HOME; `id` > /x")).up);
  EXPECT_FALSE(look(program({"/usr/bin/env"}, "PHAROS_TEST_SECRET")).up);
  EXPECT_TRUE(look(program({"/usr/bin/env"}, "PATH=")).up);
  ::unsetenv("PHAROS_TEST_SECRET");
}

TEST_F(ProberTest, AProgramIsKilledWithItsChildrenAtItsDeadline) {
  const auto mark = ::testing::TempDir() + "pharos-exec-" + std::to_string(::getpid());
  const auto began = monotonic_now();
  const auto outcome = look(program({"/bin/sh", "-c", "sleep 1000 & echo $! > " + mark + "; wait"}),
                            milliseconds(200));
  EXPECT_EQ(outcome.reason, "no answer in time");
  EXPECT_LT(monotonic_now() - began, seconds(10));
  pid_t child = 0;
  std::ifstream(mark) >> child;
  std::filesystem::remove(mark);
  ASSERT_GT(child, 0) << "a machine that needs more than 200 ms for a shell";
  // A zombie until somebody takes it: it does not run any more.
  const auto gone = [&] {
    std::ifstream stat("/proc/" + std::to_string(child) + "/stat");
    std::string line;
    return !std::getline(stat, line) || line.find(") Z ") != std::string::npos ||
           line.find(") X ") != std::string::npos;
  };
  run_until(gone);
  EXPECT_TRUE(gone());
}

TEST_F(ProberTest, AProgramThatNeverStopsWritingHasFailed) {
  EXPECT_EQ(look(program({"/usr/bin/yes"})).reason, "it writes more than 64 KiB");
  const auto exactly = std::to_string(reply_bytes_max);
  EXPECT_TRUE(look(program({"/usr/bin/head", "-c", exactly, "/dev/zero"})).up);
}

TEST_F(ProberTest, ManyProgramsWaitForTheirTurn) {
  std::vector<std::size_t> ids;
  for (unsigned i = 0; i < 3 * Prober::programs_max; ++i) {
    Spec spec;
    spec.target = program({"/bin/sleep", "0.05"});
    spec.interval = milliseconds(1);
    spec.timeout = seconds(15);
    ids.push_back(prober->add(spec, monotonic_now()));
  }
  const auto all = [&] {
    return std::ranges::all_of(ids, [&](auto id) { return prober->up(id).has_value(); });
  };
  run_until(all);
  EXPECT_TRUE(all());
  EXPECT_TRUE(std::ranges::all_of(ids, [&](auto id) { return prober->up(id) == true; }));
}

TEST_F(ProberTest, TellsWhatHasChangedAndHowLongItTook) {
  const Server server(SOCK_STREAM, [](int) {});
  Spec spec;
  spec.target.to = server.address();
  spec.interval = milliseconds(1);
  const auto good = prober->add(spec, monotonic_now());
  spec.target.to.port = 1;  // nobody
  const auto bad = prober->add(spec, monotonic_now());
  EXPECT_FALSE(prober->took(good));
  run_until([&] { return prober->up(good) && prober->up(bad); });
  auto changed = prober->take_changed();
  std::ranges::sort(changed);
  EXPECT_EQ(changed, (std::vector{good, bad}));
  ASSERT_TRUE(prober->took(good));
  EXPECT_GT(prober->took(good)->ns, 0);
  EXPECT_FALSE(prober->took(bad));
  const auto before = prober->looks();
  run_until([&] { return prober->looks() > before + 10; });
  EXPECT_TRUE(prober->take_changed().empty()) << "the same outcome again is no change";
}

TEST_F(ProberTest, TenThousandTargetsAreLookedAtByOneThread) {
  const Server server(SOCK_STREAM, [](int) {});
  constexpr std::size_t targets = 10'000;
  Spec spec;
  spec.target.to = server.address();
  spec.interval = milliseconds(500);
  spec.timeout = seconds(10);
  for (std::size_t i = 0; i < targets; ++i) prober->add(spec, monotonic_now());
  std::size_t seen = 0;
  run_until([&] {
    while (seen < targets && prober->up(seen).has_value()) ++seen;
    return seen == targets;
  });
  EXPECT_EQ(seen, targets);
}

TEST(ProbeTargetTest, ReadsUrls) {
  const auto plain = parse_url("http://192.0.2.1/");
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->to.port, 80);
  const auto full = parse_url("https://[2001:db8::1]:8443/health?full=1");
  ASSERT_TRUE(full) << full.error().text();
  EXPECT_EQ(full->kind, Kind::https);
  EXPECT_EQ(full->to.address.text(), "2001:db8::1");
  EXPECT_EQ(full->to.port, 8443);
  EXPECT_EQ(full->path, "/health?full=1");
  for (const char* bad : {"", "ftp://192.0.2.1/", "http://", "http://www.example.org/",
                          "http://192.0.2.1:0/", "http://192.0.2.1:99999/", "http://[2001:db8::1/",
                          "http://192.0.2.1/a b", "http://192.0.2.1/\r\nX: y"}) {
    EXPECT_FALSE(parse_url(bad)) << bad;
  }
}

}  // namespace
}  // namespace pharos::probe
