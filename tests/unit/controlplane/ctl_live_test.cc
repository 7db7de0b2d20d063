// pharosctl watch, top and failover-time: what they tell of snapshots, and their loops with daemons and clocks of our own.
#include "pharos/controlplane/control/failover.hh"
#include "pharos/controlplane/ctl/live.hh"
#include "pharos/controlplane/ctl/view.hh"

#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

namespace pharos::controlplane::ctl {
namespace {

using nlohmann::json;

const Snapshot calm = json::parse(R"({
  "dataplane": {
    "status": {"pid": 11, "state": "running", "alarms": [], "uptime_s": 60, "version_in_use": {"epoch": 3, "generation": 7}},
    "stats": {"counters": {"answered": 1000, "received_packets": 1100, "nxdomain": 5},
              "cores": [{"core": 2, "role": "worker", "busy_ratio": 0.5}, {"core": 0, "role": "kernel lane"}]},
    "ports": [{"id": "front", "link": "up"}]},
  "controlplane": {
    "status": {"pid": 12, "alarms": ["old one"], "uptime_s": 61},
    "stats": {"counters": {"engine_rounds": 10}},
    "sites": [{"id": "fra", "state": "up"}, {"id": "nyc", "state": "up"}],
    "services": [{"id": "www", "healthy": 2, "total": 2, "panic": false, "ttl_s": 20}],
    "endpoints": [{"service": "www", "id": "a", "state": "up", "override": "auto", "weight": 1, "score": 0.2},
                  {"service": "www", "id": "b", "state": "up", "override": "auto", "weight": 1, "score": 0.9}],
    "generations": [{"epoch": 3, "generation": 7, "outcome": "pending", "kinds": ["ranking delta"], "bytes": 768}]}
})");

std::vector<std::string> texts(const Snapshot& before, const Snapshot& after) {
  std::vector<std::string> all;
  for (const auto& event : events_between(before, after)) all.push_back(event.text);
  return all;
}

TEST(CtlEventsTest, TellsNothingWhereNothingHappened) {
  EXPECT_TRUE(events_between(calm, calm).empty());
}

TEST(CtlEventsTest, TellsEveryKindOfChange) {
  auto after = calm;
  auto& control = after["controlplane"];
  after["dataplane"]["ports"][0]["link"] = "down";
  control["sites"][0]["state"] = "suspect";
  control["endpoints"][0]["state"] = "draining";
  control["endpoints"][0]["override"] = "drain";
  control["endpoints"][0]["reason"] = "draining by the operator";
  control["endpoints"][1]["weight"] = 3;
  control["services"][0]["healthy"] = 1;
  control["services"][0]["panic"] = true;
  control["services"][0]["ttl_s"] = 5;
  control["generations"][0]["outcome"] = "adopted";
  const json refused = {{"epoch", 3},    {"generation", 8},           {"outcome", "refused"},
                        {"bytes", 1536}, {"kinds", {"ranking base"}}, {"reason", "too old"}};
  control["generations"].insert(control["generations"].begin(), refused);
  control["status"]["alarms"] = {"new one"};
  const std::vector<std::string> expected = {
      "port front: link: up -> down",
      "site fra: up -> suspect",
      "endpoint www/a: up -> draining, by the operator: drain: draining by the operator",
      "endpoint www/b: weight: 1 -> 3",
      "service www: 1 of 2 endpoints healthy, before 2",
      "service www panics: too little of it is healthy",
      "service www: TTL: 20 -> 5",
      "tables 3.7 adopted: ranking delta, 768 B",
      "tables 3.8 refused: ranking base, 1.5 KiB: too old",
      "alarm: new one",
      "over: old one"};
  EXPECT_EQ(texts(calm, after), expected);
}

TEST(CtlEventsTest, TellsOfDaemonsThatGoComeAndStartAnew) {
  auto gone = calm;
  gone["dataplane"] = nullptr;
  EXPECT_EQ(texts(calm, gone), std::vector<std::string>{"pharos-dataplane does not answer"});
  EXPECT_EQ(texts(gone, calm), std::vector<std::string>{"pharos-dataplane answers, pid 11"});
  auto anew = calm;
  anew["controlplane"]["status"]["pid"] = 99;
  EXPECT_EQ(texts(calm, anew),
            std::vector<std::string>{"pharos-controlplane was started anew, pid 99"});
  auto fewer = calm;
  fewer["controlplane"]["sites"].erase(1);
  EXPECT_EQ(texts(calm, fewer), std::vector<std::string>{"site nyc is gone"});
  EXPECT_EQ(texts(fewer, calm), std::vector<std::string>{"site nyc is new"});
}

TEST(CtlEventsTest, BearsSnapshotsOfAnyShape) {
  for (const char* text :
       {"null", "[]", "7", R"({"dataplane": 1, "controlplane": {"sites": {}, "endpoints": [1, null],
       "generations": "x", "status": {"alarms": 5}}})"}) {
    const auto odd = json::parse(text);
    for (const auto& [before, after] :
         {std::pair(odd, calm), std::pair(calm, odd), std::pair(odd, odd)}) {
      EXPECT_NO_THROW((void)events_between(before, after)) << text;
      EXPECT_NO_THROW((void)top_frame(before, after, seconds(1), 5, true)) << text;
    }
  }
}

