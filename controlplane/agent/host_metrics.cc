// Parsers of /proc, and the sampler over them; see host_metrics.hh.
#include "pharos/controlplane/agent/host_metrics.hh"

#include "pharos/base/fd.hh"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <system_error>

namespace pharos::agent {

namespace {

// The whole of a small file; nothing where it cannot be read.
std::optional<std::string> read_file(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return std::nullopt;
  std::string text;
  std::array<char, 16384> buffer;
  constexpr std::size_t bytes_max = 1U << 20;
  while (text.size() < bytes_max) {
    const auto count = ::read(fd.get(), buffer.data(), buffer.size());
    if (count < 0) return std::nullopt;
    if (count == 0) break;
    text.append(buffer.data(), static_cast<std::size_t>(count));
  }
  return text;
}

std::string_view next_line(std::string_view& text) {
  const auto end = text.find('\n');
  const auto line = text.substr(0, end);
  text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
  return line;
}

// The next word of `line`, cut off its front; empty at the end.
std::string_view next_word(std::string_view& line) {
  const auto first = line.find_first_not_of(" \t");
  if (first == std::string_view::npos) return line = {};
  line = line.substr(first);
  const auto word = line.substr(0, line.find_first_of(" \t"));
  line = line.substr(word.size());
  return word;
}

template <typename T>
std::optional<T> to_number(std::string_view word) {
  T value{};
  const auto [end, code] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (word.empty() || code != std::errc{} || end != word.data() + word.size()) return std::nullopt;
  return value;
}

// The number behind `label` at the start of one of the lines.
std::optional<std::uint64_t> labelled(std::string_view text, std::string_view label) {
  while (!text.empty()) {
    auto line = next_line(text);
    if (next_word(line) == label) return to_number<std::uint64_t>(next_word(line));
  }
  return std::nullopt;
}

float clamp_ratio(double value) {
  return static_cast<float>(std::clamp(value, 0.0, 1.0));
}

}  // namespace

std::optional<CpuTimes> parse_stat(std::string_view text) {
  while (!text.empty()) {
    auto line = next_line(text);
    if (next_word(line) != "cpu") continue;
    // user nice system idle iowait irq softirq steal; guest and guest_nice are counted in user and nice already
    std::array<std::uint64_t, 8> ticks{};
    std::size_t count = 0;
    for (; count < ticks.size(); ++count) {
      const auto value = to_number<std::uint64_t>(next_word(line));
      if (!value) break;
      ticks[count] = *value;
    }
    if (count < 4) return std::nullopt;
    CpuTimes times;
    for (const auto t : ticks) times.total += t;
    times.busy = times.total - ticks[3] - ticks[4];
    return times;
  }
  return std::nullopt;
}

std::optional<float> parse_meminfo(std::string_view text) {
  const auto total = labelled(text, "MemTotal:");
  const auto available = labelled(text, "MemAvailable:");
  if (!total || !available || *total == 0) return std::nullopt;
  return clamp_ratio(1.0 - static_cast<double>(*available) / static_cast<double>(*total));
}

std::optional<float> parse_pressure(std::string_view text) {
  constexpr std::string_view label = "avg10=";
  while (!text.empty()) {
    auto line = next_line(text);
    if (next_word(line) != "some") continue;
    const auto word = next_word(line);
    if (!word.starts_with(label)) return std::nullopt;
    const auto percent = to_number<double>(word.substr(label.size()));
    if (!percent) return std::nullopt;
    return clamp_ratio(*percent / 100.0);
  }
  return std::nullopt;
}

std::vector<InterfaceBytes> parse_net_dev(std::string_view text) {
  std::vector<InterfaceBytes> all;
  while (!text.empty()) {
    auto line = next_line(text);
    const auto colon = line.find(':');
    if (colon == std::string_view::npos) continue;  // the two lines of headings
    auto name = line.substr(0, colon);
    line = line.substr(colon + 1);
    // received: bytes packets errs drop fifo frame compressed multicast; then sent: bytes ...
    const auto received = to_number<std::uint64_t>(next_word(line));
    for (int skipped = 0; skipped < 7; ++skipped) (void)next_word(line);
    const auto sent = to_number<std::uint64_t>(next_word(line));
    if (!received || !sent) continue;
    all.push_back({std::string(next_word(name)), *received, *sent});
  }
  return all;
}

void RateWindow::add(Instant at, double total) {
  if (!samples_.empty() && (total < samples_.back().total || at < samples_.back().at))
    samples_.clear();
  samples_.push_back({at, total});
  // The oldest sample that still lies a whole window back stays.
  while (samples_.size() > 2 && at - samples_[1].at >= window_) samples_.pop_front();
}

std::optional<double> RateWindow::rate() const {
  if (samples_.size() < 2) return std::nullopt;
  const auto elapsed = samples_.back().at - samples_.front().at;
  if (elapsed <= Duration{}) return std::nullopt;
  return (samples_.back().total - samples_.front().total) / elapsed.seconds();
}

HostSampler::HostSampler(std::vector<std::string> interfaces, std::optional<double> link_bps,
                         std::string proc, std::string sys)
    : interfaces_(std::move(interfaces)),
      link_bps_(link_bps),
      proc_(std::move(proc)),
      sys_(std::move(sys)) {}

void HostSampler::sample(Instant at, SiteMetrics& metrics) {
  const auto read = [&](const char* name) { return read_file(proc_ + name); };
  if (const auto text = read("/stat")) {
    if (const auto times = parse_stat(*text)) {
      busy_.add(at, static_cast<double>(times->busy));
      total_.add(at, static_cast<double>(times->total));
      const auto busy = busy_.rate();
      const auto total = total_.rate();
      if (busy && total && *total > 0) metrics.cpu_ratio = clamp_ratio(*busy / *total);
    }
  }
  if (const auto text = read("/meminfo")) metrics.memory_ratio = parse_meminfo(*text);
  if (const auto text = read("/pressure/cpu")) metrics.cpu_pressure_ratio = parse_pressure(*text);
  if (const auto text = read("/pressure/memory"))
    metrics.memory_pressure_ratio = parse_pressure(*text);
  sample_network(at, metrics);
}

bool HostSampler::counts(const std::string& name, bool any_hardware) const {
  if (!interfaces_.empty()) return std::ranges::find(interfaces_, name) != interfaces_.end();
  if (name == "lo") return false;
  std::error_code ignored;
  return !any_hardware || std::filesystem::exists(sys_ + "/class/net/" + name + "/device", ignored);
}

std::optional<double> HostSampler::speed_of(const std::string& name) const {
  const auto text = read_file(sys_ + "/class/net/" + name + "/speed");
  if (!text) return std::nullopt;
  std::string_view rest = *text;
  const auto megabits = to_number<std::int64_t>(next_line(rest));
  if (!megabits || *megabits <= 0) return std::nullopt;  // -1: the driver does not know
  return static_cast<double>(*megabits) * 1e6;
}

void HostSampler::sample_network(Instant at, SiteMetrics& metrics) {
  const auto text = read_file(proc_ + "/net/dev");
  if (!text) return;
  const auto all = parse_net_dev(*text);
  std::error_code ignored;
  const bool any_hardware = std::ranges::any_of(all, [&](const InterfaceBytes& i) {
    return std::filesystem::exists(sys_ + "/class/net/" + i.name + "/device", ignored);
  });
  double received = 0, sent = 0, link = 0;
  bool found = false;
  for (const auto& interface : all) {
    if (!counts(interface.name, any_hardware)) continue;
    found = true;
    received += static_cast<double>(interface.received) * 8;
    sent += static_cast<double>(interface.sent) * 8;
    link += speed_of(interface.name).value_or(0);
  }
  if (!found) return;
  received_.add(at, received);
  sent_.add(at, sent);
  if (const auto rate = received_.rate()) metrics.receive_bps = static_cast<float>(*rate);
  if (const auto rate = sent_.rate()) metrics.transmit_bps = static_cast<float>(*rate);
  if (link_bps_) {
    metrics.link_bps = static_cast<float>(*link_bps_);
  } else if (link > 0) {
    metrics.link_bps = static_cast<float>(link);
  }
}

}  // namespace pharos::agent
