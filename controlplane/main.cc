// pharos-controlplane: beacons in, ranked tables out. Options, configuration, then Daemon.
#include "pharos/base/cpu.hh"
#include "pharos/base/log.hh"
#include "pharos/base/rights.hh"
#include "pharos/config/model.hh"
#include "pharos/controlplane/engine/daemon.hh"

#include <linux/capability.h>

#include <CLI/CLI.hpp>
#include <sodium.h>
#include <spdlog/spdlog.h>

#include <cstdio>
#include <exception>
#include <memory>
#include <optional>
#include <string>

namespace {

using namespace pharos;

// Files of other users (keys, zones), ports below 1024, memory that stays, the ingest core.
constexpr Capabilities needed_capabilities =
    Capabilities{1} << CAP_DAC_OVERRIDE | Capabilities{1} << CAP_DAC_READ_SEARCH |
    Capabilities{1} << CAP_NET_BIND_SERVICE | Capabilities{1} << CAP_IPC_LOCK |
    Capabilities{1} << CAP_SYS_NICE;

constexpr const char* description =
    "The control plane of Pharos: takes the beacons of sites, ranks the endpoints of services for "
    "every locale, and\n"
    "publishes tables to pharos-dataplane. Either may start first; without a data plane it waits "
    "for one.";
constexpr const char* footer =
    "Signals: SIGHUP reads configuration and zones again (the old ones stay on any error), SIGTERM "
    "and SIGINT stop.\n"
    "Exit status: 0 stopped in order, or the configuration is good; 1 it does not start, or the "
    "configuration is bad;\n"
    "others: the command line is wrong.";

[[nodiscard]] std::optional<config::Config> load(const std::string& file) {
  auto config = config::load(file);
  if (config) return std::move(*config);
  std::fprintf(stderr, "%s\n", config.error().text().c_str());
  return std::nullopt;
}

// Builds everything that would be published, and publishes nothing.
[[nodiscard]] int check(config::Config config) {
  const auto file = config.file;
  std::string broken_zone;
  const auto tables = controlplane::build_tables(
      std::make_shared<const config::Config>(std::move(config)), {}, {1, 1}, {}, broken_zone);
  if (!tables) {
    std::fprintf(stderr, "%s\n", tables.error().text().c_str());
    return 1;
  }
  std::printf("%s: good\n", file.c_str());
  return 0;
}

[[nodiscard]] int serve(config::Config config, bool force) {
  controlplane::block_signals();
  pharos::start_log("pharos-controlplane");
  if (auto ok = keep_only(needed_capabilities); !ok) {
    spdlog::critical("{}", ok.error().text());
    return 1;
  }
  auto daemon = controlplane::Daemon::start(std::move(config), force);
  if (!daemon) {
    spdlog::critical("{}", daemon.error().text());
    return 1;
  }
  (*daemon)->run();
  return 0;
}

}  // namespace

int main(int argc, char** argv) try {
  CLI::App app(description, "pharos-controlplane");
  app.footer(footer);
  std::string file = "/etc/pharos/pharos.yaml";
  bool check_only = false;
  bool force = false;
  app.add_option("--config", file, "configuration file")->capture_default_str();
  app.add_flag("--check", check_only, "check configuration, zones and locales, and exit");
  app.add_flag("--force", force, "start even where most names of the last publish are gone");
  app.set_version_flag("--version", "pharos-controlplane " PHAROS_VERSION);
  CLI11_PARSE(app, argc, argv);
  if (const auto cpu = check_cpu(); !cpu) {
    std::fprintf(stderr, "pharos-controlplane: %s\n", cpu.error().text().c_str());
    return 1;
  }
  if (sodium_init() < 0) {
    std::fprintf(stderr, "pharos-controlplane: libsodium does not start\n");
    return 1;
  }
  auto config = load(file);
  if (!config) return 1;
  return check_only ? check(std::move(*config)) : serve(std::move(*config), force);
} catch (const std::exception& error) {
  std::fprintf(stderr, "pharos-controlplane: %s\n", error.what());
  return 1;
}
