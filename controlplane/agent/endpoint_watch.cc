// Checks of one endpoint; see endpoint_watch.hh.
#include "pharos/controlplane/agent/endpoint_watch.hh"

#include "pharos/controlplane/ingest/socket_address.hh"

#include <sys/socket.h>

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cerrno>

namespace pharos::agent {

EndpointWatch::EndpointWatch(Poller& poller, EndpointConfig config, Instant first_check)
    : poller_(poller), config_(std::move(config)), next_check_(first_check), command_(poller) {
  if (!config_.check) up_ = true;
}

EndpointWatch::~EndpointWatch() {
  close_socket();
}

Instant EndpointWatch::next_time() const noexcept {
  if (!config_.check) return never;
  if (command_.running()) return command_.next_time();
  if (socket_) return tcp_deadline_;
  return next_check_;
}

void EndpointWatch::on_time(Instant at) {
  if (!config_.check || at < next_time()) return;
  if (command_.running()) {
    command_.on_time(at);
  } else if (socket_) {
    conclude(false, "no TCP connection before the deadline");
  } else {
    start(at);
  }
}

void EndpointWatch::start(Instant at) {
  // Checks keep their rhythm; those that a long one has run over are left out.
  next_check_ = std::max(next_check_ + config_.check->interval, at);
  if (config_.check->tcp) return start_tcp(at);
  const auto started = command_.start(
      config_.check->command, at + config_.check->timeout,
      [this](const Command::Outcome& outcome) { conclude(outcome.succeeded, outcome.reason); });
  if (!started) conclude(false, started.error().text());
}

void EndpointWatch::start_tcp(Instant at) {
  sockaddr_storage system{};
  const auto length = controlplane::to_system(*config_.check->tcp, system);
  socket_ = UniqueFd(::socket(system.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket_) return conclude(false, fail_errno("socket").error().text());
  tcp_deadline_ = at + config_.check->timeout;
  if (::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&system), length) == 0)
    return conclude(true, {});
  if (errno != EINPROGRESS) return conclude(false, fail_errno("connect").error().text());
  if (const auto added = poller_.add(socket_.get(), EPOLLOUT, [this] { tcp_ready(); }); !added) {
    conclude(false, added.error().text());
  }
}

void EndpointWatch::tcp_ready() {
  int code = 0;
  socklen_t length = sizeof code;
  ::getsockopt(socket_.get(), SOL_SOCKET, SO_ERROR, &code, &length);
  errno = code;
  conclude(code == 0, code == 0 ? std::string() : fail_errno("connect").error().text());
}

void EndpointWatch::conclude(bool up, const std::string& reason) {
  close_socket();
  if (up_ != up) {
    spdlog::info("endpoint {} of service {} is {}{}", config_.id, config_.service,
                 up ? "up" : "down", reason.empty() ? "" : ": " + reason);
  }
  up_ = up;
}

void EndpointWatch::close_socket() {
  if (!socket_) return;
  poller_.remove(socket_.get());
  socket_.reset();
}

}  // namespace pharos::agent
