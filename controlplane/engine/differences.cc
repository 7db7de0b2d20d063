#include "pharos/config/service_records.hh"
#include "pharos/controlplane/engine/tables.hh"

#include <spdlog/fmt/fmt.h>

#include <functional>

// What a reload changed, in words. Things are compared by a text of all their fields.

namespace pharos::controlplane {
namespace {

using Described = std::map<std::string, std::string>;

std::string text_of(const dns::SvcParams& params) {
  return dns::svc_params_text(dns::svc_params_wire(params));
}

std::string text_of(const config::EndpointConfig& e) {
  std::string text =
      fmt::format("{} {} {} {} {} {} {} {} {} {}[", e.id, e.site, e.group, e.port, e.weight,
                  e.priority, e.capacity_rps.value_or(-1), e.ttl_max.value_or(Duration{-1}).ns,
                  e.version, static_cast<int>(e.state));
  for (const auto& address : e.addresses) text += address.text() + ",";
  return text + "]" + e.target + text_of(e.parameters);
}

std::string text_of(const config::ServiceConfig& s) {
  std::string text =
      fmt::format("{} {} {} {} {} {} {} {} {} |", static_cast<int>(s.policy), s.answers_max,
                  s.ttl_floor.ns, s.ttl_ceiling.ns, s.panic_threshold, static_cast<int>(s.fail),
                  s.fail_to, s.slots, s.ecs ? catalog::name_of(*s.ecs) : "");
  for (const auto& name : s.names) text += name + " ";
  for (const auto& [name, type] : config::record_names_of(s))
    text += fmt::format("{}={} ", name, static_cast<unsigned>(type));
  for (const auto& name : s.alias_names) text += "alias=" + name + " ";
  text += fmt::format("{} {}{}|", s.target_domain, s.address_hints, text_of(s.parameters));
  text += fmt::format("{} {} {} {} {}|", static_cast<int>(s.failback), s.failback_hold.ns,
                      s.slow_start.ns, s.importance, s.probe_share);
  for (const auto& g : s.groups)
    text += fmt::format("group {} {} {} {} {} {}|", g.id, g.in, static_cast<int>(g.policy),
                        g.weight, g.priority, g.panic_threshold.value_or(-1));
  for (const auto& [version, preference] : s.versions)
    text += fmt::format("{}={} ", version, preference);
  for (const auto& endpoint : s.endpoints) text += text_of(endpoint);
  return text;
}

std::string text_of(const config::SiteConfig& s) {
  std::string text =
      fmt::format("{} {} {} {} {} {}", s.region, s.latitude, s.longitude,
                  s.capacity_rps.value_or(-1), s.in_flight_max.value_or(-1), s.beacon_interval.ns);
  for (const auto& key : s.keys) {
    text += fmt::format(" {}:", key.id) + std::string(key.secret.begin(), key.secret.end());
  }
  return text;
}

std::string text_of(const config::LocaleConfig& l) {
  std::string text =
      fmt::format("{} {} {}", l.latitude.value_or(999), l.longitude.value_or(999), l.demand_weight);
  for (const auto& [site, latency] : l.latency) text += fmt::format(" {}={}", site, latency.ns);
  return text;
}

std::string text_of(const config::ControlplaneConfig& c) {
  return fmt::format(
             "{} {} {} {} {} {} {} {} {} {} {} {} | {} {} {} {} {} {}", c.shrink_limit,
             c.delta_segments_max, c.beacon_window.ns, c.health.suspect_intervals,
             c.health.down_intervals, c.health.rise.ns, c.health.rise_beacons, c.health.cpu_high,
             c.health.cpu_low, c.health.memory_high, c.health.memory_low,
             fmt::format("{} {} {} {} {} {} {}", c.health.fall.ns, c.health.mass_silence_share,
                         c.health.smoothing, c.health.metric_life.ns, c.health.probe_quorum,
                         c.health.probe_votes_min, c.health.probe_life.ns),
             c.score.proximity, c.score.health, c.score.headroom, c.score.condition,
             c.score.version, fmt::format("{} {}", c.score.risk, c.score.confidence)) +
         fmt::format(" | {} {} {} {} {} {} {}", c.assign.enabled, c.assign.interval.ns,
                     c.assign.window.ns, c.assign.low_watermark, c.assign.high_watermark,
                     c.assign.step, static_cast<int>(c.assign.degrade));
}

std::string text_of(const config::MaintenanceConfig& m) {
  std::string text = fmt::format("{} {}", m.from.ns, m.to.ns);
  for (const auto& site : m.sites) text += " " + site;
  return text;
}

std::string text_of(const config::ApiConfig& c) {
  std::string text = fmt::format("{} {} {} {} {}", c.certificate, c.key, c.client_ca,
                                 c.anonymous_read, c.requests_per_second);
  for (const auto& token : c.tokens)
    text += " " + token.id + std::string(config::name_of(token.role)) +
            std::string(token.hash.begin(), token.hash.end());
  for (const auto& client : c.clients)
    text += " " + client.name + std::string(config::name_of(client.role));
  return text;
}

std::string text_of_fixed(const config::Config& c) {
  std::string text = fmt::format(
      "{} {} {} {} {}", c.run_directory, c.state_directory, c.controlplane.dataplane_socket,
      c.controlplane.ingest_core.value_or(~0U), c.control_uid.value_or(~0U));
  for (const auto* listen : {&c.controlplane.beacon_listen, &c.controlplane.api.listen}) {
    text += " |";
    for (const auto& at : *listen) text += fmt::format(" {}:{}", at.address.text(), at.port);
  }
  const auto& history = c.controlplane.history;
  text += fmt::format(" {} {} {}", history.on, history.max_age.ns, history.max_size_bytes);
  return text;
}

std::string text_of(const config::NamePolicyConfig& p) {
  std::string text = fmt::format("{} {} {} {} {} |", p.priority, static_cast<int>(p.action),
                                 p.service, p.rate_class, p.log);
  for (const auto& pattern : p.patterns) text += (pattern.regex ? "/" : " ") + pattern.text;
  return text;
}

template <typename Things>
Described describe(const Things& things) {
  Described described;
  for (const auto& thing : things) described.emplace(thing.id, text_of(thing));
  return described;
}

void compare(const char* kind, const Described& former, const Described& next,
             std::vector<std::string>& changed) {
  for (const auto& [id, text] : former) {
    const auto at = next.find(id);
    if (at == next.end())
      changed.push_back(fmt::format("{} {} removed", kind, id));
    else if (at->second != text)
      changed.push_back(fmt::format("{} {} changed", kind, id));
  }
  for (const auto& [id, text] : next) {
    if (!former.contains(id)) changed.push_back(fmt::format("{} {} added", kind, id));
  }
}

bool same_records(const ZoneData& a, const ZoneData& b) {
  return &a == &b || std::ranges::equal(a.records(), b.records(),
                                        [&](const ZoneRecord& x, const ZoneRecord& y) {
                                          return x.type == y.type && x.ttl_s == y.ttl_s &&
                                                 std::ranges::equal(a.owner_of(x), b.owner_of(y)) &&
                                                 std::ranges::equal(a.rdata_of(x), b.rdata_of(y));
                                        });
}

// A zone's text is whether it is as it was.
Described describe_zones(const Tables& tables, const Tables& former) {
  Described described;
  for (const auto& [id, state] : tables.zones) {
    const auto at = former.zones.find(id);
    const bool same =
        at != former.zones.end() && same_records(at->second.zone->data, state.zone->data);
    described.emplace(id, same ? "same" : "new");
  }
  return described;
}

ConstBytes behind_header(const SealedImage& image) {
  return image.mapping.bytes().subspan(sizeof(ImageHeader));
}

}  // namespace

std::vector<std::string> differences(const Tables& former, const Tables& next) {
  std::vector<std::string> changed;
  const auto& a = *former.world->config;
  const auto& b = *next.world->config;
  compare("zone", describe_zones(former, former), describe_zones(next, former), changed);
  compare("site", describe(a.sites), describe(b.sites), changed);
  compare("locale", describe(a.locales), describe(b.locales), changed);
  compare("service", describe(a.services), describe(b.services), changed);
  compare("policy", describe(a.policies), describe(b.policies), changed);
  compare("maintenance", describe(a.maintenance), describe(b.maintenance), changed);
  if (!std::ranges::equal(a.policies, b.policies, {}, &config::NamePolicyConfig::id,
                          &config::NamePolicyConfig::id) &&
      a.policies.size() == b.policies.size()) {
    changed.emplace_back("order of the policies changed");
  }
  if (a.dataplane.ecs != b.dataplane.ecs)
    changed.emplace_back("client subnets of services that do not say it (dataplane.ecs) changed");
  if (text_of(a.controlplane) != text_of(b.controlplane))
    changed.emplace_back("control plane settings changed");
  if (text_of(a.controlplane.api) != text_of(b.controlplane.api))
    changed.emplace_back("callers, certificates or rate of the API changed");
  if (text_of_fixed(a) != text_of_fixed(b)) {
    changed.emplace_back(
        "directories, sockets, listening addresses, cores or the history changed: they take effect "
        "after a restart");
  }
  if (former.catalog.summary().client_key != next.catalog.summary().client_key)
    changed.emplace_back("client key changed: clients are dealt to slots anew");
  if (!std::ranges::equal(behind_header(former.locale_image), behind_header(next.locale_image))) {
    changed.emplace_back("locale prefixes changed");
  }
  return changed;
}

}  // namespace pharos::controlplane
