// Bodies of requests and responses, as they come off the wire.
#include "pharos/shared/control_protocol.hh"

#include <gtest/gtest.h>

namespace pharos::control {
namespace {

using nlohmann::json;

TEST(ControlMessageTest, RefusesEveryTruncationOfARequest) {
  const std::string whole = R"({"protocol":1,"command":"echo","arguments":{"a":[1,"]}",2]}})";
  ASSERT_TRUE(parse_request(as_bytes(whole)));
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_FALSE(parse_request(as_bytes(std::string_view(whole).substr(0, size)))) << size;
  }
  EXPECT_FALSE(parse_request(as_bytes(whole + "}")));
}

TEST(ControlMessageTest, TakesNestingUpToItsLimit) {
  const auto nested = [](unsigned depth) {  // of arguments' one member, inside of two objects
    return R"({"protocol":1,"command":"c","arguments":{"a":)" + std::string(depth - 2, '[') +
           std::string(depth - 2, ']') + "}}";
  };
  EXPECT_TRUE(parse_request(as_bytes(nested(nesting_max))));
  EXPECT_FALSE(parse_request(as_bytes(nested(nesting_max + 1))));
  EXPECT_FALSE(parse_request(as_bytes(std::string(500'000, '['))));
}

TEST(ControlMessageTest, TakesCommandNamesUpTo64Bytes) {
  const auto named = [](std::size_t size) {
    return json{{"protocol", 1}, {"command", std::string(size, 'c')}}.dump();
  };
  EXPECT_FALSE(parse_request(as_bytes(named(0))));
  EXPECT_TRUE(parse_request(as_bytes(named(64))));
  EXPECT_FALSE(parse_request(as_bytes(named(65))));
}

TEST(ControlMessageTest, ReadsResponsesOfBothKinds) {
  EXPECT_EQ(*parse_response(as_bytes(R"({"protocol":1,"ok":true,"result":[1]})")), json({1}));
  EXPECT_TRUE(parse_response(as_bytes(R"({"protocol":1,"ok":true})"))->is_null());
  const auto failed = parse_response(
      as_bytes(R"({"protocol":1,"ok":false,"error":{"code":"conflict","what":"w","hint":5}})"));
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, ErrorCode::conflict);
  EXPECT_EQ(failed.error().text(), "w");
  EXPECT_FALSE(parse_response(as_bytes(R"({"protocol":1,"ok":false})")).error().what.empty());
  EXPECT_FALSE(parse_response(as_bytes(R"({"protocol":1,"ok":1,"result":1})")));
}

}  // namespace
}  // namespace pharos::control
