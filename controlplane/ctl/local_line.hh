// The subcommands of pharosctl that need no daemon: images, the configuration's file, keys and tokens. Private to this
// folder.
#pragma once

#include "pharos/controlplane/ctl/terminal.hh"

#include <string>
#include <vector>

#include "line_hooks.hh"

namespace pharos::controlplane::ctl {

class LocalLine {
 public:
  // The terminal outlives us.
  LocalLine(CLI::App& app, LineHooks hooks, const Terminal& terminal);
  // The group of subcommands about the configuration.
  [[nodiscard]] CLI::App* config() const noexcept { return config_; }

 private:
  void add_images();
  void add_config();
  void add_secrets();
  [[nodiscard]] Status put(const std::string& text) const;

  LineHooks hooks_;
  const Terminal& terminal_;
  CLI::App* config_ = nullptr;
  std::vector<std::string> files_;
  std::string id_, role_;
  unsigned key_id_ = 1, key_bytes_ = 32;
  bool bare_ = false;
};

}  // namespace pharos::controlplane::ctl
