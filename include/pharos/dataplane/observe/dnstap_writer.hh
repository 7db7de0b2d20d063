// DnstapWriter: the thread that empties the dnstap rings and sends what was in them to the reader.
//
//   rings of all seats --> encode --> FrameStream --> reader
//
// It starts with the process and sleeps while dnstap is off, since no thread may be started once rights are given up. A reader
// that is absent is tried again, a second later at first, then ever less often up to every ten seconds; meanwhile the rings fill, and
// serving threads count what they have no room for. Nobody waits for this thread but stop() and change().
#pragma once

#include "pharos/base/clock.hh"
#include "pharos/base/error.hh"
#include "pharos/dataplane/observe/dnstap_frame.hh"
#include "pharos/dataplane/observe/frame_stream.hh"
#include "pharos/dataplane/observe/watch.hh"

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace pharos::dataplane {

struct DnstapJob {
  FrameTarget target;
  DnstapServer server;
  std::shared_ptr<const RingSet> rings;
};

// How it stands with the reader.
struct DnstapReport {
  bool on = false;
  bool connected = false;
  std::string target;
  std::uint64_t frames = 0;  // sent since the process started, as the next two
  std::uint64_t bytes = 0;
  std::uint64_t connections = 0;
  std::uint64_t lost = 0;  // at most: taken from rings and on the way when a connection broke
  Instant since;           // connected, or not
  std::string last_error;  // of the last attempt or connection; empty: none
};

class DnstapWriter {
 public:
  DnstapWriter() = default;
  ~DnstapWriter();  // stops
  DnstapWriter(const DnstapWriter&) = delete;
  DnstapWriter& operator=(const DnstapWriter&) = delete;

  // ---- control thread ----
  // Begins, in a thread of its own, where `on_start` runs first. Errors: unavailable.
  [[nodiscard]] Status start(std::function<void()> on_start = {});
  // Sends what waits, as far as the reader takes it within half a second, and ends the thread. May be called twice.
  void stop() noexcept;
  // Another reader, other rings, or none. Rings that are no longer filled are emptied first where a reader is there.
  void change(std::optional<DnstapJob> job);
  [[nodiscard]] DnstapReport report() const;

 private:
  void run() noexcept;
  void round() noexcept;
  void take_change();
  void connect();
  [[nodiscard]] unsigned drain();
  [[nodiscard]] bool send(ConstBytes record);
  void disconnect(const Error& why);
  void note(const std::function<void(DnstapReport&)>& change);
  void pause(Duration time);

  // The writer's thread.
  std::optional<DnstapJob> job_;
  std::optional<FrameStream> stream_;
  std::vector<std::uint8_t> frame_;
  Instant next_attempt_;
  Duration retry_ = seconds(1);
  Duration idle_ = milliseconds(1);
  unsigned unsent_frames_ = 0;  // in the stream's buffer

  // Shared.
  std::atomic<bool> stopping_{false};
  mutable std::mutex mutex_;  // guards the rest
  std::condition_variable changed_;
  bool has_mail_ = false;
  std::optional<DnstapJob> mail_;
  DnstapReport report_;

  std::thread thread_;  // the control thread's
};

}  // namespace pharos::dataplane
