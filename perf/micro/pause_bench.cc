// How long commands hold up the engine thread, and with it beacons: a whole daemon of 10 thousand services and 64 locales
// runs each command a few times; the worst single task counts, beside the time until the command has its answer.
//
//   pause_bench [--services N] [--endpoints N] [--limit MICROSECONDS]
//
// Exit code 1 where a command holds it for longer than the limit.
#include "pharos/controlplane/api/metrics.hh"
#include "pharos/controlplane/engine/daemon.hh"

#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

#include "temporary_files.hh"
#include "unit/controlplane/large_world.hh"

namespace pharos::controlplane {
namespace {

using nlohmann::json;

constexpr unsigned runs = 3;
constexpr Duration patience = seconds(300);

struct Options {
  LargeWorld world{.endpoints = 4};
  double limit_us = 0;  // 0: none
};

// The same world as text: what is read at the start, and planned.
std::string services_text(const config::Config& config) {
  std::ostringstream text;
  text << "services:\n";
  for (const auto& service : config.services) {
    text << "- {id: " << service.id << ", names: [" << service.names[0]
         << "], answers_max: " << service.answers_max << ", endpoints: [";
    for (const auto& endpoint : service.endpoints)
      text << "{id: " << endpoint.id << ", site: " << endpoint.site
           << ", address: " << endpoint.addresses[0].text() << "}, ";
    text << "]}\n";
  }
  return text.str();
}

std::string main_text(const config::Config& config, const std::string& directory) {
  std::ostringstream text;
  text << "run_directory: " << directory << "/run\nstate_directory: " << directory
       << "/state\ninclude: [services.yaml]\n"
          "dataplane: {ports: [{id: front, device: net_ring0, addresses: [192.0.2.53]}]}\n"
          "controlplane: {history: {on: false}}\nsites:\n";
  for (const auto& site : config.sites)
    text << "- {id: " << site.id << ", location: [" << site.latitude << ", " << site.longitude
         << "], capacity_rps: 100000}\n";
  text << "locales:\n";
  for (const auto& locale : config.locales)
    text << "- {id: " << locale.id << ", location: [" << locale.latitude.value_or(0) << ", "
         << locale.longitude.value_or(0) << "], prefixes: [" << locale.prefixes[0].text() << "]}\n";
  text << "zones:\n- {id: example.org, hosts: {ns1: [192.0.2.53]}}\n";
  return text.str();
}

[[noreturn]] void give_up(const Error& error) {
  std::fprintf(stderr, "pause_bench: %s\n", error.text().c_str());
  std::exit(2);
}

// Runs `command`, and tells what it took; the longest hold of the engine in microseconds.
double measure(Daemon& daemon, const char* name, const std::function<std::size_t()>& command) {
  Duration held{}, answered{};
  std::size_t bytes = 0;
  for (unsigned run = 0; run < runs; ++run) {
    daemon.loop().ask([](EngineSide& side) { side.slowest_task = {}; });
    const auto began = monotonic_now();
    bytes = command();
    answered = std::max(answered, monotonic_now() - began);
    held = std::max(held, daemon.loop().ask([](EngineSide& side) { return side.slowest_task; }));
  }
  const double held_us = static_cast<double>(held.ns) / 1e3;
  std::printf("%-12s %10.0f us held %10.1f ms until answered %12zu bytes\n", name, held_us,
              answered.seconds() * 1e3, bytes);
  return held_us;
}

int run(const Options& options) {
  spdlog::set_level(spdlog::level::err);
  TemporaryFiles files;
  const auto& directory = files.directory();
  const auto config = options.world.config();
  const auto text = main_text(config, directory);
  files.write("services.yaml", services_text(config));
  files.write("pharos.yaml", text);
  auto loaded = config::load(directory + "/pharos.yaml");
  if (!loaded) give_up({ErrorCode::invalid, loaded.error().text(), {}, {}});
  auto daemon = Daemon::start(std::move(*loaded), true);
  if (!daemon) give_up(daemon.error());
  (*daemon)->loop().ask([](EngineSide& side) {
    const auto& world = side.engine.world();
    for (std::uint32_t p = 0; p < world.pools.size(); ++p) {
      for (std::uint16_t l = 0; l < static_cast<std::uint16_t>(world.locales.size()); ++l)
        side.engine.heard_demand(p, l, 1 + p % 7);
    }
  });
  const auto socket =
      control::socket_path(directory + "/run", "controlplane", control::Access::write);
  double worst_us = 0;
  const auto ask = [&](const char* name, const json& arguments) {
    worst_us = std::max(worst_us, measure(**daemon, name, [&] {
                          const auto result = control::call(socket, name, arguments, patience);
                          // A list too large for the socket was made all the same.
                          if (!result && result.error().code != ErrorCode::exhausted)
                            give_up(result.error());
                          return result ? result->dump().size() : 0;
                        }));
  };
  ask("status", json::object());
  worst_us = std::max(
      worst_us, measure(**daemon, "/metrics", [&] { return Metrics(**daemon).text().size(); }));
  for (const char* name : {"sites", "services", "endpoints", "weights", "probes", "shares"})
    ask(name, json::object());
  ask("demand", {{"limit", 20}});
  ask("explain", {{"name", config.services.back().names[0]}, {"client", "198.18.1.1"}});
  ask("failover-time", {{"name", config.services.back().id}});
  ask("plan", {{"text", text}, {"force", true}});
  if (options.limit_us <= 0 || worst_us <= options.limit_us) return 0;
  std::printf("FAILED: %.0f us is longer than %.0f us\n", worst_us, options.limit_us);
  return 1;
}

}  // namespace
}  // namespace pharos::controlplane

int main(int count, char** arguments) {
  pharos::controlplane::Options options;
  for (int i = 1; i + 1 < count; i += 2) {
    const double value = std::atof(arguments[i + 1]);
    if (std::strcmp(arguments[i], "--services") == 0)
      options.world.services = static_cast<unsigned>(value);
    if (std::strcmp(arguments[i], "--endpoints") == 0)
      options.world.endpoints = static_cast<unsigned>(value);
    if (std::strcmp(arguments[i], "--limit") == 0) options.limit_us = value;
  }
  return pharos::controlplane::run(options);
}
