// The dnstap thread against readers that behave, stand still, hang up or are not there. The reader of these tests is
// written from the specification of Frame Streams and of protocol buffers, and shares no code with the writer.
#include "pharos/dataplane/observe/dnstap_writer.hh"

#include "pharos/base/fd.hh"
#include "pharos/dataplane/lane/socket.hh"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <string>
#include <thread>

#include "temporary_files.hh"

namespace pharos::dataplane {
namespace {

constexpr Duration patience = seconds(10);

bool reached(const std::function<bool()>& condition) {
  const auto deadline = monotonic_now() + patience;
  while (!condition()) {
    if (monotonic_now() > deadline) return false;
    std::this_thread::yield();
  }
  return true;
}

// Fields of a message by number: bytes, or the digits of a number.
std::map<unsigned, std::string> fields_of(std::string_view bytes) {
  std::map<unsigned, std::string> fields;
  std::size_t at = 0;
  const auto varint = [&] {
    std::uint64_t value = 0;
    for (unsigned shift = 0; at < bytes.size(); shift += 7) {
      const auto octet = static_cast<unsigned char>(bytes[at++]);
      value |= std::uint64_t{octet & 0x7fU} << shift;
      if ((octet & 0x80) == 0) break;
    }
    return value;
  };
  while (at < bytes.size()) {
    const auto tag = varint();
    const auto number = static_cast<unsigned>(tag >> 3);
    if ((tag & 7) == 0) {
      fields[number] = std::to_string(varint());
    } else if ((tag & 7) == 2) {
      const auto length = varint();
      fields[number] = bytes.substr(at, length);
      at += length;
    } else if ((tag & 7) == 5) {
      fields[number] = std::to_string(load<std::uint32_t>(bytes.data() + at));
      at += 4;
    } else {
      ADD_FAILURE() << "wire type " << (tag & 7);
      break;
    }
  }
  return fields;
}

class Peer {
 public:
  explicit Peer(UniqueFd socket) : socket_(std::move(socket)) {}

  // READY, ACCEPT, START.
  [[nodiscard]] bool shake_hands(const std::string& type = "protobuf:dnstap.Dnstap") {
    const auto ready = control();
    if (ready.empty() || load<Be32>(ready.data()) != 4) return false;
    send_control(1, type);
    const auto start = control();
    return !start.empty() && load<Be32>(start.data()) == 2 && start.find(type) != std::string::npos;
  }
  // The next data frame; empty at the end, with FINISH sent where it was an orderly one.
  [[nodiscard]] std::string frame() {
    const auto length = number();
    if (!length) return {};
    if (*length != 0) return bytes(*length);
    const auto stop = bytes(number().value_or(0));
    if (stop.size() >= 4 && load<Be32>(stop.data()) == 3) {
      stopped_ = true;
      send_control(5, "");
    }
    return {};
  }
  [[nodiscard]] bool stopped() const { return stopped_; }

