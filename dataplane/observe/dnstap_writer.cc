#include "pharos/dataplane/observe/dnstap_writer.hh"

#include "pharos/base/thread.hh"

#include <pthread.h>

#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <utility>

namespace pharos::dataplane {

namespace {

// Rings are looked at this often: at least while messages come, at most while none do.
constexpr Duration idle_min = milliseconds(1);
constexpr Duration idle_max = milliseconds(50);
constexpr Duration retry_min = seconds(1);
constexpr Duration retry_max = seconds(10);
// Of each ring, before the others and the mail are looked at again.
constexpr unsigned records_a_round = 1024;

}  // namespace

DnstapWriter::~DnstapWriter() {
  stop();
}

Status DnstapWriter::start(std::function<void()> on_start) {
  // Signals are the control thread's.
  auto started = start_quiet_thread(std::move(on_start), [this] { run(); }, "dnstap");
  if (!started) return std::unexpected(std::move(started).error());
  thread_ = std::move(*started);
  return {};
}

void DnstapWriter::stop() noexcept {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    stopping_.store(true, std::memory_order_relaxed);  // relaxed: the mutex orders it
  }
  changed_.notify_one();
  thread_.join();
}

void DnstapWriter::change(std::optional<DnstapJob> job) {
  {
    const std::lock_guard lock(mutex_);
    mail_ = std::move(job);
    has_mail_ = true;
  }
  changed_.notify_one();
}

DnstapReport DnstapWriter::report() const {
  const std::lock_guard lock(mutex_);
  return report_;
}

void DnstapWriter::note(const std::function<void(DnstapReport&)>& change) {
  const std::lock_guard lock(mutex_);
  change(report_);
}

void DnstapWriter::run() noexcept {
  ::pthread_setname_np(::pthread_self(), "pharos-dnstap");
  // relaxed: looked at every round
  while (!stopping_.load(std::memory_order_relaxed)) round();
  if (stream_) (void)drain();
  stream_.reset();
}

void DnstapWriter::round() noexcept {
  take_change();
  if (!job_) return pause(Duration{-1});
  if (!stream_) connect();
  if (!stream_) return pause(next_attempt_ - monotonic_now());
  const unsigned records = drain();
  if (stream_ && records == 0 && stream_->is_closed_by_peer())
    disconnect(
        {ErrorCode::unavailable, "the reader closed the connection", job_->target.text(), {}});
  idle_ = records != 0 ? idle_min : std::min(idle_ * 2, idle_max);
  if (records < records_a_round) pause(idle_);
}

// Sleeps; for ever where `time` is negative. Mail and the end wake it.
void DnstapWriter::pause(Duration time) {
  std::unique_lock lock(mutex_);
  const auto woken = [&] {
    return has_mail_ || stopping_.load(std::memory_order_relaxed);  // relaxed: see stop()
  };
  if (time.ns < 0 && !job_) {
    changed_.wait(lock, woken);
  } else {
    changed_.wait_for(lock, std::chrono::nanoseconds(std::max<std::int64_t>(time.ns, 0)), woken);
  }
}

void DnstapWriter::take_change() {
  std::optional<DnstapJob> next;
  {
    const std::lock_guard lock(mutex_);
    if (!std::exchange(has_mail_, false)) return;
    next = std::exchange(mail_, std::nullopt);
  }
  if (stream_) (void)drain();
  stream_.reset();
  job_ = std::move(next);
  next_attempt_ = monotonic_now();
  retry_ = retry_min;
  note([&](DnstapReport& report) {
    report.on = job_.has_value();
    report.connected = false;
    report.target = job_ ? job_->target.text() : "";
    report.since = monotonic_now();
    report.last_error.clear();
  });
}

void DnstapWriter::connect() {
  if (monotonic_now() < next_attempt_) return;
  auto stream = FrameStream::open(job_->target, dnstap_content_type, stopping_);
  if (!stream) {
    next_attempt_ = monotonic_now() + retry_;
    retry_ = std::min(retry_ * 2, retry_max);
    const auto text = stream.error().text();
    bool news = false;
    note([&](DnstapReport& report) { news = std::exchange(report.last_error, text) != text; });
    if (news) spdlog::warn("dnstap: {}", text);
    return;
  }
  stream_.emplace(std::move(*stream));
  retry_ = retry_min;
  unsent_frames_ = 0;
  note([](DnstapReport& report) {
    report.connected = true;
    ++report.connections;
    report.since = monotonic_now();
    report.last_error.clear();
  });
  spdlog::info("dnstap: connected to {}", job_->target.text());
}

void DnstapWriter::disconnect(const Error& why) {
  const auto text = why.text();
  spdlog::warn("dnstap: {}", text);
  note([&](DnstapReport& report) {
    report.connected = false;
    report.since = monotonic_now();
    report.last_error = text;
    report.lost += std::exchange(unsent_frames_, 0U);
  });
  stream_.reset();
  next_attempt_ = monotonic_now() + retry_min;
}

bool DnstapWriter::send(ConstBytes record) {
  if (!encode_dnstap(record, job_->server, frame_)) return true;
  ++unsent_frames_;
  auto written = stream_->write(std::as_bytes(std::span(frame_)));
  if (written) return true;
  disconnect(written.error());
  return false;
}

// Sends what the rings hold, up to `records_a_round` of each, and flushes. Returns how many records that were.
unsigned DnstapWriter::drain() {
  unsigned count = 0;
  const auto before_bytes = stream_->sent_bytes();
  for (const auto& ring : *job_->rings) {
    for (unsigned n = 0; n < records_a_round; ++n) {
      const auto record = ring->front();
      if (record.empty()) break;
      const bool sent = send(record);
      ring->pop();
      if (!sent) return count;
      ++count;
    }
  }
  if (auto flushed = stream_->flush(); !flushed) {
    disconnect(flushed.error());
    return count;
  }
  const auto bytes = stream_->sent_bytes() - before_bytes;
  note([&](DnstapReport& report) {
    report.frames += std::exchange(unsent_frames_, 0U);
    report.bytes += bytes;
  });
  return count;
}

}  // namespace pharos::dataplane
