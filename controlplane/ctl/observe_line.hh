// The subcommands of pharosctl that look at traffic: dnstap, capture, names. Private to this folder.
#pragma once

#include "pharos/base/error.hh"
#include "pharos/controlplane/ctl/terminal.hh"
#include "pharos/shared/control_protocol.hh"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <functional>
#include <string>

namespace pharos::controlplane::ctl {

struct ObserveHooks {
  std::function<CLI::App*(CLI::App*, const char*, const char*, std::function<Status()>)> add;
  // Asks a daemon.
  std::function<Result<nlohmann::json>(const char*, control::Access, const std::string&,
                                       const nlohmann::json&)>
      ask;
  // Prints a result as that of the command.
  std::function<void(const std::string&, const nlohmann::json&)> print;
  const Terminal& terminal;
};

class ObserveLine {
 public:
  ObserveLine(CLI::App& app, ObserveHooks hooks);

 private:
  void add_capture(CLI::App& app);
  [[nodiscard]] Status capture() const;

  ObserveHooks hooks_;
  std::string port_, name_, client_, rcode_, file_, file_size_;
  std::uint64_t frames_ = 0;
  double seconds_ = 0;
  unsigned rows_ = 20;
  unsigned files_ = 1, frame_bytes_ = 2048;
  bool whole_addresses_ = false;
};

}  // namespace pharos::controlplane::ctl
