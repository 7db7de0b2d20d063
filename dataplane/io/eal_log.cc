#include "pharos/dataplane/io/eal_log.hh"

#include "pharos/base/clock.hh"

#include <rte_log.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <mutex>
#include <string_view>

namespace pharos::dataplane::io {

namespace {

std::FILE* stream = nullptr;

// Lines of the running second, shared by all threads that log through the EAL.
struct LineBudget {
  std::mutex mutex;
  std::int64_t second = 0;
  unsigned lines = 0;
  unsigned suppressed = 0;

  // Whether this line may go out; `missed` gets the count of lines left out in an earlier second.
  bool take(unsigned& missed) {
    const std::lock_guard guard(mutex);
    const auto now = monotonic_now().ns / 1'000'000'000;
    missed = 0;
    if (now != second) {
      second = now;
      lines = 0;
      missed = std::exchange(suppressed, 0U);
    }
    if (lines < eal_lines_per_second) return ++lines, true;
    ++suppressed;
    return false;
  }
};
LineBudget budget;

[[nodiscard]] spdlog::level::level_enum level_of(int eal_level) {
  if (eal_level <= 0) return spdlog::level::info;  // written outside of rte_log
  if (eal_level <= static_cast<int>(RTE_LOG_ERR)) return spdlog::level::err;
  if (eal_level == static_cast<int>(RTE_LOG_WARNING)) return spdlog::level::warn;
  if (eal_level == static_cast<int>(RTE_LOG_NOTICE)) return spdlog::level::info;
  if (eal_level == static_cast<int>(RTE_LOG_INFO)) return spdlog::level::debug;
  return spdlog::level::trace;
}

// Lines that drivers call errors and that are none here: no secondary processes are wanted (--no-shconf), and the flow
// rules of net_tap, for which it tries a queueing discipline that few kernels have, are not used.
constexpr std::array harmless = {
    "tap_mp_req_on_rxtx()",  "Failed to register mp action",  "Specified qdisc kind is unknown",
    "qdisc_create_multiq()", "failed to create multiq qdisc", "Disabling rte flow support"};

[[nodiscard]] bool is_harmless(std::string_view line) {
  return std::ranges::any_of(harmless,
                             [&](const char* part) { return line.find(part) != line.npos; });
}

ssize_t write_line(void*, const char* text, std::size_t bytes) {
  std::string_view line(text, bytes);
  while (!line.empty() && (line.back() == '\n' || line.back() == '\r' || line.back() == ' ')) {
    line.remove_suffix(1);
  }
  unsigned missed = 0;
  if (!line.empty() && budget.take(missed)) {
    if (missed != 0) spdlog::warn("dpdk: {} more lines left out", missed);
    const auto level =
        is_harmless(line) ? spdlog::level::debug : level_of(rte_log_cur_msg_loglevel());
    spdlog::log(level, "dpdk: {}", line);
  }
  return static_cast<ssize_t>(bytes);
}

}  // namespace

void install_eal_log() {
  if (stream != nullptr) return;
  cookie_io_functions_t functions{};
  functions.write = write_line;
  stream = ::fopencookie(nullptr, "w", functions);
  if (stream == nullptr) return;  // the EAL then logs to stderr by itself
  std::setvbuf(stream, nullptr, _IOLBF, 0);
  rte_openlog_stream(stream);
}

void remove_eal_log() {
  if (stream == nullptr) return;
  rte_openlog_stream(nullptr);
  std::fclose(std::exchange(stream, nullptr));
}

void set_eal_log_level(const std::string& level) {
  auto eal_level = RTE_LOG_NOTICE;
  if (level == "trace") eal_level = RTE_LOG_DEBUG;
  if (level == "debug") eal_level = RTE_LOG_INFO;
  if (level == "warning") eal_level = RTE_LOG_WARNING;
  if (level == "error") eal_level = RTE_LOG_ERR;
  rte_log_set_global_level(eal_level);
}

}  // namespace pharos::dataplane::io
