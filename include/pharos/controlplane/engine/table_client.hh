// Our end of the table channel: connects, reconnects with backoff, carries messages. Engine thread
// only.
#pragma once

#include "pharos/base/clock.hh"
#include "pharos/base/fd.hh"
#include "pharos/controlplane/engine/publication.hh"
#include "pharos/shared/table_channel.hh"

#include <optional>
#include <string>

namespace pharos::controlplane {

inline constexpr Duration reconnect_min = milliseconds(50);
inline constexpr Duration reconnect_max = seconds(1);
// A data plane that does not answer a publish for so long is connected to anew.
inline constexpr Duration acknowledge_patience = seconds(30);

class TableClient {
 public:
  explicit TableClient(std::string path) : path_(std::move(path)) {}

  // Tries to connect where that is due. True: connected just now; the data plane speaks first.
  [[nodiscard]] bool attempt(Instant now);
  // Closes and waits before the next attempt: 50 ms, doubling to 1 s while nothing comes of it.
  void close(Instant now);
  // One message, or nothing when there is none yet. Errors: the connection is of no more use; close
  // it.
  [[nodiscard]] Result<std::optional<table_channel::Received>> receive();
  [[nodiscard]] Status publish(const Outgoing& outgoing, Instant now);
  void answered() noexcept { waiting_since_ = no_wait; }  // an acknowledgement came

  [[nodiscard]] int fd() const noexcept { return socket_.get(); }  // -1: not connected
  [[nodiscard]] bool is_connected() const noexcept { return static_cast<bool>(socket_); }
  // When to call attempt(), or close() where timed_out(); `never` where neither is due.
  [[nodiscard]] Instant next_deadline() const noexcept;
  [[nodiscard]] bool timed_out(Instant now) const noexcept;
  [[nodiscard]] const std::string& failure() const noexcept {
    return failure_;
  }  // of the last attempt

 private:
  static constexpr Instant no_wait{-1};
  std::string path_;
  UniqueFd socket_;
  Duration backoff_ = reconnect_min;
  Instant next_attempt_;
  Instant waiting_since_ = no_wait;
  std::string failure_;
};

}  // namespace pharos::controlplane
