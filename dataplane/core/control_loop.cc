// The control thread's loop: signals, ticks, reload, log, alarms. The rest of Daemon is in daemon.cc.
#include "pharos/base/log.hh"
#include "pharos/dataplane/core/daemon.hh"
#include "pharos/dataplane/core/rcu.hh"
#include "pharos/dataplane/core/reload.hh"
#include "pharos/dataplane/core/signals.hh"
#include "pharos/dataplane/io/eal_log.hh"
#include "pharos/shared/control_protocol.hh"

#include <sys/epoll.h>

#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <cstdlib>

namespace pharos::dataplane {

namespace {

constexpr std::array log_levels = {"trace", "debug", "info", "warning", "error"};

[[nodiscard]] std::string join(const std::vector<std::string>& words) {
  std::string text;
  for (const auto& word : words) text += (text.empty() ? "" : ", ") + word;
  return text.empty() ? "nothing" : text;
}

}  // namespace

void start_log(const std::string& level) {
  pharos::start_log("pharos-dataplane");
  spdlog::set_level(spdlog::level::from_str(level));
}

void Daemon::run() {
  for (bool running = true; running;) {
    std::array<epoll_event, 8> events{};
    const int count =
        ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), -1);
    for (int i = 0; i < count; ++i) {
      const int fd = events[static_cast<std::size_t>(i)].data.fd;
      if (fd == store_->fd()) store_->on_readable();
      if (fd == control_->fd()) control_->poll_once({});
      if (fd == timer_.get()) tick();
      if (fd == signals_fd_) running = handle_signals() && running;
    }
  }
  spdlog::info("stopping");
  service_manager_.stopping();
  stop();
}

bool Daemon::handle_signals() {
  const auto noted = signals::take();
  if (noted.stop) return false;
  if (!noted.reload) return true;
  service_manager_.reloading();
  if (auto outcome = reload(); !outcome) spdlog::error("reload: {}", outcome.error().text());
  service_manager_.ready("serving");
  return true;
}

void Daemon::tick() {
  std::uint64_t expirations = 0;
  if (::read(timer_.get(), &expirations, sizeof expirations) < 0)
    expirations = 0;  // called at start: none yet
  // relaxed: see Published
  published_.wall_s.store(static_cast<std::uint32_t>(wall_now().ns / 1'000'000'000),
                          std::memory_order_relaxed);
  control_->poll_once({});  // drops peers that are slow or silent
  watch_links();
  if (expirations != 0) watch_workers();
  // A worker that hangs is a reason to be restarted; a link that is down is not.
  if (!lane_pulse_.stalled && std::ranges::none_of(pulses_, &WorkerPulse::stalled))
    service_manager_.alive();
  watch_sandbox();
  watching_->tick(monotonic_now());
  report_status();
}

// Each distinct call once: what it was, and that there are more.
void Daemon::watch_sandbox() {
  const auto calls = refused_calls();
  std::uint64_t total = 0;
  for (const auto& call : calls) total += call.count;
  if (total == refused_calls_) return;
  refused_calls_ = total;
  for (const auto& call : calls) {
    spdlog::error("sandbox: thread '{}' was refused system call {} ({}), {} times so far",
                  name_of(call.kind), call.name, call.number, call.count);
  }
}

void Daemon::watch_links() {
  for (std::size_t i = 0; i < ports_.size(); ++i) {
    const bool up = ports_[i].link_up();
    if (up != links_up_[i]) spdlog::info("port '{}': link {}", ports_[i].id(), up ? "up" : "down");
    links_up_[i] = up;
  }
}

// Every worker makes a turn at least every few milliseconds; one that made none since the last tick is stuck in its
// driver (AF_PACKET waits in poll(2) while its transmit ring is full) or off its core.
void Daemon::watch_workers() {
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    const auto loops = workers_[i]->counters().read(Counter::loops);
    const bool stalled = loops == std::exchange(pulses_[i].loops, loops);
    if (stalled && !pulses_[i].stalled) {
      spdlog::error("worker {} on core {} made no turn since the last tick", i,
                    workers_[i]->core());
    }
    pulses_[i].stalled = stalled;
  }
  // The lane wakes several times a second, if only for timeouts.
  const auto rounds = lane_->counters().read(Counter::loops);
  const bool stalled = rounds == std::exchange(lane_pulse_.loops, rounds);
  if (stalled && !lane_pulse_.stalled)
    spdlog::error("the kernel lane made no round since the last tick");
  lane_pulse_.stalled = stalled;
}

