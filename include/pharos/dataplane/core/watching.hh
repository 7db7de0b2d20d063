// Watching: the control thread's side of what is copied of the packet path (observe/README.md). Owns the watch that serving
// threads see, its rings, and the thread that sends dnstap.
#pragma once

#include "pharos/base/error.hh"
#include "pharos/config/model.hh"
#include "pharos/dataplane/core/capture_session.hh"
#include "pharos/dataplane/core/rcu.hh"
#include "pharos/dataplane/observe/dnstap_writer.hh"
#include "pharos/dataplane/observe/hot_names.hh"
#include "pharos/dataplane/observe/watch.hh"

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace pharos::dataplane {

class Watching {
 public:
  // `published` outlives it. `seat_count`: serving threads, the kernel lane included.
  Watching(RcuPointer<const Watch>& published, unsigned seat_count, bool sample_names);
  ~Watching();  // no serving thread may be left
  Watching(const Watching&) = delete;
  Watching& operator=(const Watching&) = delete;

  // Starts the dnstap thread, where `on_start` runs first. Errors: unavailable.
  [[nodiscard]] Status start(std::function<void()> on_start);
  // Puts `config` in force. What is as it was goes on undisturbed; otherwise waits for a grace period.
  void apply(const config::Config& config);
  // Begins a capture and returns its id. Errors: conflict (one runs already).
  [[nodiscard]] Result<std::uint64_t> start_capture(CaptureOrder order);
  // The capture of this id, or nullptr: it has ended.
  [[nodiscard]] CaptureSession* capture(std::uint64_t id) noexcept;
  void stop_capture(const char* why);
  // Where the serving thread of this seat puts samples of names; nullptr: nowhere.
  [[nodiscard]] RecordRing* name_ring(unsigned seat) const noexcept {
    return name_rings_.empty() ? nullptr : name_rings_[seat].get();
  }
  // As of the last tick.
  [[nodiscard]] const HotNames& hot_names() const noexcept { return hot_names_; }
  // With all samples so far.
  [[nodiscard]] const HotNames& hot_names(Instant now);
  // Once a second: takes samples of names, ends a capture that nobody reads.
  void tick(Instant now);
  // Behind the last serving thread: sends what waits, and ends.
  void stop() noexcept;

  [[nodiscard]] DnstapReport dnstap() const { return writer_.report(); }
  [[nodiscard]] std::vector<std::string> alarms() const;

 private:
  [[nodiscard]] std::shared_ptr<const RingSet> make_rings(std::uint64_t bytes) const;
  [[nodiscard]] DnstapWatch watch_of(const config::DnstapConfig& dnstap) const;
  // Makes what serving threads see of `dnstap_watch_` and `capture_`.
  void publish();

  RcuPointer<const Watch>& published_;
  unsigned seat_count_;
  CookieSecret dnstap_key_{};  // where none is configured
  config::DnstapConfig dnstap_;
  DnstapServer server_;
  std::optional<DnstapWatch> dnstap_watch_;
  std::optional<CaptureSession> capture_;
  std::uint64_t captures_ = 0;  // so far
  RingSet name_rings_;          // by seat, or empty
  HotNames hot_names_;
  std::unique_ptr<const Watch> watch_;
  DnstapWriter writer_;
};

}  // namespace pharos::dataplane
