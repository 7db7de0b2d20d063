#include "pharos/dataplane/core/directories.hh"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "temporary_files.hh"

namespace pharos::dataplane {
namespace {

class DirectoriesTest : public ::testing::Test {
 protected:
  TemporaryFiles files_;
  const std::string& root_ = files_.directory();
};

TEST_F(DirectoriesTest, GivesTheUserWhatIsItsOwnAndNothingElse) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  const Account account{.uid = 4242, .gid = 4343};
  for (const char* name : {"/run", "/state", "/state/tables", "/run/dpdk"})
    std::filesystem::create_directory(root_ + name);
  for (const char* name : {"/run/dataplane.lock", "/run/controlplane.lock",
                           "/state/controlplane.db", "/state/tables/manifest"})
    ASSERT_EQ(::mknod((root_ + name).c_str(), S_IFREG | 0600, 0), 0);
  std::filesystem::create_symlink(root_ + "/state/controlplane.db", root_ + "/run/tables.sock");
  ASSERT_EQ(::chmod((root_ + "/run").c_str(), 0750), 0);
  ASSERT_TRUE(give_directories(root_ + "/run", root_ + "/state", account));
  const auto owner = [this](const std::string& name) {
    struct stat info{};
    return ::lstat((root_ + name).c_str(), &info) == 0 ? info.st_uid : 99999U;
  };
  EXPECT_EQ(owner("/run/dataplane.lock"), account.uid);
  EXPECT_EQ(owner("/state/tables/manifest"), account.uid);
  EXPECT_EQ(owner("/run/dpdk"), account.uid);
  EXPECT_EQ(owner("/run"), 0U);
  EXPECT_EQ(owner("/run/controlplane.lock"), 0U);
  EXPECT_EQ(owner("/state/controlplane.db"), 0U) << "a link was planted in the place of a socket";
  EXPECT_EQ(mode_of(root_ + "/run"), 01770U);
}

TEST_F(DirectoriesTest, LetsOneInstanceInAndNamesItToTheSecond) {
  auto first = lock_instance(root_);
  ASSERT_TRUE(first);
  const auto second = lock_instance(root_);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::conflict);
  EXPECT_NE(second.error().what.find("pid " + std::to_string(::getpid())), std::string::npos);
  first->reset();
  EXPECT_TRUE(lock_instance(root_));
}

TEST_F(DirectoriesTest, GivesTheLockBackWhenItsHolderDies) {
  const auto child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const auto lock = lock_instance(root_);
    ::_exit(lock ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
  EXPECT_TRUE(lock_instance(root_));
}

TEST_F(DirectoriesTest, DoesNotFollowALinkToTheLock) {
  std::filesystem::create_symlink("/tmp/elsewhere", root_ + "/dataplane.instance.lock");
  EXPECT_EQ(lock_instance(root_).error().code, ErrorCode::denied);
}

}  // namespace
}  // namespace pharos::dataplane
