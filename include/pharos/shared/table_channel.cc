// The tables socket: connections, and messages with descriptors. See table_channel.hh.
#include "pharos/shared/table_channel.hh"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

namespace pharos::table_channel {
namespace {

constexpr std::size_t message_bytes_max =
    std::max({sizeof(Hello), sizeof(Publish), sizeof(Acknowledge)});
constexpr int listen_backlog = 4;

std::unexpected<Error> refuse(std::string what) {
  return fail(ErrorCode::invalid, std::move(what), "message on the tables socket");
}

Result<sockaddr_un> address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    return fail(ErrorCode::invalid, fmt::format("socket path of {} bytes", path.size()), path,
                fmt::format("1 to {} bytes", sizeof address.sun_path - 1));
  }
  path.copy(address.sun_path, path.size());
  return address;
}

Result<UniqueFd> make_socket(int flags) {
  UniqueFd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | flags, 0));
  if (!fd) return fail_errno("socket");
  return fd;
}

int connect_socket(int fd, const sockaddr_un& address) {
  return ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address);
}

// Takes away the socket file of a daemon that is gone.
Status remove_dead_socket(const std::string& path, const sockaddr_un& address) {
  struct stat about{};
  if (::lstat(path.c_str(), &about) != 0)
    return errno == ENOENT ? Status{} : fail_errno("lstat", path);
  if (!S_ISSOCK(about.st_mode)) {
    return fail(ErrorCode::conflict, "is there already, and is no socket", path, "move it away");
  }
  auto probe = make_socket(SOCK_NONBLOCK);
  if (!probe) return std::unexpected(std::move(probe).error());
  if (connect_socket(probe->get(), address) == 0 || errno != ECONNREFUSED) {
    return fail(ErrorCode::conflict, "somebody listens there", path, "stop the other daemon first");
  }
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return fail_errno("unlink", path);
  return {};
}

std::vector<UniqueFd> take_fds(msghdr& message) {
  std::vector<UniqueFd> fds;
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr;
       part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      fds.emplace_back(load<int>(CMSG_DATA(part) + i * sizeof(int)));
    }
  }
  return fds;
}

template <typename T>
Result<T> read_as(ConstBytes bytes) {
  if (bytes.size() != sizeof(T)) {
    return refuse(fmt::format("{} bytes, where its type has {}", bytes.size(), sizeof(T)));
  }
  return load<T>(bytes.data());
}

Result<Message> parse_hello(ConstBytes bytes, std::size_t fd_count) {
  const auto hello = read_as<Hello>(bytes);
  if (!hello) return std::unexpected(hello.error());
  if (hello->worker_count != fd_count) {
    return refuse(fmt::format("hello of {} workers with {} rings", hello->worker_count, fd_count));
  }
  return *hello;
}

Result<Message> parse_publish(ConstBytes bytes, std::size_t fd_count) {
  const auto publish = read_as<Publish>(bytes);
  if (!publish) return std::unexpected(publish.error());
  if (publish->image_count < 1 || publish->image_count > publish->kinds.size() ||
      publish->image_count != fd_count) {
    return refuse(
        fmt::format("publish of {} images with {} descriptors", publish->image_count, fd_count));
  }
  unsigned seen = 0;
  for (std::uint32_t i = 0; i < publish->kinds.size(); ++i) {
    const auto kind = std::to_underlying(publish->kinds[i]);
    if (i >= publish->image_count) {
      if (kind != 0) return refuse("publish names more kinds than it has images");
      continue;
    }
    if (kind < 1 || kind > image_kind_count || (seen & 1U << kind) != 0) {
      return refuse(fmt::format("publish of kind {}, unknown or twice", kind));
    }
    seen |= 1U << kind;
  }
  return *publish;
}

Result<Message> parse_acknowledge(ConstBytes bytes, std::size_t fd_count) {
  const auto acknowledge = read_as<Acknowledge>(bytes);
  if (!acknowledge) return std::unexpected(acknowledge.error());
  if (fd_count != 0 || acknowledge->outcome > Outcome::out_of_step ||
      std::ranges::find(acknowledge->reason, '\0') == acknowledge->reason.end()) {
    return refuse("acknowledge with descriptors, an unknown outcome or an endless reason");
  }
  return *acknowledge;
}

}  // namespace

MessageHeader header_for(MessageType type) noexcept {
  return {protocol_magic, protocol_version, type};
}

std::string_view name_of(Outcome outcome) noexcept {
  switch (outcome) {
    case Outcome::adopted:
      return "adopted";
    case Outcome::stale:
      return "stale";
    case Outcome::refused:
      return "refused";
    case Outcome::out_of_step:
      return "out of step";
  }
  return "unknown";
}

Publish make_publish(Version version, std::span<const ImageKind> kinds) noexcept {
  Publish publish{
      header_for(MessageType::publish), static_cast<std::uint32_t>(kinds.size()), 0, version, {}};
  std::ranges::copy(kinds.first(std::min(kinds.size(), publish.kinds.size())),
                    publish.kinds.begin());
  return publish;
}

