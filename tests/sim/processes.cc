// The two processes, the channel between them, and what is checked as tables come into use.
#include <algorithm>

#include "simulation.hh"

namespace pharos::sim {
namespace {

constexpr Duration channel_delay_max = milliseconds(2);
constexpr Duration reconnect_after = milliseconds(50);
constexpr Duration save_after_max = milliseconds(200);  // TableSaver: at most one write in 100 ms
constexpr Duration keeper_turn = milliseconds(250);     // Daemon::keep
constexpr unsigned turns_at_once_max = 64;

}  // namespace

Now Simulation::control_now() const {
  const auto elapsed = events_.now() - start;
  return {events_.now(), WallTime{start_wall.ns + elapsed.ns + control_wall_offset_.ns}};
}

void Simulation::start_control() {
  disk_.settle(events_.now());
  const auto& kept = disk_.kept();
  std::string broken_zone;
  auto tables = controlplane::build_tables(
      config_, {}, {std::max<std::uint64_t>(kept.version.epoch, 1), kept.version.generation + 1},
      {.former = tables_.get(), .except = {}, .none = false}, broken_zone);
  if (!tables) {
    witness_.violated(events_.now(), "scenario", tables.error().text());
    return;
  }
  tables_ = std::move(*tables);
  control_ = std::make_unique<ControlPlane>(
      ControlPlane::Parts{disk_, witness_, random_, scenario_.disk_delay_max,
                          [this](PublishMessage message) { carry(std::move(message)); }},
      tables_, events_.now());
  ++witness_.figures.restarts;
  provoked();
  check_operator_is_remembered();
  wake_control(events_.now());
  connect(++connect_attempt_);
  // By number: the next process may lie at the same address.
  const auto keep = [this, life = witness_.figures.restarts](auto self) -> void {
    events_.in(keeper_turn, [this, life, self] {
      disk_.settle(events_.now());
      if (!control_ || witness_.figures.restarts != life) return;
      control_->keep(events_.now());
      self(self);
    });
  };
  keep(keep);
}

void Simulation::crash_control() {
  if (!control_) return;
  // Dies in the middle of a turn as well as between two.
  if (random_.chance(0.7)) {
    control_->turn(control_now(), static_cast<ControlPlane::Step>(random_.below(
                                      static_cast<std::uint64_t>(ControlPlane::Step::all))));
  }
  control_.reset();
  disk_.crash(events_.now());
  connected_ = false;
  next_turn_ = controlplane::never;
  ++turn_number_;
}

void Simulation::wake_control(Instant at) {
  at = std::max(at, stalled_until_);
  if (at >= next_turn_) return;
  next_turn_ = at;
  events_.at(at, [this, number = ++turn_number_] {
    if (number != turn_number_) return;
    next_turn_ = controlplane::never;
    if (control_) turn_control();
  });
}

void Simulation::turn_control() {
  disk_.settle(events_.now());
  turns_at_once_ = events_.now() == last_turn_ ? turns_at_once_ + 1 : 0;
  last_turn_ = events_.now();
  if (turns_at_once_ > turns_at_once_max) {
    witness_.violated(events_.now(), "engine", "it spins: its deadline never moves on");
    return;
  }
  control_->heard_demand(std::exchange(demand_, {}));
  control_->turn(control_now());
  check_work_is_heeded();
  if (control_->last_unrest() == events_.now()) provoked();
  for (const auto site : control_->fallen()) note_fall(site);
  const auto next = control_->next_deadline();
  if (next != controlplane::never) wake_control(std::max(next, events_.now()));
}

void Simulation::start_dataplane() {
  dataplane_.emplace(++boot_ids_, saved_);
  demand_.clear();
  provoked();
  steady_since_ = events_.now();
  if (auto wrong = check_tables(saved_); !wrong.empty())
    witness_.violated(events_.now(), "promise 4", "tables from disk: " + wrong);
}

void Simulation::crash_dataplane() {
  if (!dataplane_) return;
  dataplane_.reset();
  ++connection_;
  connected_ = false;
  if (control_) {
    control_->channel(Closed{});
    wake_control(events_.now() + microseconds(100));
    connect(++connect_attempt_);
  }
}

// Tries until somebody listens; a newer attempt takes the place of an older one.
void Simulation::connect(std::uint64_t attempt) {
  events_.in(reconnect_after, [this, attempt] {
    if (attempt != connect_attempt_ || !control_ || connected_) return;
    if (!dataplane_ || events_.now() < stalled_until_) return connect(attempt);
    connected_ = true;
    ++connection_;
    const auto hello = dataplane_->hello();
    events_.in(random_.between(Duration{}, channel_delay_max), [this, hello, at = connection_] {
      if (!control_ || at != connection_) return;
      control_->channel(hello);
      steady_since_ = events_.now();
      wake_control(events_.now());
    });
  });
}

// A message that was sent arrives even where its sender is gone, unless a newer connection came first.
void Simulation::carry(PublishMessage message) {
  const auto second = Instant{events_.now().ns / 1'000'000'000 * 1'000'000'000};
  publishes_in_second_ = second == publish_second_ ? publishes_in_second_ + 1 : 1;
  publish_second_ = second;
  // 50 rounds of scores, and a few for each site that rises or falls (promise 8).
  if (publishes_in_second_ > 60 + 4 * sites_.size()) {
    witness_.violated(events_.now(), "promise 8",
                      "more publishes in a second than there are rounds");
  }
  const auto sent = std::make_shared<const PublishMessage>(std::move(message));
  events_.in(random_.between(microseconds(50), channel_delay_max), [this, sent, at = connection_] {
    if (!dataplane_ || at != connection_) return;
    const auto answer = dataplane_->publish(*sent, events_.now(), witness_);
    if (answer.outcome == table_channel::Outcome::adopted) {
      send_again(sent);
      adopted();
    } else {
      steady_since_ = events_.now();
    }
    events_.in(random_.between(microseconds(50), channel_delay_max), [this, answer, at] {
      if (!control_ || at != connection_ || !connected_) return;
      control_->channel(answer);
      wake_control(events_.now());
    });
  });
}

// What a control plane might do that was thought dead, or one that sends twice: neither this table nor the one before it may
// come into use (again).
void Simulation::send_again(const std::shared_ptr<const PublishMessage>& sent) {
  for (const auto& old : {sent, std::exchange(last_adopted_, sent)}) {
    if (old && old->version <= dataplane_->in_use()) {
      static_cast<void>(dataplane_->publish(*old, events_.now(), witness_));
    }
  }
}

void Simulation::adopted() {
  events_.in(random_.between(microseconds(500), save_after_max), [this, boot = boot_ids_] {
    if (dataplane_ && boot == boot_ids_) saved_ = dataplane_->tables();
  });
  // A reader that stays in its burst over many swaps still reads what it began with.
  if (!held_by_reader_.root) {
    held_by_reader_ = dataplane_->tables();
    events_.in(random_.between(milliseconds(10), seconds(5)), [this] {
      if (auto wrong = check_tables(held_by_reader_); !wrong.empty())
        witness_.violated(events_.now(), "promise 2", wrong);
      held_by_reader_ = {};
    });
  }
  measure_directions();
}

// An override that was acknowledged outlives every crash; one that was not may or may not.
void Simulation::check_operator_is_remembered() {
  const auto& overrides = control_->engine().decisions().overrides;
  for (auto& [key, said] : said_) {
    const auto at = overrides.find(key);
    if (at == overrides.end()) {
      if (said.acknowledged && !disk_.kept().lost) {
        witness_.violated(
            events_.now(), "operator",
            "what was said of " + key.first + "/" + key.second + " and acknowledged is forgotten");
      }
      said = {};
      continue;
    }
    if (!said.may_be(at->second)) {
      witness_.violated(events_.now(), "operator",
                        "another word than the operator's last on " + key.first + "/" + key.second +
                            " came back");
    }
    said = {at->second, {}};
  }
  check_plans_are_remembered();
}

// The same of planned work; what is over may be forgotten.
void Simulation::check_plans_are_remembered() {
  const auto& kept = control_->engine().decisions().maintenance;
  const auto wall = std::max(true_wall(), planned_by_clock_);
  for (auto& [id, said] : planned_) {
    const auto at = std::ranges::find(kept, id, &config::MaintenanceConfig::id);
    Work now;
    if (at != kept.end()) now = {at->sites, at->from, at->to};
    const auto is_over = [&](const Work& work) { return work.to <= wall; };
    const bool over = (said.acknowledged && is_over(*said.acknowledged)) ||
                      std::ranges::any_of(said.since, is_over);
    if (at == kept.end() && (!said.acknowledged || over || disk_.kept().lost)) {
      said = {};
      continue;
    }
    const bool taken_back = now.sites.empty() && std::ranges::any_of(said.since, [](const auto& w) {
                              return w.sites.empty();
                            });
    const bool stays_taken_back =
        now.sites.empty() && said.acknowledged && said.acknowledged->sites.empty();
    if (!taken_back && !stays_taken_back && !said.may_be(now))
      witness_.violated(events_.now(), "operator",
                        "work '" + id + "' came back otherwise than it was planned");
    said = {now, {}};
  }
}

}  // namespace pharos::sim
