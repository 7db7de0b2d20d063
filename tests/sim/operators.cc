// Operators at work: words on endpoints, drains of sites, planned work, weights, exponents; configurations that change,
// drafts, and the way back. All of it may be moved or taken back while it is under way.
#include <algorithm>

#include "simulation.hh"

namespace pharos::sim {
namespace {

constexpr unsigned exponent_count = 3;
constexpr std::size_t past_max = 4;
constexpr unsigned plans_max = 3;
// As much slow start as settling_time() of any history allows for.
constexpr Duration slow_start_max = seconds(8);

bool has_endpoint(const config::ServiceConfig& service, const std::string& endpoint) {
  return std::ranges::find(service.endpoints, endpoint, &config::EndpointConfig::id) !=
         service.endpoints.end();
}

void change_site(Random& random, config::SiteConfig& site, bool stays_limited) {
  if (site.capacity_rps && !stays_limited && random.chance(0.2)) {
    site.capacity_rps.reset();
  } else {
    site.capacity_rps = site.capacity_rps.value_or(500) * random.between(0.6, 1.7);
  }
}

void change_failback(Random& random, config::ServiceConfig& service) {
  constexpr config::Failback ways[] = {config::Failback::automatic, config::Failback::manual,
                                       config::Failback::hold};
  service.failback = ways[random.below(3)];
  service.failback_hold = random.between(seconds(1), seconds(10));
  service.slow_start =
      random.chance(0.5) ? Duration{} : random.between(seconds(1), slow_start_max);
}

void change_weights(Random& random, config::ServiceConfig& service) {
  auto& endpoint = service.endpoints[random.below(service.endpoints.size())];
  endpoint.weight = random.chance(0.05) ? 0 : random.between(0.5, 4.0);
  if (service.groups.empty()) return;
  auto& group = service.groups[random.below(service.groups.size())];
  group.weight = random.between(0.5, 4.0);
  group.priority = static_cast<int>(random.below(3));
}

void change_endpoint_limit(Random& random, config::ServiceConfig& service) {
  auto& endpoint = service.endpoints[random.below(service.endpoints.size())];
  if (endpoint.capacity_rps && random.chance(0.3)) {
    endpoint.capacity_rps.reset();
  } else {
    endpoint.capacity_rps = endpoint.capacity_rps.value_or(400) * random.between(0.6, 1.7);
  }
}

// Configured work comes, moves, or is given up.
void change_work(Random& random, config::Config& config, WallTime now) {
  if (!config.maintenance.empty() && random.chance(0.4)) {
    config.maintenance.pop_back();
    return;
  }
  if (config.maintenance.empty()) config.maintenance.emplace_back().id = "planned";
  auto& work = config.maintenance.back();
  work.sites = {config.sites[random.below(config.sites.size())].id};
  work.from = {now.ns + random.between(Duration{}, seconds(15)).ns};
  work.to = {work.from.ns + random.between(seconds(2), seconds(15)).ns};
}

// One to three numbers of a configuration that are others. In histories that settle everybody has a limit of his site alone.
std::shared_ptr<const config::Config> with_other_numbers(Random& random,
                                                         const config::Config& former, Kind kind,
                                                         WallTime now) {
  auto changed = std::make_shared<config::Config>(former);
  for (auto left = random.from_to(1, 3); left > 0; --left) {
    auto& service = changed->services[random.below(changed->services.size())];
    switch (random.below(5)) {
      case 0:
        change_failback(random, service);
        break;
      case 1:
        change_weights(random, service);
        break;
      case 2:
        if (kind != Kind::settling) change_endpoint_limit(random, service);
        break;
      case 3:
        if (kind != Kind::settling) change_work(random, *changed, now);
        break;
      default:
        change_site(random, changed->sites[random.below(changed->sites.size())],
                    kind == Kind::settling);
        break;
    }
  }
  return changed;
}

}  // namespace

bool Simulation::listens() const {
  return control_ && events_.now() >= stalled_until_;
}

const config::EndpointConfig* Simulation::any_endpoint(std::string& service) {
  const auto& services = config_->services;
  const auto& chosen = services[random_.below(services.size())];
  service = chosen.id;
  return &chosen.endpoints[random_.below(chosen.endpoints.size())];
}

void Simulation::say(const std::string& service, const std::string& endpoint,
                     config::Override value) {
  const std::pair key(service, endpoint);
  said_[key].say(value);
  control_->set_override(service, endpoint, value, events_.now(),
                         [this, key, value] { said_[key].acknowledge(value); });
  wake_control(events_.now());
}

void Simulation::override_endpoint() {
  if (!listens()) return;
  std::string service;
  const auto* endpoint = any_endpoint(service);
  constexpr config::Override values[] = {config::Override::automatic, config::Override::up,
                                         config::Override::down, config::Override::drain};
  say(service, endpoint->id, values[random_.below(4)]);
}

void Simulation::say_of_site(std::uint32_t site, config::Override value) {
  if (!listens()) return;
  const auto endpoint = "at-" + site_id(site);
  for (const auto& service : config_->services) {
    if (has_endpoint(service, endpoint)) say(service.id, endpoint, value);
  }
}

// A whole site drains, until the operator has done what he came for, thinks better of it, or takes another one.
void Simulation::drain_site() {
  const auto s = any_site();
  say_of_site(s, config::Override::drain);
  events_.in(short_while(random_), [this, s] {
    if (random_.chance(0.3)) say_of_site(any_site(), config::Override::drain);
    if (random_.chance(0.8)) say_of_site(s, config::Override::automatic);
  });
}

// New work, which may begin at once; what is planned is moved, or taken back.
void Simulation::plan_work() {
  if (!listens()) return;
  config::MaintenanceConfig work;
  work.id = "operator" + std::to_string(random_.below(plans_max));
  const auto now = control_now();
  const auto* planned = planned_[work.id].newest();
  const bool is_planned = planned != nullptr && !planned->sites.empty();
  if (!is_planned || random_.chance(0.5)) {
    work.sites = is_planned ? planned->sites : std::vector{config_->sites[any_site()].id};
    const auto other = config_->sites[any_site()].id;
    if (!is_planned && random_.chance(0.3) && other != work.sites.front())
      work.sites.push_back(other);
    const auto begins = random_.chance(0.25) ? Duration{} : random_.between(seconds(1), seconds(20));
    work.from = {true_wall().ns + begins.ns};
    work.to = {work.from.ns + random_.between(seconds(2), seconds(20)).ns};
    if (work.to <= now.wall) return;  // refused: by that clock it is over
  }
  // Stored in their order.
  std::ranges::sort(work.sites);
  const Work said{work.sites, work.from, work.to};
  planned_[work.id].say(said);
  planned_by_clock_ = std::max(planned_by_clock_, now.wall);
  control_->set_maintenance(work, now,
                            [this, id = work.id, said] { planned_[id].acknowledge(said); });
  steady_since_ = events_.now();
  provoked();
  wake_control(events_.now());
}

void Simulation::weigh_endpoint() {
  if (!listens()) return;
  std::string service;
  const auto* endpoint = any_endpoint(service);
  const auto weight = random_.chance(0.3) ? std::nullopt : std::optional(random_.between(0.0, 5.0));
  control_->set_weight(service, endpoint->id, weight, events_.now());
  wake_control(events_.now());
}

void Simulation::tune_exponents() {
  if (!listens()) return;
  config::ScoreConfig exponents;
  double* const chosen[exponent_count] = {&exponents.proximity, &exponents.headroom,
                                          &exponents.risk};
  *chosen[random_.below(exponent_count)] = random_.between(0.0, 3.0);
  control_->set_exponents(random_.chance(0.3) ? std::nullopt : std::optional(exponents),
                          events_.now());
  provoked();
  wake_control(events_.now());
}

// Another configuration, unless it is refused.
bool Simulation::take(std::shared_ptr<const config::Config> changed) {
  const bool taken = control_->reload(changed, events_.now());
  if (taken) {
    past_.push_back(std::exchange(config_, std::move(changed)));
    if (past_.size() > past_max) past_.erase(past_.begin());
  }
  steady_since_ = events_.now();
  wake_control(events_.now());
  return taken;
}

// Weights, TTLs and policies change; names and sites stay.
void Simulation::reload() {
  if (!listens()) return;
  auto changed = std::make_shared<config::Config>(*config_);
  auto& service = changed->services[random_.below(changed->services.size())];
  constexpr config::Policy policies[] = {config::Policy::ranked, config::Policy::weighted,
                                         config::Policy::failover};
  service.policy = policies[random_.below(3)];
  service.ttl_ceiling =
      service.ttl_floor + seconds(static_cast<std::int64_t>(random_.from_to(1, 30)));
  for (auto& endpoint : service.endpoints) endpoint.weight = random_.between(0.5, 3.0);
  if (service.endpoints.size() > 2 && random_.chance(0.4)) service.endpoints.pop_back();
  take(std::move(changed));
}

// All services gone, or a zone that is not there: refused, and nothing changes (promise 5).
void Simulation::reload_badly() {
  if (!listens()) return;
  auto broken = std::make_shared<config::Config>(*config_);
  if (random_.chance(0.5)) {
    broken->services.clear();
    broken->zones[0].hosts.clear();
    broken->zones[0].id = "example.net.";
  } else {
    broken->zones[0].file = "/nonexistent/zone";
  }
  const auto before = control_->publication().shared_tables();
  if (control_->reload(broken, events_.now()) ||
      control_->publication().shared_tables() != before) {
    witness_.violated(events_.now(), "promise 5", "a reload that empties or breaks was taken");
  }
}

void Simulation::change_numbers() {
  if (!listens()) return;
  provoked();
  take(with_other_numbers(random_, *config_, scenario_.kind, true_wall()));
}

// A draft lives in the memory of the process; it is committed some time later.
void Simulation::begin_draft() {
  if (!listens() || draft_) return;
  draft_ = {config_, with_other_numbers(random_, *config_, scenario_.kind, true_wall()),
            witness_.figures.restarts};
  events_.in(short_while(random_), [this] { commit_draft(); });
}

// Refused where the file has changed since, or where sites would be overloaded, unless it is forced.
void Simulation::commit_draft() {
  const auto draft = std::exchange(draft_, std::nullopt);
  if (!draft || !listens() || draft->life != witness_.figures.restarts || draft->base != config_)
    return;
  const bool force = random_.chance(0.3);
  if (!control_->overloads_of_plan(draft->next, events_.now()).empty() && !force) return;
  provoked();
  take(draft->next);
}

// An old content, as a new generation.
void Simulation::roll_back() {
  if (!listens() || past_.empty()) return;
  provoked();
  take(past_[random_.below(past_.size())]);
}

}  // namespace pharos::sim
