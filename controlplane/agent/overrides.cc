// Names of overrides and the metrics behind them; see overrides.hh.
#include "pharos/controlplane/agent/overrides.hh"

#include <charconv>
#include <cmath>
#include <optional>

namespace pharos::agent {

namespace {

struct Name {
  std::string_view name;
  std::optional<float> SiteMetrics::* field;
  bool ratio;
};
constexpr Name names[] = {
    {"cpu", &SiteMetrics::cpu_ratio, true},
    {"cpu_pressure", &SiteMetrics::cpu_pressure_ratio, true},
    {"memory", &SiteMetrics::memory_ratio, true},
    {"memory_pressure", &SiteMetrics::memory_pressure_ratio, true},
    {"receive", &SiteMetrics::receive_bps, false},
    {"transmit", &SiteMetrics::transmit_bps, false},
    {"link", &SiteMetrics::link_bps, false},
    {"requests", &SiteMetrics::requests_rps, false},
    {"in_flight", &SiteMetrics::requests_in_flight, false},
    {"errors", &SiteMetrics::error_ratio, true},
    {"rtt", &SiteMetrics::responder_rtt_us, false},
    {"latency", &SiteMetrics::request_latency_us, false},
};

const Name* find(std::string_view name) {
  for (const auto& candidate : names) {
    if (candidate.name == name) return &candidate;
  }
  return nullptr;
}

std::string_view trim(std::string_view text) {
  constexpr std::string_view blank = " \t\r";
  const auto first = text.find_first_not_of(blank);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(blank) - first + 1);
}

}  // namespace

Status check_override(const std::string& name, float value) {
  const auto* known = find(name);
  if (known == nullptr) {
    std::string all;
    for (const auto& candidate : names)
      all += (all.empty() ? "" : ", ") + std::string(candidate.name);
    return fail(ErrorCode::invalid, "there is no metric '" + name + "'", {}, "known are: " + all);
  }
  if (!std::isfinite(value) || value < 0 || (known->ratio && value > 1)) {
    return fail(ErrorCode::invalid, "'" + name + "' cannot be " + std::to_string(value), {},
                known->ratio ? "write a share from 0 to 1" : "write a number that is not negative");
  }
  return {};
}

Result<Overrides> parse_overrides(std::string_view text) {
  Overrides overrides;
  for (int number = 1; !text.empty(); ++number) {
    const auto end = text.find('\n');
    auto line = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
    line = trim(line.substr(0, line.find('#')));
    if (line.empty()) continue;
    const auto where = "line " + std::to_string(number);
    const auto separator = line.find_first_of(":=");
    if (separator == std::string_view::npos) {
      return fail(ErrorCode::invalid, "no value", where, "write a line like 'cpu: 0.95'");
    }
    const std::string name(trim(line.substr(0, separator)));
    const auto digits = trim(line.substr(separator + 1));
    float value = 0;
    const auto [stop, code] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (code != std::errc{} || stop != digits.data() + digits.size()) {
      return fail(ErrorCode::invalid, "'" + std::string(digits) + "' is not a number", where,
                  "write a line like 'cpu: 0.95'");
    }
    if (auto status = check_override(name, value); !status)
      return std::unexpected(std::move(status.error()).in(where));
    overrides[name] = value;
  }
  return overrides;
}

void apply_overrides(const Overrides& overrides, SiteMetrics& metrics) {
  for (const auto& [name, value] : overrides) {
    if (const auto* known = find(name)) metrics.*known->field = value;
  }
}

}  // namespace pharos::agent
