#include "pharos/dataplane/core/directories.hh"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

namespace pharos::dataplane {
namespace {

class DirectoriesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/pharos-directories-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    root_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(root_); }
  [[nodiscard]] static unsigned mode_of(const std::string& path) {
    struct stat info{};
    return ::stat(path.c_str(), &info) == 0 ? info.st_mode & 07777U : 0U;
  }

  std::string root_;
};

TEST_F(DirectoriesTest, MakesADirectoryWithItsParentsAndTakesItAgain) {
  const auto path = root_ + "/a/b/run/";
  ASSERT_TRUE(prepare_directory(path));
  EXPECT_EQ(mode_of(root_ + "/a/b/run") & ~0750U, 0U);
  EXPECT_TRUE(prepare_directory(path));
}

TEST_F(DirectoriesTest, RefusesSymbolicLinksFilesRelativePathsAndOpenDoors) {
  std::filesystem::create_directory(root_ + "/real");
  std::filesystem::create_symlink(root_ + "/real", root_ + "/link");
  EXPECT_EQ(prepare_directory(root_ + "/link").error().code, ErrorCode::denied);
  ASSERT_EQ(::mknod((root_ + "/file").c_str(), S_IFREG | 0600, 0), 0);
  EXPECT_EQ(prepare_directory(root_ + "/file").error().code, ErrorCode::denied);
  EXPECT_EQ(prepare_directory("run").error().code, ErrorCode::invalid);
  EXPECT_EQ(prepare_directory("").error().code, ErrorCode::invalid);
  ASSERT_EQ(::chmod((root_ + "/real").c_str(), 0777), 0);
  EXPECT_EQ(prepare_directory(root_ + "/real").error().code, ErrorCode::denied);
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