TEST(CtlTopTest, ShowsRatesRanksAndWhatIsLeftOut) {
  auto after = calm;
  after["dataplane"]["stats"]["counters"] = {
      {"answered", 31'000}, {"received_packets", 33'100}, {"nxdomain", 25}};
  after["controlplane"]["stats"]["counters"]["engine_rounds"] = 14;
  const auto frame = top_frame(calm, after, seconds(2), 1, false);
  EXPECT_NE(frame.find("15.0k/s answered of 16.0k/s received; busy: core 2 50.0%"),
            std::string::npos)
      << frame;
  EXPECT_NE(frame.find("rank changes"), std::string::npos);
  EXPECT_NE(frame.find("2/s"), std::string::npos);
  EXPECT_NE(frame.find("ALARM           old one"), std::string::npos);
  EXPECT_NE(frame.find("received_packets"), std::string::npos);
  EXPECT_EQ(frame.find("nxdomain"), std::string::npos) << "one row was asked for";
  EXPECT_EQ(frame.find("MAX ERROR"), std::string::npos) << "nothing is known of names";
  after["dataplane"]["names"]["names"] = {
      {{"name", "www.example."}, {"per_second", 1234.0}, {"share", 0.5}},
      {{"name", "other.example."}, {"per_second", 12.0}, {"share", 0.01}}};
  const auto named = top_frame(calm, after, seconds(2), 1, false);
  EXPECT_NE(named.find("www.example.   1.2k/s"), std::string::npos) << named;
  EXPECT_EQ(named.find("other.example."), std::string::npos) << "one row was asked for";
  // The endpoint with the better score stands first; the other is one more.
  EXPECT_NE(frame.find("www/b"), std::string::npos);
  EXPECT_EQ(frame.find("www/a"), std::string::npos);
  EXPECT_NE(frame.find("... and 1 more"), std::string::npos);
  // A counter that starts anew is no rate.
  EXPECT_NE(top_frame(after, calm, seconds(2), 5, false).find("- answered of - received"),
            std::string::npos);
}

// Daemons that go through a list of snapshots, one a look, and a clock that moves with the pauses.
struct Stage {
  std::vector<Snapshot> snapshots;
  std::size_t looks = 0;
  Instant clock{};
  std::vector<Duration> pauses = {};

  LiveSource source() {
    return {.ask = [this](const char* daemon, const char* command) -> Result<json> {
              const auto& now = snapshots[std::min(looks, snapshots.size() - 1)];
              if (!now.contains(daemon) || !now[daemon].is_object())
                return fail(ErrorCode::unavailable, std::string(daemon) + " is not there");
              if (!now[daemon].contains(command))
                return fail(ErrorCode::not_found, std::string("no command ") + command);
              return now[daemon][command];
            },
            .pause =
                [this](Duration time) {
                  ++looks;
                  clock = clock + time;
                  pauses.push_back(time);
                },
            .now = [this] { return clock; }};
  }
};

