// The ingest loop, its mailbox and its queue. See ingest.hh for who may call what.
#include "pharos/controlplane/ingest/ingest.hh"

#include "pharos/base/assert.hh"
#include "pharos/base/turns.hh"
#include "pharos/controlplane/ingest/beacon_queue.hh"
#include "pharos/controlplane/ingest/read_horizon.hh"
#include "pharos/controlplane/ingest/udp_receiver.hh"
#include "pharos/shared/spsc_ring.hh"
#include "pharos/wire/name_text.hh"

#include <immintrin.h>
#include <pthread.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cerrno>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>

namespace pharos::controlplane {

namespace {

// Work of one turn at one source. 64 datagrams are some 20 us at the dearest, so a hundred sources
// still get their turn within the millisecond that an unpinned thread sleeps anyway.
constexpr unsigned ring_batch_datagrams = 64;
// What replace_rings() reads from the rings it takes away; a peer that keeps filling cannot hold us
// longer.
constexpr unsigned ring_drain_datagrams_max = 1U << 16;
// Nobody signals a ring: while there are any, the thread looks this often.
constexpr Duration ring_poll_interval = milliseconds(1);
// How old a ring's own time of arrival may be; older ones are taken for this, and then fail the
// time window.
constexpr Duration ring_age_max = seconds(600);

// One writer; any thread reads single values.
struct Counters {
  std::array<std::atomic<std::uint64_t>, beacon_verdict_count> verdicts{};
  std::array<std::atomic<std::uint64_t>, ingest_counter_count> counters{};

  void count(BeaconVerdict v) noexcept { bump(verdicts[static_cast<std::size_t>(v)], 1); }
  void count(IngestCounter c, std::uint64_t by = 1) noexcept {
    bump(counters[static_cast<std::size_t>(c)], by);
  }

 private:
  static void bump(std::atomic<std::uint64_t>& value, std::uint64_t by) noexcept {
    // relaxed: one writer, and readers need no order
    value.store(value.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
  }
};

// The least that the kernel counts for a datagram in a socket's buffer.
constexpr std::size_t socket_datagram_bytes_min = 512;

struct Ring {
  RingConsumer consumer;
  ReadHorizon horizon;
  std::uint64_t dropped_seen = 0;
  std::uint64_t faults_seen = 0;
};

}  // namespace

struct Ingest::State {
  State(Options o, BeaconSites sites)
      : options(std::move(o)),
        gate(std::move(sites), options.window),
        queue(options.queue_beacons) {}

  // constant after open()
  Options options;
  std::vector<UdpReceiver> sockets;
  UniqueFd epoll;
  UniqueFd mail_event;  // wakes the ingest thread
  UniqueFd wake_event;  // wakes the engine

  // owned by the ingest thread (or by whoever turns by hand)
  BeaconGate gate;
  std::vector<Ring> rings;
  AcceptedBeacon scratch;
  std::vector<AcceptedBeacon> deferred_leaving;  // at most one a site; go before anything newer
  std::size_t first_source = 0;                  // rotates
  std::vector<ReadHorizon> socket_horizons;
  Instant looked;                     // the last turn's beginning
  bool pushed = false;                // in this turn
  std::vector<PolicySample> samples;  // until somebody takes them

  // shared, lock free
  BeaconQueue queue;
  Counters counters;
  // exchange on both sides, acq_rel: whoever finds it false knows that the other side will look
  // again
  std::atomic<bool> wake_pending{false};
  // release by the ingest thread when the beacons that had arrived by then are pushed; acquire in hearing()
  std::atomic<std::int64_t> listened_ns{0};
  // relaxed: a duration and nothing else; the ingest thread raises it, hearing() takes it
  std::atomic<std::int64_t> stalled_ns{0};
  // A time that the engine waits for; 0: none. The exchange that finds it answers it.
  std::atomic<std::int64_t> wanted_ns{0};

  // the mailbox: everything below is guarded by `mutex`, but for the flag
  std::mutex mutex;
  std::condition_variable mail_done;
  std::vector<std::move_only_function<void()>> mail;
  bool running = false;
  std::uint64_t mail_posted = 0, mail_handled = 0;
  // release when mail is posted, acquire by the ingest thread; only a hint, `mutex` orders the
  // contents
  std::atomic<bool> mail_waits{false};
  std::jthread thread;

  std::mutex demand_mutex;  // guards the next
  std::vector<DemandSample> demand;

