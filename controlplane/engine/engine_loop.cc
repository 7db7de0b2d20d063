#include "pharos/controlplane/engine/engine_loop.hh"

#include "pharos/base/turns.hh"

#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>

#include <spdlog/spdlog.h>

#include <algorithm>

namespace pharos::controlplane {
namespace {

constexpr int events_max = 8;
// An assignment that is due while another is being solved is looked at again this much later.
constexpr Duration assign_retry = milliseconds(20);
// Ingest answers listen_until() at once, unless it does not get a core; then it is asked again.
constexpr Duration listen_patience = milliseconds(20);
// Between two averages of the demand of names.
constexpr Duration names_interval = seconds(1);
// One turn takes at most this many beacons before it lets the engine answer to them.
constexpr unsigned beacons_per_turn_max = 4096;

void drain_counter(int fd) noexcept {
  std::uint64_t count = 0;
  // Nothing to read (EAGAIN) is as good as something.
  [[maybe_unused]] const auto got = ::read(fd, &count, sizeof count);
}

}  // namespace

EngineLoop::EngineLoop(EngineSide side, Store& store, Ingest& ingest, History* history)
    : side_(std::move(side)),
      store_(store),
      ingest_(ingest),
      history_(history),
      assigner_([this](AssignTask task, Assignment assignment) {
        post([this, task = std::move(task), assignment = std::move(assignment)](EngineSide& mine) {
          mine.engine.assigned(task, assignment);
          const auto took = monotonic_now() - assigning_since_;
          mine.slowest_assignment = std::max(mine.slowest_assignment, took);
        });
      }) {}

EngineLoop::~EngineLoop() {
  stop();
}

Status EngineLoop::start() {
  epoll_ = UniqueFd(::epoll_create1(EPOLL_CLOEXEC));
  timer_ = UniqueFd(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  task_event_ = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!epoll_ || !timer_ || !task_event_)
    return fail_errno("epoll_create1, timerfd_create or eventfd", "engine");
  for (const int fd : {timer_.get(), task_event_.get(), ingest_.wake_fd()}) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = fd;
    if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0)
      return fail_errno("epoll_ctl", "engine");
  }
  assigner_.start();
  thread_ = std::thread([this] { run(); });
  ::pthread_setname_np(thread_.native_handle(), "engine");
  return {};
}

void EngineLoop::stop() noexcept {
  if (!thread_.joinable()) return;
  assigner_.stop();
  stopping_.store(true, std::memory_order_release);  // acquire in run()
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto put = ::write(task_event_.get(), &one, sizeof one);
  thread_.join();
}

void EngineLoop::post(Task task) {
  {
    const std::lock_guard lock(task_mutex_);
    tasks_.push_back(std::move(task));
  }
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto put = ::write(task_event_.get(), &one, sizeof one);
}

void EngineLoop::run() {
  prefer_short_turns();
  // acquire: what stop() wrote before it
  while (!stopping_.load(std::memory_order_acquire)) {
    turn();
    arm_timer();
    std::array<epoll_event, events_max> events;
    const bool more = more_beacons_ || more_tasks_;
    const int count = ::epoll_wait(epoll_.get(), events.data(), events_max, more ? 0 : -1);
    for (int i = 0; i < count; ++i) {
      const int fd = events[static_cast<std::size_t>(i)].data.fd;
      if (fd == timer_.get() || fd == task_event_.get()) drain_counter(fd);
    }
  }
  constexpr Duration all_of_them = seconds(3600);
  run_tasks(all_of_them);  // nobody waits for ever
}

void EngineLoop::turn() {
  side_.now = monotonic_now();
  cause_ = side_.now;
  const auto began = side_.now;
  side_.engine.set_clock({side_.now, wall_now()});
  drain_beacons();
  drain_demand();
  run_tasks(tasks_length);
  assign_demand();
  serve_channel();
  rank_and_publish();
  side_.slowest_turn = std::max(side_.slowest_turn, monotonic_now() - began);
}

