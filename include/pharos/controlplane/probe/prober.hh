// Tens of thousands of targets, probed again and again by one thread: epoll, one heap of times, nothing that blocks.
//
//   heap of times --due--> start a Probe --epoll--> ready() ... --outcome--> rise and fall counts --> up() ?
//                              |                       |
//                              +---- deadline ---------+--> "no answer in time"
//
// Each target has a rhythm of its own, with jitter, so that probes of many spread out; at most `running_max` run at once, the
// others wait for their turn. One thread owns it; fd() can stand in another poll set.
#pragma once

#include "pharos/controlplane/probe/probe.hh"

#include <sys/epoll.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace pharos::probe {

struct Spec {
  Target target;
  Duration interval = seconds(1);
  Duration timeout = seconds(1);
  double jitter = 0.1;  // of the interval, to either side
  unsigned rise = 1;    // good in a row until it is up, once it was down
  unsigned fall = 1;    // bad in a row until it is down
};

// From a fault right behind a good look to the verdict, at worst: `fall` intervals at their longest, in each a look that
// takes all of its time.
[[nodiscard]] Duration worst_notice(const Spec& spec) noexcept;

class Prober {
 public:
  static constexpr unsigned running_max = 4096;
  static constexpr unsigned programs_max = 64;  // of them: a process each

  // `seed` spreads the jitter. Errors: unavailable.
  [[nodiscard]] static Result<Prober> open(std::uint64_t seed);
  Prober(Prober&&) noexcept;
  Prober& operator=(Prober&&) noexcept;
  ~Prober();

  // The first look is taken within one interval of `now`. Returns the target's number, counted from 0. A target's
  // `ca_file` is read by the first that names it; where it cannot be, looks fail and say so.
  std::size_t add(Spec spec, Instant now);
  [[nodiscard]] std::size_t size() const noexcept { return targets_.size(); }

  // Absent until the first look; that one is believed at once.
  [[nodiscard]] std::optional<bool> up(std::size_t target) const { return targets_[target].up; }
  // Of the last look; empty where it was good.
  [[nodiscard]] const std::string& reason(std::size_t target) const {
    return targets_[target].reason;
  }
  // How long the last look that was good took; absent before.
  [[nodiscard]] std::optional<Duration> took(std::size_t target) const {
    return targets_[target].took;
  }
  [[nodiscard]] std::uint64_t looks() const noexcept { return looks_; }
  // Targets whose up() is another since the last call, in the order of their change.
  [[nodiscard]] std::vector<std::size_t> take_changed() { return std::exchange(changed_, {}); }

  // Readable when turn() has work; and at next_time().
  [[nodiscard]] int fd() const noexcept { return epoll_.get(); }
  [[nodiscard]] Instant next_time() const noexcept;
  // Does what is due, without waiting.
  void turn(Instant now);

 private:
  struct Watched {
    Spec spec;
    const TlsContext* tls = nullptr;
    std::optional<bool> up;
    unsigned streak = 0;  // looks that said otherwise, in a row
    std::string reason;
    std::optional<Duration> took;
    Instant begun;
    std::unique_ptr<Probe> running;
    std::uint32_t events = 0;
    Instant due;  // of the next look, or the deadline of this one
  };
  struct Timer {
    Instant at;
    std::size_t target;
    friend bool operator<(const Timer& a, const Timer& b) noexcept {
      return a.at != b.at ? a.at > b.at : a.target > b.target;
    }
  };
  Prober(UniqueFd epoll, std::uint64_t seed);
  [[nodiscard]] const TlsContext* trusting(const std::string& ca_file);
  void arm(std::size_t target, Instant at);
  void begin(std::size_t target, Instant now);
  void watch(std::size_t target);
  void finish(std::size_t target, Outcome outcome, Instant now);
  void begin_waiting(Instant now);
  [[nodiscard]] Duration next_interval(const Spec& spec) noexcept;
  [[nodiscard]] double draw() noexcept;

  UniqueFd epoll_;
  // By file, of which the empty one is the system's; they stay in place for the probes that point to them.
  std::map<std::string, std::optional<TlsContext>> trusted_;
  std::deque<Watched> targets_;               // stay in place for the same reason
  std::vector<Timer> timers_;                 // a heap; outdated ones are skipped
  std::deque<std::size_t> waiting_;           // for their turn
  std::deque<std::size_t> waiting_programs_;  // the same
  std::vector<std::size_t> changed_;
  unsigned running_ = 0;
  unsigned programs_ = 0;  // of them
  std::uint64_t looks_ = 0;
  std::uint64_t random_;
};

}  // namespace pharos::probe
