#include "capture.hh"

#include <signal.h>
#include <time.h>

#include <sodium.h>

#include <algorithm>
#include <atomic>
#include <ostream>

#include "view_parts.hh"

namespace pharos::controlplane::ctl {

namespace {

constexpr Duration look_interval = milliseconds(50);

std::atomic<bool> interrupted{false};
static_assert(std::atomic<bool>::is_always_lock_free);

[[nodiscard]] Result<std::string> from_base64(const std::string& text) {
  std::string bytes(text.size(), '\0');
  std::size_t length = 0;
  if (sodium_base642bin(reinterpret_cast<unsigned char*>(bytes.data()), bytes.size(), text.data(),
                        text.size(), nullptr, &length, nullptr,
                        sodium_base64_VARIANT_ORIGINAL) != 0)
    return fail(ErrorCode::invalid, "the data plane sent what is no frame");
  bytes.resize(length);
  return bytes;
}

[[nodiscard]] std::uint64_t count_of(const json& told, const char* name) {
  const auto& value = at(told, name);
  return value.is_number_unsigned() ? value.get<std::uint64_t>() : 0;
}

// Frames of one look, by time: they come worker by worker.
[[nodiscard]] Result<std::vector<CapturedFrame>> frames_of(const json& told) {
  std::vector<CapturedFrame> frames;
  const auto& list = at(told, "frames");
  if (!list.is_array()) return frames;
  for (const auto& item : list) {
    const auto& data = at(item, "data");
    const auto& time = at(item, "time_ns");
    if (!data.is_string() || !time.is_number_integer()) continue;
    auto bytes = from_base64(data.get<std::string>());
    if (!bytes) return std::unexpected(std::move(bytes.error()));
    const auto& out = at(item, "out");
    frames.push_back({.time_ns = time.get<std::int64_t>(),
                      .wire_bytes = static_cast<std::uint32_t>(count_of(item, "bytes")),
                      .out = out.is_boolean() && out.get<bool>(),
                      .bytes = std::move(*bytes)});
  }
  std::ranges::stable_sort(frames, {}, &CapturedFrame::time_ns);
  return frames;
}

// A capture that runs, on this side.
class Reading {
 public:
  Reading(const CaptureSource& source, const CaptureLimits& limits, PcapngWriter& writer, json id)
      : source_(source), limits_(limits), writer_(writer), id_(std::move(id)) {}

  [[nodiscard]] Status run() {
    const auto end = source_.now() + limits_.time;
    while (!full_ && !source_.interrupted()) {
      const bool last = limits_.time.ns != 0 && source_.now() >= end;
      const auto more = look();
      if (!more) return std::unexpected(more.error());
      if (auto ok = writer_.flush(); !ok) return ok;
      if (last && !*more) break;
      if (!*more && !full_) source_.pause(look_interval);
    }
    return {};
  }

  [[nodiscard]] std::uint64_t frames() const { return frames_; }
  [[nodiscard]] std::uint64_t dropped() const { return dropped_; }
  [[nodiscard]] std::int64_t last_ns() const { return last_ns_; }

 private:
  // Whether there is more at once.
  [[nodiscard]] Result<bool> look() {
    const auto told = source_.ask("capture-read", {{"id", id_}});
    if (!told) return std::unexpected(told.error());
    dropped_ = count_of(*told, "dropped");
    const auto frames = frames_of(*told);
    if (!frames) return std::unexpected(frames.error());
    for (const auto& frame : *frames) {
      const auto written = writer_.write(frame);
      if (!written) return std::unexpected(written.error());
      if (!*written) {
        full_ = true;
        return false;
      }
      last_ns_ = frame.time_ns;
      if (++frames_ == limits_.frames) {
        full_ = true;
        return false;
      }
    }
    const auto& more = at(*told, "more");
    return more.is_boolean() && more.get<bool>();
  }

  const CaptureSource& source_;
  const CaptureLimits& limits_;
  PcapngWriter& writer_;
  json id_;
  bool full_ = false;
  std::uint64_t frames_ = 0, dropped_ = 0;
  std::int64_t last_ns_ = 0;
};

}  // namespace

CaptureSource capture_by_the_clock(
    std::function<Result<json>(const std::string&, const json&)> ask) {
  struct sigaction action{};
  action.sa_handler = [](int) {
    interrupted.store(true, std::memory_order_relaxed);  // relaxed: looked at again and again
  };
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
  return {.ask = std::move(ask),
          .pause =
              [](Duration time) {
                const timespec wait{.tv_sec = time.ns / 1'000'000'000,
                                    .tv_nsec = time.ns % 1'000'000'000};
                ::clock_nanosleep(CLOCK_MONOTONIC, 0, &wait, nullptr);
              },
          .now = monotonic_now,
          .interrupted = [] { return interrupted.load(std::memory_order_relaxed); }};
}

Status capture(const CaptureSource& source, const json& order, PcapngTarget target,
               const CaptureLimits& limits, const Terminal& terminal) {
  const auto started = source.ask("capture-start", order);
  if (!started) return std::unexpected(started.error());
  const auto& id = at(*started, "id");
  const json which = {{"id", id}};
  const auto path = target.path;
  target.interface = word(*started, "port");
  auto writer = PcapngWriter::open(std::move(target));
  if (!writer) {
    (void)source.ask("capture-stop", which);
    return std::unexpected(writer.error());
  }
  Reading reading(source, limits, *writer, id);
  auto outcome = reading.run();
  const auto finished = writer->finish(reading.dropped(), reading.last_ns());
  const auto stopped = source.ask("capture-stop", which);
  if (outcome && !finished) outcome = finished;
  if (outcome && !stopped) outcome = std::unexpected(stopped.error());
  terminal.error << reading.frames() << " frames" << (path == "-" ? "" : " in " + harmless(path))
                 << ", " << reading.dropped() << " dropped\n";
  return outcome;
}

}  // namespace pharos::controlplane::ctl
