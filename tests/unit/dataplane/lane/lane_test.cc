// The lane with sockets of the loopback interface, asked as resolvers ask.
#include "pharos/dataplane/lane/lane.hh"

#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <gtest/gtest.h>

#include <cerrno>
#include <functional>
#include <thread>

#include "packets/example_world.hh"
#include "packets/message_text.hh"
#include "packets/octets.hh"

namespace pharos::dataplane {
namespace {

using packets::Edns;
using packets::Octets;
using packets::query;

constexpr std::uint16_t type_a = 1;

[[nodiscard]] config::SocketAddress at(const std::string& address, std::uint16_t port = 0) {
  return {*IpAddress::parse(address), port};
}

// A client's socket: blocking, with a limit that only a broken server meets.
class Client {
 public:
  Client(int type, const config::SocketAddress& server, const std::string& source = {}) {
    sockaddr_storage address{};
    auto length = to_sockaddr(server, address);
    socket_ = UniqueFd(::socket(address.ss_family, type | SOCK_CLOEXEC, 0));
    const timeval limit{.tv_sec = 10, .tv_usec = 0};
    ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (!source.empty()) {
      sockaddr_storage from{};
      const auto from_length = to_sockaddr(at(source), from);
      EXPECT_EQ(::bind(socket_.get(), reinterpret_cast<sockaddr*>(&from), from_length), 0);
    }
    EXPECT_EQ(::connect(socket_.get(), reinterpret_cast<sockaddr*>(&address), length), 0)
        << strerror(errno);
  }