void EngineLoop::drain_beacons() {
  const auto hearing = ingest_.hearing();
  hearing_.stalled = hearing.stalled;
  ingest_.begin_drain();
  more_beacons_ = true;
  for (unsigned taken = 0; taken < beacons_per_turn_max; ++taken) {
    if (!ingest_.pop(beacon_)) {
      more_beacons_ = false;
      hearing_.until = hearing.until;
      return;
    }
    if (beacon_.site_set != side_.site_set) {
      ++side_.foreign_beacons;
      continue;
    }
    cause_ = std::min(cause_, beacon_.received);
    side_.engine.heard(beacon_.site, beacon_.report, beacon_.boot_epoch, beacon_.sequence,
                       beacon_.received);
  }
}

// Samples of tables other than ours mean other pools, and other names.
void EngineLoop::drain_demand() {
  if (side_.now - names_ticked_ >= names_interval) {
    names_ticked_ = side_.now;
    side_.names.tick(side_.now);
  }
  ingest_.take_demand(demand_);
  if (demand_.empty()) return;
  const auto& tables = side_.publication.tables();
  const auto catalog_id = tables.catalog.header().checksum;
  if (side_.names.catalog_id() != catalog_id)
    side_.names = NameDemand(*tables.world->config, tables.catalog, side_.names);
  for (const auto& sample : demand_) {
    if (sample.catalog_id == catalog_id) side_.names.heard(sample.entry.node, sample.entry.weight);
    if (sample.pools_id != tables.pools_id() || sample.locales_id != tables.locales_id()) continue;
    side_.engine.heard_demand(sample.entry.pool, sample.entry.locale, sample.entry.weight);
  }
  demand_.clear();
}

void EngineLoop::assign_demand() {
  if (side_.now < side_.engine.assign_deadline()) return;
  if (assigner_.busy()) {
    side_.engine.postpone_assignment(side_.now + assign_retry);
  } else if (auto task = side_.engine.take_assign_task(side_.now)) {
    assigning_since_ = side_.now;
    assigner_.give(std::move(*task));
  }
}

// What others ask for, in their order, until `patience` is over; the rest comes behind the next beacons.
void EngineLoop::run_tasks(Duration patience) {
  const auto until = monotonic_now() + patience;
  for (;;) {
    const auto began = monotonic_now();
    Task task;
    {
      const std::lock_guard lock(task_mutex_);
      more_tasks_ = !tasks_.empty();
      if (!more_tasks_ || began >= until) return;
      task = std::move(tasks_.front());
      tasks_.pop_front();
    }
    task(side_);
    side_.slowest_task = std::max(side_.slowest_task, monotonic_now() - began);
  }
}

void EngineLoop::serve_channel() {
  auto& client = side_.client;
  if (client.timed_out(side_.now)) drop_channel("the data plane did not answer a publish for 30 s");
  if (client.attempt(side_.now)) {
    epoll_event event{};
    event.events = EPOLLIN | EPOLLRDHUP;
    event.data.fd = client.fd();
    if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, client.fd(), &event) != 0) {
      drop_channel(fail_errno("epoll_ctl").error().text());
    }
  }
  while (client.is_connected()) {
    auto received = client.receive();
    if (!received) {
      drop_channel(received.error().text());
      return;
    }
    if (!*received) return;
    handle(std::move(**received));
  }
}

void EngineLoop::handle(table_channel::Received received) {
  if (const auto* hello = std::get_if<table_channel::Hello>(&received.message)) {
    side_.publication.connected(*hello);
    side_.engine.restart_demand();
    side_.names.restart();
    spdlog::info("connected to the data plane: {} rings, tables {}.{} in use", hello->worker_count,
                 hello->in_use.epoch, hello->in_use.generation);
    if (auto attached = ingest_.replace_rings(std::move(received.fds)); !attached) {
      spdlog::error("the data plane's beacon rings cannot be used: {}", attached.error().text());
    }
  } else if (const auto* answer = std::get_if<table_channel::Acknowledge>(&received.message)) {
    side_.client.answered();
    side_.publication.acknowledged(*answer);
    if (answer->outcome == table_channel::Outcome::adopted) {
      spdlog::debug("tables {}.{} are in use", answer->version.epoch, answer->version.generation);
    } else {
      spdlog::warn("tables {}.{} were not taken: {}: {}", answer->version.epoch,
                   answer->version.generation, table_channel::name_of(answer->outcome),
                   answer->reason.data());
    }
  } else {
    drop_channel("the data plane sent a message that is ours to send");
  }
}

