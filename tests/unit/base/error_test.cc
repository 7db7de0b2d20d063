// Errors as people read them.
#include "pharos/base/error.hh"

#include <gtest/gtest.h>

#include <cerrno>

namespace pharos {
namespace {

TEST(ErrorTest, SaysWhereWhatAndWhatToDo) {
  const Error error{ErrorCode::invalid, "TTL is negative", "zone:3", "write a TTL from 0"};
  EXPECT_EQ(error.text(), "zone:3: TTL is negative (write a TTL from 0)");
  EXPECT_EQ((Error{ErrorCode::invalid, "bad", "", ""}.text()), "bad");
}

TEST(ErrorTest, GathersPlacesOnItsWayUp) {
  const auto error =
      Error{ErrorCode::conflict, "twice", "", ""}.in("endpoints[1]").in("services[2]");
  EXPECT_EQ(error.text(), "services[2]: endpoints[1]: twice");
  EXPECT_EQ(error.code, ErrorCode::conflict);
}

TEST(ErrorTest, TakesTheReasonFromErrno) {
  errno = ENOENT;
  const auto failed = fail_errno("open", "/nowhere");
  EXPECT_EQ(failed.error().code, ErrorCode::unavailable);
  EXPECT_EQ(failed.error().text(), "/nowhere: open: No such file or directory");
}

}  // namespace
}  // namespace pharos
