#include "pharos/shared/control_protocol.hh"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <vector>

#include "temporary_files.hh"

namespace pharos::control {
namespace {

using nlohmann::json;

// A server with a few commands, polled by a thread until the end.
class ControlTest : public testing::Test {
 protected:
  void SetUp() override {
    auto opened = Server::open(files_.directory(), "daemon", ::geteuid());
    ASSERT_TRUE(opened) << opened.error().text();
    server_ = std::make_unique<Server>(std::move(*opened));
    server_->add({"echo", Access::read, "gives back what it got",
                  [](const json& arguments) -> Result<json> { return arguments; }});
    server_->add({"change", Access::write, "changes something",
                  [this](const json& arguments) -> Result<json> {
                    value_ = arguments.at("value").get<int>();
                    return json{{"value", value_.load()}};
                  }});
    server_->add({"refuse", Access::read, "always fails", [](const json&) -> Result<json> {
                    return fail(ErrorCode::not_found, "no such thing", "here", "look there");
                  }});
    server_->add({"large", Access::read, "a large result", [](const json& a) -> Result<json> {
                    return std::string(a.at("bytes").get<std::size_t>(), 'x');
                  }});
    server_->add({"wait", Access::read, "waits until it is let go",
                  [this](const json& arguments) -> Result<json> {
                    const int now = ++waiting_;
                    for (int most = most_waiting_;
                         most < now && !most_waiting_.compare_exchange_weak(most, now);) {
                    }
                    waiting_.notify_all();
                    gate_.wait(false);
                    --waiting_;
                    return arguments;
                  },
                  Pace::lengthy});
    server_->add({"broken-text", Access::read, "not UTF-8",
                  [](const json&) -> Result<json> { return std::string("\xff\xfe"); }});
  }
  void TearDown() override { stop(); }

  void start() {
    thread_ = std::thread([this] {
      while (!stopping_) server_->poll_once(milliseconds(5));
    });
  }
  void stop() {
    stopping_ = true;
    if (thread_.joinable()) thread_.join();
  }
  [[nodiscard]] std::string path(Access access) const {
    return socket_path(files_.directory(), "daemon", access);
  }

  TemporaryFiles files_;
  std::unique_ptr<Server> server_;
  // `wait`: how many do, the most that ever did, and whether they may go.
  void wait_for_waiting(int count) {
    for (int seen = 0; (seen = waiting_) < count;) waiting_.wait(seen);
  }
  void let_go() {
    gate_ = true;
    gate_.notify_all();
  }