void EngineLoop::drop_channel(const std::string& why) {
  if (side_.publication.is_connected()) spdlog::warn("the data plane is gone: {}", why);
  side_.publication.disconnected();
  side_.client.close(side_.now);  // closing takes the descriptor out of the epoll set
}

void EngineLoop::rank_and_publish() {
  auto round = side_.engine.step(monotonic_now(), hearing_);
  if (!round.changes.empty()) {
    ++side_.rounds;
    side_.cells += round.cell_count();
  }
  if (auto applied = side_.publication.apply(round); !applied)
    spdlog::error("{}", applied.error().text());
  remember(round);
  auto outgoing = side_.publication.next(side_.now);
  if (!outgoing) {
    spdlog::error("nothing was published: {}", outgoing.error().text());
  } else if (*outgoing) {
    if (auto sent = side_.client.publish(**outgoing, side_.now); !sent)
      drop_channel(sent.error().text());
    store_.save_version((*outgoing)->version);
    side_.last_publish_delay = monotonic_now() - cause_;
  }
  record(std::move(round));
  report_alarms();
}

// Once it is on its way: the history is in nobody's.
void EngineLoop::record(Round round) {
  if (history_ == nullptr || round.changes.empty()) return;
  history_->offer(capture_round(side_.engine, std::move(round), side_.publication.last(), side_.now,
                                wall_now()));
}

void EngineLoop::remember(const Round& round) {
  const auto& engine = side_.engine;
  for (const auto s : round.site_changes) {
    const auto& site = engine.health().site(s);
    const auto& id = engine.world().site(s).id;
    // Suspicion comes and goes; what has to be known after a restart is who was down.
    if (site.state == SiteState::suspect) continue;
    store_.save_site_down(id, site.state == SiteState::down);
    if (site.state == SiteState::down) {
      spdlog::warn("site {} is down: {}", id, site.leaving ? "it leaves" : "its beacons stopped");
    } else {
      spdlog::info("site {} is {}", id, name_of(site.state));
    }
  }
}

std::vector<std::string> EngineLoop::alarms_of(const EngineSide& side) {
  auto alarms = side.engine.alarms();
  if (!side.publication.alarm().empty()) alarms.push_back(side.publication.alarm());
  if (!side.client.is_connected() && !side.client.failure().empty()) {
    alarms.push_back("no data plane: " + side.client.failure());
  }
  return alarms;
}

void EngineLoop::report_alarms() {
  auto alarms = alarms_of(side_);
  if (alarms == reported_alarms_) return;
  const auto without = [](const auto& text, const auto& list) {
    return std::ranges::find(list, text) == list.end();
  };
  for (const auto& text : alarms) {
    if (without(text, reported_alarms_)) spdlog::warn("alarm: {}", text);
  }
  for (const auto& text : reported_alarms_) {
    if (without(text, alarms)) spdlog::info("over: {}", text);
  }
  reported_alarms_ = std::move(alarms);
}

// A deadline of the engine that is over, and up to which ingest has not listened yet; `never` if there is none.
Instant EngineLoop::silence_to_hear() const noexcept {
  const Instant due = side_.engine.next_deadline();
  const bool waits = due > Instant{0} && due > hearing_.until && due <= monotonic_now();
  return waits ? due : never;
}

void EngineLoop::arm_timer() noexcept {
  Instant due = side_.engine.next_deadline();
  if (const Instant silence = silence_to_hear(); silence != never) {
    ingest_.listen_until(silence);  // which wakes us
    due = monotonic_now() + listen_patience;
  }
  const Instant next =
      std::min({due, side_.engine.assign_deadline(), side_.client.next_deadline()});
  itimerspec when{};
  if (next != never) {
    // Zero would disarm; the past fires at once.
    const auto ns = std::max<std::int64_t>(next.ns, 1);
    when.it_value.tv_sec = ns / 1'000'000'000;
    when.it_value.tv_nsec = ns % 1'000'000'000;
  }
  ::timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &when, nullptr);
}

}  // namespace pharos::controlplane
