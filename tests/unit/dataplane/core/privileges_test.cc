// Rights given up in a child with threads of every sort, read back from /proc; and directories handed to another user.
#include "pharos/dataplane/core/privileges.hh"

#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <thread>

namespace pharos::dataplane {
namespace {

constexpr Account stranger{.uid = 4242, .gid = 4343};

using Standing = std::map<std::string, std::string>;

Standing standing_of(const std::filesystem::path& task) {
  Standing fields;
  std::ifstream in(task / "status");
  for (std::string line; std::getline(in, line);) {
    const auto colon = line.find(":\t");
    if (colon != std::string::npos) fields[line.substr(0, colon)] = line.substr(colon + 2);
  }
  return fields;
}

std::vector<Standing> standings() {
  std::vector<Standing> all;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task"))
    all.push_back(standing_of(task.path()));
  return all;
}

// The exit code of `body` in a child.
int in_child(const std::function<int()>& body) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(body());
  int status = 0;
  if (::waitpid(child, &status, 0) != child) return -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

class PrivilegesTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!sandbox_is_possible()) GTEST_SKIP() << "sanitizers make calls of their own";
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    char name[] = "/tmp/pharos-privileges-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    root_ = name;
  }
  void TearDown() override {
    if (!root_.empty()) std::filesystem::remove_all(root_);
  }
  std::string root_;
};

// Threads that wait until told to end.
struct Threads {
  std::atomic<bool> ending{false};
  std::atomic<int> ready{0};
  std::vector<std::thread> threads;

  void wait() {
    ++ready;
    while (!ending) ::usleep(1000);
  }
  explicit Threads(int count) {
    for (int i = 0; i < count; ++i) {
      threads.emplace_back([this] { wait(); });
    }
    while (ready != count) ::usleep(1000);
  }
  ~Threads() {
    ending = true;
    for (auto& thread : threads) thread.join();
  }
};

TEST_F(PrivilegesTest, EveryThreadLosesAllCapabilitiesAndGetsAFilter) {
  EXPECT_EQ(in_child([] {
              if (!prepare_sandbox({})) return 1;
              Threads threads(4);
              const auto deaf = drop_privileges({});
              if (!deaf || !deaf->empty()) return 2;
              const auto all = standings();
              if (all.size() != 5) return 3;
              int filtered = 0;
              for (auto standing : all) {
                for (const char* set : {"CapEff", "CapPrm", "CapInh", "CapAmb", "CapBnd"}) {
                  if (standing[set] != "0000000000000000") return 4;
                }
                if (standing["NoNewPrivs"] != "1") return 5;
                if (standing["Uid"] != "0\t0\t0\t0") return 6;
                filtered += standing["Seccomp"] == "2" ? 1 : 0;
              }
              return filtered == 4 ? 0 : 7;  // this thread enters later
            }),
            0);
}

TEST_F(PrivilegesTest, EveryThreadBecomesTheUserAndTheControlThreadKeepsWhatItIsPermitted) {
  EXPECT_EQ(in_child([] {
              if (!prepare_sandbox({})) return 1;
              Threads threads(3);
              const auto bit = std::uint64_t{1} << CAP_NET_ADMIN;
              const auto deaf = drop_privileges({.become = stranger, .closing_capabilities = bit});
              if (!deaf || !deaf->empty()) return 2;
              int permitted = 0;
              for (auto standing : standings()) {
                if (standing["Uid"] != "4242\t4242\t4242\t4242") return 3;
                if (standing["Gid"] != "4343\t4343\t4343\t4343") return 4;
                if (standing["Groups"] != "4343 ") return 5;
                if (standing["CapEff"] != "0000000000000000") return 6;
                permitted += standing["CapPrm"] == "0000000000001000" ? 1 : 0;
              }
              if (permitted != 1) return 7;
              raise_closing_capabilities();
              auto own = standing_of("/proc/thread-self");
              if (own["CapEff"] != "0000000000001000") return 8;
              confine_this_thread(ThreadKind::control);
              own = standing_of("/proc/thread-self");
              return own["CapPrm"] == "0000000000000000" && own["Seccomp"] == "2" ? 0 : 9;
            }),
            0);
}

TEST_F(PrivilegesTest, AThreadThatHearsNoSignalIsNamed) {
  EXPECT_EQ(in_child([] {
              std::atomic<bool> ready{false}, ending{false};
              std::thread thread([&] {
                sigset_t all;
                sigfillset(&all);
                ::pthread_sigmask(SIG_SETMASK, &all, nullptr);
                ::pthread_setname_np(::pthread_self(), "deaf");
                ready = true;
                while (!ending) ::usleep(1000);
              });
              while (!ready) ::usleep(1000);
              const auto deaf = drop_privileges({});
              const bool named = deaf && deaf->size() == 1 && deaf->front().starts_with("deaf ");
              ending = true;
              thread.join();
              return named ? 0 : 1;
            }),
            0);
}

TEST_F(PrivilegesTest, ATreeIsGivenWithoutFollowingLinks) {
  namespace fs = std::filesystem;
  const auto tree = root_ + "/tree";
  fs::create_directories(tree + "/inner");
  std::ofstream(tree + "/inner/file") << "x";
  std::ofstream(root_ + "/other") << "x";
  fs::create_symlink(root_ + "/other", tree + "/link");
  fs::create_hard_link(root_ + "/other", tree + "/second-name");
  ASSERT_TRUE(give_tree(tree, stranger));
  const auto owner = [](const std::string& path) {
    struct stat info{};
    return ::lstat(path.c_str(), &info) == 0 ? info.st_uid : 99999U;
  };
  EXPECT_EQ(owner(tree), stranger.uid);
  EXPECT_EQ(owner(tree + "/inner"), stranger.uid);
  EXPECT_EQ(owner(tree + "/inner/file"), stranger.uid);
  EXPECT_EQ(owner(root_ + "/other"), 0U) << "behind a link, and by a second name";
  EXPECT_EQ(owner(tree + "/link"), 0U);
  EXPECT_TRUE(give_tree(root_ + "/absent", stranger));
  fs::create_symlink(tree, root_ + "/door");
  EXPECT_FALSE(give_tree(root_ + "/door", stranger));
}

TEST_F(PrivilegesTest, ASharedDirectoryLetsTheUserInAndKeepsOthersFiles) {
  ASSERT_EQ(::chmod(root_.c_str(), 0750), 0);
  ASSERT_TRUE(share_directory(root_, stranger, true));
  struct stat info{};
  ASSERT_EQ(::stat(root_.c_str(), &info), 0);
  EXPECT_EQ(info.st_uid, 0U);
  EXPECT_EQ(info.st_gid, stranger.gid);
  EXPECT_EQ(info.st_mode & 07777U, 01770U);
  std::ofstream(root_ + "/roots") << "x";
  EXPECT_EQ(in_child([this] {
              if (::setresgid(stranger.gid, stranger.gid, stranger.gid) != 0 ||
                  ::setresuid(stranger.uid, stranger.uid, stranger.uid) != 0)
                return 1;
              if (::open((root_ + "/own").c_str(), O_CREAT | O_RDWR, 0600) < 0) return 2;
              if (::unlink((root_ + "/roots").c_str()) == 0) return 3;
              return ::unlink((root_ + "/own").c_str()) == 0 ? 0 : 4;
            }),
            0);
}

TEST_F(PrivilegesTest, AUserThatIsNotThereIsAnError) {
  EXPECT_EQ(account_of(0)->uid, 0U);
  EXPECT_EQ(account_of(3999999999U).error().code, ErrorCode::not_found);
}

}  // namespace
}  // namespace pharos::dataplane
