// Checks of one endpoint; see endpoint_watch.hh.
#include "pharos/controlplane/agent/endpoint_watch.hh"

#include "pharos/wire/dns.hh"
#include "pharos/wire/site_report.hh"

#include <spdlog/spdlog.h>

#include <algorithm>

namespace pharos::agent {
namespace {

dns::Type type_of(const std::string& text) noexcept {
  if (text == "A") return dns::Type::a;
  if (text == "AAAA") return dns::Type::aaaa;
  if (text == "NS") return dns::Type::ns;
  if (text == "TXT") return dns::Type::txt;
  return dns::Type::soa;
}

probe::Target target_of(const CheckConfig& check) {
  probe::Target target;
  if (!check.http.empty()) {
    // The loader has seen that it is a URL.
    if (auto url = probe::parse_url(check.http)) target = std::move(*url);
  } else if (check.tls) {
    target.kind = probe::Kind::tls;
    target.to = *check.tls;
  } else if (check.dns) {
    target.kind = probe::Kind::dns;
    target.to = *check.dns;
  } else if (check.icmp) {
    target.kind = probe::Kind::icmp;
    target.to.address = *check.icmp;
  } else if (!check.exec.empty()) {
    target.kind = probe::Kind::exec;
    target.program = check.exec;
  } else if (check.tcp) {
    target.to = *check.tcp;
  }
  return target;
}

}  // namespace

probe::Spec spec_of(const CheckConfig& check) {
  probe::Spec spec;
  spec.target = target_of(check);
  spec.target.host = check.host;
  if (spec.target.host.ends_with('.')) spec.target.host.pop_back();
  if (check.status) spec.target.status_first = spec.target.status_last = *check.status;
  spec.target.match = check.match;
  spec.target.verify = check.verify;
  spec.target.ca_file = check.ca_file;
  spec.target.certificate_left = check.certificate_left;
  spec.target.query_name = check.query;
  spec.target.query_type = static_cast<std::uint16_t>(type_of(check.query_type));
  spec.target.expect = check.expect;
  spec.interval = check.interval;
  spec.timeout = check.timeout;
  spec.jitter = check.command.empty() ? check.jitter : 0;
  spec.rise = check.rise;
  spec.fall = check.fall;
  return spec;
}

std::uint16_t notices_ds_of(const probe::Spec& spec) noexcept {
  constexpr std::int64_t ds_ns = 100'000'000;
  const auto ds = (probe::worst_notice(spec).ns + ds_ns - 1) / ds_ns;
  return static_cast<std::uint16_t>(std::min<std::int64_t>(ds, notices_ds_max));
}

EndpointWatch::EndpointWatch(Poller& poller, probe::Prober& prober, EndpointConfig config,
                             Instant first_check)
    : config_(std::move(config)), prober_(prober), next_check_(first_check), command_(poller) {
  if (config_.check) notices_ds_ = notices_ds_of(spec_of(*config_.check));
  if (!config_.check) {
    up_ = true;
  } else if (config_.check->command.empty()) {
    target_ = prober_.add(spec_of(*config_.check), first_check);
  }
}

std::optional<bool> EndpointWatch::up() const {
  return target_ ? prober_.up(*target_) : up_;
}

std::uint16_t EndpointWatch::notices_ds() const noexcept {
  return notices_ds_;
}

Instant EndpointWatch::next_time() const noexcept {
  if (!config_.check || target_) return never;
  return command_.running() ? command_.next_time() : next_check_;
}

void EndpointWatch::on_time(Instant at) {
  if (target_) return report(prober_.reason(*target_));
  if (!config_.check || at < next_time()) return;
  if (command_.running()) {
    command_.on_time(at);
  } else {
    start(at);
  }
}

void EndpointWatch::start(Instant at) {
  // Checks keep their rhythm; those that a long one has run over are left out.
  next_check_ = std::max(next_check_ + config_.check->interval, at);
  const auto started = command_.start(
      config_.check->command, at + config_.check->timeout,
      [this](const Command::Outcome& outcome) { conclude(outcome.succeeded, outcome.reason); });
  if (!started) conclude(false, started.error().text());
}

void EndpointWatch::conclude(bool good, const std::string& reason) {
  if (!up_) up_ = good;
  streak_ = good == *up_ ? 0 : streak_ + 1;
  if (streak_ >= (good ? config_.check->rise : config_.check->fall)) {
    if (streak_ > 0) up_ = good;
    streak_ = 0;
  }
  report(reason);
}

void EndpointWatch::report(const std::string& reason) {
  const auto now_up = up();
  if (!now_up || now_up == reported_) return;
  spdlog::info("endpoint {} of service {} is {}{}", config_.id, config_.service,
               *now_up ? "up" : "down", *now_up || reason.empty() ? "" : ": " + reason);
  reported_ = now_up;
}

}  // namespace pharos::agent
