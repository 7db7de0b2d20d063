#include "pharos/dataplane/observe/frame_stream.hh"

#include "pharos/base/fd.hh"
#include "pharos/dataplane/lane/socket.hh"

#include <fstrm.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <span>
#include <utility>

namespace pharos::dataplane {

namespace {

constexpr std::size_t buffer_bytes = 64U << 10;
constexpr Duration handshake_patience = seconds(5);
constexpr Duration write_patience = seconds(10);  // without a byte taken
constexpr Duration stop_patience = milliseconds(500);
constexpr Duration look_interval = milliseconds(100);  // at `stopping`

struct Address {
  sockaddr_storage storage{};
  socklen_t bytes = 0;
};

[[nodiscard]] Address address_of(const FrameTarget& target) {
  Address address;
  if (target.path.empty()) {
    address.bytes = to_sockaddr(target.address, address.storage);
    return address;
  }
  auto* local = reinterpret_cast<sockaddr_un*>(&address.storage);
  local->sun_family = AF_UNIX;
  // The configuration has checked its length.
  std::copy_n(target.path.data(), std::min(target.path.size(), sizeof local->sun_path - 1),
              local->sun_path);
  address.bytes = sizeof *local;
  return address;
}

using Writer = std::unique_ptr<fstrm_writer, void (*)(fstrm_writer*)>;

}  // namespace

std::string FrameTarget::text() const {
  return path.empty() ? "tcp:" + text_of(address) : "unix:" + path;
}

// What libfstrm calls, and what it works on. Its callbacks return fstrm_res; why something failed stands in `error`.
struct FrameStream::State {
  State(const FrameTarget& to, const std::atomic<bool>& stop) : target(to), stopping(stop) {}

  FrameTarget target;
  const std::atomic<bool>& stopping;
  UniqueFd socket;
  bool shaken = false;  // hands, that is
  bool broken = false;  // nothing is tried any more
  std::string buffer;
  std::uint64_t sent_bytes = 0;
  Error error{ErrorCode::unavailable, "the reader does not speak Frame Streams", {}, {}};
  Writer writer{nullptr, [](fstrm_writer* w) { fstrm_writer_destroy(&w); }};

  [[nodiscard]] bool failed(std::string what) {
    broken = true;
    error = {ErrorCode::unavailable, std::move(what), target.text(), {}};
    return false;
  }
  [[nodiscard]] bool failed_errno(const char* call) {
    error = fail_errno(call, target.text()).error();
    broken = true;
    return false;
  }

  // relaxed: stopping() is looked at again and again
  [[nodiscard]] bool is_stopping() const { return stopping.load(std::memory_order_relaxed); }

  [[nodiscard]] bool wait(short events, Duration patience) {
    Instant deadline = monotonic_now() + patience;
    for (bool hurried = false;;) {
      const auto now = monotonic_now();
      if (is_stopping() && !std::exchange(hurried, true))
        deadline = std::min(deadline, now + stop_patience);
      if (now >= deadline) return failed("the reader does not move");
      const auto left_ms = std::min(deadline - now, look_interval).ms() + 1;
      pollfd one{.fd = socket.get(), .events = events, .revents = 0};
      const int ready = ::poll(&one, 1, static_cast<int>(left_ms));
      if (ready > 0) return true;
      if (ready < 0 && errno != EINTR) return failed_errno("poll");
    }
  }

