#include "peer.hh"

#include "pharos/wire/dns.hh"
#include "pharos/wire/name_text.hh"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <fstream>
#include <utility>

namespace pharos::oracle {
namespace {

constexpr int reply_wait_ms = 2000;
constexpr auto start_limit = std::chrono::seconds(10);

[[nodiscard]] sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  return address;
}

// A port that is free for UDP and TCP now.
[[nodiscard]] Result<std::uint16_t> free_port() {
  for (int attempt = 0; attempt < 20; ++attempt) {
    const UniqueFd tcp(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const UniqueFd udp(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    sockaddr_in address = loopback(0);
    socklen_t bytes = sizeof address;
    if (!tcp || !udp || ::bind(tcp.get(), reinterpret_cast<sockaddr*>(&address), bytes) != 0 ||
        ::getsockname(tcp.get(), reinterpret_cast<sockaddr*>(&address), &bytes) != 0) {
      return fail_errno("bind", "loopback");
    }
    if (::bind(udp.get(), reinterpret_cast<sockaddr*>(&address), bytes) == 0) {
      return ntohs(address.sin_port);
    }
  }
  return fail(ErrorCode::unavailable, "no port is free for both UDP and TCP");
}

[[nodiscard]] std::string find_program(const char* name) {
  for (const char* folder : {"/usr/sbin/", "/usr/bin/", "/usr/local/sbin/"}) {
    const std::string path = std::string(folder) + name;
    if (::access(path.c_str(), X_OK) == 0) return path;
  }
  return {};
}

}  // namespace

std::vector<std::byte> make_query(std::uint16_t id, ConstBytes name, std::uint16_t type,
                                  std::uint16_t payload_bytes) {
  std::vector<std::byte> query;
  const auto put = [&](ConstBytes bytes) { query.insert(query.end(), bytes.begin(), bytes.end()); };
  const dns::Header header{id, 0, 1, 0, 0, static_cast<std::uint16_t>(payload_bytes != 0 ? 1 : 0)};
  put(object_bytes(header));
  put(name);
  put(object_bytes(Be16(type)));
  put(object_bytes(Be16(1)));
  if (payload_bytes != 0) {
    query.push_back(std::byte{0});
    put(object_bytes(Be16(41)));
    put(object_bytes(Be16(payload_bytes)));
    put(object_bytes(Be32(0)));
    put(object_bytes(Be16(0)));
  }
  return query;
}

Result<Peer> Peer::start(PeerKind kind, std::span<const ZoneFile> zones,
                         const std::string& cookie_secret) {
  const char* daemon = kind == PeerKind::nsd ? "nsd" : kind == PeerKind::knot ? "knotd" : "named";
  const std::string program = find_program(daemon);
  if (program.empty()) return fail(ErrorCode::not_found, std::string(daemon) + " is not installed");
  std::string pattern = (std::filesystem::temp_directory_path() / "pharos-oracle-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) return fail_errno("mkdtemp", pattern);
  Peer peer(kind, pattern);
  peer.cookie_secret_ = cookie_secret;
  // Another process may take the port between our look and its start.
  for (int attempt = 0;; ++attempt) {
    if (auto status = peer.launch(program, zones); !status) return std::unexpected(status.error());
    const auto status = peer.wait_ready(zones);
    if (status) return peer;
    if (peer.pid_ > 0 || attempt == 2) return std::unexpected(status.error());
  }
}

Peer::Peer(Peer&& other) noexcept
    : kind_(other.kind_),
      folder_(std::exchange(other.folder_, {})),
      cookie_secret_(std::move(other.cookie_secret_)),
      pid_(std::exchange(other.pid_, -1)),
      port_(other.port_),
      socket_(std::move(other.socket_)) {}

Peer::~Peer() {
  if (pid_ > 0) {
    ::kill(pid_, SIGTERM);
    for (int i = 0; i < 100 && ::waitpid(pid_, nullptr, WNOHANG) == 0; ++i) ::poll(nullptr, 0, 50);
    ::kill(-pid_, SIGKILL);  // its process group: what did not end in 5 s
  }
  if (!folder_.empty()) std::filesystem::remove_all(folder_);
}

std::string Peer::nsd_configuration(std::span<const ZoneFile> zones) const {
  const std::string folder = folder_.string();
  std::string text = "server:\n  ip-address: 127.0.0.1@" + std::to_string(port_) +
                     "\n  username: \"\"\n  chroot: \"\"\n  database: \"\"\n  zonesdir: \"" +
                     folder + "\"\n  pidfile: \"" + folder + "/nsd.pid\"\n  zonelistfile: \"" +
                     folder + "/zone.list\"\n  xfrdfile: \"" + folder +
                     "/xfrd.state\"\n  xfrdir: \"" + folder +
                     "\"\n  server-count: 1\n  ipv4-edns-size: 4096\n  minimal-responses: yes\n" +
                     "  rrl-ratelimit: 0\n  verbosity: 0\n" +
                     (cookie_secret_.empty()
                          ? ""
                          : "  answer-cookie: yes\n  cookie-secret: \"" + cookie_secret_ + "\"\n") +
                     "remote-control:\n  control-enable: no\n";
  for (const auto& zone : zones)
    text += "zone:\n  name: \"" + zone.origin + "\"\n  zonefile: \"" + zone.path + "\"\n";
  return text;
}

std::string Peer::knot_configuration(std::span<const ZoneFile> zones) const {
  const std::string folder = folder_.string();
  std::string text =
      "server:\n  rundir: \"" + folder + "\"\n  listen: 127.0.0.1@" + std::to_string(port_) +
      "\n  udp-max-payload: 4096\n  udp-workers: 1\n  tcp-workers: 1\n  background-workers: "
      "1\nlog:\n  - target: stderr\n    any: error\n" +
      "database:\n  storage: \"" + folder + "\"\ncontrol:\n  listen: \"" + folder +
      "/knot.sock\"\n" +
      (cookie_secret_.empty()
           ? ""
           : "mod-cookies:\n  - id: shared\n    secret: 0x" + cookie_secret_ + "\n") +
      "template:\n  - id: default\n" +
      (cookie_secret_.empty() ? "" : "    global-module: mod-cookies/shared\n") +
      "    journal-content: none\n    zonefile-load: "
      "whole\n    zonefile-sync: -1\nzone:\n";
  for (const auto& zone : zones)
    text += "  - domain: \"" + zone.origin + "\"\n    file: \"" + zone.path + "\"\n";
  return text;
}

// Zones with faults that only others would notice are served as they are: the oracle is asked about answers.
std::string Peer::bind_configuration(std::span<const ZoneFile> zones) const {
  const std::string folder = folder_.string();
  std::string text =
      "options {\n  directory \"" + folder +
      "\";\n  pid-file none;\n  lock-file none;\n  session-keyfile none;\n  listen-on port " +
      std::to_string(port_) +
      " { 127.0.0.1; };\n  listen-on-v6 { none; };\n  recursion no;\n  dnssec-validation no;\n"
      "  minimal-responses yes;\n  minimal-any no;\n  answer-cookie no;\n  empty-zones-enable no;\n"
      "  edns-udp-size 4096;\n  max-udp-size 4096;\n  rrset-order { order none; };\n"
      "  managed-keys-directory \"" +
      folder +
      "\";\n  check-integrity no;\n  check-names primary ignore;\n  check-mx ignore;\n"
      "  check-mx-cname ignore;\n  check-srv-cname ignore;\n  check-sibling no;\n"
      "  check-dup-records ignore;\n  check-wildcard no;\n  max-records-per-type 0;\n  "
      "max-types-per-name 0;\n  notify no;\n};\ncontrols { };\n";
  for (const auto& zone : zones) {
    text += "zone \"" + zone.origin + "\" { type primary; file \"" + zone.path + "\"; };\n";
  }
  return text;
}

Status Peer::launch(const std::string& program, std::span<const ZoneFile> zones) {
  const auto port = free_port();
  if (!port) return std::unexpected(port.error());
  port_ = *port;
  const std::string file = (folder_ / "peer.conf").string();
  const std::string log = (folder_ / "log").string();
  std::vector<std::string> words{program, "-c", file};
  switch (kind_) {
    case PeerKind::nsd:
      std::ofstream(file) << nsd_configuration(zones);
      words.emplace_back("-d");
      break;
    case PeerKind::knot:
      std::ofstream(file) << knot_configuration(zones);
      break;
    case PeerKind::bind:
      std::ofstream(file) << bind_configuration(zones);
      words.insert(words.end(), {"-g", "-n", "1"});
      break;
  }
  std::vector<char*> arguments;
  for (const auto& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  pid_ = ::fork();
  if (pid_ < 0) return fail_errno("fork", program);
  if (pid_ == 0) {
    ::setpgid(0, 0);
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);  // also where the test is killed
    const int out = ::open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (out < 0 || ::dup2(out, 1) < 0 || ::dup2(out, 2) < 0) ::_exit(126);
    ::execv(program.c_str(), arguments.data());
    ::_exit(127);
  }
  socket_ = UniqueFd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const sockaddr_in address = loopback(port_);
  if (::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return fail_errno("connect", "loopback");
  }
  return {};
}

Status Peer::wait_ready(std::span<const ZoneFile> zones) {
  const auto deadline = std::chrono::steady_clock::now() + start_limit;
  for (const auto& zone : zones) {
    const auto origin = dns::parse_name(zone.origin);
    if (!origin) return std::unexpected(origin.error());
    for (;;) {
      const auto reply = ask(make_query(1, origin->view(), 6, 0));
      if (reply.size() >= dns::header_bytes &&
          (load<dns::Header>(reply.data()).flags & (dns::flag::rcode_mask | dns::flag::aa)) ==
              dns::flag::aa) {
        break;
      }
      int state = 0;
      const bool ended = ::waitpid(pid_, &state, WNOHANG) == pid_;
      if (ended) pid_ = -1;
      if (ended || std::chrono::steady_clock::now() > deadline) {
        std::ifstream log(folder_ / "log");
        const std::string text((std::istreambuf_iterator<char>(log)), {});
        return fail(ErrorCode::unavailable, std::string(name()) + " does not answer " + zone.origin,
                    {}, text);
      }
      ::poll(nullptr, 0, 20);
    }
  }
  return {};
}

std::vector<std::byte> Peer::ask(ConstBytes query) const {
  std::vector<std::byte> reply(65536);
  while (::recv(socket_.get(), reply.data(), reply.size(), MSG_DONTWAIT) > 0) {
  }
  if (::send(socket_.get(), query.data(), query.size(), 0) < 0) return {};
  for (;;) {
    pollfd ready{socket_.get(), POLLIN, 0};
    if (::poll(&ready, 1, reply_wait_ms) <= 0) return {};
    const auto got = ::recv(socket_.get(), reply.data(), reply.size(), 0);
    if (got < 0) return {};
    if (got >= 2 && std::equal(query.begin(), query.begin() + 2, reply.begin())) {
      reply.resize(static_cast<std::size_t>(got));
      return reply;
    }
  }
}

std::vector<std::byte> Peer::ask_tcp(ConstBytes query) const {
  const UniqueFd tcp(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const timeval limit{.tv_sec = reply_wait_ms / 1000, .tv_usec = 0};
  const sockaddr_in address = loopback(port_);
  if (::setsockopt(tcp.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) != 0 ||
      ::connect(tcp.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return {};
  }
  const Be16 length(static_cast<std::uint16_t>(query.size()));
  std::vector<std::byte> framed(object_bytes(length).begin(), object_bytes(length).end());
  framed.insert(framed.end(), query.begin(), query.end());
  if (::send(tcp.get(), framed.data(), framed.size(), MSG_NOSIGNAL) < 0) return {};
  std::array<std::byte, 2> prefix{};
  if (::recv(tcp.get(), prefix.data(), prefix.size(), MSG_WAITALL) != 2) return {};
  std::vector<std::byte> reply(load<Be16>(prefix.data()));
  const auto got = ::recv(tcp.get(), reply.data(), reply.size(), MSG_WAITALL);
  return got == static_cast<ssize_t>(reply.size()) ? reply : std::vector<std::byte>{};
}

}  // namespace pharos::oracle
