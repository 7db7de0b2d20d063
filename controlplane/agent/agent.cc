// The agent's loop: a tick measures, encodes and sends; everything else prepares it. See agent.hh.
#include "pharos/controlplane/agent/agent.hh"

#include "pharos/controlplane/agent/boot_epoch.hh"
#include "pharos/controlplane/agent/endpoint_watch.hh"
#include "pharos/controlplane/agent/host_metrics.hh"
#include "pharos/controlplane/agent/poller.hh"
#include "pharos/controlplane/agent/request_source.hh"
#include "pharos/controlplane/agent/resolver.hh"
#include "pharos/controlplane/agent/rtt_probe.hh"
#include "pharos/controlplane/agent/vantage.hh"
#include "pharos/controlplane/ingest/socket_address.hh"
#include "pharos/controlplane/probe/prober.hh"
#include "pharos/wire/beacon.hh"

#include <sys/socket.h>
#include <sys/timerfd.h>

#include <sodium.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <fstream>
#include <sstream>

namespace pharos::agent {

namespace {

// Probes are queries to a responder that may limit replies: no more than this, however short the beacon interval.
constexpr Duration probe_interval_min = seconds(1);
constexpr unsigned leaving_copies = 3;
// Of a beacon's places for endpoints, so many are kept for probes where there are any.
constexpr std::size_t probe_places = 16;
constexpr Duration leaving_copy_distance = milliseconds(10);

struct Responder {
  ResponderConfig config;
  std::unique_ptr<RttProbe> probe;  // null: not measured
  std::array<std::byte, beacon::datagram_bytes_max> datagram;
  std::size_t datagram_bytes = 0;
  std::string problem;  // the last one reported
};

struct Endpoint {
  std::unique_ptr<EndpointWatch> watch;
  std::uint64_t hash;
  std::string name;  // "<service>.<endpoint>", for rates
  std::optional<bool> sent_up;
};

std::vector<std::string> hosts_of(const AgentConfig& config) {
  std::vector<std::string> hosts;
  for (const auto& responder : config.responders) {
    hosts.push_back(responder.beacon.host);
    if (responder.dns) hosts.push_back(responder.dns->host);
  }
  std::ranges::sort(hosts);
  const auto [first, last] = std::ranges::unique(hosts);
  hosts.erase(first, last);
  return hosts;
}

// Everything that a configuration makes; a reload makes a new one.
struct Parts {
  Parts(Poller& poller, probe::Prober probing, AgentConfig c, StatsdSockets sockets);
  [[nodiscard]] SiteMetrics measure(Instant at);
  [[nodiscard]] std::vector<EndpointReport> report_endpoints();
  [[nodiscard]] Instant next_command() const noexcept;
  void take_changes(Instant at);
  void read_override_file();

