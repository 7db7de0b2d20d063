#include "pharos/controlplane/engine/judgement.hh"

#include "pharos/config/wall_time.hh"
#include "pharos/controlplane/health/metric_trends.hh"

#include <spdlog/fmt/fmt.h>

#include <cmath>

namespace pharos::controlplane {
namespace {

// Parts of a reason, one after the other.
class Reasons {
 public:
  void add(std::string_view text) {
    if (text.empty()) return;
    text_.append(text_.empty() ? "" : "; ").append(text);
  }
  [[nodiscard]] std::string take() {
    return text_.empty() ? std::string("all is well") : std::move(text_);
  }

 private:
  std::string text_;
};

void add_planned(const SiteJudgement& site, Reasons& reasons) {
  if (site.drains) {
    reasons.add(fmt::format("planned work '{}' goes on until {}", site.work_id,
                            config::wall_time_text(site.work_to)));
  } else if (!site.work_id.empty()) {
    reasons.add(fmt::format("planned work '{}' begins {}", site.work_id,
                            config::wall_time_text(site.work_from)));
  }
}

std::string down_text(const SiteJudgement& site, const std::string& id) {
  if (site.leaving) return fmt::format("site {} said that it leaves", id);
  if (site.rise_count > 0) {
    return fmt::format("site {} is back and has to stay good: {} beacons so far", id,
                       site.rise_count);
  }
  if (!site.heard) return fmt::format("site {} was never heard", id);
  return fmt::format("site {} is silent for {:.1f} s", id, site.silent_s);
}

std::string probes_text(const ProbesJudgement& probes, const World& world) {
  if (!probes.judged || (probes.up && probes.bad == 0)) return {};
  if (probes.bad == 0) {
    return probes.counting == 0 ? "its probes found it down, and are silent"
                                : "its probes find it well again, and wait";
  }
  std::string names;
  for (std::size_t i = 0; i < probes.named; ++i)
    names += (names.empty() ? "" : ", ") + world.site(probes.bad_sites[i]).id;
  if (probes.bad > probes.named) names += ", ...";
  return fmt::format("{} of {} probes find it down ({})", probes.bad, probes.counting, names);
}

void add_metrics(const EndpointJudgement& endpoint, const SiteJudgement& site,
                 const std::string& id, Reasons& reasons) {
  if (site.degraded)
    reasons.add(fmt::format("site {} is overloaded: {}", id, site.hot ? "cpu" : "memory"));
  if (*site.tightest != '\0') reasons.add(fmt::format("health is held down by {}", site.tightest));
  if (endpoint.factors.headroom < 0.95) reasons.add("its capacity is partly used");
  if (site.flaps > 0.05) reasons.add(fmt::format("site {} fell lately", id));
  if (site.restless_level > 0) {
    reasons.add(
        fmt::format("its load swings by {:.0f} %", restless_step * site.restless_level * 100));
  }
  if (site.doubt > 0) reasons.add(fmt::format("its metrics are {:.1f} s old", site.silent_s));
}

}  // namespace

std::string_view state_of(const EndpointJudgement& endpoint, const SiteJudgement& site) noexcept {
  if (endpoint.override == config::Override::down || !endpoint.well) return "down";
  if (endpoint.override == config::Override::drain || site.drains) return "draining";
  if (site.degraded) return "degraded";
  return site.state == SiteState::unknown ? "unknown" : "up";
}

std::string reason_of(const EndpointJudgement& endpoint, const SiteJudgement& site,
                      const World& world) {
  const auto& id = world.site(world.endpoints[endpoint.endpoint].site).id;
  const char* by = endpoint.override_by_operator ? "the operator" : "configuration";
  if (endpoint.override == config::Override::down) return fmt::format("taken down by {}", by);
  if (endpoint.override == config::Override::up) return fmt::format("held up by {}", by);
  Reasons reasons;
  if (endpoint.override == config::Override::drain) reasons.add(fmt::format("draining by {}", by));
  if (endpoint.weight <= 0) reasons.add("weight 0: a last resort");
  if (endpoint.held) {
    reasons.add(std::isinf(endpoint.held_for_s)
                    ? std::string("well again, and held until the operator sets it to auto")
                    : fmt::format("well again, and held for {:.0f} s more", endpoint.held_for_s));
  }
  if (endpoint.rising) {
    reasons.add(
        fmt::format("coming back: takes {:.0f} % of its clients so far", endpoint.admitted * 100));
  }
  add_planned(site, reasons);
  if (site.tightness > 0) {
    reasons.add(
        fmt::format("site {} is above its {} watermark", id, site.tightness > 1 ? "high" : "low"));
  }
  if (site.state == SiteState::down) reasons.add(down_text(site, id));
  if (!endpoint.agent_up) reasons.add("its agent reports it down");
  reasons.add(probes_text(endpoint.probes, world));
  if (site.state == SiteState::suspect)
    reasons.add(fmt::format("site {} is suspected: a beacon is late", id));
  if (site.state == SiteState::unknown) reasons.add(fmt::format("site {} was not heard yet", id));
  add_metrics(endpoint, site, id, reasons);
  return reasons.take();
}

}  // namespace pharos::controlplane
