#include "pharos/controlplane/agent/vantage.hh"

#include "pharos/controlplane/agent/endpoint_watch.hh"
#include "pharos/wire/beacon.hh"

#include <spdlog/spdlog.h>

#include <utility>

namespace pharos::agent {

Vantage::Vantage(probe::Prober& prober, const std::vector<ProbeConfig>& probes, Instant first)
    : prober_(prober) {
  looks_.reserve(probes.size());
  for (const auto& probe : probes) {
    auto spec = spec_of(probe.check);
    const auto notices_ds = notices_ds_of(spec);
    const auto target = prober_.add(std::move(spec), first);
    look_of_.emplace(target, looks_.size());
    looks_.push_back({.target = target,
                      .hash = endpoint_hash(probe.service, probe.id),
                      .name = probe.service + "/" + probe.id,
                      .notices_ds = notices_ds});
  }
}

bool Vantage::changed(std::size_t target) {
  const auto at = look_of_.find(target);
  if (at == look_of_.end()) return false;
  auto& look = looks_[at->second];
  const bool up = prober_.up(target).value_or(false);
  spdlog::info("probe of {}: {}{}", look.name, up ? "up" : "down",
               up ? "" : ": " + prober_.reason(target));
  if (!std::exchange(look.queued, true)) changed_.push_back(at->second);
  return true;
}

void Vantage::tell(std::size_t index, std::vector<EndpointReport>& into) {
  auto& look = looks_[index];
  const auto up = prober_.up(look.target);
  if (!up || look.told_in == reports_) return;
  look.told_in = reports_;
  EndpointReport report{.endpoint = look.hash,
                        .up = *up,
                        .requests_rps = {},
                        .probe = true,
                        .notices_ds = look.notices_ds};
  if (const auto took = prober_.took(look.target); took && *up)
    report.probe_us = static_cast<float>(took->ns) / 1000;
  into.push_back(report);
}

void Vantage::report(std::size_t room, std::vector<EndpointReport>& into) {
  ++reports_;
  const auto end = into.size() + room;
  while (!changed_.empty() && into.size() < end) {
    looks_[changed_.front()].queued = false;
    tell(changed_.front(), into);
    changed_.pop_front();
  }
  // Those without an outcome yet take no room, but a turn.
  for (std::size_t turns = 0; turns < looks_.size() && into.size() < end; ++turns) {
    tell(next_, into);
    next_ = (next_ + 1) % looks_.size();
  }
}

}  // namespace pharos::agent