TEST(CtlLiveTest, WatchPrintsEventsAsTheyCome) {
  auto down = calm;
  down["controlplane"]["sites"][1]["state"] = "down";
  Stage stage{.snapshots = {calm, calm, down, calm}};
  std::ostringstream out, error;
  ASSERT_TRUE(watch(stage.source(), {.interval = milliseconds(250), .rounds = 3}, {out, error}));
  EXPECT_EQ(stage.pauses, std::vector<Duration>(3, milliseconds(250)));
  const auto text = out.str();
  EXPECT_EQ(std::ranges::count(text, '\n'), 2) << text;
  EXPECT_LT(text.find("site nyc: up -> down"), text.find("site nyc: down -> up")) << text;

  Stage again{.snapshots = {calm, down}};
  std::ostringstream lines;
  ASSERT_TRUE(watch(again.source(), {.rounds = 1, .as_json = true}, {lines, error}));
  const auto line = json::parse(lines.str());
  EXPECT_EQ(line["kind"], "site");
  EXPECT_EQ(line["text"], "site nyc: up -> down");
  EXPECT_GT(line["time_s"].get<double>(), 1e9);
}

TEST(CtlLiveTest, FailsWhereNobodyAnswersAndGoesOnWhereOneDoes) {
  Stage nobody{.snapshots = {json::object()}};
  std::ostringstream out, error;
  const auto failed = watch(nobody.source(), {.rounds = 1}, {out, error});
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, ErrorCode::unavailable);
  EXPECT_FALSE(top(nobody.source(), {.rounds = 1}, {out, error}));
  auto half = calm;
  half["controlplane"] = nullptr;
  Stage one{.snapshots = {half, calm}};
  ASSERT_TRUE(watch(one.source(), {.rounds = 1}, {out, error}));
  EXPECT_NE(out.str().find("controlplane is not there"), std::string::npos);
  EXPECT_NE(out.str().find("pharos-controlplane answers, pid 12"), std::string::npos);
}

TEST(CtlLiveTest, TopClearsScreensOnlyAndEndsWhereItsOutputIsLost) {
  Stage stage{.snapshots = {calm}};
  std::ostringstream plain, screen, error;
  ASSERT_TRUE(top(stage.source(), {.rounds = 2}, {plain, error}));
  EXPECT_EQ(plain.str().find('\033'), std::string::npos);
  ASSERT_TRUE(top(stage.source(), {.rounds = 2, .screen = true}, {screen, error}));
  EXPECT_EQ(screen.str().find("\033[H\033[2J"), 0U);
  plain.setstate(std::ios::badbit);
  EXPECT_FALSE(top(stage.source(), {.rounds = 0}, {plain, error}));
  EXPECT_FALSE(watch(stage.source(), {.rounds = 0}, {plain, error}));
}

