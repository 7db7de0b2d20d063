#include "pharos/controlplane/ctl/live.hh"

#include <time.h>

#include <array>
#include <initializer_list>
#include <optional>
#include <ostream>

#include "view_parts.hh"

namespace pharos::controlplane::ctl {

namespace {

constexpr std::array dataplane_commands = {"status", "stats", "ports"};
constexpr std::array controlplane_commands = {"status",   "stats",     "sites",
                                              "services", "endpoints", "generations"};

// All of a daemon, or null and why.
template <typename Commands>
Result<json> ask_all(const LiveSource& source, const char* daemon, const Commands& commands) {
  auto all = json::object();
  for (const char* command : commands) {
    auto result = source.ask(daemon, command);
    if (!result) return std::unexpected(std::move(result.error()));
    all[command] = std::move(*result);
  }
  return all;
}

struct Look {
  Snapshot snapshot;
  std::optional<Error> error;  // of the first daemon that did not answer
  bool anyone = false;
};

Look look(const LiveSource& source) {
  Look all;
  const auto take = [&](const char* daemon, Result<json> result) {
    all.anyone = all.anyone || result.has_value();
    if (!result && !all.error) all.error = result.error();
    all.snapshot[daemon] = result ? std::move(*result) : json();
  };
  take("dataplane", ask_all(source, "dataplane", dataplane_commands));
  // A data plane of another version has no such command.
  if (auto names = source.ask("dataplane", "names"); names && all.snapshot["dataplane"].is_object())
    all.snapshot["dataplane"]["names"] = std::move(*names);
  take("controlplane", ask_all(source, "controlplane", controlplane_commands));
  return all;
}

// "14:03:07.215", as the clock of this machine has it.
std::string clock_text() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  tm local{};
  ::localtime_r(&now.tv_sec, &local);
  std::array<char, 16> text{};
  std::strftime(text.data(), text.size(), "%H:%M:%S", &local);
  const auto ms = std::to_string(1000 + now.tv_nsec / 1'000'000).substr(1);
  return std::string(text.data()) + "." + ms;
}

double unix_time_s() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

Status written(const Terminal& terminal) {
  terminal.out.flush();
  if (terminal.out.good()) return {};
  return fail(ErrorCode::unavailable, "the output could not be written");
}

void print(const Event& event, const LiveOptions& options, const Terminal& terminal) {
  if (options.as_json) {
    const json line = {{"time_s", unix_time_s()}, {"kind", event.kind}, {"text", event.text}};
    terminal.out << line.dump(-1, ' ', false, json::error_handler_t::replace) << "\n";
    return;
  }
  terminal.out << coloured(clock_text(), Colour::faint, terminal.colours) << "  "
               << coloured(harmless(event.text), event.colour, terminal.colours) << "\n";
}

}  // namespace

LiveSource by_the_clock(AskDaemon ask) {
  return {.ask = std::move(ask),
          .pause =
              [](Duration time) {
                const timespec wait{.tv_sec = time.ns / 1'000'000'000,
                                    .tv_nsec = time.ns % 1'000'000'000};
                ::clock_nanosleep(CLOCK_MONOTONIC, 0, &wait, nullptr);
              },
          .now = monotonic_now};
}

Status watch(const LiveSource& source, const LiveOptions& options, const Terminal& terminal) {
  auto before = look(source);
  if (!before.anyone) return std::unexpected(*before.error);
  if (!options.as_json && before.error)
    print({"daemon", before.error->text(), Colour::warning}, options, terminal);
  for (unsigned round = 0; options.rounds == 0 || round < options.rounds; ++round) {
    if (auto ok = written(terminal); !ok) return ok;
    source.pause(options.interval);
    auto after = look(source);
    for (const auto& event : events_between(before.snapshot, after.snapshot))
      print(event, options, terminal);
    before = std::move(after);
  }
  return written(terminal);
}

Status top(const LiveSource& source, const LiveOptions& options, const Terminal& terminal) {
  auto before = look(source);
  if (!before.anyone) return std::unexpected(*before.error);
  auto then = source.now();
  for (unsigned round = 0; options.rounds == 0 || round < options.rounds; ++round) {
    source.pause(options.interval);
    auto after = look(source);
    const auto now = source.now();
    const auto frame =
        top_frame(before.snapshot, after.snapshot, now - then, options.rows, terminal.colours);
    // Home, the frame, and away with what is left of the one before.
    if (options.screen) {
      terminal.out << "\033[H\033[2J" << frame;
    } else {
      terminal.out << (round == 0 ? "" : "\n") << frame;
    }
    if (auto ok = written(terminal); !ok) return ok;
    before = std::move(after);
    then = now;
  }
  return written(terminal);
}

}  // namespace pharos::controlplane::ctl
