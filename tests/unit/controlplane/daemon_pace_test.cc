// Nobody waits for a long command: not beacons, not other commands, not the engine.
#include <fcntl.h>
#include <sys/stat.h>

#include <iterator>
#include <optional>

#include "daemon_fixture.hh"

namespace pharos::controlplane {
namespace {

// The whole text of a file.
std::string text_of(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST_F(DaemonTest, GoesOnWhileAPlanTakesItsTime) {
  const auto daemon = start();
  // A zone whose file includes one that is read for as long as we want it to be.
  const auto part = directory_ + "/slow.part";
  ASSERT_EQ(::mkfifo(part.c_str(), 0600), 0);
  files_.write("slow.zone",
               "$ORIGIN slow.example.\n$TTL 60\n@ SOA ns a 1 60 60 60 60\n@ NS ns\n"
               "$INCLUDE slow.part\n");
  files_.write("slow.yaml", "zones:\n  - {id: slow.example, file: slow.zone}\n");
  std::optional<Result<nlohmann::json>> planned;
  std::atomic<bool> ended{false};
  std::thread planner([&] {
    planned = call("plan", {{"text", text_of(file()) + "include: [slow.yaml]\n"}});
    ended = true;
  });
  UniqueFd writer;
  while (!writer && !ended) {
    writer = UniqueFd(::open(part.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC));
    EXPECT_TRUE(writer || errno == ENXIO) << "no reader yet";
    std::this_thread::yield();
  }

  // The plan reads and waits. Everybody else, on both sockets, does not.
  EXPECT_TRUE(call("status", nlohmann::json::object(), control::Access::read));
  for (const char* list : {"sites", "services", "endpoints", "demand", "shares", "history"})
    EXPECT_TRUE(call(list, nlohmann::json::object(), control::Access::read)) << list;
  EXPECT_TRUE(call("endpoint-set", {{"service", "www"}, {"endpoint", "fra"}, {"state", "drain"}}));
  EXPECT_TRUE(call("reload")) << "a plan holds up no reload";
  daemon->loop().ask([](EngineSide& side) {
    side.engine.heard(0, {.metrics = {}, .interval_ms = 200, .leaving = false, .endpoints = {}}, 1,
                      7, side.now);
  });
  const auto heard =
      daemon->loop().ask([](EngineSide& side) { return side.engine.beacon_position(0).second; });
  EXPECT_EQ(heard, 7U);

  const std::string content = "ns A 192.0.2.1\n";
  EXPECT_EQ(::write(writer.get(), content.data(), content.size()),
            static_cast<ssize_t>(content.size()));
  writer.reset();
  planner.join();
  ASSERT_TRUE(planned && *planned) << planned->error().text();
  EXPECT_EQ((**planned)["changed"], (nlohmann::json{"zone slow.example. added"}));
}

TEST_F(DaemonTest, LongWorkOnTheEngineLetsOthersIn) {
  const auto daemon = start();
  unsigned pieces = 0;
  std::optional<std::thread> other;
  std::atomic<bool> came{false};
  daemon->loop().ask_in_slices([&](EngineSide&, const Slice& slice) {
    EXPECT_EQ(slice.fresh(), pieces == 0);
    while (!slice.over()) {
    }
    ++pieces;
    if (!other) other.emplace([&] { daemon->loop().ask([&](EngineSide&) { came = true; }); });
    return came.load();  // never, where nobody comes in between
  });
  other->join();
  EXPECT_GE(pieces, 2U);
}

TEST_F(DaemonTest, LongWorkBeginsAnewWhereTheWorldIsAnother) {
  const auto daemon = start();
  unsigned fresh = 0;
  std::optional<std::thread> reload;
  daemon->loop().ask_in_slices([&](EngineSide& side, const Slice& slice) {
    fresh += slice.fresh();
    if (!reload) {
      write_config(services("api", "[{id: fra, site: fra, addresses: [203.0.113.1]}]"));
      reload.emplace([&] { EXPECT_TRUE(call("reload")); });
    }
    return side.engine.world().service(0).id == "api";
  });
  reload->join();
  EXPECT_EQ(fresh, 2U);
}

}  // namespace
}  // namespace pharos::controlplane
