#include "pharos/dataplane/lane/lane.hh"

#include "pharos/base/clock.hh"
#include "pharos/base/thread.hh"
#include "pharos/dataplane/lane/lane_event.hh"

#include <pthread.h>
#include <sys/random.h>

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

namespace pharos::dataplane {

namespace {

[[nodiscard]] Status watch(int epoll, int fd, LaneEvent kind, unsigned number) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = event_of(kind, number);
  if (::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) return fail_errno("epoll_ctl");
  return {};
}

}  // namespace

Lane::Lane(const RcuPointer<const TableRoot>& root, const std::atomic<std::uint32_t>& wall_s,
           const ServeOptions& options)
    : serve_state_(new ServeState(options)),
      burst_(root, serve_state_, wall_s, counters_),
      udp_(burst_) {}

Lane::~Lane() {
  stop();
  delete serve_state_.load();
}

Status Lane::open(const config::TcpConfig& limits) {
  epoll_ = UniqueFd(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll_) return fail_errno("epoll_create1");
  if (auto ok = waker_.open(); !ok) return ok;
  if (auto ok = watch(epoll_.get(), waker_.fd(), LaneEvent::wake, 0); !ok) return ok;
  CookieSecret key;
  if (::getrandom(key.data(), key.size(), 0) != static_cast<ssize_t>(key.size()))
    return fail_errno("getrandom");
  tcp_.emplace(epoll_.get(), burst_, limits, key);
  return {};
}

Result<ExceptionInterface*> Lane::add(Tap tap, unsigned queue_count,
                                      std::optional<std::uint16_t> vlan) {
  std::vector<std::unique_ptr<ExceptionQueue>> queues;
  for (unsigned i = 0; i < queue_count; ++i) {
    auto queue = ExceptionQueue::create(waker_);
    if (!queue) return std::unexpected(queue.error());
    queues.push_back(std::move(*queue));
  }
  if (auto ok = watch(epoll_.get(), tap.fd(), LaneEvent::exception,
                      static_cast<unsigned>(exceptions_.size()));
      !ok) {
    return std::unexpected(ok.error());
  }
  exceptions_.push_back(
      std::make_unique<ExceptionInterface>(std::move(tap), std::move(queues), vlan, counters_));
  return exceptions_.back().get();
}

Status Lane::add(Listener listener) {
  const int udp = listener.udp.get();
  if (auto ok = watch(epoll_.get(), udp, LaneEvent::udp_socket, static_cast<unsigned>(udp)); !ok)
    return ok;
  if (auto ok = tcp_->add_listener(listener.tcp.get()); !ok) return ok;
  listeners_.emplace(udp, std::move(listener));
  return {};
}

void Lane::remove(const config::SocketAddress& address) noexcept {
  const auto found = std::ranges::find_if(
      listeners_, [&](const auto& entry) { return entry.second.address == address; });
  if (found == listeners_.end()) return;
  tcp_->remove_listener(found->second.tcp.get());
  listeners_.erase(found);  // closing a socket takes it out of the epoll set
}

Status Lane::start(std::function<void()> on_start) {
  // Signals are the control thread's.
  auto started = start_quiet_thread(std::move(on_start), [this] { run(); }, "kernel lane");
  if (!started) return std::unexpected(std::move(started).error());
  thread_ = std::move(*started);
  return {};
}

void Lane::stop() noexcept {
  if (!thread_.joinable()) return;
  stop_.store(true, std::memory_order_relaxed);  // relaxed: wake() orders it
  waker_.wake();
  thread_.join();
}

void Lane::change(LaneChange change) {
  {
    const std::lock_guard guard(mailbox_mutex_);
    mailbox_.push_back(std::move(change));
  }
  waker_.wake();
}

std::unique_ptr<ServeState> Lane::exchange_options(const ServeOptions& options) {
  auto next = std::make_unique<ServeState>(options);
  return std::unique_ptr<ServeState>(serve_state_.exchange(next.release()));
}

