#include "pharos/dataplane/core/worker.hh"

#include "pharos/base/clock.hh"
#include "pharos/dataplane/dns/demand.hh"
#include "pharos/dataplane/io/doorbell.hh"

#include <sys/prctl.h>
#include <time.h>
#include <x86intrin.h>

#include <algorithm>
#include <utility>

namespace pharos::dataplane {

namespace {

constexpr double spin_min_us = 2.0;
constexpr double spin_max_us = 20.0;
constexpr double spin_max_doorbell_us = 40.0;
constexpr double wake_us = 10.0;
constexpr std::uint32_t error_sleep_us = 50;
constexpr unsigned long timer_slack_ns = 1;  // the default of 50 us would double every sleep

// With doorbells a sleep ends with the next frame: it may be long at once, and come without a spin where frames are
// far apart. Without, a sleep costs latency: it doubles from 5 to 50 us behind a spin of full length.
[[nodiscard]] IdleLimits limits_for(double cycles_per_us, bool doorbells) {
  IdleLimits limits;
  limits.spin_max_cycles = static_cast<std::uint64_t>(spin_max_us * cycles_per_us);
  limits.spin_min_cycles = limits.spin_max_cycles;
  if (doorbells) {
    limits.spin_max_cycles = static_cast<std::uint64_t>(spin_max_doorbell_us * cycles_per_us);
    limits.spin_min_cycles = static_cast<std::uint64_t>(spin_min_us * cycles_per_us);
    limits.wake_cycles = static_cast<std::uint64_t>(wake_us * cycles_per_us);
    limits.sleep_min_us = limits.sleep_max_us = io::doorbell_wait_us;
  }
  return limits;
}

[[nodiscard]] std::vector<pollfd> doorbells_of(const std::vector<ServedQueue>& queues) {
  std::vector<pollfd> doorbells;
  for (const auto& queue : queues) {
    if (queue.doorbell < 0) return {};
    doorbells.push_back({.fd = queue.doorbell, .events = POLLIN, .revents = 0});
    if (queue.exceptions != nullptr) {
      doorbells.push_back(
          {.fd = queue.exceptions->worker_waker().fd(), .events = POLLIN, .revents = 0});
    }
  }
  return doorbells;
}

// A worker with one polled port polls: that port's core is dedicated.
[[nodiscard]] bool all_adaptive(const std::vector<ServedQueue>& queues) {
  return std::ranges::all_of(queues,
                             [](const auto& q) { return q.idle == config::IdlePolicy::adaptive; });
}

void add(std::atomic<std::uint64_t>& total, std::uint64_t cycles) noexcept {
  // relaxed: one writer, and readers need no order
  total.store(total.load(std::memory_order_relaxed) + cycles, std::memory_order_relaxed);
}

// Workers have the first seats of the process.
[[nodiscard]] ServeOptions in_seat(ServeOptions options, unsigned seat) {
  options.seat = seat;
  return options;
}

}  // namespace

void publish_root(Published& published, const TableRoot* next) noexcept {
  published.root.store(next);
  synchronize_rcu();
}

Worker::Worker(WorkerSettings settings, const Published& published, const ServeOptions& options)
    : settings_(std::move(settings)),
      published_(published),
      ns_per_cycle_(1000.0 / settings_.cycles_per_us),
      may_sleep_(all_adaptive(settings_.queues)),
      doorbells_(doorbells_of(settings_.queues)),
      serve_state_(new ServeState(in_seat(options, settings_.index))),
      idle_(limits_for(settings_.cycles_per_us, !doorbells_.empty())),
      observer_(settings_.index),
      names_(settings_.index, settings_.name_samples_per_second, settings_.names) {}

Worker::~Worker() {
  delete serve_state_.load();
}

std::unique_ptr<ServeState> Worker::exchange_options(const ServeOptions& options) {
  auto next = std::make_unique<ServeState>(in_seat(options, settings_.index));
  return std::unique_ptr<ServeState>(serve_state_.exchange(next.release()));
}

void Worker::run() noexcept {
  ::prctl(PR_SET_TIMERSLACK, timer_slack_ns);
  RcuReader reader;
  turn_started_cycles_ = __rdtsc();
  // relaxed: see Published
  while (!published_.stop.load(std::memory_order_relaxed)) {
    const auto began_cycles = turn_started_cycles_;
    const unsigned received = turn();
    // Here, and nowhere else, no table pointer is held.
    reader.quiescent();
    account(received);
    if (may_sleep_) {
      const auto sleep_us = idle_.after_turn(received != 0, began_cycles, turn_started_cycles_);
      if (sleep_us != 0) sleep(reader, sleep_us);
    }
    if (received == 0) _mm_pause();
  }
}

unsigned Worker::turn() noexcept {
  ServeState& state = *serve_state_.load();
  // The turn's beginning, by the time stamp counter: no clock is read.
  const auto ns = static_cast<double>(turn_started_cycles_) * ns_per_cycle_;
  state.set_time(published_.wall_s.load(std::memory_order_relaxed),  // relaxed: see Published
                 {static_cast<std::int64_t>(ns)});
  unsigned received = 0;
  for (const auto& queue : settings_.queues) {
    received += serve_queue(queue, state);
    if (queue.exceptions != nullptr && queue.exceptions->has_kernel_frames()) [[unlikely]]
      received += send_kernel_frames(queue);
  }
  if (settings_.beacons) forward_to_control_plane(state, *settings_.beacons);
  return received;
}

unsigned Worker::serve_queue(const ServedQueue& queue, ServeState& state) noexcept {
  const unsigned received = io::receive_burst(queue.handle, frames_, mbufs_);
  if (received == 0) return 0;
  const Watch* watch = published_.watch.load();
  const CaptureWatch* capture = watch == nullptr ? nullptr : watch->capture_of(queue.handle.port);
  if (capture != nullptr) [[unlikely]]
    capture->before(settings_.index, frames_);
  classify_burst(*queue.interface, frames_, counters_);
  if (frames_.beacon_count != 0) forward_beacons();
  if (frames_.exception_count != 0 && queue.exceptions != nullptr) [[unlikely]]
    forward_exceptions(*queue.exceptions);
  if (frames_.query_count != 0) {
    if (const TableRoot* root = published_.root.load(); root != nullptr) [[likely]] {
      if (watch != nullptr) [[unlikely]]
        observer_.before(*watch, frames_.queries(), counters_);
      serve_burst(state, *root, frames_.queries(), counters_);
      if (watch != nullptr) [[unlikely]]
        observer_.after(*watch, frames_.queries(), counters_);
      // relaxed: see Published
      names_.note(frames_.queries(), published_.wall_s.load(std::memory_order_relaxed));
    } else {
      for (auto& query : frames_.queries()) {
        query.verdict = Verdict::drop_no_tables;
        counters_.count(Verdict::drop_no_tables);
      }
    }
  }
  finish_burst(*queue.interface, frames_);
  if (capture != nullptr) [[unlikely]]
    capture->after(settings_.index, frames_);
  io::transmit_burst(queue.handle, frames_, mbufs_, counters_);
  return received;
}

// Copied and forgotten: no key, no parsing here.
void Worker::forward_beacons() noexcept {
  const auto received_ns = monotonic_now().ns;
  for (const auto& beacon : frames_.beacons()) {
    if (beacon.bytes.size() + sizeof(BeaconArrival) > ring_record_bytes_max) {
      counters_.count(Verdict::beacon_oversize);
      continue;
    }
    BeaconArrival arrival{};
    arrival.received_ns = received_ns;
    std::ranges::copy(beacon.source.bytes, arrival.source);
    arrival.source_port = beacon.source_port;
    arrival.worker = static_cast<std::uint16_t>(settings_.index);
    const bool taken =
        settings_.beacons &&
        settings_.beacons->push(RingRecordKind::beacon, object_bytes(arrival), beacon.bytes);
    counters_.count(taken ? Verdict::beacon_forwarded : Verdict::beacon_ring_full);
  }
}

// Copied too: the kernel's time is not ours.
void Worker::forward_exceptions(ExceptionQueue& exceptions) noexcept {
  unsigned lost = 0;
  for (const auto index : frames_.exceptions()) {
    const Frame& frame = frames_.frames[index];
    lost += exceptions.give({frame.data, frame.length}) ? 0 : 1;
  }
  exceptions.wake_lane();
  counters_.count(Counter::exception_lost, lost);
}

// What the kernel sends: its ARP, ICMP and TCP. One burst a turn. Returns how many frames there were.
unsigned Worker::send_kernel_frames(const ServedQueue& queue) noexcept {
  const Watch* watch = published_.watch.load();
  const CaptureWatch* capture = watch == nullptr ? nullptr : watch->capture_of(queue.handle.port);
  io::OutgoingBurst burst(queue.handle);
  unsigned count = 0, lost = 0;
  while (!burst.full()) {
    const auto frame = queue.exceptions->take_from_kernel();
    if (!frame) break;
    ++count;
    if (capture != nullptr) [[unlikely]]
      capture->sent(settings_.index, *frame);
    lost += burst.add(*frame) ? 0 : 1;
  }
  queue.exceptions->release_from_kernel();
  const unsigned sent = burst.send();
  counters_.count(Counter::exception_sent, sent);
  counters_.count(Counter::exception_lost, count - sent);
  return count;
}

bool Worker::kernel_frames_wait() noexcept {
  return std::ranges::any_of(settings_.queues, [](const auto& queue) {
    return queue.exceptions != nullptr && queue.exceptions->has_kernel_frames();
  });
}

void Worker::account(unsigned received) noexcept {
  const auto now_cycles = __rdtsc();
  const auto spent = now_cycles - std::exchange(turn_started_cycles_, now_cycles);
  add(total_cycles_, spent);
  counters_.count(Counter::loops);
  if (received != 0) {
    add(busy_cycles_, spent);
  } else {
    counters_.count(Counter::loops_empty);
  }
}

// Offline while asleep, so that no grace period waits for us.
void Worker::sleep(RcuReader& reader, std::uint32_t sleep_us) noexcept {
  reader.offline();
  if (doorbells_.empty()) {
    const timespec pause{.tv_sec = 0, .tv_nsec = static_cast<long>(sleep_us) * 1000};
    ::clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, nullptr);
  } else {
    wait_at_doorbells();
  }
  reader.online();
  counters_.count(Counter::sleeps);
  const auto now_cycles = __rdtsc();
  add(total_cycles_, now_cycles - std::exchange(turn_started_cycles_, now_cycles));
}

// The kernel's frames are looked for once more behind will_sleep(), see Waker.
void Worker::wait_at_doorbells() noexcept {
  for (const auto& queue : settings_.queues) {
    if (queue.exceptions != nullptr) queue.exceptions->worker_waker().will_sleep();
  }
  if (!kernel_frames_wait()) io::wait_at(doorbells_, error_sleep_us);
  for (const auto& queue : settings_.queues) {
    if (queue.exceptions != nullptr) queue.exceptions->worker_waker().woke();
  }
}

double measure_cycles_per_us() {
  const auto started = monotonic_now();
  const auto started_cycles = __rdtsc();
  while ((monotonic_now() - started).ns < 5'000'000) _mm_pause();
  const auto cycles = __rdtsc() - started_cycles;
  return static_cast<double>(cycles) * 1000.0 / static_cast<double>((monotonic_now() - started).ns);
}

}  // namespace pharos::dataplane
