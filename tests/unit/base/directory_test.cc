#include "pharos/base/directory.hh"

#include <sys/stat.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "temporary_files.hh"

namespace pharos {
namespace {

class DirectoryTest : public testing::Test {
 protected:
  TemporaryFiles files_;
  const std::string& root_ = files_.directory();
};

TEST_F(DirectoryTest, IsMadeWithItsParentsAndTakenAgain) {
  const auto path = root_ + "/a/b/run/";
  ASSERT_TRUE(prepare_directory(path));
  EXPECT_EQ(mode_of(root_ + "/a/b/run") & ~0750U, 0U);
  EXPECT_TRUE(prepare_directory(path));
}

TEST_F(DirectoryTest, SymbolicLinksFilesRelativePathsAndOpenDoorsAreRefused) {
  std::filesystem::create_directory(root_ + "/real");
  std::filesystem::create_symlink(root_ + "/real", root_ + "/link");
  EXPECT_EQ(prepare_directory(root_ + "/link").error().code, ErrorCode::denied);
  ASSERT_EQ(::mknod((root_ + "/file").c_str(), S_IFREG | 0600, 0), 0);
  EXPECT_EQ(prepare_directory(root_ + "/file").error().code, ErrorCode::denied);
  EXPECT_EQ(prepare_directory("run").error().code, ErrorCode::invalid);
  EXPECT_EQ(prepare_directory("").error().code, ErrorCode::invalid);
  ASSERT_EQ(::chmod((root_ + "/real").c_str(), 0777), 0);
  EXPECT_EQ(prepare_directory(root_ + "/real").error().code, ErrorCode::denied);
  ASSERT_EQ(::chmod((root_ + "/real").c_str(), 01777), 0);
  EXPECT_EQ(prepare_directory(root_ + "/real").error().code, ErrorCode::denied);
}

TEST_F(DirectoryTest, OfAnotherUserOrOpenToAnotherGroupIsRefused) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  const Account other{.uid = 4242, .gid = 4343};
  const auto path = root_ + "/run";
  std::filesystem::create_directory(path);
  ASSERT_EQ(::chmod(path.c_str(), 0770), 0);
  EXPECT_TRUE(prepare_directory(path)) << "our own group";
  ASSERT_EQ(::chown(path.c_str(), 0, 4343), 0);
  EXPECT_EQ(prepare_directory(path).error().code, ErrorCode::denied) << "another group";
  EXPECT_TRUE(prepare_directory(path, 0750, {&other, 1}));
  ASSERT_EQ(::chmod(path.c_str(), 01770), 0);
  EXPECT_TRUE(prepare_directory(path)) << "its members cannot touch what is ours";
  ASSERT_EQ(::chown(path.c_str(), 4242, 0), 0);
  EXPECT_EQ(prepare_directory(path).error().code, ErrorCode::denied) << "another owner";
  EXPECT_TRUE(prepare_directory(path, 0750, {&other, 1}));
}

TEST_F(DirectoryTest, OnlyARegularFileMayStandInThePlaceOfAFile) {
  EXPECT_TRUE(check_regular_or_absent(root_ + "/absent"));
  std::ofstream(root_ + "/file") << "x";
  EXPECT_TRUE(check_regular_or_absent(root_ + "/file"));
  std::filesystem::create_symlink(root_ + "/file", root_ + "/link");
  EXPECT_EQ(check_regular_or_absent(root_ + "/link").error().code, ErrorCode::denied);
  ASSERT_EQ(::mkfifo((root_ + "/pipe").c_str(), 0600), 0);
  EXPECT_EQ(check_regular_or_absent(root_ + "/pipe").error().code, ErrorCode::denied);
}

}  // namespace
}  // namespace pharos