void Lane::run() noexcept {
  ::pthread_setname_np(::pthread_self(), "pharos-lane");
  RcuReader reader;
  // relaxed: see stop()
  while (!stop_.load(std::memory_order_relaxed)) round(reader);
}

void Lane::round(RcuReader& reader) noexcept {
  const int count = sleep(reader);
  const auto now = monotonic_now();
  take_changes();
  for (int i = 0; i < count; ++i) {
    const auto& event = events_[static_cast<std::size_t>(i)];
    handle(event.data.u64, event.events, now);
  }
  for (auto& exceptions : exceptions_) exceptions->to_kernel();
  tcp_->finish_round(now);
  burst_.forward();
  // Here, and nowhere else, no table pointer is held.
  reader.quiescent();
  counters_.count(Counter::loops);
  if (count == 0) counters_.count(Counter::loops_empty);
  // relaxed: one writer, a statistic
  busy_ns_.store(busy_ns_.load(std::memory_order_relaxed) + (monotonic_now() - now).ns,
                 std::memory_order_relaxed);
}

// Looked at between will_sleep() and sleep.
bool Lane::has_work() noexcept {
  if (stop_.load(std::memory_order_relaxed)) return true;  // relaxed: see stop()
  for (const auto& exceptions : exceptions_) {
    if (exceptions->has_worker_frames()) return true;
  }
  const std::lock_guard guard(mailbox_mutex_);
  return !mailbox_.empty();
}

// Waits for events; not at all while there is work. Returns how many came.
int Lane::sleep(RcuReader& reader) noexcept {
  constexpr std::int64_t ns_per_ms = 1'000'000;
  constexpr std::int64_t demand_wait_ms = 1000;  // it is sent by the second
  const auto wait_events = [&](int timeout_ms) {
    return std::max(0, ::epoll_wait(epoll_.get(), events_.data(), static_cast<int>(events_.size()),
                                    timeout_ms));
  };
  if (tcp_->has_more()) return wait_events(0);
  waker_.will_sleep();
  const bool idle = !has_work();
  const auto now = monotonic_now();
  const auto wait = tcp_->next_deadline(now) - now;
  // Rounded up: a round just before its timeout would be followed by another.
  auto wait_ms = std::max<std::int64_t>(0, wait.ns + ns_per_ms - 1) / ns_per_ms;
  if (burst_.has_demand()) wait_ms = std::min(wait_ms, demand_wait_ms);
  reader.offline();
  const int count = wait_events(idle ? static_cast<int>(wait_ms) : 0);
  reader.online();
  waker_.woke();
  counters_.count(Counter::sleeps);
  return count;
}

void Lane::handle(std::uint64_t event, std::uint32_t events, Instant now) noexcept {
  switch (kind_of(event)) {
    case LaneEvent::connection:
      tcp_->on_connection(TcpServer::connection_of(event), events, now);
      break;
    case LaneEvent::tcp_listener:
      tcp_->on_listener(static_cast<int>(number_of(event)), now);
      break;
    case LaneEvent::udp_socket:
      if (const auto found = listeners_.find(static_cast<int>(number_of(event)));
          found != listeners_.end())
        udp_.serve(found->second);
      break;
    case LaneEvent::exception:
      exceptions_[number_of(event)]->from_kernel();
      break;
    case LaneEvent::wake:
      break;
  }
}

void Lane::take_changes() noexcept {
  std::vector<LaneChange> changes;
  {
    const std::lock_guard guard(mailbox_mutex_);
    changes.swap(mailbox_);
  }
  for (auto& change : changes) {
    for (const auto& address : change.removed) remove(address);
    for (auto& listener : change.added) {
      const auto text = text_of(listener.address);
      if (auto ok = add(std::move(listener)); !ok)
        spdlog::error("kernel lane: {}: {}", text, ok.error().text());
    }
    tcp_->set_limits(change.limits);
  }
}

}  // namespace pharos::dataplane
