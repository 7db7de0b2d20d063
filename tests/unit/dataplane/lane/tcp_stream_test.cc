// TCP framing at every split of every stream, and what bounds it.
#include "pharos/dataplane/lane/tcp_stream.hh"

#include <gtest/gtest.h>

#include <string>

namespace pharos::dataplane {
namespace {

using Bytes = std::vector<std::byte>;
using Next = TcpStream::Next;

[[nodiscard]] Bytes message(std::size_t bytes, unsigned seed) {
  Bytes result(bytes);
  for (std::size_t i = 0; i < bytes; ++i) result[i] = static_cast<std::byte>(i * 7 + seed);
  return result;
}

void append(Bytes& stream, const Bytes& message, std::size_t announced) {
  stream.push_back(static_cast<std::byte>(announced >> 8));
  stream.push_back(static_cast<std::byte>(announced));
  stream.insert(stream.end(), message.begin(), message.end());
}

[[nodiscard]] Bytes stream_of(const std::vector<Bytes>& messages) {
  Bytes stream;
  for (const auto& one : messages) append(stream, one, one.size());
  return stream;
}

// All that next() gives now.
void take(TcpStream& stream, std::vector<Bytes>& taken, Next& last) {
  ConstBytes bytes;
  while ((last = stream.next(bytes)) == Next::message)
    taken.emplace_back(bytes.begin(), bytes.end());
}

TEST(TcpStreamTest, GivesTheSameMessagesHoweverTheStreamIsSplitInThree) {
  const std::vector<Bytes> messages = {message(12, 1), message(30, 2), message(13, 3)};
  const auto bytes = stream_of(messages);
  for (std::size_t a = 0; a <= bytes.size(); ++a) {
    for (std::size_t b = a; b <= bytes.size(); ++b) {
      TcpStream stream;
      std::vector<Bytes> taken;
      Next last{};
      for (const auto& [from, to] : {std::pair{std::size_t{0}, a}, {a, b}, {b, bytes.size()}}) {
        stream.receive(ConstBytes(bytes).subspan(from, to - from));
        take(stream, taken, last);
        ASSERT_EQ(last, Next::none);
        std::size_t end = 0;
        bool at_boundary = to == 0;
        for (const auto& one : messages) at_boundary |= (end += 2 + one.size()) == to;
        ASSERT_EQ(stream.is_partial(), !at_boundary) << a << " " << b << " " << to;
        ASSERT_FALSE(stream.has_message());
      }
      ASSERT_EQ(taken, messages) << "split at " << a << " and " << b;
      stream.settle();
      ASSERT_EQ(stream.held_bytes(), 0U);
    }
  }
}

TEST(TcpStreamTest, GivesAMessageOnlyWithItsLastByte) {
  const auto bytes = stream_of({message(700, 5)});
  TcpStream stream;
  ConstBytes got;
  for (std::size_t i = 0; i + 1 < bytes.size(); ++i) {
    stream.receive(ConstBytes(bytes).subspan(i, 1));
    ASSERT_EQ(stream.next(got), Next::none) << i;
    ASSERT_TRUE(stream.is_partial());
  }
  stream.receive(ConstBytes(bytes).last(1));
  ASSERT_EQ(stream.next(got), Next::message);
  EXPECT_EQ(Bytes(got.begin(), got.end()), message(700, 5));
}

TEST(TcpStreamTest, TakesTheLongestMessageThereIs) {
  const auto longest = message(65535, 9);
  const auto bytes = stream_of({longest, longest});
  TcpStream stream;
  std::vector<Bytes> taken;
  Next last{};
  ASSERT_EQ(stream.room(), bytes.size());
  stream.receive(bytes);
  EXPECT_EQ(stream.room(), 0U);
  take(stream, taken, last);
  EXPECT_EQ(taken, (std::vector<Bytes>{longest, longest}));
  stream.settle();
  EXPECT_EQ(stream.room(), TcpStream::input_bytes_max);
}

TEST(TcpStreamTest, CallsAMessageThatHasNoHeaderBroken) {
  for (std::size_t announced = 0; announced < 12; ++announced) {
    Bytes bytes = stream_of({message(12, 1)});
    append(bytes, {}, announced);
    TcpStream stream;
    stream.receive(bytes);
    ConstBytes got;
    EXPECT_EQ(stream.next(got), Next::message) << "what came before is served";
    EXPECT_TRUE(stream.has_message());
    EXPECT_EQ(stream.next(got), Next::broken) << announced;
    EXPECT_EQ(stream.next(got), Next::broken) << "and stays so";
  }
}

TEST(TcpStreamTest, TakesNothingInWhileRepliesWaitForThePeer) {
  TcpStream stream;
  stream.receive(stream_of({message(20, 1), message(21, 2)}));
  ConstBytes got;
  ASSERT_EQ(stream.next(got), Next::message);
  stream.reply(message(100, 7));
  EXPECT_EQ(stream.room(), 0U);
  EXPECT_TRUE(stream.has_message());
  EXPECT_EQ(stream.next(got), Next::none);
  stream.sent(101);
  EXPECT_EQ(stream.output().size(), 1U);
  EXPECT_EQ(stream.next(got), Next::none);
  stream.sent(1);
  EXPECT_EQ(stream.next(got), Next::message);
  EXPECT_EQ(got.size(), 21U);
  stream.settle();
  EXPECT_EQ(stream.held_bytes(), 0U);
}

TEST(TcpStreamTest, FramesRepliesInOrder) {
  TcpStream stream;
  const std::vector<Bytes> replies = {message(12, 1), message(65535, 2), message(300, 3)};
  for (const auto& reply : replies) stream.reply(reply);
  const auto output = stream.output();
  EXPECT_EQ(Bytes(output.begin(), output.end()), stream_of(replies));
}

TEST(TcpStreamTest, TakesFewerMessagesABurstWhereRepliesAreLarge) {
  TcpStream stream;
  EXPECT_EQ(stream.burst_messages(64), 64U);
  stream.reply(message(1000, 1));
  stream.sent(1002);
  EXPECT_EQ(stream.burst_messages(64), 64U);
  stream.reply(message(30'000, 1));
  stream.sent(30'002);
  EXPECT_EQ(stream.burst_messages(64), 4U);
  stream.reply(message(65'535, 1));
  stream.sent(65'537);
  EXPECT_EQ(stream.burst_messages(64), 1U);
}

}  // namespace
}  // namespace pharos::dataplane
