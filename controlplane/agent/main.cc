// pharos-agent: options, signals, and the service manager. The work is in agent.cc.
#include "pharos/base/fd.hh"
#include "pharos/base/log.hh"
#include "pharos/base/rights.hh"
#include "pharos/controlplane/agent/agent.hh"

#include <linux/capability.h>
#include <signal.h>
#include <sys/signalfd.h>

#include <CLI/CLI.hpp>
#include <spdlog/spdlog.h>
#include <systemd/sd-daemon.h>

#include <cstdio>

namespace {

using namespace pharos;

constexpr int exit_usage = 2;

struct Invocation {
  agent::AgentOptions options;
  bool check = false;
  bool help_config = false;
};

void describe(CLI::App& app, Invocation& to) {
  auto& o = to.options;
  app.add_option("-c,--config", o.file, "configuration file (YAML)");
  app.add_option("--site", o.site, "id of this site");
  app.add_option("--key-file", o.key_file, "file whose first line is the key");
  app.add_option("--key-id", o.key_id, "id of the key in --key-file")->needs("--key-file");
  app.add_option("--responder", o.responders, "host:port that gets our beacons; may be repeated");
  app.add_option("--interval", o.interval, "time between beacons, such as 200ms");
  app.add_option("--state-directory", o.state_directory, "directory that keeps the boot epoch");
  app.add_option("--override-file", o.override_file,
                 "values in place of measured ones, read for each beacon");
  app.add_option("--log-level", o.log_level, "trace, debug, info, warning or error");
  app.add_flag("--check", to.check, "check the configuration and exit");
  app.add_flag("--help-config", to.help_config,
               "print the keys of the configuration file and exit");
  app.set_version_flag("--version", "pharos-agent " PHAROS_VERSION);
  app.footer(
      "Options win over the file. SIGHUP reloads the file, SIGTERM tells the responders that the "
      "site leaves.");
}

void set_log_level(const std::string& level) {
  spdlog::set_level(spdlog::level::from_str(level));
}

void notify(const std::string& state) {
  ::sd_notify(0, state.c_str());
}

Result<UniqueFd> open_signals() {
  ::signal(SIGPIPE, SIG_IGN);
  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&set, number);
  if (::pthread_sigmask(SIG_BLOCK, &set, nullptr) != 0) return fail_errno("pthread_sigmask");
  UniqueFd fd(::signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
  if (!fd) return fail_errno("signalfd");
  return fd;
}

void reload(agent::Agent& agent, const agent::AgentOptions& options) {
  notify("RELOADING=1\nMONOTONIC_USEC=" + std::to_string(monotonic_now().ns / 1000));
  auto config = agent::load(options);
  if (!config) {
    spdlog::error("reload: the former configuration stays:\n{}", config.error().text());
  } else {
    const auto level = config->log_level;
    if (const auto status = agent.reload(std::move(*config)); !status) {
      spdlog::error("reload: the former configuration stays: {}", status.error().text());
    } else {
      set_log_level(level);
      spdlog::info("reloaded");
    }
  }
  notify("READY=1");
}

int complain(const Error& error) {
  spdlog::error("{}", error.text());
  return 1;
}

int run(const Invocation& invocation, agent::AgentConfig config) {
  // Files of other users (its key, the override file), sockets on low ports.
  constexpr Capabilities needed = Capabilities{1} << CAP_DAC_OVERRIDE |
                                  Capabilities{1} << CAP_DAC_READ_SEARCH |
                                  Capabilities{1} << CAP_NET_BIND_SERVICE;
  if (auto ok = keep_only(needed); !ok) return complain(ok.error());
  auto signals = open_signals();
  if (!signals) return complain(signals.error());
  auto agent = agent::Agent::open(std::move(config));
  if (!agent) return complain(agent.error());
  bool stop = false;
  const auto on_signal = [&] {
    signalfd_siginfo info{};
    while (::read(signals->get(), &info, sizeof info) == sizeof info) {
      if (info.ssi_signo == SIGHUP) {
        reload(*agent, invocation.options);
      } else {
        stop = true;
      }
    }
  };
  if (const auto watched = agent->watch(signals->get(), on_signal); !watched) {
    return complain(watched.error());
  }
  spdlog::info("boot epoch {}", agent->boot_epoch());
  notify("READY=1");
  constexpr Duration status_interval = seconds(5);
  auto next_status = monotonic_now();
  while (!stop) {
    agent->turn(next_status);
    if (monotonic_now() < next_status) continue;
    notify("WATCHDOG=1\nSTATUS=" + agent->status());
    next_status = next_status + status_interval;
  }
  notify("STOPPING=1");
  agent->leave();
  spdlog::info("left after beacon {}", agent->sequence());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  pharos::start_log("pharos-agent");
  CLI::App app("Reports the load and health of a site to Pharos responders, in signed beacons.",
               "pharos-agent");
  Invocation invocation;
  describe(app, invocation);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : exit_usage;
  }
  if (invocation.help_config) {
    std::fputs(agent::reference().c_str(), stdout);
    return 0;
  }
  auto config = agent::load(invocation.options);
  if (!config) {
    std::fprintf(stderr, "%s\n", config.error().text().c_str());
    return exit_usage;
  }
  if (invocation.check) {
    std::printf("the configuration is good\n");
    return 0;
  }
  set_log_level(config->log_level);
  return run(invocation, std::move(*config));
}