Acknowledge make_acknowledge(Outcome outcome, Version of, Version in_use,
                             std::string_view reason) noexcept {
  Acknowledge acknowledge{header_for(MessageType::acknowledge), outcome, 0, of, in_use, 0, {}};
  reason.copy(acknowledge.reason.data(), acknowledge.reason.size() - 1);
  return acknowledge;
}

Result<UniqueFd> listen_at(const std::string& path, mode_t mode) {
  const auto address = address_of(path);
  if (!address) return std::unexpected(address.error());
  if (auto removed = remove_dead_socket(path, *address); !removed) {
    return std::unexpected(std::move(removed).error());
  }
  auto fd = make_socket(SOCK_NONBLOCK);
  if (!fd) return fd;
  // The mode of the socket before bind is that of its file: there is no moment in which others could connect.
  if (::fchmod(fd->get(), mode) != 0) return fail_errno("fchmod", path);
  if (::bind(fd->get(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address) != 0) {
    return fail_errno("bind", path);
  }
  if (::listen(fd->get(), listen_backlog) != 0) return fail_errno("listen", path);
  return fd;
}

Result<UniqueFd> accept_peer(int listener, unsigned allowed_uid) {
  UniqueFd fd(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!fd && errno == EAGAIN) return fail(ErrorCode::exhausted, "nobody waits");
  if (!fd) return fail_errno("accept4", "tables socket");
  ucred peer{};
  socklen_t peer_bytes = sizeof peer;
  if (::getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &peer, &peer_bytes) != 0) {
    return fail_errno("getsockopt(SO_PEERCRED)", "tables socket");
  }
  if (peer.uid != 0 && peer.uid != ::geteuid() && peer.uid != allowed_uid) {
    return fail(ErrorCode::denied, fmt::format("user {} may not publish tables", peer.uid),
                "tables socket");
  }
  return fd;
}

Result<UniqueFd> connect_to(const std::string& path) {
  const auto address = address_of(path);
  if (!address) return std::unexpected(address.error());
  auto fd = make_socket(0);
  if (!fd) return fd;
  if (connect_socket(fd->get(), *address) != 0) {
    auto failed = fail_errno("connect", path);
    failed.error().hint = "is pharos-dataplane running?";
    return failed;
  }
  return fd;
}

Status send(int socket, ConstBytes message, std::span<const int> fds) {
  alignas(cmsghdr) std::byte control[CMSG_SPACE(fds_max * sizeof(int))] = {};
  if (fds.size() > fds_max)
    return fail(ErrorCode::invalid, fmt::format("{} descriptors to send", fds.size()));
  iovec part{const_cast<std::byte*>(message.data()), message.size()};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  if (!fds.empty()) {
    header.msg_control = control;
    header.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr* rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(rights), fds.data(), fds.size_bytes());
  }
  ssize_t sent = 0;
  do sent = ::sendmsg(socket, &header, MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);
  if (sent < 0 && errno == EAGAIN)
    return fail(ErrorCode::exhausted, "would block", "tables socket");
  if (sent < 0) return fail_errno("sendmsg", "tables socket");
  return {};
}

Result<Message> parse_message(ConstBytes bytes, std::size_t fd_count) {
  if (bytes.size() < sizeof(MessageHeader))
    return refuse(fmt::format("{} bytes only", bytes.size()));
  const auto header = load<MessageHeader>(bytes.data());
  if (header.magic != protocol_magic) return refuse("wrong magic");
  if (header.protocol_version != protocol_version) {
    return fail(ErrorCode::unsupported, fmt::format("protocol version {}", header.protocol_version),
                "tables socket", "run both daemons from the same release");
  }
  switch (header.type) {
    case MessageType::hello:
      return parse_hello(bytes, fd_count);
    case MessageType::publish:
      return parse_publish(bytes, fd_count);
    case MessageType::acknowledge:
      return parse_acknowledge(bytes, fd_count);
  }
  return refuse(fmt::format("unknown type {}", std::to_underlying(header.type)));
}

Result<Received> receive(int socket) {
  // A byte more than the longest message, so that a longer one is seen to be too long.
  std::array<std::byte, message_bytes_max + 1> buffer;
  alignas(cmsghdr) std::byte control[CMSG_SPACE(fds_max * sizeof(int))];
  iovec part{buffer.data(), buffer.size()};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  ssize_t got = 0;
  do got = ::recvmsg(socket, &header, MSG_CMSG_CLOEXEC);
  while (got < 0 && errno == EINTR);
  if (got < 0 && errno == EAGAIN) return fail(ErrorCode::exhausted, "would block", "tables socket");
  if (got < 0) return fail_errno("recvmsg", "tables socket");
  auto fds = take_fds(header);  // owned from here, whatever becomes of the message
  if (got == 0) return fail(ErrorCode::unavailable, "closed by peer", "tables socket");
  if ((header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
    return refuse("longer than any message, or with too many descriptors");
  }
  auto message = parse_message(ConstBytes(buffer).first(static_cast<std::size_t>(got)), fds.size());
  if (!message) return std::unexpected(std::move(message).error());
  return Received{*message, std::move(fds)};
}

}  // namespace pharos::table_channel