 private:
  std::string control() {
    if (number() != 0U) return {};
    return bytes(number().value_or(0));
  }
  void send_control(std::uint32_t kind, const std::string& type) {
    std::string out(4, '\0');
    const auto put = [&](std::uint32_t value) {
      const Be32 wire = value;
      out += as_text(object_bytes(wire));
    };
    put(static_cast<std::uint32_t>(type.empty() ? 4 : 12 + type.size()));
    put(kind);
    if (!type.empty()) {
      put(1);
      put(static_cast<std::uint32_t>(type.size()));
      out += type;
    }
    ASSERT_EQ(::send(socket_.get(), out.data(), out.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(out.size()));
  }
  std::optional<std::uint32_t> number() {
    const auto four = bytes(4);
    if (four.size() != 4) return std::nullopt;
    return load<Be32>(four.data());
  }
  std::string bytes(std::size_t count) {
    std::string all(count, '\0');
    std::size_t got = 0;
    while (got < count) {
      pollfd one{.fd = socket_.get(), .events = POLLIN, .revents = 0};
      if (::poll(&one, 1, static_cast<int>(patience.ms())) <= 0) return {};
      const auto more = ::recv(socket_.get(), all.data() + got, count - got, 0);
      if (more <= 0) return {};
      got += static_cast<std::size_t>(more);
    }
    return all;
  }
  UniqueFd socket_;
  bool stopped_ = false;
};

class DnstapWriterTest : public testing::Test {
 protected:
  DnstapWriterTest() {
    auto rings = std::make_shared<RingSet>();
    rings->push_back(std::make_unique<RecordRing>(1U << 20));
    rings->push_back(std::make_unique<RecordRing>(1U << 20));
    rings_ = rings;
  }
  void listen_unix() {
    listener_ = UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path().copy(address.sun_path, sizeof address.sun_path - 1);
    ASSERT_EQ(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    ASSERT_EQ(::listen(listener_.get(), 4), 0);
  }
  void change(FrameTarget target) {
    writer_.change(DnstapJob{.target = std::move(target),
                             .server = {.identity = "ns1", .version = "pharos test"},
                             .rings = rings_});
  }
  void start() {
    ASSERT_TRUE(writer_.start());
    change({.path = path(), .address = {}});
  }
  std::string path() const { return files_.directory() + "/dnstap.sock"; }
  Peer accept() {
    pollfd one{.fd = listener_.get(), .events = POLLIN, .revents = 0};
    EXPECT_EQ(::poll(&one, 1, static_cast<int>(patience.ms())), 1) << "nobody connects";
    return Peer(UniqueFd(::accept(listener_.get(), nullptr, nullptr)));
  }
  bool put(const CopyHead& head, const std::string& message, unsigned seat = 0) {
    RecordRing& ring = *(*rings_)[seat];
    std::byte* at = ring.reserve(sizeof head + message.size());
    if (at == nullptr) return false;
    store(at, head);
    message.copy(reinterpret_cast<char*>(at) + sizeof head, message.size());
    ring.commit();
    return true;
  }
  bool put_query(const std::string& message, unsigned seat = 0) {
    return put({.query_ns = 1'700'000'000'000'000'123,
                .client = IpAddress::parse("198.18.3.0").value(),
                .message_bytes = static_cast<std::uint32_t>(message.size()),
                .client_given = true},
               message, seat);
  }

  TemporaryFiles files_;
  UniqueFd listener_;
  std::shared_ptr<const RingSet> rings_;
  DnstapWriter writer_;
};

TEST_F(DnstapWriterTest, SendsWhatTheRingsHoldAsDnstap) {
  listen_unix();
  ASSERT_TRUE(put_query("a query"));
  ASSERT_TRUE(put({.query_ns = 1'700'000'000'000'000'123,
                   .response_ns = 1'700'000'001'000'000'456,
                   .client = IpAddress::parse("2001:db8::").value(),
                   .message_bytes = 10,
                   .kind = CopyKind::response,
                   .transport = Transport::tcp,
                   .ipv4 = false,
                   .client_given = true},
                  "a response", 1));
  start();
  auto peer = accept();
  ASSERT_TRUE(peer.shake_hands());

  auto outer = fields_of(peer.frame());
  EXPECT_EQ(outer[1], "ns1");
  EXPECT_EQ(outer[2], "pharos test");
  EXPECT_EQ(outer[15], "1");
  auto query = fields_of(outer[14]);
  EXPECT_EQ(query[1], "1") << "AUTH_QUERY";
  EXPECT_EQ(query[2], "1") << "INET";
  EXPECT_EQ(query[3], "1") << "UDP";
  EXPECT_EQ(query[4], std::string("\xc6\x12\x03\x00", 4));
  EXPECT_EQ(query[8], "1700000000");
  EXPECT_EQ(query[9], "123");
  EXPECT_EQ(query[10], "a query");
  EXPECT_EQ(query.count(12) + query.count(14), 0U);

  auto response = fields_of(fields_of(peer.frame())[14]);
  EXPECT_EQ(response[1], "2") << "AUTH_RESPONSE";
  EXPECT_EQ(response[2], "2") << "INET6";
  EXPECT_EQ(response[3], "2") << "TCP";
  EXPECT_EQ(response[4].size(), 16U);
  EXPECT_EQ(response[12], "1700000001");
  EXPECT_EQ(response[13], "456");
  EXPECT_EQ(response[14], "a response");
  EXPECT_EQ(response.count(10), 0U);
  EXPECT_TRUE(reached([&] { return writer_.report().frames == 2; }));
  EXPECT_TRUE(writer_.report().connected);
}

TEST_F(DnstapWriterTest, LeavesOutWhatDoesNotLeave) {
  listen_unix();
  ASSERT_TRUE(put({.query_ns = 1}, ""));
  start();
  auto peer = accept();
  ASSERT_TRUE(peer.shake_hands());
  auto query = fields_of(fields_of(peer.frame())[14]);
  EXPECT_EQ(query[1], "1");
  EXPECT_EQ(query.count(4), 0U) << "no address";
  EXPECT_EQ(query.count(10), 0U) << "no message";
}

TEST_F(DnstapWriterTest, EndsInOrderAndSendsWhatStillWaits) {
  listen_unix();
  start();
  auto peer = accept();
  ASSERT_TRUE(peer.shake_hands());
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(put_query("query " + std::to_string(i)));
  std::thread stopper([&] { writer_.stop(); });
  for (int i = 0; i < 100; ++i)
    EXPECT_EQ(fields_of(fields_of(peer.frame())[14])[10], "query " + std::to_string(i));
  EXPECT_EQ(peer.frame(), "");
  EXPECT_TRUE(peer.stopped());
  stopper.join();
}

TEST_F(DnstapWriterTest, SpeaksTcpAsWell) {
  auto bound = open_listener({IpAddress::parse("127.0.0.1").value(), 0}, Bind::existing);
  ASSERT_TRUE(bound) << bound.error().text();
  ASSERT_TRUE(put_query("over TCP"));
  ASSERT_TRUE(writer_.start());
  change({.path = {}, .address = bound->address});
  listener_ = std::move(bound->tcp);
  auto peer = accept();
  ASSERT_TRUE(peer.shake_hands());
  EXPECT_EQ(fields_of(fields_of(peer.frame())[14])[10], "over TCP");
}

TEST_F(DnstapWriterTest, ComesBackToAReaderThatHungUp) {
  listen_unix();
  start();
  {
    auto peer = accept();
    ASSERT_TRUE(peer.shake_hands());
    ASSERT_TRUE(put_query("first"));
    EXPECT_EQ(fields_of(fields_of(peer.frame())[14])[10], "first");
  }
  EXPECT_TRUE(reached([&] { return !writer_.report().connected; }));
  EXPECT_NE(writer_.report().last_error, "");
  ASSERT_TRUE(put_query("second"));
  auto peer = accept();
  ASSERT_TRUE(peer.shake_hands());
  EXPECT_EQ(fields_of(fields_of(peer.frame())[14])[10], "second");
  EXPECT_EQ(writer_.report().connections, 2U);
}

TEST_F(DnstapWriterTest, SaysWhoIsNotThereAndStopsAtOnce) {
  start();
  EXPECT_TRUE(reached([&] { return !writer_.report().last_error.empty(); }));
  EXPECT_NE(writer_.report().last_error.find("unix:" + path()), std::string::npos);
  EXPECT_NE(writer_.report().last_error.find("No such file"), std::string::npos);
  const auto before = monotonic_now();
  writer_.stop();
  EXPECT_LT((monotonic_now() - before).seconds(), 1.0);
}

TEST_F(DnstapWriterTest, RefusesAReaderOfAnotherKind) {
  listen_unix();
  start();
  auto peer = accept();
  EXPECT_FALSE(peer.shake_hands("protobuf:something.Else"));
  EXPECT_TRUE(reached([&] { return !writer_.report().last_error.empty(); }));
  EXPECT_FALSE(writer_.report().connected);
}

TEST_F(DnstapWriterTest, AReaderThatStandsStillHoldsUpNobody) {
  listen_unix();
  start();
  auto peer = accept();
  ASSERT_TRUE(peer.shake_hands());
  // More than rings, buffer and socket hold: the producer is refused, and goes on.
  std::uint64_t refused = 0;
  for (int i = 0; i < 20'000; ++i) refused += put_query(std::string(1000, 'x')) ? 0 : 1;
  EXPECT_GT(refused, 0U);
  EXPECT_EQ((*rings_)[0]->dropped(), refused);
  const auto before = monotonic_now();
  writer_.stop();
  EXPECT_LT((monotonic_now() - before).seconds(), 3.0);
}

TEST_F(DnstapWriterTest, ChangesFromOneReaderToAnotherAndToNone) {
  listen_unix();
  start();
  auto first = accept();
  ASSERT_TRUE(first.shake_hands());
  auto bound = open_listener({IpAddress::parse("127.0.0.1").value(), 0}, Bind::existing);
  ASSERT_TRUE(bound);
  change({.path = {}, .address = bound->address});
  EXPECT_EQ(first.frame(), "");
  EXPECT_TRUE(first.stopped());
  listener_ = std::move(bound->tcp);
  auto second = accept();
  ASSERT_TRUE(second.shake_hands());
  writer_.change(std::nullopt);
  EXPECT_EQ(second.frame(), "");
  EXPECT_TRUE(second.stopped());
  EXPECT_TRUE(reached([&] { return !writer_.report().on; }));
}

}  // namespace
}  // namespace pharos::dataplane
