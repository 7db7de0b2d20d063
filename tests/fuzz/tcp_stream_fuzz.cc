// Any bytes as one TCP connection's, in segments of any size, with a peer that takes replies as it likes.
//
// The input is a script: a byte says what happens next and how much of it. What comes out must be what an obvious reader of
// the whole stream sees, in order; replies must be framed and in order, and memory must stay within its bounds.
#include "pharos/base/assert.hh"
#include "pharos/dataplane/lane/tcp_stream.hh"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace {

using namespace pharos;             // NOLINT
using namespace pharos::dataplane;  // NOLINT

using Bytes = std::vector<std::byte>;

// Messages of a stream as far as they are whole and sound.
[[nodiscard]] std::vector<Bytes> read_obviously(const Bytes& stream) {
  std::vector<Bytes> messages;
  std::size_t at = 0;
  while (stream.size() - at >= 2) {
    const auto bytes =
        static_cast<std::size_t>(stream[at]) << 8 | static_cast<std::size_t>(stream[at + 1]);
    if (bytes < 12 || stream.size() - at - 2 < bytes) break;
    messages.emplace_back(stream.begin() + static_cast<std::ptrdiff_t>(at + 2),
                          stream.begin() + static_cast<std::ptrdiff_t>(at + 2 + bytes));
    at += 2 + bytes;
  }
  return messages;
}

// A reply in place of DNS: the id of the message, and a size and a silence that the message chooses.
[[nodiscard]] Bytes answer(ConstBytes message) {
  const auto third = std::to_integer<std::size_t>(message[2]);
  if (third == 0xff) return {};
  const auto size =
      third < 0xf0 ? 12 + third : 12 + third * std::to_integer<std::size_t>(message[3]);
  Bytes reply(size, message[4]);
  std::copy_n(message.begin(), 2, reply.begin());
  return reply;
}

struct Connection {
  TcpStream stream;
  Bytes received, taken_bytes, sent;
  std::vector<Bytes> taken, replies;
  bool broken = false;

  void receive(ConstBytes segment) {
    const auto some = segment.first(std::min(segment.size(), stream.room()));
    stream.receive(some);
    received.insert(received.end(), some.begin(), some.end());
  }
  void serve() {
    const unsigned most = stream.burst_messages(64);
    std::vector<Bytes> burst;
    ConstBytes message;
    for (unsigned i = 0; i < most && !broken; ++i) {
      const auto next = stream.next(message);
      broken = next == TcpStream::Next::broken;
      if (next != TcpStream::Next::message) break;
      burst.emplace_back(message.begin(), message.end());
    }
    for (auto& one : burst) {
      if (auto reply = answer(one); !reply.empty()) {
        REQUIRE(std::equal(reply.begin(), reply.begin() + 2, one.begin()));
        stream.reply(reply);
        replies.push_back(std::move(reply));
      }
      taken.push_back(std::move(one));
    }
    stream.settle();
  }
  void send(std::size_t most) {
    const auto output = stream.output();
    const auto some = output.first(std::min(most, output.size()));
    sent.insert(sent.end(), some.begin(), some.end());
    stream.sent(some.size());
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > 20'000) return 0;
  const auto input = std::as_bytes(std::span(data, size));
  Connection connection;
  for (std::size_t at = 0; at < size && !connection.broken;) {
    const unsigned order = data[at++];
    const unsigned amount = order >> 2;
    switch (order & 3U) {
      case 0:    // a short segment
      case 1: {  // a long one
        const auto bytes =
            std::min<std::size_t>((order & 3U) == 0 ? amount : amount * 64, size - at);
        connection.receive(input.subspan(at, bytes));
        at += bytes;
        break;
      }
      case 2:
        connection.serve();
        break;
      default:
        connection.send(amount * amount);
        break;
    }
    REQUIRE(connection.stream.held_bytes() <=
            2 * TcpStream::input_bytes_max + 64 * (dns::message_bytes_max + 2) * 2);
  }
  for (std::size_t rounds = 0; !connection.broken && connection.stream.has_message(); ++rounds) {
    REQUIRE(rounds <= size);
    connection.send(connection.stream.output().size());
    connection.serve();
  }
  connection.send(connection.stream.output().size());
  REQUIRE(connection.taken == read_obviously(connection.received));
  REQUIRE(read_obviously(connection.sent) == connection.replies);
  return 0;
}
