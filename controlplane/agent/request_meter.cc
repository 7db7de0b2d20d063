// Counter texts and statsd lines, turned into rates; see request_meter.hh.
#include "pharos/controlplane/agent/request_meter.hh"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace pharos::agent {

namespace {

constexpr std::string_view endpoint_prefix = "requests.";

// Larger numbers are mistakes. Totals up to here keep whole requests apart in a double (2^53 is 9e15); past it, a total
// starts anew, as after a restart of its service.
constexpr double count_max = 1e15;

std::optional<double> to_number(std::string_view word) {
  double value = 0;
  const auto [end, code] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (word.empty() || code != std::errc{} || end != word.data() + word.size() ||
      !(std::abs(value) <= count_max)) {
    return std::nullopt;
  }
  return value;
}

std::string_view next_line(std::string_view& text) {
  const auto end = text.find('\n');
  auto line = text.substr(0, end);
  text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
  while (!line.empty() && (line.back() == '\r' || line.back() == ' ' || line.back() == '\t'))
    line.remove_suffix(1);
  while (!line.empty() && (line.front() == ' ' || line.front() == '\t')) line.remove_prefix(1);
  return line;
}

Status take_counter_line(std::string_view line, CounterText& counters) {
  const auto separator = line.find_first_of(" \t:=");
  const auto name = separator == std::string_view::npos ? "requests" : line.substr(0, separator);
  auto digits = separator == std::string_view::npos ? line : line.substr(separator);
  digits.remove_prefix(std::min(digits.find_first_not_of(" \t:="), digits.size()));
  const auto value = to_number(digits);
  if (!value || *value < 0) {
    return fail(ErrorCode::invalid, "'" + std::string(line.substr(0, 80)) + "' holds no count", {},
                "write a number, or lines like 'requests 1234'");
  }
  if (name == "requests") {
    counters.requests = value;
  } else if (name == "errors") {
    counters.errors = value;
  } else if (name == "in_flight") {
    counters.in_flight = value;
  } else if (name == "latency_ms") {
    counters.latency_ms = value;
  } else if (name.starts_with(endpoint_prefix)) {
    counters.endpoints[std::string(name.substr(endpoint_prefix.size()))] = *value;
  } else {
    return fail(
        ErrorCode::invalid, "there is no counter '" + std::string(name.substr(0, 80)) + "'", {},
        "known are: requests, errors, in_flight, latency_ms, requests.<service>.<endpoint>");
  }
  return {};
}

}  // namespace

Result<CounterText> parse_counter_text(std::string_view text) {
  CounterText counters;
  bool any = false;
  for (int number = 1; !text.empty(); ++number) {
    const auto line = next_line(text);
    if (line.empty() || line.front() == '#') continue;
    any = true;
    if (auto status = take_counter_line(line, counters); !status) {
      return std::unexpected(std::move(status.error()).in("line " + std::to_string(number)));
    }
  }
  if (!any)
    return fail(ErrorCode::invalid, "there are no counters in it", {},
                "write the number of requests so far");
  return counters;
}

// name ':' [sign] number '|' type ['|@' rate]; tags ('|#...') are skipped.
std::optional<StatsdSample> parse_statsd_line(std::string_view line) {
  const auto colon = line.find(':');
  if (colon == std::string_view::npos || colon == 0) return std::nullopt;
  StatsdSample sample{
      .name = line.substr(0, colon), .kind = StatsdSample::Kind::counter, .value = 0};
  line = line.substr(colon + 1);
  const auto bar = line.find('|');
  if (bar == std::string_view::npos) return std::nullopt;
  auto digits = line.substr(0, bar);
  line = line.substr(bar + 1);
  const auto type = line.substr(0, line.find('|'));
  const bool is_signed = !digits.empty() && (digits.front() == '+' || digits.front() == '-');
  if (is_signed && digits.front() == '+') digits.remove_prefix(1);
  const auto value = to_number(digits);
  if (!value) return std::nullopt;
  sample.value = *value;
  if (type == "g") {
    sample.kind = is_signed ? StatsdSample::Kind::gauge_add : StatsdSample::Kind::gauge_set;
    return sample;
  }
  if (type == "ms") {
    sample.kind = StatsdSample::Kind::timer;
  } else if (type != "c") {
    return std::nullopt;
  }
  const auto at = line.find("|@");
  if (at != std::string_view::npos) {
    const auto rate_text = line.substr(at + 2);
    const auto rate = to_number(rate_text.substr(0, rate_text.find('|')));
    if (!rate || *rate <= 0 || *rate > 1) return std::nullopt;
    auto& scaled = sample.kind == StatsdSample::Kind::timer ? sample.weight : sample.value;
    scaled /= *rate;
    if (!(std::abs(scaled) <= count_max)) return std::nullopt;
  }
  return sample;
}