  std::atomic<int> value_{0};
  std::atomic<int> waiting_{0}, most_waiting_{0};
  std::atomic<bool> gate_{false};
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

// A peer that speaks raw bytes.
class RawPeer {
 public:
  explicit RawPeer(const std::string& path) : fd_(::socket(AF_UNIX, SOCK_STREAM, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::ranges::copy(path, address.sun_path);
    connected_ =
        ::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  }
  [[nodiscard]] bool connected() const { return connected_; }
  bool send(std::string_view bytes) const {
    return ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
           static_cast<ssize_t>(bytes.size());
  }
  void finish_sending() const { ::shutdown(fd_.get(), SHUT_WR); }
  // Everything until the server closes.
  [[nodiscard]] std::string drain() const {
    std::string all;
    char buffer[4096];
    for (ssize_t got; (got = ::recv(fd_.get(), buffer, sizeof buffer, 0)) > 0;) {
      all.append(buffer, static_cast<std::size_t>(got));
    }
    return all;
  }
  // Whether the server has closed its end; does not wait.
  [[nodiscard]] bool closed() const {
    char byte;
    const auto got = ::recv(fd_.get(), &byte, 1, MSG_DONTWAIT | MSG_PEEK);
    return got == 0 || (got < 0 && errno != EAGAIN);
  }
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  UniqueFd fd_;
  bool connected_ = false;
};

std::string frame(std::string_view body) {
  const Be32 length = static_cast<std::uint32_t>(body.size());
  return std::string(as_text(object_bytes(length))) + std::string(body);
}
std::string request(const std::string& command, const json& arguments = json::object()) {
  return frame(json{{"protocol", 1}, {"command", command}, {"arguments", arguments}}.dump());
}
// The messages of a byte stream.
std::vector<json> unframe(std::string_view bytes) {
  std::vector<json> messages;
  while (bytes.size() >= 4) {
    const std::uint32_t length = load<Be32>(bytes.data());
    if (bytes.size() - 4 < length) break;
    messages.push_back(json::parse(bytes.substr(4, length)));
    bytes.remove_prefix(4 + length);
  }
  EXPECT_TRUE(bytes.empty());
  return messages;
}

TEST_F(ControlTest, AnswersACallWithItsResult) {
  start();
  const auto result = call(path(Access::read), "echo", {{"name", "www"}, {"n", 7}});
  ASSERT_TRUE(result) << result.error().text();
  EXPECT_EQ(*result, (json{{"name", "www"}, {"n", 7}}));
}

TEST_F(ControlTest, PassesAnErrorOnWhole) {
  start();
  const auto result = call(path(Access::read), "refuse", json::object());
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::not_found);
  EXPECT_EQ(result.error().text(), "here: no such thing (look there)");
}

TEST_F(ControlTest, ChangesThingsOnTheWriteSocketOnly) {
  start();
  const auto refused = call(path(Access::read), "change", {{"value", 3}});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::denied);
  EXPECT_EQ(value_, 0);
  ASSERT_TRUE(call(path(Access::write), "change", {{"value", 3}}));
  EXPECT_EQ(value_, 3);
  EXPECT_TRUE(call(path(Access::write), "echo", json::object()));  // reading is allowed there, too
}

// Told of what changes something, whether it works or not, with who asked for it; and of nothing else.
TEST_F(ControlTest, AWitnessIsToldOfEveryChangeAndOfWhoAskedForIt) {
  server_->add({"look", Access::write, "looks where not all may",
                [](const json&) -> Result<json> { return json(); }, Pace::brief, false});
  server_->add({"rebuild", Access::write, "takes its time",
                [](const json&) -> Result<json> { return json(); }, Pace::lengthy});
  std::mutex mutex;
  std::vector<std::string> seen;
  server_->set_witness([&](const Peer& peer, const std::string& command, const json& arguments,
                           const Status& outcome) {
    const std::lock_guard lock(mutex);
    EXPECT_EQ(peer.uid, ::geteuid());
    EXPECT_EQ(peer.pid, ::getpid());
    seen.push_back(command + arguments.dump() +
                   (outcome ? std::string() : std::string(name_of(outcome.error().code))));
  });
  start();
  EXPECT_TRUE(call(path(Access::write), "change", {{"value", 3}}));
  EXPECT_FALSE(call(path(Access::write), "change", {{"valve", 3}}));
  EXPECT_TRUE(call(path(Access::write), "rebuild", json::object()));
  EXPECT_TRUE(call(path(Access::write), "look", json::object()));
  EXPECT_TRUE(call(path(Access::write), "echo", json::object()));
  EXPECT_FALSE(call(path(Access::write), "no-such", json::object()));
  EXPECT_FALSE(call(path(Access::read), "change", {{"value", 4}}));
  stop();
  EXPECT_EQ(seen, (std::vector<std::string>{R"(change{"value":3})", R"(change{"valve":3}invalid)",
                                            "rebuild{}", R"(change{"value":4}denied)"}));
  EXPECT_FALSE(server_->changes("look"));
  EXPECT_TRUE(server_->changes("rebuild"));
  EXPECT_FALSE(server_->changes("no-such"));
}

TEST_F(ControlTest, TurnsWhatAHandlerThrowsIntoAnError) {
  start();
  const auto result = call(path(Access::write), "change", {{"valve", 3}});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::invalid);
  EXPECT_NE(result.error().what.find("value"), std::string::npos) << result.error().what;
  EXPECT_TRUE(call(path(Access::read), "echo", json::object()));
}

TEST_F(ControlTest, ListsItsCommandsInOrder) {
  start();
  const auto result = call(path(Access::read), "commands", json::object());
  ASSERT_TRUE(result);
  ASSERT_EQ(result->size(), 7U);
  EXPECT_EQ(result->at(1),
            (json{{"name", "change"}, {"access", "write"}, {"summary", "changes something"}}));
}

TEST_F(ControlTest, SaysWhichCommandItDoesNotKnow) {
  start();
  const auto result = call(path(Access::read), "ecko", json::object());
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::not_found);
  EXPECT_EQ(result.error().what, "no command 'ecko'");
}

