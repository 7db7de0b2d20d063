// Counter file, command and statsd sockets; see request_source.hh.
#include "pharos/controlplane/agent/request_source.hh"

#include "pharos/controlplane/ingest/socket_address.hh"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace pharos::agent {

namespace {

constexpr std::size_t counter_text_bytes_max = 64U << 10;
constexpr unsigned datagrams_per_turn_max = 256;  // a flood of statsd must not hold the loop

Result<UniqueFd> open_udp(const config::SocketAddress& address) {
  sockaddr_storage system{};
  const auto length = controlplane::to_system(address, system);
  const auto where = "requests.statsd.udp " + controlplane::text_of(address);
  UniqueFd fd(::socket(system.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return fail_errno("socket", where);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&system), length) != 0)
    return fail_errno("bind", where);
  return fd;
}

// Replaces a socket file that nobody listens at, and nothing else.
Result<UniqueFd> open_unix(const std::string& path) {
  const auto where = "requests.statsd.unix " + path;
  sockaddr_un system{};
  system.sun_family = AF_UNIX;
  if (path.size() >= sizeof system.sun_path) {
    return fail(ErrorCode::invalid,
                "the path is longer than " + std::to_string(sizeof system.sun_path - 1) + " bytes",
                where);
  }
  std::ranges::copy(path, system.sun_path);
  const auto* address = reinterpret_cast<const sockaddr*>(&system);
  UniqueFd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return fail_errno("socket", where);
  struct stat status{};
  if (::lstat(path.c_str(), &status) == 0) {
    if (!S_ISSOCK(status.st_mode))
      return fail(ErrorCode::conflict, "is there already and no socket", where);
    if (::connect(fd.get(), address, sizeof system) == 0)
      return fail(ErrorCode::conflict, "another program listens there", where);
    ::unlink(path.c_str());
  }
  if (::bind(fd.get(), address, sizeof system) != 0) return fail_errno("bind", where);
  return fd;
}

Result<std::string> read_counter_file(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return fail_errno("open", path);
  std::string text(counter_text_bytes_max, '\0');
  const auto count = ::read(fd.get(), text.data(), text.size());
  if (count < 0) return fail_errno("read", path);
  text.resize(static_cast<std::size_t>(count));
  return text;
}

}  // namespace

Result<StatsdSockets> StatsdSockets::open(const StatsdConfig& config) {
  StatsdSockets sockets;
  if (config.udp) {
    auto fd = open_udp(*config.udp);
    if (!fd) return std::unexpected(fd.error());
    sockets.udp_ = std::move(*fd);
  }
  if (!config.unix_path.empty()) {
    auto fd = open_unix(config.unix_path);
    if (!fd) return std::unexpected(fd.error());
    sockets.local_ = std::move(*fd);
    sockets.path_ = config.unix_path;
  }
  return sockets;
}

StatsdSockets& StatsdSockets::operator=(StatsdSockets&& other) noexcept {
  if (this == &other) return *this;
  remove_file();
  udp_ = std::move(other.udp_);
  local_ = std::move(other.local_);
  path_ = std::move(other.path_);
  return *this;
}

StatsdSockets::~StatsdSockets() {
  remove_file();
}

void StatsdSockets::remove_file() noexcept {
  if (local_ && !path_.empty()) ::unlink(path_.c_str());
}

RequestSource::RequestSource(Poller& poller, RequestsConfig config,
                             std::vector<std::string> endpoints, StatsdSockets sockets,
                             Duration interval)
    : poller_(poller),
      config_(std::move(config)),
      command_interval_(std::max(interval, seconds(1))),
      next_command_(config_.command.empty() ? never : monotonic_now()),
      meter_(std::move(endpoints)),
      sockets_(std::move(sockets)),
      command_(poller) {}

RequestSource::~RequestSource() {
  (void)release_sockets();
}

StatsdSockets RequestSource::release_sockets() {
  for (const int fd : {sockets_.udp(), sockets_.local()}) {
    if (fd >= 0) poller_.remove(fd);
  }
  return std::move(sockets_);
}

Status RequestSource::watch() {
  for (const int fd : {sockets_.udp(), sockets_.local()}) {
    if (fd < 0) continue;
    if (auto added = poller_.add(fd, EPOLLIN, [this, fd] { receive(fd); }); !added) return added;
  }
  return {};
}

void RequestSource::receive(int socket) {
  std::array<char, 8192> buffer;
  for (unsigned i = 0; i < datagrams_per_turn_max; ++i) {
    const auto length = ::recv(socket, buffer.data(), buffer.size(), 0);
    if (length < 0) return;
    meter_.statsd({buffer.data(), static_cast<std::size_t>(length)}, config_.statsd->prefix);
  }
}

void RequestSource::take(std::string_view text, const std::string& from) {
  const auto counters = parse_counter_text(text);
  if (!counters) return report(from + ": " + counters.error().text());
  meter_.counters(*counters);
  report({});
}

void RequestSource::report(const std::string& problem) {
  if (problem == problem_) return;
  problem_ = problem;
  if (!problem.empty()) spdlog::warn("requests: {}", problem);
}

void RequestSource::sample(Instant at, SiteMetrics& metrics) {
  if (!config_.counter_file.empty()) {
    if (const auto text = read_counter_file(config_.counter_file)) {
      take(*text, config_.counter_file);
    } else {
      report(text.error().text());
    }
  }
  meter_.sample(at, metrics);
}

Instant RequestSource::next_time() const noexcept {
  return command_.running() ? command_.next_time() : next_command_;
}

void RequestSource::on_time(Instant at) {
  if (at < next_time()) return;
  if (command_.running()) return command_.on_time(at);
  next_command_ = std::max(next_command_ + command_interval_, at);
  const auto started = command_.start(config_.command, at + command_interval_,
                                      [this](const Command::Outcome& outcome) {
                                        if (outcome.succeeded) {
                                          take(outcome.output, "the output of the command");
                                        } else {
                                          report("the command failed: " + outcome.reason);
                                        }
                                      });
  if (!started) report(started.error().text());
}

}  // namespace pharos::agent
