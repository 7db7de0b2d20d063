#include "pharos/dataplane/io/eal.hh"

#include "pharos/dataplane/io/eal_log.hh"

#include <sched.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>

namespace pharos::dataplane::io {

namespace {

constexpr unsigned lcore_of_worker(unsigned worker) {
  return worker + 1;
}

[[nodiscard]] std::string listing(const std::vector<unsigned>& cores) {
  std::string text;
  for (const auto core : cores) text += (text.empty() ? "" : ", ") + std::to_string(core);
  return text;
}

[[nodiscard]] Status check_core(unsigned core, const HostFacts& host, const char* where) {
  if (std::ranges::binary_search(host.cores, core)) return {};
  return fail(ErrorCode::invalid, "core " + std::to_string(core) + " is not one that we may run on",
              where, "cores of this process: " + listing(host.cores));
}

[[nodiscard]] unsigned queue_total(const config::DataplaneConfig& dataplane) {
  unsigned total = 0;
  for (const auto& port : dataplane.ports) total += port.queues;
  return total;
}

[[nodiscard]] Status plan_cores(const config::DataplaneConfig& dataplane, const HostFacts& host,
                                EalPlan& plan) {
  if (host.cores.empty()) return fail(ErrorCode::unavailable, "no core to run on");
  plan.control_core = dataplane.control_core.value_or(host.cores.front());
  if (auto ok = check_core(plan.control_core, host, "dataplane.control_core"); !ok) return ok;

  plan.worker_cores = dataplane.worker_cores;
  for (const auto core : plan.worker_cores) {
    if (auto ok = check_core(core, host, "dataplane.worker_cores"); !ok) return ok;
  }
  if (plan.worker_cores.empty()) {
    std::ranges::copy_if(host.cores, std::back_inserter(plan.worker_cores),
                         [&](unsigned core) { return core != plan.control_core; });
  }
  if (plan.worker_cores.empty())
    plan.worker_cores = {plan.control_core};  // a machine with one core

  const auto unique = std::set<unsigned>(plan.worker_cores.begin(), plan.worker_cores.end());
  if (unique.size() != plan.worker_cores.size()) {
    return fail(ErrorCode::invalid, "a core is listed twice", "dataplane.worker_cores");
  }
  const auto workers = std::min<std::size_t>(plan.worker_cores.size(), queue_total(dataplane));
  if (workers + 1 > RTE_MAX_LCORE) {
    return fail(ErrorCode::invalid, std::to_string(workers) + " workers are more than DPDK takes",
                "dataplane.worker_cores", "at most " + std::to_string(RTE_MAX_LCORE - 1));
  }
  plan.worker_cores.resize(workers);
  return {};
}

[[nodiscard]] Status plan_memory(const config::DataplaneConfig& dataplane, const HostFacts& host,
                                 EalPlan& plan) {
  const bool enough = host.free_huge_page_bytes >= dataplane.memory_bytes;
  if (dataplane.huge_pages == config::HugePages::required && !enough) {
    return fail(ErrorCode::exhausted,
                "huge pages are required: " + std::to_string(dataplane.memory_bytes >> 20) +
                    " MiB wanted, " + std::to_string(host.free_huge_page_bytes >> 20) + " MiB free",
                "dataplane.huge_pages",
                "reserve more with vm.nr_hugepages, or write huge_pages: automatic");
  }
  plan.huge_pages = enough && dataplane.huge_pages != config::HugePages::never;
  return {};
}

// 32 bits of FNV-1a: tells run directories apart in names, nothing else.
[[nodiscard]] std::string short_digest(const std::string& text) {
  std::uint32_t digest = 2166136261U;
  for (const unsigned char c : text) digest = (digest ^ c) * 16777619U;
  char hex[9];
  std::snprintf(hex, sizeof hex, "%08x", digest);
  return hex;
}

[[nodiscard]] std::string lcore_map(const EalPlan& plan) {
  std::string map = "0@" + std::to_string(plan.control_core);
  for (unsigned worker = 0; worker < plan.worker_cores.size(); ++worker) {
    map += "," + std::to_string(lcore_of_worker(worker)) + "@" +
           std::to_string(plan.worker_cores[worker]);
  }
  return map;
}

void add_arguments(const config::DataplaneConfig& dataplane, const std::string& run_directory,
                   EalPlan& plan) {
  auto& arguments = plan.arguments;
  arguments = {"pharos-dataplane",
               "--lcores",
               lcore_map(plan),
               "--main-lcore",
               "0",
               "-m",
               std::to_string(std::max<std::uint64_t>(dataplane.memory_bytes >> 20, 1)),
               "--log-level",
               "lib.telemetry:error",
               "--file-prefix",
               "pharos-" + short_digest(run_directory)};
  // --in-memory means: no files, no secondary processes. Without huge pages --no-shconf says the same;
  // the EAL does not take --in-memory and --no-huge together.
  if (plan.huge_pages) {
    arguments.insert(arguments.end(), {"--in-memory"});
  } else {
    arguments.insert(arguments.end(), {"--no-huge", "--no-shconf"});
  }
  bool any_pci = false;
  for (const auto& device : plan.devices) {
    any_pci = any_pci || device.is_pci();
    arguments.insert(arguments.end(), {device.is_pci() ? "-a" : "--vdev", device.eal_text()});
  }
  if (!any_pci) arguments.emplace_back("--no-pci");
  arguments.insert(arguments.end(), dataplane.eal_arguments.begin(), dataplane.eal_arguments.end());
}

[[nodiscard]] Result<std::vector<Device>> parse_devices(const config::DataplaneConfig& dataplane) {
  std::vector<Device> devices;
  std::set<std::string> names;
  for (const auto& port : dataplane.ports) {
    auto device = parse_device(port);
    if (!device) return std::unexpected(std::move(device.error()).in("port '" + port.id + "'"));
    if (!names.insert(device->name).second) {
      return fail(ErrorCode::invalid, "two ports have the device '" + device->name + "'",
                  port.source.text(), "number virtual devices: net_af_packet0, net_af_packet1");
    }
    devices.push_back(std::move(*device));
  }
  return devices;
}

int run_body(void* body) {
  (*static_cast<std::function<void()>*>(body))();
  return 0;
}

}  // namespace

HostFacts read_host_facts() {
  HostFacts host;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) == 0) {
    for (unsigned core = 0; core < CPU_SETSIZE; ++core) {
      if (CPU_ISSET(core, &set)) host.cores.push_back(core);
    }
  }
  std::error_code ignored;
  for (const auto& size :
       std::filesystem::directory_iterator("/sys/kernel/mm/hugepages", ignored)) {
    std::uint64_t page_kib = 0;
    std::uint64_t free_pages = 0;
    if (std::sscanf(size.path().filename().c_str(), "hugepages-%lukB", &page_kib) != 1) continue;
    std::ifstream(size.path() / "free_hugepages") >> free_pages;
    host.free_huge_page_bytes += free_pages * page_kib * 1024;
  }
  return host;
}