  [[nodiscard]] bool connect() {
    const auto address = address_of(target);
    socket = UniqueFd(
        ::socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!socket) return failed_errno("socket");
    if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address.storage),
                  address.bytes) == 0)
      return true;
    // A unix socket whose queue is full says EAGAIN.
    if (errno != EINPROGRESS) return failed_errno("connect");
    if (!wait(POLLOUT, handshake_patience)) return false;
    int code = 0;
    socklen_t bytes = sizeof code;
    if (::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &code, &bytes) != 0) code = errno;
    errno = code;
    return code == 0 || failed_errno("connect");
  }

  [[nodiscard]] bool flush() {
    if (broken) return false;
    std::size_t sent = 0;
    while (sent < buffer.size()) {
      const auto taken = ::send(socket.get(), buffer.data() + sent, buffer.size() - sent,
                                MSG_NOSIGNAL | MSG_DONTWAIT);
      if (taken > 0) {
        sent += static_cast<std::size_t>(taken);
        sent_bytes += static_cast<std::uint64_t>(taken);
      } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
        if (!wait(POLLOUT, shaken ? write_patience : handshake_patience)) return false;
      } else if (errno != EINTR) {
        return failed_errno("send");
      }
    }
    buffer.clear();
    return true;
  }

  [[nodiscard]] bool write(std::span<const iovec> parts) {
    if (broken) return false;
    for (const auto& part : parts) {
      buffer.append(static_cast<const char*>(part.iov_base), part.iov_len);
      if (buffer.size() >= buffer_bytes && !flush()) return false;
    }
    return true;
  }

  // Whoever reads has been asked something: all of it must be out.
  [[nodiscard]] bool read(void* to, std::size_t bytes) {
    if (!flush()) return false;
    auto* at = static_cast<std::byte*>(to);
    while (bytes > 0) {
      const auto got = ::recv(socket.get(), at, bytes, MSG_DONTWAIT);
      if (got > 0) {
        at += got;
        bytes -= static_cast<std::size_t>(got);
      } else if (got == 0) {
        return failed("the reader closed the connection");
      } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
        if (!wait(POLLIN, shaken ? stop_patience : handshake_patience)) return false;
      } else if (errno != EINTR) {
        return failed_errno("recv");
      }
    }
    return true;
  }

  [[nodiscard]] static fstrm_res result(bool worked) {
    return worked ? fstrm_res_success : fstrm_res_failure;
  }

  [[nodiscard]] Status open(const std::string& content_type) {
    fstrm_rdwr* transport = fstrm_rdwr_init(this);
    fstrm_rdwr_set_open(transport,
                        [](void* self) { return result(static_cast<State*>(self)->connect()); });
    fstrm_rdwr_set_close(transport, [](void* self) {
      auto* mine = static_cast<State*>(self);
      const bool whole = mine->flush();
      mine->socket.reset();
      return result(whole);
    });
    fstrm_rdwr_set_read(transport, [](void* self, void* to, std::size_t bytes) {
      return result(static_cast<State*>(self)->read(to, bytes));
    });
    fstrm_rdwr_set_write(transport, [](void* self, const iovec* parts, int count) {
      return result(static_cast<State*>(self)->write({parts, static_cast<std::size_t>(count)}));
    });
    fstrm_writer_options* options = fstrm_writer_options_init();
    fstrm_writer_options_add_content_type(options, content_type.data(), content_type.size());
    writer.reset(fstrm_writer_init(options, &transport));
    fstrm_writer_options_destroy(&options);
    if (!writer || fstrm_writer_open(writer.get()) != fstrm_res_success || !flush())
      return std::unexpected(error);
    shaken = true;
    return {};
  }
};

FrameStream::FrameStream(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}
FrameStream::FrameStream(FrameStream&&) noexcept = default;
FrameStream& FrameStream::operator=(FrameStream&&) noexcept = default;
FrameStream::~FrameStream() = default;  // libfstrm says STOP and waits for FINISH

Result<FrameStream> FrameStream::open(const FrameTarget& target, const std::string& content_type,
                                      const std::atomic<bool>& stopping) {
  auto state = std::make_unique<State>(target, stopping);
  if (auto ok = state->open(content_type); !ok) return std::unexpected(std::move(ok.error()));
  return FrameStream(std::move(state));
}

Status FrameStream::write(ConstBytes frame) {
  if (fstrm_writer_write(state_->writer.get(), frame.data(), frame.size()) == fstrm_res_success)
    return {};
  return std::unexpected(state_->error);
}

Status FrameStream::flush() {
  if (state_->flush()) return {};
  return std::unexpected(state_->error);
}

bool FrameStream::is_closed_by_peer() noexcept {
  std::byte one{};
  const auto got = ::recv(state_->socket.get(), &one, 1, MSG_PEEK | MSG_DONTWAIT);
  return got == 0 || (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
}

std::uint64_t FrameStream::sent_bytes() const noexcept {
  return state_->sent_bytes;
}

}  // namespace pharos::dataplane
