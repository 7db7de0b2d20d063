// What `pharosctl capture` may ask for, and the life of a capture.
#include "pharos/dataplane/core/capture_commands.hh"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cstring>
#include <vector>

namespace pharos::dataplane {
namespace {

using nlohmann::json;

const std::vector<CapturePort> two_ports = {{"front", 3}, {"back", 4}};

Result<CaptureOrder> order(const json& arguments) {
  return capture_order_of(arguments, two_ports);
}
std::string error_of(const json& arguments) {
  const auto made = order(arguments);
  return made ? std::string() : made.error().text();
}

TEST(CaptureOrderTest, CutsAddressesUnlessItIsToldNotTo) {
  const auto usual = order({{"port", "front"}});
  ASSERT_TRUE(usual) << usual.error().text();
  EXPECT_EQ(usual->port, 3);
  EXPECT_EQ(usual->frame_bytes_max, capture_frame_bytes_max);
  ASSERT_TRUE(usual->mask);
  EXPECT_EQ(usual->mask->ipv4_prefix_bits, 24);
  EXPECT_EQ(usual->mask->ipv6_prefix_bits, 56);
  EXPECT_FALSE(usual->filter.dns_only());
  EXPECT_TRUE(order({{"port", "front"}, {"whole_addresses", false}})->mask);
  EXPECT_FALSE(order({{"port", "front"}, {"whole_addresses", true}})->mask);
  EXPECT_EQ(order({{"port", "front"}, {"ipv4_prefix", 8}})->mask->ipv4_prefix_bits, 8);
  EXPECT_NE(error_of({{"port", "front"}, {"ipv4_prefix", 25}}), "");
}

TEST(CaptureOrderTest, TakesTheOnlyPortWithoutItsName) {
  const std::vector<CapturePort> one = {{"front", 3}};
  EXPECT_EQ(capture_order_of(json::object(), one)->port_id, "front");
  EXPECT_EQ(error_of(json::object()),
            "arguments.port: there are several ports (one of front, back)");
  EXPECT_EQ(error_of({{"port", "side"}}),
            "arguments.port: there is no port 'side' (there are: front, back)");
  EXPECT_FALSE(capture_order_of(json::object(), {}));
}

TEST(CaptureOrderTest, ReadsNamesClientsAndRcodes) {
  using Reach = CaptureFilter::Reach;
  const auto reach = [](const char* name) {
    const auto made = order({{"port", "front"}, {"name", name}});
    EXPECT_TRUE(made) << made.error().text();
    return std::pair(dns::name_text(made->filter.name->view()), made->filter.reach);
  };
  EXPECT_EQ(reach("www.example.org"), std::pair(std::string("www.example.org."), Reach::name));
  EXPECT_EQ(reach("*.example.org."), std::pair(std::string("example.org."), Reach::below));
  EXPECT_EQ(reach(".example.org"), std::pair(std::string("example.org."), Reach::name_and_below));
  EXPECT_EQ(reach("."), std::pair(std::string("."), Reach::name_and_below));
  EXPECT_EQ(order({{"port", "front"}, {"rcode", "NXDOMAIN"}})->filter.rcode, 3);
  EXPECT_EQ(order({{"port", "front"}, {"client", "192.0.2.0/24"}})->filter.client->length, 24);
}

TEST(CaptureOrderTest, SaysWhatIsWrong) {
  for (const json& wrong : {json{{"name", "a..b"}},
                            {{"name", 5}},
                            {{"client", "192.0.2.1/24"}},
                            {{"client", "x"}},
                            {{"rcode", "BADVERS"}},
                            {{"rcode", 3}},
                            {{"frame_bytes", 59}},
                            {{"frame_bytes", 2049}},
                            {{"frame_bytes", -1}},
                            {{"frame_bytes", "60"}},
                            {{"memory_bytes", 1}},
                            {{"whole_addresses", "yes"}},
                            {{"port", 5}}}) {
    auto arguments = wrong;
    if (!arguments.contains("port")) arguments["port"] = "front";
    EXPECT_THAT(error_of(arguments), testing::HasSubstr("arguments.")) << wrong.dump();
  }
}

void put(CaptureSeat& seat, std::int64_t wall_ns, std::size_t bytes) {
  std::byte* record = seat.ring.reserve(sizeof(CapturedHead) + bytes);
  ASSERT_NE(record, nullptr);
  store(record, CapturedHead{.wall_ns = wall_ns, .frame_bytes = static_cast<std::uint32_t>(bytes)});
  std::memset(record + sizeof(CapturedHead), 1, bytes);
  seat.ring.commit();
}

TEST(CaptureSessionTest, GivesOutWhatAllWorkersCopiedPieceByPiece) {
  CaptureSession session(7, {}, 2, Instant{0});
  const auto watch = session.watch();
  for (int i = 0; i < 3; ++i) put(*(*watch.seats)[0], i, 100);
  put(*(*watch.seats)[1], 9, 100);
  std::vector<std::int64_t> times;
  const auto take = [&](const CapturedHead& head, ConstBytes frame) {
    EXPECT_EQ(frame.size(), 100U);
    times.push_back(head.wall_ns);
  };
  EXPECT_TRUE(session.read(150, Instant{1}, take));
  EXPECT_THAT(times, testing::ElementsAre(0, 1));
  EXPECT_FALSE(session.read(1U << 20, Instant{2}, take));
  EXPECT_THAT(times, testing::ElementsAre(0, 1, 2, 9));
  EXPECT_EQ(session.frames(), 4U);
  EXPECT_EQ(session.dropped(), 0U);
}

TEST(CaptureSessionTest, IsForsakenTenSecondsBehindTheLastLook) {
  CaptureSession session(1, {}, 1, Instant{0});
  EXPECT_FALSE(session.is_forsaken(Instant{0} + seconds(10)));
  EXPECT_TRUE(session.is_forsaken(Instant{0} + seconds(10) + nanoseconds(1)));
  session.read(1000, Instant{0} + seconds(8), [](const CapturedHead&, ConstBytes) {});
  EXPECT_FALSE(session.is_forsaken(Instant{0} + seconds(18)));
  EXPECT_TRUE(session.is_forsaken(Instant{0} + seconds(19)));
}

}  // namespace
}  // namespace pharos::dataplane