TEST_F(ControlTest, CarriesResultsOfManyMegabytesAndRefusesOnesThatAreTooLarge) {
  start();
  const auto large = call(path(Access::read), "large", {{"bytes", 15U << 20}});
  ASSERT_TRUE(large) << large.error().text();
  EXPECT_EQ(large->get_ref<const std::string&>().size(), 15U << 20);
  const auto too_large = call(path(Access::read), "large", {{"bytes", 16U << 20}});
  ASSERT_FALSE(too_large);
  EXPECT_EQ(too_large.error().code, ErrorCode::exhausted);
}

TEST_F(ControlTest, RepairsTextThatIsNotUtf8) {
  start();
  const auto result = call(path(Access::read), "broken-text", json::object());
  ASSERT_TRUE(result) << result.error().text();
  EXPECT_EQ(*result, "\xef\xbf\xbd\xef\xbf\xbd");
}

TEST_F(ControlTest, AnswersPipelinedRequestsInOrderAndThenTheEnd) {
  start();
  const RawPeer peer(path(Access::read));
  ASSERT_TRUE(peer.connected());
  std::string all;
  for (int i = 0; i < 100; ++i) all += request("echo", {{"i", i}});
  ASSERT_TRUE(peer.send(all));
  peer.finish_sending();
  const auto messages = unframe(peer.drain());
  ASSERT_EQ(messages.size(), 100U);
  for (std::size_t i = 0; i < 100; ++i) EXPECT_EQ(messages[i].at("result").at("i"), i);
}

TEST_F(ControlTest, ALengthyCommandHoldsUpNobodyButItsOwnConnection) {
  start();
  const RawPeer slow(path(Access::read));
  ASSERT_TRUE(slow.send(request("wait", {{"i", 1}}) + request("echo", {{"i", 2}})));
  slow.finish_sending();
  wait_for_waiting(1);
  EXPECT_TRUE(call(path(Access::read), "echo", json::object()));
  EXPECT_TRUE(call(path(Access::write), "change", {{"value", 7}}));
  let_go();
  const auto messages = unframe(slow.drain());
  ASSERT_EQ(messages.size(), 2U);
  EXPECT_EQ(messages[0].at("result").at("i"), 1);
  EXPECT_EQ(messages[1].at("result").at("i"), 2);
}

TEST_F(ControlTest, DropsNobodyWhoWaitsForALengthyCommand) {
  const RawPeer peer(path(Access::read));
  ASSERT_TRUE(peer.send(request("wait")));
  peer.finish_sending();
  while (waiting_ == 0) server_->poll_once(milliseconds(5));
  server_->drop_slow_peers(monotonic_now() + peer_patience + seconds(1));
  EXPECT_FALSE(peer.closed());
  let_go();
  start();
  EXPECT_EQ(unframe(peer.drain()).size(), 1U);
}

TEST_F(ControlTest, RunsSoManyLengthyCommandsAtOnceAndNoMore) {
  start();
  constexpr int callers = lengthy_max + 3;
  std::vector<RawPeer> peers;
  for (int i = 0; i < callers; ++i) {
    peers.emplace_back(path(Access::read));
    ASSERT_TRUE(peers.back().send(request("wait", {{"i", i}})));
    peers.back().finish_sending();
  }
  wait_for_waiting(lengthy_max);
  EXPECT_TRUE(call(path(Access::read), "echo", json::object()));
  let_go();
  for (int i = 0; i < callers; ++i) {
    const auto messages = unframe(peers[static_cast<std::size_t>(i)].drain());
    ASSERT_EQ(messages.size(), 1U);
    EXPECT_EQ(messages[0].at("result").at("i"), i);
  }
  EXPECT_EQ(most_waiting_, static_cast<int>(lengthy_max));
}

