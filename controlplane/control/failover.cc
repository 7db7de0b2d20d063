#include "pharos/controlplane/control/failover.hh"

#include <algorithm>
#include <cmath>

#include "handlers.hh"

namespace pharos::controlplane {

std::string_view name_of(FailoverCause cause) noexcept {
  switch (cause) {
    case FailoverCause::silence:
      return "silence";
    case FailoverCause::report:
      return "report";
    case FailoverCause::overload:
      return "overload";
    case FailoverCause::probes:
      return "probes";
  }
  return "silence";
}

std::optional<Notice> deciding_notice(std::vector<Notice> looking, double quorum,
                                      unsigned votes_min) {
  const auto count = static_cast<double>(looking.size());
  const auto bad = static_cast<std::size_t>(std::floor(quorum * count)) + 1;
  if (looking.size() < std::max(votes_min, 1U) || bad > looking.size()) return std::nullopt;
  std::ranges::sort(looking, {}, &Notice::total);
  return looking[bad - 1];
}

// The worst moment of a fault is right behind a beacon, and overload is judged when beacons come: one more for its end.
FailoverTime failover_time(FailoverCause cause, const FailoverInputs& inputs) noexcept {
  FailoverTime time{};
  time.beacon = cause == FailoverCause::probes ? inputs.probes.beacon : inputs.interval;
  switch (cause) {
    case FailoverCause::silence:
      time.detection = std::max(inputs.down_silence - inputs.interval, Duration{});
      break;
    case FailoverCause::report:
      time.detection = inputs.check;
      break;
    case FailoverCause::overload:
      time.hold = inputs.fall + inputs.interval;
      break;
    case FailoverCause::probes:
      time.detection = inputs.probes.detection;
      break;
  }
  time.publish = inputs.publish;
  time.ttl = inputs.ttl;
  time.stretch = std::max(inputs.resolver_ttl_min - inputs.ttl, Duration{});
  time.assign = inputs.assign;
  return time;
}

namespace {

struct Question {
  std::string name;  // a service's id, or one of its names
  Duration resolver_ttl_min;
};

Result<Question> question_of(const Json& arguments) {
  constexpr double resolver_ttl_max_s = 86'400 * 7;
  auto name = text_argument(arguments, "name");
  if (!name) return std::unexpected(name.error());
  Question question{.name = std::move(*name), .resolver_ttl_min = {}};
  const auto given = arguments.find("resolver_ttl_min_s");
  if (given == arguments.end()) return question;
  const double seconds = given->is_number() ? given->get<double>() : -1;
  if (!(seconds >= 0 && seconds <= resolver_ttl_max_s))
    return fail(ErrorCode::invalid, "no number of seconds", "resolver_ttl_min_s", "0 to a week");
  question.resolver_ttl_min = nanoseconds(std::llround(seconds * 1e9));
  return question;
}

[[nodiscard]] bool has_name(const config::ServiceConfig& service, const std::string& name) {
  return service.id == name ||
         std::ranges::any_of(service.names, [&](const auto& n) { return same_name(n, name); });
}

Result<std::uint32_t> find_service(const World& world, const std::string& name) {
  const auto& services = world.config->services;
  for (std::uint32_t s = 0; s < services.size(); ++s) {
    if (has_name(services[s], name)) return s;
  }
  auto known = check_service(world, name);
  auto error = known ? Error{} : std::move(known.error());
  error.what = "no service has the id or the name '" + name + "'";
  return std::unexpected(std::move(error));
}

Json row_of(const FailoverTime& time) {
  return {{"beacon_s", time.beacon.seconds()},    {"detection_s", time.detection.seconds()},
          {"hold_s", time.hold.seconds()},        {"publish_s", time.publish.seconds()},
          {"ttl_s", time.ttl.seconds()},          {"stretch_s", time.stretch.seconds()},
          {"total_s", time.total().seconds()},    {"assign_s", time.assign.seconds()},
          {"settled_s", time.settled().seconds()}};
}

// The longest TTL that answers of this service may carry, and the longest that they carry now.
std::pair<Duration, Duration> ttls_of(const EngineSide& side, std::uint32_t service) {
  Duration now{};
  const auto& world = side.engine.world();
  const auto [first, end] = world.pools_of_service[service];
  for (auto p = first; p < end; ++p) now = std::max(now, seconds(side.engine.view_pool(p).ttl_s));
  const auto& config = world.service(service);
  return {std::max(config.ttl_ceiling, config.ttl_floor), now};
}

Duration notice_of(std::uint16_t notices_ds) noexcept {
  return milliseconds(100) * std::int64_t{notices_ds};
}

// Those that look at an endpoint and count. Of agents that do not tell how long they take, nothing can be said.
struct Looking {
  std::vector<Notice> notices;
  bool all_tell = true;
};

Looking looking_at(const Engine& engine, std::uint32_t endpoint) {
  Looking looking;
  const auto* verdict = engine.quorum().find(endpoint);
  if (verdict == nullptr) return looking;
  for (const auto& vote : verdict->votes) {
    if (!vote.counts) continue;
    looking.all_tell =
        looking.all_tell && vote.notices_ds != 0 && vote.notices_ds != notices_ds_max;
    looking.notices.push_back(
        {engine.health().site(vote.from).rhythm.interval(), notice_of(vote.notices_ds)});
  }
  return looking;
}

// The next assignment comes that much after the last, behind one that is being solved.
Duration assign_time(const EngineSide& side) {
  if (!side.engine.assigning()) return {};
  return assign_urgent_interval + side.slowest_assignment + side.slowest_assignment;
}

FailoverInputs inputs_of(const EngineSide& side, std::uint32_t endpoint, Duration ttl,
                         const Question& question) {
  const auto& world = side.engine.world();
  const auto site = world.endpoints[endpoint].site;
  const auto& health = side.engine.health();
  const auto own = world.endpoint(endpoint).ttl_max;
  return {.interval = health.site(site).rhythm.interval(),
          .down_silence = health.down_silence(site),
          .check = notice_of(side.engine.endpoint_health(endpoint).notices_ds),
          .fall = world.config->controlplane.health.fall,
          .publish = side.slowest_turn + side.last_publish_delay,
          .assign = assign_time(side),
          .ttl = own ? std::min(ttl, *own) : ttl,
          .resolver_ttl_min = question.resolver_ttl_min};
}

std::string joined(const std::vector<std::string>& ids) {
  std::string all;
  for (const auto& id : ids) all += (all.empty() ? "" : ", ") + id;
  return all;
}

// The causes of a service's endpoints, and what there is to say beside them.
struct Findings {
  std::vector<Json> rows;
  std::vector<std::string> unwatched, undecided, untold;  // endpoints
};

void find_causes(const EngineSide& side, std::uint32_t service, std::uint32_t index, Duration ttl,
                 const Question& question, Findings& into) {
  const auto& world = side.engine.world();
  const auto& id = world.service(service).endpoints[index].id;
  const auto endpoint = world.first_endpoint[service] + index;
  const auto site = world.endpoints[endpoint].site;
  auto inputs = inputs_of(side, endpoint, ttl, question);
  std::vector<FailoverCause> causes;
  if (side.engine.health().site(site).keyed)
    causes = {FailoverCause::silence, FailoverCause::report, FailoverCause::overload};
  if (const auto looking = looking_at(side.engine, endpoint); !looking.notices.empty()) {
    const auto& health = world.config->controlplane.health;
    const auto decides =
        deciding_notice(looking.notices, health.probe_quorum, health.probe_votes_min);
    if (!decides) into.undecided.push_back(id);
    if (!looking.all_tell) into.untold.push_back(id);
    if (decides) {
      inputs.probes = *decides;
      causes.push_back(FailoverCause::probes);
    }
  }
  if (causes.empty()) into.unwatched.push_back(id);
  for (const auto cause : causes) {
    auto row = row_of(failover_time(cause, inputs));
    row["endpoint"] = id;
    row["site"] = world.site(site).id;
    row["cause"] = name_of(cause);
    into.rows.push_back(std::move(row));
  }
}

Json notes_of(const EngineSide& side, const Findings& findings) {
  Json notes = Json::array();
  const auto say = [&](const char* what, const std::vector<std::string>& ids) {
    if (!ids.empty()) notes.push_back(what + joined(ids));
  };
  say("watched by neither beacons nor probes, so only an operator takes them out: ",
      findings.unwatched);
  say("too few vantage points look for their quorum to decide: ", findings.undecided);
  say("some probes do not tell how long they take, and count as if they saw faults at once: ",
      findings.untold);
  const auto share = side.engine.world().config->controlplane.health.mass_silence_share;
  notes.push_back("more than " + std::to_string(std::lround(share * 100)) +
                  "% of the sites silent at once: the last good ranking stays");
  return notes;
}

Result<Json> failover(const EngineSide& side, const Question& question) {
  const auto& world = side.engine.world();
  const auto service = find_service(world, question.name);
  if (!service) return std::unexpected(service.error());
  const auto& config = world.service(*service);
  const auto [ttl, ttl_now] = ttls_of(side, *service);
  Findings findings;
  for (std::uint32_t e = 0; e < config.endpoints.size(); ++e)
    find_causes(side, *service, e, ttl, question, findings);
  auto& rows = findings.rows;
  std::ranges::stable_sort(rows, std::greater{},
                           [](const Json& row) { return row["total_s"].get<double>(); });
  Json result = {{"name", question.name},
                 {"service", config.id},
                 {"policy", config::name_of(config.policy)},
                 {"ttl_now_s", ttl_now.seconds()},
                 {"ttl_max_s", ttl.seconds()},
                 {"causes", rows},
                 {"notes", notes_of(side, findings)}};
  if (rows.empty()) return result;
  double settled = 0;
  for (const auto& row : rows) settled = std::max(settled, row["settled_s"].get<double>());
  result["worst_s"] = rows.front()["total_s"];
  result["worst_settled_s"] = settled;
  return result;
}

}  // namespace

void add_failover_command(control::Server& server, Daemon& daemon) {
  server.add({"failover-time", control::Access::read,
              "how long clients may be sent to an endpoint that is gone, at worst",
              [&daemon](const Json& arguments) -> Result<Json> {
                const auto question = question_of(arguments);
                if (!question) return std::unexpected(question.error());
                return daemon.loop().ask(
                    [&](EngineSide& side) { return failover(side, *question); });
              }});
}

}  // namespace pharos::controlplane
