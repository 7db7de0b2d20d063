// What the agent reads from /proc, counter files, statsd datagrams, override files and host:port texts.
#include "pharos/controlplane/agent/agent_config.hh"
#include "pharos/controlplane/agent/host_metrics.hh"
#include "pharos/controlplane/agent/overrides.hh"
#include "pharos/controlplane/agent/request_meter.hh"
#include "pharos/controlplane/agent/rtt_probe.hh"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace pharos::agent {
namespace {

// ---- /proc ----

constexpr std::string_view stat_text =
    "cpu  4705 356 584 3699176 23060 0 277 10 0 0\n"
    "cpu0 1393280 32966 572056 13343292 6130 0 17875 0 23933 0\n"
    "intr 1462898\nctxt 115315\n";

TEST(HostMetricsTest, ReadsBusyAndTotalTicks) {
  const auto times = parse_stat(stat_text);
  ASSERT_TRUE(times);
  EXPECT_EQ(times->busy, 4705U + 356 + 584 + 277 + 10);
  EXPECT_EQ(times->total, times->busy + 3699176 + 23060);
}

TEST(HostMetricsTest, TakesTheFourFieldsOfOldKernelsAndNoFewer) {
  EXPECT_EQ(parse_stat("cpu 1 2 3 4\n")->total, 10U);
  EXPECT_FALSE(parse_stat("cpu 1 2 3\n"));
  EXPECT_FALSE(parse_stat("cpu0 1 2 3 4\n"));
  EXPECT_FALSE(parse_stat(""));
  EXPECT_FALSE(parse_stat("cpu 1 2 x 4 5\n"));
}

TEST(HostMetricsTest, ReadsTheShareOfMemoryThatIsNotAvailable) {
  EXPECT_FLOAT_EQ(
      *parse_meminfo("MemTotal:       4000 kB\nMemFree:         100 kB\nMemAvailable:   1000 kB\n"),
      0.75F);
  EXPECT_FALSE(parse_meminfo("MemTotal:       4000 kB\nMemFree:         100 kB\n"));
  EXPECT_FALSE(parse_meminfo("MemTotal: 0 kB\nMemAvailable: 0 kB\n"));
}

TEST(HostMetricsTest, ReadsThePressureOfSome) {
  EXPECT_FLOAT_EQ(*parse_pressure("some avg10=12.50 avg60=0.10 avg300=0.00 total=123\n"
                                  "full avg10=99.00 avg60=0.00 avg300=0.00 total=0\n"),
                  0.125F);
  EXPECT_FALSE(parse_pressure("full avg10=99.00 avg60=0.00 avg300=0.00 total=0\n"));
  EXPECT_FALSE(parse_pressure("some avg10= avg60=0.00\n"));
  EXPECT_FALSE(parse_pressure("some\n"));
}

constexpr std::string_view net_dev_text =
    "Inter-|   Receive                                                |  Transmit\n"
    " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop "
    "fifo colls carrier "
    "compressed\n"
    "    lo: 1000       10    0    0    0     0          0         0     1000      10    0    0    "
    "0     0       0 0\n"
    "  eth0:123456     100    0    0    0     0          0         0   654321     200    0    0    "
    "0     0       0 0\n";

TEST(HostMetricsTest, ReadsTheBytesOfEachInterface) {
  const auto all = parse_net_dev(net_dev_text);
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[1].name, "eth0");
  EXPECT_EQ(all[1].received, 123456U);
  EXPECT_EQ(all[1].sent, 654321U);
}

TEST(HostMetricsTest, SurvivesEveryTruncationOfEveryFile) {
  for (const auto text : {stat_text, net_dev_text}) {
    for (std::size_t n = 0; n < text.size(); ++n) {
      const std::string cut(text.substr(0, n));
      (void)parse_stat(cut);
      (void)parse_meminfo(cut);
      (void)parse_pressure(cut);
      EXPECT_LE(parse_net_dev(cut).size(), 2U);
    }
  }
}