Result<EalPlan> plan_eal(const config::DataplaneConfig& dataplane, const std::string& run_directory,
                         const HostFacts& host) {
  EalPlan plan;
  if (dataplane.ports.empty()) {
    return fail(ErrorCode::invalid, "there is no port", "dataplane.ports",
                "list one with id: and device:");
  }
  auto devices = parse_devices(dataplane);
  if (!devices) return std::unexpected(devices.error());
  plan.devices = std::move(*devices);
  if (auto ok = plan_cores(dataplane, host, plan); !ok) return std::unexpected(ok.error());
  if (auto ok = plan_memory(dataplane, host, plan); !ok) return std::unexpected(ok.error());
  add_arguments(dataplane, run_directory, plan);
  return plan;
}

Result<Eal> Eal::start(const EalPlan& plan, const std::string& run_directory) {
  // Where the EAL puts its telemetry socket and the like; read once, in rte_eal_init. No other thread runs yet.
  ::setenv("RUNTIME_DIRECTORY", run_directory.c_str(), 1);
  install_eal_log();

  // The EAL keeps pointers into argv and permutes it.
  static std::vector<std::string> storage;
  storage = plan.arguments;
  std::vector<char*> argv;
  for (auto& argument : storage) argv.push_back(argument.data());
  argv.push_back(nullptr);
  if (rte_eal_init(static_cast<int>(storage.size()), argv.data()) < 0) {
    std::string line;
    for (const auto& argument : storage) line += (line.empty() ? "" : " ") + argument;
    return fail(ErrorCode::unavailable,
                std::string("DPDK does not start: ") + rte_strerror(rte_errno),
                "EAL arguments: " + line, "the EAL's own lines above say more");
  }
  Eal eal;
  eal.started_ = true;
  eal.bodies_.resize(plan.worker_cores.size());
  return eal;
}

Eal::Eal(Eal&& other) noexcept
    : started_(std::exchange(other.started_, false)), bodies_(std::move(other.bodies_)) {}

Eal::~Eal() {
  if (!started_) return;
  join();
  rte_eal_cleanup();
  remove_eal_log();
}

Status Eal::launch(unsigned worker, std::function<void()> body) {
  bodies_.at(worker) = std::move(body);
  const int rc = rte_eal_remote_launch(run_body, &bodies_[worker], lcore_of_worker(worker));
  if (rc != 0) {
    return fail(ErrorCode::unavailable, std::string("worker does not start: ") + rte_strerror(-rc),
                "worker " + std::to_string(worker));
  }
  return {};
}

void Eal::join() noexcept {
  rte_eal_mp_wait_lcore();
}

}  // namespace pharos::dataplane::io
