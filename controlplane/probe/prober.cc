#include "pharos/controlplane/probe/prober.hh"

#include <algorithm>
#include <array>

namespace pharos::probe {
namespace {

constexpr int events_max = 256;

}  // namespace

Duration worst_notice(const Spec& spec) noexcept {
  const auto interval = static_cast<double>(spec.interval.ns) * (1 + spec.jitter);
  const auto look = interval + static_cast<double>(spec.timeout.ns);
  return Duration{static_cast<std::int64_t>(look * std::max(spec.fall, 1U))};
}

Prober::Prober(UniqueFd epoll, std::uint64_t seed) : epoll_(std::move(epoll)), random_(seed) {}
Prober::Prober(Prober&&) noexcept = default;
Prober& Prober::operator=(Prober&&) noexcept = default;
Prober::~Prober() = default;

Result<Prober> Prober::open(std::uint64_t seed) {
  UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) return fail_errno("epoll_create1", "probes");
  Prober prober(std::move(epoll), seed);
  auto system = TlsContext::make({});
  if (!system) return std::unexpected(std::move(system).error());
  prober.trusted_.emplace(std::string(), std::move(*system));
  return prober;
}

const TlsContext* Prober::trusting(const std::string& ca_file) {
  const auto [at, first] = trusted_.try_emplace(ca_file);
  if (first) {
    if (auto made = TlsContext::make(ca_file)) at->second.emplace(std::move(*made));
  }
  return at->second ? &*at->second : nullptr;
}

// splitmix64 (Steele, Lea and Flood 2014).
double Prober::draw() noexcept {
  std::uint64_t x = random_ += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return static_cast<double>((x ^ (x >> 31)) >> 11) * 0x1p-53;
}

Duration Prober::next_interval(const Spec& spec) noexcept {
  const double factor = 1 + spec.jitter * (2 * draw() - 1);
  return Duration{static_cast<std::int64_t>(factor * static_cast<double>(spec.interval.ns))};
}

std::size_t Prober::add(Spec spec, Instant now) {
  const auto first =
      now + Duration{static_cast<std::int64_t>(draw() * static_cast<double>(spec.interval.ns))};
  auto& watched = targets_.emplace_back();
  watched.spec = std::move(spec);
  watched.tls = trusting(watched.spec.target.ca_file);
  arm(targets_.size() - 1, first);
  return targets_.size() - 1;
}

void Prober::arm(std::size_t target, Instant at) {
  targets_[target].due = at;
  timers_.push_back({at, target});
  std::push_heap(timers_.begin(), timers_.end());
}

Instant Prober::next_time() const noexcept {
  return timers_.empty() ? Instant{INT64_MAX} : timers_.front().at;
}

void Prober::begin(std::size_t target, Instant now) {
  auto& watched = targets_[target];
  ++running_;
  ++looks_;
  if (watched.spec.target.kind == Kind::exec) ++programs_;
  watched.begun = monotonic_now();
  watched.running = Probe::start(watched.spec.target, watched.tls);
  watched.events = 0;
  arm(target, now + watched.spec.timeout);
  watch(target);
  if (watched.running->outcome()) finish(target, *watched.running->outcome(), now);
}

// Tells epoll what the probe waits for now.
void Prober::watch(std::size_t target) {
  auto& watched = targets_[target];
  const auto wanted = watched.running->events();
  if (watched.running->outcome() || wanted == watched.events) return;
  epoll_event event{.events = wanted, .data = {.u64 = target}};
  const int operation = watched.events == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
  if (::epoll_ctl(epoll_.get(), operation, watched.running->fd(), &event) == 0)
    watched.events = wanted;
  // Where that fails the deadline comes, and says so.
}

void Prober::finish(std::size_t target, Outcome outcome, Instant now) {
  auto& watched = targets_[target];
  watched.running.reset();  // closing takes the descriptor out of the epoll set
  --running_;
  if (watched.spec.target.kind == Kind::exec) --programs_;
  const auto before = watched.up;
  watched.reason = std::move(outcome.reason);
  if (outcome.up) watched.took = monotonic_now() - watched.begun;
  if (!watched.up) watched.up = outcome.up;
  watched.streak = outcome.up == *watched.up ? 0 : watched.streak + 1;
  if (watched.streak >= std::max(outcome.up ? watched.spec.rise : watched.spec.fall, 1U)) {
    if (watched.streak > 0) watched.up = outcome.up;
    watched.streak = 0;
  }
  if (watched.up != before) changed_.push_back(target);
  arm(target, now + next_interval(watched.spec));
}

void Prober::begin_waiting(Instant now) {
  while (!waiting_.empty() && running_ < running_max) {
    const auto target = waiting_.front();
    waiting_.pop_front();
    begin(target, now);
  }
  while (!waiting_programs_.empty() && running_ < running_max && programs_ < programs_max) {
    const auto target = waiting_programs_.front();
    waiting_programs_.pop_front();
    begin(target, now);
  }
}

void Prober::turn(Instant now) {
  std::array<epoll_event, events_max> events;
  int count = events_max;
  while (count == events_max) {
    count = ::epoll_wait(epoll_.get(), events.data(), events_max, 0);
    for (int i = 0; i < count; ++i) {
      const auto target = static_cast<std::size_t>(events[static_cast<std::size_t>(i)].data.u64);
      auto& watched = targets_[target];
      if (watched.running == nullptr) continue;
      watched.running->ready();
      if (watched.running->outcome()) {
        finish(target, *watched.running->outcome(), now);
      } else {
        watch(target);
      }
    }
  }
  while (!timers_.empty() && timers_.front().at <= now) {
    const auto timer = timers_.front();
    std::pop_heap(timers_.begin(), timers_.end());
    timers_.pop_back();
    auto& watched = targets_[timer.target];
    if (watched.due != timer.at) continue;  // armed anew since
    if (watched.running != nullptr) {
      finish(timer.target, {false, "no answer in time"}, now);
    } else {
      watched.due = Instant{};
      auto& waiting = watched.spec.target.kind == Kind::exec ? waiting_programs_ : waiting_;
      waiting.push_back(timer.target);
    }
  }
  begin_waiting(now);
}

}  // namespace pharos::probe