TEST_F(ControlTest, EndsOnlyWhenItsLengthyCommandsHave) {
  start();
  const RawPeer peer(path(Access::read));
  ASSERT_TRUE(peer.send(request("wait")));
  wait_for_waiting(1);
  stop();
  std::thread releaser([this] { let_go(); });
  server_->finish();
  EXPECT_EQ(waiting_, 0) << "its handler is done";
  releaser.join();
}

TEST_F(ControlTest, PutsARequestTogetherFromSingleBytes) {
  const RawPeer peer(path(Access::read));
  ASSERT_TRUE(peer.connected());
  server_->poll_once({});
  for (const char byte : request("echo", {{"a", 1}})) {
    ASSERT_TRUE(peer.send({&byte, 1}));
    server_->poll_once({});
  }
  peer.finish_sending();
  server_->poll_once({});
  const auto messages = unframe(peer.drain());
  ASSERT_EQ(messages.size(), 1U);
  EXPECT_EQ(messages[0].at("ok"), true);
}

TEST_F(ControlTest, AnswersABadMessageWithAnErrorAndCloses) {
  start();
  const std::string deep = std::string(nesting_max + 1, '[') + std::string(nesting_max + 1, ']');
  for (const std::string& bad :
       {frame(""), frame("nonsense"), frame("[]"), frame("{}"), frame(deep),
        frame(R"({"protocol":2,"command":"echo"})"), frame(R"({"protocol":1})"),
        frame(R"({"protocol":1,"command":7})"),
        frame(R"({"protocol":1,"command":"echo","arguments":[]})"),
        std::string("\xff\xff\xff\xff garbage"), std::string("\x00\x10\x00\x01", 4)}) {
    const RawPeer peer(path(Access::read));
    ASSERT_TRUE(peer.connected());
    ASSERT_TRUE(peer.send(bad + request("echo")));
    const auto messages = unframe(peer.drain());
    ASSERT_EQ(messages.size(), 1U) << bad;
    EXPECT_EQ(messages[0].at("ok"), false) << bad;
    EXPECT_FALSE(messages[0].at("error").at("what").get<std::string>().empty());
  }
  EXPECT_TRUE(call(path(Access::read), "echo", json::object()));
}

TEST_F(ControlTest, DropsAPeerThatMakesNoProgress) {
  const RawPeer silent(path(Access::read));
  const RawPeer slow(path(Access::read));
  ASSERT_TRUE(silent.connected() && slow.connected());
  server_->poll_once({});
  ASSERT_TRUE(slow.send(request("echo").substr(0, 7)));
  server_->poll_once({});
  server_->drop_slow_peers(monotonic_now() + peer_patience - seconds(1));
  EXPECT_FALSE(silent.closed());
  EXPECT_FALSE(slow.closed());
  server_->drop_slow_peers(monotonic_now() + peer_patience + seconds(1));
  EXPECT_TRUE(silent.closed());
  EXPECT_TRUE(slow.closed());
}

TEST_F(ControlTest, NeverBlocksOnAPeerThatDoesNotRead) {
  const RawPeer lazy(path(Access::read));
  ASSERT_TRUE(lazy.connected());
  ASSERT_TRUE(lazy.send(request("large", {{"bytes", 8U << 20}}) + request("echo")));
  for (int i = 0; i < 20; ++i) server_->poll_once({});
  const RawPeer other(path(Access::read));
  ASSERT_TRUE(other.send(request("echo")));
  other.finish_sending();
  for (int i = 0; i < 5; ++i) server_->poll_once({});
  EXPECT_EQ(unframe(other.drain()).size(), 1U);

  start();  // and the lazy one gets everything, once it reads
  lazy.finish_sending();
  EXPECT_EQ(unframe(lazy.drain()).size(), 2U);
}

TEST_F(ControlTest, KeepsWritersInWhenReadersFillTheirSocket) {
  std::vector<std::unique_ptr<RawPeer>> crowd;
  for (unsigned i = 0; i < connections_max; ++i) {
    crowd.push_back(std::make_unique<RawPeer>(path(Access::read)));
    ASSERT_TRUE(crowd.back()->connected());
    server_->poll_once({});
  }
  start();
  const auto refused = call(path(Access::read), "echo", json::object());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::exhausted);
  EXPECT_TRUE(call(path(Access::write), "echo", json::object()));
}

