// CPU, memory, pressure and network of this machine, from /proc and /sys. Parsers are pure functions of text; the
// sampler reads the files. Called by the agent's one thread. What a kernel does not offer stays absent.
#pragma once

#include "pharos/base/clock.hh"
#include "pharos/wire/site_report.hh"

#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace pharos::agent {

struct CpuTimes {  // in ticks, since boot
  std::uint64_t busy = 0;
  std::uint64_t total = 0;
};
struct InterfaceBytes {
  std::string name;
  std::uint64_t received = 0;
  std::uint64_t sent = 0;
};

// The "cpu" line of /proc/stat (proc(5)). Idle and iowait are not busy; stolen time is; guest time is inside of user.
[[nodiscard]] std::optional<CpuTimes> parse_stat(std::string_view text);
// 1 - MemAvailable / MemTotal of /proc/meminfo.
[[nodiscard]] std::optional<float> parse_meminfo(std::string_view text);
// avg10 of the "some" line of /proc/pressure/*, as a ratio.
[[nodiscard]] std::optional<float> parse_pressure(std::string_view text);
// All interfaces of /proc/net/dev.
[[nodiscard]] std::vector<InterfaceBytes> parse_net_dev(std::string_view text);

// The growth per second of a total, over the newest `window` or a little more: short beacon intervals would otherwise
// turn the kernel's coarse ticks into noise. A total that falls (a restart, a counter reset) starts it anew.
class RateWindow {
 public:
  explicit RateWindow(Duration window = seconds(1)) : window_(window) {}
  void add(Instant at, double total);
  // Nothing before two samples that lie apart.
  [[nodiscard]] std::optional<double> rate() const;

 private:
  struct Sample {
    Instant at;
    double total;
  };
  Duration window_;
  std::deque<Sample> samples_;
};

class HostSampler {
 public:
  // `interfaces` empty: those with hardware behind them, else all but loopback. `link_bps` absent: what they say.
  // `proc` and `sys` are the mount points, for tests.
  HostSampler(std::vector<std::string> interfaces, std::optional<double> link_bps,
              std::string proc = "/proc", std::string sys = "/sys");

  // Fills what can be measured, and leaves the rest of `metrics` as it is.
  void sample(Instant at, SiteMetrics& metrics);

 private:
  void sample_network(Instant at, SiteMetrics& metrics);
  [[nodiscard]] bool counts(const std::string& name, bool any_hardware) const;
  [[nodiscard]] std::optional<double> speed_of(const std::string& name) const;

  std::vector<std::string> interfaces_;
  std::optional<double> link_bps_;
  std::string proc_, sys_;
  RateWindow busy_, total_, received_, sent_;
};

}  // namespace pharos::agent
