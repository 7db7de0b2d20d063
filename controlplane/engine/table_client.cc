#include "pharos/controlplane/engine/table_client.hh"

#include <fcntl.h>

#include <algorithm>

namespace pharos::controlplane {

bool TableClient::attempt(Instant now) {
  if (socket_ || now < next_attempt_) return false;
  auto connected = table_channel::connect_to(path_);
  if (!connected) {
    failure_ = connected.error().text();
    close(now);
    return false;
  }
  const int flags = ::fcntl(connected->get(), F_GETFL);
  if (flags < 0 || ::fcntl(connected->get(), F_SETFL, flags | O_NONBLOCK) < 0) {
    failure_ = fail_errno("fcntl", path_).error().text();
    close(now);
    return false;
  }
  socket_ = std::move(*connected);
  failure_.clear();
  return true;
}

void TableClient::close(Instant now) {
  socket_.reset();
  waiting_since_ = no_wait;
  next_attempt_ = now + backoff_;
  backoff_ = std::min(backoff_ * 2, reconnect_max);
}

Result<std::optional<table_channel::Received>> TableClient::receive() {
  auto received = table_channel::receive(socket_.get());
  if (received) {
    backoff_ = reconnect_min;
    return std::optional(std::move(*received));
  }
  if (received.error().code == ErrorCode::exhausted) return std::nullopt;
  return std::unexpected(std::move(received).error());
}

Status TableClient::publish(const Outgoing& outgoing, Instant now) {
  const auto message = table_channel::make_publish(outgoing.version, outgoing.kinds);
  waiting_since_ = now;
  return table_channel::send(socket_.get(), object_bytes(message), outgoing.fds);
}

Instant TableClient::next_deadline() const noexcept {
  if (!socket_) return next_attempt_;
  return waiting_since_ == no_wait ? never : waiting_since_ + acknowledge_patience;
}

bool TableClient::timed_out(Instant now) const noexcept {
  return socket_ && waiting_since_ != no_wait && now - waiting_since_ >= acknowledge_patience;
}

}  // namespace pharos::controlplane
