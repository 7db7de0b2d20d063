#include "pharos/dataplane/core/reload.hh"

#include <algorithm>
#include <bit>
#include <tuple>

namespace pharos::dataplane {

namespace {

// All that a port is; `source` (its line in the file) is not part of it.
[[nodiscard]] auto fields_of(const config::PortConfig& port) {
  return std::tie(port.id, port.device, port.addresses, port.vlan, port.queues,
                  port.receive_descriptors, port.transmit_descriptors, port.idle,
                  port.checksum_offload, port.promiscuous, port.exception_interface, port.gateways,
                  port.networks);
}

[[nodiscard]] bool same_ports(const std::vector<config::PortConfig>& a,
                              const std::vector<config::PortConfig>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const auto& x, const auto& y) { return fields_of(x) == fields_of(y); });
}

// Classes without a rate of their own have the general one.
[[nodiscard]] RateLimitOptions rate_limit_options(const config::DataplaneConfig& dataplane) {
  const auto& limit = dataplane.rate_limit;
  const double general = limit.responses_per_second.value_or(0);
  RateLimitOptions options;
  const auto set = [&](AnswerClass answer_class, double per_second) {
    options.per_second[static_cast<std::size_t>(answer_class)] = per_second;
  };
  set(AnswerClass::positive, general);
  set(AnswerClass::wildcard, general);
  set(AnswerClass::nodata, limit.nodata_per_second.value_or(general));
  set(AnswerClass::nxdomain, limit.nxdomains_per_second.value_or(general));
  set(AnswerClass::referral, limit.referrals_per_second.value_or(general));
  set(AnswerClass::error, limit.errors_per_second.value_or(general));
  options.all_per_second = limit.all_per_second.value_or(0);
  for (const auto& rate_class : limit.classes)
    options.classes.push_back(rate_class.responses_per_second);
  options.window = limit.window;
  options.slip = limit.slip;
  options.dry_run = limit.dry_run;
  options.badcookie = dataplane.cookies.badcookie;
  options.ipv4_prefix_bits = limit.ipv4_prefix;
  options.ipv6_prefix_bits = limit.ipv6_prefix;
  options.memory_bytes = limit.memory_bytes;
  options.exempt = limit.exempt;
  return options;
}

}  // namespace

ConfigChanges compare(const config::Config& running, const config::Config& next) {
  ConfigChanges changes;
  const auto& was = running.dataplane;
  const auto& is = next.dataplane;
  const auto live = [&](const char* key, bool same) {
    if (!same) changes.live.emplace_back(key);
  };
  const auto restart = [&](const char* key, bool same) {
    if (!same) changes.restart.emplace_back(key);
  };
  live("log_level", running.log_level == next.log_level);
  live("server_name", running.server_name == next.server_name);
  live("dataplane.nsid", was.nsid == is.nsid);
  live("dataplane.udp_payload_max", was.udp_payload_max_bytes == is.udp_payload_max_bytes);
  live("dataplane.ecs", was.ecs == is.ecs && was.ecs_heard == is.ecs_heard);
  live("dataplane.ecs_resolvers", was.ecs_resolvers == is.ecs_resolvers);
  live("dataplane.rate_limit", was.rate_limit == is.rate_limit);
  live("dataplane.cookies", was.cookies == is.cookies);
  live("dataplane.listen", was.listen == is.listen);
  live("dataplane.tcp", was.tcp == is.tcp);
  live("dataplane.dnstap", was.dnstap == is.dnstap);
  live("dataplane.demand_samples", was.demand_samples == is.demand_samples);

  restart("run_directory", running.run_directory == next.run_directory);
  restart("state_directory", running.state_directory == next.state_directory);
  restart("control_uid", running.control_uid == next.control_uid);
  restart("dataplane.huge_pages", was.huge_pages == is.huge_pages);
  restart("dataplane.memory", was.memory_bytes == is.memory_bytes);
  restart("dataplane.worker_cores", was.worker_cores == is.worker_cores);
  restart("dataplane.control_core", was.control_core == is.control_core);
  restart("dataplane.eal_arguments", was.eal_arguments == is.eal_arguments);
  restart("dataplane.ports", same_ports(was.ports, is.ports));
  restart("dataplane.dns_port", was.dns_port == is.dns_port);
  restart("dataplane.beacon_port", was.beacon_port == is.beacon_port);
  restart("dataplane.beacon_ring", was.beacon_ring_bytes == is.beacon_ring_bytes);
  restart("dataplane.allowed_uid", was.allowed_uid == is.allowed_uid);
  restart("dataplane.user", was.user == is.user);
  restart("dataplane.sandbox", was.sandbox == is.sandbox);
  restart("dataplane.name_samples", was.name_samples_per_second == is.name_samples_per_second);
  return changes;
}

void apply_live(config::Config& running, const config::Config& next) {
  running.log_level = next.log_level;
  running.server_name = next.server_name;
  running.dataplane.nsid = next.dataplane.nsid;
  running.dataplane.udp_payload_max_bytes = next.dataplane.udp_payload_max_bytes;
  running.dataplane.ecs = next.dataplane.ecs;
  running.dataplane.ecs_heard = next.dataplane.ecs_heard;
  running.dataplane.ecs_resolvers = next.dataplane.ecs_resolvers;
  running.dataplane.rate_limit = next.dataplane.rate_limit;
  running.dataplane.cookies = next.dataplane.cookies;
  running.dataplane.listen = next.dataplane.listen;
  running.dataplane.tcp = next.dataplane.tcp;
  running.dataplane.dnstap = next.dataplane.dnstap;
  running.dataplane.demand_samples = next.dataplane.demand_samples;
}

ServeOptions serve_options(const config::Config& config) {
  ServeOptions options;
  options.udp_payload_max_bytes = config.dataplane.udp_payload_max_bytes;
  options.nsid = config.dataplane.nsid;
  options.version_text = "pharos " PHAROS_VERSION;
  options.server_id = config.server_name;
  options.ecs_enabled = config.dataplane.ecs_heard;
  options.ecs_resolvers = config.dataplane.ecs_resolvers;
  options.demand_sampled = config.dataplane.demand_samples;
  options.rate_limit = rate_limit_options(config.dataplane);
  for (const auto& configured : config.dataplane.cookies.secrets)
    options.cookie_secrets.push_back(std::bit_cast<CookieSecret>(configured.secret));
  options.tcp_keepalive_ds = static_cast<std::uint16_t>(
      std::min<std::int64_t>(config.dataplane.tcp.idle_timeout.ms() / 100, 0xffff));
  return options;
}

}  // namespace pharos::dataplane