RequestMeter::RequestMeter(std::vector<std::string> endpoints) {
  for (auto& name : endpoints) endpoints_.try_emplace(std::move(name));
}

void RequestMeter::statsd(std::string_view datagram, std::string_view prefix) {
  while (!datagram.empty()) {
    const auto line = next_line(datagram);
    if (line.empty()) continue;
    auto sample = parse_statsd_line(line);
    const bool ours = sample && sample->name.starts_with(prefix);
    if (ours) sample->name.remove_prefix(prefix.size());
    if (!ours || !apply(*sample)) ++skipped_lines_;
  }
}

bool RequestMeter::apply(const StatsdSample& sample) {
  const bool gauge =
      sample.kind == StatsdSample::Kind::gauge_add || sample.kind == StatsdSample::Kind::gauge_set;
  if (sample.name == "in_flight") {
    if (!gauge) return false;
    const double base = sample.kind == StatsdSample::Kind::gauge_add ? in_flight_.value_or(0) : 0;
    in_flight_ = std::clamp(base + sample.value, 0.0, count_max);
    return true;
  }
  if (gauge || sample.value < 0) return false;
  const auto add_to = [](Total& total, double value) {
    total.value = total.value.value_or(0) + value;
    if (*total.value > count_max) total.value = 0;
    return true;
  };
  if (sample.kind == StatsdSample::Kind::timer) {
    return sample.name == "latency" && add_to(latency_ms_, sample.value * sample.weight) &&
           add_to(timed_, sample.weight);
  }
  const auto add = [&](Total& total) { return add_to(total, sample.value); };
  if (sample.name == "requests") return add(requests_);
  if (sample.name == "errors") return add(errors_);
  if (!sample.name.starts_with(endpoint_prefix)) return false;
  const auto endpoint = endpoints_.find(sample.name.substr(endpoint_prefix.size()));
  return endpoint != endpoints_.end() && add(endpoint->second);
}

void RequestMeter::counters(const CounterText& text) {
  if (text.requests) requests_.value = text.requests;
  if (text.errors) errors_.value = text.errors;
  if (text.in_flight) in_flight_ = text.in_flight;
  if (text.latency_ms && text.requests) {
    latency_ms_.value = text.latency_ms;
    timed_.value = text.requests;
  }
  for (const auto& [name, value] : text.endpoints) {
    const auto endpoint = endpoints_.find(name);
    if (endpoint != endpoints_.end()) {
      endpoint->second.value = value;
    } else {
      ++skipped_lines_;
    }
  }
}

void RequestMeter::sample(Instant at, SiteMetrics& metrics) {
  requests_.sample(at);
  errors_.sample(at);
  latency_ms_.sample(at);
  timed_.sample(at);
  for (auto& [name, total] : endpoints_) total.sample(at);
  const auto requests = requests_.window.rate();
  const auto errors = errors_.window.rate();
  if (requests) metrics.requests_rps = static_cast<float>(*requests);
  // Without requests there is no share of them that failed.
  if (requests && errors && *requests > 0) {
    metrics.error_ratio = static_cast<float>(std::clamp(*errors / *requests, 0.0, 1.0));
  }
  const auto spent_ms = latency_ms_.window.rate();
  const auto timed = timed_.window.rate();
  if (spent_ms && timed && *timed > 0)
    metrics.request_latency_us = static_cast<float>(*spent_ms / *timed * 1000);
  if (in_flight_) metrics.requests_in_flight = static_cast<float>(*in_flight_);
}

std::optional<float> RequestMeter::endpoint_rate(const std::string& name) const {
  const auto endpoint = endpoints_.find(name);
  if (endpoint == endpoints_.end()) return std::nullopt;
  const auto rate = endpoint->second.window.rate();
  if (!rate) return std::nullopt;
  return static_cast<float>(*rate);
}

}  // namespace pharos::agent
