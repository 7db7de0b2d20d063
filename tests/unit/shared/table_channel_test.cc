// The tables socket: whole messages with their descriptors pass, anything else is refused and leaks nothing.
#include "pharos/shared/table_channel.hh"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace pharos::table_channel {
namespace {

unsigned open_fd_count() {
  unsigned count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd"))
    ++count;
  return count;
}

Hello sample_hello(std::uint32_t worker_count) {
  Hello hello{};
  hello.header = header_for(MessageType::hello);
  hello.worker_count = worker_count;
  hello.in_use = {1, 2};
  return hello;
}

class ChannelTest : public testing::Test {
 protected:
  ChannelTest() {
    int pair[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    near_ = UniqueFd(pair[0]);
    far_ = UniqueFd(pair[1]);
    for (auto& fd : memfds_) fd = UniqueFd(::memfd_create("channel_test", MFD_CLOEXEC));
  }
  [[nodiscard]] std::vector<int> fds(std::size_t count) const {
    std::vector<int> numbers;
    for (std::size_t i = 0; i < count; ++i) numbers.push_back(memfds_[i % memfds_.size()].get());
    return numbers;
  }
  template <typename T>
  Result<Received> pass(const T& message, std::size_t fd_count) {
    const auto sent = send(near_.get(), object_bytes(message), fds(fd_count));
    EXPECT_TRUE(sent) << sent.error().text();
    return receive(far_.get());
  }

  UniqueFd near_;
  UniqueFd far_;
  std::array<UniqueFd, 4> memfds_;
};

TEST_F(ChannelTest, PassesAllThreeMessages) {
  auto hello = pass(sample_hello(3), 3);
  ASSERT_TRUE(hello) << hello.error().text();
  EXPECT_EQ(hello->fds.size(), 3U);
  EXPECT_EQ(std::get<Hello>(hello->message).in_use, (Version{1, 2}));

  const ImageKind kinds[] = {ImageKind::ranking_delta, ImageKind::catalog};
  auto publish = pass(make_publish({3, 4}, kinds), 2);
  ASSERT_TRUE(publish) << publish.error().text();
  EXPECT_EQ(std::get<Publish>(publish->message).kinds[1], ImageKind::catalog);
  struct stat sent{}, got{};
  ASSERT_EQ(::fstat(memfds_[1].get(), &sent), 0);
  ASSERT_EQ(::fstat(publish->fds[1].get(), &got), 0);
  EXPECT_EQ(sent.st_ino, got.st_ino);
  EXPECT_EQ(::fcntl(publish->fds[1].get(), F_GETFD), FD_CLOEXEC);

  auto acknowledge =
      pass(make_acknowledge(Outcome::refused, {3, 4}, {1, 2}, std::string(1000, 'r')), 0);
  ASSERT_TRUE(acknowledge) << acknowledge.error().text();
  EXPECT_EQ(std::strlen(std::get<Acknowledge>(acknowledge->message).reason.data()), 255U);
}

TEST_F(ChannelTest, SaysThatNothingIsThereAndThatThePeerIsGone) {
  EXPECT_EQ(receive(far_.get()).error().code, ErrorCode::exhausted);
  near_.reset();
  const auto closed = receive(far_.get());
  EXPECT_EQ(closed.error().code, ErrorCode::unavailable);
  EXPECT_EQ(closed.error().what, "closed by peer");
  EXPECT_FALSE(send(far_.get(), object_bytes(sample_hello(0)), {}));
}

TEST_F(ChannelTest, RefusesEveryOtherNumberOfDescriptors) {
  const ImageKind kinds[] = {ImageKind::catalog, ImageKind::locale_map};
  for (std::size_t count = 0; count <= 5; ++count) {
    EXPECT_EQ(pass(make_publish({1, 1}, kinds), count).has_value(), count == 2) << count;
    EXPECT_EQ(pass(sample_hello(3), count).has_value(), count == 3) << count;
    EXPECT_EQ(pass(make_acknowledge(Outcome::adopted, {}, {}, ""), count).has_value(), count == 0)
        << count;
  }
}

TEST_F(ChannelTest, ClosesTheDescriptorsOfWhatItRefuses) {
  const auto before = open_fd_count();
  const ImageKind kinds[] = {ImageKind::catalog};
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(pass(make_publish({1, 1}, kinds), 60));
  EXPECT_EQ(open_fd_count(), before);
}

TEST_F(ChannelTest, RefusesMoreDescriptorsThanAnyMessageHas) {
  EXPECT_TRUE(pass(sample_hello(fds_max), fds_max));
  EXPECT_FALSE(send(near_.get(), object_bytes(sample_hello(fds_max + 1)), fds(fds_max + 1)));

  // A peer that does not use our send().
  const auto before = open_fd_count();
  const auto many = fds(fds_max + 40);
  auto hello = sample_hello(fds_max);
  iovec part{&hello, sizeof hello};
  alignas(cmsghdr) std::byte control[CMSG_SPACE((fds_max + 40) * sizeof(int))] = {};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  auto* rights = CMSG_FIRSTHDR(&header);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(many.size() * sizeof(int));
  std::memcpy(CMSG_DATA(rights), many.data(), many.size() * sizeof(int));
  ASSERT_EQ(::sendmsg(near_.get(), &header, 0), static_cast<ssize_t>(sizeof hello));
  EXPECT_FALSE(receive(far_.get()));
  EXPECT_EQ(open_fd_count(), before);
}

TEST_F(ChannelTest, RefusesMessagesThatAreLongerOrShorter) {
  std::vector<std::byte> bytes(400);
  const auto hello = sample_hello(0);
  std::memcpy(bytes.data(), &hello, sizeof hello);
  for (std::size_t length = 1; length <= bytes.size(); ++length) {
    ASSERT_TRUE(send(near_.get(), ConstBytes(bytes).first(length), {}));
    EXPECT_EQ(receive(far_.get()).has_value(), length == sizeof hello) << length;
  }
}

TEST(ChannelMessageTest, RefusesForgedFields) {
  const ImageKind kinds[] = {ImageKind::catalog, ImageKind::locale_map};
  const auto publish_with = [&](auto&& change) {
    auto publish = make_publish({1, 1}, kinds);
    change(publish);
    return parse_message(object_bytes(publish), 2).has_value();
  };
  EXPECT_TRUE(publish_with([](Publish&) {}));
  EXPECT_FALSE(publish_with([](Publish& p) { p.header.magic ^= 1; }));
  EXPECT_FALSE(publish_with([](Publish& p) { p.header.protocol_version = 2; }));
  EXPECT_FALSE(publish_with([](Publish& p) { p.header.type = static_cast<MessageType>(0); }));
  EXPECT_FALSE(publish_with([](Publish& p) { p.header.type = static_cast<MessageType>(9); }));
  EXPECT_FALSE(publish_with([](Publish& p) { p.header.type = MessageType::hello; }));
  EXPECT_FALSE(publish_with([](Publish& p) { p.image_count = 0; }));
  EXPECT_FALSE(publish_with([](Publish& p) { p.image_count = 5; }));
  EXPECT_FALSE(publish_with([](Publish& p) { p.image_count = 0xffffffff; }));
  EXPECT_FALSE(publish_with([](Publish& p) { p.kinds[1] = ImageKind::catalog; }));
  EXPECT_FALSE(publish_with([](Publish& p) { p.kinds[1] = static_cast<ImageKind>(0); }));
  EXPECT_FALSE(publish_with([](Publish& p) { p.kinds[1] = static_cast<ImageKind>(33); }));
  EXPECT_FALSE(publish_with([](Publish& p) { p.kinds[2] = ImageKind::ranking_base; }));

  auto acknowledge = make_acknowledge(Outcome::adopted, {}, {}, "");
  EXPECT_TRUE(parse_message(object_bytes(acknowledge), 0));
  acknowledge.outcome = static_cast<Outcome>(4);
  EXPECT_FALSE(parse_message(object_bytes(acknowledge), 0));
  acknowledge.outcome = Outcome::stale;
  acknowledge.reason.fill('x');
  EXPECT_FALSE(parse_message(object_bytes(acknowledge), 0));
}

class ChannelSocketTest : public testing::Test {
 protected:
  ChannelSocketTest() {
    char pattern[] = "/tmp/pharos_channel_test.XXXXXX";
    directory_ = ::mkdtemp(pattern);
    path_ = directory_ + "/tables.sock";
  }
  ~ChannelSocketTest() override { std::filesystem::remove_all(directory_); }
  std::string directory_;
  std::string path_;
};

TEST_F(ChannelSocketTest, ConnectsAPeerOfOurOwnUser) {
  const auto listener = listen_at(path_);
  ASSERT_TRUE(listener) << listener.error().text();
  struct stat about{};
  ASSERT_EQ(::stat(path_.c_str(), &about), 0);
  EXPECT_EQ(about.st_mode & 0777U, 0600U);
  EXPECT_EQ(accept_peer(listener->get(), 0).error().code, ErrorCode::exhausted);
  const auto client = connect_to(path_);
  ASSERT_TRUE(client) << client.error().text();
  const auto server = accept_peer(listener->get(), 0);
  ASSERT_TRUE(server) << server.error().text();
  ASSERT_TRUE(send(client->get(), object_bytes(sample_hello(0)), {}));
  EXPECT_TRUE(receive(server->get()));
  EXPECT_EQ(receive(server->get()).error().code, ErrorCode::exhausted);  // does not block
}

TEST_F(ChannelSocketTest, ReplacesADeadSocketOnly) {
  {
    ASSERT_TRUE(listen_at(path_));
  }  // closed without unlink, as after a kill
  const auto second = listen_at(path_);
  ASSERT_TRUE(second) << second.error().text();
  EXPECT_EQ(listen_at(path_).error().code, ErrorCode::conflict);

  const auto file = directory_ + "/file";
  std::ofstream(file) << "precious";
  EXPECT_EQ(listen_at(file).error().code, ErrorCode::conflict);
  EXPECT_TRUE(std::filesystem::exists(file));
  const auto link = directory_ + "/link";
  std::filesystem::create_symlink(file, link);
  EXPECT_EQ(listen_at(link).error().code, ErrorCode::conflict);
}

TEST_F(ChannelSocketTest, SaysWhyThereIsNoConnection) {
  const auto client = connect_to(path_);
  ASSERT_FALSE(client);
  EXPECT_EQ(client.error().code, ErrorCode::unavailable);
  EXPECT_NE(client.error().text().find("pharos-dataplane"), std::string::npos);
  EXPECT_EQ(listen_at(std::string(200, 'x')).error().code, ErrorCode::invalid);
  EXPECT_EQ(connect_to("").error().code, ErrorCode::invalid);
}

}  // namespace
}  // namespace pharos::table_channel