TEST(RateWindowTest, GivesTheRateOverTheNewestSecondOrMore) {
  RateWindow window(seconds(1));
  const auto at = [](std::int64_t ms) { return Instant{1'000'000'000} + milliseconds(ms); };
  EXPECT_FALSE(window.rate());
  window.add(at(0), 100);
  EXPECT_FALSE(window.rate());
  window.add(at(200), 120);
  EXPECT_DOUBLE_EQ(*window.rate(), 100.0);
  for (int i = 2; i <= 10; ++i) window.add(at(200 * i), 120 + 100 * (i - 1));
  EXPECT_DOUBLE_EQ(*window.rate(), 500.0) << "only the last second counts";
  window.add(at(2200), 5);
  EXPECT_FALSE(window.rate()) << "a total that fell starts anew";
  window.add(at(2400), 6);
  EXPECT_DOUBLE_EQ(*window.rate(), 5.0);
}

class HostSamplerTest : public ::testing::Test {
 protected:
  HostSamplerTest() : root_(::testing::TempDir() + "pharos-host-" + std::to_string(::getpid())) {
    std::filesystem::create_directories(root_ + "/proc/net");
    std::filesystem::create_directories(root_ + "/proc/pressure");
  }
  ~HostSamplerTest() override { std::filesystem::remove_all(root_); }
  void write(const std::string& path, std::string_view text) {
    std::filesystem::create_directories(std::filesystem::path(root_ + path).parent_path());
    std::ofstream(root_ + path) << text;
  }
  std::string root_;
};

TEST_F(HostSamplerTest, MeasuresWhatIsThereAndLeavesOutWhatIsNot) {
  HostSampler sampler({}, {}, root_ + "/proc", root_ + "/sys");
  SiteMetrics metrics;
  sampler.sample(Instant{1}, metrics);
  EXPECT_FALSE(metrics.cpu_ratio || metrics.memory_ratio || metrics.receive_bps ||
               metrics.memory_pressure_ratio);

  write("/proc/stat", "cpu 100 0 0 100\n");
  write("/proc/meminfo", "MemTotal: 100 kB\nMemAvailable: 25 kB\n");
  write("/proc/net/dev", net_dev_text);
  sampler.sample(Instant{1'000'000'000}, metrics);
  EXPECT_FALSE(metrics.cpu_ratio) << "a rate needs two samples";
  EXPECT_FLOAT_EQ(*metrics.memory_ratio, 0.75F);

  write("/proc/stat", "cpu 175 0 0 125\n");
  std::string later(net_dev_text);
  later.replace(later.find("123456"), 6, "248456");
  write("/proc/net/dev", later);
  metrics = {};
  sampler.sample(Instant{2'000'000'000}, metrics);
  EXPECT_FLOAT_EQ(*metrics.cpu_ratio, 0.75F);
  EXPECT_FLOAT_EQ(*metrics.receive_bps, 1e6F);
  EXPECT_FLOAT_EQ(*metrics.transmit_bps, 0.0F);
  EXPECT_FALSE(metrics.link_bps);
  EXPECT_FALSE(metrics.cpu_pressure_ratio) << "this kernel has no PSI";
}

TEST_F(HostSamplerTest, CountsInterfacesWithHardwareAndTheirSpeed) {
  write("/proc/net/dev", std::string(net_dev_text) + " veth0: 5 0 0 0 0 0 0 0 5 0 0 0 0 0 0 0\n");
  write("/sys/class/net/eth0/device/x", "");
  write("/sys/class/net/eth0/speed", "10000\n");
  write("/sys/class/net/veth0/speed", "40000\n");
  HostSampler sampler({}, {}, root_ + "/proc", root_ + "/sys");
  SiteMetrics metrics;
  sampler.sample(Instant{1}, metrics);
  EXPECT_FLOAT_EQ(*metrics.link_bps, 1e10F);
  HostSampler named({"veth0"}, {}, root_ + "/proc", root_ + "/sys");
  named.sample(Instant{1}, metrics);
  EXPECT_FLOAT_EQ(*metrics.link_bps, 4e10F);
  HostSampler told({}, 5e9, root_ + "/proc", root_ + "/sys");
  told.sample(Instant{1}, metrics);
  EXPECT_FLOAT_EQ(*metrics.link_bps, 5e9F);
}

// ---- requests ----

TEST(CounterTextTest, TakesANumberOrNamedLines) {
  EXPECT_EQ(parse_counter_text("1234\n")->requests, 1234.0);
  const auto named =
      parse_counter_text("# load\nrequests 10\nerrors: 2\nin_flight=3\nrequests.www.a 4\n");
  ASSERT_TRUE(named) << named.error().text();
  EXPECT_EQ(named->requests, 10.0);
  EXPECT_EQ(named->errors, 2.0);
  EXPECT_EQ(named->in_flight, 3.0);
  EXPECT_EQ(named->endpoints.at("www.a"), 4.0);
}

TEST(CounterTextTest, SaysWhatIsWrongAndWhere) {
  for (const auto* wrong :
       {"", "\n", "abc", "requests -1", "requests", "reqests 5", "requests nan", "1 2 3"}) {
    EXPECT_FALSE(parse_counter_text(wrong)) << wrong;
  }
  EXPECT_EQ(parse_counter_text("requests 1\nerrors x\n").error().where, "line 2");
}

TEST(StatsdTest, ReadsCountersAndGauges) {
  const auto counter = parse_statsd_line("requests:3|c");
  ASSERT_TRUE(counter);
  EXPECT_EQ(counter->name, "requests");
  EXPECT_EQ(counter->kind, StatsdSample::Kind::counter);
  EXPECT_EQ(counter->value, 3.0);
  EXPECT_EQ(parse_statsd_line("requests:1|c|@0.1")->value, 10.0);
  EXPECT_EQ(parse_statsd_line("requests:1|c|@0.5|#env:prod")->value, 2.0);
  EXPECT_EQ(parse_statsd_line("in_flight:7|g")->kind, StatsdSample::Kind::gauge_set);
  EXPECT_EQ(parse_statsd_line("in_flight:+2|g")->kind, StatsdSample::Kind::gauge_add);
  EXPECT_EQ(parse_statsd_line("in_flight:-2|g")->value, -2.0);
}

TEST(StatsdTest, RefusesWhatItCannotCount) {
  for (const auto* wrong :
       {"", ":", "requests", "requests:", "requests:1", "requests:x|c", "requests:1|",
        "requests:1|h", "latency:x|ms", "latency:1|ms|@0", ":1|c", "requests:1|c|@0",
        "requests:1|c|@2", "requests:1|c|@", "requests:inf|c", "requests:+|g"}) {
    EXPECT_FALSE(parse_statsd_line(wrong)) << wrong;
  }
}

TEST(RequestMeterTest, TurnsStatsdIntoRates) {
  RequestMeter meter({"www.a"});
  SiteMetrics metrics;
  meter.sample(Instant{0}, metrics);
  EXPECT_FALSE(metrics.requests_rps || metrics.requests_in_flight)
      << "nobody has sent anything yet";
  meter.statsd(
      "shop.requests:100|c\nshop.errors:1|c\nshop.requests.www.a:50|c\nshop.in_flight:5|g\n",
      "shop.");
  meter.sample(Instant{0}, metrics);
  meter.statsd(
      "shop.requests:200|c\r\nshop.errors:50|c\nshop.requests.www.a:20|c\nshop.in_flight:-2|g",
      "shop.");
  meter.sample(Instant{1'000'000'000}, metrics);
  EXPECT_FLOAT_EQ(*metrics.requests_rps, 200.0F);
  EXPECT_FLOAT_EQ(*metrics.error_ratio, 0.25F);
  EXPECT_FLOAT_EQ(*metrics.requests_in_flight, 3.0F);
  EXPECT_FLOAT_EQ(*meter.endpoint_rate("www.a"), 20.0F);
  EXPECT_EQ(meter.skipped_lines(), 0U);
}

TEST(RequestMeterTest, TellsHowLongRequestsTake) {
  RequestMeter meter({});
  SiteMetrics metrics;
  meter.statsd("latency:0|ms\n", "");
  meter.sample(Instant{0}, metrics);
  EXPECT_FALSE(metrics.request_latency_us);
  meter.statsd("latency:10|ms\nlatency:20|ms|#route:a\nlatency:30|ms|@0.5\n", "");
  meter.sample(Instant{1'000'000'000}, metrics);
  ASSERT_TRUE(metrics.request_latency_us);
  EXPECT_FLOAT_EQ(*metrics.request_latency_us, 22'500.0F) << "the last one stands for two";
  meter.statsd("latency:-1|ms\nrequests:1|ms\nin_flight:1|ms\nlatency:1|c\n", "");
  EXPECT_EQ(meter.skipped_lines(), 4U);
}

TEST(RequestMeterTest, TellsItFromTotalsToo) {
  RequestMeter meter({});
  SiteMetrics metrics;
  meter.counters(*parse_counter_text("requests 1000\nlatency_ms 50000\n"));
  meter.sample(Instant{0}, metrics);
  meter.counters(*parse_counter_text("requests 1200\nlatency_ms 51000\n"));
  meter.sample(Instant{1'000'000'000}, metrics);
  EXPECT_FLOAT_EQ(*metrics.request_latency_us, 5'000.0F);
}

TEST(RequestMeterTest, SkipsAndCountsWhatIsNotItsOwn) {
  RequestMeter meter({"www.a"});
  meter.statsd(
      "requests:-5|c\nother:1|c\nrequests:5|g\nin_flight:1|c\nrequests.www.b:1|c\nnoise\n\n", "");
  EXPECT_EQ(meter.skipped_lines(), 6U);
  meter.statsd("in_flight:1|g\nin_flight:-9|g\n", "");
  SiteMetrics metrics;
  meter.sample(Instant{0}, metrics);
  EXPECT_FLOAT_EQ(*metrics.requests_in_flight, 0.0F) << "never below nothing";
}

TEST(RequestMeterTest, NeverCountsBeyondWhatADoubleCanTellApart) {
  RequestMeter meter({});
  SiteMetrics metrics;
  for (std::int64_t s = 0; s < 5; ++s) {
    meter.statsd("requests:9e14|c\nerrors:9e14|c\nin_flight:+9e14|g\n", "");
    meter.statsd("requests:1e308|c\nrequests:1|c|@1e-300\n", "");
    metrics = {};
    meter.sample(Instant{} + seconds(s), metrics);
    EXPECT_GE(metrics.requests_rps.value_or(0), 0.0F);
    EXPECT_LE(metrics.requests_rps.value_or(0), 1e15F);
    EXPECT_LE(*metrics.requests_in_flight, 1e15F);
  }
  EXPECT_EQ(meter.skipped_lines(), 10U);
}

TEST(RequestMeterTest, StartsAnewWhenACounterFalls) {
  RequestMeter meter({});
  SiteMetrics metrics;
  const auto step = [&](std::int64_t s, const char* text) {
    meter.counters(*parse_counter_text(text));
    metrics = {};
    meter.sample(Instant{} + seconds(s), metrics);
  };
  step(0, "1000");
  step(1, "1100");
  EXPECT_FLOAT_EQ(*metrics.requests_rps, 100.0F);
  step(2, "3");
  EXPECT_FALSE(metrics.requests_rps);
  step(3, "10");
  EXPECT_FLOAT_EQ(*metrics.requests_rps, 7.0F);
}

// ---- overrides ----

TEST(OverridesTest, PutsGivenValuesInPlaceOfMeasuredOnes) {
  const auto overrides = parse_overrides("# drill\ncpu: 0.95\n memory = 0.5 # half\n\nrtt: 1500\n");
  ASSERT_TRUE(overrides) << overrides.error().text();
  SiteMetrics metrics;
  metrics.cpu_ratio = 0.1F;
  metrics.error_ratio = 0.2F;
  apply_overrides(*overrides, metrics);
  EXPECT_FLOAT_EQ(*metrics.cpu_ratio, 0.95F);
  EXPECT_FLOAT_EQ(*metrics.memory_ratio, 0.5F);
  EXPECT_FLOAT_EQ(*metrics.responder_rtt_us, 1500.0F);
  EXPECT_FLOAT_EQ(*metrics.error_ratio, 0.2F);
  EXPECT_TRUE(parse_overrides("")->empty());
}

TEST(OverridesTest, RefusesWhatNoMetricCanBe) {
  for (const auto* wrong : {"cpu", "cpu:", "cpu: x", "cpu: 1.5", "cpu: -1", "cpu: nan", "rtt: inf",
                            "cqu: 1", "cpu: 1 2"}) {
    EXPECT_FALSE(parse_overrides(wrong)) << wrong;
  }
  EXPECT_EQ(parse_overrides("cpu: 1\ncpu: 7\n").error().where, "line 2");
}

// ---- host:port and the probe's query ----

TEST(HostPortTest, TakesAddressesAndNames) {
  EXPECT_EQ(*parse_host_port("192.0.2.1:53"), (HostPort{"192.0.2.1", 53}));
  EXPECT_EQ(*parse_host_port("[2001:db8::1]:5380"), (HostPort{"2001:db8::1", 5380}));
  EXPECT_EQ(*parse_host_port("ns1.example.com:1"), (HostPort{"ns1.example.com", 1}));
  for (const auto* wrong : {"", ":", "a", "a:", ":53", "a:0", "a:65536", "a:x", "2001:db8::1:53",
                            "[a]:53", "[::1:53", "a b:1"}) {
    EXPECT_FALSE(parse_host_port(wrong)) << wrong;
  }
}

TEST(ProbeQueryTest, IsAPlainQueryForTheSoaOfAName) {
  const auto root = make_probe_query(".");
  ASSERT_TRUE(root);
  EXPECT_EQ(root->size(), 12U + 1 + 4);
  const auto query = make_probe_query("a.example");
  ASSERT_TRUE(query);
  EXPECT_EQ(as_text(*query).substr(12), std::string_view("\1a\7example\0\0\6\0\1", 15));
  EXPECT_EQ(as_text(*query).substr(4, 2), std::string_view("\0\1", 2));
  EXPECT_FALSE(make_probe_query("a..b"));
  EXPECT_FALSE(make_probe_query(std::string(64, 'x')));
  std::string longest;
  for (int i = 0; i < 5; ++i) longest += std::string(63, 'x') + ".";
  EXPECT_FALSE(make_probe_query(longest));
}

}  // namespace
}  // namespace pharos::agent
