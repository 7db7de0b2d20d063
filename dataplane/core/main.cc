// pharos-dataplane: the packet path. Options, configuration, then Daemon.
#include "pharos/base/cpu.hh"
#include "pharos/base/turns.hh"
#include "pharos/config/model.hh"
#include "pharos/dataplane/core/daemon.hh"
#include "pharos/dataplane/core/signals.hh"
#include "pharos/dataplane/io/eal.hh"

#include <CLI/CLI.hpp>
#include <spdlog/spdlog.h>

#include <cstdio>
#include <exception>
#include <string>

namespace {

using namespace pharos;

constexpr const char* description =
    "The packet path of Pharos: answers DNS from the tables that pharos-controlplane publishes.\n"
    "Start it as root (or with CAP_NET_ADMIN, CAP_NET_RAW, CAP_IPC_LOCK): it gives all rights up "
    "once its ports are open.\n"
    "It needs no control plane to start and keeps answering from the last good tables on disk.";
constexpr const char* footer =
    "Signals: SIGHUP reads the configuration again, SIGTERM and SIGINT stop.\n"
    "Exit status: 0 stopped in order, or the configuration is good; 1 it does not start, or the "
    "configuration is bad;\n"
    "others: the command line is wrong.";

// Loads, and checks what only this host can tell. Prints every mistake.
[[nodiscard]] std::optional<config::Config> load(const std::string& file) {
  auto config = config::load(file, config::Reading::without_secrets);
  if (!config) {
    std::fprintf(stderr, "%s\n", config.error().text().c_str());
    return std::nullopt;
  }
  return std::move(*config);
}

[[nodiscard]] int check(const config::Config& config) {
  const auto& wanted = config.dataplane;
  if (wanted.ports.empty() && !wanted.listen.empty()) {
    std::printf("%s: good\n", config.file.c_str());
    return 0;
  }
  const auto plan = dataplane::io::plan_eal(config.dataplane, config.run_directory,
                                            dataplane::io::read_host_facts());
  if (!plan) {
    std::fprintf(stderr, "%s\n", plan.error().text().c_str());
    return 1;
  }
  std::printf("%s: good\n", config.file.c_str());
  return 0;
}

[[nodiscard]] int serve(config::Config config) {
  dataplane::start_log(config.log_level);
  prefer_short_turns();  // the control thread, which swaps tables, and every worker
  if (auto ok = dataplane::signals::install(); !ok) {
    spdlog::critical("{}", ok.error().text());
    return 1;
  }
  dataplane::Daemon daemon(std::move(config));
  if (auto ok = daemon.start(); !ok) {
    spdlog::critical("{}", ok.error().text());
    return 1;
  }
  daemon.run();
  return 0;
}

}  // namespace

int main(int argc, char** argv) try {
  CLI::App app(description, "pharos-dataplane");
  app.footer(footer);
  std::string file = "/etc/pharos/pharos.yaml";
  bool check_only = false;
  app.add_option("--config", file, "configuration file")->capture_default_str();
  app.add_flag("--check", check_only, "check the configuration and exit");
  app.set_version_flag("--version", "pharos-dataplane " PHAROS_VERSION);
  CLI11_PARSE(app, argc, argv);
  if (const auto cpu = check_cpu(); !cpu) {
    std::fprintf(stderr, "pharos-dataplane: %s\n", cpu.error().text().c_str());
    return 1;
  }

  auto config = load(file);
  if (!config) return 1;
  return check_only ? check(*config) : serve(std::move(*config));
} catch (const std::exception& error) {
  std::fprintf(stderr, "pharos-dataplane: %s\n", error.what());
  return 1;
}