void Daemon::report_status() {
  std::uint64_t answered = 0;
  for (const auto& worker : workers_) answered += worker->counters().read(Verdict::answered);
  answered += lane_->counters().read(Verdict::answered);
  const auto* root = store_->root();
  service_manager_.status(fmt::format(
      "{}, control plane {}, {} answers",
      root == nullptr ? "waiting for tables"
                      : fmt::format("tables {}.{}", root->version.epoch, root->version.generation),
      store_->connected() ? "connected" : "absent", answered));
}

std::vector<std::string> Daemon::alarms() const {
  std::vector<std::string> alarms;
  for (std::size_t i = 0; i < ports_.size(); ++i) {
    if (!links_up_[i]) alarms.push_back(fmt::format("port '{}': link down", ports_[i].id()));
  }
  for (std::size_t i = 0; i < pulses_.size(); ++i) {
    if (pulses_[i].stalled)
      alarms.push_back(fmt::format("worker {} on core {} stands still", i, workers_[i]->core()));
  }
  if (lane_pulse_.stalled) alarms.emplace_back("the kernel lane stands still");
  if (store_->root() == nullptr) alarms.emplace_back("no tables: queries are dropped");
  const auto history = store_->history();
  if (!history.empty() && history.front().outcome == table_channel::Outcome::refused) {
    alarms.push_back("the last tables were refused: " + history.front().reason);
  }
  const auto saver = store_->saver_report();
  if (saver.failures != 0 && store_->root() != nullptr && saver.newest < store_->root()->version) {
    alarms.push_back("tables could not be saved: " + saver.last_error);
  }
  for (const auto& call : refused_calls()) {
    alarms.push_back(fmt::format("the sandbox refused {} to a thread '{}', {} times", call.name,
                                 name_of(call.kind), call.count));
  }
  for (const auto& thread : unconfined_)
    alarms.push_back("outside of the sandbox: thread " + thread);
  for (auto& alarm : watching_->alarms()) alarms.push_back(std::move(alarm));
  if (!reload_error_.empty()) alarms.push_back("the last reload failed: " + reload_error_);
  return alarms;
}

Result<Daemon::Reloaded> Daemon::reload() {
  auto next = config::load(config_.file, config::Reading::without_secrets);
  if (!next) {
    reload_error_ = next.error().text();
    while (!reload_error_.empty() && reload_error_.back() == '\n') reload_error_.pop_back();
    return fail(ErrorCode::invalid, reload_error_, {}, "the running configuration stays");
  }
  reload_error_.clear();
  auto added = open_added(next->dataplane);
  if (!added) {
    reload_error_ = added.error().text();
    return std::unexpected(added.error());
  }
  change_lane(next->dataplane, std::move(*added));
  const auto changes = compare(config_, *next);
  apply_live(config_, *next);
  if (std::ranges::count(changes.live, "log_level") != 0) {
    if (auto ok = set_log_level(config_.log_level); !ok) return std::unexpected(ok.error());
  }
  const auto options = options_of(config_);
  std::vector<std::unique_ptr<ServeState>> former;
  for (auto& worker : workers_) former.push_back(worker->exchange_options(options));
  former.push_back(lane_->exchange_options(options));
  synchronize_rcu();  // then no worker uses the former states, which end here
  watching_->apply(config_);
  spdlog::info("reload: changed {}; needs a restart: {}", join(changes.live),
               join(changes.restart));
  return Reloaded{.changed = changes.live, .needs_restart = changes.restart};
}

// Sockets for what `next` listens on and we do not. All or none, so that a reload that fails changes nothing.
Result<std::vector<Listener>> Daemon::open_added(const config::DataplaneConfig& next) const {
  std::vector<Listener> added;
  for (const auto& address : next.listen) {
    if (std::ranges::count(config_.dataplane.listen, address) != 0) continue;
    auto listener = open_listener(address, Bind::existing);
    if (!listener) return std::unexpected(std::move(listener.error()).in("dataplane.listen"));
    added.push_back(std::move(*listener));
  }
  return added;
}

void Daemon::change_lane(const config::DataplaneConfig& next, std::vector<Listener> added) {
  LaneChange change{.limits = next.tcp, .added = std::move(added), .removed = {}};
  for (const auto& address : config_.dataplane.listen) {
    if (std::ranges::count(next.listen, address) == 0) change.removed.push_back(address);
  }
  lane_->change(std::move(change));
}

Status Daemon::set_log_level(const std::string& level) {
  if (std::ranges::find(log_levels, level) == log_levels.end()) {
    return fail(ErrorCode::invalid, "'" + level + "' is no log level", "level",
                "one of trace, debug, info, warning, error");
  }
  config_.log_level = level;
  spdlog::set_level(spdlog::level::from_str(level));
  io::set_eal_log_level(level);
  return {};
}

}  // namespace pharos::dataplane