TEST_F(ControlTest, GivesItsSocketsTheirModes) {
  struct stat info{};
  ASSERT_EQ(::stat(path(Access::read).c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0666U);
  ASSERT_EQ(::stat(path(Access::write).c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600U);
}

TEST_F(ControlTest, KeepsASecondDaemonOutAndReplacesADeadOne) {
  const auto second = Server::open(files_.directory(), "daemon", ::geteuid());
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::conflict);
  EXPECT_TRUE(Server::open(files_.directory(), "other", ::geteuid()));

  server_.reset();
  EXPECT_FALSE(std::filesystem::exists(path(Access::read)));
  {  // what a killed daemon leaves: a bound socket that nobody listens at
    const UniqueFd dead(::socket(AF_UNIX, SOCK_STREAM, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::ranges::copy(path(Access::read), address.sun_path);
    ASSERT_EQ(::bind(dead.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  EXPECT_TRUE(Server::open(files_.directory(), "daemon", ::geteuid()));
}

TEST_F(ControlTest, LeavesAFileInItsWayAlone) {
  const auto blocked = files_.directory() + "/third.read.sock";
  std::ofstream(blocked) << "precious";
  const auto opened = Server::open(files_.directory(), "third", ::geteuid());
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, ErrorCode::conflict);
  EXPECT_EQ(std::filesystem::file_size(blocked), 8U);
}

TEST_F(ControlTest, RefusesARunDirectoryThatIsTooLong) {
  const auto opened =
      Server::open(files_.directory() + "/" + std::string(100, 'd'), "daemon", ::geteuid());
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, ErrorCode::invalid);
}

TEST_F(ControlTest, TurnsAwayAUserWithoutTheRightToWrite) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to become another user";
  constexpr uid_t stranger = 65534, operator_uid = 54321;
  auto opened = Server::open(files_.directory(), "shared", operator_uid);
  ASSERT_TRUE(opened) << opened.error().text();
  ::chmod(files_.directory().c_str(), 0755);
  std::vector<unsigned> denied;  // by the thread that polls
  opened->set_witness(
      [&](const Peer& peer, const std::string& command, const json&, const Status& outcome) {
        EXPECT_EQ(command, "");
        EXPECT_FALSE(outcome);
        denied.push_back(peer.uid);
      });
  std::atomic<bool> stop{false};
  std::thread poller([&] {
    while (!stop) opened->poll_once(milliseconds(5));
  });
  const auto where = socket_path(files_.directory(), "shared", Access::write);
  // Credentials are those at connect(2); setfsuid would not do, seteuid of one thread does.
  const auto call_as = [&](uid_t uid) {
    Result<json> result;
    std::thread([&] {
      ::syscall(117 /* setresuid, of this thread only */, -1, uid, -1);
      result = call(where, "commands", json::object());
    }).join();
    return result;
  };
  const auto refused = call_as(stranger);
  const auto taken = call_as(operator_uid);
  stop = true;
  poller.join();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::denied);
  EXPECT_TRUE(taken) << taken.error().text();
  EXPECT_EQ(denied, std::vector<unsigned>{stranger});
}

TEST(ControlCallTest, SaysThatNoDaemonIsThere) {
  const TemporaryFiles files;
  const auto result = call(files.directory() + "/none.sock", "status", json::object());
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::unavailable);
  EXPECT_EQ(result.error().what, "no daemon listens there");
  EXPECT_FALSE(result.error().hint.empty());
}

TEST(ControlCallTest, GivesUpOnADaemonThatDoesNotAnswer) {
  const TemporaryFiles files;
  auto server =
      Server::open(files.directory(), "stopped", ::geteuid());  // listens, is never polled
  ASSERT_TRUE(server);
  const auto result = call(socket_path(files.directory(), "stopped", Access::read), "status",
                           json::object(), milliseconds(20));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().what, "the daemon did not answer in time");
}

}  // namespace
}  // namespace pharos::control