  AgentConfig config;
  beacon::MacKey key;
  std::uint64_t site_tag;
  Resolver resolver;
  HostSampler host;
  probe::Prober prober;  // before the endpoints, which point to it
  std::vector<Endpoint> endpoints;
  std::vector<std::size_t> commands;  // endpoints that a shell command watches
  Vantage vantage;
  std::size_t next_endpoint = 0;  // rotates where not all fit
  RequestSource requests;
  std::vector<std::unique_ptr<Responder>> responders;
  Overrides file_overrides;
  std::string override_problem;
  Instant next_probe{};
};

std::vector<std::string> endpoint_names(const AgentConfig& config) {
  std::vector<std::string> names;
  names.reserve(config.endpoints.size());
  for (const auto& endpoint : config.endpoints)
    names.push_back(endpoint.service + "." + endpoint.id);
  return names;
}

Parts::Parts(Poller& poller, probe::Prober probing, AgentConfig c, StatsdSockets sockets)
    : config(std::move(c)),
      key(config.key.secret),
      site_tag(beacon::site_tag(config.site)),
      resolver(hosts_of(config)),
      host(config.interfaces, config.link_bps),
      prober(std::move(probing)),
      vantage(prober, config.probes, monotonic_now()),
      requests(poller, config.requests, endpoint_names(config), std::move(sockets),
               config.interval) {
  const auto at = monotonic_now();
  for (const auto& endpoint : config.endpoints) {
    endpoints.push_back({std::make_unique<EndpointWatch>(poller, prober, endpoint, at),
                         endpoint_hash(endpoint.service, endpoint.id),
                         endpoint.service + "." + endpoint.id,
                         {}});
    if (endpoint.check && !endpoint.check->command.empty())
      commands.push_back(endpoints.size() - 1);
  }
  const auto query = make_probe_query(config.rtt_query_name);
  for (const auto& responder : config.responders) {
    auto made = std::make_unique<Responder>();
    made->config = responder;
    if (responder.dns && query) made->probe = std::make_unique<RttProbe>(poller, *query);
    responders.push_back(std::move(made));
  }
}

// A missing file means no overrides; a bad one keeps the last good ones.
void Parts::read_override_file() {
  if (config.override_file.empty()) return;
  std::ifstream file(config.override_file);
  if (!file) {
    file_overrides.clear();
    return;
  }
  std::ostringstream text;
  text << file.rdbuf();
  auto parsed = parse_overrides(text.str());
  const auto problem =
      parsed ? std::string() : std::move(parsed.error()).in(config.override_file).text();
  if (parsed) file_overrides = std::move(*parsed);
  if (problem != override_problem && !problem.empty())
    spdlog::warn("override_file: {}; the former ones stay", problem);
  override_problem = problem;
}

SiteMetrics Parts::measure(Instant at) {
  SiteMetrics metrics;
  host.sample(at, metrics);
  requests.sample(at, metrics);
  read_override_file();
  return metrics;
}

// Those that changed first, then the others in turn, as many as fit. An endpoint that a beacon does not name keeps its
// last report at the receiver.
std::vector<EndpointReport> Parts::report_endpoints() {
  std::vector<EndpointReport> reports;
  const auto room = beacon::endpoint_count_max - std::min(probe_places, vantage.size());
  std::vector<bool> taken(endpoints.size());
  const auto take = [&](std::size_t index) {
    auto& endpoint = endpoints[index];
    const auto up = endpoint.watch->up();
    if (taken[index] || !up || reports.size() == room) return;
    taken[index] = true;
    endpoint.sent_up = up;
    reports.push_back({.endpoint = endpoint.hash,
                       .up = *up,
                       .requests_rps = requests.endpoint_rate(endpoint.name),
                       .notices_ds = endpoint.watch->notices_ds()});
  };
  for (std::size_t i = 0; i < endpoints.size(); ++i) {
    if (endpoints[i].watch->up() != endpoints[i].sent_up) take(i);
  }
  for (std::size_t i = 0; i < endpoints.size() && reports.size() < room; ++i) {
    take(next_endpoint);
    next_endpoint = (next_endpoint + 1) % endpoints.size();
  }
  vantage.report(beacon::endpoint_count_max - reports.size(), reports);
  return reports;
}

Instant Parts::next_command() const noexcept {
  Instant next = never;
  for (const auto index : commands) next = std::min(next, endpoints[index].watch->next_time());
  return next;
}

void Parts::take_changes(Instant at) {
  for (const auto index : commands) endpoints[index].watch->on_time(at);
  bool ours = false;
  for (const auto target : prober.take_changed()) ours = !vantage.changed(target) || ours;
  if (!ours) return;
  for (auto& endpoint : endpoints) endpoint.watch->on_time(at);  // to tell the log
}

}  // namespace

struct Agent::State {
  State(Poller p, BootEpoch e) : poller(std::move(p)), epoch(std::move(e)) {}

  Poller poller;
  BootEpoch epoch;
  std::uint64_t sequence = 0;
  UniqueFd timer;
  UniqueFd socket_v4,
      socket_v6;  // not connected: an ICMP error of one responder must not cost a beacon
  std::unique_ptr<Parts> parts;
  std::vector<Instant> copy_times;  // of the newest beacon, latest first

