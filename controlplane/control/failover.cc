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
  }
  return "silence";
}

// The worst moment of a fault is right behind a beacon, and overload is judged when beacons come: one more for its end.
FailoverTime failover_time(FailoverCause cause, const FailoverInputs& inputs) noexcept {
  FailoverTime time{};
  time.beacon = inputs.interval;
  if (cause == FailoverCause::silence)
    time.detection = std::max(inputs.down_silence - inputs.interval, Duration{});
  if (cause == FailoverCause::overload) time.hold = inputs.fall + inputs.interval;
  time.publish = inputs.publish;
  time.ttl = inputs.ttl;
  time.stretch = std::max(inputs.resolver_ttl_min - inputs.ttl, Duration{});
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
  return {{"beacon_s", time.beacon.seconds()}, {"detection_s", time.detection.seconds()},
          {"hold_s", time.hold.seconds()},     {"publish_s", time.publish.seconds()},
          {"ttl_s", time.ttl.seconds()},       {"stretch_s", time.stretch.seconds()},
          {"total_s", time.total().seconds()}};
}

// The longest TTL that answers of this service may carry, and the longest that they carry now.
std::pair<Duration, Duration> ttls_of(const EngineSide& side, std::uint32_t service) {
  Duration now{};
  const auto& world = side.engine.world();
  for (std::uint32_t p = 0; p < world.pools.size(); ++p) {
    if (world.pools[p].service == service)
      now = std::max(now, seconds(side.engine.view_pool(p).ttl_s));
  }
  const auto& config = world.service(service);
  return {std::max(config.ttl_ceiling, config.ttl_floor), now};
}

FailoverInputs inputs_of(const EngineSide& side, std::uint32_t endpoint, Duration ttl,
                         const Question& question) {
  const auto& world = side.engine.world();
  const auto site = world.endpoints[endpoint].site;
  const auto& health = side.engine.health();
  const auto own = world.endpoint(endpoint).ttl_max;
  return {.interval = health.site(site).rhythm.interval(),
          .down_silence = health.down_silence(site),
          .fall = world.config->controlplane.health.fall,
          .publish = side.slowest_turn + side.last_publish_delay,
          .ttl = own ? std::min(ttl, *own) : ttl,
          .resolver_ttl_min = question.resolver_ttl_min};
}

Json notes_of(const EngineSide& side, const std::vector<std::string>& unwatched) {
  Json notes = Json::array();
  if (!unwatched.empty()) {
    std::string all;
    for (const auto& id : unwatched) all += (all.empty() ? "" : ", ") + id;
    notes.push_back("not watched by beacons, so only an operator takes them out: " + all);
  }
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
  std::vector<Json> rows;
  std::vector<std::string> unwatched;
  for (std::uint32_t e = 0; e < config.endpoints.size(); ++e) {
    const auto endpoint = world.first_endpoint[*service] + e;
    const auto site = world.endpoints[endpoint].site;
    if (!side.engine.health().site(site).keyed) {
      unwatched.push_back(config.endpoints[e].id);
      continue;
    }
    const auto inputs = inputs_of(side, endpoint, ttl, question);
    for (const auto cause :
         {FailoverCause::silence, FailoverCause::report, FailoverCause::overload}) {
      auto row = row_of(failover_time(cause, inputs));
      row["endpoint"] = config.endpoints[e].id;
      row["site"] = world.site(site).id;
      row["cause"] = name_of(cause);
      rows.push_back(std::move(row));
    }
  }
  std::ranges::stable_sort(rows, std::greater{},
                           [](const Json& row) { return row["total_s"].get<double>(); });
  Json result = {{"name", question.name},
                 {"service", config.id},
                 {"policy", config::name_of(config.policy)},
                 {"ttl_now_s", ttl_now.seconds()},
                 {"ttl_max_s", ttl.seconds()},
                 {"causes", rows},
                 {"notes", notes_of(side, unwatched)}};
  if (!rows.empty()) result["worst_s"] = rows.front()["total_s"];
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