TEST(FailoverTimeTest, AddsWhatEachCauseTakesAtWorst) {
  const FailoverInputs inputs{.interval = milliseconds(200),
                              .down_silence = milliseconds(620),
                              .fall = seconds(2),
                              .publish = milliseconds(3),
                              .ttl = seconds(20)};
  const auto silence = failover_time(FailoverCause::silence, inputs);
  EXPECT_EQ(silence.beacon, milliseconds(200));
  EXPECT_EQ(silence.detection, milliseconds(420));
  EXPECT_EQ(silence.hold, Duration{});
  EXPECT_EQ(silence.total(), milliseconds(20'623));
  EXPECT_EQ(failover_time(FailoverCause::report, inputs).total(), milliseconds(20'203));
  const auto overload = failover_time(FailoverCause::overload, inputs);
  EXPECT_EQ(overload.hold, milliseconds(2200));
  EXPECT_EQ(overload.total(), milliseconds(22'403));
}

TEST(FailoverTimeTest, AddsTheTimeOfChecksAndProbes) {
  FailoverInputs inputs{.interval = milliseconds(200),
                        .down_silence = milliseconds(620),
                        .check = milliseconds(1300),
                        .probes = {.beacon = seconds(1), .detection = milliseconds(5400)},
                        .fall = seconds(2),
                        .publish = milliseconds(3),
                        .ttl = seconds(20)};
  EXPECT_EQ(failover_time(FailoverCause::report, inputs).total(), milliseconds(21'503));
  const auto probes = failover_time(FailoverCause::probes, inputs);
  EXPECT_EQ(probes.beacon, seconds(1)) << "of who looks, and not of the site that is looked at";
  EXPECT_EQ(probes.total(), milliseconds(26'403));
  EXPECT_EQ(probes.settled(), probes.total()) << "nothing is shared out";
  inputs.assign = milliseconds(230);
  EXPECT_EQ(failover_time(FailoverCause::probes, inputs).total(), probes.total());
  EXPECT_EQ(failover_time(FailoverCause::probes, inputs).settled(), milliseconds(26'636));
}

TEST(FailoverTimeTest, TheVoteThatMakesTheQuorumDecides) {
  const auto told = [](std::int64_t s) { return Notice{.beacon = {}, .detection = seconds(s)}; };
  const std::vector<Notice> three{
      told(9), told(1), {.beacon = seconds(3), .detection = seconds(2)}};
  EXPECT_EQ(deciding_notice(three, 0.5, 2)->total(), seconds(5)) << "two of three, the later one";
  EXPECT_EQ(deciding_notice(three, 0.5, 2)->beacon, seconds(3));
  EXPECT_EQ(deciding_notice(three, 0, 1)->total(), seconds(1)) << "any one of them";
  EXPECT_EQ(deciding_notice(three, 0.7, 1)->total(), seconds(9)) << "all of them";
  EXPECT_EQ(deciding_notice({told(4), told(2)}, 0.5, 2)->total(), seconds(4)) << "half is no more";
  EXPECT_FALSE(deciding_notice(three, 1, 1)) << "no number of them suffices";
  EXPECT_FALSE(deciding_notice(three, 0.5, 4)) << "too few look";
  EXPECT_FALSE(deciding_notice({}, 0.5, 0));
}

TEST(FailoverTimeTest, StretchesShortAnswersToWhatResolversKeep) {
  FailoverInputs inputs{.interval = seconds(1),
                        .down_silence = milliseconds(500),
                        .fall = {},
                        .publish = {},
                        .ttl = seconds(20),
                        .resolver_ttl_min = seconds(30)};
  const auto time = failover_time(FailoverCause::silence, inputs);
  EXPECT_EQ(time.stretch, seconds(10));
  EXPECT_EQ(time.detection, Duration{}) << "never less than nothing";
  EXPECT_EQ(time.total(), seconds(31));
  inputs.ttl = seconds(60);
  EXPECT_EQ(failover_time(FailoverCause::silence, inputs).stretch, Duration{});
}

TEST(FailoverTimeTest, IsShownWithItsParts) {
  const auto text =
      render("failover-time", json::parse(R"({"name": "www.example.org", "service": "www",
    "policy": "ranked", "ttl_now_s": 5, "ttl_max_s": 20, "worst_s": 20.6, "causes": [{"endpoint": "a", "site": "fra",
    "cause": "silence", "beacon_s": 0.2, "detection_s": 0.42, "hold_s": 0, "publish_s": 0.003, "ttl_s": 20,
    "stretch_s": 0, "total_s": 20.623}], "notes": ["more than 50% silent"]})"),
             false);
  for (const char* part : {"worst case      20.6s", "5s now, at most 20s", "silence", "420ms",
                           "3ms", "more than 50% silent"})
    EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
  EXPECT_NO_THROW((void)render("failover-time", json::array(), true));
}

}  // namespace
}  // namespace pharos::controlplane::ctl