  [[nodiscard]] Status take(AgentConfig config);
  [[nodiscard]] Status set_timer(Duration interval);
  void tick();
  void prepare(bool leaving);
  void transmit();
  void transmit_to(Responder& responder);
  void probe(Instant at);
  [[nodiscard]] Instant next_time() const;
  void on_time(Instant at);
};

// Builds all parts before any former one goes.
Status Agent::State::take(AgentConfig config) {
  StatsdSockets sockets;
  const auto& statsd = config.requests.statsd;
  const bool same = parts && statsd && parts->requests.config().statsd == statsd;
  if (statsd && !same) {
    auto opened = StatsdSockets::open(*statsd);
    if (!opened) return std::unexpected(opened.error());
    sockets = std::move(*opened);
  }
  auto prober = probe::Prober::open(static_cast<std::uint64_t>(monotonic_now().ns));
  if (!prober) return std::unexpected(prober.error());
  if (auto status = set_timer(config.interval); !status) return status;
  if (same) sockets = parts->requests.release_sockets();
  if (parts) poller.remove(parts->prober.fd());
  parts.reset();
  parts =
      std::make_unique<Parts>(poller, std::move(*prober), std::move(config), std::move(sockets));
  copy_times.clear();
  auto watched =
      poller.add(parts->prober.fd(), EPOLLIN, [this] { parts->prober.turn(monotonic_now()); });
  if (!watched) return watched;
  return parts->requests.watch();
}

// The first beacon goes at once, the others at whole intervals after it.
Status Agent::State::set_timer(Duration interval) {
  const auto to_timespec = [](std::int64_t ns) {
    return timespec{ns / 1'000'000'000, ns % 1'000'000'000};
  };
  const itimerspec rhythm{.it_interval = to_timespec(interval.ns),
                          .it_value = to_timespec(monotonic_now().ns)};
  if (::timerfd_settime(timer.get(), TFD_TIMER_ABSTIME, &rhythm, nullptr) != 0)
    return fail_errno("timerfd_settime");
  return {};
}

void Agent::State::tick() {
  std::uint64_t expirations = 0;
  // After a stop of this process, intervals are missed and not made up for.
  if (::read(timer.get(), &expirations, sizeof expirations) != sizeof expirations) return;
  prepare(false);
  transmit();
  const auto at = monotonic_now();
  copy_times.clear();
  for (unsigned copy = parts->config.send_copies - 1; copy > 0; --copy) {
    copy_times.push_back(at + parts->config.interval * copy / (2 * parts->config.send_copies));
  }
  probe(at);
}

// Makes the datagrams of the next beacon, one for each responder.
void Agent::State::prepare(bool leaving) {
  const auto at = now();
  SiteReport report;
  const auto measured = parts->measure(at.monotonic);
  report.interval_ms = static_cast<std::uint32_t>(parts->config.interval.ms());
  report.leaving = leaving;
  report.copies = parts->config.send_copies;
  report.endpoints = parts->report_endpoints();
  const beacon::Stamp stamp{.site_tag = parts->site_tag,
                            .boot_epoch = epoch.value(),
                            .sequence = ++sequence,
                            .sent_wall_ms = at.wall.ns / 1'000'000,
                            .key_id = parts->config.key.id};
  for (auto& responder : parts->responders) {
    report.metrics = measured;
    if (responder->probe) report.metrics.responder_rtt_us = responder->probe->rtt_us(at.monotonic);
    apply_overrides(parts->config.override, report.metrics);
    apply_overrides(parts->file_overrides, report.metrics);
    responder->datagram_bytes = beacon::encode(stamp, report, parts->key, responder->datagram);
    if (responder->datagram_bytes != 0) continue;
    // A measurement that cannot be true must not silence the site.
    spdlog::error("beacon {}: a metric is out of range; it goes without metrics", sequence);
    report.metrics = {};
    for (auto& endpoint : report.endpoints) endpoint.requests_rps.reset();
    responder->datagram_bytes = beacon::encode(stamp, report, parts->key, responder->datagram);
  }
}

void Agent::State::transmit() {
  for (auto& responder : parts->responders) transmit_to(*responder);
}

void Agent::State::transmit_to(Responder& responder) {
  std::string problem;
  if (const auto to = parts->resolver.find(responder.config.beacon)) {
    sockaddr_storage system{};
    const auto length = controlplane::to_system(*to, system);
    const int socket = (to->address.is_ipv4() ? socket_v4 : socket_v6).get();
    if (::sendto(socket, responder.datagram.data(), responder.datagram_bytes, 0,
                 reinterpret_cast<const sockaddr*>(&system), length) < 0) {
      problem = fail_errno("sendto").error().text();
    }
  } else {
    problem = "its name is not resolved yet";
  }
  if (problem == responder.problem) return;
  responder.problem = problem;
  const auto& name = responder.config.beacon.host;
  if (problem.empty()) {
    spdlog::info("responder {}: beacons are sent again", name);
  } else {
    spdlog::warn("responder {}: {}", name, problem);
  }
}

void Agent::State::probe(Instant at) {
  if (at < parts->next_probe) return;
  // Half a beacon of slack, so that an interval of 1 s really probes each second.
  parts->next_probe = at + probe_interval_min - parts->config.interval / 2;
  for (auto& responder : parts->responders) {
    const auto& dns = responder->config.dns;
    if (!responder->probe || !dns) continue;
    if (const auto to = parts->resolver.find(*dns)) responder->probe->send(*to, monotonic_now());
  }
}

Instant Agent::State::next_time() const {
  auto next = std::min(parts->requests.next_time(), parts->prober.next_time());
  next = std::min(next, parts->next_command());
  if (!copy_times.empty()) next = std::min(next, copy_times.back());
  return next;
}

void Agent::State::on_time(Instant at) {
  if (!copy_times.empty() && at >= copy_times.back()) {
    copy_times.pop_back();
    transmit();
  }
  parts->requests.on_time(at);
  parts->prober.turn(at);
  parts->take_changes(at);
}

Agent::Agent(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}
Agent::Agent(Agent&&) noexcept = default;
Agent& Agent::operator=(Agent&&) noexcept = default;
Agent::~Agent() = default;

Result<Agent> Agent::open(AgentConfig config) {
  if (sodium_init() < 0) return fail(ErrorCode::unavailable, "libsodium does not start");
  auto poller = Poller::open();
  if (!poller) return std::unexpected(poller.error());
  auto epoch = BootEpoch::begin(config.state_directory, wall_now());
  if (!epoch) return std::unexpected(epoch.error());
  auto state = std::make_unique<State>(std::move(*poller), std::move(*epoch));
  state->socket_v4 = UniqueFd(::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  state->socket_v6 = UniqueFd(::socket(AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!state->socket_v4 && !state->socket_v6) return fail_errno("socket");
  state->timer = UniqueFd(::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
  if (!state->timer) return fail_errno("timerfd_create");
  if (auto status = state->take(std::move(config)); !status) return std::unexpected(status.error());
  auto* const raw = state.get();
  if (auto added = raw->poller.add(raw->timer.get(), EPOLLIN, [raw] { raw->tick(); }); !added) {
    return std::unexpected(added.error());
  }
  return Agent(std::move(state));
}

Status Agent::reload(AgentConfig config) {
  if (config.state_directory != state_->parts->config.state_directory) {
    return fail(ErrorCode::conflict, "changed", "state_directory",
                "restart the agent to change it");
  }
  return state_->take(std::move(config));
}

Status Agent::watch(int fd, std::function<void()> action) {
  return state_->poller.add(fd, EPOLLIN, std::move(action));
}

void Agent::turn(Instant deadline) {
  state_->poller.wait_until(std::min(deadline, state_->next_time()));
  state_->on_time(monotonic_now());
}

void Agent::leave() {
  state_->prepare(true);
  for (unsigned copy = 0; copy < leaving_copies; ++copy) {
    const timespec distance{0, leaving_copy_distance.ns};
    if (copy != 0) ::nanosleep(&distance, nullptr);
    state_->transmit();
  }
}

std::uint64_t Agent::boot_epoch() const noexcept {
  return state_->epoch.value();
}
std::uint64_t Agent::sequence() const noexcept {
  return state_->sequence;
}

std::string Agent::status() const {
  const auto& parts = *state_->parts;
  const auto at = monotonic_now();
  std::size_t answering = 0, probed = 0, failing = 0;
  for (const auto& responder : parts.responders) {
    if (responder->probe) ++probed;
    if (responder->probe && responder->probe->rtt_us(at)) ++answering;
    if (!responder->problem.empty()) ++failing;
  }
  auto text = "site " + parts.config.site + ": beacon " + std::to_string(state_->sequence) +
              " to " + std::to_string(parts.responders.size()) + " responders";
  if (probed != 0)
    text += ", " + std::to_string(answering) + " of " + std::to_string(probed) + " answer DNS";
  if (failing != 0) text += ", sending fails to " + std::to_string(failing);
  return text;
}

}  // namespace pharos::agent