  void call(std::move_only_function<void()> action);
  void read_mail();
  std::size_t turn(Now now);
  std::size_t read_ring(Ring& ring, Now now);
  std::size_t read_socket(std::size_t index, Now now);
  void admit(ConstBytes datagram, Instant received, WallTime wall);
  [[nodiscard]] bool take_sample(ConstBytes record);
  [[nodiscard]] bool take_demand(ConstBytes record);
  void defer_leaving();
  bool flush_deferred();
  void note_stall(Duration late) noexcept;
  void note_listened(Instant at);
  void wake_engine();
  Status attach(std::vector<UniqueFd> fds);
  void run(const std::stop_token& stop);
  [[nodiscard]] std::optional<Instant> wait();
};

// Runs `action` on the ingest thread and waits for it; here and now where there is no thread.
void Ingest::State::call(std::move_only_function<void()> action) {
  std::unique_lock lock(mutex);
  if (!running) {
    action();
    return;
  }
  mail.push_back(std::move(action));
  const auto ticket = ++mail_posted;
  mail_waits.store(true, std::memory_order_release);  // partner: the exchange in read_mail()
  const std::uint64_t one = 1;
  (void)!::write(mail_event.get(), &one, sizeof one);
  mail_done.wait(lock, [&] { return mail_handled >= ticket; });
}

void Ingest::State::read_mail() {
  if (!mail_waits.load(std::memory_order_relaxed)) return;  // relaxed: the exchange below orders
  if (!mail_waits.exchange(false, std::memory_order_acquire)) return;
  std::uint64_t ignored = 0;
  (void)!::read(mail_event.get(), &ignored, sizeof ignored);
  const std::lock_guard lock(mutex);
  for (auto& action : mail) action();
  mail_handled += mail.size();
  mail.clear();
  mail_done.notify_all();
}

void Ingest::State::admit(ConstBytes datagram, Instant received, WallTime wall) {
  const auto verdict = gate.admit(datagram, received, wall, scratch);
  counters.count(verdict);
  if (verdict != BeaconVerdict::accepted) return;
  const bool leaving = scratch.report.leaving;
  if (flush_deferred() && queue.push(scratch)) {
    pushed = true;
  } else if (leaving) {
    defer_leaving();
  } else {
    counters.count(IngestCounter::queue_full);
  }
}

// Keeps scratch until there is room: an orderly stop must reach the engine. Bounded by one for each
// site.
void Ingest::State::defer_leaving() {
  counters.count(IngestCounter::leaving_deferred);
  const auto same = std::ranges::find_if(deferred_leaving, [&](const AcceptedBeacon& b) {
    return b.site == scratch.site && b.site_set == scratch.site_set;
  });
  if (same != deferred_leaving.end()) {
    std::swap(*same, scratch);
  } else {
    deferred_leaving.push_back(std::move(scratch));
    scratch = {};
  }
}

// True where nothing deferred is left.
bool Ingest::State::flush_deferred() {
  while (!deferred_leaving.empty()) {
    if (!queue.push(deferred_leaving.front())) return false;
    deferred_leaving.erase(deferred_leaving.begin());
    pushed = true;
  }
  return true;
}

// False: the record is none that our data plane makes.
bool Ingest::State::take_sample(ConstBytes record) {
  if (record.size() < sizeof(PolicySampleHead)) return false;
  PolicySample sample{};
  sample.head = load<PolicySampleHead>(record.data());
  const auto name = record.subspan(sizeof sample.head);
  const auto& id = sample.head.policy;
  const bool id_is_text = id.back() == '\0' && id.front() != '\0' &&
                          std::all_of(id.begin(), std::ranges::find(id, '\0'),
                                      [](char c) { return c > ' ' && c < 0x7f; });
  if (!id_is_text || name.size() != sample.head.name_bytes || !dns::name_is_sound(name) ||
      std::to_underlying(sample.head.action) >= catalog::policy_action_count ||
      sample.head.client_prefix_bits > 128) {
    return false;
  }
  counters.count(IngestCounter::samples);
  if (samples.size() >= samples_max) {
    counters.count(IngestCounter::samples_dropped);
    return true;
  }
  std::ranges::copy(name, sample.name.begin());
  samples.push_back(sample);
  return true;
}

// False as above. The lock is free but for the moment in which the engine swaps the samples out.
bool Ingest::State::take_demand(ConstBytes record) {
  if (record.size() < sizeof(DemandHead)) return false;
  const auto head = load<DemandHead>(record.data());
  const auto entries = record.subspan(sizeof head);
  if (head.entry_count > demand_entries_max ||
      entries.size() != head.entry_count * sizeof(DemandEntry)) {
    return false;
  }
  counters.count(IngestCounter::demand_samples, head.entry_count);
  const std::lock_guard lock(demand_mutex);
  if (demand.size() + head.entry_count > demand_samples_max) {
    counters.count(IngestCounter::demand_dropped, head.entry_count);
    return true;
  }
  for (std::uint32_t i = 0; i < head.entry_count; ++i) {
    demand.push_back({head.pools_id, head.locales_id, head.catalog_id,
                      load<DemandEntry>(entries.data() + i * sizeof(DemandEntry))});
  }
  return true;
}

std::size_t Ingest::State::read_ring(Ring& ring, Now now) {
  std::size_t count = 0;
  for (; count < ring_batch_datagrams; ++count) {
    const auto record = ring.consumer.pop();
    if (!record) break;
    if (record->kind == RingRecordKind::query_sample && take_sample(record->bytes)) continue;
    if (record->kind == RingRecordKind::demand && take_demand(record->bytes)) continue;
    if (record->kind != RingRecordKind::beacon || record->bytes.size() < sizeof(BeaconArrival)) {
      counters.count(IngestCounter::ring_foreign);
      continue;
    }
    const auto arrival = load<BeaconArrival>(record->bytes.data());
    const Instant received{
        std::clamp(arrival.received_ns, (now.monotonic - ring_age_max).ns, now.monotonic.ns)};
    const WallTime wall{now.wall.ns - (now.monotonic - received).ns};
    counters.count(IngestCounter::datagrams_ring);
    admit(record->bytes.subspan(sizeof arrival), received, wall);
  }
  if (count != 0) ring.consumer.release();
  ring.horizon.looked(now.monotonic, count, count < ring_batch_datagrams);
  const auto dropped = ring.consumer.dropped_records();
  counters.count(IngestCounter::ring_dropped, dropped - ring.dropped_seen);
  ring.dropped_seen = dropped;
  const auto faults = ring.consumer.faults();
  counters.count(IngestCounter::ring_faults, faults - ring.faults_seen);
  ring.faults_seen = faults;
  return count;
}

std::size_t Ingest::State::read_socket(std::size_t index, Now now) {
  const auto batch = sockets[index].receive();
  socket_horizons[index].looked(now.monotonic, batch.datagrams.size() + batch.truncated,
                                !batch.more);
  for (const auto datagram : batch.datagrams) admit(datagram, now.monotonic, now.wall);
  counters.count(IngestCounter::datagrams_socket, batch.datagrams.size() + batch.truncated);
  counters.count(IngestCounter::socket_truncated, batch.truncated);
  counters.count(IngestCounter::socket_dropped, batch.dropped);
  counters.count(IngestCounter::socket_errors, batch.failed ? 1 : 0);
  return batch.datagrams.size() + batch.truncated;
}

std::size_t Ingest::State::turn(Now now) {
  read_mail();
  pushed = false;
  flush_deferred();
  std::size_t seen = 0;
  const auto sources = rings.size() + sockets.size();
  for (std::size_t i = 0; i < sources; ++i) {
    const auto source = (first_source + i) % sources;
    seen += source < rings.size() ? read_ring(rings[source], now)
                                  : read_socket(source - rings.size(), now);
  }
  ++first_source;
  note_listened(now.monotonic);
  if (pushed) wake_engine();
  counters.count(IngestCounter::turns);
  counters.count(IngestCounter::turns_empty, seen == 0 ? 1 : 0);
  return seen;
}

void Ingest::State::note_stall(Duration late) noexcept {
  // A stall that hearing() takes meanwhile may be told twice.
  if (late.ns > stalled_ns.load(std::memory_order_relaxed))
    stalled_ns.store(late.ns, std::memory_order_relaxed);
}

// Once this turn's beacons are pushed.
void Ingest::State::note_listened(Instant at) {
  Instant until = at;
  for (const auto& ring : rings) until = std::min(until, ring.horizon.until());
  for (const auto& horizon : socket_horizons) until = std::min(until, horizon.until());
  const auto former = std::exchange(looked, at);
  if (until.ns > listened_ns.load(std::memory_order_relaxed))  // relaxed: our own
    listened_ns.store(until.ns, std::memory_order_release);    // partner: hearing()
  // acquire: what the engine did before it asked; relaxed first, since mostly nobody asks
  if (wanted_ns.load(std::memory_order_relaxed) == 0) return;
  auto wanted = wanted_ns.load(std::memory_order_acquire);
  if (wanted == 0 || wanted > listened_ns.load(std::memory_order_relaxed)) return;
  if (!wanted_ns.compare_exchange_strong(wanted, 0, std::memory_order_acq_rel)) return;
  note_stall(at - std::max(Instant{wanted}, former));
  wake_engine();
}

void Ingest::State::wake_engine() {
  // partner: the exchange in begin_drain(). Found true: the engine has yet to drain, and will see
  // what was pushed.
  if (wake_pending.exchange(true, std::memory_order_acq_rel)) return;
  const std::uint64_t one = 1;
  (void)!::write(wake_event.get(), &one, sizeof one);
  counters.count(IngestCounter::wakeups);
}

// On the ingest thread. Reads what the former rings still hold, then attaches to the new ones; all
// or nothing.
Status Ingest::State::attach(std::vector<UniqueFd> fds) {
  const auto at = now();
  for (auto& ring : rings) {
    std::size_t total = 0, count = 0;
    do {
      count = read_ring(ring, at);
      total += count;
    } while (count == ring_batch_datagrams && total < ring_drain_datagrams_max);
  }
  if (pushed) wake_engine();
  std::vector<Ring> fresh;
  for (auto& fd : fds) {
    auto consumer = RingConsumer::attach(std::move(fd));
    if (!consumer)
      return std::unexpected(
          std::move(consumer.error()).in("ring " + std::to_string(fresh.size())));
    fresh.push_back({std::move(*consumer), ReadHorizon(ring_drain_datagrams_max, at.monotonic)});
  }
  rings = std::move(fresh);
  return {};
}

// Returns when the next turn should begin at the latest, if ever: later, and we were kept from it.
std::optional<Instant> Ingest::State::wait() {
  epoll_event events[8];
  const bool must_look = !rings.empty() || !deferred_leaving.empty();
  const timespec interval{0, ring_poll_interval.ns};
  std::optional<Instant> due;
  if (must_look) due = monotonic_now() + ring_poll_interval;
  ::epoll_pwait2(epoll.get(), events, std::size(events), must_look ? &interval : nullptr, nullptr);
  return due;
}

void Ingest::State::run(const std::stop_token& stop) {
  prefer_short_turns();
  std::optional<Instant> due;
  while (!stop.stop_requested()) {
    const auto at = now();
    if (due && at.monotonic > *due) note_stall(at.monotonic - *due);
    const bool idle = turn(at) == 0;
    due = at.monotonic + ring_poll_interval;
    if (!idle) continue;
    if (options.core) {
      _mm_pause();
    } else {
      due = wait();
    }
  }
}

Ingest::Ingest(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}
Ingest::Ingest(Ingest&&) noexcept = default;
Ingest& Ingest::operator=(Ingest&& other) noexcept {
  if (this != &other) {
    stop();
    state_ = std::move(other.state_);
  }
  return *this;
}
Ingest::~Ingest() {
  stop();
}

Result<Ingest> Ingest::open(Options options, BeaconSites sites) {
  if (!std::has_single_bit(options.queue_beacons)) {
    return fail(ErrorCode::invalid,
                "queue of " + std::to_string(options.queue_beacons) + " beacons", "ingest",
                "give a power of two");
  }
  auto state = std::make_unique<State>(std::move(options), std::move(sites));
  state->epoll = UniqueFd(::epoll_create1(EPOLL_CLOEXEC));
  state->mail_event = UniqueFd(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  state->wake_event = UniqueFd(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  if (!state->epoll || !state->mail_event || !state->wake_event)
    return fail_errno("epoll or eventfd", "ingest");
  std::vector<int> watched = {state->mail_event.get()};
  for (const auto& address : state->options.listen) {
    auto socket = UdpReceiver::open(address, state->options.socket_buffer_bytes);
    if (!socket) return std::unexpected(std::move(socket.error()));
    watched.push_back(socket->fd());
    const auto queued_max = static_cast<std::size_t>(state->options.socket_buffer_bytes) * 2 /
                            socket_datagram_bytes_min;  // the kernel doubles what is asked for
    state->socket_horizons.emplace_back(queued_max, monotonic_now());
    state->sockets.push_back(std::move(*socket));
  }
  for (const int fd : watched) {
    epoll_event event{.events = EPOLLIN, .data = {.fd = fd}};
    if (::epoll_ctl(state->epoll.get(), EPOLL_CTL_ADD, fd, &event) != 0)
      return fail_errno("epoll_ctl", "ingest");
  }
  return Ingest(std::move(state));
}

Status Ingest::start() {
  auto& s = *state_;
  const std::lock_guard lock(s.mutex);
  REQUIRE(!s.running);
  s.thread = std::jthread([&s](const std::stop_token& stop) { s.run(stop); });
  ::pthread_setname_np(s.thread.native_handle(), "ph-ingest");
  if (s.options.core) {
    cpu_set_t cores;
    CPU_ZERO(&cores);
    CPU_SET(*s.options.core, &cores);
    const int code = *s.options.core < CPU_SETSIZE
                         ? ::pthread_setaffinity_np(s.thread.native_handle(), sizeof cores, &cores)
                         : EINVAL;
    if (code != 0) {
      s.thread.request_stop();
      s.thread.join();
      errno = code;
      return fail_errno("pinning to core " + std::to_string(*s.options.core),
                        "controlplane.ingest_core");
    }
  }
  s.running = true;
  return {};
}

void Ingest::stop() noexcept {
  if (!state_ || !state_->thread.joinable()) return;
  auto& s = *state_;
  s.thread.request_stop();
  const std::uint64_t one = 1;
  (void)!::write(s.mail_event.get(), &one, sizeof one);
  s.thread.join();
  {
    const std::lock_guard lock(s.mutex);
    s.running = false;
  }
  s.read_mail();  // what was posted while the thread ended
  std::uint64_t ignored = 0;
  (void)!::read(s.mail_event.get(), &ignored,
                sizeof ignored);  // a new start() begins with a quiet event
}

Status Ingest::replace_rings(std::vector<UniqueFd> rings) {
  Status status;
  state_->call([&] { status = state_->attach(std::move(rings)); });
  return status;
}

void Ingest::replace_sites(BeaconSites sites, Duration window) {
  state_->call([&] { state_->gate.replace(std::move(sites), window); });
}

std::vector<SiteFreshness> Ingest::freshness() {
  std::vector<SiteFreshness> all;
  state_->call([&] { all = state_->gate.freshness(); });
  return all;
}

std::vector<PolicySample> Ingest::take_samples() {
  std::vector<PolicySample> taken;
  state_->call([&] { taken.swap(state_->samples); });
  return taken;
}

void Ingest::take_demand(std::vector<DemandSample>& out) {
  const std::lock_guard lock(state_->demand_mutex);
  out.insert(out.end(), state_->demand.begin(), state_->demand.end());
  state_->demand.clear();
}

void Ingest::import_freshness(std::vector<SiteFreshness> stored) {
  state_->call([&] { state_->gate.import_freshness(stored); });
}

IngestCounters Ingest::counters() const noexcept {
  IngestCounters copy;
  const auto read = [](const std::atomic<std::uint64_t>& value) {
    return value.load(std::memory_order_relaxed);  // relaxed: statistics
  };
  std::ranges::transform(state_->counters.verdicts, copy.verdicts.begin(), read);
  std::ranges::transform(state_->counters.counters, copy.counters.begin(), read);
  return copy;
}

std::vector<config::SocketAddress> Ingest::listening() const {
  std::vector<config::SocketAddress> all;
  for (const auto& socket : state_->sockets) all.push_back(socket.address());
  return all;
}

int Ingest::wake_fd() const noexcept {
  return state_->wake_event.get();
}

void Ingest::begin_drain() noexcept {
  std::uint64_t ignored = 0;
  (void)!::read(state_->wake_event.get(), &ignored, sizeof ignored);
  // partner: the exchange in wake_engine(). After it, every push either is visible to pop() or
  // wakes us again.
  state_->wake_pending.exchange(false, std::memory_order_acq_rel);
}

Hearing Ingest::hearing() noexcept {
  // acquire, partner: note_listened(). exchange, relaxed: see the member
  return {{state_->listened_ns.load(std::memory_order_acquire)},
          {state_->stalled_ns.exchange(0, std::memory_order_relaxed)}};
}

void Ingest::listen_until(Instant time) noexcept {
  auto& s = *state_;
  s.wanted_ns.store(time.ns, std::memory_order_release);  // partner: note_listened()
  s.mail_waits.store(true, std::memory_order_release);    // so that read_mail() quiets the event
  const std::uint64_t one = 1;
  (void)!::write(s.mail_event.get(), &one, sizeof one);
}

bool Ingest::pop(AcceptedBeacon& out) noexcept {
  return state_->queue.pop(out);
}

std::size_t Ingest::turn(Now now) {
  return state_->turn(now);
}

}  // namespace pharos::controlplane
