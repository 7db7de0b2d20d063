// Any bytes as a message on the tables socket, with any number of descriptors: parsed, and through a real socket.
//
// The first byte of an input is the number of descriptors, the rest is the message.
#include "pharos/shared/table_channel.hh"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <cstdlib>
#include <vector>

namespace {

using namespace pharos;

struct Sockets {
  Sockets() {
    int pair[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0)
      std::abort();
    near = UniqueFd(pair[0]);
    far = UniqueFd(pair[1]);
    null = UniqueFd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  }
  UniqueFd near;
  UniqueFd far;
  UniqueFd null;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Sockets sockets;
  if (size < 2) return 0;
  const std::size_t fd_count = data[0] % (table_channel::fds_max + 1);
  const ConstBytes message(reinterpret_cast<const std::byte*>(data + 1), size - 1);
  const auto parsed = table_channel::parse_message(message, fd_count);

  const std::vector<int> fds(fd_count, sockets.null.get());
  if (!table_channel::send(sockets.near.get(), message, fds)) return 0;
  const auto received = table_channel::receive(sockets.far.get());
  // The socket changes nothing but the length of what is too long, which is refused either way.
  if (parsed.has_value() != received.has_value()) std::abort();
  if (received && received->fds.size() != fd_count) std::abort();
  return 0;
}