  [[nodiscard]] int fd() const { return socket_.get(); }
  void send(const Octets& bytes) const {
    EXPECT_EQ(::send(fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
  }
  // One datagram, or nothing.
  [[nodiscard]] Octets receive() const {
    Octets bytes(65536);
    const auto got = ::recv(fd(), bytes.data(), bytes.size(), 0);
    bytes.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    return bytes;
  }

  void send_framed(const Octets& message) const {
    Octets framed;
    packets::put16(framed, static_cast<unsigned>(message.size()));
    packets::put(framed, message);
    send(framed);
  }
  // One framed message; empty at the end of the connection.
  [[nodiscard]] Octets receive_framed() const {
    const auto prefix = receive_exactly(2);
    if (prefix.size() != 2) return {};
    return receive_exactly(std::to_integer<std::size_t>(prefix[0]) << 8 |
                           std::to_integer<std::size_t>(prefix[1]));
  }
  // Whether the server closes, with nothing sent before.
  [[nodiscard]] bool is_closed() const {
    std::byte one{};
    const auto got = ::recv(fd(), &one, 1, 0);
    return got == 0 || (got < 0 && errno == ECONNRESET);
  }
  [[nodiscard]] bool is_open() const {
    std::byte one{};
    return ::recv(fd(), &one, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
  }

 private:
  [[nodiscard]] Octets receive_exactly(std::size_t bytes) const {
    Octets all(bytes);
    const auto got = ::recv(fd(), all.data(), bytes, MSG_WAITALL);
    all.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    return all;
  }
  UniqueFd socket_;
};

class LaneTest : public ::testing::Test {
 protected:
  void start(config::TcpConfig limits = {}, const std::string& address = "127.0.0.1") {
    root_ = packets::example_world();
    published_.store(root_.get());
    ServeOptions options;
    options.tcp_keepalive_ds = 123;
    lane_ = std::make_unique<Lane>(published_, wall_s_, options);
    auto listener = open_listener(at(address), Bind::existing);
    ASSERT_TRUE(listener) << listener.error().text();
    server_ = listener->address;
    ASSERT_TRUE(lane_->open(limits));
    ASSERT_TRUE(lane_->add(std::move(*listener)));
    ASSERT_TRUE(lane_->start());
  }

  [[nodiscard]] Client tcp(const std::string& source = {}) const {
    return {SOCK_STREAM, server_, source};
  }
  [[nodiscard]] static std::string first_line(const Octets& message) {
    return message.empty() ? "nothing" : packets::MessageText::of(message)[0];
  }
  // Asks over an open connection; the header line of the reply.
  [[nodiscard]] static std::string ask(const Client& client, std::uint16_t id = 0x1234) {
    client.send_framed(query({.name = "www.example", .id = id}));
    return first_line(client.receive_framed());
  }
  static constexpr const char* good = "1234 NOERROR qr aa rd | 1 1 0 0";

  // Gives way until the lane has come so far; false after ten seconds.
  [[nodiscard]] bool counted(Counter counter, std::uint64_t count) const {
    const auto deadline = monotonic_now() + seconds(10);
    while (lane_->counters().read(counter) < count) {
      if (monotonic_now() > deadline) return false;
      std::this_thread::yield();
    }
    return true;
  }

  packets::World::Root root_;
  RcuPointer<const TableRoot> published_;
  std::atomic<std::uint32_t> wall_s_{1'700'000'000};
  config::SocketAddress server_;
  std::unique_ptr<Lane> lane_;
};

TEST_F(LaneTest, AnswersUdpFromTheAddressThatWasAsked) {
  start({}, "0.0.0.0");
  for (const char* asked : {"127.0.0.1", "127.0.0.2", "127.9.9.9"}) {
    // A connected socket takes nothing from anyone else.
    const Client client(SOCK_DGRAM, at(asked, server_.port));
    client.send(query({.name = "www.example"}));
    EXPECT_EQ(first_line(client.receive()), good) << asked;
  }
  EXPECT_EQ(lane_->counters().read(Verdict::answered), 3U);
  EXPECT_EQ(lane_->counters().read(Counter::queries_ipv4), 3U);
  EXPECT_EQ(lane_->counters().read(Counter::queries_tcp), 0U);
}

TEST_F(LaneTest, AnswersOverIpv6AndLeavesIpv4Alone) {
  start({}, "::");
  const Client client(SOCK_DGRAM, at("::1", server_.port));
  client.send(query({.name = "www.example"}));
  EXPECT_EQ(first_line(client.receive()), good);
  EXPECT_EQ(ask(Client(SOCK_STREAM, at("::1", server_.port))), good);
  EXPECT_TRUE(open_listener(at("0.0.0.0", server_.port), Bind::existing))
      << "IPV6_V6ONLY: the same port is free for IPv4";
}

TEST_F(LaneTest, GivesOverTcpWhatUdpHadToTruncate) {
  start();
  const auto request = query({.name = "big.example"});
  const Client udp(SOCK_DGRAM, server_);
  udp.send(request);
  EXPECT_EQ(first_line(udp.receive()), "1234 NOERROR qr aa tc rd | 1 0 0 0");
  const auto client = tcp();
  client.send_framed(request);
  EXPECT_EQ(first_line(client.receive_framed()), "1234 NOERROR qr aa rd | 1 40 0 0");
  EXPECT_EQ(lane_->counters().read(Counter::queries_tcp), 1U);
}

TEST_F(LaneTest, AnswersPipelinedQueriesInOrder) {
  start();
  const auto client = tcp();
  Octets all;
  constexpr std::uint16_t count = 1000;  // more than one burst, more than one read
  for (std::uint16_t id = 0; id < count; ++id) {
    const auto message = query({.name = id % 3 == 0 ? "big.example" : "www.example", .id = id});
    packets::put16(all, static_cast<unsigned>(message.size()));
    packets::put(all, message);
  }
  client.send(all);
  for (std::uint16_t id = 0; id < count; ++id) {
    const auto reply = client.receive_framed();
    ASSERT_GE(reply.size(), 12U);
    ASSERT_EQ(load<Be16>(reply.data()), id);
  }
  EXPECT_EQ(lane_->counters().read(Counter::queries_tcp), count);
}

// Replies of 26 MB in all against a peer that does not read: what is not taken stays in the client's hands.
TEST_F(LaneTest, ServesNoMoreThanThePeerTakesAndGoesOnWhenItReads) {
  config::TcpConfig limits;
  limits.message_timeout = seconds(60);
  start(limits);
  const auto client = tcp();
  constexpr unsigned count = 10'000;
  std::thread writer([&] {
    const auto message = query({.name = "huge.example", .type = 16});
    Octets framed;
    packets::put16(framed, static_cast<unsigned>(message.size()));
    packets::put(framed, message);
    for (unsigned i = 0; i < count; ++i) client.send(framed);
  });
  const auto other = tcp();
  EXPECT_EQ(ask(other), good) << "others are served meanwhile";
  for (unsigned i = 0; i < count; ++i) ASSERT_GT(client.receive_framed().size(), 2400U) << i;
  writer.join();
}

TEST_F(LaneTest, AnswersWhatCameBeforeTheClientsEnd) {
  start();
  const auto client = tcp();
  client.send_framed(query({.name = "www.example"}));
  client.send_framed(query({.name = "big.example"}));
  ::shutdown(client.fd(), SHUT_WR);
  EXPECT_EQ(first_line(client.receive_framed()), good);
  EXPECT_EQ(first_line(client.receive_framed()), "1234 NOERROR qr aa rd | 1 40 0 0");
  EXPECT_TRUE(client.is_closed());
  EXPECT_TRUE(counted(Counter::tcp_closed_peer, 1));
}

TEST_F(LaneTest, ClosesAfterWhatIsNoMessageButAnswersWhatCameBefore) {
  start();
  const auto client = tcp();
  Octets bytes;
  const auto message = query({.name = "www.example"});
  packets::put16(bytes, static_cast<unsigned>(message.size()));
  packets::put(bytes, message);
  packets::put(bytes, packets::hex("000b 0102030405060708090a0b"));
  client.send(bytes);
  EXPECT_EQ(first_line(client.receive_framed()), good);
  EXPECT_TRUE(client.is_closed());
  EXPECT_EQ(lane_->counters().read(Counter::tcp_closed_broken), 1U);
}

TEST_F(LaneTest, ClosesIdleAndSlowConnectionsAndKeepsBusyOnes) {
  config::TcpConfig limits;
  limits.idle_timeout = milliseconds(500);
  limits.message_timeout = milliseconds(200);
  start(limits);
  const auto idle = tcp();
  const auto slow = tcp();
  slow.send(packets::hex("0020 1234"));
  const auto busy = tcp();
  std::thread asker([&] {
    while (lane_->counters().read(Counter::tcp_closed_idle) == 0) {
      ASSERT_EQ(ask(busy), good);
      std::this_thread::yield();
    }
  });
  EXPECT_TRUE(slow.is_closed());
  EXPECT_TRUE(idle.is_closed());
  asker.join();
  EXPECT_EQ(lane_->counters().read(Counter::tcp_closed_slow), 1U);
  EXPECT_EQ(lane_->counters().read(Counter::tcp_closed_idle), 1U);
}

TEST_F(LaneTest, ClosesTheConnectionLongestWithoutAQueryWhenFull) {
  config::TcpConfig limits;
  limits.connections_max = 3;
  start(limits);
  const auto first = tcp();
  ASSERT_EQ(ask(first), good);
  const auto second = tcp();
  ASSERT_EQ(ask(second), good);
  const auto third = tcp();
  ASSERT_TRUE(counted(Counter::tcp_accepted, 3));
  third.send(
      packets::hex("00"));  // a query that never comes whole, and that makes it none the younger
  ASSERT_EQ(ask(first), good);  // now the second has been without one for longest
  const auto fourth = tcp();
  ASSERT_EQ(ask(fourth), good);
  EXPECT_TRUE(second.is_closed());
  EXPECT_TRUE(first.is_open());
  const auto fifth = tcp();
  ASSERT_EQ(ask(fifth), good);
  EXPECT_TRUE(third.is_closed());
  EXPECT_EQ(ask(first), good);
  EXPECT_EQ(lane_->open_connections(), 3U);
  EXPECT_EQ(lane_->counters().read(Counter::tcp_closed_full), 2U);
}

TEST_F(LaneTest, LimitsTheConnectionsOfOneClientAndNotOfAnother) {
  config::TcpConfig limits;
  limits.connections_per_client = 2;
  start(limits);
  const auto first = tcp(), second = tcp();
  ASSERT_EQ(ask(first), good);
  ASSERT_EQ(ask(second), good);
  EXPECT_TRUE(tcp().is_closed());
  EXPECT_EQ(ask(tcp("127.0.0.9")), good);
  EXPECT_EQ(lane_->counters().read(Counter::tcp_refused), 1U);
  ::shutdown(first.fd(), SHUT_RDWR);
  ASSERT_TRUE(counted(Counter::tcp_closed_peer, 2));
  EXPECT_EQ(ask(tcp()), good) << "a closed connection counts no more";
}

TEST_F(LaneTest, HoldsNoMoreMemoryThanItMay) {
  config::TcpConfig limits;
  limits.memory_bytes = 1U << 20;
  start(limits);
  std::vector<Client> hoarders;
  const Octets most_of_a_message(60'002, std::byte{0xea});  // announces 60138 bytes
  for (int i = 0; i < 40; ++i) {
    hoarders.push_back(tcp());
    hoarders.back().send(most_of_a_message);
  }
  EXPECT_TRUE(counted(Counter::tcp_closed_full, 10));
  EXPECT_EQ(ask(tcp()), good);
}

TEST_F(LaneTest, DoesNotSpinWhenTheSystemHasNoDescriptors) {
  start();
  const auto first = tcp();
  ASSERT_EQ(ask(first), good);
  sockaddr_storage address{};
  const auto length = to_sockaddr(server_, address);
  const UniqueFd late(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none{.rlim_cur = static_cast<rlim_t>(late.get()) + 1, .rlim_max = before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  // The handshake is the kernel's: this succeeds, and accepting it does not.
  ASSERT_EQ(::connect(late.get(), reinterpret_cast<sockaddr*>(&address), length), 0);
  EXPECT_TRUE(counted(Counter::tcp_accept_errors, 1));
  EXPECT_TRUE(first.is_closed()) << "the longest idle one gives its descriptor away";
  EXPECT_LT(lane_->counters().read(Counter::tcp_accept_errors), 20U);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_TRUE(counted(Counter::tcp_accepted, 2)) << "accepted once there is room";
}

TEST_F(LaneTest, AnswersTheKeepaliveOptionOverTcpOnlyAndPaddingNowhere) {
  start();
  Octets options = packets::option(11, {});
  packets::put(options, packets::option(12, Octets(5)));
  const auto request = query({.name = "www.example"}, Edns{.options = options});
  const auto client = tcp();
  client.send_framed(request);
  const auto over_tcp = client.receive_framed();
  const Octets expected = packets::hex("0006 000b 0002 007b");  // 12.3 s, and nothing else
  ASSERT_GT(over_tcp.size(), expected.size());
  EXPECT_EQ(Octets(over_tcp.end() - 8, over_tcp.end()), expected);
  const Client udp(SOCK_DGRAM, server_);
  udp.send(request);
  const auto over_udp = udp.receive();
  EXPECT_EQ(over_udp.size() + 6, over_tcp.size());
  EXPECT_EQ(Octets(over_udp.end() - 2, over_udp.end()), packets::hex("0000"));
}

TEST_F(LaneTest, ListensElsewhereAfterAReloadAndKeepsItsConnections) {
  start();
  const auto client = tcp();
  ASSERT_EQ(ask(client), good);
  auto added = open_listener(at("127.0.0.1"), Bind::existing);
  ASSERT_TRUE(added) << added.error().text();
  const auto elsewhere = added->address;
  LaneChange change;
  change.removed = {server_};
  change.added.push_back(std::move(*added));
  lane_->change(std::move(change));
  EXPECT_EQ(ask(Client(SOCK_STREAM, elsewhere)), good);
  const Client udp(SOCK_DGRAM, elsewhere);
  udp.send(query({.name = "www.example"}));
  EXPECT_EQ(first_line(udp.receive()), good);
  EXPECT_EQ(ask(client), good);
  const UniqueFd refused(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_storage address{};
  const auto length = to_sockaddr(server_, address);
  EXPECT_NE(::connect(refused.get(), reinterpret_cast<sockaddr*>(&address), length), 0);
}

TEST_F(LaneTest, SaysWhichAddressIsTaken) {
  start();
  const auto second = open_listener(server_, Bind::existing);
  ASSERT_FALSE(second);
  EXPECT_NE(second.error().text().find(text_of(server_)), std::string::npos);
  EXPECT_NE(second.error().text().find("another program"), std::string::npos);
  const auto foreign = open_listener(at("192.0.2.77", 5353), Bind::existing);
  ASSERT_FALSE(foreign);
  EXPECT_NE(foreign.error().text().find("no interface has this address"), std::string::npos);
}

TEST_F(LaneTest, DropsQueriesWhileThereAreNoTablesAndLetsTablesGo) {
  start();
  published_.store(nullptr);
  synchronize_rcu();  // returns, since the lane is offline while it waits
  root_.reset();
  const auto client = tcp();
  client.send_framed(query({.name = "www.example"}));
  client.send(packets::hex("0000"));
  EXPECT_TRUE(client.is_closed());
  EXPECT_EQ(lane_->counters().read(Verdict::drop_no_tables), 1U);
}

}  // namespace
}  // namespace pharos::dataplane
