// pharosctl capture: frames of a port from the running data plane, into a file.
//
// It asks for what has been copied again and again; where it is killed, the data plane ends the capture by itself. Private to
// this folder. One thread.
#pragma once

#include "pharos/base/clock.hh"
#include "pharos/base/error.hh"
#include "pharos/controlplane/ctl/terminal.hh"

#include <nlohmann/json.hpp>

#include <functional>
#include <string>

#include "pcapng.hh"

namespace pharos::controlplane::ctl {

struct CaptureLimits {
  std::uint64_t frames = 0;  // 0: any, as of the next
  Duration time{};
};

struct CaptureSource {
  // A command of the data plane's, with write access.
  std::function<Result<nlohmann::json>(const std::string& command, const nlohmann::json&)> ask;
  std::function<void(Duration)> pause;
  std::function<Instant()> now;
  std::function<bool()> interrupted;
};
// With this machine's clock, and interrupted by SIGINT or SIGTERM, which this catches from then on.
[[nodiscard]] CaptureSource capture_by_the_clock(
    std::function<Result<nlohmann::json>(const std::string&, const nlohmann::json&)> ask);

// `order`: arguments of capture-start. What came of it goes to terminal.error. Errors: those of the data plane, of the file.
[[nodiscard]] Status capture(const CaptureSource& source, const nlohmann::json& order,
                             PcapngTarget target, const CaptureLimits& limits,
                             const Terminal& terminal);

}  // namespace pharos::controlplane::ctl
